//! The Job that tries a model on samples.
//!
//! In: its plan. Out: the Job. It cannot fail.

use crds::evaluation::Samples;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, PersistentVolumeClaimVolumeSource, Volume, VolumeMount,
};

use super::super::plan::evaluation::EvaluationJob;
use super::{Parts, job_of, pod_of};
use crate::names::{EVALUATES, EVALUATION_CONTAINER, evaluation_job};
use crate::workload::pod::{REPORT, container_security, temporary_mount};

/// Where samples are mounted.
const SAMPLES: &str = "/samples";

/// The Job. It ends when the model was tried, whether it is good enough or not, and is tried again until then.
pub fn job(plan: &EvaluationJob) -> Job {
    let mut pod = pod_of(Parts {
        mount: &plan.mount,
        image: &plan.image,
        placement: &plan.placement,
        container: container(plan),
    });
    pod.volumes
        .get_or_insert_default()
        .extend(volume(&plan.asked.samples));
    let name = |hash: &str| {
        let done = plan.done_as.clone();
        done.unwrap_or_else(|| evaluation_job(&plan.owner.name, hash))
    };
    let annotations = [(EVALUATES.to_string(), plan.evaluates.clone())];
    job_of(&plan.owner, &plan.mount, pod, name, annotations.into())
}

fn container(plan: &EvaluationJob) -> Container {
    let mounted = volume(&plan.asked.samples).map(|volume| VolumeMount {
        name: volume.name,
        mount_path: SAMPLES.into(),
        read_only: Some(true),
        ..Default::default()
    });
    let mut mounts = vec![plan.mount.read_only_mount(), temporary_mount()];
    mounts.extend(mounted);
    Container {
        name: EVALUATION_CONTAINER.into(),
        image: Some(plan.image.reference.clone()),
        image_pull_policy: plan.image.pull_policy.clone(),
        args: Some(arguments(plan)),
        resources: Some(plan.resources.clone()),
        security_context: Some(container_security()),
        termination_message_path: Some(REPORT.into()),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some(mounts),
        ..Default::default()
    }
}

fn arguments(plan: &EvaluationJob) -> Vec<String> {
    let asked = &plan.asked;
    let mut arguments = vec![
        "evaluate".to_string(),
        format!("--model={}", plan.mount.folder()),
        format!("--samples={}", folder(&asked.samples)),
        format!("--metric={}", asked.metric.as_str()),
    ];
    arguments.extend(
        asked
            .threshold
            .iter()
            .map(|threshold| format!("--threshold={threshold}")),
    );
    arguments.extend(
        plan.mount
            .digest
            .iter()
            .map(|digest| format!("--digest={digest}")),
    );
    arguments.extend(
        plan.language
            .iter()
            .map(|language| format!("--language={language}")),
    );
    arguments.extend(
        plan.precision
            .iter()
            .map(|precision| format!("--precision={precision}")),
    );
    arguments.push("--report-only".into());
    arguments.push(format!("--report={REPORT}"));
    arguments
}

fn folder(samples: &Samples) -> String {
    let path = samples
        .persistent_volume_claim
        .as_ref()
        .map_or("", |claim| claim.path.trim_matches('/'));
    match (&samples.bundled, path) {
        (Some(_), _) => "bundled".into(),
        (None, "") => SAMPLES.into(),
        (None, path) => format!("{SAMPLES}/{path}"),
    }
}

fn volume(samples: &Samples) -> Option<Volume> {
    let Samples {
        config_map,
        persistent_volume_claim,
        bundled: _,
    } = samples;
    let config_map = config_map.as_ref().map(|map| ConfigMapVolumeSource {
        name: map.name.clone(),
        ..Default::default()
    });
    let claim = persistent_volume_claim
        .as_ref()
        .map(|claim| PersistentVolumeClaimVolumeSource {
            claim_name: claim.claim_name.clone(),
            read_only: Some(true),
        });
    (config_map.is_some() || claim.is_some()).then(|| Volume {
        name: "samples".into(),
        config_map,
        persistent_volume_claim: claim,
        ..Default::default()
    })
}
