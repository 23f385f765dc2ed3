//! What a claim for a model should be, given what it already is.
//!
//! In: the `cache` block of a spec, and the live claim. Out: a [`ClaimPlan`], or why there can be none. Pure. A claim keeps
//! its StorageClass and access modes for life and never shrinks, so the live one has a say.

use crds::model::{AccessMode, ModelCache, Reclaim};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;

use super::settings::SpecError;
use crate::drift;
use crate::names::{MANAGER, Owner};
use crate::quantity;

/// A claim for a model, with every decision taken.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimPlan {
    /// Whose it is.
    pub owner: Owner,
    /// Its name.
    pub name: String,
    /// Its size.
    pub size: Quantity,
    /// Its StorageClass; the cluster's default when there is none.
    pub storage_class: Option<String>,
    /// How it may be mounted.
    pub access_mode: AccessMode,
    /// What becomes of it when its owner goes.
    pub reclaim: Reclaim,
}

impl ClaimPlan {
    /// The claim that `cache` asks for. `usual_size` counts when neither the spec nor a live claim says one.
    pub fn new(
        owner: &Owner,
        name: String,
        cache: Option<&ModelCache>,
        usual_size: &str,
        live: Option<&PersistentVolumeClaim>,
    ) -> Result<ClaimPlan, SpecError> {
        let live_access = live.map(access_mode);
        let access_mode = cache
            .map(|cache| cache.access_mode)
            .or(live_access)
            .unwrap_or_default();
        if let Some(found) = live_access.filter(|found| *found != access_mode) {
            let (found, wanted) = (format!("{found:?}"), format!("{access_mode:?}"));
            return Err(SpecError::ClaimKeeps {
                claim: name,
                field: "accessMode",
                found,
                wanted,
            });
        }
        let live_class = live.and_then(|claim| claim.spec.as_ref()?.storage_class_name.clone());
        let mut storage_class = cache.and_then(|cache| cache.storage_class_name.clone());
        match (&storage_class, live_class) {
            (Some(wanted), Some(found)) if *wanted != found => {
                let wanted = wanted.clone();
                return Err(SpecError::ClaimKeeps {
                    claim: name,
                    field: "storageClassName",
                    found,
                    wanted,
                });
            }
            // A field that we once applied cannot be left out again: the claim would lose it, which is refused.
            (None, Some(found)) if live.is_some_and(applied_class) => storage_class = Some(found),
            _ => {}
        }
        let size = size(cache.and_then(|cache| cache.size.as_ref()), usual_size, live)?;
        Ok(ClaimPlan {
            owner: owner.clone(),
            name,
            size,
            storage_class,
            access_mode,
            reclaim: cache.map(|cache| cache.reclaim).unwrap_or_default(),
        })
    }

    /// Whether the volume can be mounted on one node only.
    pub fn one_node(&self) -> bool {
        self.access_mode == AccessMode::ReadWriteOnce
    }
}

/// Whether a live claim can be mounted on one node only.
pub fn one_node(claim: &PersistentVolumeClaim) -> bool {
    !access_modes(claim)
        .iter()
        .any(|mode| matches!(mode.as_str(), "ReadWriteMany" | "ReadOnlyMany"))
}

fn access_modes(claim: &PersistentVolumeClaim) -> &[String] {
    let spec = claim.spec.as_ref();
    spec.and_then(|spec| spec.access_modes.as_deref())
        .unwrap_or_default()
}

fn access_mode(claim: &PersistentVolumeClaim) -> AccessMode {
    if access_modes(claim).iter().any(|mode| mode == "ReadWriteMany") {
        AccessMode::ReadWriteMany
    } else {
        AccessMode::ReadWriteOnce
    }
}

fn applied_class(claim: &PersistentVolumeClaim) -> bool {
    drift::applied_by(claim.managed_fields(), MANAGER, &["spec", "storageClassName"])
}

