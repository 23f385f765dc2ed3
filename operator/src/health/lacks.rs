//! What a spec asks for and does not get from the cluster around it: kinds that are missing, certificates that are not issued,
//! routes that no Gateway takes.
//!
//! In: the serving block, the kinds that the cluster has, and the live children. Out: a finding for each. Pure. Pods serve
//! without most of them; [`split`] tells what nothing can serve without.

use std::collections::BTreeSet;

use crds::autoscaling::Autoscaling;
use crds::condition::Reason;
use crds::serving::Serving;
use kube::ResourceExt;

use super::{Finding, Rollout};
use crate::cert_manager::{Certificate, Condition};
use crate::gateway_api::RouteStatus;
use crate::kinds::OptionalKind;
use crate::resources::{Live, Resources};

/// What is told of a missing kind.
const REASONS: [Reason; 4] = [
    Reason::MonitoringUnavailable,
    Reason::AutoscalingUnavailable,
    Reason::CertManagerUnavailable,
    Reason::GatewayUnavailable,
];

/// What the cluster lacks. `path` leads to the serving block: `spec` or `spec.serving`.
pub fn lacks(
    serving: &Serving,
    path: &str,
    offered: &BTreeSet<OptionalKind>,
    children: &Resources<Live>,
) -> Vec<Finding> {
    let missing = wanted(serving)
        .into_iter()
        .filter(|(kind, _)| !offered.contains(kind))
        .map(|(kind, field)| Finding::new(reason(kind), kind.missing(&format!("{path}.{field}"))));
    let not_issued = children.certificates.iter().filter_map(not_issued);
    let http = children
        .http_routes
        .iter()
        .flat_map(|route| refusals("HTTPRoute", &route.name_any(), route.status.as_ref()));
    let grpc = children
        .grpc_routes
        .iter()
        .flat_map(|route| refusals("GRPCRoute", &route.name_any(), route.status.as_ref()));
    let scaling = scaling(serving, path, offered);
    missing
        .chain(not_issued)
        .chain(http)
        .chain(grpc)
        .chain(scaling)
        .collect()
}

/// The optional kinds that the serving block asks for, and the fields that do.
fn wanted(serving: &Serving) -> Vec<(OptionalKind, &'static str)> {
    let monitoring = serving.monitoring.as_ref();
    let tls = serving.endpoint.tls.as_ref();
    let gateway = serving.endpoint.gateway.as_ref();
    [
        (
            OptionalKind::Certificate,
            "endpoint.tls.certManagerIssuerRef",
            tls.is_some_and(|tls| tls.cert_manager_issuer_ref.is_some()),
        ),
        (OptionalKind::HttpRoute, "endpoint.gateway", gateway.is_some()),
        (
            OptionalKind::GrpcRoute,
            "endpoint.gateway.grpcHostnames",
            gateway.is_some_and(|gateway| !gateway.grpc_hostnames.is_empty()),
        ),
        (
            OptionalKind::PodMonitor,
            "monitoring.podMonitor",
            monitoring.is_some_and(|one| one.pod_monitor.is_some()),
        ),
        (
            OptionalKind::PrometheusRule,
            "monitoring.prometheusRule",
            monitoring.is_some_and(|one| one.prometheus_rule.is_some()),
        ),
    ]
    .into_iter()
    .filter_map(|(kind, field, wanted)| wanted.then_some((kind, field)))
    .collect()
}

fn reason(kind: OptionalKind) -> Reason {
    match kind {
        OptionalKind::PodMonitor | OptionalKind::PrometheusRule => Reason::MonitoringUnavailable,
        OptionalKind::Certificate => Reason::CertManagerUnavailable,
        OptionalKind::HttpRoute | OptionalKind::GrpcRoute => Reason::GatewayUnavailable,
        OptionalKind::ResourceClaimTemplate => Reason::DeviceClaimsUnavailable,
        OptionalKind::ScaledObject | OptionalKind::VerticalPodAutoscaler | OptionalKind::PodMetrics => {
            Reason::AutoscalingUnavailable
        }
    }
}

