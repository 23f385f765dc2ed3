//! From the serving block of a spec to a [`WorkloadPlan`].
//!
//! In: the serving block, where its model is, and the operator's defaults. Out: the plan, or why the spec cannot be
//! followed. Pure. The schema refuses most of this already; what passes here needs no second look.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::autoscaling::Autoscaling;
use crds::condition::Reason;
use crds::placement::Gpu;
use crds::serving::{Disruption, Profile, Serving};
use k8s_openapi::api::core::v1::{PodTemplateSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::endpoint::EndpointPlan;
use super::rollout::Decision;
use super::zero::{IDLE_AFTER, ZeroPlan};
use super::{
    Budget, Image, ModelMount, MonitoringPlan, Replicas, Role, ServerFlags, Strategy, WorkloadPlan, gpu,
    pod_template, profile,
};
use crate::duration;
use crate::names::{Component, Owner};
use crate::quantity;

/// Why a spec cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A duration cannot be read.
    #[error("{field} is no duration such as 90s: {value}")]
    Duration {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
    },
    /// A quantity cannot be read.
    #[error("{field} is no positive quantity: {value}")]
    Quantity {
        /// The field.
        field: String,
        /// What it holds.
        value: String,
    },
    /// More is requested than allowed.
    #[error("resources.requests.{resource} ({request}) is above resources.limits.{resource} ({limit})")]
    RequestAboveLimit {
        /// The resource.
        resource: String,
        /// The request.
        request: String,
        /// The limit.
        limit: String,
    },
    /// A claim cannot become what is asked for.
    #[error(
        "cache.{field} is {wanted} and claim {claim} has {found} for life; change it back, or delete the claim and let it be made anew"
    )]
    ClaimKeeps {
        /// The claim.
        claim: String,
        /// The field.
        field: &'static str,
        /// What the claim has.
        found: String,
        /// What the spec asks for.
        wanted: String,
    },
    /// No source is set.
    #[error(
        "source holds none of bundled, huggingFace, http, s3, persistentVolumeClaim and image; set one of them"
    )]
    NoSource,
    /// The spec's own pod template cannot be merged.
    #[error("podTemplate: {message}")]
    PodTemplate {
        /// What is wrong with it.
        message: String,
    },
    /// What a canary does otherwise cannot be read.
    #[error("canary.transcription: {message}")]
    CanaryTranscription {
        /// What is wrong with it.
        message: String,
    },
    /// Devices are to be claimed, and the cluster does not know claims.
    #[error(
        "the cluster has no kind ResourceClaimTemplate (resource.k8s.io/v1) that the operator may use, so that pods cannot claim devices: use Kubernetes 1.34 or later, or gpu.resourceName in place of gpu.deviceClassName and gpu.resourceClaimTemplateName"
    )]
    DeviceClaims,
}

impl SpecError {
    /// The error in one word, as conditions have it.
    pub fn reason(&self) -> Reason {
        match self {
            SpecError::DeviceClaims => Reason::DeviceClaimsUnavailable,
            _ => Reason::InvalidSpec,
        }
    }
}

impl WorkloadPlan {
    /// The plan for serving `model` as `serving` asks.
    pub fn new(
        owner: &Owner,
        name: String,
        model_name: String,
        model: ModelMount,
        serving: &Serving,
        default_image: &str,
    ) -> Result<WorkloadPlan, SpecError> {
        let zero = serving.autoscaling.as_ref().filter(|one| one.min_replicas == 0);
        let zero = zero.map(zero_plan).transpose()?;
        let replicas = match &serving.autoscaling {
            Some(autoscaling) => Replicas::Scaled(Box::new(autoscaling.clone())),
            None => Replicas::Fixed(serving.replicas.unwrap_or(1)),
        };
        Ok(WorkloadPlan {
            owner: owner.clone(),
            endpoint: EndpointPlan::new(&serving.endpoint, &name),
            network_policy: serving
                .security
                .as_ref()
                .and_then(|security| security.network_policy.clone()),
            name,
            role: Role::Alone,
            model_name,
            zero,
            image: image(serving, default_image),
            resources: resources(serving)?,
            gpu: serving.gpu.as_ref().map(gpu_with_amounts).transpose()?,
            placement: serving.placement.clone().unwrap_or_default(),
            rollout: Decision {
                strategy: if serving.gpu.is_some() {
                    Strategy::Replace
                } else {
                    Strategy::Surge
                },
                why: None,
            },
            vertical_pod_autoscaler: serving.vertical_pod_autoscaler.clone(),
            pod_template: pod_template(serving, owner, &model)?,
            model,
            server: ServerFlags::of(serving)?,
            disruption: budget(serving.disruption.as_ref(), &replicas),
            monitoring: serving
                .monitoring
                .as_ref()
                .map(MonitoringPlan::from)
                .unwrap_or_default(),
            replicas,
        })
    }
}

