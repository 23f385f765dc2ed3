use std::io::Cursor;

use hound::{SampleFormat, WavSpec, WavWriter};
use proptest::prelude::*;

use super::*;

mod formats;

const HOUR: Duration = Duration::from_secs(3600);

/// A sample of the bundled model, as its bytes.
fn sample(name: &str) -> Vec<u8> {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../models/whisper-nano-digits/samples"
    );
    std::fs::read(format!("{folder}/{name}")).unwrap()
}

/// A WAV file; `value(frame, channel)` is in [-1, 1].
fn wav(spec: WavSpec, frames: usize, value: impl Fn(usize, u16) -> f64) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
    for frame in 0..frames {
        for channel in 0..spec.channels {
            let value = value(frame, channel);
            match spec.sample_format {
                SampleFormat::Float => writer.write_sample(value as f32).unwrap(),
                SampleFormat::Int => {
                    let full = f64::from(2u32.pow(u32::from(spec.bits_per_sample) - 1)) - 1.0;
                    writer.write_sample((value * full).round() as i32).unwrap();
                }
            }
        }
    }
    writer.finalize().unwrap();
    bytes.into_inner()
}

fn spec(sample_rate: u32, channels: u16, bits_per_sample: u16) -> WavSpec {
    WavSpec {
        channels,
        sample_rate,
        bits_per_sample,
        sample_format: SampleFormat::Int,
    }
}

fn tone(frame: usize) -> f64 {
    (frame as f64 * 0.07).sin() * 0.5
}

/// A mono 16-bit file at 16 kHz.
fn plain(frames: usize) -> Vec<u8> {
    wav(spec(16_000, 1, 16), frames, |frame, _| tone(frame))
}

fn streamed(bytes: &[u8], piece: usize, max: Duration) -> Result<Vec<f32>, AudioError> {
    let mut stream = AudioStream::new(StreamEncoding::File, max)?;
    let mut samples = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        samples.extend(stream.push(piece)?);
    }
    samples.extend(stream.finish()?);
    Ok(samples)
}

/// What `decode` says of bytes that it does not take.
fn refused(bytes: &[u8]) -> String {
    decode(bytes, HOUR).unwrap_err().to_string()
}

#[test]
fn every_width_and_channel_count_gives_the_same_sound() {
    for channels in [1, 2, 6] {
        for bits in [8, 16, 24, 32] {
            let bytes = wav(spec(16_000, channels, bits), 800, |frame, _| tone(frame));
            let pcm = decode(&bytes, HOUR).unwrap();
            assert_eq!(pcm.samples().len(), 800);
            for (frame, sample) in pcm.samples().iter().enumerate() {
                let off = (f64::from(*sample) - tone(frame)).abs();
                assert!(
                    off < 1.1 / f64::from(1 << (bits.min(20) - 1)),
                    "{channels} x {bits}: off by {off}"
                );
            }
        }
    }
}

#[test]
fn channels_are_mixed_to_their_mean() {
    let bytes = wav(
        spec(16_000, 2, 16),
        100,
        |_, channel| if channel == 0 { 0.5 } else { -0.25 },
    );
    let pcm = decode(&bytes, HOUR).unwrap();
    assert!(pcm.samples().iter().all(|s| (s - 0.125).abs() < 1e-4));
}

#[test]
fn floats_that_are_no_sound_do_no_harm() {
    let float = WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 32,
        sample_format: SampleFormat::Float,
    };
    let odd = [f64::NAN, f64::INFINITY, -1e30, 0.5];
    let pcm = decode(&wav(float, 48_000, |frame, _| odd[frame % 4]), HOUR).unwrap();
    assert_eq!(pcm.samples().len(), 16_000);
    assert!(pcm.samples().iter().all(|s| s.is_finite() && s.abs() <= 1.0));
    let same = Pcm16k::from(vec![f32::NAN, 2.0, -0.5]);
    assert_eq!(same.samples(), [0.0, 1.0, -0.5]);
}

#[test]
fn telephone_codes_are_expanded() {
    // G.711: 0xd5 is A-law's and 0xff mu-law's smallest positive value; 0xaa and 0x80 their greatest.
    for (tag, codes, expected) in [
        (6u16, [0xd5, 0xaa], [8.0, 32_256.0]),
        (7, [0xff, 0x80], [0.0, 32_124.0]),
    ] {
        let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0".to_vec();
        bytes.extend(tag.to_le_bytes());
        bytes.extend(b"\x01\0\x80\x3e\0\0\x80\x3e\0\0\x01\0\x08\0data\x02\0\0\0");
        bytes.extend(codes);
        let pcm = decode(&bytes, HOUR).unwrap();
        assert_eq!(pcm.samples(), expected.map(|v| v / 32_768.0), "{tag}");
    }
}

