use std::{
    fs::{self, File},
    time::{Duration, SystemTime},
};

use prost::Message;
use tract_onnx::pb::ModelProto;

use super::*;
use crate::{
    audio,
    bundled::{self, copy},
    kernels::matrix::Matrix,
    model::{Config, Device, Files, Model, ModelError, engine, kept, parts::Part},
    pipeline::{self, Cancel, Options},
};

/// Puts a model's weights in order beside it; where they are.
fn prepack(dir: &Path, precision: Precision) -> PathBuf {
    let digest = digest::directory(dir).unwrap();
    let prepacking = Prepacking::of(dir, precision, &digest).unwrap();
    prepacking.expect("there are such already").write().unwrap();
    path(dir, Dtype::Fp32, precision)
}

fn load(dir: &Path, precision: Precision) -> Result<Model, ModelError> {
    Model::load_with(dir, None, Device::Cpu, precision, 1)
}

fn said(model: &Model) -> pipeline::Transcript {
    let sample = bundled::find(bundled::DEFAULT)
        .unwrap()
        .join("samples/eight-digits-16k.flac");
    let pcm = audio::decode(&fs::read(sample).unwrap(), Duration::from_secs(60)).unwrap();
    pipeline::transcribe(model, &pcm, &Options::default(), &Cancel::new()).unwrap()
}

fn why_not(dir: &Path, path: &Path) -> String {
    Prepacked::open(dir, path).err().unwrap()
}

#[test]
fn every_part_is_kept_as_it_was_made() {
    for precision in Precision::ALL {
        let dir = copy();
        prepack(dir.path(), precision);
        let files = Files::find(dir.path(), None).unwrap();
        let parts = engine::parts(&files.graphs, &Config::read(&files).unwrap(), precision);
        let parts = parts.unwrap().unwrap();
        let kept = Prepacked::find(dir.path(), Dtype::Fp32, precision).unwrap();
        assert_eq!(kept.digest(), &digest::directory(dir.path()).unwrap());
        let values = |matrix: &Matrix| {
            let panels = matrix.panels();
            let words = [
                panels.words,
                bytemuck::cast_slice(panels.scales),
                bytemuck::cast_slice(panels.surplus),
            ];
            (
                panels.format,
                panels.depth,
                panels.columns,
                words.map(<[u32]>::to_vec),
            )
        };
        assert!(parts.len() > 20, "{} parts", parts.len());
        for (name, part) in parts {
            match part {
                Part::Matrix(made) => {
                    assert!(values(&kept.matrix(&name).unwrap()) == values(&made), "{name}")
                }
                Part::Numbers(made) => assert_eq!(kept.numbers(&name), Some(made), "{name}"),
            }
        }
        assert!(kept.matrix("encoder.nothing").is_err());
        let digest = kept.digest().clone();
        assert!(
            Prepacking::of(dir.path(), precision, &digest).unwrap().is_none(),
            "once is enough"
        );
    }
}

#[test]
fn a_model_that_has_them_needs_no_graph_and_says_the_same() {
    for precision in [Precision::F32, Precision::Int8] {
        let dir = copy();
        let (facts, words) = {
            let model = load(dir.path(), precision).unwrap();
            (model.facts().clone(), said(&model))
        };
        let path = prepack(dir.path(), precision);
        // Graphs that nobody can read, which look the same from outside.
        for file in digest::files(dir.path()).unwrap() {
            if file.extension().is_some_and(|ending| ending == "onnx") {
                let file = dir.path().join(file);
                let before = fs::metadata(&file).unwrap();
                fs::write(&file, vec![0xff; before.len() as usize]).unwrap();
                let times = fs::FileTimes::new().set_modified(before.modified().unwrap());
                File::options()
                    .write(true)
                    .open(&file)
                    .unwrap()
                    .set_times(times)
                    .unwrap();
            }
        }
        let model = load(dir.path(), precision).unwrap();
        assert!(model.prepacked());
        assert_eq!((model.facts(), model.engine_name()), (&facts, "own"));
        assert_eq!(said(&model), words);
        fs::remove_file(path).unwrap();
        assert!(
            load(dir.path(), precision).is_err(),
            "there is nothing else to read"
        );
    }
}

#[test]
fn what_is_damaged_is_not_used() {
    let dir = copy();
    let words = said(&load(dir.path(), Precision::Int8).unwrap());
    let path = prepack(dir.path(), Precision::Int8);
    let whole = fs::read(&path).unwrap();
    let middle = whole.len() / 2;
    let mut other = whole.clone();
    other[middle] ^= 1;
    for damaged in [&other, &whole[..middle], &whole[..10], &[]] {
        fs::write(&path, damaged).unwrap();
        assert_eq!(why_not(dir.path(), &path), "the file is damaged");
        let model = load(dir.path(), Precision::Int8).unwrap();
        assert_eq!((model.prepacked(), said(&model)), (false, words.clone()));
    }
    prepack(dir.path(), Precision::Int8);
    assert!(
        Prepacked::open(dir.path(), &path).unwrap().is_some(),
        "it is mended"
    );
}

#[test]
fn what_was_made_of_other_files_or_by_another_program_is_not_used() {
    let dir = copy();
    let path = prepack(dir.path(), Precision::F32);
    let whole = fs::read(&path).unwrap();
    let at = whole
        .windows(64)
        .position(|text| text == kept::sources().as_bytes())
        .unwrap();
    let mut older = whole[..whole.len() - blake3::OUT_LEN].to_vec();
    older[at..at + 64].copy_from_slice(&[b'0'; 64]);
    let hash = blake3::hash(&older);
    fs::write(&path, [&older, &hash.as_bytes()[..]].concat()).unwrap();
    assert_eq!(
        why_not(dir.path(), &path),
        "another version of this program wrote it"
    );

    fs::write(&path, whole).unwrap();
    let tokenizer = dir.path().join("tokenizer.json");
    let text = fs::read(&tokenizer).unwrap();
    let changed = "the model's files have changed since it was written";
    fs::write(&tokenizer, [&text[..], b" "].concat()).unwrap();
    assert_eq!(why_not(dir.path(), &path), changed);
    fs::write(&tokenizer, text).unwrap();
    let file = File::options().write(true).open(&tokenizer).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(60))
        .unwrap();
    assert_eq!(why_not(dir.path(), &path), changed);
}

#[test]
fn a_run_that_was_killed_leaves_nothing_behind() {
    let dir = copy();
    let partial = dir.path().join(".prepacking-killed");
    fs::write(&partial, "half").unwrap();
    prepack(dir.path(), Precision::F32);
    assert!(!partial.exists());
}

#[test]
fn graphs_that_our_kernels_do_not_run_are_not_put_in_order() {
    let dir = copy();
    let encoder = Files::find(dir.path(), None).unwrap().graphs.encoder;
    let mut graph = ModelProto::decode(&*fs::read(&encoder).unwrap()).unwrap();
    graph.graph.as_mut().unwrap().node[0].op_type = "Tanh".to_owned();
    fs::write(&encoder, graph.encode_to_vec()).unwrap();
    let digest = digest::directory(dir.path()).unwrap();
    let refused = Prepacking::of(dir.path(), Precision::F32, &digest).err().unwrap();
    assert_eq!(
        refused.to_string(),
        "its graphs run as they were exported: it has the operator Tanh"
    );
}