/// Whether the word in a condition tells of a missing kind.
pub fn is_of_missing_kind(reason: &str) -> bool {
    REASONS.iter().any(|one| one.as_str() == reason)
}

/// What keeps pods that do not serve from serving, and what merely lacks: without its certificate a pod does not start.
pub fn split(lacks: Vec<Finding>, rollout: Option<&Rollout>) -> (Vec<Finding>, Vec<Finding>) {
    let down = rollout.is_some_and(|rollout| !rollout.available);
    lacks.into_iter().partition(|one| {
        let certificate = matches!(
            one.reason,
            Reason::CertManagerUnavailable | Reason::CertificateNotReady
        );
        down && certificate
    })
}

/// That cert-manager says no. Before its first word there is nothing to tell.
fn not_issued(certificate: &Certificate) -> Option<Finding> {
    let conditions = certificate.status.as_ref()?.conditions.as_slice();
    let ready = of_type(conditions, "Ready").filter(|ready| ready.status == "False")?;
    // Why an attempt failed, where one has; `Ready` only says that there is no certificate.
    let attempt = of_type(conditions, "Issuing").filter(|issuing| !issuing.message.is_empty());
    let mut words = ready.message.trim_end_matches('.').to_string();
    if let Some(attempt) = attempt.filter(|attempt| attempt.message != ready.message) {
        words = format!("{words}: {}", attempt.message.trim_end_matches('.'));
    }
    let name = certificate.name_any();
    let message = format!("Certificate {name} is not ready: {words}; kubectl describe certificate {name}");
    Some(Finding::new(Reason::CertificateNotReady, message))
}

/// What Gateways do not take of a route.
fn refusals(kind: &str, name: &str, status: Option<&RouteStatus>) -> Vec<Finding> {
    let parents = status.into_iter().flat_map(|status| &status.parents);
    let refused = parents.filter_map(|parent| {
        let verdicts = ["Accepted", "ResolvedRefs"].map(|type_| of_type(&parent.conditions, type_));
        let no = verdicts.into_iter().flatten().find(|one| one.status == "False")?;
        let message = format!(
            "Gateway {} does not take {kind} {name}: {}",
            parent.parent_ref.name,
            no.message.trim_end_matches('.')
        );
        Some(Finding::new(Reason::RouteNotAccepted, message))
    });
    refused.collect()
}

