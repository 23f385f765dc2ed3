//! A model directory in; a [`Model`] out: loaded, optimised, immutable, shared by `Arc`.
//! Everything that a file says is read from it; nothing here is state of a request.

use std::{panic::resume_unwind, path::Path, thread};

use crate::{
    digest::{self, Digest},
    features::MelExtractor,
    pipeline::Task,
    text::Vocabulary,
    vad::Detector,
};

mod choice;
mod config;
#[cfg(feature = "cuda")]
mod cuda;
mod device;
mod dtype;
mod engine;
mod error;
mod exported;
mod files;
pub(crate) mod graph;
mod kept;
mod measured;
mod parts;
mod precision;
mod prepacked;
pub(crate) mod proto;
mod threads;
mod turns;
mod weights;
mod whisper;

pub use choice::{Choice, ChoiceError};
pub use config::{Config, FeatureConfig, Sizes, TokenConfig};
pub use device::Device;
pub use dtype::Dtype;
pub use error::ModelError;
pub use files::{Decoders, Files, Graphs};
pub use measured::Measured;
pub use precision::Precision;
pub use prepacked::{PrepackError, Prepacking};
pub use threads::available as available_threads;

pub(crate) use engine::Engine;
pub(crate) use exported::{Exported, StepInput};
pub(crate) use turns::Turns;
pub(crate) use whisper::{Request, Whisper};

use engine::{Loaded, Wanted};
use prepacked::Prepacked;

/// A loaded Whisper: the optimised graphs, the tokenizer and what the configuration files say.
pub struct Model {
    facts: ModelFacts,
    pub(crate) config: Config,
    pub(crate) extractor: MelExtractor,
    threads: usize,
    precision: Precision,
    pub(crate) engine: Engine,
    engine_name: &'static str,
    prepacked: bool,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) detector: Detector,
}

/// Most windows of one recording that are decoded together: clips that wait go between two such groups.
const ABREAST: usize = 4;
/// Bytes that keys and values of such windows may take.
const MEMORIES: usize = 192 << 20;

impl Model {
    /// Loads and optimises the model in `dir` for `threads` threads (0: as many as the cgroup grants), in the precision that
    /// [`Files::find`] prefers.
    pub fn load(dir: &Path, threads: usize) -> Result<Model, ModelError> {
        Self::load_dtype(dir, None, threads)
    }

    /// The same in the precision asked for, if one is.
    pub fn load_dtype(dir: &Path, dtype: Option<Dtype>, threads: usize) -> Result<Model, ModelError> {
        Self::load_with(dir, dtype, Device::Auto, Precision::Auto, threads)
    }

    /// The same, computed on the device asked for, and in the precision asked for, where this machine and this export can be: see
    /// [`Model::engine_name`] and [`Model::precision`].
    pub fn load_with(
        dir: &Path,
        dtype: Option<Dtype>,
        device: Device,
        precision: Precision,
        threads: usize,
    ) -> Result<Model, ModelError> {
        let files = Files::find(dir, dtype)?;
        let threads = if threads == 0 {
            available_threads()
        } else {
            threads
        };
        let measured = || Measured::find(dir, files.graphs.dtype);
        let wanted = Wanted {
            device,
            precision,
            chosen: match precision {
                Precision::Auto => measured().map_or(precision, |measured| measured.precision),
                precision => precision,
            },
            threads,
        };
        let (config, vocabulary, detector, loaded, digest) = read(dir, &files, wanted)?;
        Ok(Model {
            facts: ModelFacts::new(dir, &config, digest),
            extractor: MelExtractor::new(&config.features),
            config,
            threads,
            precision: loaded.precision,
            engine: loaded.engine,
            engine_name: loaded.name,
            prepacked: loaded.prepacked,
            vocabulary,
            detector,
        })
    }

