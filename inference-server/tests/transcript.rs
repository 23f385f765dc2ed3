//! The bundled model and its samples in; exact transcripts out, and nothing where nobody speaks.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

use std::{
    collections::HashSet,
    fs,
    path::PathBuf,
    sync::LazyLock,
    time::{Duration, Instant},
};

use inference_server::{
    audio::{self, Pcm16k},
    inspect::{self, InspectFormat},
    model::{Choice, Model, ModelError},
    pipeline::{self, Cancel, Language, Live, LongForm, Options, PipelineError, Stopped, Task, Transcript},
    render::Format,
    text, transcribe,
};
use serde::Deserialize;

#[path = "transcript/parts.rs"]
mod parts;

static MODEL: LazyLock<Model> = LazyLock::new(|| Model::load(&directory(), 2).unwrap());

fn directory() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../models/whisper-nano-digits"
    ))
}

#[derive(Deserialize)]
struct Sample {
    file: String,
    text: String,
    clear: bool,
}

fn samples() -> Vec<Sample> {
    let list = fs::read_to_string(directory().join("samples/samples.jsonl")).unwrap();
    list.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn sound(file: &str) -> Pcm16k {
    audio::decode(
        &fs::read(directory().join("samples").join(file)).unwrap(),
        Duration::from_secs(600),
    )
    .unwrap()
}

fn english() -> Options {
    Options {
        language: Language::Code("en".to_owned()),
        ..Options::default()
    }
}

fn transcript(audio: &Pcm16k, options: &Options) -> Transcript {
    pipeline::transcribe(&MODEL, audio, options, &Cancel::new()).unwrap()
}

#[test]
fn clear_samples_are_exactly_right() {
    let clear: Vec<Sample> = samples().into_iter().filter(|sample| sample.clear).collect();
    assert!(clear.len() >= 6, "only {} clear samples", clear.len());
    for sample in clear {
        for options in [Options::default(), english()] {
            let transcript = transcript(&sound(&sample.file), &options);
            assert_eq!(transcript.text, sample.text, "{}", sample.file);
            assert_eq!(transcript.language, "en");
        }
    }
}

/// A model hears a window from its first word on: alone, this one says a digit more after a silence.
#[test]
fn silence_before_the_words_changes_nothing() {
    let said = sound("three-digits-16k.wav");
    for seconds in [3, 7, 20] {
        let late: Vec<f32> = [&vec![0.0; seconds * 16_000], said.samples()].concat();
        let heard = transcript(&late.into(), &english());
        assert_eq!(heard.text, "Seven three one.", "{seconds} s");
        assert!(
            heard.segments[0].start >= Duration::from_secs(seconds as u64),
            "{heard:?}"
        );
    }
    assert_eq!(
        transcript(&sound("late-start-16k.flac"), &english()).text,
        "Four four five."
    );
}

/// Recordings and silences in any order: times go on, lie within the audio, and words are where somebody speaks, though the
/// model never heard the silence.
#[test]
fn times_are_in_order_within_the_audio_and_those_of_the_whole_recording() {
    let clips = [
        "three-digits-16k.wav",
        "one-digit-16k.wav",
        "three-digits-16k.flac",
    ]
    .map(sound);
    let mut random =
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    let mut below = |end: u32| {
        use proptest::prelude::Rng;
        random.next_u32() % end
    };
    for case in 0..6 {
        let (mut samples, mut spoken) = (Vec::new(), Vec::new());
        for _ in 0..2 + below(4) {
            samples.resize(samples.len() + below(16_000 * 12) as usize, 0.0);
            let clip = clips[below(3) as usize].samples();
            spoken.push(samples.len()..samples.len() + clip.len());
            samples.extend_from_slice(clip);
        }
        let audio = Pcm16k::from(samples);
        for long_form in [LongForm::Chunked, LongForm::Sequential] {
            let options = Options {
                word_timestamps: true,
                long_form,
                chunk_duration: Duration::from_secs(5 + u64::from(below(25))),
                ..english()
            };
            let heard = transcript(&audio, &options);
            let mut times = Vec::new();
            for segment in &heard.segments {
                let words: Vec<Duration> = segment
                    .words
                    .iter()
                    .flat_map(|word| [word.start, word.end])
                    .collect();
                assert!(words.is_sorted() && words.iter().all(|t| (segment.start..=segment.end).contains(t)));
                times.extend([segment.start, segment.end]);
            }
            assert!(times.is_sorted(), "case {case}: {heard:?}");
            assert!(
                times.last().is_none_or(|last| *last <= audio.duration()),
                "case {case}: {heard:?}"
            );
            if long_form == LongForm::Chunked {
                for segment in &heard.segments {
                    let (start, end) = (sample_at(segment.start), sample_at(segment.end));
                    let near =
                        |said: &std::ops::Range<usize>| start < said.end + 8000 && said.start < end + 8000;
                    assert!(
                        spoken.iter().any(near),
                        "case {case}: nobody speaks at {segment:?}, only at {spoken:?}"
                    );
                }
            }
        }
    }
}

fn sample_at(time: Duration) -> usize {
    (time.as_secs_f64() * 16_000.0) as usize
}

#[test]
fn nothing_is_invented_where_nobody_speaks() {
    let mut seed = 1u32;
    let mut noise = |level: f32| -> Vec<f32> {
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / 8_388_608.0 - 1.0
        };
        (0..96_000).map(|_| next() * level).collect()
    };
    let hum = |hz: f32, level: f32| -> Vec<f32> {
        (0..96_000)
            .map(|i| (std::f32::consts::TAU * hz * i as f32 / 16_000.0).sin() * level)
            .collect()
    };
    let mut sounds = vec![
        ("no samples", vec![]),
        ("digital silence", vec![0.0; 32_000]),
        ("an offset", vec![0.1; 32_000]),
        ("loud noise", noise(0.3)),
        ("quiet noise", noise(0.01)),
        ("a mains hum", hum(50.0, 0.1)),
        ("a loud hum", hum(120.0, 0.5)),
    ];
    for sample in samples().into_iter().filter(|sample| sample.text.is_empty()) {
        sounds.push(("a sample", sound(&sample.file).samples().to_vec()));
    }
    for (name, samples) in sounds {
        for options in [Options::default(), english()] {
            let transcript = transcript(&Pcm16k::from(samples.clone()), &options);
            assert_eq!(
                (transcript.text.as_str(), transcript.segments.len()),
                ("", 0),
                "{name}"
            );
        }
    }
}