/// The block, when its amounts can be read.
/// When the pods end.
fn zero_plan(autoscaling: &Autoscaling) -> Result<ZeroPlan, SpecError> {
    let idle_after = given("autoscaling.idleAfter", &autoscaling.idle_after)?;
    Ok(ZeroPlan::new(idle_after.unwrap_or(IDLE_AFTER)))
}

fn gpu_with_amounts(gpu: &Gpu) -> Result<Gpu, SpecError> {
    if let Some(memory) = &gpu.memory_at_least
        && gpu::mebibytes(memory).is_none()
    {
        return Err(SpecError::Quantity {
            field: "gpu.memoryAtLeast".into(),
            value: memory.0.clone(),
        });
    }
    Ok(gpu.clone())
}

/// What the spec adds to the pods' template. The label of the volume keeps pods together, so it is as fixed as the selector.
fn pod_template(
    serving: &Serving,
    owner: &Owner,
    model: &ModelMount,
) -> Result<Option<PodTemplateSpec>, SpecError> {
    let mut fixed = owner.labels(Component::Server);
    fixed.extend(model.label());
    let written = serving.pod_template.as_ref();
    written
        .map(|written| pod_template::read(written, &fixed))
        .transpose()
}

/// The images of the server, for specs that name none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerImages {
    /// That of most.
    pub usual: String,
    /// That of pods with GPUs, if it is another.
    pub gpu: Option<String>,
}

impl ServerImages {
    /// The one for pods that serve so.
    pub fn of(&self, serving: Option<&Serving>) -> &str {
        let gpu = serving.is_some_and(|serving| serving.gpu.is_some());
        self.gpu
            .as_ref()
            .filter(|_| gpu)
            .map_or(&self.usual, |image| image)
    }
}

impl From<&str> for ServerImages {
    fn from(usual: &str) -> Self {
        ServerImages {
            usual: usual.into(),
            gpu: None,
        }
    }
}

/// The image of the server.
pub fn image(serving: &Serving, default: &str) -> Image {
    Image {
        reference: serving.image.clone().unwrap_or_else(|| default.to_string()),
        pull_policy: serving.image_pull_policy.map(|policy| format!("{policy:?}")),
        pull_secrets: serving.image_pull_secrets.clone(),
    }
}

/// Size of the cache that a profile comes with.
pub fn usual_cache_size(profile: Profile) -> &'static str {
    profile::amounts(profile).cache
}

/// The profile's requests and limits, with what the spec says in their place. A request or limit that the spec does not
/// name makes way for one that it does.
pub fn resources(serving: &Serving) -> Result<ResourceRequirements, SpecError> {
    let amounts = profile::amounts(serving.profile);
    let usual = |pairs: [(&str, &str); 2]| -> BTreeMap<String, Quantity> {
        pairs
            .map(|(resource, amount)| (resource.to_string(), Quantity(amount.into())))
            .into()
    };
    let (mut requests, mut limits) = (usual(amounts.requests), usual(amounts.limits));
    if let Some(given) = &serving.resources {
        requests.extend(given.requests.clone());
        limits.extend(given.limits.clone());
        for (field, amounts) in [("requests", &given.requests), ("limits", &given.limits)] {
            for (resource, amount) in amounts {
                if quantity::thousandths(amount).is_none_or(|value| value < 0) {
                    let field = format!("resources.{field}.{resource}");
                    return Err(SpecError::Quantity {
                        field,
                        value: amount.0.clone(),
                    });
                }
            }
        }
        for (resource, limit) in &mut limits {
            let Some(request) = requests.get_mut(resource) else {
                continue;
            };
            if quantity::thousandths(request) <= quantity::thousandths(limit) {
                continue;
            }
            match (
                given.requests.contains_key(resource),
                given.limits.contains_key(resource),
            ) {
                (true, false) => *limit = request.clone(),
                (false, true) => *request = limit.clone(),
                _ => {
                    return Err(SpecError::RequestAboveLimit {
                        resource: resource.clone(),
                        request: request.0.clone(),
                        limit: limit.0.clone(),
                    });
                }
            }
        }
    }
    Ok(ResourceRequirements {
        requests: Some(requests),
        limits: Some(limits),
        ..Default::default()
    })
}

