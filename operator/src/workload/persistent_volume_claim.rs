//! The claim for a model.
//!
//! In: the claim's plan. Out: the PersistentVolumeClaim.

use crds::model::{AccessMode, Reclaim};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};

use super::claim::ClaimPlan;
use crate::names::Component;

/// The PersistentVolumeClaim. One that is retained has no owner reference, so nothing deletes it with its owner.
pub fn persistent_volume_claim(plan: &ClaimPlan) -> PersistentVolumeClaim {
    let access_mode = match plan.access_mode {
        AccessMode::ReadWriteOnce => "ReadWriteOnce",
        AccessMode::ReadWriteMany => "ReadWriteMany",
    };
    PersistentVolumeClaim {
        metadata: match plan.reclaim {
            Reclaim::Delete => plan.owner.child(&plan.name, Component::Model),
            Reclaim::Retain => plan.owner.kept_child(&plan.name, Component::Model),
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec![access_mode.into()]),
            storage_class_name: plan.storage_class.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_string(), plan.size.clone())].into()),
                limits: None,
            }),
            ..Default::default()
        }),
        status: None,
    }
}
