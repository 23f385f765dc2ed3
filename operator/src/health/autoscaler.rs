//! HorizontalPodAutoscalers that cannot read what they scale on.
//!
//! In: the live children with their pods, and the time. Out: a finding for each that has been blind for a while, or how long that while still is.
//! Pure. Pods that have just come have no metrics yet; one that scales nothing (`ScalingDisabled`) is not blind. The pods serve
//! meanwhile, as many as there are.

use std::time::Duration;

use crds::condition::Reason;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::Finding;
use super::rollout::serves_since;
use crate::observe::Observed;

/// How long metrics may be away before anything is told: longer than it takes from the first pod that serves to its first metrics.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is wrong with autoscalers.
pub fn findings(observed: &Observed, now: &Time) -> Vec<Finding> {
    let blind = blind(observed).filter(|(_, _, since)| left(since, now).is_zero());
    blind.map(|(hpa, condition, _)| finding(hpa, condition)).collect()
}

/// When to look again, since one may be found blind then.
pub fn look_again(observed: &Observed, now: &Time) -> Option<Duration> {
    let waits = blind(observed).map(|(_, _, since)| left(&since, now));
    waits.filter(|left| !left.is_zero()).min()
}

type Blind<'a> = (
    &'a HorizontalPodAutoscaler,
    &'a HorizontalPodAutoscalerCondition,
    Time,
);

/// Autoscalers without metrics, and since when both they are so and their pods serve.
fn blind(observed: &Observed) -> impl Iterator<Item = Blind<'_>> {
    let children = &observed.children;
    children.horizontal_pod_autoscalers.iter().filter_map(|hpa| {
        let conditions = hpa.status.as_ref()?.conditions.as_deref().unwrap_or_default();
        let active = conditions.iter().find(|one| one.type_ == "ScalingActive")?;
        let blind = active.status == "False" && active.reason.as_deref() != Some("ScalingDisabled");
        let since = active.last_transition_time.as_ref()?;
        let name = &hpa.spec.scale_target_ref.name;
        let mut deployments = children.deployments.iter();
        let deployment = deployments.find(|one| one.name_any() == *name)?;
        let served = serves_since(deployment, &observed.pods)?;
        blind.then_some((hpa, active, Time(since.0.max(served))))
    })
}

fn left(since: &Time, now: &Time) -> Duration {
    let lasted = Duration::try_from(now.0.duration_since(since.0)).unwrap_or_default();
    PATIENCE.saturating_sub(lasted)
}

fn finding(hpa: &HorizontalPodAutoscaler, condition: &HorizontalPodAutoscalerCondition) -> Finding {
    let name = hpa.name_any();
    let words = condition.message.as_deref().unwrap_or("no reason given").trim();
    let advice = match condition.reason.as_deref() {
        _ if words.contains("missing request for") => {
            "give each container that podTemplate adds a request for it".to_string()
        }
        Some("FailedGetResourceMetric" | "FailedGetContainerResourceMetric") => {
            "install metrics-server, or see why it does not answer".into()
        }
        Some("FailedGetPodsMetric") => {
            "see that Prometheus scrapes the pods and that the metrics adapter has the rule for parlance_queued_audio_seconds".into()
        }
        _ => format!("kubectl describe hpa {name}"),
    };
    let message = format!(
        "HorizontalPodAutoscaler {name} cannot read what it scales on, and leaves the number of pods as it is: {words}; {advice}"
    );
    Finding::new(Reason::MetricsUnavailable, message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::resources::Resources;

    fn observed(active: Value, ready: &str) -> Observed {
        let hpa = json!({
            "metadata": {"name": "calls"},
            "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "calls"}},
            "status": {"conditions": [active], "desiredReplicas": 1},
        });
        let deployment = json!({
            "metadata": {"name": "calls"}, "spec": {"selector": {}, "template": {}},
            "status": {"availableReplicas": 1,
                       "conditions": [{"type": "Available", "status": "True", "lastTransitionTime": EARLIER}]},
        });
        let pod = json!({
            "metadata": {},
            "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": ready}]},
        });
        Observed {
            children: Resources {
                horizontal_pod_autoscalers: vec![serde_json::from_value(hpa).unwrap()],
                deployments: vec![serde_json::from_value(deployment).unwrap()],
                ..Resources::default()
            },
            pods: vec![serde_json::from_value(pod).unwrap()],
            ..Observed::default()
        }
    }

    fn inactive(reason: &str, message: &str) -> Value {
        json!({"type": "ScalingActive", "status": "False", "reason": reason, "message": message,
               "lastTransitionTime": "2026-01-01T00:00:00Z"})
    }

    fn at(time: &str) -> Time {
        Time(time.parse().unwrap())
    }

    const EARLIER: &str = "2025-12-31T00:00:00Z";

    #[test]
    fn one_without_metrics_is_told_when_that_has_lasted() {
        let blind = observed(
            inactive(
                "FailedGetResourceMetric",
                "no metrics returned from resource metrics API",
            ),
            EARLIER,
        );
        assert_eq!(findings(&blind, &at("2026-01-01T00:01:59Z")), []);
        assert_eq!(
            look_again(&blind, &at("2026-01-01T00:01:59Z")),
            Some(Duration::from_secs(1))
        );
        let told = findings(&blind, &at("2026-01-01T00:02:00Z"));
        assert_eq!(told[0].reason, Reason::MetricsUnavailable);
        assert_eq!(
            told[0].message,
            "HorizontalPodAutoscaler calls cannot read what it scales on, and leaves the number of pods as it is: \
             no metrics returned from resource metrics API; install metrics-server, or see why it does not answer"
        );
        assert_eq!(look_again(&blind, &at("2026-01-01T00:02:00Z")), None);
    }

    #[test]
    fn pods_that_have_just_come_have_none_yet() {
        let reason = inactive(
            "FailedGetResourceMetric",
            "did not receive metrics for targeted pods",
        );
        let just_up = observed(reason.clone(), "2026-01-01T00:09:00Z");
        assert_eq!(findings(&just_up, &at("2026-01-01T00:10:00Z")), []);
        assert_eq!(
            look_again(&just_up, &at("2026-01-01T00:10:00Z")),
            Some(Duration::from_secs(60))
        );
        let mut none_up = observed(reason, EARLIER);
        none_up.children.deployments[0]
            .status
            .as_mut()
            .unwrap()
            .available_replicas = None;
        assert_eq!(findings(&none_up, &at("2026-01-02T00:00:00Z")), []);
    }

    #[test]
    fn one_that_scales_or_has_nothing_to_scale_is_not_blind() {
        let active = json!({"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound",
                            "lastTransitionTime": EARLIER});
        for condition in [active, inactive("ScalingDisabled", "the target has no pods")] {
            let seeing = observed(condition, EARLIER);
            assert_eq!(findings(&seeing, &at("2026-01-02T00:00:00Z")), []);
            assert_eq!(look_again(&seeing, &at("2026-01-02T00:00:00Z")), None);
        }
    }

    #[test]
    fn each_cause_has_its_advice() {
        for (reason, message, advice) in [
            (
                "FailedGetPodsMetric",
                "unable to get metric",
                "metrics adapter has the rule",
            ),
            (
                "FailedGetResourceMetric",
                "missing request for cpu in container a of Pod b",
                "each container that podTemplate adds",
            ),
            ("InvalidSelector", "ambiguous", "kubectl describe hpa calls"),
        ] {
            let told = findings(
                &observed(inactive(reason, message), EARLIER),
                &at("2026-01-02T00:00:00Z"),
            );
            assert!(told[0].message.contains(advice), "{}", told[0].message);
        }
    }
}
