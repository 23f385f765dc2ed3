//! Commands against an apiserver in memory: what is said when something is missing, forbidden or not ready.

#![allow(clippy::unwrap_used)] // a test that cannot go on should end

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use kubectl_parlance::cluster::Cluster;
use kubectl_parlance::run::Outcome;
use kubectl_parlance::tls::TlsArgs;
use kubectl_parlance::transcribe::{Format, Job, transcribe};
use kubectl_parlance::{status, top, why};
use serde_json::{Value, json};

const SERVICES: &str = "/apis/parlance.dev/v1alpha1/namespaces/speech/transcriptionservices";
const MODELS: &str = "/apis/parlance.dev/v1alpha1/namespaces/speech/modeldeployments";
const PODS: &str = "/api/v1/namespaces/speech/pods";
const EVENTS: &str = "/api/v1/namespaces/speech/events";

/// Answers by path, and the paths that were asked.
#[derive(Clone, Default)]
struct World {
    answers: BTreeMap<String, (u16, Value)>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn with(mut self, path: &str, answer: Value) -> World {
        self.answers.insert(path.into(), (200, answer));
        self
    }

    /// An object and the collection that it is in.
    fn object(self, collection: &str, object: Value) -> World {
        let path = format!("{collection}/{}", object["metadata"]["name"].as_str().unwrap());
        let mut list = match self.answers.get(collection) {
            Some((_, list)) => list.clone(),
            None => list([]),
        };
        list["items"].as_array_mut().unwrap().push(object.clone());
        self.with(collection, list).with(&path, object)
    }

    fn refused(mut self, path: &str, code: u16, message: &str) -> World {
        let reason = if code == 403 { "Forbidden" } else { "NotFound" };
        let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                             "message": message, "reason": reason, "code": code });
        self.answers.insert(path.into(), (code, status));
        self
    }

    fn cluster(&self) -> Cluster {
        let World { answers, asked } = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            let known = answers.get(&path).cloned();
            // What there is nothing of is an empty list; one object of it is not found.
            let (code, answer) = known.unwrap_or_else(|| match is_collection(&path) {
                true => (200, list([])),
                false => (
                    404,
                    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                            "message": "not found", "reason": "NotFound", "code": 404 }),
                ),
            });
            asked.lock().unwrap().push(path);
            let body = Body::from(serde_json::to_vec(&answer).unwrap());
            let response = Response::builder().status(code).body(body).unwrap();
            async move { Ok::<_, Infallible>(response) }
        });
        Cluster {
            client: Client::new(service, "speech"),
            namespace: "speech".into(),
        }
    }

    fn asked(&self, end: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|path| path.ends_with(end)).count()
    }
}

fn list(items: impl Into<Vec<Value>>) -> Value {
    let items: Vec<Value> = items.into();
    json!({ "kind": "List", "apiVersion": "v1", "metadata": {}, "items": items })
}

fn is_collection(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.iter().position(|part| *part == "namespaces") {
        Some(at) => parts.len() == at + 3,
        None => true,
    }
}

fn service(name: &str, ready: &str, message: &str) -> Value {
    json!({ "apiVersion": "parlance.dev/v1alpha1", "kind": "TranscriptionService",
        "metadata": { "name": name, "namespace": "speech", "uid": name, "generation": 1 },
        "spec": { "model": { "source": { "bundled": { "name": "whisper-nano-digits" } } } },
        "status": { "observedGeneration": 1, "message": message, "phase": "Failed", "conditions": [
            { "type": "Ready", "status": ready, "reason": "CrashLoop", "message": message,
              "lastTransitionTime": "2026-01-01T00:00:00Z" }] } })
}

fn model(name: &str) -> Value {
    json!({ "apiVersion": "parlance.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": { "name": name, "namespace": "speech", "uid": name, "generation": 1 },
        "spec": { "source": { "bundled": { "name": "whisper-nano-digits" } } } })
}

fn pod(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "speech", "uid": name },
        "spec": { "containers": [{ "name": "server" }] },
        "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } })
}

fn job(wanted: &str) -> Job {
    Job {
        files: vec![PathBuf::from("calls.wav")],
        wanted: wanted.parse().unwrap(),
        format: Format::Txt,
        language: None,
        prompt: None,
        words: false,
        output: None,
        api_key: None,
        tls: TlsArgs::default(),
        retry_for: Duration::ZERO,
        quiet: true,
    }
}

async fn refusal(world: &World, wanted: &str) -> String {
    transcribe(&world.cluster(), &job(wanted))
        .await
        .unwrap_err()
        .to_string()
}