/// Clips with pauses between them, `seconds` from the start of one to the start of the next.
fn clips(seconds: f32) -> Vec<f32> {
    let clips = [
        "three-digits-16k.wav",
        "one-digit-16k.wav",
        "three-digits-16k.flac",
        "three-digits-16k.wav",
    ];
    let mut samples = Vec::new();
    for clip in clips.iter().cycle().take(9) {
        let start = samples.len();
        samples.extend_from_slice(sound(clip).samples());
        samples.resize(start + (seconds * 16_000.0) as usize, 0.0);
    }
    samples
}

#[test]
fn long_audio_is_cut_in_pauses_and_nothing_is_heard_twice() {
    let samples = clips(4.0);
    let options = Options {
        chunk_duration: Duration::from_secs(5),
        chunk_overlap: Duration::from_secs(2),
        ..english()
    };
    let mut live = Live::new(&MODEL, &options).unwrap();
    let mut windows = live.push(&samples, &Cancel::new()).unwrap();
    windows.extend(live.finish(&Cancel::new()).unwrap());
    assert!(windows.len() >= 8, "{}", windows.len());
    let (mut begin, mut latest) = (0, Duration::ZERO);
    for window in &windows {
        let end = (window.end_offset.as_secs_f64() * 16_000.0).round() as usize;
        let quiet = &samples[end.saturating_sub(800)..(end + 800).min(samples.len())];
        assert!(
            quiet.iter().all(|s| s.abs() < 0.01),
            "cut in a word at {:?}",
            window.end_offset
        );
        let alone = transcript(&Pcm16k::from(samples[begin..end].to_vec()), &english()).text;
        assert_eq!(
            text::join(window.segments.iter().map(|s| s.text.as_str())),
            alone,
            "to {:?}",
            window.end_offset
        );
        for segment in &window.segments {
            assert!(
                segment.start >= latest && segment.end >= segment.start,
                "{segment:?} after {latest:?}"
            );
            assert!(
                segment.end <= window.end_offset,
                "{segment:?} after {:?}",
                window.end_offset
            );
            latest = segment.end;
        }
        begin = end;
    }
    assert_eq!(begin, samples.len());
    let whole = transcript(&Pcm16k::from(samples), &options);
    assert_eq!(
        whole.segments,
        windows
            .into_iter()
            .flat_map(|window| window.segments)
            .collect::<Vec<_>>()
    );
}

