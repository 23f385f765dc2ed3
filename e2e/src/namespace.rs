//! A namespace of a test's own, with restricted Pod Security, gone when the test ends.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::core::{NamespaceResourceScope, Resource};
use kube::{Client, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;

use crate::wait::{Found, wait_for};

/// Field manager of the tests' own writes.
pub const MANAGER: &str = "parlance-e2e";

/// A namespace of a test's own.
#[derive(Clone)]
pub struct TestNamespace {
    /// Client of the cluster.
    pub client: Client,
    /// Name of the namespace.
    pub name: String,
}

/// Runs a test in a fresh namespace and deletes it afterwards; prints what the namespace held when the test failed.
///
/// # Panics
/// When there is no cluster, and when the test does.
pub async fn in_namespace<F, Test>(test: F)
where
    F: FnOnce(TestNamespace) -> Test,
    Test: Future<Output = ()>,
{
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let client = Client::try_default()
        .await
        .expect("no cluster: run the tests with `make e2e`");
    let name = format!(
        "e2e-{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let object = json!({
        "metadata": { "name": name, "labels": { "pod-security.kubernetes.io/enforce": "restricted", "parlance.dev/e2e": "true" } }
    });
    let object = serde_json::from_value(object).expect("a namespace");
    namespaces
        .create(&PostParams::default(), &object)
        .await
        .expect("failed to create a namespace");
    let namespace = TestNamespace {
        client,
        name: name.clone(),
    };
    let accounts: Api<ServiceAccount> = namespace.api();
    wait_for("the namespace's default ServiceAccount", || async {
        match accounts.get_opt("default").await {
            Ok(Some(_)) => Found::Yes(()),
            other => Found::NotYet(format!("{other:?}")),
        }
    })
    .await;

    let outcome = AssertUnwindSafe(test(namespace)).catch_unwind().await;
    if outcome.is_err() {
        describe(&name);
    }
    let deleted = namespaces.delete(&name, &DeleteParams::default()).await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
    deleted.expect("failed to delete the test's namespace");
}

/// Prints what a person would look at first.
fn describe(namespace: &str) {
    for what in [
        "tsvc,mdl,deploy,rs,pod,job,pvc,hpa -o wide",
        "tsvc,mdl -o yaml",
        "events --sort-by=.lastTimestamp",
    ] {
        eprintln!("--- kubectl -n {namespace} get {what}");
        let arguments = ["-n", namespace, "get"].into_iter().chain(what.split(' '));
        match Command::new("kubectl").args(arguments).output() {
            Ok(output) => eprintln!("{}", String::from_utf8_lossy(&output.stdout)),
            Err(error) => eprintln!("failed to run kubectl: {error}"),
        }
    }
}

impl TestNamespace {
    /// The namespace's objects of a kind.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Applies an object, as `kubectl apply` would, and returns it as the apiserver has it.
    ///
    /// # Errors
    /// What the apiserver answers when it refuses the object.
    pub async fn try_apply<K>(&self, object: &K) -> kube::Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Serialize
            + DeserializeOwned
            + Clone
            + Debug,
    {
        let params = PatchParams::apply(MANAGER).force();
        self.api::<K>()
            .patch(&object.name_any(), &params, &Patch::Apply(object))
            .await
    }

    /// Applies an object that the apiserver must take.
    ///
    /// # Panics
    /// When it refuses it.
    pub async fn apply<K>(&self, object: &K) -> K
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Serialize
            + DeserializeOwned
            + Clone
            + Debug,
    {
        let name = object.name_any();
        self.try_apply(object)
            .await
            .unwrap_or_else(|e| panic!("failed to apply {} {name}: {e}", K::kind(&())))
    }

    /// Merges a change into a live object.
    ///
    /// # Panics
    /// When the apiserver refuses it.
    pub async fn merge<K>(&self, name: &str, change: Value) -> K
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + DeserializeOwned + Clone + Debug,
    {
        let patch = Patch::Merge(change);
        let params = PatchParams {
            field_manager: Some(MANAGER.into()),
            ..Default::default()
        };
        self.api::<K>()
            .patch(name, &params, &patch)
            .await
            .unwrap_or_else(|e| panic!("failed to change {} {name}: {e}", K::kind(&())))
    }

    /// Waits until an object is as `holds` wants it, and returns it. `holds` says what it saw when it does not hold.
    pub async fn until<K>(&self, name: &str, what: &str, holds: impl Fn(&K) -> Result<(), String>) -> K
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + DeserializeOwned + Clone + Debug,
    {
        let api = self.api::<K>();
        wait_for(&format!("{} {name}: {what}", K::kind(&())), || async {
            match api.get_opt(name).await {
                Ok(Some(object)) => match holds(&object) {
                    Ok(()) => Found::Yes(object),
                    Err(seen) => Found::NotYet(seen),
                },
                Ok(None) => Found::NotYet("it does not exist".into()),
                Err(error) => Found::NotYet(error.to_string()),
            }
        })
        .await
    }

    /// Waits until an object is gone.
    pub async fn until_gone<K>(&self, name: &str)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + DeserializeOwned + Clone + Debug,
    {
        let api = self.api::<K>();
        wait_for(&format!("{} {name} to be gone", K::kind(&())), || async {
            match api.get_opt(name).await {
                Ok(None) => Found::Yes(()),
                other => Found::NotYet(format!("{other:?}")),
            }
        })
        .await;
    }
}