fn question(name: Option<&str>) -> status::Question {
    status::Question {
        name: name.map(|name| name.parse().unwrap()),
        all_namespaces: false,
        output: None,
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_told_with_those_that_are() {
    let world = World::default()
        .object(SERVICES, service("calls", "True", ""))
        .object(SERVICES, service("notes", "True", ""))
        .object(MODELS, model("digits"));
    assert_eq!(
        refusal(&world, "tsvc/cals").await,
        "namespace speech has no TranscriptionService \"cals\"; it has calls, notes"
    );
    let error = status::status(&world.cluster(), &question(Some("cals")))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "namespace speech has no TranscriptionService or ModelDeployment \"cals\"; it has tsvc/calls, tsvc/notes, mdl/digits"
    );
}

#[tokio::test]
async fn a_name_of_both_kinds_must_say_which() {
    let world = World::default()
        .object(SERVICES, service("digits", "True", "1 of 1 pods serve"))
        .object(MODELS, model("digits"));
    let error = why::why(&world.cluster(), &"digits".parse().unwrap())
        .await
        .unwrap_err();
    assert!(
        error.to_string().ends_with("say tsvc/digits or mdl/digits"),
        "{error}"
    );
    let (text, outcome) = why::why(&world.cluster(), &"tsvc/digits".parse().unwrap())
        .await
        .unwrap();
    assert!(
        text.starts_with("TranscriptionService digits in namespace speech is healthy"),
        "{text}"
    );
    assert_eq!(outcome, Outcome::Well);
}

#[tokio::test]
async fn what_is_forbidden_is_told_with_the_rule_that_would_allow_it() {
    let message = "transcriptionservices.parlance.dev is forbidden: User \"bob\" cannot list";
    let world = World::default().refused(SERVICES, 403, message);
    let error = status::status(&world.cluster(), &question(None))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "you may not list transcriptionservices in namespace speech: {message}. Ask for a Role with the rule \
             {{apiGroups: [\"parlance.dev\"], resources: [transcriptionservices], verbs: [get, list]}}"
        )
    );
    let world = World::default()
        .object(SERVICES, service("calls", "True", ""))
        .object(PODS, pod("calls-1"))
        .refused(
            &format!("{PODS}/calls-1/portforward"),
            403,
            "pods \"calls-1\" is forbidden",
        );
    let rule = "{apiGroups: [\"\"], resources: [pods/portforward], verbs: [get, create]}";
    let error = refusal(&world, "tsvc/calls").await;
    assert!(
        error.starts_with("you may not forward a port of pod calls-1: ") && error.contains(rule),
        "{error}"
    );
    let question = top::Question {
        name: Some("calls".parse().unwrap()),
        all_namespaces: false,
        interval: Duration::from_millis(100),
        watch: false,
        tls: TlsArgs::default(),
    };
    let error = top::top(&world.cluster(), &question)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(rule), "{error}");
}

#[tokio::test]
async fn a_service_without_a_ready_pod_says_why_and_who_knows_more() {
    let world = World::default().object(SERVICES, service("calls", "False", "container server ended"));
    assert_eq!(
        refusal(&world, "tsvc/calls").await,
        "TranscriptionService calls is not ready: container server ended; \
         `kubectl parlance why tsvc/calls -n speech` tells more"
    );
    let world = World::default().object(MODELS, model("digits"));
    let error = refusal(&world, "mdl/digits").await;
    assert!(error.contains("has no spec.serving"), "{error}");
}

#[tokio::test]
async fn every_ready_pod_is_tried_before_giving_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.wav");
    std::fs::write(&file, "RIFF").unwrap();
    let world = World::default()
        .object(SERVICES, service("calls", "True", ""))
        .object(PODS, pod("calls-1"))
        .object(PODS, pod("calls-2"));
    let mut job = job("tsvc/calls");
    job.files = vec![file];
    let error = transcribe(&world.cluster(), &job).await.unwrap_err().to_string();
    assert!(
        error.contains("no pod took") && error.contains("not found"),
        "{error}"
    );
    assert_eq!(
        (
            world.asked("calls-1/portforward"),
            world.asked("calls-2/portforward")
        ),
        (1, 1)
    );
}

#[tokio::test]
async fn a_cluster_without_parlance_is_told_from_one_without_services() {
    let world = World::default().refused(SERVICES, 404, "the server could not find the requested resource");
    let error = status::status(&world.cluster(), &question(None))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the cluster has no kind TranscriptionService of parlance.dev: install the chart parlance-crds first"
    );
    let text = status::status(&World::default().cluster(), &question(None))
        .await
        .unwrap();
    assert_eq!(
        text,
        "Namespace speech has no TranscriptionService and no ModelDeployment.\n"
    );
}

#[tokio::test]
async fn what_may_not_be_read_is_left_out_and_named() {
    let world = World::default()
        .object(SERVICES, service("calls", "False", "container server ended"))
        .object(PODS, pod("calls-1"))
        .refused(EVENTS, 403, "no")
        .refused("/apis/apps/v1/deployments", 403, "no");
    let page = status::status(&world.cluster(), &question(Some("calls")))
        .await
        .unwrap();
    assert!(
        page.contains("calls-1") && page.ends_with("you may not list them: events.\n"),
        "{page}"
    );
    let (text, outcome) = why::why(&world.cluster(), &"calls".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(
        text,
        "TranscriptionService calls in namespace speech is not ready: container server ended (CrashLoop). \
         More may stand in what you may not list: events.\n"
    );
    assert_eq!(outcome, Outcome::Wrong);
}

#[tokio::test]
async fn an_operator_that_is_away_is_the_reason_for_a_spec_that_nobody_follows() {
    let mut object = service("calls", "True", "1 of 1 pods serve");
    object["metadata"]["generation"] = json!(2);
    let operator = json!({ "metadata": { "name": "parlance", "namespace": "parlance-system",
            "labels": { "app.kubernetes.io/version": "0.1.0" } },
        "spec": { "replicas": 1, "selector": {}, "template": { "spec": { "containers": [
            { "name": "operator", "args": ["--lease-name=turns", "--namespaces=speech,notes"] }] } } },
        "status": { "readyReplicas": 1 } });
    let lease = json!({ "metadata": { "name": "turns" },
        "spec": { "holderIdentity": "parlance-abc", "renewTime": "2026-01-01T00:00:00.000000Z" } });
    let world = World::default()
        .object(SERVICES, object)
        .with("/apis/apps/v1/deployments", list([operator]))
        .with(
            "/apis/coordination.k8s.io/v1/namespaces/parlance-system/leases/turns",
            lease,
        );
    let (text, outcome) = why::why(&world.cluster(), &"calls".parse().unwrap())
        .await
        .unwrap();
    assert!(
        text.contains("nobody looks after it, its status is of generation 1, its spec of generation 2: the operator's Lease turns was last renewed"),
        "{text}"
    );
    assert_eq!(outcome, Outcome::Wrong);
}
