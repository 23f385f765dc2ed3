//! Long audio with many settings, as openai/whisper's own `transcribe` goes through it.

use inference_server::{
    audio::Pcm16k,
    pipeline::{
        self, Cancel, Clip, Context, Decoding, Language, LongForm, Options, Punctuation, Task, Transcript,
        clips,
    },
};

use super::*;

/// What `openai/whisper` says of long audio, by the name of the settings.
#[derive(Deserialize)]
struct Long {
    languages: BTreeMap<String, f32>,
    settings: BTreeMap<String, Run>,
}

#[derive(Deserialize)]
struct Run {
    language: String,
    settings: Settings,
    segments: Vec<Segment>,
}

/// As `whisper.transcribe` names them; what is not there is its default.
#[derive(Default, Deserialize)]
pub(super) struct Settings {
    beam_size: Option<usize>,
    patience: Option<f32>,
    length_penalty: Option<f32>,
    condition_on_previous_text: Option<bool>,
    initial_prompt: Option<String>,
    carry_initial_prompt: Option<bool>,
    word_timestamps: Option<bool>,
    no_speech_threshold: Option<f32>,
    logprob_threshold: Option<f32>,
    task: Option<String>,
    language: Option<String>,
    hallucination_silence_threshold: Option<f64>,
    clip_timestamps: Option<String>,
    prepend_punctuations: Option<String>,
    append_punctuations: Option<String>,
    sample_len: Option<usize>,
    max_initial_timestamp: Option<f64>,
    suppress_blank: Option<bool>,
    suppress_tokens: Option<Vec<i64>>,
}

#[derive(Deserialize)]
pub(super) struct Segment {
    start: f64,
    end: f64,
    tokens: Vec<u32>,
    avg_logprob: f32,
    no_speech_prob: f32,
    #[serde(default)]
    words: Vec<Word>,
}

#[derive(Deserialize)]
struct Word {
    word: String,
    start: f64,
    end: f64,
    probability: f32,
}

impl Settings {
    pub(super) fn options(&self) -> Options {
        let (usual, how) = (Punctuation::default(), Decoding::default());
        let task: Task = self.task.as_deref().unwrap_or("transcribe").parse().unwrap();
        Options {
            language: self.language.clone().map_or(Language::Auto, Language::Code),
            task,
            long_form: LongForm::Sequential,
            vad: None,
            clips: clips(self.clip_timestamps.as_deref().unwrap_or_default()).unwrap(),
            word_timestamps: self.word_timestamps.unwrap_or(false),
            punctuation: Punctuation {
                prepended: self.prepend_punctuations.clone().unwrap_or(usual.prepended),
                appended: self.append_punctuations.clone().unwrap_or(usual.appended),
            },
            hallucination_silence_threshold: self
                .hallucination_silence_threshold
                .map(Duration::from_secs_f64),
            decoding: Decoding {
                temperatures: vec![0.0],
                beam_size: self.beam_size.unwrap_or(1),
                patience: self.patience.unwrap_or(1.0),
                length_penalty: self.length_penalty,
                compression_ratio_threshold: None,
                logprob_threshold: Some(self.logprob_threshold.unwrap_or(-1.0)),
                no_speech_threshold: Some(self.no_speech_threshold.unwrap_or(0.6)),
                suppress_tokens: self.suppress_tokens.clone().unwrap_or(how.suppress_tokens),
                suppress_blank: self.suppress_blank.unwrap_or(how.suppress_blank),
                max_initial_timestamp: self.max_initial_timestamp.map(Duration::from_secs_f64),
                max_new_tokens: self.sample_len,
                ..how
            },
            context: Context {
                initial_prompt: self.initial_prompt.clone(),
                carry_initial_prompt: self.carry_initial_prompt.unwrap_or(false),
                hotwords: None,
                condition_on_previous_text: self.condition_on_previous_text.unwrap_or(true),
            },
            ..Options::default()
        }
    }
}

/// Segments, seeks, words and languages of long audio equal those of `openai/whisper`'s own `transcribe`.
#[test]
#[ignore = "needs PARLANCE_FIDELITY_DIR: make fidelity"]
fn long_audio_equals_openai_whisper() {
    for name in ["nano", "tiny"] {
        let folder = references().join(name);
        let model = Model::load(&folder.join("model"), 1).unwrap();
        let long: Long = json(&folder.join("long/long.json"));
        let audio = Pcm16k::from(array(&folder.join("long/pcm.npy")).into_raw_vec_and_offset().0);
        let features = MelExtractor::new(&model.config().features).extract(audio.samples());
        let encoded = encoder::encode(&model, &features).unwrap();
        let languages = Decoder::new(&model, &encoded).unwrap().languages().unwrap();
        assert_eq!(languages.len(), long.languages.len(), "{name}");
        for (code, probability) in languages {
            let off = (probability - long.languages[code]).abs();
            assert!(off < 1e-3, "{name}: {code} is off by {off}");
        }
        for (settings, run) in &long.settings {
            same_long(&model, &audio, run, &format!("{name}/{settings}"));
        }
    }
}

