//! The autoscaler of the pods where KEDA is to be it.
//!
//! In: the plan. Out: a ScaledObject when the plan asks for one. KEDA makes a HorizontalPodAutoscaler of it, under a name of
//! its own.

use std::collections::BTreeMap;

use crds::autoscaling::{Autoscaling, Keda};

use super::horizontal_pod_autoscaler::QUEUED_METRIC;
use super::{Replicas, WorkloadPlan};
use crate::names::{Component, Owner};
use crate::scalers::{
    Advanced, AuthenticationRef, HpaConfig, ScaleTarget, ScaledObject, ScaledObjectSpec, Trigger,
};

/// The ScaledObject.
pub fn scaled_object(plan: &WorkloadPlan) -> Option<ScaledObject> {
    let Replicas::Scaled(autoscaling) = &plan.replicas else {
        return None;
    };
    let keda = autoscaling.keda.as_ref()?;
    Some(ScaledObject {
        metadata: plan.owner.child(&plan.name, Component::Server),
        spec: ScaledObjectSpec {
            scale_target_ref: ScaleTarget {
                name: plan.name.clone(),
            },
            min_replica_count: autoscaling.min_replicas,
            max_replica_count: autoscaling.max_replicas,
            polling_interval: keda.polling_interval,
            advanced: autoscaling.behavior.as_ref().map(|behavior| Advanced {
                horizontal_pod_autoscaler_config: HpaConfig {
                    behavior: Some(behavior.clone()),
                },
            }),
            triggers: triggers(plan, autoscaling, keda),
        },
    })
}

fn triggers(plan: &WorkloadPlan, autoscaling: &Autoscaling, keda: &Keda) -> Vec<Trigger> {
    let queued = autoscaling.target_queued_audio_seconds.map(|seconds| Trigger {
        type_: "prometheus".into(),
        metric_type: "AverageValue".into(),
        metadata: BTreeMap::from([
            ("serverAddress".into(), keda.server_address.clone()),
            (
                "query".into(),
                keda.query.clone().unwrap_or_else(|| query(&plan.owner)),
            ),
            ("threshold".into(), seconds.to_string()),
        ]),
        authentication_ref: keda
            .authentication_ref
            .clone()
            .map(|name| AuthenticationRef { name }),
    });
    let utilization = |name: &str, percent: Option<i32>| {
        percent.map(|percent| Trigger {
            type_: name.into(),
            metric_type: "Utilization".into(),
            metadata: BTreeMap::from([("value".into(), percent.to_string())]),
            authentication_ref: None,
        })
    };
    queued
        .into_iter()
        .chain(utilization("cpu", autoscaling.target_cpu_utilization))
        .chain(utilization("memory", autoscaling.target_memory_utilization))
        .collect()
}

/// The seconds of audio that wait in all pods of the owner, by the labels that a PodMonitor of ours gives their metrics.
fn query(owner: &Owner) -> String {
    let Owner {
        kind,
        namespace,
        name,
        uid: _,
    } = owner;
    format!(
        r#"sum({QUEUED_METRIC}{{namespace="{namespace}",parlance_dev_kind="{}",parlance_dev_name="{name}"}})"#,
        kind.as_str()
    )
}
