//! Recordings of which only parts are heard, or heard in parts.

use super::*;
use inference_server::{
    audio::{Channels, Source},
    pipeline::{Clip, Context, Decoding},
};

const FIRST: &str = "Seven three one.";
const SECOND: &str = "Two six zero.";

/// The first sentence, a silence, the second one; and where the second one begins, in seconds.
fn parted(silence: f64) -> (Vec<f32>, f64) {
    let mut samples = sound("three-digits-16k.wav").samples().to_vec();
    samples.resize(samples.len() + (silence * 16_000.0) as usize, 0.0);
    let begin = samples.len() as f64 / 16_000.0;
    samples.extend_from_slice(sound("three-digits-16k.flac").samples());
    (samples, begin)
}

/// The bundled model writes one sentence of a window and no more.
#[test]
fn a_long_silence_ends_a_chunk_so_that_the_words_before_and_after_it_are_all_told() {
    let (samples, begin) = parted(3.0);
    let options = Options {
        chunk_silence: Some(Duration::from_secs(2)),
        ..english()
    };
    let heard = transcript(&Pcm16k::from(samples.clone()), &options);
    let texts: Vec<&str> = heard
        .segments
        .iter()
        .map(|segment| segment.text.as_str())
        .collect();
    assert_eq!(texts, [FIRST, SECOND]);
    assert!(heard.segments[0].end.as_secs_f64() < begin);
    assert!(heard.segments[1].start.as_secs_f64() > begin - 0.5);
    // Where the audio is cut in pieces changes nothing.
    let mut live = Live::new(&MODEL, &options).unwrap();
    let mut windows = Vec::new();
    for piece in samples.chunks(777) {
        windows.extend(live.push(piece, &Cancel::new()).unwrap());
    }
    assert_eq!(
        windows[0].segments,
        heard.segments[..1],
        "told before the second is over"
    );
    windows.extend(live.finish(&Cancel::new()).unwrap());
    let segments: Vec<_> = windows.into_iter().flat_map(|window| window.segments).collect();
    assert_eq!(segments, heard.segments);
}

#[test]
fn a_silence_that_is_not_long_enough_ends_no_chunk() {
    let (samples, _) = parted(1.0);
    let with = |chunk_silence| {
        let options = Options {
            chunk_silence,
            ..english()
        };
        transcript(&Pcm16k::from(samples.clone()), &options)
    };
    assert_eq!(with(Some(Duration::from_secs(4))), with(None));
}

#[test]
fn only_the_clips_are_transcribed_at_their_times_in_the_whole() {
    let (mut samples, begin) = parted(3.0);
    let end = samples.len() as f64 / 16_000.0;
    samples.resize(samples.len() + 48_000, 0.0);
    samples.extend_from_slice(sound("three-digits-16k.wav").samples());
    let seconds = Duration::from_secs_f64;
    let audio = Pcm16k::from(samples);
    for long_form in [LongForm::Chunked, LongForm::Sequential] {
        let clips = |clips: &[(f64, Option<f64>)]| {
            let context = Context {
                // Told its own words, the bundled model has nothing to add.
                condition_on_previous_text: false,
                ..Context::default()
            };
            let options = Options {
                context,
                clips: clips
                    .iter()
                    .map(|&(start, end)| Clip {
                        start: seconds(start),
                        end: end.map(seconds),
                    })
                    .collect(),
                long_form,
                ..english()
            };
            transcript(&audio, &options)
        };
        let heard = clips(&[(begin, Some(end))]);
        assert_eq!(heard.text, SECOND, "{long_form:?}");
        let (first, last) = (heard.segments[0].start, heard.segments[0].end);
        assert!(
            first >= seconds(begin) && last <= seconds(end),
            "{long_form:?}: {heard:?}"
        );
        assert_eq!(heard.audio_duration, audio.duration());
        let heard = clips(&[(0.0, Some(begin - 1.0)), (end + 3.0, None)]);
        assert_eq!(heard.segments[0].text, FIRST, "{long_form:?}");
        // Silence before the words, which only the chunked form leaves out, makes the bundled model say a digit more.
        if long_form == LongForm::Chunked {
            assert_eq!(heard.segments[1].text, FIRST);
        }
        assert!(
            heard.segments[1].start >= seconds(end + 2.5),
            "{long_form:?}: {heard:?}"
        );
        assert_eq!(clips(&[(3600.0, None)]).text, "", "{long_form:?}: after the end");
    }
}

#[test]
fn clips_that_go_backwards_and_silences_of_no_length_are_refused() {
    let second = Duration::from_secs(1);
    let refused = |options: Options| Live::new(&MODEL, &options).err().unwrap().to_string();
    let backwards = Options {
        clips: vec![Clip {
            start: second,
            end: Some(second),
        }],
        ..Options::default()
    };
    assert_eq!(
        refused(backwards),
        "a clip from 1s to 1s: clips must end after they begin, and begin where the one before has ended or later"
    );
    let short = Options {
        chunk_silence: Some(Duration::from_millis(10)),
        ..Options::default()
    };
    assert_eq!(
        refused(short),
        "a chunk silence of 10ms: it goes from 500ms to 30s"
    );
}

#[test]
fn no_window_has_more_tokens_than_it_may_nor_one_that_is_suppressed() {
    let with = |change: &dyn Fn(&mut Decoding)| {
        let mut options = english();
        change(&mut options.decoding);
        transcript(&sound("three-digits-16k.wav"), &options)
    };
    let all = with(&|_| {}).segments.remove(0).tokens;
    let few = with(&|decoding| decoding.max_new_tokens = Some(3));
    assert!(few.segments.iter().all(|segment| segment.tokens.len() <= 3));
    let never = i64::from(all[1]);
    let without = with(&|decoding| decoding.suppress_tokens = vec![-1, never]);
    let said = |segment: &pipeline::Segment| segment.tokens.contains(&all[1]);
    assert!(!without.segments.iter().any(said), "{without:?}");
}

