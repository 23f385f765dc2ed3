//! kubectl alone, without the plugin, says and does what people expect of an object: docs/plain-kubectl.md shows the same commands.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::process::Command;

use crds::TranscriptionService;
use e2e::manifest::example;
use e2e::{TestNamespace, in_namespace};
use k8s_openapi::api::apps::v1::Deployment;

const SERVICE: &str = "tsvc/quickstart";

/// What kubectl prints, which must have worked.
fn kubectl(namespace: &TestNamespace, arguments: &[&str]) -> String {
    let output = Command::new("kubectl")
        .args(["-n", &namespace.name])
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "kubectl {}: {}{}",
        arguments.join(" "),
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make e2e"]
async fn plain_kubectl_waits_scales_and_tells() {
    in_namespace(|namespace| async move {
        let service: TranscriptionService =
            serde_json::from_value(example("quickstart.yaml").remove(0)).unwrap();
        namespace.apply(&service).await;
        let kubectl = |arguments: &[&str]| kubectl(&namespace, arguments);
        let ready = ["wait", "--for=condition=Ready", SERVICE, "--timeout=5m"];
        assert_has(&kubectl(&ready), &["condition met"]);
        let wide = kubectl(&["get", SERVICE, "-o", "wide"]);
        assert_has(
            &wide,
            &[
                "MESSAGE",
                "whisper-nano-digits",
                "quickstart.",
                "1 of 1 pods serve",
            ],
        );

        kubectl(&["scale", SERVICE, "--replicas=2"]);
        kubectl(&[
            "wait",
            "--for=jsonpath={.status.readyReplicas}=2",
            SERVICE,
            "--timeout=5m",
        ]);
        let rolled_out = kubectl(&["rollout", "status", "deployment/quickstart", "--timeout=5m"]);
        assert_has(&rolled_out, &["successfully rolled out"]);

        // Ready is of the spec that was just written, not of the one before: kubectl minds observedGeneration.
        let change = r#"{"spec": {"transcription": {"beamSize": 2}}}"#;
        kubectl(&["patch", SERVICE, "--type=merge", "-p", change]);
        kubectl(&ready);
        let deployment = namespace.api::<Deployment>().get("quickstart").await.unwrap();
        let (spec, status) = (deployment.spec.unwrap(), deployment.status.unwrap());
        let flags = spec.template.spec.unwrap().containers.remove(0).args.unwrap();
        assert!(flags.iter().any(|flag| flag.contains("beam-size")), "{flags:?}");
        let now = deployment.metadata.generation;
        assert_eq!(
            (status.observed_generation, status.updated_replicas),
            (now, Some(2))
        );

        let described = kubectl(&["describe", SERVICE]);
        assert_has(
            &described,
            &[
                "Conditions:",
                "Type:                  Ready",
                "Events:",
                "2 of 2 pods serve",
            ],
        );
        let explained = kubectl(&["explain", "tsvc.spec.autoscaling"]);
        assert_has(
            &explained,
            &["DESCRIPTION:", "maxReplicas", "-required-", "Most pods."],
        );
    })
    .await;
}
