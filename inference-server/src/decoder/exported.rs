//! A window's decoder as it was exported: token by token, since tract 0.23.9 fails ("b_packing") on a prompt of a length that is not
//! fixed at load; the first token through the decoder without past, every later one through the one with past.

use tract_onnx::prelude::{TValue, TVec, Tensor, TractResult};

use super::floats;
use crate::model::{Config, Exported, StepInput, graph::Running};

/// The decoder of one window.
pub(super) struct Decoder<'m> {
    exported: &'m Exported,
    running: Running,
    encoded: TValue,
}

/// The key/value cache of a sequence, by slot; nothing before the first token. Cloning shares it.
pub(super) type Slots = Vec<TValue>;

/// What a token gave.
pub(super) struct Step {
    pub(super) scores: Vec<f32>,
    /// By layer `[1, heads, 1, positions]`; nothing where the graph does not give it.
    pub(super) attention: Vec<TValue>,
}

impl Step {
    /// Those of the heads that follow the speech.
    pub(super) fn weights(&self, config: &Config) -> TractResult<Vec<Vec<f32>>> {
        let positions = config.sizes.encoder_positions;
        let of = |(layer, head): (usize, usize)| {
            let all = self
                .attention
                .get(layer)
                .map(|value| floats(value))
                .transpose()?
                .unwrap_or_default();
            Ok(all.chunks(positions).nth(head).unwrap_or_default().to_vec())
        };
        config.alignment_heads().into_iter().map(of).collect()
    }
}

impl<'m> Decoder<'m> {
    pub(super) fn new(exported: &'m Exported, encoded: TValue) -> TractResult<Self> {
        Ok(Decoder {
            exported,
            running: exported.decoder_with_past.start()?,
            encoded,
        })
    }

    /// Whether it shows where it looks.
    pub(super) fn shows(&self) -> bool {
        self.exported.cache.shows_attention()
    }

    /// Reads one token.
    pub(super) fn read(&mut self, slots: &mut Slots, token: u32) -> TractResult<Step> {
        if slots.is_empty() {
            self.first(slots, token)
        } else {
            self.step(slots, token)
        }
    }

    fn first(&self, slots: &mut Slots, token: u32) -> TractResult<Step> {
        let (graph, cache) = (&self.exported.decoder, &self.exported.cache);
        let inputs = graph.inputs().iter().map(|name| match name.as_str() {
            "input_ids" => token_tensor(token),
            _ => Ok(self.encoded.clone()),
        });
        let inputs = inputs.collect::<TractResult<TVec<TValue>>>()?;
        let outputs = graph.run(&mut graph.start()?, inputs)?;
        let pick = |wanted: &[usize]| wanted.iter().map(|&output| outputs[output].clone()).collect();
        *slots = pick(&cache.first);
        Ok(Step {
            scores: floats(&outputs[cache.first_logits])?,
            attention: pick(&cache.first_attention),
        })
    }

    fn step(&mut self, slots: &mut Slots, token: u32) -> TractResult<Step> {
        let (graph, cache) = (&self.exported.decoder_with_past, &self.exported.cache);
        let inputs = cache.inputs.iter().map(|input| match input {
            StepInput::Token => token_tensor(token),
            StepInput::Encoded => Ok(self.encoded.clone()),
            StepInput::Slot(slot) => Ok(slots[*slot].clone()),
        });
        let inputs = inputs.collect::<TractResult<TVec<TValue>>>()?;
        let outputs = graph.run(&mut self.running, inputs)?;
        for (slot, output) in cache.next.iter().enumerate() {
            if let Some(output) = output {
                slots[slot] = outputs[*output].clone();
            }
        }
        let attention = cache.next_attention.iter().map(|&output| outputs[output].clone());
        Ok(Step {
            scores: floats(&outputs[cache.next_logits])?,
            attention: attention.collect(),
        })
    }
}

fn token_tensor(token: u32) -> TractResult<TValue> {
    Ok(Tensor::from_shape(&[1, 1], &[i64::from(token)])?.into())
}
