//! An audio file in; where somebody speaks in it, and what finding that cost, on standard output.
//!
//!     vad AUDIO_FILE

#![allow(clippy::print_stdout)] // its output is its purpose

use std::{
    error::Error,
    time::{Duration, Instant},
};

use inference_server::{
    audio::{self, SAMPLE_RATE},
    vad::{self, Activity, Detector, Settings},
};

/// The file is heard so many times, and the fastest counts.
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("usage: vad AUDIO_FILE")?;
    let audio = audio::decode(&std::fs::read(file)?, Duration::from_secs(24 * 3600))?;
    let samples = audio.samples();
    let start = Instant::now();
    let detector = Detector::load()?;
    println!("loaded in {:.1} ms", start.elapsed().as_secs_f64() * 1000.0);

    let (mut probabilities, mut fastest) = (Vec::new(), Duration::MAX);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut activity = Activity::new(&detector);
        probabilities = activity.push(samples)?;
        probabilities.extend(activity.finish()?);
        fastest = fastest.min(start.elapsed());
    }
    let seconds = |samples: usize| samples as f64 / f64::from(SAMPLE_RATE);
    for span in vad::spans(&probabilities, &Settings::default().limits()?, samples.len()) {
        println!(
            "speech from {:.2} s to {:.2} s",
            seconds(span.start),
            seconds(span.end)
        );
    }
    let cost = fastest.as_secs_f64() * 1000.0 / seconds(samples.len());
    println!("{cost:.2} ms a second of audio, on one thread");
    Ok(())
}