    /// What a person or an operator may want to know of it.
    pub fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    /// What runs its graphs: `own`, our kernels; `exported`, tract on the processor as the files have them; `cuda`, tract on the GPU.
    pub fn engine_name(&self) -> &'static str {
        self.engine_name
    }

    /// Whether its weights were in order already, in a file beside the model, so that no graph was read: see [`Prepacking`].
    pub fn prepacked(&self) -> bool {
        self.prepacked
    }

    /// The precision in which it is computed.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Threads that it runs on.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// What its configuration files say.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether the encoder takes less than a window.
    pub(crate) fn hears_parts(&self) -> bool {
        matches!(self.engine, Engine::Own(_))
    }

    /// Windows of one recording that are decoded together: as many as what the decoder listens to has room for.
    pub(crate) fn windows_abreast(&self) -> usize {
        match &self.engine {
            Engine::Own(turns) => (MEMORIES / turns.whisper().memories_size()).clamp(1, ABREAST),
            Engine::Exported(_) => 1,
        }
    }

    /// Has the number of sequences in each run of the decoder told, where runs take several.
    pub fn watch_runs(&self, watcher: impl Fn(usize) + Send + Sync + 'static) {
        if let Engine::Own(turns) = &self.engine {
            turns.watch(watcher);
        }
    }

    /// Gives the model another name than its directory's.
    pub fn set_name(&mut self, name: String) {
        self.facts.name = name;
    }
}

/// What is read of files: the configuration, the tokenizer, the detector of speech, the weights and the digest.
fn read(
    dir: &Path,
    files: &Files,
    wanted: Wanted,
) -> Result<(Config, Vocabulary, Detector, Loaded, Digest), ModelError> {
    let mut config = Config::read(files)?;
    let (small, weights) = thread::scope(|scope| {
        let small = scope.spawn(|| (Vocabulary::load(&files.tokenizer), Detector::load()));
        let weights = read_weights(dir, files, &config, wanted);
        (small.join(), weights)
    });
    let (vocabulary, detector) = small.unwrap_or_else(|panic| resume_unwind(panic));
    let vocabulary = vocabulary.map_err(|problem| ModelError::invalid("tokenizer.json", problem))?;
    let detector = detector.map_err(|error| ModelError::invalid("silero_vad.onnx", error.to_string()))?;
    let previous = || vocabulary.id("<|startofprev|>");
    config.tokens.previous = config.tokens.previous.or_else(previous);
    let (loaded, digest) = weights?;
    Ok((config, vocabulary, detector, loaded, digest))
}

/// The weights in order and the digest that was found when they were put so; or else those of the graphs, and the digest of every file.
fn read_weights(
    dir: &Path,
    files: &Files,
    config: &Config,
    wanted: Wanted,
) -> Result<(Loaded, Digest), ModelError> {
    let load = |prepacked| engine::load(&files.graphs, config, wanted, prepacked, device::look);
    if wanted.device != Device::Cuda
        && let Some(prepacked) = Prepacked::find(dir, files.graphs.dtype, wanted.chosen)
    {
        return Ok((load(Some(&prepacked))?, prepacked.digest().clone()));
    }
    thread::scope(|scope| {
        let digest = scope.spawn(|| digest::directory(dir));
        let loaded = load(None);
        let digest = digest.join().unwrap_or_else(|panic| resume_unwind(panic));
        let digest = digest.map_err(|error| ModelError::read(dir, error))?;
        Ok((loaded?, digest))
    })
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
        let digest = digest::directory(dir).map_err(|error| ModelError::read(dir, error))?;
        Ok(Self::new(dir, config, digest))
    }

    fn new(dir: &Path, config: &Config, digest: Digest) -> ModelFacts {
        let name = dir
            .canonicalize()
            .ok()
            .as_deref()
            .unwrap_or(dir)
            .file_name()
            .map(|n| n.to_string_lossy().into_owned());
        let tasks = [Task::Transcribe, Task::Translate];
        ModelFacts {
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
        }
    }
}
