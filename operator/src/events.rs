//! Events: what a person sees with `kubectl describe`.
//!
//! In: the conditions before and after, and what was written. Out: Events, told when something changes and never again.
//! `announcements` is pure; `publish` writes. An Event that cannot be written is logged, and stops nothing; so is one about an
//! object that has had too many.

use std::fmt::Write;
use std::num::NonZeroU32;
use std::time::Duration;

use crds::condition::{
    CANARY_HEALTHY, DEGRADED, EVALUATION_PASSED, MODEL_CACHED, PROGRESSING, READY, Reason,
};
use governor::clock::MonotonicClock;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use crate::apply::{Change, Done, explain, namespace_goes};
use crate::conditions::{became, find};
use crate::names::MANAGER;

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Whether it is something wrong.
    pub warning: bool,
    /// What, in one word.
    pub reason: String,
    /// What, in a sentence.
    pub note: String,
}

/// What is new between two sets of conditions, and what was done to the children.
pub fn announcements(before: &[Condition], after: &[Condition], changes: &[Change]) -> Vec<Announcement> {
    let mut told: Vec<Announcement> = Vec::new();
    for (reason, verb, action) in [
        ("Created", "created", Done::Created),
        ("Updated", "updated", Done::Updated),
        ("Pruned", "deleted, as no longer wanted:", Done::Pruned),
    ] {
        let children = changes.iter().filter(|change| change.action == action);
        let children: Vec<String> = children
            .map(|change| format!("{} {}", change.kind, change.name))
            .collect();
        if !children.is_empty() {
            told.push(normal(reason, format!("{verb} {}", children.join(", "))));
        }
    }
    told.extend(changes.iter().filter_map(rolled_out));
    told.extend(changes.iter().filter_map(scaled));
    told.extend(changes.iter().filter_map(repaired));
    for (type_, reason) in [
        (MODEL_CACHED, "ModelCached"),
        (EVALUATION_PASSED, "EvaluationPassed"),
        (READY, "Ready"),
    ] {
        if became(before, after, type_) {
            let message = find(after, type_).map(|condition| condition.message.clone());
            told.push(normal(reason, message.unwrap_or_default()));
        }
    }
    told.extend(begun(before, after));
    told.extend(of_canary(before, after));
    if let Some(wrong) = find(after, DEGRADED).filter(|condition| condition.status == "True") {
        let known = wrong.reason == Reason::CanaryFailed.as_str()
            || find(before, DEGRADED).is_some_and(|old| old.status == "True" && old.reason == wrong.reason);
        if !known {
            told.push(Announcement {
                warning: true,
                reason: wrong.reason.clone(),
                note: wrong.message.clone(),
            });
        }
    }
    told
}

/// That a canary serves, has passed or has failed.
fn of_canary(before: &[Condition], after: &[Condition]) -> Option<Announcement> {
    let now = find(after, CANARY_HEALTHY).filter(|now| now.status != "Unknown")?;
    let known =
        find(before, CANARY_HEALTHY).is_some_and(|old| old.status == now.status && old.reason == now.reason);
    let warning = now.status == "False";
    let reason = match warning {
        true => Reason::CanaryFailed.as_str(),
        false => &now.reason,
    };
    let note = match warning {
        true => format!("{}: {}", now.reason, now.message),
        false => now.message.clone(),
    };
    (!known).then(|| Announcement {
        warning,
        reason: reason.into(),
        note,
    })
}

/// The step that has begun, where it is another than before: that the model is fetched, evaluated or deployed.
fn begun(before: &[Condition], after: &[Condition]) -> Option<Announcement> {
    let step = find(after, PROGRESSING).filter(|condition| condition.status == "True")?;
    let known =
        find(before, PROGRESSING).is_some_and(|old| old.status == "True" && old.reason == step.reason);
    // A rollout has an Event of its own, which says how pods are replaced; more or fewer of them are none.
    let rolls = step.reason == Reason::RollingOut.as_str();
    let told = if rolls { "Deploying" } else { &step.reason };
    (!known).then(|| normal(told, step.message.clone()))
}

fn normal(reason: &str, note: String) -> Announcement {
    Announcement {
        warning: false,
        reason: reason.into(),
        note,
    }
}

fn repaired(change: &Change) -> Option<Announcement> {
    let (kind, name) = (&change.kind, &change.name);
    let note = match &change.action {
        Done::Repaired(field) => format!("put back {field} of {kind} {name}, which had been edited"),
        Done::Restored => format!("put back {kind} {name}, which had been deleted"),
        Done::Created | Done::Updated | Done::RolledOut(_) | Done::Scaled(_) | Done::Pruned => return None,
    };
    Some(normal("Repaired", note))
}

fn scaled(change: &Change) -> Option<Announcement> {
    let Done::Scaled(replicas) = change.action else {
        return None;
    };
    let (kind, name) = (&change.kind, &change.name);
    Some(match replicas {
        0 => normal(
            "ScaledToZero",
            format!("ends the pods of {kind} {name}: no request came; the next one waits for a pod"),
        ),
        _ => normal(
            "Woken",
            format!(
                "starts the first of the pods of {kind} {name}: requests wait, or there are always to be some"
            ),
        ),
    })
}

fn rolled_out(change: &Change) -> Option<Announcement> {
    let Done::RolledOut(how) = &change.action else {
        return None;
    };
    Some(normal(
        "RollingOut",
        format!("replaces the pods of {} {}: {how}", change.kind, change.name),
    ))
}

