use std::fs;

use super::*;
use crate::{
    bundled::{self, copy},
    digest,
    model::{Device, Model},
};

fn kept(dir: &Path) -> Measured {
    Measured::keep(dir, &digest::directory(dir).unwrap()).unwrap()
}

#[test]
fn auto_is_the_fastest_precision_that_is_near_enough() {
    let dir = copy();
    let load = |precision| Model::load_with(dir.path(), None, Device::Cpu, precision, 1).unwrap();
    assert_eq!(
        load(Precision::Auto).precision(),
        Precision::F32,
        "not measured yet"
    );
    let measured = kept(dir.path());
    assert_eq!(load(Precision::Auto).precision(), measured.precision);
    let last = measured.cosines.len().wrapping_sub(1);
    for (i, (tried, expected)) in measured.cosines.iter().zip(faster(Isa::best())).enumerate() {
        assert_eq!(tried.0, expected);
        // The bundled model in eight bits is as near as 0.996 (tests/precision.rs), and nothing is farther off.
        assert!((0.99..=1.0).contains(&tried.1), "{measured}");
        assert_eq!(
            tried.1 >= 0.999,
            i == last && tried.0 == measured.precision,
            "{measured}"
        );
    }
    let names = digest::files(dir.path()).unwrap();
    assert_eq!(
        names,
        digest::files(&bundled::find(bundled::DEFAULT).unwrap()).unwrap(),
        "it is no part of the model"
    );
}

#[test]
fn what_is_given_is_taken_whatever_was_measured() {
    let dir = copy();
    kept(dir.path());
    for precision in [Precision::F32, Precision::Int8Bf16, Precision::Int8] {
        if precision.on(Isa::best()) != precision {
            continue; // the machine has no instructions for it
        }
        let model = Model::load_with(dir.path(), None, Device::Cpu, precision, 1).unwrap();
        assert_eq!(model.precision(), precision);
    }
}

#[test]
fn it_is_measured_once_and_again_when_the_model_has_changed() {
    let dir = copy();
    let first = kept(dir.path());
    let file = path(dir.path(), Dtype::Fp32);
    let mut other: Content = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    other.measured.cosines = vec![(Precision::Int8, 0.5)];
    fs::write(&file, serde_json::to_vec(&other).unwrap()).unwrap();
    assert_eq!(kept(dir.path()), other.measured, "what is written is believed");
    assert_eq!(
        Measured::find_or_measure(dir.path(), None).unwrap(),
        other.measured
    );

    let tokenizer = dir.path().join("tokenizer.json");
    let text = fs::read(&tokenizer).unwrap();
    fs::write(&tokenizer, [&text[..], b" "].concat()).unwrap();
    assert_eq!(Measured::find(dir.path(), Dtype::Fp32), None);
    assert_eq!(Measured::find_or_measure(dir.path(), None).unwrap(), first);
    assert_eq!(kept(dir.path()), first);

    fs::write(&file, "{").unwrap();
    assert_eq!(open(dir.path(), &file).err().unwrap(), "the file is damaged");
    assert_eq!(kept(dir.path()), first, "it is mended");
    assert_eq!(Measured::find(dir.path(), Dtype::Fp32), Some(first));
}

#[test]
fn scores_that_are_no_numbers_are_not_near() {
    let (a, b) = ([1.0, 2.0], [2.0, f32::NAN]);
    assert_eq!([cosine(&a, &a), cosine(&a, &b)], [1.0, 0.0]);
    assert_eq!(cosine(&a, &[-2.0, 1.0]), 0.0, "at a right angle");
}
