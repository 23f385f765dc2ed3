//! `spec.endpoint` and `spec.security` on a real cluster: TLS and API keys as clients meet them, and the objects of cert-manager,
//! the Gateway API, Ingress controllers and network plugins as the apiserver takes them.
//!
//! No such controller runs here: the tests play cert-manager by filling the Secret that a Certificate names, and the Gateway by
//! its word in a route's status. That a NetworkPolicy is enforced is not tested: the cluster's network plugin enforces none.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crds::TranscriptionService;
use e2e::certificates::Authority;
use e2e::client::{Recording, clear_recordings, port_forward};
use e2e::kinds::{Definitions, objects, until, until_gone};
use e2e::manifest::{example, has, ready, repository, service};
use e2e::{Found, TestNamespace, audit, in_namespace, wait_for};
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// What a program gave.
#[derive(Debug)]
struct Told {
    code: i32,
    stdout: String,
    stderr: String,
}

async fn run(program: &str, arguments: &[&str], input: &str) -> Told {
    let mut child = Command::new(program)
        .args(arguments)
        .env("PATH", search_path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("failed to run {program}: {e}"));
    let mut stdin = child.stdin.take().unwrap();
    // Who does not read its input has closed it.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    Told {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// With this build's plugin in it: tests lie in `deps` below the programs.
fn search_path() -> String {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    format!(
        "{}:{}",
        folder.display(),
        std::env::var("PATH").unwrap_or_default()
    )
}

async fn kubectl(arguments: &[&str]) -> String {
    let told = run("kubectl", arguments, "").await;
    assert_eq!(told.code, 0, "kubectl {arguments:?}: {told:?}");
    told.stdout
}

fn path_of(recording: &Recording) -> String {
    let path = repository("models/whisper-nano-digits/samples").join(&recording.file);
    path.to_str().unwrap().to_owned()
}

fn keys(name: &str, keys: &str) -> Secret {
    let object = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": { "api-keys": keys } });
    serde_json::from_value(object).unwrap()
}

/// A service that speaks TLS, as a client outside sees it through a forwarded port.
struct Client {
    folder: TempDir,
    name: String,
    recording: Recording,
}

impl Client {
    fn new(name: String) -> Client {
        Client {
            folder: tempfile::tempdir().unwrap(),
            name,
            recording: clear_recordings().remove(0),
        }
    }

    /// The file with the authority that is trusted from now on.
    fn authority(&self, pem: &str) -> PathBuf {
        let path = self.folder.path().join("authority.pem");
        std::fs::write(&path, pem).unwrap();
        path
    }

    /// The status code and the body of a transcription over HTTPS.
    async fn transcribe(&self, address: &str, authority: &str, key: &str) -> Told {
        let port = address.rsplit(':').next().unwrap();
        let authority = self.authority(authority);
        let arguments = [
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--cacert",
            authority.to_str().unwrap(),
            "--resolve",
            &format!("{}:{port}:127.0.0.1", self.name),
            "--header",
            &format!("authorization: Bearer {key}"),
            "--form",
            &format!("file=@{}", path_of(&self.recording)),
            "--form",
            "response_format=text",
            "--write-out",
            "%{http_code}",
            &format!("https://{}:{port}/v1/audio/transcriptions", self.name),
        ]
        .map(str::to_owned);
        run("curl", &arguments.each_ref().map(String::as_str), "").await
    }
}

async fn pods(namespace: &TestNamespace) -> Vec<(Option<String>, i32)> {
    let serving = ListParams::default().labels("app.kubernetes.io/component=server");
    let pods = namespace.api::<Pod>().list(&serving).await.unwrap();
    let restarts = |pod: &Pod| {
        let containers = pod
            .status
            .iter()
            .flat_map(|status| status.container_statuses.iter().flatten());
        containers.map(|one| one.restart_count).sum()
    };
    pods.iter().map(|pod| (pod.uid(), restarts(pod))).collect()
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_service_with_tls_and_keys_lets_in_whom_it_should_and_takes_new_ones_without_a_restart() {
    in_namespace(|namespace| async move {
        let object: TranscriptionService = serde_json::from_value(example("tls.yaml").remove(0)).unwrap();
        namespace.apply(&object).await;
        namespace
            .until::<TranscriptionService>("tls", "to wait for its Secrets", |service| {
                let status = service.status.clone().unwrap_or_default();
                has(&status.conditions, "Ready", "False", Some("SecretNotFound"))
            })
            .await;

        let name = format!("tls.{}.svc", namespace.name);
        let (first, second) = (Authority::new("the first"), Authority::new("the second"));
        let pair = first.sign(std::slice::from_ref(&name));
        namespace.apply(&pair.secret("tls-cert")).await;
        namespace
            .apply(&keys("tls-keys", "# ours\nkey-of-the-first-hour\n"))
            .await;
        let served = namespace
            .until::<TranscriptionService>("tls", "to be ready", ready)
            .await;
        let endpoint = served.status.unwrap().endpoint.unwrap();
        assert_eq!(endpoint.http, format!("https://{name}:8080"));
        let before = pods(&namespace).await;

        let client = Client::new(name.clone());
        let http = port_forward(&namespace, "tls", 8080).await;
        let text = format!("{}\n200", client.recording.text);
        let good = client
            .transcribe(&http.address, &first.pem(), "key-of-the-first-hour")
            .await;
        assert_eq!(good.stdout.trim(), text.trim(), "{good:?}");
        let wrong = client
            .transcribe(&http.address, &first.pem(), "key-of-nobody")
            .await;
        assert!(wrong.stdout.ends_with("401"), "{wrong:?}");
        let distrusted = client
            .transcribe(&http.address, &second.pem(), "key-of-the-first-hour")
            .await;
        assert_ne!(distrusted.code, 0, "another authority's: {distrusted:?}");
        let plain = run(
            "curl",
            &[
                "--silent",
                "--max-time",
                "10",
                &format!("http://{}/v1/models", http.address),
            ],
            "",
        )
        .await;
        assert_ne!(plain.code, 0, "plain text: {plain:?}");

        grpc(&namespace, &client, &first.pem()).await;
        plugin(&namespace, &client).await;

        // Both Secrets change: new connections get the new certificate, and only the new key opens.
        let renewed = second.sign(std::slice::from_ref(&name));
        namespace.apply(&renewed.secret("tls-cert")).await;
        namespace.apply(&keys("tls-keys", "key-of-the-second-hour")).await;
        wait_for("the new certificate and key to be taken", || async {
            let told = client
                .transcribe(&http.address, &second.pem(), "key-of-the-second-hour")
                .await;
            match told.stdout.ends_with("200") {
                true => Found::Yes(()),
                false => Found::NotYet(format!("{told:?}")),
            }
        })
        .await;
        let old = client
            .transcribe(&http.address, &second.pem(), "key-of-the-first-hour")
            .await;
        assert!(old.stdout.ends_with("401"), "{old:?}");
        assert_eq!(pods(&namespace).await, before, "the same pods, never restarted");

        let private = [&pair.key, &renewed.key].map(|pem| pem.lines().nth(1).unwrap().to_owned());
        told_to_nobody(
            &namespace,
            &[
                &private[0],
                &private[1],
                "key-of-the-first-hour",
                "key-of-the-second-hour",
            ],
        )
        .await;
    })
    .await;
}

/// gRPC over TLS, with and without a key.
async fn grpc(namespace: &TestNamespace, client: &Client, authority: &str) {
    let forward = port_forward(namespace, "tls", 50051).await;
    let authority = client.authority(authority);
    let call = async |more: &[&str]| {
        let usual = [
            "-cacert",
            authority.to_str().unwrap(),
            "-authority",
            &client.name,
            "-max-time",
            "60",
        ];
        let method = [forward.address.as_str(), "parlance.v1.Transcription/GetModel"];
        run("grpcurl", &[&usual, more, &method].concat(), "").await
    };
    let good = call(&["-H", "authorization: Bearer key-of-the-first-hour"]).await;
    assert!(
        good.code == 0 && good.stdout.contains("whisper-nano-digits"),
        "{good:?}"
    );
    let none = call(&[]).await;
    assert!(none.stderr.contains("Unauthenticated"), "{none:?}");
}

/// `kubectl parlance` reads the authority from the Secret, or from a file, and does not take any other.
async fn plugin(namespace: &TestNamespace, client: &Client) {
    let file = client.folder.path().join("key");
    std::fs::write(&file, "key-of-the-first-hour").unwrap();
    let path = path_of(&client.recording);
    let transcribe = async |more: &[&str]| {
        let usual = [
            "parlance",
            "transcribe",
            &path,
            "--service",
            "tls",
            "--quiet",
            "-n",
            &namespace.name,
        ];
        let key = ["--api-key-file", file.to_str().unwrap()];
        run("kubectl", &[&usual[..], &key, more].concat(), "").await
    };
    let by_secret = transcribe(&[]).await;
    assert_eq!(by_secret.stdout.trim(), client.recording.text, "{by_secret:?}");
    let stranger = client.authority(&Authority::new("a stranger").pem());
    let distrusted = transcribe(&["--ca-file", stranger.to_str().unwrap()]).await;
    assert!(
        distrusted.code == 1 && distrusted.stderr.contains("--ca-file"),
        "{distrusted:?}"
    );
    let other_name = transcribe(&["--server-name", "other.example.com"]).await;
    assert!(
        other_name.code == 1 && other_name.stderr.contains("--server-name"),
        "{other_name:?}"
    );
    let anybody = transcribe(&["--insecure-skip-verify", "--server-name", "other.example.com"]).await;
    assert_eq!(anybody.stdout.trim(), client.recording.text, "{anybody:?}");
    let top = run(
        "kubectl",
        &[
            "parlance",
            "top",
            "tsvc/tls",
            "-n",
            &namespace.name,
            "--interval",
            "100ms",
        ],
        "",
    )
    .await;
    assert!(top.code == 0 && top.stdout.contains("Ready"), "{top:?}");
}

/// Neither status, children, Events nor logs hold what the Secrets do.
async fn told_to_nobody(namespace: &TestNamespace, secrets: &[&str]) {
    let within = ["-n", namespace.name.as_str()];
    let operator = [
        "-n",
        e2e::operator::NAMESPACE,
        "logs",
        "--tail=-1",
        "-l",
        e2e::operator::SELECTOR,
    ];
    let pods = [
        "logs",
        "--tail=-1",
        "--all-containers",
        "-l",
        "app.kubernetes.io/component=server",
    ];
    let children = [
        "get",
        "-o",
        "yaml",
        "tsvc,deployments,replicasets,pods,services,configmaps,events",
    ];
    for arguments in [
        operator.to_vec(),
        [&within[..], &pods].concat(),
        [&within[..], &children].concat(),
    ] {
        let text = kubectl(&arguments).await;
        assert!(text.len() > 100, "{arguments:?} shows nothing: {text}");
        for secret in secrets {
            assert!(!text.contains(secret), "{arguments:?} shows what a Secret holds");
        }
    }
}

fn condition(
    type_: &'static str,
    status: &'static str,
    reason: &'static str,
) -> impl Fn(&TranscriptionService) -> Result<(), String> {
    move |service| {
        has(
            &service.status.clone().unwrap_or_default().conditions,
            type_,
            status,
            Some(reason),
        )
    }
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_certificate_is_asked_of_cert_manager_and_nothing_serves_before_it_comes() {
    let Some(definitions) = Definitions::of("PARLANCE_CERT_MANAGER_CRDS") else {
        return;
    };
    definitions.take_away().await;
    let kinds = definitions.clone();
    in_namespace(|namespace| async move {
        let tls = json!({ "endpoint": { "tls": { "certManagerIssuerRef": { "name": "ours" } }, "ingress": { "host": "a.example.com" } } });
        namespace.apply(&service("issued", tls)).await;
        let missing = condition("Ready", "False", "CertManagerUnavailable");
        namespace.until::<TranscriptionService>("issued", "to say that cert-manager is missing", missing).await;

        kinds.bring().await;
        let certificates = objects(&namespace, "cert-manager.io", "v1", "Certificate");
        let certificate = until(&certificates, "issued-tls", "the Certificate", |_| true).await;
        let spec = &certificate.data["spec"];
        assert_eq!(spec["issuerRef"]["name"], "ours");
        let names: Vec<String> = serde_json::from_value(spec["dnsNames"].clone()).unwrap();
        let name = format!("issued.{}.svc", namespace.name);
        assert!(names.contains(&name) && names.contains(&"a.example.com".to_owned()), "{names:?}");

        let verdict = |status: &str, message: &str| {
            let now = "2026-01-01T00:00:00Z";
            Patch::Merge(json!({ "status": { "conditions": [
                { "type": "Ready", "status": status, "reason": "Test", "message": message, "lastTransitionTime": now }] } }))
        };
        let params = PatchParams::default();
        let no = verdict("False", "Referenced issuer ours not found");
        certificates.patch_status("issued-tls", &params, &no).await.unwrap();
        let told = namespace
            .until::<TranscriptionService>("issued", "to say what cert-manager says", condition("Ready", "False", "CertificateNotReady"))
            .await;
        let message = told.status.unwrap().message.unwrap();
        assert!(message.contains("Referenced issuer ours not found"), "{message}");

        let authority = Authority::new("the issuer");
        namespace.apply(&authority.sign(&names).secret("issued-tls")).await;
        certificates.patch_status("issued-tls", &params, &verdict("True", "up to date")).await.unwrap();
        namespace.until::<TranscriptionService>("issued", "to be ready", ready).await;
        let client = Client::new(name);
        let forward = port_forward(&namespace, "issued", 8080).await;
        let answer = client.transcribe(&forward.address, &authority.pem(), "none").await;
        assert!(answer.stdout.starts_with(&client.recording.text), "{answer:?}");

        // Nothing else happens now: that it was changed is known from the watch.
        let others = Patch::Merge(json!({ "spec": { "dnsNames": ["b.example.com"] } }));
        certificates.patch("issued-tls", &params, &others).await.unwrap();
        let same = |certificate: &kube::core::DynamicObject| certificate.data["spec"]["dnsNames"] == json!(names);
        until(&certificates, "issued-tls", "its names to be put back", same).await;

        namespace
            .merge::<TranscriptionService>("issued", json!({ "spec": { "endpoint": { "tls": null } } }))
            .await;
        until_gone(&certificates, "issued-tls").await;
    })
    .await;
    definitions.take_away().await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn routes_are_made_when_the_gateway_api_comes_and_put_back_when_they_are_edited() {
    let Some(definitions) = Definitions::of("PARLANCE_GATEWAY_CRDS") else {
        return;
    };
    definitions.take_away().await;
    let kinds = definitions.clone();
    in_namespace(|namespace| async move {
        let object: TranscriptionService = serde_json::from_value(example("gateway.yaml").remove(0)).unwrap();
        namespace.apply(&object).await;
        let lacks = |service: &TranscriptionService| {
            ready(service)?;
            condition("Degraded", "True", "GatewayUnavailable")(service)
        };
        namespace.until::<TranscriptionService>("gateway", "to serve and say what is missing", lacks).await;

        kinds.bring().await;
        let (http, grpc) = (
            objects(&namespace, "gateway.networking.k8s.io", "v1", "HTTPRoute"),
            objects(&namespace, "gateway.networking.k8s.io", "v1", "GRPCRoute"),
        );
        let route = until(&http, "gateway", "the HTTPRoute", |_| true).await;
        assert_eq!(route.data["spec"]["hostnames"], json!(["speech.example.com"]));
        assert_eq!(route.data["spec"]["rules"][0]["backendRefs"][0]["port"], 8080);
        let route = until(&grpc, "gateway", "the GRPCRoute", |_| true).await;
        assert_eq!(route.data["spec"]["rules"][0]["backendRefs"][0]["port"], 50051);
        let whole = namespace
            .until::<TranscriptionService>("gateway", "to lack nothing", condition("Degraded", "False", "AsExpected"))
            .await;
        let hosts = whole.status.unwrap().endpoint.unwrap().hosts;
        assert_eq!(hosts, ["grpc.speech.example.com", "speech.example.com"]);

        let edit = Patch::Merge(json!({ "spec": { "hostnames": ["other.example.com"] } }));
        http.patch("gateway", &PatchParams::default(), &edit).await.unwrap();
        until(&http, "gateway", "its name to be put back", |route| {
            route.data["spec"]["hostnames"] == json!(["speech.example.com"])
        })
        .await;
        let old = grpc.get("gateway").await.unwrap().uid();
        grpc.delete("gateway", &DeleteParams::default()).await.unwrap();
        until(&grpc, "gateway", "it to come back", |route| route.uid() != old).await;

        let refused = Patch::Merge(json!({ "status": { "parents": [{
            "parentRef": { "name": "public", "namespace": "gateways" }, "controllerName": "example.com/test",
            "conditions": [{ "type": "Accepted", "status": "False", "reason": "NotAllowedByListeners", "message": "no listener takes it",
                             "lastTransitionTime": "2026-01-01T00:00:00Z" }] }] } }));
        http.patch_status("gateway", &PatchParams::default(), &refused).await.unwrap();
        namespace
            .until::<TranscriptionService>("gateway", "to say what the Gateway says", condition("Degraded", "True", "RouteNotAccepted"))
            .await;

        // One name for both: the HTTPRoute leads gRPC too, as the real schema takes it.
        let shared = json!({ "spec": { "endpoint": { "gateway": { "grpcHostnames": null } } } });
        namespace.merge::<TranscriptionService>("gateway", shared).await;
        until_gone(&grpc, "gateway").await;
        until(&http, "gateway", "it to lead gRPC", |route| {
            route.data["spec"]["rules"][1]["backendRefs"][0]["port"] == 50051
        })
        .await;
        let none = json!({ "spec": { "endpoint": { "gateway": null } } });
        namespace.merge::<TranscriptionService>("gateway", none).await;
        until_gone(&http, "gateway").await;
    })
    .await;
    definitions.take_away().await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn ingresses_and_a_network_policy_are_made_put_back_left_alone_at_rest_and_removed() {
    in_namespace(|namespace| async move {
        let wanted = json!({
            "endpoint": { "ingress": { "host": "a.example.com", "className": "nginx", "tlsSecretName": "a" } },
            "security": { "networkPolicy": { "allowFrom": [{ "namespaceSelector": {} }] } }
        });
        namespace.apply(&service("fenced", wanted)).await;
        let served = namespace.until::<TranscriptionService>("fenced", "to be ready", ready).await;
        assert_eq!(served.status.unwrap().endpoint.unwrap().hosts, ["a.example.com"]);
        let backend = |ingress: &Ingress| -> Value {
            let whole = serde_json::to_value(ingress).unwrap();
            whole["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"]["number"].clone()
        };
        let (ingresses, policies) = (namespace.api::<Ingress>(), namespace.api::<NetworkPolicy>());
        assert_eq!(backend(&ingresses.get("fenced").await.unwrap()), 8080);
        assert_eq!(backend(&ingresses.get("fenced-grpc").await.unwrap()), 50051);
        let policy = policies.get("fenced").await.unwrap();
        assert_eq!(policy.spec.unwrap().policy_types.unwrap(), ["Ingress", "Egress"]);

        at_rest(&namespace, "fenced").await;

        let open = [50051, 8080, 22].map(|port| json!({ "port": port, "protocol": "TCP" }));
        let wider = json!([{ "from": [{ "namespaceSelector": {} }], "ports": open }]);
        let wider = Patch::Merge(json!({ "spec": { "ingress": wider } }));
        policies.patch("fenced", &PatchParams::default(), &wider).await.unwrap();
        namespace
            .until::<NetworkPolicy>("fenced", "to be as narrow as before", |policy| {
                let ports = policy.spec.clone().unwrap().ingress.unwrap()[0].ports.clone().unwrap().len();
                if ports == 2 { Ok(()) } else { Err(format!("{ports} ports")) }
            })
            .await;

        let none = json!({ "spec": { "endpoint": { "ingress": null }, "security": null } });
        namespace.merge::<TranscriptionService>("fenced", none).await;
        namespace.until_gone::<Ingress>("fenced").await;
        namespace.until_gone::<Ingress>("fenced-grpc").await;
        namespace.until_gone::<NetworkPolicy>("fenced").await;
    })
    .await;
}

/// That the operator, made to look again, writes no child again.
async fn at_rest(namespace: &TestNamespace, name: &str) {
    let children = ["networkpolicies", "ingresses", "services", "deployments"];
    let writes = || {
        let ours = audit::operators_writes(&namespace.name)?.into_iter();
        let of_children = ours.filter(|one| children.contains(&one.resource.as_str()));
        Some(of_children.count())
    };
    let Some(before) = writes() else {
        return;
    };
    assert_eq!(before, 5, "each child is written once, the Ingress twice");
    e2e::operator::look_again(namespace, name, 2).await;
    assert_eq!(writes(), Some(5), "the operator wrote at rest");
}
