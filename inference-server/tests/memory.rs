//! A long recording in a file in; its transcript out, in the memory of a short one.
#![allow(clippy::unwrap_used)] // a test that cannot go on says so

use std::{alloc::System, fs::File, io::Write, path::PathBuf, time::Duration};

use cap::Cap;
use inference_server::{
    audio::{Channels, Source, SourceError},
    model::Model,
    pipeline::{self, Cancel, LongForm, Options, PipelineError, Recording, Take},
};

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

struct Long(Source);

impl Recording for Long {
    type Error = PipelineError;

    fn play(&self, channels: Channels, take: &mut Take<'_, PipelineError>) -> Result<(), PipelineError> {
        let max = Duration::from_secs(24 * 3600);
        self.0.play(channels, max, take).map_err(|error| match error {
            SourceError::Taker(error) => error,
            other => panic!("{other}"),
        })
    }
}

fn model() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../models/whisper-nano-digits"
    ))
}

/// So many minutes of silence at 16 kHz, with a recording at the beginning and at the end.
fn recording(minutes: usize) -> Long {
    let wav = std::fs::read(model().join("samples/three-digits-16k.wav")).unwrap();
    let spoken = &wav[44..];
    let length = 2 * spoken.len() + minutes * 60 * 32_000;
    let mut file: File = tempfile::tempfile().unwrap();
    let mut header = wav[..44].to_vec();
    header[4..8].copy_from_slice(&(length as u32 + 36).to_le_bytes());
    header[40..44].copy_from_slice(&(length as u32).to_le_bytes());
    file.write_all(&header).unwrap();
    file.write_all(spoken).unwrap();
    for _ in 0..minutes * 60 {
        file.write_all(&[0; 32_000]).unwrap();
    }
    file.write_all(spoken).unwrap();
    Long(Source::file(file))
}

#[test]
fn memory_does_not_grow_with_the_length_of_the_audio() {
    let model = Model::load(&model(), 2).unwrap();
    for long_form in [LongForm::Chunked, LongForm::Sequential] {
        let options = Options {
            long_form,
            ..Options::default()
        };
        let most = |minutes: usize| {
            let recording = recording(minutes);
            let transcript = pipeline::transcribe(&model, &recording, &options, &Cancel::new()).unwrap();
            // This model hears nothing that comes late in a window, and only the chunked form begins windows with words.
            let times = if long_form == LongForm::Chunked { 2 } else { 1 };
            let said = vec!["Seven three one."; times].join(" ");
            assert_eq!(transcript.text, said, "{minutes} minutes");
            let seconds = transcript.audio_duration.as_secs();
            assert!((minutes as u64 * 60..minutes as u64 * 60 + 10).contains(&seconds));
            MEMORY.max_allocated()
        };
        let (short, long) = (most(2), most(30));
        assert!(
            long <= short + (1 << 20),
            "{long_form:?}: {short} bytes, then {long}"
        );
    }
}