/// Words only: a window begins with a capital letter and ends with a stop wherever it is cut.
fn words(text: &str) -> Vec<String> {
    text.split_whitespace()
        .map(|word| word.trim_matches('.').to_lowercase())
        .collect()
}

#[test]
fn no_word_is_lost_or_doubled_where_windows_meet() {
    let clear = sound("eight-digits-16k.flac");
    let said = words("One four zero three nine two six five.");
    // A noise fills the pauses, so that windows overlap.
    let mut seed = 1u32;
    let noisy = clear.samples().iter().map(|sample| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        sample + ((seed >> 8) as f32 / 8_388_608.0 - 1.0) * 0.02
    });
    let noisy = Pcm16k::from(noisy.collect::<Vec<f32>>());
    let options = |seconds| Options {
        chunk_duration: Duration::from_secs_f64(seconds),
        chunk_overlap: Duration::from_secs_f64(1.5),
        ..english()
    };
    // Windows of other lengths cut words so that the bundled model mishears them, also when it hears nothing else.
    for seconds in [3.5, 4.0, 5.0, 6.0] {
        for (name, audio) in [("clear", &clear), ("noisy", &noisy)] {
            let text = transcript(audio, &options(seconds)).text;
            assert_eq!(words(&text), said, "{name}, windows of {seconds} s: {text}");
        }
    }
}

#[test]
fn live_windows_are_those_of_the_whole() {
    let options = Options {
        chunk_duration: Duration::from_secs(3),
        ..english()
    };
    let audio = sound("eight-digits-16k.flac");
    let whole = transcript(&audio, &options);
    let mut live = Live::new(&MODEL, &options).unwrap();
    let (mut windows, cancel) = (Vec::new(), Cancel::new());
    for piece in audio.samples().chunks(1777) {
        windows.extend(live.push(piece, &cancel).unwrap());
    }
    assert!(!windows.is_empty(), "no window before the end");
    windows.extend(live.finish(&cancel).unwrap());
    assert_eq!(windows.last().unwrap().end_offset, audio.duration());
    assert!(windows.is_sorted_by_key(|window| window.end_offset));
    let segments: Vec<_> = windows.into_iter().flat_map(|window| window.segments).collect();
    assert_eq!(segments, whole.segments);
}

#[test]
fn the_switch_and_the_deadline_stop_the_work() {
    let audio = sound("three-digits-16k.wav");
    let cancel = Cancel::new();
    cancel.cancel();
    let stopped = pipeline::transcribe(&MODEL, &audio, &english(), &cancel);
    assert!(
        matches!(stopped, Err(PipelineError::Stopped(Stopped::Cancelled))),
        "{stopped:?}"
    );
    let late = Cancel::new().with_deadline(Some(Instant::now()));
    let stopped = pipeline::transcribe(&MODEL, &audio, &english(), &late);
    assert!(
        matches!(stopped, Err(PipelineError::Stopped(Stopped::DeadlineExceeded))),
        "{stopped:?}"
    );
}

#[test]
fn options_that_the_model_cannot_follow_are_refused() {
    let refused = |options: Options| Live::new(&MODEL, &options).err().unwrap().to_string();
    let klingon = refused(Options {
        language: Language::Code("tlh".to_owned()),
        ..Options::default()
    });
    assert!(
        klingon.starts_with("the model does not know the language \"tlh\"; it knows af, "),
        "{klingon}"
    );
    let long = refused(Options {
        chunk_duration: Duration::from_secs(31),
        ..Options::default()
    });
    assert_eq!(long, "a chunk duration of 31s: this model takes 1s to 30s");
    let wide = Options {
        chunk_duration: Duration::from_secs(4),
        chunk_overlap: Duration::from_secs(3),
        ..Options::default()
    };
    assert_eq!(
        refused(wide),
        "a chunk overlap of 3s: at most half of the chunk duration of 4s"
    );
}

