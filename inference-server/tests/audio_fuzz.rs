//! Damaged files of every kind in; samples or a sentence out: never a panic of ours, never a hang, never more memory than
//! the bytes and the limit allow, and the same whatever the pieces.
//!
//! Deterministic: case `n` is the same everywhere. `make fuzz MINUTES=10` goes on where `cargo test` stops; a case that
//! fails is written to a file, whose name the failure tells. A panic within a decoder that is not ours is caught by the
//! server, so it does not fail the test; it is counted and told.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

use std::{
    alloc::System,
    backtrace::Backtrace,
    collections::BTreeMap,
    panic::PanicHookInfo,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    time::{Duration, Instant},
};

use cap::Cap;
use inference_server::audio::{self, AudioError, AudioStream, StreamEncoding};

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// What a case may be long, in audio.
const MAX: Duration = Duration::from_secs(10);
/// Cases of a plain `cargo test`.
const CASES: u64 = 3000;
/// More than any case takes on a busy machine.
const HANG: Duration = Duration::from_secs(60);
/// Memory of decoders (their tables and buffers) that does not depend on the file.
const FIXED_MEMORY: usize = 64 << 20;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A place in a file: headers more often than not.
    fn place(&mut self, length: usize) -> usize {
        let end = if self.below(2) == 0 {
            length.min(600)
        } else {
            length
        };
        self.below(end.max(1))
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audio");
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.retain(|path| !["sh", "md", "tsv"].contains(&path.extension().unwrap().to_str().unwrap()));
    names.sort();
    assert!(names.len() > 30, "the corpus is gone");
    names.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// The bytes of case `n`: a file of the corpus, damaged in a few ways.
fn case(corpus: &[Vec<u8>], n: u64) -> Vec<u8> {
    let mut random = Random(n);
    let mut bytes = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.place(bytes.len());
        let end = (at + 1 + random.below(64)).min(bytes.len());
        match random.below(8) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let twice = bytes[at..end].to_vec();
                bytes.splice(at..at, twice);
            }
            5 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.place(other.len());
                bytes.splice(at.., other[from..].iter().copied());
            }
            // A length that lies.
            6 => {
                let lie = [
                    0u32,
                    1,
                    0x7f,
                    0xff,
                    0x7fff_ffff,
                    0x8000_0000,
                    u32::MAX,
                    random.next() as u32,
                ][random.below(8)];
                let lie = if random.below(2) == 0 {
                    lie.to_be_bytes()
                } else {
                    lie.to_le_bytes()
                };
                let size = [1, 2, 4][random.below(3)].min(bytes.len() - at);
                bytes[at..at + size].copy_from_slice(&lie[4 - size..]);
            }
            _ => bytes[at..end].fill([0, 0xff][random.below(2)]),
        }
    }
    bytes
}

fn streamed(bytes: &[u8], piece: usize) -> Result<Vec<f32>, AudioError> {
    let mut stream = AudioStream::new(StreamEncoding::File, MAX)?;
    let mut samples = Vec::new();
    for piece in bytes.chunks(piece) {
        samples.extend(stream.push(piece)?);
    }
    samples.extend(stream.finish()?);
    Ok(samples)
}

/// What must hold for any bytes. Returns whether they are audio.
fn check(bytes: &[u8], n: u64) -> bool {
    let whole = audio::decode(bytes, MAX).map(|pcm| pcm.samples().to_vec());
    let pieces = streamed(bytes, 1 + Random(n).below(5000));
    if let Ok(samples) = &whole {
        assert!(samples.iter().all(|s| s.is_finite() && s.abs() <= 1.0));
        assert!(samples.len() <= MAX.as_secs() as usize * 16_000 + 1);
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        // Not every MP4 file can be streamed; those that can are the same in other pieces.
        assert!(pieces == streamed(bytes, 777), "other samples from other pieces");
    } else {
        assert!(whole == pieces, "other samples from pieces than from the whole");
    }
    whole.is_ok()
}