/// The larger of what is wanted and what is there. A size that no one asked for never changes a live claim.
fn size(
    wanted: Option<&Quantity>,
    usual: &str,
    live: Option<&PersistentVolumeClaim>,
) -> Result<Quantity, SpecError> {
    let requests = live.and_then(|claim| claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref());
    let found = requests.and_then(|requests| requests.get("storage"));
    let (Some(wanted), found) = (wanted, found) else {
        return Ok(found.cloned().unwrap_or_else(|| Quantity(usual.into())));
    };
    let bytes = quantity::thousandths(wanted)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| SpecError::Quantity {
            field: "cache.size".into(),
            value: wanted.0.clone(),
        })?;
    Ok(match found {
        Some(found) if quantity::thousandths(found) > Some(bytes) => found.clone(),
        _ => wanted.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::names::Kind;

    fn plan(cache: Value, live: Option<Value>) -> Result<ClaimPlan, SpecError> {
        let owner = Owner {
            kind: Kind::TranscriptionService,
            namespace: "speech".into(),
            name: "calls".into(),
            uid: "u-1".into(),
        };
        let cache: Option<ModelCache> = serde_json::from_value(cache).unwrap();
        let live = live.map(|live| serde_json::from_value(live).unwrap());
        ClaimPlan::new(&owner, "calls-cache".into(), cache.as_ref(), "1Gi", live.as_ref())
    }

    fn live(size: &str, class: &str, mode: &str) -> Option<Value> {
        let requests = json!({"requests": {"storage": size}});
        Some(
            json!({"metadata": {}, "spec": {"resources": requests, "storageClassName": class, "accessModes": [mode]}}),
        )
    }

    #[test]
    fn without_a_cache_block_the_profile_decides() {
        let plan = plan(Value::Null, None).unwrap();
        assert_eq!(plan.size.0, "1Gi");
        assert_eq!(
            (plan.storage_class, plan.access_mode),
            (None, AccessMode::ReadWriteOnce)
        );
    }

    #[test]
    fn a_size_that_no_one_asked_for_leaves_a_live_claim_alone() {
        let plan = plan(Value::Null, live("128Mi", "fast", "ReadWriteMany")).unwrap();
        assert_eq!(plan.size.0, "128Mi");
        assert_eq!(plan.access_mode, AccessMode::ReadWriteMany);
        assert_eq!(
            plan.storage_class, None,
            "the default class was not ours to apply"
        );
    }

    #[test]
    fn a_class_that_we_applied_stays() {
        let mut claim = live("1Gi", "fast", "ReadWriteOnce").unwrap();
        claim["metadata"]["managedFields"] = json!([{
            "manager": MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": {"f:storageClassName": {}}}
        }]);
        assert_eq!(
            plan(Value::Null, Some(claim)).unwrap().storage_class.as_deref(),
            Some("fast")
        );
    }

    #[test]
    fn a_claim_grows_and_never_shrinks() {
        let sized = |size: &str| {
            plan(json!({"size": size}), live("2Gi", "fast", "ReadWriteOnce"))
                .unwrap()
                .size
                .0
        };
        assert_eq!(sized("4Gi"), "4Gi");
        assert_eq!(sized("1Gi"), "2Gi");
    }

    #[test]
    fn what_a_claim_keeps_for_life_cannot_be_asked_for_anew() {
        let class = plan(
            json!({"storageClassName": "slow"}),
            live("1Gi", "fast", "ReadWriteOnce"),
        )
        .unwrap_err();
        assert!(class.to_string().contains("storageClassName"), "{class}");
        let mode = plan(
            json!({"accessMode": "ReadWriteMany"}),
            live("1Gi", "fast", "ReadWriteOnce"),
        )
        .unwrap_err();
        assert!(mode.to_string().contains("accessMode"), "{mode}");
    }

    #[test]
    fn a_size_that_is_none_is_refused() {
        let error = plan(json!({"size": "much"}), None).unwrap_err();
        assert_eq!(error.to_string(), "cache.size is no positive quantity: much");
    }

    #[test]
    fn only_shared_modes_allow_many_nodes() {
        let claim = |modes: Value| {
            serde_json::from_value(json!({"metadata": {}, "spec": {"accessModes": modes}})).unwrap()
        };
        assert!(one_node(&claim(json!(["ReadWriteOnce"]))));
        assert!(one_node(&claim(json!(["ReadWriteOncePod"]))));
        assert!(!one_node(&claim(json!(["ReadWriteOnce", "ReadOnlyMany"]))));
        assert!(!one_node(&claim(json!(["ReadWriteMany"]))));
    }
}