#[test]
fn facts_are_those_of_the_files() {
    let facts = MODEL.facts();
    assert_eq!(facts.name, "whisper-nano-digits");
    assert_eq!(
        (facts.mel_bins, facts.tasks.as_slice()),
        (80, [Task::Transcribe, Task::Translate].as_slice())
    );
    assert_eq!(facts.languages.iter().collect::<HashSet<_>>().len(), 99);
    let mut out = Vec::new();
    inspect::run(&directory(), None, InspectFormat::Json, &mut out).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(json["digest"], facts.digest);
    assert_eq!(json["architecture"]["vocabularySize"], facts.vocabulary_size);
    assert_eq!(json["files"].as_array().unwrap().len(), facts.files);
    let mut out = Vec::new();
    inspect::run(&directory(), None, InspectFormat::Text, &mut out).unwrap();
    assert!(String::from_utf8(out).unwrap().contains("encoder_model.onnx"));
}

#[test]
fn a_broken_model_is_refused_by_the_file_s_name() {
    let copy = |change: &dyn Fn(&std::path::Path)| {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(directory()).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
            }
        }
        change(dir.path());
        Model::load(dir.path(), 1).err().unwrap()
    };
    let truncated = copy(&|dir| {
        let bytes = fs::read(directory().join("encoder_model.onnx")).unwrap();
        fs::write(dir.join("encoder_model.onnx"), &bytes[..bytes.len() / 2]).unwrap();
    });
    assert!(
        truncated
            .to_string()
            .starts_with("failed to load encoder_model.onnx: "),
        "{truncated}"
    );
    let swapped = copy(&|dir| {
        fs::copy(
            directory().join("encoder_model.onnx"),
            dir.join("decoder_model.onnx"),
        )
        .map(drop)
        .unwrap();
    });
    assert!(
        swapped
            .to_string()
            .contains("decoder_model.onnx: an input named input_features"),
        "{swapped}"
    );
    let missing = copy(&|dir| fs::remove_file(dir.join("tokenizer.json")).unwrap());
    assert!(matches!(missing, ModelError::Missing { .. }), "{missing}");
    let garbage = copy(&|dir| fs::write(dir.join("tokenizer.json"), "{").unwrap());
    assert!(garbage.to_string().starts_with("tokenizer.json: "), "{garbage}");
}

#[test]
fn the_command_writes_the_transcript_and_nothing_else() {
    let request = |file: PathBuf, format| transcribe::Request {
        file,
        model: Choice {
            dir: Some(directory()),
            threads: 1,
            ..Choice::default()
        },
        options: Options::default(),
        format,
    };
    let samples = directory().join("samples");
    let mut out = Vec::new();
    transcribe::run(
        &request(samples.join("three-digits-16k.wav"), Format::Text),
        &mut out,
    )
    .unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "Seven three one.\n");
    let mut out = Vec::new();
    transcribe::run(
        &request(samples.join("three-digits-16k.wav"), Format::Srt),
        &mut out,
    )
    .unwrap();
    assert!(
        String::from_utf8(out)
            .unwrap()
            .ends_with("\nSeven three one.\n\n")
    );

    let mut out = Vec::new();
    let no_audio =
        transcribe::run(&request(directory().join("README.md"), Format::Text), &mut out).unwrap_err();
    assert!(
        no_audio.to_string().contains("README.md: not a WAV, FLAC, MP3"),
        "{no_audio}"
    );
    let nowhere = transcribe::run(&request("/nowhere.wav".into(), Format::Text), &mut out).unwrap_err();
    assert!(
        nowhere.to_string().starts_with("failed to read /nowhere.wav: "),
        "{nowhere}"
    );
    assert!(out.is_empty());
}
