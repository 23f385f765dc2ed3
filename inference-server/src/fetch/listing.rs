//! What a source holds, before a byte of it is downloaded. Pure: which files are wanted, and whether they can be a model.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use object_store::aws::AmazonS3;
use reqwest::Url;

use super::{FetchError, secret::Secret};
use crate::{
    kind::ModelFormat,
    model::{Dtype, Files, ModelError},
    tensors::OnnxFiles,
};

/// The files of a model at a source.
#[derive(Debug)]
pub(super) struct Listing {
    /// The source as a URI, for people; without user and query.
    pub(super) source: String,
    /// The commit, where the source has such a thing.
    pub(super) revision: Option<String>,
    /// The files.
    pub(super) files: Vec<RemoteFile>,
}

/// One file at a source.
#[derive(Clone, Debug)]
pub(super) struct RemoteFile {
    /// Where it belongs in the model: relative, and never out of it.
    pub(super) path: String,
    /// Its bytes, where the source says so beforehand.
    pub(super) size: Option<u64>,
    /// Its sha256 in lower-case hexadecimal digits, where somebody says so.
    pub(super) sha256: Option<String>,
    /// What changes when the file at the source does: a commit, an ETag; empty where nothing is known.
    pub(super) version: String,
    /// How to ask for its bytes.
    pub(super) address: Address,
}

/// How to ask for a file.
#[derive(Clone, Debug)]
pub(super) enum Address {
    /// A plain GET.
    Open(Url),
    /// A GET with a token, which goes to no other host.
    Bearer(Url, Secret),
    /// An object that is asked for with a signature of its own each time.
    Signed(Arc<AmazonS3>, object_store::path::Path, Url),
}

impl Address {
    /// What to call it.
    pub(super) fn url(&self) -> &Url {
        match self {
            Address::Open(url) | Address::Bearer(url, _) | Address::Signed(_, _, url) => url,
        }
    }
}

/// Whether a path leads to a file in the model, and to no hidden one: those do not count in the digest.
pub(super) fn is_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    let plain = |part: Component| match part {
        Component::Normal(name) => !name.to_string_lossy().starts_with('.'),
        _ => false,
    };
    !path.is_empty() && !path.ends_with('/') && !path.contains(['\0', '\\']) && parts.all(plain)
}

/// The paths of those files that a model of this precision needs, of all that `place` holds. Weights that lie beside
/// their graph come with it.
pub(super) fn needed(
    place: &str,
    paths: &BTreeSet<String>,
    dtype: Option<Dtype>,
    format: ModelFormat,
) -> Result<BTreeSet<String>, FetchError> {
    if format == ModelFormat::Onnx {
        return Ok(onnx(place, paths, dtype)?.needed(paths));
    }
    let found = choose(place, paths, dtype)?;
    let mut wanted: BTreeSet<String> = [
        found.config,
        found.generation,
        found.preprocessor,
        found.tokenizer,
    ]
    .iter()
    .map(|path| within(place, path))
    .collect();
    let graphs = [vec![found.graphs.encoder], found.graphs.decoders.paths()].concat();
    for graph in graphs.iter().map(|path| within(place, path)) {
        let beside = |path: &&String| {
            let rest = path.strip_prefix(&graph);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("_data") || rest.starts_with(".data"))
        };
        wanted.extend(paths.iter().filter(beside).cloned());
    }
    Ok(wanted)
}

/// Refuses, before anything is downloaded, what is no model of this format.
pub(super) fn check(listing: &Listing, format: ModelFormat) -> Result<(), FetchError> {
    let paths: BTreeSet<String> = listing.files.iter().map(|file| file.path.clone()).collect();
    match format {
        ModelFormat::Whisper => choose(&listing.source, &paths, None).map(drop),
        ModelFormat::Onnx => onnx(&listing.source, &paths, None).map(drop),
    }
}

fn onnx(place: &str, paths: &BTreeSet<String>, dtype: Option<Dtype>) -> Result<OnnxFiles, FetchError> {
    OnnxFiles::choose(place, paths, dtype).map_err(refused)
}

/// A source that is a model, and not in this precision, would do by another name.
fn refused(error: ModelError) -> FetchError {
    match error {
        ModelError::NotThatDtype { .. } => FetchError::SourceNotFound(error.to_string()),
        error => FetchError::InvalidModel(error.to_string()),
    }
}

