//! A model in; how long each part of the work takes on this machine out, with so many tokens a window as were asked for, whatever the
//! model says: so that engines can be compared with models of random weights. Serves nothing.

use std::{
    cell::OnceCell,
    hint::black_box,
    io::{self, BufRead, Write},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    audio::{Pcm16k, SAMPLE_RATE},
    decoder::{Decoder, Prompt, Rules, most_after},
    encoder::{self, Encoded},
    kernels::peaks,
    model::{Choice, ChoiceError, Model},
    pipeline::{self, Cancel, Decoding, Language, Options, PipelineError, Task},
};

mod measure;
mod scores;

pub use measure::Measure;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which model, and how.
    pub model: Choice,
    /// Tokens of a window.
    pub tokens: usize,
    /// How often each thing is measured, after once that is not counted.
    pub rounds: usize,
    /// Whether what to measure comes on standard input, a line each.
    pub turns: bool,
}

/// Why nothing was measured, in one sentence.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each variant is its sentence
pub enum BenchError {
    #[error(transparent)]
    Load(#[from] ChoiceError),
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error("{0}")]
    Unknown(String),
    #[error("the scores of {}: {problem}", file.display())]
    Scores { file: PathBuf, problem: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Measures, and writes a table, or with `turns` the milliseconds of each line that comes.
pub fn run(request: &Request, input: impl BufRead, out: &mut impl Write) -> Result<(), BenchError> {
    let started = Instant::now();
    let model = &request.model.load()?;
    let bench = Bench {
        model,
        window: OnceCell::new(),
    };
    if request.turns {
        return bench.take_turns(input, out);
    }
    writeln!(
        out,
        "{}, {} engine, {}, {} thread(s): loaded in {:.2} s; {} rounds",
        model.facts().name,
        model.engine_name(),
        model.precision(),
        model.threads(),
        started.elapsed().as_secs_f64(),
        request.rounds,
    )?;
    writeln!(out, "{:<44} {:>12} {:>12}", "", "least", "median")?;
    for measure in Measure::usual(model, request.tokens) {
        bench.measured(&measure)?;
        let mut took = Vec::new();
        for _ in 0..request.rounds.max(1) {
            took.push(bench.measured(&measure)?);
        }
        took.sort_by(f64::total_cmp);
        let (least, median) = (took[0], took[took.len() / 2]);
        let unit = measure.unit();
        writeln!(
            out,
            "{:<44} {least:>9.2} {unit:<2} {median:>9.2} {unit:<2}",
            measure.to_string()
        )?;
    }
    Ok(())
}

/// A model that is measured.
struct Bench<'m> {
    model: &'m Model,
    /// The window that steps listen to.
    window: OnceCell<Encoded>,
}

impl Bench<'_> {
    /// A line in, its figure out, until nothing more comes. Begins with `ready`.
    fn take_turns(&self, input: impl BufRead, out: &mut impl Write) -> Result<(), BenchError> {
        writeln!(out, "ready")?;
        out.flush()?;
        for line in input.lines() {
            let measure: Measure = line?.parse().map_err(BenchError::Unknown)?;
            writeln!(out, "{}", self.measured(&measure)?)?;
            out.flush()?;
        }
        Ok(())
    }

    /// One figure: milliseconds, or what [`Measure::unit`] says.
    fn measured(&self, measure: &Measure) -> Result<f64, BenchError> {
        Ok(match *measure {
            Measure::Features => {
                let sound = sound(WINDOW);
                milliseconds(|| {
                    black_box(self.model.extractor.extract(sound.samples()));
                    Ok(())
                })?
            }
            Measure::Encoder => {
                let features = self.model.extractor.extract(sound(WINDOW).samples());
                milliseconds(|| Ok(encoder::encode(self.model, &features).map(|_| ())?))?
            }
            Measure::Step { context, beams } => self.step(context, beams)?,
            Measure::Transcribe {
                seconds,
                tokens,
                tail,
            } => {
                let sound = sound(seconds);
                let options = Options {
                    encoder_tail: tail.map(Duration::from_secs_f64),
                    ..options(self.model, tokens)
                };
                milliseconds(|| transcribe(self.model, &sound, &options))?
            }
            Measure::Clients {
                count,
                seconds,
                tokens,
            } => {
                let sound = sound(seconds);
                let options = options(self.model, tokens);
                milliseconds(|| clients(self.model, count, &sound, &options))?
            }
            Measure::Scores(ref file) => {
                let started = Instant::now();
                scores::write(self.model, file)?;
                started.elapsed().as_secs_f64() * 1000.0
            }
            Measure::Peak(format) => peaks::billions(format, self.model.threads()),
            Measure::Bandwidth => peaks::bandwidth(self.model.threads()),
        })
    }

