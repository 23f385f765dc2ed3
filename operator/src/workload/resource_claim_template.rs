//! The template by which each pod claims its devices (dynamic resource allocation).
//!
//! In: the plan. Out: a ResourceClaimTemplate when the plan names a DeviceClass. A template cannot be changed, so that another
//! one has another name; the name says what is in it.

use k8s_openapi::api::resource::v1::{
    DeviceClaim, DeviceRequest, ExactDeviceRequest, ResourceClaimSpec, ResourceClaimTemplate,
    ResourceClaimTemplateSpec,
};

use super::WorkloadPlan;
use super::gpu::CLAIM;
use crate::names::{self, Component};

/// Name of the template that the plan needs.
pub fn name(plan: &WorkloadPlan) -> Option<String> {
    let gpu = plan.gpu.as_ref()?;
    let class = gpu.device_class_name.as_ref()?;
    let hash = names::hash(format!("{} x {class}", gpu.count).as_bytes());
    Some(format!("{}-gpu-{}", plan.name, &hash[..8]))
}

/// The ResourceClaimTemplate.
pub fn resource_claim_template(plan: &WorkloadPlan) -> Option<ResourceClaimTemplate> {
    let gpu = plan.gpu.as_ref()?;
    let request = ExactDeviceRequest {
        device_class_name: gpu.device_class_name.clone()?,
        allocation_mode: Some("ExactCount".into()),
        count: Some(i64::from(gpu.count)),
        ..Default::default()
    };
    Some(ResourceClaimTemplate {
        metadata: plan.owner.child(&name(plan)?, Component::Server),
        spec: ResourceClaimTemplateSpec {
            spec: ResourceClaimSpec {
                devices: Some(DeviceClaim {
                    requests: Some(vec![DeviceRequest {
                        name: CLAIM.into(),
                        exactly: Some(request),
                        ..Default::default()
                    }]),
                    ..Default::default()
                }),
            },
            ..Default::default()
        },
    })
}