fn choose(place: &str, paths: &BTreeSet<String>, dtype: Option<Dtype>) -> Result<Files, FetchError> {
    let present = |path: &Path| paths.contains(&within(place, path));
    Files::choose(Path::new(place), dtype, &present).map_err(refused)
}

fn within(place: &str, path: &Path) -> String {
    let inside: PathBuf = path.strip_prefix(place).unwrap_or(path).to_owned();
    inside.to_string_lossy().into_owned()
}

/// An address without what may be secret in it: user, query, fragment.
pub(super) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    // These fail on addresses that can have neither.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXTS: [&str; 4] = [
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "tokenizer.json",
    ];

    fn paths(more: &[&str]) -> BTreeSet<String> {
        TEXTS.iter().chain(more).map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn only_what_the_precision_needs_is_wanted_and_its_weights_come_along() {
        let held = paths(&[
            "README.md",
            "vocab.json",
            "onnx/encoder_model.onnx",
            "onnx/encoder_model.onnx_data",
            "onnx/encoder_model.onnx_data_1",
            "onnx/decoder_model.onnx",
            "onnx/decoder_with_past_model.onnx",
            "onnx/decoder_model_merged.onnx",
            "onnx/encoder_model_fp16.onnx",
            "onnx/decoder_model_merged_fp16.onnx",
        ]);
        let fp32 = needed("openai/tiny", &held, None, ModelFormat::Whisper).unwrap();
        let expected = paths(&[
            "onnx/encoder_model.onnx",
            "onnx/encoder_model.onnx_data",
            "onnx/encoder_model.onnx_data_1",
            "onnx/decoder_model.onnx",
            "onnx/decoder_with_past_model.onnx",
        ]);
        assert_eq!(fp32, expected);
        let fp16 = needed("openai/tiny", &held, Some(Dtype::Fp16), ModelFormat::Whisper).unwrap();
        let expected = paths(&[
            "onnx/encoder_model_fp16.onnx",
            "onnx/decoder_model_merged_fp16.onnx",
        ]);
        assert_eq!(fp16, expected);
        let error = needed("openai/tiny", &held, Some(Dtype::Int8), ModelFormat::Whisper).unwrap_err();
        assert_eq!(error.reason(), "SourceNotFound");
        assert_eq!(
            error.to_string(),
            "openai/tiny holds no graphs in int8, but in fp32, fp16"
        );
    }

    #[test]
    fn what_is_no_whisper_is_refused_by_the_file_that_is_missing() {
        let error = needed(
            "openai/tiny",
            &paths(&["model.safetensors"]),
            None,
            ModelFormat::Whisper,
        )
        .unwrap_err();
        assert_eq!(error.reason(), "InvalidModel");
        assert!(
            error
                .to_string()
                .starts_with("encoder_model.onnx is missing from openai/tiny"),
            "{error}"
        );
    }

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        let url = Url::parse("https://me:secret@host:8443/a/b.json?X-Amz-Signature=secret#secret").unwrap();
        assert_eq!(shown(&url), "https://host:8443/a/b.json");
    }

    #[test]
    fn hidden_files_and_ways_out_are_not_inside() {
        for path in ["config.json", "onnx/encoder_model.onnx"] {
            assert!(is_inside(path), "{path}");
        }
        for path in [
            "",
            "/etc/passwd",
            "../a",
            "a/../../b",
            ".source.json",
            "a/.b/c",
            "onnx/",
        ] {
            assert!(!is_inside(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn what_is_inside_stays_inside(path in "[a-z./\\\\]{0,12}") {
            if is_inside(&path) {
                let joined = Path::new("/model").join(&path);
                prop_assert!(joined.starts_with("/model") && joined != Path::new("/model"));
                prop_assert!(joined.components().all(|part| !matches!(part, Component::ParentDir)));
            }
        }

        #[test]
        fn what_is_shown_never_holds_a_query_or_a_password(user in "[a-z]{1,8}", query in "[a-z=&%]{1,12}") {
            let url = Url::parse(&format!("https://{user}:pw-{user}@h/p?q-{query}")).unwrap();
            prop_assert_eq!(shown(&url), "https://h/p");
        }
    }
}
