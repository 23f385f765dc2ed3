//! A model directory in; a [`Model`] out: loaded, optimised, immutable, shared by `Arc`.
//! Everything that a file says is read from it; nothing here is state of a request.

use std::path::Path;

use crate::{digest, features::MelExtractor, pipeline::Task, text::Vocabulary, vad::Detector};

mod config;
mod dtype;
mod error;
mod files;
pub(crate) mod graph;
mod proto;
mod threads;

pub use config::{Config, FeatureConfig, Sizes, TokenConfig};
pub use dtype::Dtype;
pub use error::ModelError;
pub use files::{Decoders, Files, Graphs};
pub use threads::available as available_threads;

use graph::{Dim, Graph, NO_TAPS};
use proto::Part;

/// A loaded Whisper: the optimised graphs, the tokenizer and what the configuration files say.
pub struct Model {
    facts: ModelFacts,
    pub(crate) config: Config,
    pub(crate) extractor: MelExtractor,
    pub(crate) encoder: Graph,
    pub(crate) decoder: Graph,
    pub(crate) decoder_with_past: Graph,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) cache: Cache,
    pub(crate) detector: Detector,
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

impl Model {
    /// Loads and optimises the model in `dir` for `threads` threads (0: as many as the cgroup grants), in the precision that
    /// [`Files::find`] prefers.
    pub fn load(dir: &Path, threads: usize) -> Result<Model, ModelError> {
        Self::load_dtype(dir, None, threads)
    }

    /// The same in the precision asked for, if one is.
    pub fn load_dtype(dir: &Path, dtype: Option<Dtype>, threads: usize) -> Result<Model, ModelError> {
        let files = Files::find(dir, dtype)?;
        let mut config = Config::read(&files)?;
        let vocabulary = Vocabulary::load(&files.tokenizer)
            .map_err(|problem| ModelError::invalid("tokenizer.json", problem))?;
        let previous = || vocabulary.id("<|startofprev|>");
        config.tokens.previous = config.tokens.previous.or_else(previous);
        let executor = graph::executor(if threads == 0 {
            available_threads()
        } else {
            threads
        });
        let encoder = Graph::load(
            &files.graphs.encoder,
            Part::Whole,
            &|name| encoder_input(&config, name),
            NO_TAPS,
            &executor,
        )?;
        let [first, with_past] = files.graphs.decoders.parts();
        let decoder = Graph::load(
            first.0,
            first.1,
            &|name| decoder_input(&config, name),
            &cross_attention,
            &executor,
        )?;
        let decoder_with_past = Graph::load(
            with_past.0,
            with_past.1,
            &|name| step_input(&config, name),
            &cross_attention,
            &executor,
        )?;
        let cache = Cache::connect(&decoder, &decoder_with_past, config.sizes.decoder_layers)
            .map_err(|problem| ModelError::invalid(&config::file_name(with_past.0), problem))?;
        let extractor = MelExtractor::new(&config.features);
        let facts = ModelFacts::of(dir, &config)?;
        Ok(Model {
            facts,
            config,
            extractor,
            encoder,
            decoder,
            decoder_with_past,
            vocabulary,
            cache,
            detector: Detector::load()
                .map_err(|error| ModelError::invalid("silero_vad.onnx", error.to_string()))?,
        })
    }

    /// What a person or an operator may want to know of it.
    pub fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    /// What its configuration files say.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The heads `(layer, head)` whose cross-attention follows the speech: what the files name, otherwise all of the upper half
    /// of the decoder, as `openai/whisper` has it.
    pub(crate) fn alignment_heads(&self) -> Vec<(usize, usize)> {
        let sizes = &self.config.sizes;
        let upper = sizes.decoder_layers / 2..sizes.decoder_layers;
        let all = || upper.flat_map(|layer| (0..sizes.decoder_heads).map(move |head| (layer, head)));
        match &self.config.tokens.alignment_heads {
            Some(heads) if !heads.is_empty() => heads.clone(),
            _ => all().collect(),
        }
    }

    /// Gives the model another name than its directory's.
    pub fn set_name(&mut self, name: String) {
        self.facts.name = name;
    }
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
    fn parts(&self) -> [(&Path, Part); 2] {
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

/// The facts of a model, for people and for status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFacts {
    /// The directory's name unless [`Model::set_name`] gave another.
    pub name: String,
    /// `sha256:<hex>` over the whole directory (see [`crate::digest`]).
    pub digest: String,
    /// Language codes, sorted.
    pub languages: Vec<String>,
    /// The tasks that it can do.
    pub tasks: Vec<Task>,
    /// Mel bins of a feature frame (80 or 128).
    pub mel_bins: usize,
    /// Entries of the vocabulary, special tokens included.
    pub vocabulary_size: usize,
    /// Bytes of all files.
    pub size_bytes: u64,
    /// Number of files.
    pub files: usize,
}

impl ModelFacts {
    /// Reads every file of the directory once, for the digest.
    pub fn of(dir: &Path, config: &Config) -> Result<ModelFacts, ModelError> {
        let digest = digest::directory(dir).map_err(|e| ModelError::read(dir, e))?;
        let name = dir
            .canonicalize()
            .ok()
            .as_deref()
            .unwrap_or(dir)
            .file_name()
            .map(|n| n.to_string_lossy().into_owned());
        let tasks = [Task::Transcribe, Task::Translate];
        Ok(ModelFacts {
            name: name.unwrap_or_else(|| "whisper".to_owned()),
            digest: digest.digest,
            languages: config.tokens.codes(),
            tasks: tasks
                .into_iter()
                .filter(|task| config.tokens.can(*task))
                .collect(),
            mel_bins: config.features.mel_bins,
            vocabulary_size: config.sizes.vocabulary,
            size_bytes: digest.size_bytes,
            files: digest.files,
        })
    }
}
