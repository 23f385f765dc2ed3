//! Everything that is there because of an object: pods, claims, autoscaler, Events.
//!
//! In: an object. Out: [`Facts`]. It judges nothing. What this user may not read is left out, and named.

use std::collections::BTreeSet;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::error::{Error, Rule};
use crate::object::Object;

/// What was found about an object.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The object.
    pub object: Object,
    /// When it was looked at.
    pub now: Timestamp,
    /// Its pods, by name: those that serve and those that verify the model.
    pub pods: Vec<Pod>,
    /// Its Deployments.
    pub deployments: Vec<Deployment>,
    /// Its Jobs.
    pub jobs: Vec<Job>,
    /// Its autoscalers.
    pub autoscalers: Vec<HorizontalPodAutoscaler>,
    /// Its claims, and those that its pods mount.
    pub claims: Vec<PersistentVolumeClaim>,
    /// Events about all of these, the newest last.
    pub events: Vec<Event>,
    /// Resources that this user may not read.
    pub hidden: BTreeSet<String>,
}

/// The time.
pub fn now() -> Time {
    Time(Timestamp::now())
}

impl Facts {
    /// An object about which nothing else is known.
    pub fn bare(object: Object, now: Timestamp) -> Facts {
        Facts {
            object,
            now,
            pods: Vec::new(),
            deployments: Vec::new(),
            jobs: Vec::new(),
            autoscalers: Vec::new(),
            claims: Vec::new(),
            events: Vec::new(),
            hidden: BTreeSet::new(),
        }
    }

    /// What there is about an object.
    ///
    /// # Errors
    /// When the apiserver cannot be reached; not when it forbids something.
    pub async fn of(client: &Client, object: Object) -> Result<Facts, Error> {
        let mut facts = Facts::bare(object, Timestamp::now());
        let namespace = facts.object.namespace();
        let children = ListParams::default().labels(&facts.object.owner().list_selector());
        let look = Look {
            client,
            namespace: &namespace,
        };
        facts.pods = look.list(&children, &mut facts.hidden).await?;
        facts.deployments = look.list(&children, &mut facts.hidden).await?;
        facts.jobs = look.list(&children, &mut facts.hidden).await?;
        facts.autoscalers = look.list(&children, &mut facts.hidden).await?;
        facts.claims = look.list(&children, &mut facts.hidden).await?;
        for name in facts.mounted() {
            if facts.claims.iter().all(|claim| claim.name_any() != name) {
                let one = ListParams::default().fields(&format!("metadata.name={name}"));
                let found = look
                    .list::<PersistentVolumeClaim>(&one, &mut facts.hidden)
                    .await?;
                facts.claims.extend(found);
            }
        }
        let events: Vec<Event> = look.list(&ListParams::default(), &mut facts.hidden).await?;
        facts.events = facts.about(events);
        facts.pods.sort_by_key(ResourceExt::name_any);
        Ok(facts)
    }

    /// The claims that the pods mount.
    fn mounted(&self) -> BTreeSet<String> {
        let specs = self.pods.iter().filter_map(|pod| pod.spec.as_ref());
        let volumes = specs.flat_map(|spec| spec.volumes.iter().flatten());
        volumes
            .filter_map(|volume| volume.persistent_volume_claim.as_ref())
            .map(|claim| claim.claim_name.clone())
            .collect()
    }

