//! When a service has no pods.
//!
//! In: how long no request may have come, the live Deployments and their pods, and what the activator says of its requests. Out: whether pods
//! start, end or stay, and when to look again. Pure: the time comes from outside.
//!
//! Pods end only when everything speaks for it: nothing waits or runs, nothing did for as long as the spec says, and the pods
//! could have answered for as long. So pods that wait for a node or load their model stay however long that takes, and an
//! activator that says nothing changes nothing.

use std::time::Duration;

use crds::condition::Reason;
use crds::serving::Serving;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::{Replicas, WorkloadPlan};
use crate::demand::{Demand, Heard};
use crate::duration;
use crate::health::Finding;
use crate::health::rollout::serves_since;
use crate::names::{self, COMPONENT, Component};
use crate::observe::Observed;
use crate::resources::{Applied, Resources};

/// How long no request may have come, where the spec does not say.
pub const IDLE_AFTER: Duration = Duration::from_secs(600);

/// When a service has no pods, with every decision taken.
#[derive(Clone, Debug, PartialEq)]
pub struct ZeroPlan {
    /// How long no request may have come.
    pub idle_after: Duration,
    /// Whether requests go to the activator: from when it first answers, so that none is lost where it is new.
    pub in_front: bool,
    /// Whether the activator answers.
    pub answers: bool,
    /// What becomes of the pods.
    pub turn: Turn,
    /// When pods may end if no request comes.
    pub look_again: Option<Duration>,
    /// That the activator says nothing.
    pub silent: Option<Finding>,
}

/// What becomes of the pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// As many as there are.
    #[default]
    Stay,
    /// None becomes one, for requests that wait.
    Wake,
    /// All end.
    Sleep,
}

impl ZeroPlan {
    /// Before anything is known.
    pub fn new(idle_after: Duration) -> ZeroPlan {
        ZeroPlan {
            idle_after,
            in_front: false,
            answers: false,
            turn: Turn::Stay,
            look_again: None,
            silent: None,
        }
    }

    /// With what was observed.
    pub fn with(self, plan: &WorkloadPlan, observed: &Observed) -> ZeroPlan {
        let name = names::activator(&plan.name);
        let deployments = &observed.children.deployments;
        let activator = deployments.iter().find(|one| one.name_any() == name);
        let answers = activator.is_some_and(|live| available(live) > 0);
        let services = &observed.children.services;
        let was_in_front = services.iter().any(|live| {
            let selector = live.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            live.name_any() == plan.name
                && selector
                    .and_then(|selector| selector.get(COMPONENT))
                    .map(String::as_str)
                    == Some(Component::Activator.as_str())
        });
        let heard = observed.demand.as_ref();
        let (turn, look_again) = match (plan.live(observed), heard.and_then(Heard::demand)) {
            (Some(live), Some((demand, now))) => decide(self.idle_after, live, &observed.pods, demand, now),
            _ => (Turn::Stay, None),
        };
        let silent = heard.is_some_and(Heard::is_silent).then(|| {
            let message = format!(
                "Deployment {name} does not answer the operator at port {}, so that pods neither start nor end by the requests that it holds; read kubectl logs deployment/{name}, and look whether a NetworkPolicy keeps the operator out",
                names::ADMIN_PORT
            );
            Finding::new(Reason::ActivatorSilent, message)
        });
        ZeroPlan {
            in_front: answers || was_in_front,
            answers,
            turn,
            look_again,
            silent,
            ..self
        }
    }
}

