//! [`Encoded`] in; [`Tokens`] out: what one window's sequences have read, and what may follow. Knows no text.
//!
//! `decoder/prompt` builds what it starts from, `decoder/rules` says which tokens may follow, `decoder/search` chooses
//! among them. Our own engine reads any number of tokens of any number of sequences in one run, with those of other requests;
//! `decoder/exported` goes token by token.

use std::sync::Arc;

use tract_onnx::prelude::{Tensor, TractResult};

use crate::{
    encoder::{Encoded, States},
    kernels::{cache::Cache, turn::Memories},
    model::{Engine, Model, Request, Turns, graph::one_line},
    pipeline::{Cancel, Decoding, Stopped},
};

mod exported;
mod prompt;
mod rules;
mod search;

pub use prompt::{Prompt, no_speech_token};
pub use rules::Rules;
pub use search::{drawn_from, most_after};

/// What the decoder said for one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokens {
    /// After the prompt, without the end-of-text token; timestamps included where there are any.
    pub ids: Vec<u32>,
    /// Mean log-probability of the tokens, end-of-text included.
    pub avg_logprob: f32,
    /// Probability of `<|nospeech|>` at the start token, before any rule; 0 for a model without that token.
    pub no_speech_prob: f32,
    /// The temperature at which they were found.
    pub temperature: f32,
}

/// Why a window was not decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecoderError {
    /// The caller went away, or its deadline passed.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The engine failed.
    #[error("the decoder: {0}")]
    Engine(String),
}

/// The decoder of one window.
pub struct Decoder<'m> {
    model: &'m Model,
    window: Window<'m>,
}

enum Window<'m> {
    Own(&'m Turns, Arc<Memories>),
    Exported(exported::Decoder<'m>),
}

/// A sequence of tokens that the decoder has read: its key/value cache and what may follow. Cloning shares the cache.
#[derive(Clone)]
pub struct Sequence {
    state: State,
    scores: Vec<f32>,
}

#[derive(Clone)]
enum State {
    Own(Cache),
    Exported(exported::Slots),
}

/// Tokens that a sequence is to read.
struct Reading<'s> {
    sequence: &'s mut Sequence,
    tokens: &'s [u32],
}

/// A token that was read while the decoder was watched.
pub(crate) struct Look {
    /// The scores after it.
    pub(crate) scores: Vec<f32>,
    /// The weights of the heads that follow the speech, over all positions.
    pub(crate) weights: Vec<Vec<f32>>,
}

/// A prompt that has been read, and what its start token said.
pub struct Ready {
    sequence: Sequence,
    /// Tokens of the prompt.
    length: usize,
    /// As in [`Tokens::no_speech_prob`].
    pub no_speech_prob: f32,
}

impl Sequence {
    /// The scores after the last token, before any rule: one a vocabulary entry.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }
}

/// Tokens that are read between two looks at whether somebody still wants them.
const PIECE: usize = 32;

impl<'m> Decoder<'m> {
    /// A decoder that has read nothing.
    pub fn new(model: &'m Model, encoded: &Encoded) -> Result<Self, DecoderError> {
        let window = match (&model.engine, &encoded.0) {
            (Engine::Own(turns), States::Own(_, memories)) => Window::Own(turns, memories.clone()),
            (Engine::Exported(exported), States::Exported(value)) => {
                Window::Exported(exported::Decoder::new(exported, value.clone()).map_err(engine)?)
            }
            _ => return Err(DecoderError::Engine("the window is another model's".to_owned())),
        };
        Ok(Decoder { model, window })
    }

    /// Reads the first token.
    pub fn first(&mut self, token: u32) -> Result<Sequence, DecoderError> {
        let mut sequence = self.nothing();
        self.step(&mut sequence, token)?;
        Ok(sequence)
    }

    /// Reads one more token.
    pub fn step(&mut self, sequence: &mut Sequence, token: u32) -> Result<(), DecoderError> {
        self.advance(vec![Reading {
            sequence,
            tokens: &[token],
        }])
    }

    /// Reads one more token of each sequence, together.
    fn step_each(&mut self, steps: Vec<(&mut Sequence, u32)>) -> Result<(), DecoderError> {
        if steps.is_empty() {
            return Ok(());
        }
        let tokens: Vec<u32> = steps.iter().map(|(_, token)| *token).collect();
        let steps = steps.into_iter().zip(tokens.chunks(1));
        let readings = steps.map(|((sequence, _), tokens)| Reading { sequence, tokens });
        self.advance(readings.collect())
    }

    /// Reads a whole prompt.
    pub fn read(&mut self, prompt: &Prompt, cancel: &Cancel) -> Result<Ready, DecoderError> {
        let (mut sequence, mut no_speech_prob) = (self.nothing(), 0.0);
        let (before, after) = prompt.tokens().split_at(prompt.start() + 1);
        for (i, part) in [before, after].into_iter().enumerate() {
            for tokens in part.chunks(PIECE) {
                cancel.check()?;
                self.advance(vec![Reading {
                    sequence: &mut sequence,
                    tokens,
                }])?;
            }
            if i == 0 {
                no_speech_prob = self.no_speech_prob(&sequence);
            }
        }
        Ok(Ready {
            sequence,
            length: prompt.tokens().len(),
            no_speech_prob,
        })
    }

