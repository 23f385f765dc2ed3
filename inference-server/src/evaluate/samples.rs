//! A folder in; the recordings in it with the words that they should become out. Decodes no audio.
//!
//! A folder holds either `samples.jsonl`, with a line `{"file": "a.wav", "text": "what is said"}` for each recording, or for
//! each recording a text of the same name: `a.wav` and `a.txt`. Both fit into a ConfigMap, whose keys know no folders.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::Deserialize;

use super::EvaluateError;
use crate::bundled;

/// The file that lists recordings and texts.
const LIST: &str = "samples.jsonl";

/// Where the samples are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Samples {
    /// With the bundled model: those that are spoken clearly, which any model of English must hear.
    Bundled,
    /// In this folder.
    Folder(PathBuf),
}

impl FromStr for Samples {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Samples, Infallible> {
        Ok(match text {
            "bundled" => Samples::Bundled,
            folder => Samples::Folder(folder.into()),
        })
    }
}

/// A recording and what is said in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// Its name, for people.
    pub(super) name: String,
    /// The recording.
    pub(super) audio: PathBuf,
    /// What is said.
    pub(super) text: String,
}

#[derive(Deserialize)]
struct Line {
    file: String,
    text: String,
    #[serde(default)]
    clear: bool,
}

impl Samples {
    /// All samples, in the order of the list or of their names.
    pub(super) fn read(&self) -> Result<Vec<Sample>, EvaluateError> {
        let folder = match self {
            Samples::Folder(folder) => folder.clone(),
            Samples::Bundled => bundled::find(bundled::DEFAULT)
                .map_err(|e| EvaluateError::SamplesNotFound(e.to_string()))?
                .join("samples"),
        };
        let list = folder.join(LIST);
        let found = if list.is_file() {
            listed(&folder, &list, *self == Samples::Bundled)?
        } else {
            paired(&folder)?
        };
        if found.is_empty() {
            let message = format!(
                "{} holds no samples: put recordings with texts of the same name there (a.wav and a.txt), or {LIST}",
                folder.display()
            );
            return Err(EvaluateError::SamplesNotFound(message));
        }
        Ok(found)
    }
}

/// The recordings of a list; only the clear ones where that is asked for.
fn listed(folder: &Path, list: &Path, only_clear: bool) -> Result<Vec<Sample>, EvaluateError> {
    let text = read(list)?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let samples = lines.map(|(at, line)| {
        let wrong = |error: &dyn std::fmt::Display| {
            EvaluateError::InvalidSample(format!("line {} of {}: {error}", at + 1, list.display()))
        };
        let Line { file, text, clear } = serde_json::from_str(line).map_err(|e| wrong(&e))?;
        let audio = folder.join(&file);
        if !audio.is_file() {
            return Err(wrong(&format!("there is no {file}")));
        }
        let sample = Sample {
            name: file,
            audio,
            text,
        };
        Ok((clear || !only_clear).then_some(sample))
    });
    let samples: Result<Vec<_>, _> = samples.collect();
    Ok(samples?.into_iter().flatten().collect())
}

fn paired(folder: &Path) -> Result<Vec<Sample>, EvaluateError> {
    let failed = |error: &dyn std::fmt::Display| {
        EvaluateError::SamplesNotFound(format!("failed to read {}: {error}", folder.display()))
    };
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(|e| failed(&e))? {
        let name = entry.map_err(|e| failed(&e))?.file_name();
        let name = name.into_string().map_err(|name| {
            let name = name.display();
            EvaluateError::InvalidSample(format!("the name {name} in {} is not UTF-8", folder.display()))
        })?;
        // A ConfigMap's volume has hidden folders of its own.
        if !name.starts_with('.') && folder.join(&name).is_file() {
            names.insert(name);
        }
    }
    let mut samples = Vec::new();
    for name in names.iter().filter(|name| !name.ends_with(".txt")) {
        let audio = folder.join(name);
        let text = audio.with_extension("txt");
        if !text.is_file() {
            let missing = text.file_name().unwrap_or_default().display();
            let message = format!(
                "{} holds {name} and no {missing} with what is said in it",
                folder.display()
            );
            return Err(EvaluateError::InvalidSample(message));
        }
        samples.push(Sample {
            name: name.clone(),
            text: read(&text)?,
            audio,
        });
    }
    Ok(samples)
}

fn read(path: &Path) -> Result<String, EvaluateError> {
    let text = fs::read_to_string(path);
    text.map_err(|e| EvaluateError::InvalidSample(format!("failed to read {}: {e}", path.display())))
}