/// A WAV file at 16 kHz of so many channels.
fn wav(channels: &[&[f32]]) -> Vec<u8> {
    let spec = hound::WavSpec {
        channels: channels.len() as u16,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = std::io::Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
    let frames = channels.iter().map(|channel| channel.len()).max().unwrap();
    for frame in 0..frames {
        for channel in channels {
            let sample = channel.get(frame).copied().unwrap_or(0.0);
            writer.write_sample((sample * 32_767.0) as i16).unwrap();
        }
    }
    writer.finalize().unwrap();
    file.into_inner()
}

/// The file as the command line transcribes it.
fn by_command(wav: &[u8], options: Options) -> Result<serde_json::Value, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, wav).unwrap();
    let request = transcribe::Request {
        file: file.path().to_owned(),
        model: Choice {
            dir: Some(directory()),
            threads: 1,
            ..Choice::default()
        },
        options,
        format: Format::Json,
    };
    let mut out = Vec::new();
    transcribe::run(&request, &mut out).map_err(|error| error.to_string())?;
    Ok(serde_json::from_slice(&out).unwrap())
}

#[test]
fn each_channel_has_its_own_words_and_the_segments_are_in_order_of_time() {
    let (left, right) = (sound("three-digits-16k.wav"), sound("three-digits-16k.flac"));
    let later: Vec<f32> = [&[0.0; 80_000], right.samples()].concat();
    let stereo = wav(&[&later, left.samples()]);
    for long_form in [LongForm::Chunked, LongForm::Sequential] {
        let options = |channels| Options {
            channels,
            long_form,
            ..english()
        };
        let heard = by_command(&stereo, options(Channels::Each)).unwrap();
        let segments = heard["segments"].as_array().unwrap();
        let told: Vec<_> = segments
            .iter()
            .map(|s| (&s["channel"], s["text"].as_str().unwrap()))
            .collect();
        if long_form == LongForm::Chunked {
            assert_eq!(
                told,
                [
                    (&serde_json::json!(2), " Seven three one."),
                    (&serde_json::json!(1), " Two six zero.")
                ]
            );
            assert!(segments[1]["start"].as_f64().unwrap() >= 4.5, "{heard}");
            assert_eq!(heard["text"], format!("{FIRST} {SECOND}"));
        } else {
            assert!(
                told.contains(&(&serde_json::json!(2), " Seven three one.")),
                "{heard}"
            );
        }
        let starts: Vec<f64> = segments.iter().map(|s| s["start"].as_f64().unwrap()).collect();
        assert!(starts.is_sorted(), "{heard}");
        let mixed = by_command(&stereo, options(Channels::Mix)).unwrap();
        assert!(
            mixed["segments"]
                .as_array()
                .unwrap()
                .iter()
                .all(|s| s.get("channel").is_none())
        );
    }
}

#[test]
fn one_channel_by_itself_is_the_whole_and_nine_are_too_many() {
    let separate = || Options {
        channels: Channels::Each,
        ..english()
    };
    let said = sound("three-digits-16k.wav");
    let heard = by_command(&wav(&[said.samples()]), separate()).unwrap();
    assert_eq!(
        (&heard["text"], &heard["segments"][0]["channel"]),
        (&FIRST.into(), &1.into())
    );
    let nine = by_command(&wav(&[said.samples(); 9]), separate()).unwrap_err();
    assert!(
        nine.ends_with("9 channels are too many to transcribe each by itself, 8 are the most; mix them, or leave some out"),
        "{nine}"
    );
}

#[test]
fn channels_that_are_transcribed_each_by_itself_count_in_the_estimate() {
    let estimate = |file: &str, channels| {
        let audio = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/audio/").to_owned() + file).unwrap();
        let source = Source::Memory(audio.into());
        let count = source.count(channels, Duration::from_secs(600)).unwrap();
        (count, source.estimate(count))
    };
    for file in ["vorbis.ogg", "index-last.m4a"] {
        let (one, alone) = estimate(file, Channels::Mix);
        let (all, together) = estimate(file, Channels::Each);
        assert_eq!((one, together), (1, alone * u32::from(all)), "{file}");
    }
    let (channels, _) = estimate("surround.opus", Channels::Each);
    assert!(channels > 1, "only {channels} channels");
}

#[test]
fn a_window_that_ends_soon_after_its_audio_is_heard_until_there() {
    let with = |tail| Options {
        encoder_tail: Some(Duration::from_secs(tail)),
        word_timestamps: true,
        ..english()
    };
    let words = Options {
        word_timestamps: true,
        ..english()
    };
    for name in [
        "three-digits-16k.wav",
        "three-digits-16k.flac",
        "one-digit-16k.wav",
    ] {
        let whole = transcript(&sound(name), &words);
        assert_eq!(
            transcript(&sound(name), &with(60)),
            whole,
            "there is room for all of it"
        );
        let short = transcript(&sound(name), &with(4));
        assert_eq!(short.text, whole.text, "{name}");
        assert_ne!(short.segments, whole.segments, "less was heard");
        let said = |heard: &Transcript| {
            let words = heard.segments.iter().flat_map(|segment| segment.words.clone());
            words.collect::<Vec<_>>()
        };
        for (short, whole) in said(&short).iter().zip(&said(&whole)) {
            let apart = |a: Duration, b: Duration| a.abs_diff(b) < Duration::from_millis(300);
            assert_eq!(short.text, whole.text, "{name}");
            assert!(
                apart(short.start, whole.start) && apart(short.end, whole.end),
                "{short:?}, {whole:?}"
            );
        }
    }
}
