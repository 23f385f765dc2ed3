//! The graphs of a model as its files have them, run by tract: for exports whose weights our own kernels do not find, such as those in
//! 8 bits.

use std::path::Path;

use tract_onnx::tract_core::runtime::Runtime;

use super::{
    Config, Decoders, Graphs, ModelError, config,
    graph::{Dim, Graph, NO_TAPS, Runner, one_line},
    proto::Part,
};

/// The optimised graphs.
pub(crate) struct Exported {
    pub(crate) encoder: Graph,
    pub(crate) decoder: Graph,
    pub(crate) decoder_with_past: Graph,
    pub(crate) cache: Cache,
}

impl Exported {
    /// Loads and optimises for the processor or a GPU; so many threads do what is done on the processor.
    pub(super) fn load(
        graphs: &Graphs,
        config: &Config,
        runtime: &'static dyn Runtime,
        threads: usize,
    ) -> Result<Exported, ModelError> {
        let runner = Runner::new(runtime, threads);
        let encoder = Graph::load(
            &graphs.encoder,
            Part::Whole,
            &|name| encoder_input(config, name),
            NO_TAPS,
            &runner,
        )?;
        let [first, with_past] = graphs.decoders.parts();
        let decoder = Graph::load(
            first.0,
            first.1,
            &|name| decoder_input(config, name),
            &cross_attention,
            &runner,
        )?;
        let decoder_with_past = Graph::load(
            with_past.0,
            with_past.1,
            &|name| step_input(config, name),
            &cross_attention,
            &runner,
        )?;
        let cache = Cache::connect(&decoder, &decoder_with_past, config.sizes.decoder_layers)
            .map_err(|problem| ModelError::invalid(&config::file_name(with_past.0), problem))?;
        Ok(Exported {
            encoder,
            decoder,
            decoder_with_past,
            cache,
        })
    }

    /// Runs each graph once, on zeros.
    pub(super) fn try_out(&self) -> Result<(), ModelError> {
        let graphs = [
            ("the encoder", &self.encoder),
            ("the decoder", &self.decoder),
            ("the decoder with past", &self.decoder_with_past),
        ];
        for (name, graph) in graphs {
            let tried = graph.try_out();
            tried.map_err(|error| ModelError::invalid(name, one_line(&error)))?;
        }
        Ok(())
    }
}

/// How the key/value cache goes from one decoder run to the next: by name, found once at load.
///
/// Slot `i` is the `i`-th `past_key_values.*` input of the decoder with past.
pub(crate) struct Cache {
    /// What each input of the decoder with past is.
    pub(crate) inputs: Vec<StepInput>,
    /// For each slot, the output of the first decoder run that fills it.
    pub(crate) first: Vec<usize>,
    /// For each slot, the output of the decoder with past that replaces it; `None`: it stays.
    pub(crate) next: Vec<Option<usize>>,
    /// The output of the first decoder run that holds the scores.
    pub(crate) first_logits: usize,
    /// The same of the decoder with past.
    pub(crate) next_logits: usize,
    /// For each layer, the output of the first decoder run with its cross-attention's weights; none where the graph does
    /// not give them.
    pub(crate) first_attention: Vec<usize>,
    /// The same of the decoder with past.
    pub(crate) next_attention: Vec<usize>,
}

/// An input of the decoder with past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepInput {
    /// The last token.
    Token,
    /// The encoder's output (older exports ask for it again).
    Encoded,
    /// A slot of the cache.
    Slot(usize),
}

/// The weights of the cross-attention, by the names that the exporters of PyTorch give.
fn cross_attention(name: &str, op: &str) -> bool {
    op == "Softmax" && name.contains("/encoder_attn/")
}

/// For each layer, where a decoder's cross-attention weights are: an output that the export has (`output_attentions`), or
/// one that was tapped. Empty unless every layer has one.
fn attention_outputs(graph: &Graph, layers: usize) -> Vec<usize> {
    let of = |layer: usize| {
        let exported = graph.output(&format!("cross_attentions.{layer}"));
        let tapped = format!("/layers.{layer}/encoder_attn/");
        exported.or_else(|| graph.outputs().iter().position(|name| name.contains(&tapped)))
    };
    (0..layers)
        .map(of)
        .collect::<Option<Vec<usize>>>()
        .unwrap_or_default()
}

impl Decoders {
    /// Where the decoder that begins is, and the one that goes on.
    pub(super) fn parts(&self) -> [(&Path, Part); 2] {
        match self {
            Decoders::Two { first, with_past } => [(first, Part::Whole), (with_past, Part::Whole)],
            Decoders::Merged(file) => [(file, Part::First), (file, Part::WithPast)],
        }
    }
}

fn encoder_input(config: &Config, name: &str) -> Option<Vec<Dim>> {
    let features = &config.features;
    (name == "input_features").then(|| {
        vec![
            Dim::Fixed(1),
            Dim::Fixed(features.mel_bins),
            Dim::Fixed(features.frames()),
        ]
    })
}

fn decoder_input(config: &Config, name: &str) -> Option<Vec<Dim>> {
    match name {
        "input_ids" => Some(vec![Dim::Fixed(1), Dim::Fixed(1)]),
        "encoder_hidden_states" => Some(encoded_shape(config)),
        _ => None,
    }
}

fn step_input(config: &Config, name: &str) -> Option<Vec<Dim>> {
    let sizes = &config.sizes;
    let slot = |past| {
        Some(vec![
            Dim::Fixed(1),
            Dim::Fixed(sizes.decoder_heads),
            past,
            Dim::Fixed(sizes.head_width()),
        ])
    };
    match name {
        "input_ids" => Some(vec![Dim::Fixed(1), Dim::Fixed(1)]),
        "encoder_hidden_states" => Some(encoded_shape(config)),
        _ if !name.starts_with("past_key_values.") => None,
        _ if name.contains(".decoder.") => slot(Dim::Any),
        _ if name.contains(".encoder.") => slot(Dim::Fixed(sizes.encoder_positions)),
        _ => None,
    }
}

fn encoded_shape(config: &Config) -> Vec<Dim> {
    vec![
        Dim::Fixed(1),
        Dim::Fixed(config.sizes.encoder_positions),
        Dim::Fixed(config.sizes.width),
    ]
}

impl Cache {
    /// Whether every layer's cross-attention can be seen.
    pub(crate) fn shows_attention(&self) -> bool {
        !self.next_attention.is_empty() && !self.first_attention.is_empty()
    }

    fn connect(decoder: &Graph, decoder_with_past: &Graph, layers: usize) -> Result<Cache, String> {
        let logits = |graph: &Graph| {
            graph
                .output("logits")
                .ok_or("a decoder has no output named logits")
        };
        let (first_logits, next_logits) = (logits(decoder)?, logits(decoder_with_past)?);
        let mut cache = Cache {
            inputs: vec![],
            first: vec![],
            next: vec![],
            first_logits,
            next_logits,
            first_attention: attention_outputs(decoder, layers),
            next_attention: attention_outputs(decoder_with_past, layers),
        };
        for name in decoder_with_past.inputs() {
            cache.inputs.push(match name.strip_prefix("past_key_values.") {
                Some(slot) => {
                    let present = format!("present.{slot}");
                    let first = decoder.output(&present);
                    cache.first.push(
                        first.ok_or(format!("the decoder without past has no output named {present}"))?,
                    );
                    cache.next.push(decoder_with_past.output(&present));
                    StepInput::Slot(cache.first.len() - 1)
                }
                None if name == "encoder_hidden_states" => StepInput::Encoded,
                None => StepInput::Token,
            });
        }
        Ok(cache)
    }
}