#[test]
fn flac_and_wav_of_the_same_sound_agree() {
    for (name, seconds) in [
        ("three-digits-16k.flac", 2.275),
        ("five-digits-44k-stereo.flac", 4.4949375),
    ] {
        let pcm = decode(&sample(name), HOUR).unwrap();
        assert_eq!(pcm.duration(), Duration::from_secs_f64(seconds), "{name}");
        let loudest = pcm.samples().iter().fold(0.0f32, |m, s| m.max(s.abs()));
        assert!(loudest > 0.05, "{name}: {loudest}");
    }
}

#[test]
fn pieces_of_any_size_give_the_samples_of_the_whole() {
    for name in [
        "three-digits-16k.flac",
        "five-digits-44k-stereo.flac",
        "four-digits-8k.wav",
        "two-digits-48k-stereo.wav",
    ] {
        let bytes = sample(name);
        let whole = decode(&bytes, HOUR).unwrap();
        for piece in [7, 1000, 65_537] {
            assert_eq!(
                streamed(&bytes, piece, HOUR).unwrap(),
                whole.samples(),
                "{name} by {piece}"
            );
        }
    }
}

#[test]
fn samples_come_while_the_file_is_still_arriving() {
    for name in ["eight-digits-16k.flac", "two-digits-48k-stereo.wav"] {
        let bytes = sample(name);
        let mut stream = AudioStream::new(StreamEncoding::File, HOUR).unwrap();
        let early = stream.push(&bytes[..bytes.len() / 2]).unwrap().len();
        let all = decode(&bytes, HOUR).unwrap().samples().len();
        assert!(early > all / 4, "{name}: {early} of {all}");
        // Dropped in the middle, without an end: the decoder's thread must not wait for ever.
    }
}

#[test]
fn raw_samples_are_resampled_as_they_arrive() {
    let raw: Vec<u8> = (0..8000)
        .flat_map(|i| ((tone(i) * 32_767.0) as i16).to_le_bytes())
        .collect();
    let encoding = StreamEncoding::Linear16 {
        sample_rate: 8000,
        channels: 1,
    };
    let mut stream = AudioStream::new(encoding, HOUR).unwrap();
    let mut samples = Vec::new();
    for piece in raw.chunks(333) {
        samples.extend(stream.push(piece).unwrap());
    }
    assert!(samples.len() > 12_000, "{}", samples.len());
    samples.extend(stream.finish().unwrap());
    assert_eq!(samples.len(), 16_000);
    assert!((f64::from(samples[8001]) - (4000.5f64 * 0.07).sin() * 0.5).abs() < 1e-3);

    let silent = AudioStream::new(encoding, HOUR).unwrap();
    assert!(silent.finish().unwrap().is_empty());
    let wrong = StreamEncoding::Linear16 {
        sample_rate: 8000,
        channels: 0,
    };
    assert!(AudioStream::new(wrong, HOUR).is_err());
}

#[test]
fn a_file_without_samples_is_valid_and_no_file_is_not() {
    assert!(decode(&plain(0), HOUR).unwrap().samples().is_empty());
    assert_eq!(refused(b""), "the audio is empty");
}

#[test]
fn what_is_no_audio_file_is_named() {
    let cases: [(&[u8], &str); 6] = [
        (b"RI", "the file ends within its first bytes"),
        (b"ID3\x04\0\0\0\0", "the file ends within its first bytes"),
        (
            b"RF64\0\x02\0\0WAVE",
            "it looks like a variant of WAV that is not supported (RF64, BW64 or RIFX)",
        ),
        (b"FORM\0\0\0\x20AIFF", "it looks like AIFF"),
        (b"<html><body>no", "its first bytes are those of none of them"),
        (
            b"RIFF\x10\0\0\0AVI LIST",
            "its first bytes are those of none of them",
        ),
    ];
    for (bytes, guess) in cases {
        let kinds = "WAV, FLAC, MP3, AAC, M4A, MP4, Ogg, Opus, WebM or Matroska";
        assert_eq!(refused(bytes), format!("not a {kinds} file: {guess}"));
    }
    assert_eq!(
        refused(b"ID3\x04\0\0\0\0\0\x02\0\0"),
        "cannot decode the audio: there is no audio behind the file's tag"
    );
}

