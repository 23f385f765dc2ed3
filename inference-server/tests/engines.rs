//! The same weights on our own kernels and in tract as they were exported in; the same words and numbers out.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, time::Duration};

use inference_server::{
    audio, bundled,
    model::Model,
    pipeline::{self, Cancel, LongForm, Options, Transcript},
};
use prost::Message;
use tract_onnx::pb::ModelProto;

/// The bundled model with other names for its nodes, so that its weights are not found by them.
fn renamed(to: &Path) {
    let from = bundled::find("whisper-nano-digits").unwrap();
    for entry in fs::read_dir(&from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.extension().is_some_and(|extension| extension == "onnx") {
            let mut model = ModelProto::decode(&*fs::read(&path).unwrap()).unwrap();
            for node in &mut model.graph.as_mut().unwrap().node {
                // Only the attention to the audio keeps its name, by which it is watched.
                if node.op_type == "MatMul" {
                    node.name = format!("{} of another exporter", node.name);
                }
            }
            fs::write(target, model.encode_to_vec()).unwrap();
        } else if path.is_file() {
            fs::copy(&path, target).unwrap();
        }
    }
}

fn transcribe(model: &Model, sample: &str, options: &Options) -> Transcript {
    let path = bundled::find("whisper-nano-digits")
        .unwrap()
        .join("samples")
        .join(sample);
    let pcm = audio::decode(&fs::read(path).unwrap(), Duration::from_secs(60)).unwrap();
    pipeline::transcribe(model, &pcm, options, &Cancel::new()).unwrap()
}

#[test]
fn an_export_with_other_names_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    renamed(folder.path());
    let own = Model::load(&bundled::find("whisper-nano-digits").unwrap(), 1).unwrap();
    let exported = Model::load(folder.path(), 1).unwrap();
    assert_eq!((own.engine_name(), exported.engine_name()), ("own", "exported"));
    let mut options = Options {
        word_timestamps: true,
        ..Options::default()
    };
    for beam_size in [1, 5] {
        options.decoding.beam_size = beam_size;
        for long_form in [LongForm::Chunked, LongForm::Sequential] {
            options.long_form = long_form;
            for sample in ["eight-digits-16k.flac", "two-sentences-16k.flac"] {
                let (ours, theirs) = (
                    transcribe(&own, sample, &options),
                    transcribe(&exported, sample, &options),
                );
                assert_eq!(ours.text, theirs.text, "{sample}");
                assert_eq!(ours.segments.len(), theirs.segments.len());
                for (ours, theirs) in ours.segments.iter().zip(&theirs.segments) {
                    assert_eq!(
                        (&ours.tokens, ours.start, ours.end),
                        (&theirs.tokens, theirs.start, theirs.end)
                    );
                    assert!((ours.avg_logprob - theirs.avg_logprob).abs() < 1e-3);
                    assert!((ours.no_speech_prob - theirs.no_speech_prob).abs() < 1e-3);
                    let words = |segment: &pipeline::Segment| {
                        segment
                            .words
                            .iter()
                            .map(|w| (w.text.clone(), w.start, w.end))
                            .collect::<Vec<_>>()
                    };
                    assert!(!ours.words.is_empty());
                    assert_eq!(words(ours), words(theirs));
                }
            }
        }
    }
}