fn same_long(model: &Model, audio: &Pcm16k, run: &Run, name: &str) {
    let ours = pipeline::transcribe(model, audio, &run.settings.options(), &Cancel::new()).unwrap();
    assert_eq!(ours.language, run.language, "{name}");
    let off = compare_segments(&ours, &run.segments, &run.settings.options().clips)
        .unwrap_or_else(|problem| panic!("{name}: {problem}"));
    eprintln!(
        "{name}: {} segments, {} words, times within {:.3} s, log-probabilities within {:.1e}",
        run.segments.len(),
        off.words,
        off.time,
        off.logprob
    );
    let times = |segments: &[inference_server::pipeline::Segment]| -> Vec<_> {
        segments
            .iter()
            .map(|segment| (segment.seek, segment.start, segment.end))
            .collect()
    };
    assert!(off.is_little(), "{name}: {:?}", times(&ours.segments));
}

/// How far apart two transcripts with the same words are.
#[derive(Default)]
pub(super) struct Off {
    /// In seconds.
    pub(super) time: f64,
    pub(super) logprob: f32,
    probability: f32,
    pub(super) words: usize,
}

impl Off {
    pub(super) fn is_little(&self) -> bool {
        self.time < 0.011 && self.logprob < 2e-3 && self.probability < 1e-2
    }
}

/// Compares segment by segment and word by word; says what is not the same.
pub(super) fn compare_segments(ours: &Transcript, theirs: &[Segment], clips: &[Clip]) -> Result<Off, String> {
    let seconds = |d: Duration| d.as_secs_f64();
    let length = seconds(ours.audio_duration);
    let (mut off, mut latest) = (Off::default(), 0.0_f64);
    for (i, (ours, theirs)) in ours.segments.iter().zip(theirs).enumerate() {
        if ours.tokens != theirs.tokens {
            let at = ours.start;
            return Err(format!(
                "segment {i} at {at:?}: {:?}, not {:?}",
                ours.tokens, theirs.tokens
            ));
        }
        // A model of random weights says times that go back, or past the end of the clip: ours are held in order, near the clip.
        let within = |clip: &&Clip| {
            clip.end
                .is_some_and(|end| seconds(end) > ours.seek as f64 / 100.0)
        };
        let end = clips
            .iter()
            .find(within)
            .and_then(|clip| clip.end)
            .map_or(length, seconds);
        let mut time = |ours: Duration, theirs: f64| {
            let held = theirs.min(length).max(latest);
            if held <= end {
                off.time = off.time.max((seconds(ours) - held).abs());
            }
        };
        time(ours.start, theirs.start);
        time(ours.end, theirs.end);
        // The original's first word may begin before its segment, and its last word end after it; ours are within theirs.
        for (ours, word) in ours.words.iter().zip(&theirs.words) {
            time(ours.start, word.start.max(theirs.start));
            time(ours.end, word.end.min(theirs.end));
        }
        latest = latest.max(theirs.end.min(end));
        // A window that the model itself holds for silence is told by very little: there small differences grow.
        let silence = if theirs.no_speech_prob > 0.6 { 5.0 } else { 1.0 };
        for (ours, theirs) in [
            (ours.avg_logprob, theirs.avg_logprob),
            (ours.no_speech_prob, theirs.no_speech_prob),
        ] {
            off.logprob = off.logprob.max((ours - theirs).abs() / silence);
        }
        let texts = |words: &[Word]| -> Vec<String> { words.iter().map(|word| word.word.clone()).collect() };
        let (mine, others): (Vec<String>, _) = (
            ours.words.iter().map(|word| word.text.clone()).collect(),
            texts(&theirs.words),
        );
        if mine != others {
            return Err(format!("words of segment {i}: {mine:?}, not {others:?}"));
        }
        for (ours, theirs) in ours.words.iter().zip(&theirs.words) {
            off.probability = off.probability.max((ours.probability - theirs.probability).abs());
            off.words += 1;
        }
    }
    if ours.segments.len() == theirs.len() {
        Ok(off)
    } else {
        Err(format!("{} segments, not {}", ours.segments.len(), theirs.len()))
    }
}
