//! The pods of an object: which can answer, and how each is.
//!
//! In: pods as the apiserver has them. Out: names, ports and words. Only `of` asks the apiserver.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use operator::names::{HTTP_PORT, SERVER_CONTAINER};

use crate::error::{Error, Rule};
use crate::object::Object;

/// Name of the server's port for HTTP.
const HTTP: &str = "http";

/// The serving pods of an object, by name.
///
/// # Errors
/// What the apiserver says.
pub async fn of(client: &Client, object: &Object) -> Result<Vec<Pod>, Error> {
    let api = Api::<Pod>::namespaced(client.clone(), &object.namespace());
    let selector = object.owner().scale_selector();
    let list = api.list(&ListParams::default().labels(&selector)).await;
    let rule = Rule {
        group: "",
        resource: "pods",
        verbs: "get, list",
    };
    let doing = || format!("list the pods of {}", object.words());
    let mut pods = list.map_err(|e| Error::of_kube(doing(), rule, &e))?.items;
    pods.sort_by_key(ResourceExt::name_any);
    Ok(pods)
}

/// Whether the pod takes requests.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions
        .filter(|condition| condition.type_ == "Ready")
        .any(|condition| condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// The port on which the pod speaks HTTP.
pub fn http_port(pod: &Pod) -> u16 {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let server = containers.filter(|one| one.name == SERVER_CONTAINER);
    let mut ports = server.flat_map(|one| one.ports.iter().flatten());
    let named = ports.find(|port| port.name.as_deref() == Some(HTTP));
    let port = named.map_or(HTTP_PORT, |port| port.container_port);
    u16::try_from(port).unwrap_or(HTTP_PORT as u16)
}

/// The states of a pod's containers, those that prepare it first.
pub fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    let init = status
        .clone()
        .flat_map(|status| status.init_container_statuses.iter().flatten());
    init.chain(status.flat_map(|status| status.container_statuses.iter().flatten()))
}

/// How the pod is, in the words of kubectl's column STATUS.
pub fn state(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".to_owned();
    }
    let status = pod.status.clone().unwrap_or_default();
    let mut stuck = None;
    for (init, container) in status
        .init_container_statuses
        .iter()
        .flatten()
        .map(|one| (true, one))
        .chain(status.container_statuses.iter().flatten().map(|one| (false, one)))
    {
        let state = container.state.clone().unwrap_or_default();
        let ended = state.terminated.filter(|ended| ended.exit_code != 0);
        let reason = match (state.waiting, ended) {
            (Some(waiting), _) => waiting.reason.filter(|reason| reason != "PodInitializing"),
            (None, Some(ended)) => ended
                .reason
                .or_else(|| Some(format!("ExitCode:{}", ended.exit_code))),
            (None, None) => None,
        };
        if let Some(reason) = reason {
            stuck = Some(if init { format!("Init:{reason}") } else { reason });
            break;
        }
    }
    let reason = stuck.or(status.reason).or(status.phase);
    reason.unwrap_or_else(|| "Unknown".to_owned())
}

/// How often the pod's containers were started again, together.
pub fn restarts(pod: &Pod) -> i32 {
    containers(pod).map(|container| container.restart_count).sum()
}

/// The devices that the pod holds, such as `1 nvidia.com/gpu`: limits of resources that a device plugin names.
pub fn devices(pod: &Pod) -> String {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let limits = containers.flat_map(|one| one.resources.iter().flat_map(|all| all.limits.iter().flatten()));
    let devices: Vec<String> = limits
        .filter(|(name, _)| name.contains('/'))
        .map(|(name, quantity)| format!("{} {name}", quantity.0))
        .collect();
    devices.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: serde_json::Value) -> Pod {
        let spec = json!({ "containers": [
            { "name": "sidecar", "ports": [{ "name": "http", "containerPort": 9 }] },
            { "name": "server", "ports": [{ "name": "grpc", "containerPort": 50051 }, { "name": "http", "containerPort": 8081 }],
              "resources": { "limits": { "cpu": "1", "nvidia.com/gpu": "2" } } },
        ] });
        serde_json::from_value(json!({ "metadata": { "name": "p" }, "spec": spec, "status": status }))
            .unwrap()
    }

    #[test]
    fn the_port_is_that_of_the_server_and_devices_are_what_plugins_name() {
        let pod = pod(json!({}));
        assert_eq!(
            (http_port(&pod), devices(&pod).as_str()),
            (8081, "2 nvidia.com/gpu")
        );
        assert_eq!(http_port(&Pod::default()), 8080);
    }

    #[test]
    fn a_pod_that_leaves_is_not_ready() {
        let mut pod = pod(json!({ "conditions": [{ "type": "Ready", "status": "True" }] }));
        assert!(is_ready(&pod));
        pod.metadata.deletion_timestamp = Some(crate::facts::now());
        assert!(!is_ready(&pod));
        assert_eq!(state(&pod), "Terminating");
    }

    #[test]
    fn the_state_is_what_keeps_the_pod() {
        let container = |name: &str, state: serde_json::Value| json!({ "name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 2, "state": state });
        let waits = |reason: &str| json!({ "waiting": { "reason": reason } });
        let crash = pod(
            json!({ "phase": "Running", "containerStatuses": [container("server", waits("CrashLoopBackOff"))] }),
        );
        assert_eq!(
            (state(&crash).as_str(), restarts(&crash)),
            ("CrashLoopBackOff", 2)
        );
        let init = pod(json!({ "phase": "Pending",
            "initContainerStatuses": [container("model", json!({ "terminated": { "exitCode": 1, "reason": "Error" } }))],
            "containerStatuses": [container("server", waits("PodInitializing"))] }));
        assert_eq!(state(&init), "Init:Error");
        assert_eq!(state(&pod(json!({ "phase": "Running" }))), "Running");
    }
}
