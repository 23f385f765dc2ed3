//! Whether anybody looks after the objects of a namespace.
//!
//! In: the operator's Deployment and Lease. Out: what is wrong with it, in words. Only `look` asks the apiserver.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::age;

/// Label selector of the operator's Deployment, as its chart labels it.
const SELECTOR: &str = "app.kubernetes.io/part-of=parlance,app.kubernetes.io/component=operator";
/// Label with the operator's version.
const VERSION: &str = "app.kubernetes.io/version";
/// Name of the Lease where the command line names none.
const DEFAULT_LEASE: &str = "parlance-operator";
/// A Lease is renewed every two seconds; clocks may differ by most of this.
const STALE: i64 = 60;

/// What is known of the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// This user may not look for it.
    Unseen,
    /// There is none in the cluster.
    Absent,
    /// There is one.
    Installed(Box<Installed>),
}

/// An operator that is installed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Namespace of its Deployment.
    pub namespace: String,
    /// Name of its Deployment.
    pub name: String,
    /// Its version.
    pub version: Option<String>,
    /// Its pods that are ready.
    pub ready: i32,
    /// The pods that there should be.
    pub wanted: i32,
    /// Namespaces that it looks after; all when empty.
    pub namespaces: Vec<String>,
    /// Its Lease, where that is used and may be read.
    pub lease: Option<Held>,
}

/// A Lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub name: String,
    /// Who holds it.
    pub holder: Option<String>,
    /// When it was renewed last.
    pub renewed: Option<Timestamp>,
}

impl Operator {
    /// What keeps it from looking after objects of a namespace, if anything does.
    pub fn trouble(&self, namespace: &str, now: Timestamp) -> Option<String> {
        let installed = match self {
            Operator::Unseen => return None,
            Operator::Absent => {
                return Some("no operator runs in this cluster; install the chart parlance".to_owned());
            }
            Operator::Installed(installed) => installed,
        };
        let place = format!("{}/{}", installed.namespace, installed.name);
        if !installed.watches(namespace) {
            let theirs = installed.namespaces.join(", ");
            return Some(format!(
                "the operator {place} only looks after the namespaces {theirs}"
            ));
        }
        if installed.wanted == 0 {
            return Some(format!(
                "the operator is scaled to nothing; scale Deployment {place} up"
            ));
        }
        if installed.ready == 0 {
            return Some(format!(
                "the operator has no ready pod; look at its pods with `kubectl get pods -n {}`",
                installed.namespace
            ));
        }
        let lease = installed.lease.as_ref()?;
        let silent = lease.renewed.map(|renewed| now.duration_since(renewed).as_secs());
        match (&lease.holder, silent) {
            (None, _) => Some(format!(
                "no pod of the operator {place} holds its Lease {}",
                lease.name
            )),
            (Some(holder), Some(silent)) if silent > STALE => Some(format!(
                "the operator's Lease {} was last renewed {} ago, by {holder}",
                lease.name,
                age::span(silent)
            )),
            _ => None,
        }
    }

    /// Its version and who leads, where there is one.
    pub fn words(&self) -> Option<String> {
        let Operator::Installed(installed) = self else {
            return None;
        };
        let version = installed.version.as_deref().unwrap_or("of unknown version");
        let holder = installed.lease.as_ref().and_then(|lease| lease.holder.as_deref());
        Some(match holder {
            Some(holder) => format!("{version}, led by {holder}"),
            None => version.to_owned(),
        })
    }
}

impl Installed {
    fn watches(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|one| one == namespace)
    }

    fn of(deployment: &Deployment) -> Installed {
        let spec = deployment.spec.clone().unwrap_or_default();
        Installed {
            namespace: deployment.namespace().unwrap_or_default(),
            name: deployment.name_any(),
            version: deployment.labels().get(VERSION).cloned(),
            ready: deployment
                .status
                .as_ref()
                .and_then(|one| one.ready_replicas)
                .unwrap_or(0),
            wanted: spec.replicas.unwrap_or(1),
            namespaces: argument(deployment, "--namespaces=")
                .map(|list| list.split(',').map(|one| one.trim().to_owned()).collect())
                .unwrap_or_default(),
            lease: None,
        }
    }
}

/// The value of an argument of the operator's command line.
fn argument(deployment: &Deployment, flag: &str) -> Option<String> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    let mut arguments = pod.containers.iter().flat_map(|one| one.args.iter().flatten());
    arguments.find_map(|argument| argument.strip_prefix(flag).map(str::to_owned))
}

/// The operator that looks after a namespace, or the next best.
pub async fn look(client: &Client, namespace: &str) -> Operator {
    let api = Api::<Deployment>::all(client.clone());
    let Ok(list) = api.list(&ListParams::default().labels(SELECTOR)).await else {
        return Operator::Unseen;
    };
    let all = || list.items.iter().map(|one| (one, Installed::of(one)));
    let chosen = all()
        .find(|(_, one)| one.watches(namespace))
        .or_else(|| all().next());
    let Some((deployment, mut installed)) = chosen else {
        return Operator::Absent;
    };
    if argument(deployment, "--leader-election=").as_deref() != Some("false") {
        let name = argument(deployment, "--lease-name=").unwrap_or_else(|| DEFAULT_LEASE.to_owned());
        let leases = Api::<Lease>::namespaced(client.clone(), &installed.namespace);
        if let Ok(found) = leases.get_opt(&name).await {
            let spec = found.and_then(|lease| lease.spec).unwrap_or_default();
            installed.lease = Some(Held {
                name,
                holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
                renewed: spec.renew_time.map(|time| time.0),
            });
        }
    }
    Operator::Installed(Box::new(installed))
}
