//! [`Encoded`] in; [`Tokens`] out: one window's decoder with its key/value caches. Knows no text.
//!
//! `decoder/prompt` builds what it starts from, `decoder/rules` says which tokens may follow, `decoder/search` chooses
//! among them.

use tract_onnx::prelude::{TValue, TVec, Tensor, TractResult};

use crate::{
    encoder::Encoded,
    model::{
        Model, StepInput,
        graph::{Running, one_line},
    },
    pipeline::{Cancel, Decoding, Stopped},
};

mod prompt;
mod rules;
mod search;

pub use prompt::{Prompt, no_speech_token};
pub use rules::Rules;
pub use search::drawn_from;

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
///
/// The first token goes through the decoder without past, every later token, those of the prompt included, through the
/// one with past, one by one: tract 0.23.9 fails ("b_packing") on a prompt of a length that is not fixed at load.
pub struct Decoder<'m> {
    model: &'m Model,
    running: Running,
    encoded: TValue,
}

/// A sequence of tokens that the decoder has read: its key/value cache and what may follow. Cloning shares the cache.
#[derive(Clone)]
pub struct Sequence {
    slots: Vec<TValue>,
    scores: Vec<f32>,
    attention: Vec<TValue>,
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

    /// The weights with which the last token looked at the encoder's positions, by layer `[1, heads, 1, positions]`.
    pub(crate) fn attention(&self) -> &[TValue] {
        &self.attention
    }
}

impl<'m> Decoder<'m> {
    /// A decoder that has read nothing.
    pub fn new(model: &'m Model, encoded: &Encoded) -> Result<Self, DecoderError> {
        let running = model.decoder_with_past.start().map_err(engine)?;
        Ok(Decoder {
            model,
            running,
            encoded: encoded.0.clone(),
        })
    }

    /// Reads the first token.
    pub fn first(&self, token: u32) -> Result<Sequence, DecoderError> {
        self.try_first(token).map_err(engine)
    }

    /// Reads one more token.
    pub fn step(&mut self, sequence: &mut Sequence, token: u32) -> Result<(), DecoderError> {
        self.try_step(sequence, token).map_err(engine)
    }

    /// Reads a whole prompt.
    pub fn read(&mut self, prompt: &Prompt, cancel: &Cancel) -> Result<Ready, DecoderError> {
        let (mut sequence, mut no_speech_prob) = (None, 0.0);
        for (i, &token) in prompt.tokens().iter().enumerate() {
            cancel.check()?;
            let sequence = match &mut sequence {
                None => sequence.insert(self.first(token)?),
                Some(sequence) => {
                    self.step(sequence, token)?;
                    sequence
                }
            };
            if i == prompt.start() {
                no_speech_prob = self.no_speech_prob(sequence);
            }
        }
        let sequence = sequence.ok_or_else(|| DecoderError::Engine("a prompt without tokens".to_owned()))?;
        Ok(Ready {
            sequence,
            length: prompt.tokens().len(),
            no_speech_prob,
        })
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
    pub fn languages(&self) -> Result<Vec<(&'m str, f32)>, DecoderError> {
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

    fn try_first(&self, token: u32) -> TractResult<Sequence> {
        let graph = &self.model.decoder;
        let inputs = graph.inputs().iter().map(|name| match name.as_str() {
            "input_ids" => token_tensor(token),
            _ => Ok(self.encoded.clone()),
        });
        let inputs = inputs.collect::<TractResult<TVec<TValue>>>()?;
        let outputs = graph.run(&mut graph.start()?, inputs)?;
        let cache = &self.model.cache;
        let pick = |wanted: &[usize]| wanted.iter().map(|&output| outputs[output].clone()).collect();
        Ok(Sequence {
            slots: pick(&cache.first),
            scores: floats(&outputs[cache.first_logits])?,
            attention: pick(&cache.first_attention),
        })
    }

    fn try_step(&mut self, sequence: &mut Sequence, token: u32) -> TractResult<()> {
        let graph = &self.model.decoder_with_past;
        let cache = &self.model.cache;
        let inputs = cache.inputs.iter().map(|input| match input {
            StepInput::Token => token_tensor(token),
            StepInput::Encoded => Ok(self.encoded.clone()),
            StepInput::Slot(slot) => Ok(sequence.slots[*slot].clone()),
        });
        let inputs = inputs.collect::<TractResult<TVec<TValue>>>()?;
        let outputs = graph.run(&mut self.running, inputs)?;
        for (slot, output) in cache.next.iter().enumerate() {
            if let Some(output) = output {
                sequence.slots[slot] = outputs[*output].clone();
            }
        }
        sequence.scores = floats(&outputs[cache.next_logits])?;
        sequence.attention = cache
            .next_attention
            .iter()
            .map(|&output| outputs[output].clone())
            .collect();
        Ok(())
    }
}

fn engine(error: tract_onnx::prelude::TractError) -> DecoderError {
    DecoderError::Engine(one_line(&error))
}

fn token_tensor(token: u32) -> TractResult<TValue> {
    Ok(Tensor::from_shape(&[1, 1], &[i64::from(token)])?.into())
}

/// The values of an output as f32.
pub(crate) fn floats(value: &TValue) -> TractResult<Vec<f32>> {
    Ok(value
        .cast_to::<f32>()?
        .try_as_plain_ram()?
        .as_slice::<f32>()?
        .to_vec())
}
