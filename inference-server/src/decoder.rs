//! [`Encoded`] in; [`Tokens`] out: greedy decoding with a key/value cache. Owns the state of one window; knows no text.

use tract_onnx::prelude::{TValue, TVec, Tensor, TractResult};

use crate::{
    encoder::Encoded,
    model::{
        Model, StepInput,
        graph::{Running, one_line},
    },
    pipeline::{Cancel, Stopped},
};

mod prompt;
mod rules;

pub use prompt::{Prompt, no_speech_token};
pub use rules::Rules;

/// What the decoder said for one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokens {
    /// After the prompt, without the end-of-text token; timestamps included where there are any.
    pub ids: Vec<u32>,
    /// Mean log-probability of the tokens, end-of-text included.
    pub avg_logprob: f32,
    /// Probability of `<|nospeech|>` at the start token, before any rule; 0 for a model without that token.
    pub no_speech_prob: f32,
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

/// Decodes one window greedily: at each step the likeliest token that the rules allow.
///
/// Stops at end-of-text, at the model's length, or between steps when `cancel` says so.
/// Source: `openai/whisper`, `whisper/decoding.py` (`DecodingTask._main_loop` with `GreedyDecoder` at temperature 0).
pub fn decode(
    model: &Model,
    encoded: &Encoded,
    prompt: &Prompt,
    rules: &Rules,
    cancel: &Cancel,
) -> Result<Tokens, DecoderError> {
    cancel.check()?;
    let (mut state, logits) = State::begin(model, encoded, &prompt.tokens)?;
    let no_speech_prob = match no_speech_token(model) {
        Some(token) => probability(row(&logits, model, prompt.start), token),
        None => 0.0,
    };
    let mut scores = row(&logits, model, prompt.tokens.len() - 1).to_vec();
    let most = model.config.tokens.max_length.saturating_sub(prompt.tokens.len());
    let (mut ids, mut sum, mut steps) = (Vec::new(), 0.0, 0);
    while steps < most {
        rules.apply(&mut scores, &ids);
        let (token, logprob) = best(&scores);
        sum += logprob;
        steps += 1;
        if token == model.config.tokens.end {
            break;
        }
        ids.push(token);
        if steps < most {
            cancel.check()?;
            scores = state.step(token)?;
        }
    }
    Ok(Tokens {
        ids,
        avg_logprob: sum / steps.max(1) as f32,
        no_speech_prob,
    })
}

/// The language that the window is likeliest in: one run on the start token, the best of the language tokens.
///
/// `None` for a model of one language. Source: `whisper/decoding.py` (`detect_language`).
pub fn detect_language<'m>(
    model: &'m Model,
    encoded: &Encoded,
    cancel: &Cancel,
) -> Result<Option<(&'m str, f32)>, DecoderError> {
    if !model.config.tokens.multilingual() {
        return Ok(None);
    }
    cancel.check()?;
    let (_, logits) = State::begin(model, encoded, &[model.config.tokens.start])?;
    let logits = row(&logits, model, 0);
    let languages = model.config.tokens.languages.iter();
    let scored: Vec<(&str, f32)> = languages
        .map(|(code, &id)| (code.as_str(), logits[id as usize]))
        .collect();
    let scores: Vec<f32> = scored.iter().map(|(_, score)| *score).collect();
    let (index, logprob) = best(&scores);
    Ok(scored.get(index as usize).map(|(code, _)| (*code, logprob.exp())))
}

/// The logits of every prompt position, `[positions * vocabulary]`; for comparing with other engines.
pub fn prompt_logits(model: &Model, encoded: &Encoded, prompt: &[u32]) -> Result<Vec<f32>, DecoderError> {
    State::begin(model, encoded, prompt).map(|(_, logits)| logits)
}

/// The key/value cache of one window, and the running graph that extends it.
struct State<'m> {
    model: &'m Model,
    running: Running,
    encoded: TValue,
    slots: Vec<TValue>,
}

impl<'m> State<'m> {
    /// Runs the prompt; returns the logits of all its positions.
    fn begin(model: &'m Model, encoded: &Encoded, prompt: &[u32]) -> Result<(Self, Vec<f32>), DecoderError> {
        Self::try_begin(model, encoded, prompt).map_err(|e| DecoderError::Engine(one_line(&e)))
    }

    fn try_begin(model: &'m Model, encoded: &Encoded, prompt: &[u32]) -> TractResult<(Self, Vec<f32>)> {
        let inputs = model.decoder.inputs().iter().map(|name| match name.as_str() {
            "input_ids" => token_tensor(prompt),
            _ => Ok(encoded.0.clone()),
        });
        let inputs = inputs.collect::<TractResult<TVec<TValue>>>()?;
        let outputs = model.decoder.run(&mut model.decoder.start()?, inputs)?;
        let logits = floats(&outputs[model.decoder.output("logits").unwrap_or(0)])?;
        let slots = model
            .cache
            .first
            .iter()
            .map(|&output| outputs[output].clone())
            .collect();
        let running = model.decoder_with_past.start()?;
        Ok((
            State {
                model,
                running,
                encoded: encoded.0.clone(),
                slots,
            },
            logits,
        ))
    }

    /// Appends a token; returns the logits of the next.
    fn step(&mut self, token: u32) -> Result<Vec<f32>, DecoderError> {
        self.try_step(token)
            .map_err(|e| DecoderError::Engine(one_line(&e)))
    }

    fn try_step(&mut self, token: u32) -> TractResult<Vec<f32>> {
        let graph = &self.model.decoder_with_past;
        let inputs = self.model.cache.inputs.iter().map(|input| match input {
            StepInput::Token => token_tensor(&[token]),
            StepInput::Encoded => Ok(self.encoded.clone()),
            StepInput::Slot(slot) => Ok(self.slots[*slot].clone()),
        });
        let inputs = inputs.collect::<TractResult<TVec<TValue>>>()?;
        let outputs = graph.run(&mut self.running, inputs)?;
        for (slot, output) in self.model.cache.next.iter().enumerate() {
            if let Some(output) = output {
                self.slots[slot] = outputs[*output].clone();
            }
        }
        floats(&outputs[graph.output("logits").unwrap_or(0)])
    }
}

fn token_tensor(tokens: &[u32]) -> TractResult<TValue> {
    let ids: Vec<i64> = tokens.iter().map(|&id| i64::from(id)).collect();
    Ok(Tensor::from_shape(&[1, ids.len()], &ids)?.into())
}

fn floats(value: &TValue) -> TractResult<Vec<f32>> {
    Ok(value
        .cast_to::<f32>()?
        .try_as_plain_ram()?
        .as_slice::<f32>()?
        .to_vec())
}

/// The logits of one position.
fn row<'l>(logits: &'l [f32], model: &Model, position: usize) -> &'l [f32] {
    let width = model.config.sizes.vocabulary;
    logits
        .get(position * width..(position + 1) * width)
        .unwrap_or(&[])
}

/// The first of the highest scores, and its log-probability.
fn best(scores: &[f32]) -> (u32, f32) {
    let mut best = 0;
    for (i, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = i;
        }
    }
    (
        best as u32,
        scores
            .get(best)
            .map_or(f32::NEG_INFINITY, |s| s - rules::log_sum_exp(scores)),
    )
}

/// The softmax probability of one token.
fn probability(logits: &[f32], token: u32) -> f32 {
    logits
        .get(token as usize)
        .map_or(0.0, |logit| (logit - rules::log_sum_exp(logits)).exp())
}
