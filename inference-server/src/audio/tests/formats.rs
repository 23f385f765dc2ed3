//! Files of every kind, made by the encoders that people use (`tests/audio/make.sh`), against what ffmpeg makes of them.

use super::*;

/// How ffmpeg decodes a file.
struct Expected {
    file: String,
    rate: u32,
    frames: u64,
    /// How much later than the original, in samples at 16 kHz.
    lag: usize,
    /// Signal to noise, in dB at 16 kHz.
    snr: f64,
}

/// Where we decode otherwise than ffmpeg 5.1 does, and are right: frames, and signal to noise without a lag.
const BETTER: [(&str, u64, f64); 6] = [
    // ffmpeg converts the second part to the rate of the first, and loses count.
    ("chained.ogg", 2 * 19_200, 16.6),
    // ffmpeg plays the padding of the first part and the header of the second.
    ("twice.mp3", 28_800 + 29_952, 24.3),
    // The edit list ends before the last packet does; ffmpeg plays all of it.
    ("index-first.m4a", 52_920, 15.3),
    ("index-last.m4a", 52_920, 15.3),
    ("video.mp4", 19_200, 19.4),
    // The edit list counts in a scale that is not the track's; the header of Opus has the delay.
    ("opus.mp4", 57_600, 13.2),
];
/// Where we leave up to one packet of padding at the end, which symphonia does not tell.
const PADDED: [&str; 2] = ["opus.webm", "live.webm"];

fn folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audio")
}

pub(super) fn file(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

fn expected() -> Vec<Expected> {
    let table = String::from_utf8(file("expected.tsv")).unwrap();
    let line = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let number = |i: usize| fields[i].parse::<f64>().unwrap();
        let mut expected = Expected {
            file: fields[0].to_owned(),
            rate: number(1) as u32,
            frames: number(2) as u64,
            lag: number(3) as usize,
            snr: number(4),
        };
        if let Some((_, frames, snr)) = BETTER.iter().find(|(file, ..)| *file == expected.file) {
            (expected.frames, expected.lag, expected.snr) = (*frames, 0, *snr);
        }
        expected
    };
    table.lines().skip(1).map(line).collect()
}

pub(super) fn names() -> Vec<String> {
    expected().into_iter().map(|expected| expected.file).collect()
}

fn original() -> Vec<f32> {
    let whole = decode(&sample("three-digits-16k.wav"), HOUR).unwrap();
    whole.samples()[4000..][..19_200].to_vec()
}

/// Signal to noise in dB of what is the original, `lag` samples later and at any level.
fn snr(decoded: &[f32], lag: usize, original: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum() };
    let decoded = &decoded[lag..];
    let n = decoded.len().min(original.len());
    let (decoded, original) = (&decoded[..n], &original[..n]);
    let signal = dot(decoded, original).powi(2) / dot(original, original);
    10.0 * (signal / (dot(decoded, decoded) - signal).max(1e-9)).log10()
}