    /// One step of a search after so many tokens: the difference of two searches, one of which goes on for [`STEPS`] more.
    fn step(&self, context: usize, beams: usize) -> Result<f64, PipelineError> {
        let encoded = match self.window.get() {
            Some(encoded) => encoded,
            None => {
                let features = self.model.extractor.extract(sound(5.0).samples());
                let encoded = encoder::encode(self.model, &features)?;
                self.window.get_or_init(|| encoded)
            }
        };
        let config = self.model.config();
        let tokens = &config.tokens;
        let language = tokens.codes().into_iter().next();
        let prompt = Prompt::new(tokens, language.as_deref(), Task::Transcribe, false);
        let prompt = prompt.ok_or(PipelineError::UnsupportedTask {
            task: Task::Transcribe,
        })?;
        let before = context.saturating_sub(prompt.tokens().len() + 1) as u32;
        let before: Vec<u32> = (0..before).map(|i| i % 100).collect();
        let prompt = prompt.after(tokens, config.sizes.decoder_positions, &[], &before);
        room(self.model, prompt.tokens().len(), 1 + STEPS)?;
        let cancel = Cancel::default();
        let mut decoder = Decoder::new(self.model, encoded)?;
        let ready = decoder.read(&prompt, &cancel)?;
        let mut search = |count| {
            let decoding = Decoding {
                beam_size: beams,
                ..forced(count)
            };
            let rules = Rules::new(tokens, false).asked(tokens, &decoding);
            milliseconds(|| {
                Ok(decoder
                    .decode(&ready, &rules, &decoding, 0.0, &cancel)
                    .map(|_| ())?)
            })
        };
        let (one, more) = (search(1)?, search(1 + STEPS)?);
        Ok((more - one) / STEPS as f64)
    }
}

/// From samples to text.
fn transcribe(model: &Model, sound: &Pcm16k, options: &Options) -> Result<(), PipelineError> {
    room(model, PROMPT, options.decoding.min_new_tokens)?;
    pipeline::transcribe(model, sound, options, &Cancel::default()).map(|_| ())
}

/// So many at once, each for itself, until the last has its text.
fn clients(model: &Model, count: usize, sound: &Pcm16k, options: &Options) -> Result<(), PipelineError> {
    thread::scope(|scope| {
        let client = || transcribe(model, sound, options);
        let clients: Vec<_> = (0..count).map(|_| scope.spawn(client)).collect();
        let panicked = |_| PipelineError::Engine("a worker panicked".to_owned());
        clients
            .into_iter()
            .try_for_each(|client| client.join().map_err(panicked)?)
    })
}

fn milliseconds(work: impl FnOnce() -> Result<(), PipelineError>) -> Result<f64, PipelineError> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64() * 1000.0)
}

/// A window, in seconds.
const WINDOW: f64 = 30.0;
/// Most tokens that a window begins with: start, language, task, and that there are no timestamps.
const PROMPT: usize = 4;
/// Steps between the two searches whose times are compared.
const STEPS: usize = 32;

/// Noise as loud as speech, the same each time.
fn sound(seconds: f64) -> Pcm16k {
    let mut rng = StdRng::seed_from_u64(1);
    let samples = (0..(seconds * f64::from(SAMPLE_RATE)) as usize).map(|_| rng.random_range(-0.1..0.1));
    Pcm16k::from(samples.collect::<Vec<f32>>())
}

/// Refuses what would end before it has as many tokens as are to be measured.
fn room(model: &Model, prompt: usize, tokens: usize) -> Result<(), PipelineError> {
    let most = most_after(model.config(), prompt);
    if tokens <= most {
        return Ok(());
    }
    Err(PipelineError::InvalidOptions(format!(
        "{tokens} tokens cannot be measured: the model ends a window after {most} (max_length in generation_config.json)"
    )))
}

