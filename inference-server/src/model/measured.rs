//! A model in; the precision that `auto` takes for it on this kind of machine out: the fastest whose scores are near those of single
//! precision. Measured once, over a few spoken sentences, and kept in a hidden file beside the model.

use std::{
    fmt, fs,
    io::{self, Write},
    iter,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tract_onnx::prelude::TractResult;

use super::{
    Config, Dtype, Files, Graphs, ModelError, Precision, PrepackError, Request, Whisper, available_threads,
    engine,
    graph::one_line,
    kept::{self, About},
};
use crate::{
    audio,
    decoder::Prompt,
    digest::Digest,
    features::{LogMel, MelExtractor},
    kernels::{functions::greatest, operators::Machine, tile::Isa, turn::Memories},
    memory,
    pipeline::Task,
};

/// What is listened to: `measured/make.sh` makes it.
const SPEECH: &[u8] = include_bytes!("measured/speech.opus");
/// Longer than that.
const LONG: Duration = Duration::from_secs(30);
/// Tokens that are written, after the prompt.
const TOKENS: usize = 32;
/// The least cosine between scores that are near each other.
const NEAR: f32 = 0.999;

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What `auto` takes.
    pub precision: Precision,
    /// The least cosine between a token's scores and those of single precision, for each precision that was tried, the fastest first.
    pub cosines: Vec<(Precision, f32)>,
}

/// The file's content.
#[derive(Serialize, Deserialize)]
struct Content {
    about: About,
    measured: Measured,
}

/// Where the file is of a model in a directory, for this kind of machine.
fn path(dir: &Path, dtype: Dtype) -> PathBuf {
    kept::path(dir, &format!("measured-{dtype}"))
}

impl Measured {
    /// What was measured before of a model in a directory, if it can be used; why it cannot is logged.
    pub(super) fn find(dir: &Path, dtype: Dtype) -> Option<Measured> {
        let path = path(dir, dtype);
        match open(dir, &path) {
            Ok(found) => found.map(|content| content.measured),
            Err(why) => {
                let path = path.display();
                tracing::warn!(%path, why, "what was measured of the precisions cannot be used");
                None
            }
        }
    }

    /// What was measured before of the model in a directory, whose digest this is, or is measured now, with all of the cgroup's processors, and
    /// written beside it.
    pub fn keep(dir: &Path, digest: &Digest) -> Result<Measured, PrepackError> {
        let files = Files::find(dir, None)?;
        let path = path(dir, files.graphs.dtype);
        if let Ok(Some(content)) = open(dir, &path)
            && content.about.digest == *digest
        {
            return Ok(content.measured);
        }
        let about = About::now(dir, digest).map_err(|error| ModelError::read(dir, error))?;
        let measured = Self::of(&files)?;
        let content = Content { about, measured };
        let write = |mut file: &fs::File| {
            let text = serde_json::to_vec(&content).map_err(io::Error::other)?;
            file.write_all(&text)
        };
        kept::put(&path, write).map_err(|source| PrepackError::Write {
            dir: dir.to_owned(),
            source,
        })?;
        Ok(content.measured)
    }

    /// What was measured before of the model in a directory, or is measured now.
    pub fn find_or_measure(dir: &Path, dtype: Option<Dtype>) -> Result<Measured, PrepackError> {
        let files = Files::find(dir, dtype)?;
        Self::find(dir, files.graphs.dtype).map_or_else(|| Self::of(&files), Ok)
    }

    /// Measures.
    fn of(files: &Files) -> Result<Measured, PrepackError> {
        let config = Config::read(files)?;
        let machine = Machine::new(available_threads());
        let mut measured = Measured {
            precision: Precision::F32,
            cosines: Vec::new(),
        };
        let mut rougher = faster(machine.isa).peekable();
        if rougher.peek().is_none() {
            return Ok(measured);
        }
        tracing::info!("the precisions are measured, which is done once for each kind of machine");
        let probe = Probe::new(&config)?;
        let exact = probe.ask(&files.graphs, &machine, Precision::F32, None)?;
        for precision in rougher {
            let rough = probe.ask(&files.graphs, &machine, precision, Some(&exact.tokens))?;
            let cosine = iter::zip(&rough.scores, &exact.scores).map(|(a, b)| cosine(a, b));
            let least = cosine.reduce(f32::min).unwrap_or_default();
            measured.cosines.push((precision, least));
            if least >= NEAR {
                measured.precision = precision;
                break;
            }
        }
        Ok(measured)
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (precision, cosine)) in self.cosines.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{precision} {cosine:.4}")?;
        }
        Ok(())
    }
}

