//! What is decided of an endpoint before anything is built, and what it puts into the pods.
//!
//! In: the endpoint of a spec. Out: an [`EndpointPlan`]; volumes, mounts and flags of the server. Secrets are mounted whole
//! and never by subPath, so that the kubelet brings what changes in them and the server, which looks at its files, takes it.

use std::collections::BTreeSet;

use crds::endpoint::{
    ApiKeysSecret, AuthoritySecret, Endpoint, EndpointType, Gateway, Ingress, IssuerRef, Tls,
};
use k8s_openapi::api::core::v1::{KeyToPath, SecretVolumeSource, Volume, VolumeMount};

use crate::kinds::OptionalKind;
use crate::names::tls_secret;

/// The folder in which each volume has one of its own.
const FOLDER: &str = "/etc/parlance";
/// What the group of the pod may do with the files: read. Nobody else may.
const MODE: i32 = 0o440;

/// How clients reach the pods, with every decision taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointPlan {
    /// Type of the Service.
    pub type_: EndpointType,
    /// TLS on both ports.
    pub tls: Option<TlsPlan>,
    /// Where the API keys are that are let in; everybody is when there are none.
    pub api_keys: Option<ApiKeysSecret>,
    /// Ingresses.
    pub ingress: Option<Ingress>,
    /// Routes. None where the cluster lacks the kind.
    pub gateway: Option<Gateway>,
}

/// TLS on both ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPlan {
    /// Secret with the certificate and its key.
    pub secret: String,
    /// Who is asked for it; nobody when a person brings it, or the cluster lacks cert-manager.
    pub issuer: Option<IssuerRef>,
    /// Authorities whose clients are let in; everybody's when there are none.
    pub client_ca: Option<AuthoritySecret>,
}

/// A Secret whose keys become files in a folder of the server's container.
struct Mounted<'a> {
    volume: &'static str,
    secret: &'a str,
    /// Keys, and the files that they become.
    files: Vec<(&'a str, &'static str)>,
}

impl EndpointPlan {
    /// The plan of an endpoint whose objects are called `name`.
    pub fn new(spec: &Endpoint, name: &str) -> EndpointPlan {
        let Endpoint {
            type_,
            tls,
            auth,
            ingress,
            gateway,
        } = spec;
        EndpointPlan {
            type_: *type_,
            tls: tls.as_ref().map(|tls| TlsPlan::new(tls, name)),
            api_keys: auth.as_ref().map(|auth| auth.api_keys_secret_ref.clone()),
            ingress: ingress.clone(),
            gateway: gateway.clone(),
        }
    }

    /// The plan without what a cluster cannot hold that has only the kinds of `offered`. TLS stays: pods that cannot have a
    /// certificate wait for one, and never serve without.
    pub fn with_kinds(mut self, offered: &BTreeSet<OptionalKind>) -> EndpointPlan {
        if let Some(tls) = &mut self.tls {
            tls.issuer
                .take_if(|_| !offered.contains(&OptionalKind::Certificate));
        }
        self.gateway
            .take_if(|_| !offered.contains(&OptionalKind::HttpRoute));
        if let Some(gateway) = &mut self.gateway
            && !offered.contains(&OptionalKind::GrpcRoute)
        {
            gateway.grpc_hostnames.clear();
        }
        self
    }

    /// Volumes of the pods.
    pub fn volumes(&self) -> Vec<Volume> {
        let volume = |mounted: Mounted| Volume {
            name: mounted.volume.into(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(mounted.secret.into()),
                default_mode: Some(MODE),
                items: Some(
                    mounted
                        .files
                        .iter()
                        .map(|(key, file)| KeyToPath {
                            key: (*key).into(),
                            path: (*file).into(),
                            ..Default::default()
                        })
                        .collect(),
                ),
                ..Default::default()
            }),
            ..Default::default()
        };
        self.mounted().into_iter().map(volume).collect()
    }

    /// Mounts of the server's container.
    pub fn mounts(&self) -> Vec<VolumeMount> {
        let mount = |mounted: Mounted| VolumeMount {
            name: mounted.volume.into(),
            mount_path: format!("{FOLDER}/{}", mounted.volume),
            read_only: Some(true),
            ..Default::default()
        };
        self.mounted().into_iter().map(mount).collect()
    }

    /// Flags of the server.
    pub fn flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
        if let Some(tls) = &self.tls {
            flags.push(format!("--tls-cert={FOLDER}/tls/tls.crt"));
            flags.push(format!("--tls-key={FOLDER}/tls/tls.key"));
            flags.extend(
                tls.client_ca
                    .as_ref()
                    .map(|_| format!("--tls-client-ca={FOLDER}/client-ca/ca.crt")),
            );
        }
        flags.extend(
            self.api_keys
                .as_ref()
                .map(|_| format!("--api-keys-file={FOLDER}/api-keys/api-keys")),
        );
        flags
    }

    /// Names outside the cluster that lead here.
    pub fn hosts(&self) -> Vec<String> {
        let ingress = self.ingress.iter().map(|ingress| ingress.host.clone());
        let gateway = self.gateway.iter().flat_map(|gateway| {
            let names = gateway.hostnames.iter().chain(&gateway.grpc_hostnames);
            names.cloned()
        });
        let all: BTreeSet<String> = ingress.chain(gateway).collect();
        all.into_iter().collect()
    }

    fn mounted(&self) -> Vec<Mounted<'_>> {
        let certificate = self.tls.as_ref().map(|tls| Mounted {
            volume: "tls",
            secret: &tls.secret,
            files: vec![("tls.crt", "tls.crt"), ("tls.key", "tls.key")],
        });
        let authorities = self.tls.as_ref().and_then(|tls| tls.client_ca.as_ref());
        let authorities = authorities.map(|reference| Mounted {
            volume: "client-ca",
            secret: &reference.name,
            files: vec![(&reference.key, "ca.crt")],
        });
        let keys = self.api_keys.as_ref().map(|reference| Mounted {
            volume: "api-keys",
            secret: &reference.name,
            files: vec![(&reference.key, "api-keys")],
        });
        certificate.into_iter().chain(authorities).chain(keys).collect()
    }
}