fn of_type<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// What autoscalers lack.
fn scaling(serving: &Serving, path: &str, offered: &BTreeSet<OptionalKind>) -> Vec<Finding> {
    let found = |message: String| Finding::new(Reason::AutoscalingUnavailable, message);
    let mut findings = Vec::new();
    if let Some(autoscaling) = &serving.autoscaling
        && autoscaling.target_queued_audio_seconds.is_some()
    {
        let field = format!("{path}.autoscaling.targetQueuedAudioSeconds");
        let metrics = offered.contains(&OptionalKind::PodMetrics);
        let keda = offered.contains(&OptionalKind::ScaledObject);
        let meanwhile = match autoscaling {
            _ if metrics => "the metrics adapter's values decide",
            Autoscaling {
                target_cpu_utilization: None,
                target_memory_utilization: None,
                ..
            } => "80 percent of the CPU decides",
            _ => "the other targets decide",
        };
        match (&autoscaling.keda, keda, metrics) {
            (Some(_), true, _) | (None, _, true) => {}
            (Some(_), false, _) => findings.push(found(format!(
                "{}; until then {meanwhile}",
                OptionalKind::ScaledObject.missing(&format!("{path}.autoscaling.keda"))
            ))),
            (None, keda, false) => {
                let with_keda = if keda {
                    format!("set {path}.autoscaling.keda, as KEDA is there")
                } else {
                    format!("install KEDA and set {path}.autoscaling.keda")
                };
                findings.push(found(format!(
                    "the cluster has no metrics of pods (custom.metrics.k8s.io) for {field}: install {}, or {with_keda}, \
                     or remove the field; until then {meanwhile}",
                    OptionalKind::PodMetrics.provider()
                )));
            }
        }
    }
    let vertical = serving.vertical_pod_autoscaler.is_some();
    if vertical && !offered.contains(&OptionalKind::VerticalPodAutoscaler) {
        let field = format!("{path}.verticalPodAutoscaler");
        findings.push(found(OptionalKind::VerticalPodAutoscaler.missing(&field)));
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn serving(block: Value) -> Serving {
        serde_json::from_value(block).unwrap()
    }

    fn told(serving: &Serving, offered: &[OptionalKind]) -> Vec<(Reason, String)> {
        let offered = offered.iter().copied().collect();
        let found = lacks(serving, "spec.serving", &offered, &Resources::default());
        found.into_iter().map(|one| (one.reason, one.message)).collect()
    }

    #[test]
    fn only_what_is_asked_for_and_missing_is_told() {
        let watched =
            serving(json!({"monitoring": {"podMonitor": {}, "prometheusRule": {"labels": {"a": "b"}}}}));
        assert_eq!(told(&watched, &[]).len(), 2);
        let rule_only = told(&watched, &[OptionalKind::PodMonitor]);
        assert_eq!(rule_only.len(), 1);
        assert!(
            rule_only[0]
                .1
                .ends_with("or remove spec.serving.monitoring.prometheusRule"),
            "{rule_only:?}"
        );
        assert!(told(&watched, &OptionalKind::ALL).is_empty());
        assert!(told(&Serving::default(), &[]).is_empty());
    }

    #[test]
    fn what_cannot_be_scaled_on_is_told_with_the_ways_out_there_are() {
        let told = |serving: Value, offered: &[OptionalKind]| -> String {
            let serving: Serving = serde_json::from_value(serving).unwrap();
            let offered = offered.iter().copied().collect();
            let found = lacks(&serving, "spec", &offered, &Resources::default());
            assert!(
                found
                    .iter()
                    .all(|one| one.reason == Reason::AutoscalingUnavailable)
            );
            let messages: Vec<String> = found.into_iter().map(|one| one.message).collect();
            messages.join("|")
        };
        use OptionalKind::{PodMetrics, ScaledObject, VerticalPodAutoscaler};
        let queued = json!({"autoscaling": {"maxReplicas": 3, "targetQueuedAudioSeconds": 60}});
        let nothing = told(queued.clone(), &[]);
        assert!(
            nothing.contains("install KEDA and set spec.autoscaling.keda"),
            "{nothing}"
        );
        assert!(
            nothing.ends_with("until then 80 percent of the CPU decides"),
            "{nothing}"
        );
        let with_keda = told(queued.clone(), &[ScaledObject]);
        assert!(
            with_keda.contains("or set spec.autoscaling.keda, as KEDA is there"),
            "{with_keda}"
        );
        assert_eq!(told(queued, &[PodMetrics]), "");
        let asked = json!({"autoscaling": {"maxReplicas": 3, "targetQueuedAudioSeconds": 60, "targetCPUUtilization": 70,
            "keda": {"serverAddress": "http://p:9090"}}});
        assert_eq!(told(asked.clone(), &[ScaledObject]), "");
        assert_eq!(
            told(asked.clone(), &[]),
            "the cluster has no kind ScaledObject that the operator may use: install KEDA, or remove spec.autoscaling.keda; \
             until then the other targets decide"
        );
        assert!(told(asked, &[PodMetrics]).ends_with("until then the metrics adapter's values decide"));
        let vertical = json!({"verticalPodAutoscaler": {}});
        assert!(told(vertical.clone(), &[]).contains("install the VerticalPodAutoscaler"));
        assert_eq!(told(vertical, &[VerticalPodAutoscaler]), "");
    }

    #[test]
    fn each_missing_kind_has_the_reason_of_its_block_and_is_known_as_missing() {
        let all = serving(json!({
            "monitoring": {"podMonitor": {}},
            "endpoint": {"tls": {"certManagerIssuerRef": {"name": "i"}},
                         "gateway": {"parentRefs": [{"name": "g"}], "hostnames": ["a"], "grpcHostnames": ["b"]}},
        }));
        let told = told(&all, &[]);
        let reasons: Vec<&str> = told.iter().map(|(reason, _)| reason.as_str()).collect();
        assert_eq!(
            reasons,
            [
                "CertManagerUnavailable",
                "GatewayUnavailable",
                "GatewayUnavailable",
                "MonitoringUnavailable"
            ]
        );
        assert!(reasons.into_iter().all(is_of_missing_kind));
        assert!(!is_of_missing_kind("CrashLoop"));
        assert_eq!(
            told[0].1,
            "the cluster has no kind Certificate that the operator may use: install cert-manager, or remove \
             spec.serving.endpoint.tls.certManagerIssuerRef"
        );
    }

    fn with_certificate(conditions: Value) -> Vec<Finding> {
        let certificate = serde_json::from_value(json!({
            "apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "calls-tls"},
            "spec": {"secretName": "calls-tls", "issuerRef": {"name": "ours"}}, "status": {"conditions": conditions},
        }));
        let children = Resources {
            certificates: vec![certificate.unwrap()],
            ..Resources::default()
        };
        lacks(&Serving::default(), "spec", &BTreeSet::new(), &children)
    }

    #[test]
    fn cert_managers_own_words_are_told() {
        let found = with_certificate(json!([
            {"type": "Ready", "status": "False", "message": "Issuing certificate as Secret does not exist"},
            {"type": "Issuing", "status": "False", "message": "The certificate request has failed."},
        ]));
        assert_eq!(found[0].reason, Reason::CertificateNotReady);
        assert_eq!(
            found[0].message,
            "Certificate calls-tls is not ready: Issuing certificate as Secret does not exist: The certificate request has failed; \
             kubectl describe certificate calls-tls"
        );
        assert_eq!(
            with_certificate(json!([{"type": "Ready", "status": "True", "message": "up to date"}])),
            []
        );
        assert_eq!(with_certificate(json!([])), []);
    }

    #[test]
    fn a_missing_certificate_is_the_cause_only_where_nothing_serves() {
        let rollout = |available| Rollout {
            available,
            ..Rollout::default()
        };
        let lacks = || {
            vec![
                Finding::new(Reason::MonitoringUnavailable, "a"),
                Finding::new(Reason::CertManagerUnavailable, "b"),
            ]
        };
        let reasons = |found: &[Finding]| found.iter().map(|one| one.reason).collect::<Vec<_>>();
        let (causes, rest) = split(lacks(), Some(&rollout(false)));
        assert_eq!(reasons(&causes), [Reason::CertManagerUnavailable]);
        assert_eq!(reasons(&rest), [Reason::MonitoringUnavailable]);
        assert_eq!(split(lacks(), Some(&rollout(true))).0, []);
        assert_eq!(split(lacks(), None).0, []);
    }

    #[test]
    fn a_route_that_a_gateway_refuses_is_told_with_its_words() {
        let route = serde_json::from_value(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "calls"}, "spec": {},
            "status": {"parents": [
                {"parentRef": {"name": "a"}, "conditions": [{"type": "Accepted", "status": "True"}]},
                {"parentRef": {"name": "b"}, "conditions": [
                    {"type": "Accepted", "status": "False", "message": "no listener allows this namespace."}]},
            ]},
        }));
        let children = Resources {
            http_routes: vec![route.unwrap()],
            ..Resources::default()
        };
        let found = lacks(&Serving::default(), "spec", &BTreeSet::new(), &children);
        assert_eq!(
            found,
            [Finding::new(
                Reason::RouteNotAccepted,
                "Gateway b does not take HTTPRoute calls: no listener allows this namespace"
            )]
        );
    }
}
