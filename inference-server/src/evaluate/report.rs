//! What was heard of each sample in; the report out. It fits into the message that a container leaves the kubelet (4096 bytes).

use serde::Serialize;

use super::{Metric, samples::Sample, words};

/// Samples with errors that are told, the worst first.
const TOLD: usize = 10;
/// Characters of a text that are told.
const LONGEST: usize = 120;
/// Bytes of the JSON, with some room below what a kubelet reads.
const LARGEST: usize = 4000;

/// How good a model is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// How that was measured.
    pub metric: &'static str,
    /// The value, rounded to four places.
    pub value: f64,
    /// The worst value that is good enough.
    pub threshold: f64,
    /// Whether it is good enough.
    pub passed: bool,
    /// Samples that it was tried on.
    pub samples: usize,
    /// Samples with errors, the worst first.
    pub failing: Vec<Failing>,
}

/// A sample that is not as it should be.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Failing {
    /// Of words.
    Heard(Heard),
    /// Of tensors.
    Unlike(Likeness),
}

/// A recording that was heard with errors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Heard {
    /// Its name.
    pub name: String,
    /// What is said in it.
    pub expected: String,
    /// What the model heard.
    pub heard: String,
    /// Words that are wrong, missing or too many.
    pub errors: usize,
}

/// How alike the outputs of a sample are to those expected.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Likeness {
    /// Its name.
    pub name: String,
    /// The output that is least alike.
    pub output: String,
    /// The mean over its outputs.
    pub similarity: f64,
}

impl Metric {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Wer => "wer",
            Metric::Similarity => "similarity",
        }
    }
}

impl Report {
    /// How good a model of tensors is: at least this similarity is good enough.
    pub(super) fn of_likeness(metric: Metric, threshold: f64, mut found: Vec<Likeness>) -> Report {
        let samples = found.len();
        let exact = found.iter().map(|one| one.similarity).sum::<f64>() / samples.max(1) as f64;
        found.retain(|one| one.similarity < threshold);
        found.sort_by(|a, b| a.similarity.total_cmp(&b.similarity));
        found.truncate(TOLD);
        let told = found.into_iter().map(|one| {
            Failing::Unlike(Likeness {
                name: cut(&one.name),
                output: cut(&one.output),
                similarity: rounded(one.similarity),
            })
        });
        Report {
            metric: metric.name(),
            value: rounded(exact),
            threshold,
            passed: exact >= threshold,
            samples,
            failing: told.collect(),
        }
    }

    /// The JSON, with fewer samples where it would be too long.
    pub fn json(&self) -> String {
        let mut report = self.clone();
        loop {
            let json = serde_json::json!(report).to_string();
            if json.len() <= LARGEST || report.failing.pop().is_none() {
                return json;
            }
        }
    }

    /// The verdict in a sentence.
    pub fn sentence(&self) -> String {
        let Report {
            metric,
            value,
            threshold,
            samples,
            ..
        } = self;
        let better = *metric == Metric::Similarity.name();
        let than = match (better, self.passed) {
            (false, true) => "at most",
            (false, false) => "above",
            (true, true) => "at least",
            (true, false) => "below",
        };
        let mut sentence =
            format!("{metric} is {value} over {samples} samples, {than} the threshold of {threshold}");
        if let Some(worst) = self.failing.first().filter(|_| !self.passed) {
            sentence += &match worst {
                Failing::Heard(Heard {
                    name,
                    expected,
                    heard,
                    ..
                }) => format!("; worst: {name}, which should be {expected:?} and was heard as {heard:?}"),
                Failing::Unlike(Likeness {
                    name,
                    output,
                    similarity,
                }) => format!(
                    "; worst: {name}, whose output {output} is least alike ({similarity} over all of its outputs)"
                ),
            };
        }
        sentence
    }
}

/// What was counted so far.
#[derive(Default)]
pub(super) struct Tally {
    errors: usize,
    words: usize,
    samples: usize,
    failing: Vec<Heard>,
}

impl Tally {
    /// Counts a sample, and tells its errors.
    pub(super) fn count(&mut self, sample: &Sample, heard: &str) -> usize {
        let (words, errors) = words::compare(&sample.text, heard);
        self.words += words;
        self.errors += errors;
        self.samples += 1;
        if errors > 0 {
            self.failing.push(Heard {
                name: cut(&sample.name),
                expected: cut(&sample.text),
                heard: cut(heard),
                errors,
            });
        }
        errors
    }

    /// The report. There are words: that was looked at before.
    pub(super) fn report(mut self, metric: Metric, threshold: f64) -> Report {
        let exact = self.errors as f64 / self.words.max(1) as f64;
        self.failing
            .sort_by_key(|sample| std::cmp::Reverse(sample.errors));
        self.failing.truncate(TOLD);
        Report {
            metric: metric.name(),
            value: rounded(exact),
            threshold,
            passed: exact <= threshold,
            samples: self.samples,
            failing: self.failing.into_iter().map(Failing::Heard).collect(),
        }
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn cut(text: &str) -> String {
    let text = text.trim();
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}