/// Where panics happened within crates that are not ours, and whether one was ours.
#[derive(Default)]
struct Panics {
    theirs: BTreeMap<String, usize>,
    ours: Option<String>,
}

impl Panics {
    fn add(&mut self, info: &PanicHookInfo<'_>) {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        // Checks of the standard library are told with its own path: the frames say who called it.
        let frames = Backtrace::force_capture().to_string();
        let caller = frames.lines().find(|line| {
            [
                "symphonia",
                "ropus::",
                "rubato::",
                "inference_server",
                "audio_fuzz",
            ]
            .iter()
            .any(|name| line.contains(name))
        });
        let inner =
            caller.is_some_and(|line| !line.contains("inference_server") && !line.contains("audio_fuzz"));
        if place.contains("/registry/src/") || (place.contains("/rustc/") && inner) {
            *self.theirs.entry(place).or_default() += 1;
        } else {
            self.ours.get_or_insert(format!("{info}"));
        }
    }
}

/// Runs cases one after the other, and says before each which it is.
fn work(cases: impl Iterator<Item = u64>, say: &Sender<u64>, panics: &Mutex<Panics>) -> (u64, u64) {
    let corpus = corpus();
    let (mut run, mut audio) = (0, 0);
    for n in cases {
        say.send(n).unwrap();
        let bytes = case(&corpus, n);
        let before = MEMORY.allocated();
        audio += u64::from(check(&bytes, n));
        run += 1;
        let most = MEMORY.max_allocated() - before;
        let bound = FIXED_MEMORY + 16 * bytes.len() + 16 * MAX.as_secs() as usize * 16_000;
        assert!(
            most <= bound,
            "{most} bytes of memory for {} bytes, not {bound}",
            bytes.len()
        );
        let panics = panics.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(
            panics.ours.is_none(),
            "{}",
            panics.ours.as_deref().unwrap_or_default()
        );
    }
    (run, audio)
}

#[test]
fn damaged_files_do_no_harm() {
    let minutes = std::env::var("FUZZ_MINUTES")
        .ok()
        .map(|m| m.parse::<u64>().unwrap());
    let until = minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let first = std::env::var("FUZZ_FIRST").ok().map_or(0, |n| n.parse().unwrap());
    let cases = (first..).take_while(move |n| match until {
        Some(until) => Instant::now() < until,
        None => n - first < CASES,
    });

    let panics = Arc::new(Mutex::new(Panics::default()));
    let seen = panics.clone();
    std::panic::set_hook(Box::new(move |info| {
        seen.lock().unwrap_or_else(PoisonError::into_inner).add(info);
    }));
    let (say, said) = channel();
    let shared = panics.clone();
    let worker = std::thread::spawn(move || work(cases, &say, &shared));
    let mut last = first;
    let hung = loop {
        match said.recv_timeout(HANG) {
            Ok(n) => last = n,
            Err(RecvTimeoutError::Disconnected) => break false,
            Err(RecvTimeoutError::Timeout) => break true,
        }
    };
    let result = if hung { None } else { Some(worker.join()) };
    let _ = std::panic::take_hook();
    let panics = panics.lock().unwrap_or_else(PoisonError::into_inner);
    for (place, times) in &panics.theirs {
        println!("a decoder panicked {times} times at {place}");
    }
    match result {
        Some(Ok((run, audio))) => {
            let memory = MEMORY.max_allocated() >> 20;
            println!("{run} damaged files, {audio} of them audio still; at most {memory} MiB of memory");
            // Damage that leaves nothing, or everything, tests nothing.
            assert!(audio * 20 > run && audio < run, "{audio} of {run}");
        }
        failed => {
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{last}"));
            std::fs::write(&file, case(&corpus(), last)).unwrap();
            let why = match failed {
                None => format!("it takes more than {HANG:?}"),
                Some(_) => panics.ours.clone().unwrap_or_default(),
            };
            panic!("case {last}, in {}: {why}", file.display());
        }
    }
}
