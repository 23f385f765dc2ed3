//! Silero VAD's own Python package, as `tests/vad/fixtures.py` wrote down what it says, against this crate.

use std::{fs, path::PathBuf, sync::LazyLock, time::Duration};

use proptest::prelude::*;
use serde::{Deserialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::*;
use crate::audio;

static DETECTOR: LazyLock<Detector> = LazyLock::new(|| Detector::load().unwrap());

const SECOND: usize = 16_000;

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn fixture<T: DeserializeOwned>(file: &str) -> T {
    serde_json::from_str(&fs::read_to_string(path("tests/vad").join(file)).unwrap()).unwrap()
}

fn sample(file: &str) -> PathBuf {
    path("../models/whisper-nano-digits/samples").join(file)
}

fn sound(file: &str) -> Vec<f32> {
    let bytes = fs::read(sample(file)).unwrap();
    let audio = audio::decode(&bytes, Duration::from_secs(600)).unwrap();
    audio.samples().to_vec()
}

fn hear(samples: &[f32], piece: usize) -> Vec<f32> {
    let mut activity = Activity::new(&DETECTOR);
    let mut probabilities = Vec::new();
    for piece in samples.chunks(piece) {
        probabilities.extend(activity.push(piece).unwrap());
    }
    probabilities.extend(activity.finish().unwrap());
    probabilities
}

fn energy(samples: &[f32]) -> f64 {
    samples.iter().map(|&sample| f64::from(sample).powi(2)).sum()
}

fn speech(samples: &[f32]) -> Vec<std::ops::Range<usize>> {
    let limits = Settings::default().limits().unwrap();
    spans(&hear(samples, SECOND), &limits, samples.len())
}

#[derive(Deserialize)]
struct Recording {
    file: String,
    sha256: String,
    probabilities: Vec<f32>,
}

#[test]
fn probabilities_are_those_of_the_original_in_onnxruntime() {
    let recordings: Vec<Recording> = fixture("probabilities.json");
    assert!(recordings.len() >= 8);
    for recording in recordings {
        let file = &recording.file;
        let digest = Sha256::digest(fs::read(sample(file)).unwrap());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let again = "has changed: run inference-server/tests/vad/fixtures.py again";
        assert_eq!(digest, recording.sha256, "{file} {again}");
        let heard = hear(&sound(file), SECOND);
        assert_eq!(heard.len(), recording.probabilities.len(), "{file}");
        for (frame, (heard, expected)) in heard.iter().zip(&recording.probabilities).enumerate() {
            assert!(
                (heard - expected).abs() < 1e-3,
                "{file}, frame {frame}: {heard}, not {expected}"
            );
        }
    }
}

#[derive(Deserialize)]
struct Case {
    probabilities_64: Vec<f32>,
    samples: usize,
    threshold: f64,
    neg_threshold: Option<f64>,
    min_speech_duration_ms: u64,
    min_silence_duration_ms: u64,
    speech_pad_ms: u64,
    max_speech_s: Option<f64>,
    spans: Vec<(usize, usize)>,
    events: Option<Vec<(usize, String, usize)>>,
}

impl Case {
    fn limits(&self) -> Limits {
        let settings = Settings {
            threshold: self.threshold,
            neg_threshold: self.neg_threshold,
            min_speech: Duration::from_millis(self.min_speech_duration_ms),
            min_silence: Duration::from_millis(self.min_silence_duration_ms),
            speech_pad: Duration::from_millis(self.speech_pad_ms),
            max_speech: self.max_speech_s.map(Duration::from_secs_f64),
        };
        settings.limits().unwrap()
    }

    fn probabilities(&self) -> Vec<f32> {
        self.probabilities_64.iter().map(|n| n / 64.0).collect()
    }
}

#[test]
fn spans_are_those_of_get_speech_timestamps() {
    let cases: Vec<Case> = fixture("spans.json");
    assert!(cases.iter().filter(|case| !case.spans.is_empty()).count() >= 100);
    for (number, case) in cases.iter().enumerate() {
        let found = spans(&case.probabilities(), &case.limits(), case.samples);
        let found: Vec<_> = found.iter().map(|span| (span.start, span.end)).collect();
        assert_eq!(found, case.spans, "case {number}");
    }
}

#[test]
fn events_are_those_of_vaditerator() {
    let cases: Vec<Case> = fixture("spans.json");
    let cases = cases.iter().filter(|case| case.events.is_some());
    assert!(cases.clone().count() >= 40);
    for case in cases {
        let mut endpoint = Endpoint::new(&case.limits());
        let probabilities = case.probabilities();
        let said = probabilities
            .iter()
            .map(|&probability| endpoint.push(probability));
        let said = said.enumerate().filter_map(|(frame, event)| {
            Some(match event? {
                Event::SpeechStart(at) => (frame, "start".to_owned(), at),
                Event::SpeechEnd(at) => (frame, "end".to_owned(), at),
            })
        });
        assert_eq!(Some(said.collect()), case.events);
    }
}

#[test]
fn where_nobody_speaks_there_is_no_speech() {
    let wave = |hz: f64, level: f64| -> Vec<f32> {
        let step = std::f64::consts::TAU * hz / SECOND as f64;
        (0..10 * SECOND)
            .map(|i| ((i as f64 * step).sin() * level) as f32)
            .collect()
    };
    let sum = |waves: &[Vec<f32>]| {
        (0..10 * SECOND)
            .map(|i| waves.iter().map(|w| w[i]).sum())
            .collect()
    };
    let clicks = (0..10 * SECOND)
        .map(|i| if i % 7_000 < 16 { 0.9 } else { 0.0 })
        .collect();
    let sounds: [(&str, Vec<f32>); 8] = [
        ("nothing", vec![]),
        ("zeros", vec![0.0; 10 * SECOND]),
        ("an offset", vec![0.3; 10 * SECOND]),
        ("silence.wav", sound("silence.wav")),
        ("noise.wav", sound("noise.wav")),
        (
            "a hum",
            sum(&[wave(50.0, 0.3), wave(100.0, 0.15), wave(150.0, 0.08)]),
        ),
        ("a beep", wave(1_000.0, 0.5)),
        ("clicks", clicks),
    ];
    for (name, samples) in sounds {
        let found = speech(&samples);
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}

#[derive(Deserialize)]
struct Sample {
    file: String,
    segments: Vec<Segment>,
}

#[derive(Deserialize)]
struct Segment {
    start: f64,
    end: f64,
}

/// `samples.jsonl` says when each string of digits is said, with the silence that a synthesizer puts around it: what is
/// found holds nearly all of its energy, and nothing outside of it.
#[test]
fn speech_is_found_where_somebody_speaks_and_nowhere_else() {
    let list = fs::read_to_string(sample("samples.jsonl")).unwrap();
    let mut segments = 0;
    for line in list.lines() {
        let sample: Sample = serde_json::from_str(line).unwrap();
        let samples = sound(&sample.file);
        let found = speech(&samples);
        let mut within = 0;
        for segment in &sample.segments {
            let range = (segment.start * 16e3) as usize..(segment.end * 16e3) as usize;
            let spoken = found
                .iter()
                .map(|span| span.start.max(range.start)..span.end.min(range.end))
                .filter(|part| !part.is_empty());
            let spoken: f64 = spoken.map(|part| energy(&samples[part])).sum();
            let covered = spoken / energy(&samples[range.clone()]);
            assert!(
                covered > 0.95,
                "{}: {covered:.3} of {range:?} in {found:?}",
                sample.file
            );
            // A pad and a frame may be outside.
            within += speech_within(&found, &(range.start.saturating_sub(1_600)..range.end + 1_600));
            segments += 1;
        }
        let all: usize = found.iter().map(ExactSizeIterator::len).sum();
        assert_eq!(within, all, "{}: {found:?}", sample.file);
    }
    assert!(segments >= 30);
}

/// What stands for a stream does not grow with it: it owns no memory but its share of the detector.
#[test]
fn a_stream_of_an_hour_takes_as_much_memory_as_one_of_a_second() {
    assert!(size_of::<Activity>() < 4_096);
    assert!(size_of::<Endpoint>() < 256);
    fn owns_nothing_but_plain_data<T: Copy>(_: &T) {}
    owns_nothing_but_plain_data(&Settings::default().limits().unwrap());
}

#[test]
fn streams_share_a_detector_and_nothing_else() {
    let samples = sound("three-digits-16k.wav");
    let alone = hear(&samples, SECOND);
    let (mut first, mut second) = (Activity::new(&DETECTOR), Activity::new(&DETECTOR));
    let mut heard = Vec::new();
    for piece in samples.chunks(1_000) {
        heard.extend(first.push(piece).unwrap());
        second.push(&vec![0.5; 700]).unwrap();
    }
    heard.extend(first.finish().unwrap());
    assert_eq!(heard, alone);
    fn goes_to_another_thread<T: Send + Sync + 'static>(_: &T) {}
    goes_to_another_thread(&second);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn how_the_samples_are_cut_makes_no_difference(cuts in proptest::collection::vec(0usize..3_000, 1..60)) {
        let samples = sound("one-digit-16k.wav");
        let mut activity = Activity::new(&DETECTOR);
        let (mut rest, mut heard) = (samples.as_slice(), Vec::new());
        for cut in cuts {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            heard.extend(activity.push(piece).unwrap());
            rest = after;
        }
        heard.extend(activity.push(rest).unwrap());
        heard.extend(activity.finish().unwrap());
        prop_assert_eq!(heard, hear(&samples, samples.len()));
    }
}

proptest! {
    #[test]
    fn spans_are_in_order_and_within_the_audio(
        probabilities in proptest::collection::vec(0f32..1.0, 0..400),
        short in 0usize..512,
        pad in 0u64..500,
        max in proptest::option::of(1_300u64..5_000),
    ) {
        let settings = Settings {
            speech_pad: Duration::from_millis(pad),
            max_speech: max.map(Duration::from_millis),
            ..Settings::default()
        };
        let samples = (probabilities.len() * FRAME).saturating_sub(short);
        let found = spans(&probabilities, &settings.limits().unwrap(), samples);
        for (i, span) in found.iter().enumerate() {
            prop_assert!(!span.is_empty() && span.end <= samples);
            prop_assert!(i == 0 || found[i - 1].end <= span.start);
            // The pads count.
            prop_assert!(max.is_none_or(|max| span.len() <= max as usize * 16), "{}", span.len());
        }
    }
}