/// Whether pods start, end or stay, and when to look again if nothing changes.
fn decide(
    idle_after: Duration,
    live: &Deployment,
    pods: &[Pod],
    demand: Demand,
    now: Timestamp,
) -> (Turn, Option<Duration>) {
    let busy = demand.waiting + demand.running > 0;
    match (replicas(live), busy) {
        (0, true) => (Turn::Wake, None),
        (0, false) | (_, true) => (Turn::Stay, None),
        (_, false) => {
            // Pods that cannot answer yet have not been idle.
            let Some(since) = ready_since(live, pods) else {
                return (Turn::Stay, None);
            };
            let ready = Duration::try_from(now.duration_since(since)).unwrap_or_default();
            let idle = demand.idle().min(ready);
            match idle_after.checked_sub(idle).filter(|left| !left.is_zero()) {
                None => (Turn::Sleep, None),
                Some(left) => (Turn::Stay, Some(left + Duration::from_millis(100))),
            }
        }
    }
}

/// Since when requests could be answered, if all pods that there should be are there.
fn ready_since(live: &Deployment, pods: &[Pod]) -> Option<Timestamp> {
    let current = live.status.as_ref()?.observed_generation >= live.metadata.generation;
    let all = available(live) >= replicas(live);
    serves_since(live, pods).filter(|_| current && all)
}

fn available(live: &Deployment) -> i32 {
    let status = live.status.as_ref();
    status.and_then(|status| status.available_replicas).unwrap_or(0)
}

fn replicas(live: &Deployment) -> i32 {
    live.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Whether a serving block lets its pods end.
pub fn asked_for(serving: Option<&Serving>) -> bool {
    let autoscaling = serving.and_then(|serving| serving.autoscaling.as_ref());
    autoscaling.is_some_and(|autoscaling| autoscaling.min_replicas == 0)
}

/// The Deployment that is to get another number of pods, where nobody else sets it, and the number.
pub fn wanted<'a>(plan: &'a WorkloadPlan, observed: &Observed) -> Option<(&'a str, i32)> {
    let number = match (&plan.zero, &plan.replicas) {
        (Some(zero), _) => match zero.turn {
            Turn::Stay => None,
            Turn::Wake => Some(1),
            Turn::Sleep => Some(0),
        },
        // It may sleep no more, and an autoscaler leaves one of no pods alone.
        (None, Replicas::Scaled(autoscaling)) => {
            let deployments = &observed.children.deployments;
            let name = names::activator(&plan.name);
            let could_sleep = deployments.iter().any(|one| one.name_any() == name);
            let sleeps = plan.live(observed).is_some_and(|live| replicas(live) == 0);
            (could_sleep && sleeps).then_some(autoscaling.min_replicas)
        }
        (None, Replicas::Fixed(_)) => None,
    };
    Some((plan.name.as_str(), number?))
}

/// Puts a Deployment that was written again in the place of what was applied before.
pub fn replace(applied: &mut Resources<Applied>, scaled: Deployment) {
    let name = scaled.name_any();
    let same = applied.deployments.iter_mut().find(|one| one.name_any() == name);
    if let Some(same) = same {
        *same = scaled;
    }
}

impl WorkloadPlan {
    /// Pods that a live Deployment has at least when all is well: none while it sleeps.
    pub fn least(&self, live: &Deployment) -> i32 {
        match &self.zero {
            Some(_) => replicas(live).min(1),
            None => self.replicas.least(),
        }
    }

    /// What a person is told of a service without pods: what is awaited, what is wrong, and that all is well.
    pub fn told_of_sleep(&self, live: &Deployment) -> Option<Sleep> {
        let zero = self.zero.as_ref().filter(|_| replicas(live) == 0)?;
        let starts = "no pods, and what holds requests is being started";
        let after = duration::flag(zero.idle_after);
        Some(Sleep {
            awaited: (!zero.answers).then(|| Finding::new(Reason::RollingOut, starts)),
            news: format!("no pods: no request came for {after}; the next request waits for one"),
        })
    }
}