#[test]
fn a_file_cut_short_is_refused() {
    let bytes = plain(16_000);
    assert_eq!(
        refused(&bytes[..30]),
        "cannot decode the audio: the WAV file ends before its samples"
    );
    let cut = refused(&bytes[..44 + 16_000]);
    assert_eq!(
        cut,
        "cannot decode the audio: the file ends early: its header promises 1.000 s, there are 0.500 s"
    );
    let flac = sample("three-digits-16k.flac");
    assert_eq!(
        refused(&flac[..30]),
        "cannot decode the audio: the FLAC file ends before its samples"
    );
    let cut = refused(&flac[..flac.len() / 2]);
    assert!(
        cut.contains("the file ends early: its header promises 2.275 s"),
        "{cut}"
    );
}

#[test]
fn lengths_that_were_never_filled_in_mean_until_the_end() {
    for (riff, data) in [(u32::MAX, u32::MAX), (0, 0), (0x7fff_ffff, 0x7fff_ffdb)] {
        let mut bytes = plain(1000);
        bytes[4..8].copy_from_slice(&riff.to_le_bytes());
        bytes[40..44].copy_from_slice(&data.to_le_bytes());
        bytes.push(0); // half a sample
        assert_eq!(decode(&bytes, HOUR).unwrap().samples().len(), 1000, "{data:x}");
    }
}

#[test]
fn what_follows_the_samples_is_no_sound() {
    let mut bytes = plain(1000);
    bytes.extend(b"LIST\x04\0\0\0INFO");
    assert_eq!(decode(&bytes, HOUR).unwrap(), decode(&plain(1000), HOUR).unwrap());
}

#[test]
fn too_long_is_told_by_the_header_and_by_the_samples() {
    let max = Duration::from_secs(1);
    assert_eq!(decode(&plain(16_000), max).unwrap().duration(), max);
    let long = plain(16_001);
    assert_eq!(decode(&long, max), Err(AudioError::TooLong { max }));
    let mut stream = AudioStream::new(StreamEncoding::File, max).unwrap();
    assert_eq!(stream.push(&long[..44]), Err(AudioError::TooLong { max }));
    let flac = sample("three-digits-16k.flac");
    let mut stream = AudioStream::new(StreamEncoding::File, max).unwrap();
    assert_eq!(
        stream.push(&flac[..flac.len() / 4]),
        Err(AudioError::TooLong { max })
    );

    let mut endless = long.clone();
    endless[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(streamed(&endless, 100, max), Err(AudioError::TooLong { max }));
    assert_eq!(
        decode(&long, max).unwrap_err().to_string(),
        "the audio is longer than 1s, the most that is accepted"
    );
}

#[test]
fn formats_that_make_no_sense_are_refused() {
    let patched = |at: usize, value: &[u8]| {
        let mut bytes = plain(100);
        bytes[at..at + value.len()].copy_from_slice(value);
        refused(&bytes)
    };
    assert_eq!(
        patched(24, &[0; 4]),
        "unsupported audio: a sample rate of 0 Hz, not 1000 to 768000"
    );
    assert_eq!(patched(22, &[0; 2]), "unsupported audio: 0 channels, not 1 to 64");
    assert_eq!(
        patched(20, &[0x55, 0]),
        "unsupported audio: a WAV file of format 0x0055"
    );
    assert!(patched(32, &[5, 0]).contains("16 bits a sample and 5 bytes a frame"));
    assert!(patched(12, b"junk").contains("no format chunk"));
    assert!(patched(16, &[0xff; 4]).contains("a WAV format chunk of 4294967295 bytes"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However the bytes of a file are cut, the same samples come out.
    #[test]
    fn no_cut_makes_a_difference(file in prop::sample::select(formats::names()), cuts in prop::collection::vec(0.0f64..1.0, 0..40)) {
        let bytes = formats::file(&file);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| (cut * bytes.len() as f64) as usize).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut stream = AudioStream::new(StreamEncoding::File, HOUR).unwrap();
        let mut pieces = || -> Result<Vec<f32>, AudioError> {
            let mut samples = Vec::new();
            for pair in cuts.windows(2) {
                samples.extend(stream.push(&bytes[pair[0]..pair[1]])?);
            }
            Ok(samples)
        };
        match pieces() {
            Ok(mut samples) => {
                samples.extend(stream.finish().unwrap());
                let whole = decode(&bytes, HOUR).unwrap();
                prop_assert!(samples == whole.samples(), "{}", file);
            }
            Err(error) => prop_assert!(file == "index-last.m4a", "{}: {}", file, error),
        }
    }
}
