//! The only place that writes child objects: server-side apply, and pruning.
//!
//! In: the children as `build` wants them and as they were found. Out: them as the apiserver now holds them, and what was
//! changed. An object that is as wanted is not written, and one that belongs to something else is never touched. What a
//! child should be is not decided here.

use std::fmt::Debug;

use crds::condition::Reason;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::drift;
use crate::health::Finding;
use crate::metrics::Metrics;
use crate::names::{self, APPLIED, HANDOVER_MANAGER, KIND, MANAGER, NAME, Owner};
use crate::resources::{Applied, Live, Prepared, Resources};

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
        source: kube::Error,
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

/// One thing that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What was done.
    pub action: Done,
    /// Kind of the child.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// What was done to a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was made.
    Created,
    /// It follows a changed spec.
    Updated,
    /// It had been deleted, and was made again.
    Restored,
    /// Someone had changed this field of it, and it was put back.
    Repaired(String),
    /// It is no longer wanted, and was deleted.
    Pruned,
}

/// Writes the children of one object.
pub struct Applier<'a> {
    /// The cluster.
    pub client: &'a Client,
    /// Whose children they are.
    pub owner: &'a Owner,
    /// Where writes are counted.
    pub metrics: &'a Metrics,
    /// Whether all children were in place before, so that a missing one must have been deleted.
    pub settled: bool,
}

