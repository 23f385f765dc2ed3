//! What every pod of Parlance has in common: the container that brings the model, its volume, and the restricted security.
//!
//! In: where the model is, and the image. Out: parts of a pod. It decides nothing about what serves.

use crds::model::ImageSource;
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, ImageVolumeSource,
    LocalObjectReference, PersistentVolumeClaimVolumeSource, PodAffinity, PodAffinityTerm,
    PodSecurityContext, ResourceRequirements, SeccompProfile, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{Contents, Image, ModelMount};
use crate::names::{CLAIM, MODEL_CONTAINER, PROGRESS_FLAG, PROGRESS_PORT, claim_label};

/// User and group of every process.
const USER: i64 = 65532;
/// Name of the volume with the model.
const MODEL_VOLUME: &str = "model";
/// Name of the volume for temporary files.
const TEMPORARY_VOLUME: &str = "tmp";
/// The file that the kubelet reads into the container's status.
pub const REPORT: &str = "/dev/termination-log";

impl ModelMount {
    /// Where the claim is mounted.
    fn path(&self) -> &'static str {
        match self.contents {
            Contents::Bundled(_) | Contents::Remote(_) => "/cache",
            Contents::Folder(_) | Contents::Image(_) => "/source",
        }
    }

    /// Folder of the model, as the containers see it.
    pub fn folder(&self) -> String {
        match &self.contents {
            Contents::Bundled(_) | Contents::Remote(_) => format!("{}/{}", self.path(), self.folder),
            Contents::Folder(path) | Contents::Image(ImageSource { path, .. }) => {
                let path = path.trim_matches('/');
                let separator = if path.is_empty() { "" } else { "/" };
                format!("{}{separator}{path}", self.path())
            }
        }
    }

    /// Arguments that put the model in place and verify it.
    fn fetch_arguments(&self) -> Vec<String> {
        let mut arguments = vec!["fetch".to_string()];
        match &self.contents {
            Contents::Bundled(name) => {
                arguments.push(format!("--bundled={name}"));
                arguments.push(format!("--to={}", self.folder()));
            }
            Contents::Remote(remote) => {
                arguments.extend(remote.flags.iter().map(|flag| verbatim(flag)));
                arguments.push(format!("--to={}", self.folder()));
                arguments.push(format!("{PROGRESS_FLAG}0.0.0.0:{PROGRESS_PORT}"));
            }
            Contents::Folder(_) | Contents::Image(_) => arguments.push(format!("--from={}", self.folder())),
        }
        arguments.extend(self.format_flag());
        arguments.extend(self.keep.iter().map(|folder| format!("--keep={folder}")));
        arguments.extend(self.digest.iter().map(|digest| format!("--digest={digest}")));
        arguments.push(format!("--report={REPORT}"));
        arguments
    }

    /// The label that all pods with this claim carry.
    pub fn label(&self) -> Option<(String, String)> {
        let claim = self.claim.as_ref()?;
        Some((CLAIM.to_string(), claim_label(claim)))
    }

    /// Keeps all pods with this volume, whosever they are, on the node where it is mounted.
    pub fn affinity(&self) -> Option<Affinity> {
        let together = PodAffinityTerm {
            label_selector: Some(LabelSelector {
                match_labels: Some(self.label().into_iter().collect()),
                ..Default::default()
            }),
            topology_key: "kubernetes.io/hostname".into(),
            ..Default::default()
        };
        self.one_node.then(|| Affinity {
            pod_affinity: Some(PodAffinity {
                required_during_scheduling_ignored_during_execution: Some(vec![together]),
                ..Default::default()
            }),
            ..Default::default()
        })
    }

    /// The mount of a container that only reads the model.
    pub fn read_only_mount(&self) -> VolumeMount {
        VolumeMount {
            name: MODEL_VOLUME.into(),
            mount_path: self.path().into(),
            read_only: Some(true),
            ..Default::default()
        }
    }

    /// The container that puts the model in place and verifies it. What it found, or what is wrong, is in the report. On a volume of ours it
    /// also puts the weights in order for a server of the precision `prepack`, where one is given.
    pub fn fetch_container(
        &self,
        image: &Image,
        resources: ResourceRequirements,
        prepack: Option<&str>,
    ) -> Container {
        let mut mount = self.read_only_mount();
        let mut env = Vec::new();
        if let Contents::Bundled(_) | Contents::Remote(_) = &self.contents {
            mount.read_only = None;
            // No flag: an older image, which somebody named, does without.
            env.extend(prepack.map(|precision| EnvVar {
                name: "PARLANCE_PREPACK".into(),
                value: Some(precision.into()),
                ..Default::default()
            }));
        }
        if let Contents::Remote(remote) = &self.contents {
            env.extend(remote.environment());
        }
        Container {
            name: MODEL_CONTAINER.into(),
            image: Some(image.reference.clone()),
            image_pull_policy: image.pull_policy.clone(),
            args: Some(self.fetch_arguments()),
            env: (!env.is_empty()).then_some(env),
            resources: Some(resources),
            security_context: Some(container_security()),
            termination_message_path: Some(REPORT.into()),
            termination_message_policy: Some("FallbackToLogsOnError".into()),
            volume_mounts: Some(vec![mount, temporary_mount()]),
            ..Default::default()
        }
    }

    /// The volume that holds the model.
    fn volume(&self) -> Volume {
        let image = match &self.contents {
            Contents::Image(image) => Some(ImageVolumeSource {
                reference: Some(image.reference.clone()),
                pull_policy: image.pull_policy.map(|policy| format!("{policy:?}")),
            }),
            Contents::Bundled(_) | Contents::Remote(_) | Contents::Folder(_) => None,
        };
        let claim = self
            .claim
            .as_ref()
            .map(|claim| PersistentVolumeClaimVolumeSource {
                claim_name: claim.clone(),
                ..Default::default()
            });
        Volume {
            name: MODEL_VOLUME.into(),
            persistent_volume_claim: claim,
            image,
            ..Default::default()
        }
    }

    /// The volumes of a pod, with so many MiB for temporary files.
    pub fn volumes(&self, temporary: u64) -> Vec<Volume> {
        vec![
            self.volume(),
            Volume {
                name: TEMPORARY_VOLUME.into(),
                empty_dir: Some(EmptyDirVolumeSource {
                    size_limit: Some(Quantity(format!("{temporary}Mi"))),
                    ..Default::default()
                }),
                ..Default::default()
            },
        ]
    }
}

impl Image {
    /// The Secrets that open its registry, as a pod has them.
    pub fn secrets(&self) -> Option<Vec<LocalObjectReference>> {
        (!self.pull_secrets.is_empty()).then(|| self.pull_secrets.clone())
    }
}

/// A port of a container.
pub fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: number,
        protocol: Some("TCP".into()),
        ..Default::default()
    }
}

/// A text that the kubelet hands on as it is: it takes `$(NAME)` for a variable, and `$$` for one `$`.
pub fn verbatim(text: &str) -> String {
    text.replace('$', "$$")
}

/// The mount for temporary files: the rest of the file system cannot be written.
pub fn temporary_mount() -> VolumeMount {
    VolumeMount {
        name: TEMPORARY_VOLUME.into(),
        mount_path: "/tmp".into(),
        ..Default::default()
    }
}

/// Security of a pod, as the restricted standard asks for it.
pub fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        fs_group_change_policy: Some("OnRootMismatch".into()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Security of a container, as the restricted standard asks for it.
pub fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".into()]),
            ..Default::default()
        }),
        ..Default::default()
    }
}
