//! The autoscaler of the pods.
//!
//! In: the plan. Out: a HorizontalPodAutoscaler when the spec asks for autoscaling, and not by KEDA.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricIdentifier,
    MetricSpec, MetricTarget, PodsMetricSource, ResourceMetricSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{Replicas, WorkloadPlan};
use crate::names::Component;

/// The gauge of the server that says how much audio waits or runs.
pub const QUEUED_METRIC: &str = "parlance_queued_audio_seconds";

/// The HorizontalPodAutoscaler.
pub fn horizontal_pod_autoscaler(plan: &WorkloadPlan) -> Option<HorizontalPodAutoscaler> {
    let Replicas::Scaled(autoscaling) = &plan.replicas else {
        return None;
    };
    if autoscaling.keda.is_some() {
        return None;
    }
    let targets = [
        ("cpu", autoscaling.target_cpu_utilization),
        ("memory", autoscaling.target_memory_utilization),
    ];
    let metrics = targets
        .into_iter()
        .filter_map(|(name, percent)| Some(utilization(name, percent?)))
        .chain(autoscaling.target_queued_audio_seconds.map(queued));
    Some(HorizontalPodAutoscaler {
        metadata: plan.owner.child(&plan.name, Component::Server),
        spec: HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".into()),
                kind: "Deployment".into(),
                name: plan.name.clone(),
            },
            // One of no pods is left alone by the autoscaler.
            min_replicas: Some(autoscaling.min_replicas.max(1)),
            max_replicas: autoscaling.max_replicas,
            metrics: Some(metrics.collect()),
            behavior: autoscaling.behavior.clone(),
        },
        status: None,
    })
}

/// Seconds of audio that wait or run, on the mean of the pods.
fn queued(seconds: i32) -> MetricSpec {
    MetricSpec {
        type_: "Pods".into(),
        pods: Some(PodsMetricSource {
            metric: MetricIdentifier {
                name: QUEUED_METRIC.into(),
                selector: None,
            },
            target: MetricTarget {
                type_: "AverageValue".into(),
                average_value: Some(Quantity(seconds.to_string())),
                ..Default::default()
            },
        }),
        ..Default::default()
    }
}

fn utilization(name: &str, percent: i32) -> MetricSpec {
    MetricSpec {
        type_: "Resource".into(),
        resource: Some(ResourceMetricSource {
            name: name.into(),
            target: MetricTarget {
                type_: "Utilization".into(),
                average_utilization: Some(percent),
                ..Default::default()
            },
        }),
        ..Default::default()
    }
}