impl Applier<'_> {
    /// Makes the live children as `prepared` wants them, the pods last, and deletes those that it does not hold.
    pub async fn apply(
        &self,
        prepared: Resources<Prepared>,
        live: &Resources<Live>,
    ) -> Result<(Resources<Applied>, Vec<Change>), Error> {
        let Resources {
            service_accounts,
            persistent_volume_claims,
            services,
            pod_disruption_budgets,
            jobs,
            deployments,
            horizontal_pod_autoscalers,
            keep_serving,
            state: _,
        } = prepared;
        let mut changes = Vec::new();
        let mut applied = Resources::<Applied> {
            keep_serving,
            ..Resources::default()
        };
        for wanted in service_accounts {
            let done = self.put(wanted, &live.service_accounts, &mut changes).await?;
            applied.service_accounts.push(done);
        }
        for wanted in persistent_volume_claims {
            let done = self
                .put(wanted, &live.persistent_volume_claims, &mut changes)
                .await?;
            applied.persistent_volume_claims.push(done);
        }
        for wanted in services {
            let done = self.put(wanted, &live.services, &mut changes).await?;
            applied.services.push(done);
        }
        for wanted in pod_disruption_budgets {
            let done = self
                .put(wanted, &live.pod_disruption_budgets, &mut changes)
                .await?;
            applied.pod_disruption_budgets.push(done);
        }
        for wanted in jobs {
            // A Job's template cannot change; another template makes a Job of another name.
            let done = match live.jobs.iter().find(|job| job.name_any() == wanted.name_any()) {
                Some(job) => job.clone(),
                None => self.put(wanted, &live.jobs, &mut changes).await?,
            };
            applied.jobs.push(done);
        }
        for wanted in deployments {
            self.hand_over_replicas(&wanted, &live.deployments, &horizontal_pod_autoscalers)
                .await?;
            let done = self.put(wanted, &live.deployments, &mut changes).await?;
            applied.deployments.push(done);
        }
        for wanted in horizontal_pod_autoscalers {
            let done = self
                .put(wanted, &live.horizontal_pod_autoscalers, &mut changes)
                .await?;
            applied.horizontal_pod_autoscalers.push(done);
        }
        self.prune(&applied, live, &mut changes).await?;
        Ok((applied, changes))
    }

    /// Deletes live children that `applied` does not hold.
    async fn prune(
        &self,
        applied: &Resources<Applied>,
        live: &Resources<Live>,
        changes: &mut Vec<Change>,
    ) -> Result<(), Error> {
        self.remove(&live.jobs, &applied.jobs, changes).await?;
        if applied.keep_serving {
            return Ok(());
        }
        self.remove(
            &live.horizontal_pod_autoscalers,
            &applied.horizontal_pod_autoscalers,
            changes,
        )
        .await?;
        self.remove(
            &live.pod_disruption_budgets,
            &applied.pod_disruption_budgets,
            changes,
        )
        .await?;
        self.remove(&live.deployments, &applied.deployments, changes)
            .await?;
        self.remove(&live.services, &applied.services, changes).await?;
        self.remove(&live.service_accounts, &applied.service_accounts, changes)
            .await?;
        self.remove(
            &live.persistent_volume_claims,
            &applied.persistent_volume_claims,
            changes,
        )
        .await
    }

    /// Makes one child as it should be, and writes nothing when it already is.
    async fn put<K>(&self, desired: K, found: &[K], changes: &mut Vec<Change>) -> Result<K, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + Serialize + DeserializeOwned,
    {
        let name = desired.name_any();
        let mut body = as_json(&desired);
        let hash = names::hash(body.to_string().as_bytes());
        body["metadata"]["annotations"][APPLIED] = json!(hash);

        let live = match found.iter().find(|live| live.name_any() == name) {
            Some(live) => Some(live.clone()),
            None => self
                .api::<K>()
                .get_opt(&name)
                .await
                .map_err(failed::<K>("read", &name))?,
        };
        let Some(live) = live else {
            let created = self.patch::<K>(&name, MANAGER, &body).await?;
            let action = if self.settled {
                Done::Restored
            } else {
                Done::Created
            };
            changes.push(change::<K>(action, &name));
            return Ok(created);
        };
        if let Some(holder) = foreign_holder(self.owner, live.meta()) {
            let kind = K::kind(&()).to_string();
            return Err(Error::Conflict { kind, name, holder });
        }
        let as_last_applied = live.annotations().get(APPLIED) == Some(&hash);
        let difference = drift::first_difference(&body, &as_json(&live));
        if live.meta().deletion_timestamp.is_some() || (as_last_applied && difference.is_none()) {
            return Ok(live);
        }
        let updated = self.patch::<K>(&name, MANAGER, &body).await?;
        if updated.resource_version() != live.resource_version() {
            let action = match difference {
                Some(field) if as_last_applied => Done::Repaired(field),
                _ => Done::Updated,
            };
            changes.push(change::<K>(action, &name));
        }
        Ok(updated)
    }

    /// Keeps the number of pods while an autoscaler takes it over: a field that its only owner stops applying is reset to
    /// its default, which for `replicas` is one. So another manager applies the live number first.
    async fn hand_over_replicas(
        &self,
        desired: &Deployment,
        found: &[Deployment],
        autoscalers: &[HorizontalPodAutoscaler],
    ) -> Result<(), Error> {
        let name = desired.name_any();
        let Some(live) = found.iter().find(|live| live.name_any() == name) else {
            return Ok(());
        };
        let wanted = desired.spec.as_ref().and_then(|spec| spec.replicas);
        let ours = drift::applied_by(live.managed_fields(), MANAGER, &["spec", "replicas"]);
        if wanted.is_some() || !ours || foreign_holder(self.owner, live.meta()).is_some() {
            return Ok(());
        }
        // An autoscaler leaves a Deployment of no pods alone, so it starts from its own least number.
        let least = autoscalers
            .iter()
            .filter_map(|hpa| hpa.spec.min_replicas)
            .max()
            .unwrap_or(1);
        let replicas = live
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(1)
            .max(least);
        let body = json!({
            "apiVersion": Deployment::api_version(&()),
            "kind": Deployment::kind(&()),
            "metadata": { "name": name },
            "spec": { "replicas": replicas },
        });
        self.patch::<Deployment>(&name, HANDOVER_MANAGER, &body).await?;
        Ok(())
    }

    /// Deletes those of `found` that are ours and not in `wanted`. What has no owner reference is kept on purpose.
    async fn remove<K>(&self, found: &[K], wanted: &[K], changes: &mut Vec<Change>) -> Result<(), Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned,
    {
        for live in found {
            let name = live.name_any();
            let ours = live
                .owner_references()
                .iter()
                .any(|reference| reference.uid == self.owner.uid);
            let unwanted = wanted.iter().all(|wanted| wanted.name_any() != name);
            if !ours || !unwanted || live.meta().deletion_timestamp.is_some() {
                continue;
            }
            let only_this = DeleteParams::background().preconditions(Preconditions {
                uid: live.uid(),
                resource_version: None,
            });
            self.metrics.wrote(&K::kind(&()));
            match self.api::<K>().delete(&name, &only_this).await {
                Ok(_) => changes.push(change::<K>(Done::Pruned, &name)),
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(source) => return Err(failed::<K>("delete", &name)(source)),
            }
        }
        Ok(())
    }

    async fn patch<K>(&self, name: &str, manager: &str, body: &Value) -> Result<K, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned,
    {
        self.metrics.wrote(&K::kind(&()));
        let params = PatchParams::apply(manager).force();
        let patched = self.api::<K>().patch(name, &params, &Patch::Apply(body)).await;
        patched.map_err(failed::<K>("apply", name))
    }

    fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.owner.namespace)
    }
}