#[test]
fn every_file_has_the_length_and_the_sound_that_ffmpeg_finds_in_it() {
    let original = original();
    let mut wrong = Vec::new();
    for expected in expected() {
        let name = &expected.file;
        let pcm = match decode(&file(name), HOUR) {
            Ok(pcm) => pcm,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        let rate = u64::from(expected.rate);
        let frames = (expected.frames * 16_000 + rate / 2) / rate;
        let more = pcm.samples().len() as i64 - frames as i64;
        let spare = if PADDED.contains(&name.as_str()) { 320 } else { 0 };
        let ratio = snr(pcm.samples(), expected.lag, &original);
        if !(0..=spare).contains(&more) || ratio < expected.snr - 1.5 {
            wrong.push(format!(
                "{name}: {more} more than {frames} samples, {ratio:.1} dB for {:.1} dB",
                expected.snr
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_that_arrives_in_pieces_gives_the_samples_of_the_whole() {
    for name in names() {
        let bytes = file(&name);
        let whole = decode(&bytes, HOUR).unwrap();
        for piece in [41, 1000, 5001] {
            match streamed(&bytes, piece, HOUR) {
                Ok(samples) => assert!(samples == whole.samples(), "{name} by {piece}"),
                Err(error) => {
                    assert_eq!(name, "index-last.m4a", "{error}");
                    assert!(error.to_string().contains("send it as a whole file"), "{error}");
                }
            }
        }
    }
}

#[test]
fn samples_of_compressed_files_come_while_they_arrive() {
    for name in ["vbr.mp3", "adts.aac", "index-first.m4a", "opus.webm"] {
        let bytes = file(name);
        let mut stream = AudioStream::new(StreamEncoding::File, HOUR).unwrap();
        let early: usize = bytes[..bytes.len() * 3 / 4]
            .chunks(100)
            .map(|piece| stream.push(piece).unwrap().len())
            .sum();
        assert!(early > 2000, "{name}: {early}");
    }
}

#[test]
fn each_channel_can_come_by_itself() {
    for (name, channels) in [("celt.opus", 2), ("surround.opus", 6), ("plain.flac", 1)] {
        let each = decode_channels(&file(name), Channels::Each, HOUR).unwrap();
        assert_eq!(each.len(), channels, "{name}");
        let mix = decode(&file(name), HOUR).unwrap();
        for (at, sample) in mix.samples().iter().enumerate() {
            let mean = each.iter().map(|channel| channel.samples()[at]).sum::<f32>() / channels as f32;
            assert!((mean - sample).abs() < 1e-5, "{name} at {at}");
        }
    }
    let sides = wav(
        spec(16_000, 2, 16),
        100,
        |_, channel| if channel == 0 { 0.5 } else { -0.25 },
    );
    let each = decode_channels(&sides, Channels::Each, HOUR).unwrap();
    assert!(each[0].samples().iter().all(|s| (s - 0.5).abs() < 1e-4));
    assert!(each[1].samples().iter().all(|s| (s + 0.25).abs() < 1e-4));
    let many = wav(spec(16_000, 9, 16), 100, |frame, _| tone(frame));
    let refused = decode_channels(&many, Channels::Each, HOUR).unwrap_err();
    assert!(
        refused.to_string().contains("9 channels are too many"),
        "{refused}"
    );
    assert!(decode(&many, HOUR).is_ok());
}

#[test]
fn a_compressed_file_cut_short_is_refused() {
    for name in names() {
        if name.ends_with("wav") {
            continue;
        }
        let bytes = file(&name);
        for percent in [1, 20, 55] {
            let cut = decode(&bytes[..bytes.len() * percent / 100], HOUR);
            // These have no length and no end: what is there is all there is.
            let endless = [
                "adts.aac",
                "no-tag.mp3",
                "no-total.flac",
                "chained.ogg",
                "twice.mp3",
            ]
            .contains(&name.as_str());
            assert!(
                cut.is_err() || endless || name == "live.webm",
                "{name} at {percent}%: {:?}",
                cut.map(|p| p.duration())
            );
        }
    }
}

#[test]
fn an_mp4_file_that_breaks_off_or_comes_in_the_wrong_order_is_told_apart() {
    let bytes = file("index-last.m4a");
    let early = refused(&bytes[..bytes.len() / 2]);
    assert!(early.contains("has no index (moov)"), "{early}");
    let arriving = streamed(&bytes, 1000, HOUR).unwrap_err().to_string();
    assert!(arriving.contains("-movflags +faststart"), "{arriving}");
}

#[test]
fn too_long_is_told_by_the_samples_of_every_kind() {
    let max = Duration::from_secs_f64(0.08);
    for name in names() {
        let whole = decode(&file(&name), max);
        assert_eq!(whole, Err(AudioError::TooLong { max }), "{name}");
    }
}

#[test]
fn raw_encodings_are_what_their_names_say() {
    let value = |i: usize| (i as f32 * 0.05).sin() * 0.5;
    let int = |i: usize, bits: u32| (value(i) * (1u64 << (bits - 1)) as f32) as i32;
    let (sample_rate, channels) = (16_000, 1);
    type Bytes<'a> = &'a dyn Fn(usize) -> Vec<u8>;
    let cases: [(StreamEncoding, Bytes, f32); 5] = [
        (
            StreamEncoding::Linear16 {
                sample_rate,
                channels,
            },
            &|i| int(i, 16).to_le_bytes()[..2].to_vec(),
            1e-4,
        ),
        (
            StreamEncoding::Linear24 {
                sample_rate,
                channels,
            },
            &|i| int(i, 24).to_le_bytes()[..3].to_vec(),
            1e-6,
        ),
        (
            StreamEncoding::Linear32 {
                sample_rate,
                channels,
            },
            &|i| int(i, 32).to_le_bytes().to_vec(),
            1e-6,
        ),
        (
            StreamEncoding::Float32 {
                sample_rate,
                channels,
            },
            &|i| value(i).to_le_bytes().to_vec(),
            1e-9,
        ),
        (
            StreamEncoding::Unsigned8 {
                sample_rate,
                channels,
            },
            &|i| vec![(value(i) * 128.0 + 128.0) as u8],
            1e-2,
        ),
    ];
    for (encoding, bytes, near) in cases {
        let raw: Vec<u8> = (0..1000).flat_map(bytes).collect();
        let mut stream = AudioStream::new(encoding, HOUR).unwrap();
        let mut samples: Vec<f32> = raw
            .chunks(7)
            .flat_map(|piece| stream.push(piece).unwrap())
            .collect();
        samples.extend(stream.finish().unwrap());
        assert_eq!(samples.len(), 1000, "{encoding:?}");
        let off = (0..1000)
            .map(|i| (samples[i] - value(i)).abs())
            .fold(0.0, f32::max);
        assert!(off <= near, "{encoding:?}: off by {off}");
    }
    for (encoding, name) in [
        (
            StreamEncoding::MuLaw {
                sample_rate: 8000,
                channels,
            },
            "mulaw.wav",
        ),
        (
            StreamEncoding::ALaw {
                sample_rate: 8000,
                channels,
            },
            "alaw.wav",
        ),
    ] {
        let bytes = file(name);
        let at = bytes.windows(4).position(|w| w == b"data").unwrap() + 8;
        let mut stream = AudioStream::new(encoding, HOUR).unwrap();
        let mut samples = stream.push(&bytes[at..]).unwrap();
        samples.extend(stream.finish().unwrap());
        assert!(samples == decode(&bytes, HOUR).unwrap().samples(), "{encoding:?}");
    }
}
