//! A repository of Hugging Face's hub, or of a mirror of it, in; the list of the files that a model needs out.
//! Downloads none of them.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Url;
use serde::Deserialize;

use super::{
    FetchError,
    client::{Asker, Stop, answered, unanswered},
    listing::{Address, Listing, RemoteFile, is_inside, needed, shown},
    secret::Secret,
};
use crate::{cause::root, kind::ModelFormat, model::Dtype};

/// The hub itself.
pub const HUB: &str = "https://huggingface.co";

/// A model on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// `owner/name`.
    pub repo: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// Which precision of several; the first of [`Dtype::ALL`] that is whole when not said.
    pub variant: Option<Dtype>,
    /// The hub or a mirror of it.
    pub endpoint: Url,
    /// What opens it, for models that are not for everybody.
    pub token: Option<Secret>,
}

/// What the hub says of a revision.
#[derive(Deserialize)]
struct Revision {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    size: Option<u64>,
}

impl Repository {
    /// What is asked for, in one line without secrets.
    pub(super) fn asked_for(&self) -> String {
        let variant = self.variant.map_or("any", Dtype::name);
        let endpoint = shown(&self.endpoint);
        format!("hub {endpoint} {} {} {variant}", self.repo, self.revision)
    }

    /// Asks the hub which commit the revision is, and what it holds.
    pub(super) async fn list(&self, asker: &Asker, format: ModelFormat) -> Result<Listing, FetchError> {
        let mut url = self.url(&["api", "models"], "revision", &[&self.revision])?;
        url.set_query(Some("blobs=true"));
        let found: Revision = asker.persist(|| self.ask(asker, &url)).await?;
        self.listing(found, format)
    }

    async fn ask(&self, asker: &Asker, url: &Url) -> Result<Revision, Stop> {
        let mut request = asker.client.get(url.clone());
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.reveal());
        }
        let response = request.send().await.map_err(|e| unanswered(url, &e))?;
        let missing = format!(
            "{} has no model {} of revision {}, or not for this token",
            shown(&self.endpoint),
            self.repo,
            self.revision
        );
        let response = answered(url, response, &missing)?;
        let body = response.bytes().await;
        let body = body.map_err(|e| Stop::again(format!("{} broke off: {}", shown(url), root(&e))))?;
        serde_json::from_slice(&body).map_err(|e| {
            let said = format!("{} does not answer as the hub does: {e}", shown(url));
            Stop::Final(FetchError::SourceUnreachable(said))
        })
    }

    fn listing(&self, found: Revision, format: ModelFormat) -> Result<Listing, FetchError> {
        let commit = found.sha;
        let source = self.url(&[], "tree", &[&commit])?;
        let held: BTreeMap<String, Sibling> = found
            .siblings
            .into_iter()
            .filter(|sibling| is_inside(&sibling.rfilename))
            .map(|sibling| (sibling.rfilename.clone(), sibling))
            .collect();
        let wanted = needed(
            &self.repo,
            &held.keys().cloned().collect::<BTreeSet<_>>(),
            self.variant,
            format,
        )?;
        let files = held
            .into_values()
            .filter(|sibling| wanted.contains(&sibling.rfilename));
        let files = files.map(|sibling| {
            let parts: Vec<&str> = [commit.as_str()]
                .into_iter()
                .chain(sibling.rfilename.split('/'))
                .collect();
            let url = self.url(&[], "resolve", &parts)?;
            let lfs = sibling.lfs.as_ref();
            Ok(RemoteFile {
                size: lfs.and_then(|lfs| lfs.size).or(sibling.size),
                sha256: lfs
                    .and_then(|lfs| lfs.sha256.clone())
                    .map(|sha256| sha256.to_lowercase()),
                version: commit.clone(),
                address: match &self.token {
                    Some(token) => Address::Bearer(url, token.clone()),
                    None => Address::Open(url),
                },
                path: sibling.rfilename,
            })
        });
        let files = files.collect::<Result<Vec<_>, FetchError>>()?;
        Ok(Listing {
            source: shown(&source),
            revision: Some(commit),
            files,
        })
    }

    /// `<endpoint>/<before>/<owner>/<name>/<what>/<after>`, each part escaped as the hub wants it.
    fn url(&self, before: &[&str], what: &str, after: &[&str]) -> Result<Url, FetchError> {
        let mut url = self.endpoint.clone();
        let no_base =
            || FetchError::SourceNotFound(format!("{} is no address of a hub", shown(&self.endpoint)));
        url.path_segments_mut()
            .map_err(|()| no_base())?
            .pop_if_empty()
            .extend(before)
            .extend(self.repo.split('/'))
            .push(what)
            .extend(after);
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(endpoint: &str) -> Repository {
        Repository {
            repo: "onnx-community/whisper-tiny".to_owned(),
            revision: "refs/pr/1".to_owned(),
            variant: Some(Dtype::Int8),
            endpoint: Url::parse(endpoint).unwrap(),
            token: Some(Secret::from("hf_secret\n".to_owned())),
        }
    }

    #[test]
    fn addresses_are_those_of_the_hub_and_of_a_mirror_in_a_folder() {
        let of = |endpoint: &str| {
            let repository = repository(endpoint);
            let api = repository
                .url(&["api", "models"], "revision", &["refs/pr/1"])
                .unwrap();
            let file = repository
                .url(&[], "resolve", &["c0ffee", "onnx", "a b.onnx"])
                .unwrap();
            (api.to_string(), file.to_string())
        };
        let hub = "https://huggingface.co";
        let expected = |base: &str| {
            (
                format!("{base}/api/models/onnx-community/whisper-tiny/revision/refs%2Fpr%2F1"),
                format!("{base}/onnx-community/whisper-tiny/resolve/c0ffee/onnx/a%20b.onnx"),
            )
        };
        assert_eq!(of(hub), expected(hub));
        assert_eq!(of("http://mirror/hub/"), expected("http://mirror/hub"));
    }

    #[test]
    fn what_is_asked_for_names_all_but_the_secrets() {
        let repository = repository("https://me:pw@mirror/hub");
        let asked = "hub https://mirror/hub onnx-community/whisper-tiny refs/pr/1 int8";
        assert_eq!(repository.asked_for(), asked);
        let debug = format!("{repository:?}");
        assert!(!debug.contains("hf_secret"), "{debug}");
    }
}
