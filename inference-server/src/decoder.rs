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

/// A window whose start token has been run: the key/value cache, and the running graph that extends it.
///
/// The start token goes through the decoder without past, every later token, those of the prompt included, through the
/// one with past, one by one: tract 0.23.9 fails ("b_packing") on a prompt of a length that is not fixed at load. What
/// the start token says is needed anyway: the language and the no-speech probability.
pub struct Decoder<'m> {
    model: &'m Model,
    running: Running,
    encoded: TValue,
    slots: Vec<TValue>,
    /// The scores after the last token.
    scores: Vec<f32>,
    /// The scores after the start token.
    start_scores: Vec<f32>,
}

impl<'m> Decoder<'m> {
    /// Runs the start token.
    pub fn start(model: &'m Model, encoded: &Encoded) -> Result<Self, DecoderError> {
        Self::try_start(model, encoded).map_err(|e| DecoderError::Engine(one_line(&e)))
    }

    /// The language that the window is likeliest in and its probability; `None` for a model of one language.
    ///
    /// Source: `whisper/decoding.py` (`detect_language`).
    pub fn language(&self) -> Option<(&'m str, f32)> {
        let languages: Vec<(&String, &u32)> = self.model.config.tokens.languages.iter().collect();
        let scores = languages
            .iter()
            .filter_map(|(_, id)| self.start_scores.get(**id as usize).copied());
        let (index, logprob) = best(&scores.collect::<Vec<f32>>());
        languages
            .get(index as usize)
            .map(|(code, _)| (code.as_str(), logprob.exp()))
    }

    /// Probability of the no-speech token at the start token, before any rule; 0 for a model without that token.
    pub fn no_speech_prob(&self) -> f32 {
        let score = no_speech_token(self.model).and_then(|token| self.start_scores.get(token as usize));
        score.map_or(0.0, |score| {
            (score - rules::log_sum_exp(&self.start_scores)).exp()
        })
    }

    /// Decodes greedily: at each step the likeliest token that the rules allow.
    ///
    /// Stops at end-of-text, at the model's length, or between steps when `cancel` says so.
    /// Source: `whisper/decoding.py` (`DecodingTask._main_loop` with `GreedyDecoder` at temperature 0).
    pub fn decode(mut self, prompt: &Prompt, rules: &Rules, cancel: &Cancel) -> Result<Tokens, DecoderError> {
        let no_speech_prob = self.no_speech_prob();
        for &token in prompt.after_start() {
            cancel.check()?;
            self.step(token)?;
        }
        let most = self
            .model
            .config
            .tokens
            .max_length
            .saturating_sub(prompt.tokens().len());
        let (mut ids, mut sum, mut steps) = (Vec::new(), 0.0, 0);
        while steps < most {
            rules.apply(&mut self.scores, &ids);
            let (token, logprob) = best(&self.scores);
            sum += logprob;
            steps += 1;
            if token == self.model.config.tokens.end {
                break;
            }
            ids.push(token);
            if steps < most {
                cancel.check()?;
                self.step(token)?;
            }
        }
        let avg_logprob = sum / (ids.len() + 1) as f32;
        Ok(Tokens {
            ids,
            avg_logprob,
            no_speech_prob,
        })
    }

    /// The scores after the last token, before any rule: one a vocabulary entry.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// Appends a token.
    pub fn step(&mut self, token: u32) -> Result<(), DecoderError> {
        self.try_step(token)
            .map_err(|e| DecoderError::Engine(one_line(&e)))
    }

    fn try_start(model: &'m Model, encoded: &Encoded) -> TractResult<Self> {
        let inputs = model.decoder.inputs().iter().map(|name| match name.as_str() {
            "input_ids" => token_tensor(model.config.tokens.start),
            _ => Ok(encoded.0.clone()),
        });
        let inputs = inputs.collect::<TractResult<TVec<TValue>>>()?;
        let outputs = model.decoder.run(&mut model.decoder.start()?, inputs)?;
        let scores = floats(&outputs[model.cache.first_logits])?;
        Ok(Decoder {
            model,
            running: model.decoder_with_past.start()?,
            encoded: encoded.0.clone(),
            slots: model
                .cache
                .first
                .iter()
                .map(|&output| outputs[output].clone())
                .collect(),
            start_scores: scores.clone(),
            scores,
        })
    }

    fn try_step(&mut self, token: u32) -> TractResult<()> {
        let graph = &self.model.decoder_with_past;
        let inputs = self.model.cache.inputs.iter().map(|input| match input {
            StepInput::Token => token_tensor(token),
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
        self.scores = floats(&outputs[self.model.cache.next_logits])?;
        Ok(())
    }
}

fn token_tensor(token: u32) -> TractResult<TValue> {
    Ok(Tensor::from_shape(&[1, 1], &[i64::from(token)])?.into())
}

fn floats(value: &TValue) -> TractResult<Vec<f32>> {
    Ok(value
        .cast_to::<f32>()?
        .try_as_plain_ram()?
        .as_slice::<f32>()?
        .to_vec())
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
