//! The autoscaler of the pods.
//!
//! In: the plan. Out: a HorizontalPodAutoscaler when the spec asks for autoscaling.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec,
    MetricTarget, ResourceMetricSource,
};

use super::{Replicas, WorkloadPlan};
use crate::names::Component;

/// The HorizontalPodAutoscaler.
pub fn horizontal_pod_autoscaler(plan: &WorkloadPlan) -> Option<HorizontalPodAutoscaler> {
    let Replicas::Scaled(autoscaling) = &plan.replicas else {
        return None;
    };
    let targets = [
        ("cpu", autoscaling.target_cpu_utilization),
        ("memory", autoscaling.target_memory_utilization),
    ];
    let metrics = targets
        .into_iter()
        .filter_map(|(name, percent)| Some(utilization(name, percent?)));
    Some(HorizontalPodAutoscaler {
        metadata: plan.owner.child(&plan.name, Component::Server),
        spec: HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".into()),
                kind: "Deployment".into(),
                name: plan.name.clone(),
            },
            min_replicas: Some(autoscaling.min_replicas),
            max_replicas: autoscaling.max_replicas,
            metrics: Some(metrics.collect()),
            behavior: autoscaling.behavior.clone(),
        },
        status: None,
    })
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
