//! The certificate that cert-manager is asked for.
//!
//! In: the plan. Out: a Certificate when the plan names an issuer.

use super::WorkloadPlan;
use crate::cert_manager::{Certificate, CertificateSpec};
use crate::names::Component;

/// The Certificate, called like the Secret that it fills.
pub fn certificate(plan: &WorkloadPlan) -> Option<Certificate> {
    let tls = plan.endpoint.tls.as_ref()?;
    Some(Certificate {
        metadata: plan.owner.child(&tls.secret, Component::Server),
        spec: CertificateSpec {
            secret_name: tls.secret.clone(),
            dns_names: dns_names(plan),
            issuer_ref: tls.issuer.clone()?,
            usages: ["digital signature", "key encipherment", "server auth"]
                .map(String::from)
                .into(),
        },
        status: None,
    })
}

/// The Service in all forms that clients write, the one with the usual domain of clusters among them; and the names outside.
fn dns_names(plan: &WorkloadPlan) -> Vec<String> {
    let (name, namespace) = (&plan.name, &plan.owner.namespace);
    let mut names = vec![
        format!("{name}.{namespace}.svc"),
        format!("{name}.{namespace}.svc.cluster.local"),
        format!("{name}.{namespace}"),
        name.clone(),
    ];
    names.extend(plan.endpoint.hosts());
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workload::tests::{json, plan};

    #[test]
    fn the_certificate_is_for_the_service_and_its_hosts() {
        let plan = plan(json!({"endpoint": {
            "tls": {"certManagerIssuerRef": {"name": "ours", "kind": "ClusterIssuer"}},
            "ingress": {"host": "speech.example.com"},
            "gateway": {"parentRefs": [{"name": "g"}], "hostnames": ["speech.example.com", "a.example.com"]},
        }}));
        let certificate = json(certificate(&plan).unwrap());
        assert_eq!(certificate["metadata"]["name"], "calls-tls");
        assert_eq!(
            certificate["spec"],
            json!({
                "secretName": "calls-tls",
                "dnsNames": ["calls.speech.svc", "calls.speech.svc.cluster.local", "calls.speech", "calls",
                             "a.example.com", "speech.example.com"],
                "issuerRef": {"name": "ours", "kind": "ClusterIssuer", "group": "cert-manager.io"},
                "usages": ["digital signature", "key encipherment", "server auth"],
            })
        );
        let volumes = json(plan.endpoint.volumes());
        assert_eq!(volumes[0]["secret"]["secretName"], "calls-tls");
    }

    #[test]
    fn a_certificate_that_a_person_brings_is_not_asked_for() {
        assert_eq!(
            certificate(&plan(json!({"endpoint": {"tls": {"secretName": "mine"}}}))),
            None
        );
    }

    #[test]
    fn without_cert_manager_the_pods_wait_for_the_secret_and_do_not_serve_in_plain_text() {
        let plan = plan(json!({"endpoint": {"tls": {"certManagerIssuerRef": {"name": "ours"}}}}));
        let plan = plan.with_kinds(&[].into()).unwrap();
        assert_eq!(certificate(&plan), None);
        assert_eq!(plan.endpoint.volumes().len(), 1);
        assert!(plan.endpoint.flags()[0].starts_with("--tls-cert"));
    }
}