/// So many tokens, no more, no less, and no second thoughts about them.
fn forced(tokens: usize) -> Decoding {
    Decoding {
        temperatures: vec![0.0],
        compression_ratio_threshold: None,
        logprob_threshold: None,
        no_speech_threshold: None,
        min_new_tokens: tokens,
        max_new_tokens: Some(tokens),
        ..Decoding::default()
    }
}

fn options(model: &Model, tokens: usize) -> Options {
    let language = model.config().tokens.codes().into_iter().next();
    Options {
        language: language.map_or(Language::Auto, Language::Code),
        vad: None,
        chunk_overlap: Duration::ZERO,
        decoding: forced(tokens),
        ..Options::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundled;

    fn request(turns: bool) -> Request {
        Request {
            model: Choice {
                threads: 1,
                ..Choice::default()
            },
            tokens: 3,
            rounds: 1,
            turns,
        }
    }

    fn said(request: &Request, input: &str) -> Result<String, BenchError> {
        let mut out = Vec::new();
        run(request, input.as_bytes(), &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn each_line_is_answered_by_a_figure_and_one_that_is_not_known_by_a_sentence() {
        let lines = "features\nencoder\nstep 10 1\nstep 10 2\ntranscribe 1 3\ntranscribe 1 3 2\nclients 2 1 3\npeak f32\nbandwidth\n";
        let said = said(&request(true), lines).unwrap();
        let mut figures = said.lines();
        assert_eq!(figures.next(), Some("ready"));
        let figures: Vec<f64> = figures.map(|line| line.parse().unwrap()).collect();
        assert_eq!(figures.len(), 9);
        assert!(figures.iter().all(|figure| figure.is_finite()), "{figures:?}");
        let error = self::said(&request(true), "transcribe 1 1000\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("1000 tokens cannot be measured: the model ends a window after "),
            "{error}"
        );
        let error = self::said(&request(true), "sing\n").unwrap_err().to_string();
        assert!(error.starts_with("\"sing\" cannot be measured: "), "{error}");
    }

    #[test]
    fn a_window_has_as_many_tokens_as_were_asked_for() {
        let model = Model::load(&bundled::find(bundled::DEFAULT).unwrap(), 1).unwrap();
        // The bundled model says nothing of silence, unless it must; of noise it would say more.
        for tokens in [1, 7, 40] {
            let silence = Pcm16k::from(vec![0.0; SAMPLE_RATE as usize]);
            let options = options(&model, tokens);
            let mut counts = Vec::new();
            let each = |window: &pipeline::WindowResult| {
                counts.push(
                    window
                        .segments
                        .iter()
                        .map(|segment| segment.tokens.len())
                        .sum::<usize>(),
                );
            };
            pipeline::transcribe_each(&model, &silence, &options, &Cancel::default(), each).unwrap();
            assert_eq!(counts.len(), 1);
            assert!(counts[0] <= tokens, "{counts:?}");
            let features = model.extractor.extract(silence.samples());
            let encoded = encoder::encode(&model, &features).unwrap();
            let mut decoder = Decoder::new(&model, &encoded).unwrap();
            let config = &model.config().tokens;
            let prompt = Prompt::new(config, Some("en"), Task::Transcribe, true).unwrap();
            let ready = decoder.read(&prompt, &Cancel::default()).unwrap();
            for beam_size in [1, 3] {
                let decoding = Decoding {
                    beam_size,
                    ..forced(tokens)
                };
                let rules = Rules::new(config, true).asked(config, &decoding);
                let found = decoder
                    .decode(&ready, &rules, &decoding, 0.0, &Cancel::default())
                    .unwrap();
                assert_eq!(found.ids.len(), tokens, "{beam_size} beams");
            }
        }
    }

    #[test]
    fn the_table_has_a_line_for_each_thing() {
        let said = said(&request(false), "").unwrap();
        assert!(
            said.starts_with("whisper-nano-digits, own engine, f32, 1 thread(s): loaded in "),
            "{said}"
        );
        for line in [
            "encoder",
            "decoder step after 10 tokens",
            "30 s, 3 tokens",
            "memory is read at",
        ] {
            assert!(said.lines().any(|l| l.starts_with(line)), "{line}: {said}");
        }
    }
}