/// Whose an object is when it is not `owner`'s.
fn foreign_holder(owner: &Owner, live: &ObjectMeta) -> Option<String> {
    let references = live.owner_references.as_deref().unwrap_or_default();
    if let Some(controller) = references
        .iter()
        .find(|reference| reference.controller == Some(true))
    {
        return match controller {
            one if one.uid == owner.uid => None,
            one if one.kind == owner.kind.as_str() && one.name == owner.name => Some(format!(
                "belongs to an earlier {} of this name, which is being deleted",
                one.kind
            )),
            one => Some(format!("belongs to {} {}", one.kind, one.name)),
        };
    }
    let label = |key: &str| {
        live.labels
            .as_ref()
            .and_then(|labels| labels.get(key))
            .map(String::as_str)
    };
    let ours = label("app.kubernetes.io/managed-by") == Some(MANAGER)
        && label(KIND) == Some(owner.kind.as_str())
        && label(NAME) == Some(owner.name.as_str());
    (!ours).then(|| format!("was not made by {MANAGER}"))
}

fn change<K: Resource<DynamicType = ()>>(action: Done, name: &str) -> Change {
    Change {
        action,
        kind: K::kind(&()).to_string(),
        name: name.to_string(),
    }
}

fn failed<K: Resource<DynamicType = ()>>(
    action: &'static str,
    name: &str,
) -> impl FnOnce(kube::Error) -> Error {
    let (kind, name) = (K::kind(&()).to_string(), name.to_string());
    move |source| Error::Api {
        action,
        kind,
        name,
        source,
    }
}

/// The object as it goes over the wire. The generated types are made of maps with text keys, which JSON can always hold.
fn as_json<K: Serialize>(object: &K) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner {
            kind: names::Kind::TranscriptionService,
            namespace: "speech".into(),
            name: "calls".into(),
            uid: "u-1".into(),
        }
    }

    fn holder(meta: Value) -> Option<String> {
        foreign_holder(&owner(), &serde_json::from_value(meta).unwrap())
    }

    #[test]
    fn what_we_control_or_once_made_is_ours() {
        let reference = serde_json::to_value(owner().reference()).unwrap();
        assert_eq!(holder(json!({"ownerReferences": [reference]})), None);
        assert_eq!(
            holder(json!({"labels": owner().labels(names::Component::Model)})),
            None
        );
    }

    #[test]
    fn what_others_control_or_made_is_not() {
        let reference = |kind: &str, name: &str| {
            json!({"ownerReferences": [{"apiVersion": "v1", "kind": kind, "name": name, "uid": "u-2", "controller": true}],
                   "labels": owner().labels(names::Component::Server)})
        };
        assert_eq!(
            holder(reference("Application", "calls")).unwrap(),
            "belongs to Application calls"
        );
        assert!(
            holder(reference("TranscriptionService", "calls"))
                .unwrap()
                .contains("earlier")
        );
        assert_eq!(holder(json!({})).unwrap(), "was not made by parlance-operator");
        let other = Owner {
            name: "other".into(),
            ..owner()
        };
        assert!(holder(json!({"labels": other.labels(names::Component::Server)})).is_some());
    }
}
