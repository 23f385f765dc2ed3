//! Everything that ends a command, each as one sentence that says what was wrong and what to do.
//!
//! In: errors of the kube client, and what was being done. Out: [`Error`]. It decides nothing.

use std::path::PathBuf;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no kubeconfig that can be used, and this is no pod.
    #[error("no cluster to talk to: {0}; set KUBECONFIG, or give --kubeconfig or --context")]
    NoCluster(String),
    /// The apiserver does not let this user do it.
    #[error("you may not {doing}: {message}. Ask for a Role with the rule {rule}")]
    Forbidden {
        /// What was being done.
        doing: String,
        /// The apiserver's words.
        message: String,
        /// What would allow it.
        rule: Rule,
    },
    /// The apiserver does not know who this is.
    #[error("the cluster does not take your credentials: {0}; log in again")]
    Unauthenticated(String),
    /// The CustomResourceDefinitions are not there.
    #[error("the cluster has no kind {0} of parlance.dev: install the chart parlance-crds first")]
    NoKind(&'static str),
    /// Any other answer of the apiserver, or none.
    #[error("failed to {doing}: {message}")]
    Api {
        /// What was being done.
        doing: String,
        /// What came instead.
        message: String,
    },
    /// No object has the name.
    #[error("namespace {namespace} has no {what} \"{name}\"; {}", others(.there))]
    NotFound {
        /// Its kind, or both.
        what: &'static str,
        /// The name that was asked for.
        name: String,
        /// Where it was looked for.
        namespace: String,
        /// Those that there are.
        there: Vec<String>,
    },
    /// Objects of both kinds have the name.
    #[error(
        "namespace {namespace} has a TranscriptionService and a ModelDeployment \"{name}\": say tsvc/{name} or mdl/{name}"
    )]
    Ambiguous {
        /// The name.
        name: String,
        /// The namespace.
        namespace: String,
    },
    /// A ModelDeployment that has no pods to ask.
    #[error(
        "ModelDeployment {0} has no spec.serving, so no pod serves it: name a TranscriptionService that uses it with --service"
    )]
    ModelRests(String),
    /// No pod of the object can answer.
    #[error(
        "{kind} {name} is not ready: {message}; `kubectl parlance why {short}/{name} -n {namespace}` tells more"
    )]
    NotReady {
        /// Its kind.
        kind: &'static str,
        /// Its kind in short.
        short: &'static str,
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: String,
        /// What its status says.
        message: String,
    },
    /// Every pod refused, again and again.
    #[error(
        "no pod took {} within {retry_for} s; the last one said: {message}. Try again later, add replicas, or raise --retry-for",
        .file.display()
    )]
    Refused {
        /// The recording.
        file: PathBuf,
        /// How long it was tried, in seconds.
        retry_for: u64,
        /// The last refusal.
        message: String,
    },
    /// The server does not transcribe this.
    #[error("{}: {message}", .file.display())]
    Answer {
        /// The recording.
        file: PathBuf,
        /// The server's words.
        message: String,
    },
    /// A pod did not answer as it should.
    #[error("pod {pod}: {message}")]
    Pod {
        /// The pod.
        pod: String,
        /// What it did.
        message: String,
    },
    /// A file cannot be read or written.
    #[error("failed to {doing} {}: {source}", .path.display())]
    File {
        /// `read` or `write`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Options that do not go together, beyond what clap sees.
    #[error("{0}")]
    Usage(String),
    /// Some of several files failed; each was told when it did.
    #[error("{failed} of {all} files were not transcribed")]
    SomeFiles {
        /// How many failed.
        failed: usize,
        /// How many there were.
        all: usize,
    },
    /// Standard output is closed or full.
    #[error("failed to write the output: {0}")]
    Output(std::io::Error),
}

/// A rule of RBAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// API group; empty for the core.
    pub group: &'static str,
    /// Resource, with its subresource.
    pub resource: &'static str,
    /// Verbs, separated by commas.
    pub verbs: &'static str,
}

impl std::fmt::Display for Rule {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Rule {
            group,
            resource,
            verbs,
        } = self;
        write!(
            out,
            "{{apiGroups: [\"{group}\"], resources: [{resource}], verbs: [{verbs}]}}"
        )
    }
}

fn others(there: &[String]) -> String {
    match there {
        [] => "it has none at all".to_owned(),
        names => format!("it has {}", names.join(", ")),
    }
}

impl Error {
    /// What the apiserver's answer means.
    pub fn of_kube(doing: impl Into<String>, rule: Rule, error: &kube::Error) -> Error {
        let (doing, message) = (doing.into(), explain(error));
        match error {
            kube::Error::Api(status) if status.code == 403 => Error::Forbidden { doing, message, rule },
            kube::Error::Api(status) if status.code == 401 => Error::Unauthenticated(message),
            _ => Error::Api { doing, message },
        }
    }
}

/// The words that tell most: the apiserver's own, or the innermost cause.
pub fn explain(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return match status.message.trim() {
            "" => format!("the apiserver answered {} {}", status.code, status.reason),
            message => message.trim_end_matches('.').to_owned(),
        };
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match error {
        kube::Error::Service(_) | kube::Error::HyperError(_) => {
            format!("the cluster cannot be reached: {cause}")
        }
        _ => cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_named_where_something_is_not() {
        let missing = |there: &[&str]| {
            let error = Error::NotFound {
                what: "TranscriptionService",
                name: "cals".into(),
                namespace: "speech".into(),
                there: there.iter().map(ToString::to_string).collect(),
            };
            error.to_string()
        };
        assert_eq!(
            missing(&["calls", "digits"]),
            "namespace speech has no TranscriptionService \"cals\"; it has calls, digits"
        );
        assert!(missing(&[]).ends_with("it has none at all"), "{}", missing(&[]));
    }
}