    /// Those of the namespace's Events that are about the object or its children, the newest last.
    fn about(&self, events: Vec<Event>) -> Vec<Event> {
        let mut uids: BTreeSet<String> = self.object.meta().uid.iter().cloned().collect();
        uids.extend(self.pods.iter().filter_map(Pod::uid));
        uids.extend(self.deployments.iter().filter_map(Deployment::uid));
        uids.extend(self.jobs.iter().filter_map(Job::uid));
        uids.extend(self.autoscalers.iter().filter_map(HorizontalPodAutoscaler::uid));
        uids.extend(self.claims.iter().filter_map(PersistentVolumeClaim::uid));
        let sets: Vec<String> = self
            .deployments
            .iter()
            .map(|one| format!("{}-", one.name_any()))
            .collect();
        let ours = |event: &Event| {
            let about = &event.involved_object;
            let by_uid = about.uid.as_ref().is_some_and(|uid| uids.contains(uid));
            // A Deployment's ReplicaSets are not read: their names tell.
            let of_set = about.kind.as_deref() == Some("ReplicaSet")
                && about.name.as_ref().is_some_and(|name| {
                    let rest = sets.iter().filter_map(|set| name.strip_prefix(set.as_str()));
                    rest.into_iter().any(|hash| !hash.contains('-'))
                });
            by_uid || of_set
        };
        let mut events: Vec<Event> = events.into_iter().filter(ours).collect();
        events.sort_by_key(|event| last_seen(event).map(|time| time.0));
        events
    }
}

/// When an Event was seen last.
pub fn last_seen(event: &Event) -> Option<Time> {
    let series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref());
    let times = [
        series.map(|time| time.0),
        event.last_timestamp.as_ref().map(|time| time.0),
        event.event_time.as_ref().map(|time| time.0),
        event.first_timestamp.as_ref().map(|time| time.0),
        event.metadata.creation_timestamp.as_ref().map(|time| time.0),
    ];
    times.into_iter().flatten().max().map(Time)
}

struct Look<'a> {
    client: &'a Client,
    namespace: &'a str,
}

impl Look<'_> {
    /// The objects; none, and its resource among `hidden`, when this user may not list them.
    async fn list<K>(&self, params: &ListParams, hidden: &mut BTreeSet<String>) -> Result<Vec<K>, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.client.clone(), self.namespace);
        let plural = K::plural(&());
        match api.list(params).await {
            Ok(list) => Ok(list.items),
            Err(kube::Error::Api(status)) if status.code == 403 => {
                hidden.insert(plural.into_owned());
                Ok(Vec::new())
            }
            Err(error) => {
                let rule = Rule {
                    group: "",
                    resource: "",
                    verbs: "list",
                };
                let doing = format!("list {plural} in namespace {}", self.namespace);
                Err(Error::of_kube(doing, rule, &error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_those_about_the_object_and_its_children_newest_last() {
        let service = json!({ "apiVersion": "parlance.dev/v1alpha1", "kind": "TranscriptionService",
            "metadata": { "name": "calls", "namespace": "speech", "uid": "u" }, "spec": {} });
        let object = Object::Service(serde_json::from_value(service).unwrap());
        let mut facts = Facts::bare(object, Timestamp::UNIX_EPOCH);
        let deployment = json!({ "metadata": { "name": "calls", "uid": "d" } });
        facts.deployments = vec![serde_json::from_value(deployment).unwrap()];
        let event = |reason: &str, kind: &str, name: &str, uid: &str, at: &str| -> Event {
            serde_json::from_value(json!({ "metadata": {}, "reason": reason, "lastTimestamp": at,
                "involvedObject": { "kind": kind, "name": name, "uid": uid } }))
            .unwrap()
        };
        let events = vec![
            event(
                "Late",
                "TranscriptionService",
                "calls",
                "u",
                "2026-01-01T00:00:09Z",
            ),
            event("Set", "ReplicaSet", "calls-7d9f", "r", "2026-01-01T00:00:05Z"),
            event("Early", "Deployment", "calls", "d", "2026-01-01T00:00:01Z"),
            event(
                "Other",
                "ReplicaSet",
                "calls-two-7d9f",
                "x",
                "2026-01-01T00:00:03Z",
            ),
            event("Other", "Pod", "calls-1", "y", "2026-01-01T00:00:03Z"),
        ];
        let reasons: Vec<_> = facts
            .about(events)
            .into_iter()
            .filter_map(|one| one.reason)
            .collect();
        assert_eq!(reasons, ["Early", "Set", "Late"]);
    }
}