impl TlsPlan {
    fn new(spec: &Tls, name: &str) -> TlsPlan {
        let Tls {
            secret_name,
            cert_manager_issuer_ref,
            client_ca_secret_ref,
        } = spec;
        TlsPlan {
            secret: secret_name.clone().unwrap_or_else(|| tls_secret(name)),
            issuer: cert_manager_issuer_ref.clone(),
            client_ca: client_ca_secret_ref.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::workload::deployment::deployment;
    use crate::workload::service::service;
    use crate::workload::tests::{json, plan};

    #[test]
    fn what_secrets_hold_is_mounted_whole_and_named_to_the_server() {
        let plan = plan(json!({"endpoint": {
            "tls": {"secretName": "calls-cert", "clientCASecretRef": {"name": "clients"}},
            "auth": {"apiKeysSecretRef": {"name": "keys", "key": "list"}},
        }}));
        let pod = json(deployment(&plan))["spec"]["template"]["spec"].clone();
        let server = &pod["containers"][0];
        let arguments = server["args"].as_array().unwrap();
        assert_eq!(
            arguments[arguments.len() - 4..],
            [
                "--tls-cert=/etc/parlance/tls/tls.crt",
                "--tls-key=/etc/parlance/tls/tls.key",
                "--tls-client-ca=/etc/parlance/client-ca/ca.crt",
                "--api-keys-file=/etc/parlance/api-keys/api-keys",
            ]
        );
        let mount = |name: &str| json!({"name": name, "mountPath": format!("/etc/parlance/{name}"), "readOnly": true});
        assert_eq!(
            server["volumeMounts"].as_array().unwrap()[2..],
            [mount("tls"), mount("client-ca"), mount("api-keys")],
            "no subPath: such a file would never change"
        );
        let volume = |name: &str, secret: &str, files: &[(&str, &str)]| {
            let items: Vec<_> = files
                .iter()
                .map(|(key, path)| json!({"key": key, "path": path}))
                .collect();
            json!({"name": name, "secret": {"secretName": secret, "defaultMode": 0o440, "items": items}})
        };
        assert_eq!(
            pod["volumes"].as_array().unwrap()[2..],
            [
                volume(
                    "tls",
                    "calls-cert",
                    &[("tls.crt", "tls.crt"), ("tls.key", "tls.key")]
                ),
                volume("client-ca", "clients", &[("ca.crt", "ca.crt")]),
                volume("api-keys", "keys", &[("list", "api-keys")]),
            ]
        );
        assert_eq!(
            pod["initContainers"][0]["volumeMounts"].as_array().unwrap().len(),
            2,
            "what fetches the model sees none of them"
        );
    }

    #[test]
    fn with_tls_everything_that_asks_the_pods_asks_by_https() {
        let plan =
            plan(json!({"endpoint": {"tls": {"secretName": "a"}}, "monitoring": {"annotations": true}}));
        let template = json(deployment(&plan))["spec"]["template"].clone();
        let server = &template["spec"]["containers"][0];
        let asked = |path: &str| json!({"path": path, "port": 8080, "scheme": "HTTPS"});
        for (probe, path) in [
            ("startupProbe", "/health/ready"),
            ("readinessProbe", "/health/ready"),
            ("livenessProbe", "/health/live"),
        ] {
            assert_eq!(server[probe]["httpGet"], asked(path), "{probe}");
            assert_eq!(server[probe].get("grpc"), None, "the kubelet's speaks no TLS");
        }
        assert_eq!(server["startupProbe"]["failureThreshold"], 300);
        assert_eq!(
            template["metadata"]["annotations"]["prometheus.io/scheme"],
            "https"
        );
        let ports = json(service(&plan))["spec"]["ports"].clone();
        assert_eq!(
            (&ports[0]["appProtocol"], &ports[1]["appProtocol"]),
            (&json!("https"), &json!("https"))
        );
    }
}
