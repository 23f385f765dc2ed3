//! Every recording of the bundled model's held-out set, as openai/whisper's own `transcribe` hears it; and how many words are
//! wrong, by either's long form.

use std::{collections::BTreeMap, thread};

use inference_server::{
    audio::{Pcm16k, SAMPLE_RATE},
    pipeline::{self, Language, Options},
};
use ndarray::Array1;

use super::{
    long::{Off, Segment, Settings, compare_segments},
    *,
};

#[derive(Deserialize)]
struct Recording {
    voice: String,
    text: String,
    start: usize,
    end: usize,
    segments: Vec<Segment>,
}

/// What was found in some of the recordings.
#[derive(Default)]
struct Found {
    problems: Vec<String>,
    time: f64,
    logprob: f32,
    /// Words that are wrong and words that are said, by engine; with the reference's long form and with the default one.
    words: BTreeMap<String, [usize; 3]>,
    audio: f64,
    /// How long the default long form took, in seconds.
    took: f64,
}

/// Texts, tokens and times of the whole set are those of the reference; word error rates and speed are printed.
#[test]
#[ignore = "needs PARLANCE_FIDELITY_DIR: make fidelity"]
fn the_whole_held_out_set_is_heard_as_openai_whisper_hears_it() {
    let model = Model::load(&references().join("nano/model"), 1).unwrap();
    let folder = references().join("held-out");
    let recordings: Vec<Recording> = json(&folder.join("held_out.json"));
    let sound: Array1<i16> = ndarray_npy::read_npy(folder.join("pcm.npy")).unwrap();
    assert!(recordings.len() > 100, "only {} recordings", recordings.len());
    let halves = recordings.chunks(recordings.len().div_ceil(2));
    let found: Vec<Found> = thread::scope(|scope| {
        let sound = sound.as_slice().unwrap();
        let workers: Vec<_> = halves
            .map(|half| {
                scope.spawn(|| {
                    half.iter()
                        .fold(Found::default(), |found, r| found.and(&model, r, sound))
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let (mut all, mut words) = ([0; 3], BTreeMap::<&str, [usize; 3]>::new());
    for (engine, counts) in found.iter().flat_map(|found| &found.words) {
        let engine = words.entry(engine).or_default();
        for (i, count) in counts.iter().enumerate() {
            engine[i] += count;
            all[i] += count;
        }
    }
    words.insert("all", all);
    for (engine, [sequential, chunked, said]) in &words {
        let percent = |wrong: &usize| 100.0 * *wrong as f64 / *said as f64;
        eprintln!(
            "{engine}: {said} words, {:.1} % wrong as openai/whisper hears them, {:.1} % by default",
            percent(sequential),
            percent(chunked)
        );
    }
    let sum = |of: fn(&Found) -> f64| found.iter().map(of).sum::<f64>();
    let (audio, took) = (sum(|f| f.audio), sum(|f| f.took));
    let time = found.iter().map(|f| f.time).fold(0.0, f64::max);
    let logprob = found.iter().map(|f| f.logprob).fold(0.0, f32::max);
    eprintln!(
        "{} recordings of {audio:.0} s: times within {time:.3} s, log-probabilities within {logprob:.1e}; by default in {took:.0} s \
         of one core, a real-time factor of {:.3}",
        recordings.len(),
        took / audio
    );
    let problems: Vec<&String> = found.iter().flat_map(|found| &found.problems).collect();
    assert!(
        problems.is_empty(),
        "{} recordings differ: {problems:#?}",
        problems.len()
    );
    assert!(
        all[1] <= all[0] + all[2] / 50,
        "the default long form loses words: {all:?}"
    );
}

impl Found {
    fn and(mut self, model: &Model, recording: &Recording, sound: &[i16]) -> Found {
        let samples = sound[recording.start..recording.end].iter();
        let audio = Pcm16k::from(samples.map(|&s| f32::from(s) / 32768.0).collect::<Vec<f32>>());
        let transcribe =
            |options: &Options| pipeline::transcribe(model, &audio, options, &Cancel::new()).unwrap();
        let settings: Settings =
            serde_json::from_str(r#"{"language": "en", "word_timestamps": true}"#).unwrap();
        let ours = transcribe(&settings.options());
        match compare_segments(&ours, &recording.segments, &[]) {
            Ok(off) if off.is_little() => self.note(&off),
            Ok(Off { time, logprob, .. }) => {
                self.problems
                    .push(format!("{recording}: off by {time} s, {logprob}"));
            }
            Err(problem) => self.problems.push(format!("{recording}: {problem}")),
        }
        let began = Instant::now();
        let by_default = transcribe(&Options {
            language: Language::Code("en".to_owned()),
            ..Options::default()
        });
        self.took += began.elapsed().as_secs_f64();
        self.audio += audio.samples().len() as f64 / f64::from(SAMPLE_RATE);
        let engine = recording.voice.split(':').next().unwrap_or_default();
        let words = self.words.entry(engine.to_owned()).or_default();
        words[0] += errors(&recording.text, &ours.text);
        words[1] += errors(&recording.text, &by_default.text);
        words[2] += recording.text.split_whitespace().count();
        self
    }

    fn note(&mut self, off: &Off) {
        self.time = self.time.max(off.time);
        self.logprob = self.logprob.max(off.logprob);
    }
}

impl std::fmt::Display for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}, {:?}", self.voice, self.start, self.text)
    }
}

/// Words that must be put in, left out or exchanged to make one text of the other; case and punctuation do not count.
fn errors(said: &str, heard: &str) -> usize {
    let words = |text: &str| -> Vec<String> {
        let words = text
            .split(|c: char| !c.is_alphabetic())
            .filter(|word| !word.is_empty());
        words.map(str::to_lowercase).collect()
    };
    let (said, heard) = (words(said), words(heard));
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, word) in said.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in heard.iter().enumerate() {
            let exchanged = diagonal + usize::from(word != other);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[heard.len()]
}

#[test]
fn word_errors_are_the_least_number_of_changes() {
    assert_eq!(errors("Seven three one.", "seven three, one"), 0);
    assert_eq!(errors("Seven three one.", "Seven one."), 1);
    assert_eq!(errors("Seven three one.", "Seven nine three two."), 2);
    assert_eq!(errors("Eight.", ""), 1);
    assert_eq!(errors("", "Eight."), 1);
}
