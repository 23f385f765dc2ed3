//! The names of stages on standard input, one a line; the milliseconds that each took on standard output.
//! The Rust half of `bench/`: run by a program that measures another engine in between.
//!
//!     stages MODEL_DIR THREADS AUDIO_FILE [PRECISION]

#![allow(clippy::print_stdout)] // its output is its purpose

use std::{
    error::Error,
    io::{self, BufRead, Write},
    path::Path,
    time::{Duration, Instant},
};

use inference_server::{
    audio,
    decoder::{Decoder, Prompt},
    encoder,
    features::MelExtractor,
    model::{Model, Precision},
    pipeline::Task,
};

/// Decoder steps of one measurement.
const STEPS: u32 = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, directory, threads, file, precision @ ..] = arguments.as_slice() else {
        return Err("usage: stages MODEL_DIR THREADS AUDIO_FILE [PRECISION]".into());
    };
    let precision = precision
        .first()
        .map_or(Ok(Precision::Auto), |name| name.parse())?;
    let model = Model::load_with(Path::new(directory), None, precision, threads.parse()?)?;
    let audio = audio::decode(&std::fs::read(file)?, Duration::from_secs(3600))?;
    let extractor = MelExtractor::new(&model.config().features);
    let features = extractor.extract(audio.samples());
    let encoded = encoder::encode(&model, &features)?;
    let tokens = &model.config().tokens;
    let language = tokens.codes().into_iter().find(|code| code == "en");
    let prompt = Prompt::new(tokens, language.as_deref(), Task::Transcribe, false).ok_or("no English")?;
    println!("ready");
    for line in io::stdin().lock().lines() {
        let start;
        let mut divide_by = 1;
        match line?.as_str() {
            "features" => {
                start = Instant::now();
                extractor.extract(audio.samples());
            }
            "encoder" => {
                start = Instant::now();
                encoder::encode(&model, &features)?;
            }
            "decoder" => {
                let mut decoder = Decoder::new(&model, &encoded)?;
                let mut sequence = decoder.first(tokens.start)?;
                for &token in &prompt.tokens()[1..] {
                    decoder.step(&mut sequence, token)?;
                }
                start = Instant::now();
                for _ in 0..STEPS {
                    decoder.step(&mut sequence, tokens.start)?;
                }
                divide_by = STEPS;
            }
            other => return Err(format!("no stage is called {other}").into()),
        }
        println!(
            "{}",
            start.elapsed().as_secs_f64() * 1000.0 / f64::from(divide_by)
        );
        io::stdout().flush()?;
    }
    Ok(())
}
