//! A recording in, played at the speed of life; how long after the end of each word it was first told and was final, out.
//!
//!     live MODEL_DIR FILE [THREADS]
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a benchmark that cannot go on says so

use std::{
    path::Path,
    time::{Duration, Instant},
};

use inference_server::{
    audio,
    model::Model,
    pipeline::{self, Cancel, Conversation, Language, LiveOptions, Options, Update, WindowResult},
};

const PIECE: usize = 1600; // 100 ms

fn words(result: &WindowResult) -> Vec<String> {
    let segments = result
        .segments
        .iter()
        .flat_map(|segment| segment.text.split_whitespace());
    let plain = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    segments.map(plain).collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let threads = arguments.get(2).map_or(0, |threads| threads.parse().unwrap());
    let model = Model::load(Path::new(&arguments[0]), threads).unwrap();
    let bytes = std::fs::read(&arguments[1]).unwrap();
    let audio = audio::decode(&bytes, Duration::from_secs(600)).unwrap();
    let options = Options {
        language: Language::Code("en".to_owned()),
        ..Options::default()
    };
    let timed = Options {
        word_timestamps: true,
        ..options.clone()
    };
    let whole = pipeline::transcribe(&model, &audio, &timed, &Cancel::new()).unwrap();
    let ends: Vec<Duration> = whole
        .segments
        .iter()
        .flat_map(|segment| &segment.words)
        .map(|word| word.end)
        .collect();

    let live = LiveOptions {
        utterance_silence: Some(LiveOptions::UTTERANCE_SILENCE),
        interim_results: true,
        ..LiveOptions::default()
    };
    let mut conversation = Conversation::new(&model, &options, live).unwrap();
    let mut samples = audio.samples().to_vec();
    samples.resize(samples.len() + 2 * 16_000, 0.0);
    let (mut first, mut last) = (vec![None; ends.len()], None);
    let began = Instant::now();
    for (i, piece) in samples.chunks(PIECE).enumerate() {
        let spoken = Duration::from_millis(100) * (i as u32 + 1);
        std::thread::sleep(spoken.saturating_sub(began.elapsed()));
        for update in conversation.push(piece, &Cancel::new()).unwrap() {
            let now = began.elapsed();
            match update {
                Update::Interim { result, .. } => {
                    for (told, _) in first.iter_mut().zip(words(&result)) {
                        told.get_or_insert(now);
                    }
                }
                Update::Final(result) if !result.segments.is_empty() => {
                    for (told, _) in first.iter_mut().zip(words(&result)) {
                        told.get_or_insert(now);
                    }
                    last = Some((now, result.segments[0].text.clone()));
                }
                _ => {}
            }
        }
    }
    let (last, text) = last.expect("words");
    println!("{text:?}");
    let after = |time: Duration, end: Duration| time.as_secs_f64() - end.as_secs_f64();
    let mut firsts: Vec<f64> = first
        .iter()
        .zip(&ends)
        .filter_map(|(told, end)| Some(after((*told)?, *end)))
        .collect();
    firsts.sort_by(f64::total_cmp);
    println!(
        "from the end of a word to its first telling: median {:.2} s, worst {:.2} s, {} words",
        firsts[firsts.len() / 2],
        firsts[firsts.len() - 1],
        firsts.len()
    );
    println!(
        "from the end of the last word to the final result: {:.2} s",
        after(last, *ends.last().unwrap())
    );
}
