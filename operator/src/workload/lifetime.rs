//! How the pods that answer requests are asked for their health, replaced and ended.
//!
//! In: the plan. Out: parts of a Deployment and of its pods. What is asked, each builder says.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{Lifecycle, LifecycleHandler, Probe, SleepAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::WorkloadPlan;
use crate::duration::{flag, seconds};

/// Time between the end of a pod being announced and its process being told: endpoints forget the pod meanwhile.
const PRE_STOP: Duration = Duration::from_secs(5);
/// Time that the process may use for what is left, after the longest request.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);
/// Time between the process's own end and the kubelet's patience.
const KILL_MARGIN: Duration = Duration::from_secs(5);

/// Replaces pods step by step, with so many more than there should be, and so many fewer.
pub fn rolling_update(surge: i32, unavailable: i32) -> DeploymentStrategy {
    DeploymentStrategy {
        type_: Some("RollingUpdate".into()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(surge)),
            max_unavailable: Some(IntOrString::Int(unavailable)),
        }),
    }
}

/// A probe every so many seconds that may fail so often in a row; it does not say yet what it asks.
pub fn probe(period: i32, failures: i32) -> Probe {
    Probe {
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        timeout_seconds: Some(5),
        ..Default::default()
    }
}

/// What a container does before it is told to end: it waits.
pub fn lifecycle() -> Lifecycle {
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            sleep: Some(SleepAction {
                seconds: seconds(PRE_STOP),
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The argument that tells the process how long it may end the requests that it has.
pub fn drain_argument(plan: &WorkloadPlan) -> String {
    let time = plan.server.timeout + DRAIN_MARGIN;
    format!("--drain-timeout={}", flag(time))
}

/// Seconds that a pod may take to end, with its longest request.
pub fn grace_seconds(plan: &WorkloadPlan) -> i64 {
    seconds(PRE_STOP + plan.server.timeout + DRAIN_MARGIN + KILL_MARGIN)
}
