//! Kinds that other projects bring: a test brings them and takes them away, and looks at objects that no type here describes.

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use tokio::process::Command;

use crate::namespace::TestNamespace;
use crate::wait::{Found, wait_for};

/// The definitions of such kinds, as their project publishes them.
#[derive(Clone, Debug)]
pub struct Definitions {
    file: String,
}

impl Definitions {
    /// Those in the file that a variable names; none on a cluster whose kinds are not ours to change.
    pub fn of(variable: &str) -> Option<Definitions> {
        let file = std::env::var(variable).ok().filter(|file| !file.is_empty());
        if file.is_none() {
            eprintln!("skipped: this cluster's kinds are not ours to add and remove");
        }
        Some(Definitions { file: file? })
    }

    /// Brings the kinds.
    ///
    /// # Panics
    /// When kubectl fails.
    pub async fn bring(&self) {
        self.kubectl(&["apply", "--server-side"]).await;
    }

    /// Takes the kinds away, and their objects with them.
    ///
    /// # Panics
    /// When kubectl fails.
    pub async fn take_away(&self) {
        self.kubectl(&["delete", "--ignore-not-found"]).await;
    }

    async fn kubectl(&self, does: &[&str]) {
        let mut command = Command::new("kubectl");
        command.args(does).args(["--filename", &self.file]);
        let status = command.status().await.expect("failed to run kubectl");
        assert!(status.success(), "{command:?}");
    }
}

/// The namespace's objects of such a kind.
pub fn objects(namespace: &TestNamespace, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(namespace.client.clone(), &namespace.name, &resource)
}

/// Waits until an object is there and `holds` of it.
pub async fn until(
    api: &Api<DynamicObject>,
    name: &str,
    what: &str,
    holds: impl Fn(&DynamicObject) -> bool,
) -> DynamicObject {
    wait_for(what, || async {
        match api.get_opt(name).await {
            Ok(Some(object)) if holds(&object) => Found::Yes(object),
            other => Found::NotYet(format!("{other:?}")),
        }
    })
    .await
}

/// Waits until an object is gone.
pub async fn until_gone(api: &Api<DynamicObject>, name: &str) {
    wait_for(&format!("{name} to go"), || async {
        match api.get_opt(name).await {
            Ok(None) => Found::Yes(()),
            other => Found::NotYet(format!("{other:?}")),
        }
    })
    .await;
}
