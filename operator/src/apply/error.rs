//! Why children could not be made as they should be, and what an error of the client means.
//!
//! In: what the apiserver said. Out: an [`Error`], its words and its reason. Pure.

use crds::condition::Reason;

use crate::health::Finding;

/// Why the children could not be made as they should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An object of the wanted name is not ours to change.
    #[error("{kind} {name} exists already and {holder}; delete or rename it, or choose another name")]
    Conflict {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// Whose it is.
        holder: String,
    },
    /// A call failed.
    #[error("failed to {action} {kind} {name}: {}", explain(.source))]
    Api {
        /// What was tried.
        action: &'static str,
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// What the apiserver or the connection said.
        #[source]
        source: Box<kube::Error>,
    },
}

impl From<&Error> for Finding {
    fn from(error: &Error) -> Finding {
        let reason = match error {
            Error::Conflict { .. } => Reason::NameConflict,
            Error::Api { .. } => Reason::ApplyFailed,
        };
        Finding::new(reason, error.to_string())
    }
}

/// What an error of the client says to a person: the apiserver's own sentence where there is one.
pub fn explain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

/// Whether the namespace is being deleted: nothing can be made there any more, and all that is there goes by itself.
pub fn namespace_goes(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    let causes = status
        .details
        .as_ref()
        .map(|details| details.causes.as_slice())
        .unwrap_or_default();
    causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
}

impl Error {
    /// Whether the children could not be made because their namespace is being deleted.
    pub fn namespace_goes(&self) -> bool {
        matches!(self, Error::Api { source, .. } if namespace_goes(source))
    }
}
