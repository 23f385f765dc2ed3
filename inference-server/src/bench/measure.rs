//! The names of what can be measured in; what is meant out. Pure.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::{
    kernels::tile::{Format, Isa},
    model::Model,
};

/// One thing that can be measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    /// Log-mel features of 30 s.
    Features,
    /// The encoder over one window.
    Encoder,
    /// One step of a search.
    Step {
        /// Tokens before it.
        context: usize,
        /// 1 is greedy.
        beams: usize,
    },
    /// A recording, from samples to text.
    Transcribe {
        /// Its length.
        seconds: f64,
        /// Tokens of each of its windows.
        tokens: usize,
        /// Seconds of silence after its audio that are a part of a window that is not full.
        tail: Option<f64>,
    },
    /// The same for many at once.
    Clients {
        /// How many.
        count: usize,
        /// The length of each recording.
        seconds: f64,
        /// Tokens of each window.
        tokens: usize,
    },
    /// The scores after each token of a window that a file has, which are written beside it.
    Scores(PathBuf),
    /// Multiplications and additions that the cores do when nothing keeps them waiting, in thousands of millions a second.
    Peak(Format),
    /// Memory that the cores read, in thousands of millions of bytes a second.
    Bandwidth,
}

const NAMES: &str = "features, encoder, step CONTEXT BEAMS, transcribe SECONDS TOKENS [TAIL], clients COUNT SECONDS TOKENS, scores FILE, peak FORMAT, bandwidth";
const FORMATS: [(&str, Format); 3] = [
    ("f32", Format::F32),
    ("bf16", Format::Bf16),
    ("int8", Format::Int8),
];

impl Measure {
    /// What a person wants to know of a model, with so many tokens a window.
    pub(super) fn usual(model: &Model, tokens: usize) -> Vec<Measure> {
        let mut all = vec![Measure::Features, Measure::Encoder];
        let most = model.config().sizes.decoder_positions / 2;
        for (context, beams) in [(10, 1), (100, 1), (200, 1), (10, 5), (200, 5)] {
            if context <= most {
                all.push(Measure::Step { context, beams });
            }
        }
        for (seconds, tail) in [(5.0, None), (5.0, Some(2.0)), (30.0, None)] {
            all.push(Measure::Transcribe {
                seconds,
                tokens,
                tail,
            });
        }
        all.push(Measure::Clients {
            count: 4,
            seconds: 30.0,
            tokens,
        });
        let takes = |format: &Format| Isa::best().takes(*format);
        all.extend(
            FORMATS
                .map(|(_, format)| format)
                .into_iter()
                .filter(takes)
                .map(Measure::Peak),
        );
        all.push(Measure::Bandwidth);
        all
    }

    pub(super) fn unit(&self) -> &'static str {
        match self {
            Measure::Peak(_) => "G",
            Measure::Bandwidth => "GB",
            _ => "ms",
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Measure::Features => write!(f, "features of 30 s"),
            Measure::Encoder => write!(f, "encoder over a window"),
            Measure::Step { context, beams: 1 } => write!(f, "decoder step after {context} tokens"),
            Measure::Step { context, beams } => {
                write!(f, "decoder step after {context} tokens, {beams} beams")
            }
            Measure::Transcribe {
                seconds,
                tokens,
                tail: None,
            } => write!(f, "{seconds} s, {tokens} tokens a window"),
            Measure::Transcribe {
                seconds,
                tokens,
                tail: Some(tail),
            } => write!(f, "{seconds} s, {tokens} tokens, {tail} s of tail"),
            Measure::Clients {
                count,
                seconds,
                tokens,
            } => {
                write!(f, "{count} clients at once, {seconds} s, {tokens} tokens")
            }
            Measure::Scores(file) => write!(f, "scores of {}", file.display()),
            Measure::Peak(format) => {
                let name = FORMATS
                    .iter()
                    .find(|(_, known)| known == format)
                    .map_or("", |(name, _)| *name);
                write!(f, "operations a second in {name}, at most")
            }
            Measure::Bandwidth => write!(f, "memory is read at, a second"),
        }
    }
}

impl FromStr for Measure {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let unknown = || format!("\"{line}\" cannot be measured: it is one of {NAMES}");
        let words: Vec<&str> = line.split_whitespace().collect();
        let count = |text: &str| text.parse::<usize>().ok().filter(|n| *n > 0).ok_or_else(unknown);
        let seconds = |text: &str| {
            let seconds: Option<f64> = text.parse().ok();
            seconds
                .filter(|s| (0.1..=36_000.0).contains(s))
                .ok_or_else(unknown)
        };
        Ok(match words.as_slice() {
            ["features"] => Measure::Features,
            ["encoder"] => Measure::Encoder,
            ["step", context, beams] => Measure::Step {
                context: count(context)?,
                beams: count(beams)?,
            },
            ["transcribe", length, tokens, tail @ ..] if tail.len() < 2 => Measure::Transcribe {
                seconds: seconds(length)?,
                tokens: count(tokens)?,
                tail: tail.first().map(|tail| seconds(tail)).transpose()?,
            },
            ["clients", clients, length, tokens] => Measure::Clients {
                count: count(clients)?,
                seconds: seconds(length)?,
                tokens: count(tokens)?,
            },
            ["scores", file] => Measure::Scores(file.into()),
            ["peak", name] => {
                let format = FORMATS
                    .iter()
                    .find(|(known, _)| known == name)
                    .ok_or_else(unknown)?
                    .1;
                if !Isa::best().takes(format) {
                    return Err(format!("this machine has no instructions for {name}"));
                }
                Measure::Peak(format)
            }
            ["bandwidth"] => Measure::Bandwidth,
            _ => return Err(unknown()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_others_are_answered_by_those_that_there_are() {
        assert_eq!(
            "step 100 5".parse(),
            Ok(Measure::Step {
                context: 100,
                beams: 5
            })
        );
        let window = Measure::Transcribe {
            seconds: 2.5,
            tokens: 60,
            tail: None,
        };
        assert_eq!("transcribe 2.5 60".parse(), Ok(window));
        let cut = Measure::Transcribe {
            seconds: 5.0,
            tokens: 12,
            tail: Some(2.0),
        };
        assert_eq!("transcribe 5 12 2".parse(), Ok(cut));
        for wrong in [
            "",
            "step",
            "step 1",
            "step 0 1",
            "transcribe nan 3",
            "transcribe -1 3",
            "transcribe 5 3 1 1",
            "peak f64",
            "encoder 1",
        ] {
            let error = wrong.parse::<Measure>().unwrap_err();
            assert!(
                error.contains("it is one of features, encoder, step CONTEXT BEAMS"),
                "{error}"
            );
        }
    }
}