/// Events that an object may still have: 25, and one more every five minutes, as client-go's filter has it.
pub struct Budget(RateLimiter<String, HashMapStateStore<String>, MonotonicClock>);

impl Default for Budget {
    fn default() -> Budget {
        const BURST: NonZeroU32 = NonZeroU32::new(25).unwrap();
        const REFILL: Duration = Duration::from_secs(300);
        let quota = Quota::with_period(REFILL)
            .unwrap_or(Quota::per_minute(BURST))
            .allow_burst(BURST);
        Budget(RateLimiter::hashmap_with_clock(quota, MonotonicClock))
    }
}

impl Budget {
    /// Takes one Event of the object with this uid, if there is one left.
    fn take(&self, uid: &str) -> bool {
        if self.0.len() > 10_000 {
            self.0.retain_recent();
        }
        self.0.check_key(&uid.to_string()).is_ok()
    }
}

/// Writes Events about an object, as many as it may have.
pub async fn publish(
    client: &Client,
    about: &ObjectReference,
    instance: &str,
    told: Vec<Announcement>,
    budget: &Budget,
) {
    let namespace = about.namespace.as_deref().unwrap_or("default");
    let api = Api::<Event>::namespaced(client.clone(), namespace);
    for announcement in told {
        if !budget.take(about.uid.as_deref().unwrap_or_default()) {
            let (name, reason, note) = (&about.name, &announcement.reason, &announcement.note);
            tracing::warn!(
                namespace,
                ?name,
                reason,
                note,
                "too many Events about one object: this one is only logged"
            );
            continue;
        }
        let event = event(about, instance, announcement);
        if let Err(error) = api.create(&PostParams::default(), &event).await
            && !namespace_goes(&error)
        {
            tracing::warn!(
                reason = event.reason,
                "failed to write an Event: {}",
                explain(&error)
            );
        }
    }
}

fn event(about: &ObjectReference, instance: &str, announcement: Announcement) -> Event {
    let now = Timestamp::now();
    let mut name = about.name.clone().unwrap_or_default();
    // Two Events of one object are told apart by their time, as the event libraries of Kubernetes do.
    let _ = write!(name, ".{:x}", now.as_nanosecond());
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: about.namespace.clone(),
            ..Default::default()
        },
        event_time: Some(MicroTime(now)),
        regarding: Some(about.clone()),
        type_: Some(if announcement.warning { "Warning" } else { "Normal" }.into()),
        reason: Some(announcement.reason),
        action: Some("Reconcile".into()),
        note: Some(announcement.note.chars().take(1000).collect()),
        reporting_controller: Some(format!("{}/{MANAGER}", crds::GROUP)),
        reporting_instance: Some(instance.chars().take(128).collect()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn condition(type_: &str, status: &str, reason: &str) -> Condition {
        Condition {
            type_: type_.into(),
            status: status.into(),
            reason: reason.into(),
            message: format!("about {reason}"),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            observed_generation: None,
        }
    }

    fn told(before: &[Condition], after: &[Condition], changes: &[Change]) -> Vec<String> {
        let told = announcements(before, after, changes);
        told.into_iter()
            .map(|one| format!("{} {}: {}", one.warning, one.reason, one.note))
            .collect()
    }

    #[test]
    fn an_object_has_so_many_events_and_takes_none_of_anothers() {
        let budget = Budget::default();
        assert_eq!((0..100).filter(|_| budget.take("u-1")).count(), 25);
        assert!(budget.take("u-2"));
    }

    #[test]
    fn a_state_is_told_once() {
        let fine = [
            condition(READY, "True", "AsExpected"),
            condition(DEGRADED, "False", "AsExpected"),
        ];
        let wrong = [
            condition(READY, "False", "CrashLoop"),
            condition(DEGRADED, "True", "CrashLoop"),
        ];
        let worse = [
            condition(READY, "False", "OutOfMemory"),
            condition(DEGRADED, "True", "OutOfMemory"),
        ];
        assert_eq!(told(&[], &fine, &[]), ["false Ready: about AsExpected"]);
        assert!(told(&fine, &fine, &[]).is_empty());
        assert_eq!(told(&fine, &wrong, &[]), ["true CrashLoop: about CrashLoop"]);
        assert!(told(&wrong, &wrong, &[]).is_empty());
        assert_eq!(told(&wrong, &worse, &[]), ["true OutOfMemory: about OutOfMemory"]);
        assert_eq!(told(&worse, &fine, &[]), ["false Ready: about AsExpected"]);
    }

    #[test]
    fn what_was_done_to_children_is_told() {
        let change = |action: Done, kind: &str| Change {
            action,
            kind: kind.into(),
            name: "calls".into(),
        };
        let changes = [
            change(Done::Created, "Service"),
            change(Done::Created, "Deployment"),
            change(Done::Repaired("spec.replicas".into()), "Deployment"),
            change(Done::Restored, "Service"),
            change(Done::RolledOut("one by one".into()), "Deployment"),
            change(Done::Pruned, "HorizontalPodAutoscaler"),
        ];
        assert_eq!(
            told(&[], &[], &changes),
            [
                "false Created: created Service calls, Deployment calls",
                "false Pruned: deleted, as no longer wanted: HorizontalPodAutoscaler calls",
                "false RollingOut: replaces the pods of Deployment calls: one by one",
                "false Repaired: put back spec.replicas of Deployment calls, which had been edited",
                "false Repaired: put back Service calls, which had been deleted",
            ]
        );
    }
}