/// A duration of the spec, where it has one.
pub(super) fn given(field: &'static str, value: &Option<String>) -> Result<Option<Duration>, SpecError> {
    value.as_deref().map(|value| read(field, value)).transpose()
}

/// A duration of the spec.
pub fn read(field: &'static str, value: &str) -> Result<Duration, SpecError> {
    duration::parse(value).ok_or_else(|| SpecError::Duration {
        field,
        value: value.to_string(),
    })
}

/// What the spec says; else one pod at a time. With a single pod there is no budget: it would only hold up every drain.
fn budget(disruption: Option<&Disruption>, replicas: &Replicas) -> Option<Budget> {
    let given = disruption.and_then(|given| {
        let stay = given.min_available.clone().map(Budget::MinAvailable);
        stay.or_else(|| given.max_unavailable.clone().map(Budget::MaxUnavailable))
    });
    given.or_else(|| (replicas.least() > 1).then_some(Budget::MaxUnavailable(IntOrString::Int(1))))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn serving(spec: Value) -> Serving {
        serde_json::from_value(spec).unwrap()
    }

    fn amounts(spec: Value) -> Value {
        serde_json::to_value(resources(&serving(spec)).unwrap()).unwrap()
    }

    #[test]
    fn a_profile_sets_requests_and_limits() {
        assert_eq!(
            amounts(json!({"profile": "nano"})),
            json!({"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}})
        );
    }

    #[test]
    fn resources_replace_what_they_name() {
        assert_eq!(
            amounts(json!({"resources": {"requests": {"memory": "8Gi"}, "limits": {"cpu": "250m"}}})),
            json!({"requests": {"cpu": "250m", "memory": "8Gi"}, "limits": {"cpu": "250m", "memory": "8Gi"}})
        );
    }

    #[test]
    fn a_request_above_its_limit_is_refused() {
        let spec = json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}});
        assert_eq!(
            resources(&serving(spec)).unwrap_err().to_string(),
            "resources.requests.cpu (2) is above resources.limits.cpu (1500m)"
        );
    }

    #[test]
    fn an_amount_that_is_none_is_refused() {
        let spec = json!({"resources": {"limits": {"memory": "lots"}}});
        assert_eq!(
            resources(&serving(spec)).unwrap_err().to_string(),
            "resources.limits.memory is no positive quantity: lots"
        );
    }

    #[test]
    fn a_duration_that_is_none_is_refused() {
        let spec = json!({"transcription": {"timeout": "soon"}});
        assert_eq!(
            ServerFlags::of(&serving(spec)).unwrap_err().to_string(),
            "transcription.timeout is no duration such as 90s: soon"
        );
        let spec = json!({"transcription": {"vad": {"speechPad": "wide"}}});
        assert_eq!(
            ServerFlags::of(&serving(spec)).unwrap_err().to_string(),
            "transcription.vad.speechPad is no duration such as 90s: wide"
        );
    }

    #[test]
    fn a_single_pod_has_no_budget_unless_asked() {
        assert_eq!(budget(None, &Replicas::Fixed(1)), None);
        assert_eq!(
            budget(None, &Replicas::Fixed(2)),
            Some(Budget::MaxUnavailable(IntOrString::Int(1)))
        );
        let asked = Disruption {
            min_available: Some(IntOrString::String("50%".into())),
            max_unavailable: None,
        };
        assert_eq!(
            budget(Some(&asked), &Replicas::Fixed(1)),
            Some(Budget::MinAvailable(IntOrString::String("50%".into())))
        );
    }
}