/// What is told of a service without pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sleep {
    /// What is awaited.
    pub awaited: Option<Finding>,
    /// That all is well.
    pub news: String,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    const IDLE: Duration = Duration::from_secs(600);

    /// A Deployment that has been Available since it is there, as one that may replace its only pod, and its pods.
    fn live(replicas: i32, available: i32, since: i64) -> (Deployment, Vec<Pod>) {
        let labels = json!({COMPONENT: "server"});
        let deployment = json!({
            "metadata": {"name": "calls", "generation": 3},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {}},
            "status": {"observedGeneration": 3, "availableReplicas": available, "conditions": [
                {"type": "Available", "status": "True", "lastTransitionTime": "1970-01-01T00:00:00Z"},
            ]},
        });
        let pods = (0..available).map(|_| pod(&labels, since)).collect();
        (serde_json::from_value(deployment).unwrap(), pods)
    }

    fn pod(labels: &Value, since: i64) -> Pod {
        let since = Timestamp::from_second(since).unwrap();
        serde_json::from_value(json!({
            "metadata": {"labels": labels},
            "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since.to_string()}]},
        }))
        .unwrap()
    }

    fn demand(waiting: u64, running: u64, idle_seconds: f64) -> Demand {
        Demand {
            version: 1,
            waiting,
            running,
            idle_seconds,
        }
    }

    fn decided((live, pods): &(Deployment, Vec<Pod>), demand: Demand, now: i64) -> (Turn, Option<u64>) {
        let now = Timestamp::from_second(now).unwrap();
        let (turn, again) = decide(IDLE, live, pods, demand, now);
        (turn, again.map(|again| again.as_secs()))
    }

    #[test]
    fn a_request_wakes_a_service_without_pods_and_nothing_else_does() {
        assert_eq!(
            decided(&live(0, 0, 0), demand(1, 0, 0.0), 9_999),
            (Turn::Wake, None)
        );
        assert_eq!(
            decided(&live(0, 0, 0), demand(0, 0, 9_999.0), 9_999),
            (Turn::Stay, None)
        );
    }

    #[test]
    fn pods_end_when_no_request_came_for_as_long_as_they_could_have_answered() {
        assert_eq!(
            decided(&live(2, 2, 0), demand(0, 0, 600.0), 9_999),
            (Turn::Sleep, None)
        );
        assert_eq!(
            decided(&live(2, 2, 0), demand(0, 0, 590.0), 9_999),
            (Turn::Stay, Some(10))
        );
        let fresh = live(1, 1, 9_000);
        assert_eq!(
            decided(&fresh, demand(0, 0, 5_000.0), 9_100),
            (Turn::Stay, Some(500))
        );
    }

    #[test]
    fn only_a_pod_that_can_answer_counts_from_when_it_could() {
        let idle = demand(0, 0, 5_000.0);
        let mut replaced = live(1, 1, 9_000);
        let mut old = pod(&json!({COMPONENT: "server"}), 0);
        old.metadata.deletion_timestamp = Some(Time(Timestamp::from_second(8_000).unwrap()));
        replaced.1.extend([old, pod(&json!({COMPONENT: "activator"}), 0)]);
        assert_eq!(decided(&replaced, idle, 9_100), (Turn::Stay, Some(500)));
        let two = (live(2, 2, 0).0, [live(1, 1, 0).1, live(1, 1, 9_000).1].concat());
        assert_eq!(decided(&two, idle, 9_100), (Turn::Sleep, None));
    }

    #[test]
    fn pods_stay_while_a_request_waits_or_runs_or_while_they_are_not_ready() {
        for (waiting, running) in [(1, 0), (0, 1)] {
            let busy = demand(waiting, running, 0.0);
            assert_eq!(decided(&live(1, 0, 0), busy, 9_999), (Turn::Stay, None));
        }
        // The client of a pod that waits for its node has given up.
        assert_eq!(
            decided(&live(1, 0, 0), demand(0, 0, 5_000.0), 9_999),
            (Turn::Stay, None)
        );
        let mut new = live(1, 1, 0);
        new.0.metadata.generation = Some(4);
        assert_eq!(decided(&new, demand(0, 0, 5_000.0), 9_999), (Turn::Stay, None));
    }
}