fn open(dir: &Path, path: &Path) -> Result<Option<Content>, String> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let content: Content = serde_json::from_slice(&text).map_err(|_| "the file is damaged")?;
    content.about.check(dir)?;
    Ok(Some(content))
}

/// What may be faster than single precision, the fastest first.
fn faster(isa: Isa) -> impl Iterator<Item = Precision> {
    let all = [Precision::Int8, Precision::Int8Bf16, Precision::Bf16].into_iter();
    all.filter(move |precision| precision.is_faster(isa))
}

/// What models are asked.
struct Probe<'c> {
    config: &'c Config,
    speech: LogMel,
    prompt: Prompt,
}

/// The tokens of a model, and its scores after each of them.
struct Answer {
    tokens: Vec<u32>,
    scores: Vec<Vec<f32>>,
}

impl Probe<'_> {
    fn new(config: &Config) -> Result<Probe<'_>, PrepackError> {
        let said = |what: String| PrepackError::Probe(what);
        let pcm = audio::decode(SPEECH, LONG).map_err(|error| said(error.to_string()))?;
        let codes = config.tokens.codes();
        let language = codes.iter().find(|code| *code == "en").or(codes.first());
        let prompt = Prompt::new(
            &config.tokens,
            language.map(String::as_str),
            Task::Transcribe,
            false,
        );
        Ok(Probe {
            config,
            speech: MelExtractor::new(&config.features).extract(pcm.samples()),
            prompt: prompt.ok_or_else(|| said("it cannot transcribe".to_owned()))?,
        })
    }

    /// Has a model listen, and write what it finds likeliest, or the tokens that are given.
    fn ask(
        &self,
        graphs: &Graphs,
        machine: &Machine,
        precision: Precision,
        tokens: Option<&[u32]>,
    ) -> Result<Answer, PrepackError> {
        let whisper =
            engine::own(graphs, self.config, machine, precision)?.map_err(PrepackError::Exported)?;
        let answer = match tokens {
            Some(tokens) => self.read(&whisper, tokens),
            None => self.write(&whisper),
        };
        drop(whisper);
        memory::give_back();
        answer.map_err(|error| PrepackError::Probe(one_line(&error)))
    }

    /// The likeliest tokens, one after another, but no end: there is something to say.
    fn write(&self, whisper: &Whisper) -> TractResult<Answer> {
        let (isa, end) = (Isa::best(), self.config.tokens.end as usize);
        let room = self.config.sizes.decoder_positions;
        let memories = listen(whisper, &self.speech)?;
        let (mut cache, mut next) = (whisper.cache(), self.prompt.tokens().to_vec());
        let most = room.min(next.len() + TOKENS);
        let (mut tokens, mut scores): (Vec<u32>, Vec<Vec<f32>>) = Default::default();
        while tokens.len() + next.len() <= most {
            tokens.extend(&next);
            let reply = whisper.read(vec![Request {
                cache,
                memories: memories.clone(),
                wanted: (0..next.len()).collect(),
                tokens: next,
                watch: false,
            }])?;
            let Some(reply) = reply.into_iter().next() else {
                break;
            };
            cache = reply.cache;
            scores.extend(reply.scores);
            let mut last = scores.last().cloned().unwrap_or_default();
            if let Some(end) = last.get_mut(end) {
                *end = f32::NEG_INFINITY;
            }
            next = vec![greatest(isa, &last) as u32];
        }
        Ok(Answer { tokens, scores })
    }

    /// What it thinks of these tokens.
    fn read(&self, whisper: &Whisper, tokens: &[u32]) -> TractResult<Answer> {
        let replies = whisper.read(vec![Request {
            cache: whisper.cache(),
            memories: listen(whisper, &self.speech)?,
            wanted: (0..tokens.len()).collect(),
            tokens: tokens.to_vec(),
            watch: false,
        }])?;
        let scores = replies.into_iter().flat_map(|reply| reply.scores);
        Ok(Answer {
            tokens: tokens.to_vec(),
            scores: scores.collect(),
        })
    }
}

fn listen(whisper: &Whisper, speech: &LogMel) -> TractResult<Arc<Memories>> {
    let (_, memories) = whisper.encode(speech)?;
    Ok(Arc::new(memories))
}

/// The cosine of the angle between two rows; 0 where one has what is no number.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| {
        iter::zip(a, b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum::<f64>()
    };
    let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    if cosine.is_nan() { 0.0 } else { cosine as f32 }
}

#[cfg(test)]
mod tests;