    /// Reads tokens from the beginning and tells of each where the decoder looked; false where it does not show.
    pub(crate) fn watch(
        &mut self,
        tokens: &[u32],
        cancel: &Cancel,
        mut each: impl FnMut(Look),
    ) -> Result<bool, DecoderError> {
        let mut sequence = self.nothing();
        for tokens in tokens.chunks(PIECE) {
            cancel.check()?;
            match (&mut self.window, &mut sequence.state) {
                (Window::Own(turns, memories), State::Own(cache)) => {
                    let request = Request {
                        wanted: (0..tokens.len()).collect(),
                        watch: true,
                        ..turn(turns, memories, cache, tokens)
                    };
                    for reply in turns.read(vec![request]).map_err(DecoderError::Engine)? {
                        *cache = reply.cache;
                        let looked = reply.scores.into_iter().zip(reply.attention);
                        looked.for_each(|(scores, weights)| each(Look { scores, weights }));
                    }
                }
                (Window::Exported(decoder), State::Exported(slots)) => {
                    if !decoder.shows() {
                        return Ok(false);
                    }
                    for &token in tokens {
                        cancel.check()?;
                        let step = decoder.read(slots, token).map_err(engine)?;
                        let weights = step.weights(&self.model.config).map_err(engine)?;
                        each(Look {
                            scores: step.scores,
                            weights,
                        });
                    }
                }
                _ => return Err(another()),
            }
        }
        Ok(true)
    }

    fn nothing(&self) -> Sequence {
        let state = match &self.window {
            Window::Own(turns, _) => State::Own(turns.whisper().cache()),
            Window::Exported(_) => State::Exported(Vec::new()),
        };
        Sequence {
            state,
            scores: Vec::new(),
        }
    }

    /// Has every sequence read its tokens, and the scores after the last of them.
    fn advance(&mut self, mut readings: Vec<Reading<'_>>) -> Result<(), DecoderError> {
        match &mut self.window {
            Window::Own(turns, memories) => {
                let mut requests = Vec::new();
                for reading in &mut readings {
                    let State::Own(cache) = &mut reading.sequence.state else {
                        return Err(another());
                    };
                    requests.push(Request {
                        wanted: reading.tokens.len().checked_sub(1).into_iter().collect(),
                        ..turn(turns, memories, cache, reading.tokens)
                    });
                }
                let replies = turns.read(requests).map_err(DecoderError::Engine)?;
                for (reading, reply) in readings.into_iter().zip(replies) {
                    reading.sequence.state = State::Own(reply.cache);
                    if let Some(scores) = reply.scores.into_iter().next() {
                        reading.sequence.scores = scores;
                    }
                }
            }
            Window::Exported(decoder) => {
                for reading in readings {
                    let State::Exported(slots) = &mut reading.sequence.state else {
                        return Err(another());
                    };
                    for &token in reading.tokens {
                        reading.sequence.scores = decoder.read(slots, token).map_err(engine)?.scores;
                    }
                }
            }
        }
        Ok(())
    }

    /// What follows a prompt at one temperature: the best of the sequences that `how` looks at.
    ///
    /// Each ends at end-of-text or at the model's length. Stops between steps when `cancel` says so.
    pub fn decode(
        &mut self,
        ready: &Ready,
        rules: &Rules,
        how: &Decoding,
        temperature: f32,
        cancel: &Cancel,
    ) -> Result<Tokens, DecoderError> {
        let found = search::search(self, ready, rules, how, temperature, cancel)?;
        Ok(Tokens {
            avg_logprob: found.sum_logprob / (found.ids.len() + 1) as f32,
            ids: found.ids,
            no_speech_prob: ready.no_speech_prob,
            temperature,
        })
    }

    /// The probabilities of the model's languages after the start token alone, likeliest first; none for a model of one
    /// language.
    ///
    /// Source: `whisper/decoding.py` (`detect_language`).
    pub fn languages(&mut self) -> Result<Vec<(&'m str, f32)>, DecoderError> {
        let tokens = &self.model.config.tokens;
        if !tokens.multilingual() {
            return Ok(vec![]);
        }
        let sequence = self.first(tokens.start)?;
        let scored = tokens
            .languages
            .iter()
            .filter_map(|(code, id)| Some((code.as_str(), *sequence.scores.get(*id as usize)?)));
        let mut languages: Vec<(&str, f32)> = scored.collect();
        let scores: Vec<f32> = languages.iter().map(|(_, score)| *score).collect();
        let all = rules::log_sum_exp(&scores);
        for (_, score) in &mut languages {
            *score = (*score - all).exp();
        }
        languages.sort_by(|a, b| b.1.total_cmp(&a.1));
        Ok(languages)
    }

    /// Probability of the no-speech token after a sequence that ends in the start token.
    fn no_speech_prob(&self, sequence: &Sequence) -> f32 {
        let score = no_speech_token(self.model).and_then(|token| sequence.scores.get(token as usize));
        score.map_or(0.0, |score| (score - rules::log_sum_exp(&sequence.scores)).exp())
    }
}

/// A turn that reads tokens and wants no scores. It takes the cache of its sequence, which is empty until the reply brings it back.
fn turn(turns: &Turns, memories: &Arc<Memories>, cache: &mut Cache, tokens: &[u32]) -> Request {
    Request {
        cache: std::mem::replace(cache, turns.whisper().cache()),
        memories: memories.clone(),
        tokens: tokens.to_vec(),
        wanted: Vec::new(),
        watch: false,
    }
}

fn engine(error: tract_onnx::prelude::TractError) -> DecoderError {
    DecoderError::Engine(one_line(&error))
}

fn another() -> DecoderError {
    DecoderError::Engine("the sequence is another window's".to_owned())
}

/// The values of an output as f32.
pub(crate) fn floats(value: &Tensor) -> TractResult<Vec<f32>> {
    Ok(value
        .cast_to::<f32>()?
        .try_as_plain_ram()?
        .as_slice::<f32>()?
        .to_vec())
}
