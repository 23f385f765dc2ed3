//! Claims that get no volume.
//!
//! In: a claim, the StorageClasses, warnings about it. Out: what is wrong with it. Pure.

use crds::condition::Reason;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::{Resource, ResourceExt};

use super::{Finding, Symptoms, newest_warning};

/// Annotations that mark the default StorageClass.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// Whether the claim has no volume yet, or has lost it.
pub fn waits(claim: &PersistentVolumeClaim) -> bool {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    phase != Some("Bound") || claim.meta().deletion_timestamp.is_some()
}

/// What keeps the claim from having a volume. A claim that waits for its first pod is as it should be.
pub fn finding(claim: &PersistentVolumeClaim, symptoms: &Symptoms) -> Option<Finding> {
    if !waits(claim) {
        return None;
    }
    let name = claim.name_any();
    if claim.meta().deletion_timestamp.is_some() {
        let message = format!(
            "claim {name} is being deleted and goes when no pod uses it any more; it is made anew after that"
        );
        return Some(Finding::new(Reason::VolumePending, message));
    }
    let spec = claim.spec.as_ref();
    if spec.and_then(|spec| spec.volume_name.as_deref()).is_none()
        && let Some(message) = missing_class(claim, symptoms.storage_classes)
    {
        return Some(Finding::new(Reason::StorageClassNotFound, message));
    }
    if claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Lost") {
        let message =
            format!("claim {name} has lost its volume; delete the claim, and it is made and filled anew");
        return Some(Finding::new(Reason::VolumePending, message));
    }
    let warning = newest_warning(symptoms.warnings, claim.uid().as_deref())?;
    let text = warning.message.as_deref().unwrap_or("no message").trim();
    let message = format!("claim {name} gets no volume: {text}");
    Some(Finding::new(Reason::VolumePending, message))
}

fn missing_class(claim: &PersistentVolumeClaim, classes: Option<&[StorageClass]>) -> Option<String> {
    let classes = classes?;
    let claim_name = claim.name_any();
    let known = || {
        let names: Vec<String> = classes.iter().map(ResourceExt::name_any).collect();
        if names.is_empty() {
            "none".to_string()
        } else {
            names.join(", ")
        }
    };
    match claim
        .spec
        .as_ref()
        .and_then(|spec| spec.storage_class_name.as_deref())
    {
        // An empty name asks for a volume that a person made beforehand.
        Some("") => None,
        Some(wanted) => classes.iter().all(|class| class.name_any() != wanted).then(|| {
            format!(
                "claim {claim_name} asks for StorageClass {wanted}, which does not exist (there are: {}); \
                 create it, or delete the object and set another cache.storageClassName",
                known()
            )
        }),
        None => {
            let default = |class: &StorageClass| {
                class
                    .annotations()
                    .get(DEFAULT_CLASS)
                    .is_some_and(|value| value == "true")
            };
            (!classes.iter().any(default)).then(|| {
                format!(
                    "claim {claim_name} names no StorageClass and the cluster has no default (there are: {}); \
                     set cache.storageClassName, or mark a StorageClass as the default",
                    known()
                )
            })
        }
    }
}
