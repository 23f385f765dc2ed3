//! What the apiserver takes and what it refuses, with which words: every CEL rule has an object that breaks it.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use crds::{ModelDeployment, TranscriptionService};
use e2e::manifest::{example, merge};
use e2e::{TestNamespace, in_namespace};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

/// Applies an object in a dry run, with unknown fields refused as `kubectl apply` does; the apiserver's words when it refuses.
async fn refusal(namespace: &TestNamespace, object: &Value) -> Option<String> {
    let name = object["metadata"]["name"].as_str().unwrap();
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::apply("e2e").force().validation_strict()
    };
    let patch = Patch::Apply(object);
    let answer = match object["kind"].as_str().unwrap() {
        "TranscriptionService" => namespace
            .api::<TranscriptionService>()
            .patch(name, &params, &patch)
            .await
            .map(drop),
        "ModelDeployment" => namespace
            .api::<ModelDeployment>()
            .patch(name, &params, &patch)
            .await
            .map(drop),
        "Job" => namespace
            .api::<Job>()
            .patch(name, &params, &patch)
            .await
            .map(drop),
        "PersistentVolumeClaim" => namespace
            .api::<PersistentVolumeClaim>()
            .patch(name, &params, &patch)
            .await
            .map(drop),
        kind => panic!("unknown kind {kind}"),
    };
    answer.err().map(|error| error.to_string())
}

fn service(additions: Value) -> Value {
    let mut object = json!({
        "apiVersion": "parlance.dev/v1alpha1", "kind": "TranscriptionService", "metadata": { "name": "a" },
        "spec": { "model": { "source": { "bundled": { "name": "whisper-nano-digits" } } } }
    });
    merge(&mut object, additions);
    object
}

fn model(additions: Value) -> Value {
    let mut object = json!({
        "apiVersion": "parlance.dev/v1alpha1", "kind": "ModelDeployment", "metadata": { "name": "a" },
        "spec": { "source": { "bundled": { "name": "whisper-nano-digits" } } }
    });
    merge(&mut object, additions);
    object
}

/// A service with such an `endpoint`.
fn reached(endpoint: Value) -> Value {
    service(json!({ "spec": { "endpoint": endpoint } }))
}

/// A service with such a `networkPolicy`.
fn fenced(policy: Value) -> Value {
    service(json!({ "spec": { "security": { "networkPolicy": policy } } }))
}

/// A service with such a `transcription`.
/// A source of one file.
fn file(path: &str, url: &str) -> Value {
    json!({ "http": { "files": [{ "path": path, "url": url }] } })
}

/// A model with such an `evaluation`, and a threshold unless that is taken away.
fn evaluated(additions: Value) -> Value {
    let mut object = model(json!({ "spec": { "evaluation": { "samples": {}, "threshold": 0.15 } } }));
    merge(&mut object["spec"]["evaluation"], additions);
    object
}

/// A model of tensors, with additions to its spec.
fn tensors(additions: Value) -> Value {
    let mut object = from(file("model.onnx", "http://h/model.onnx"));
    object["spec"]["format"] = json!("onnx");
    merge(&mut object["spec"], additions);
    object
}

/// A model of this source alone.
fn from(source: Value) -> Value {
    let mut model = model(json!({ "spec": { "source": { "bundled": null } } }));
    model["spec"]["source"] = source;
    model
}

/// A service with such a canary.
fn canary(block: Value) -> Value {
    service(json!({ "spec": { "canary": block } }))
}

fn transcribing(settings: Value) -> Value {
    service(json!({ "spec": { "transcription": settings } }))
}

/// Rules over a change, which the test of changes breaks.
const TRANSITIONS: [&str; 4] = [
    "format cannot be changed",
    "cache.size cannot be made smaller",
    "cache.storageClassName cannot be changed",
    "cache.accessMode cannot be changed",
];

/// The message of every CEL rule of both kinds.
fn rules() -> Vec<String> {
    fn collect(schema: &Value, rules: &mut Vec<String>) {
        for (key, value) in schema.as_object().into_iter().flatten() {
            match value {
                Value::Array(found) if key == "x-kubernetes-validations" => {
                    rules.extend(
                        found
                            .iter()
                            .map(|rule| rule["message"].as_str().unwrap().to_owned()),
                    );
                }
                value => collect(value, rules),
            }
        }
    }
    let mut rules = Vec::new();
    for (_, crd) in crds::all_crds() {
        collect(
            &serde_json::to_value(&crd.spec.versions[0].schema).unwrap(),
            &mut rules,
        );
    }
    assert!(rules.len() >= 20, "{rules:?}");
    rules
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn good_objects_are_taken() {
    in_namespace(|namespace| async move {
        let mut good = vec![
            service(json!({})),
            service(json!({ "spec": { "model": null, "modelRef": { "name": "x" } } })),
            service(json!({ "spec": { "replicas": 0 } })),
            service(json!({ "spec": { "autoscaling": { "minReplicas": 2, "maxReplicas": 2, "targetCPUUtilization": 70 } } })),
            service(json!({ "spec": { "autoscaling": { "minReplicas": 0, "maxReplicas": 2, "targetCPUUtilization": 70, "idleAfter": "5m" } } })),
            service(json!({ "spec": { "autoscaling": { "maxReplicas": 2, "targetMemoryUtilization": 70 } } })),
            service(json!({ "spec": { "gpu": { "products": ["Tesla-T4"], "spot": "Require" } } })),
            service(json!({ "spec": { "disruption": { "minAvailable": "50%" } } })),
            service(json!({ "spec": { "precision": "int8" } })),
            reached(json!({ "tls": { "secretName": "a", "clientCASecretRef": { "name": "b", "key": "c" } }, "auth": { "apiKeysSecretRef": { "name": "d" } } })),
            reached(json!({ "tls": { "certManagerIssuerRef": { "name": "a", "kind": "AWSPCAIssuer", "group": "awspca.cert-manager.io" } } })),
            reached(json!({ "ingress": { "host": "*.example.com", "annotations": { "a/b": "c" } } })),
            reached(json!({ "gateway": { "parentRefs": [{ "name": "a", "namespace": "b", "sectionName": "c", "port": 443 }] } })),
            reached(json!({ "gateway": { "parentRefs": [{ "name": "a" }], "hostnames": ["a.b"], "grpcHostnames": ["c.b"] } })),
            fenced(json!({})),
            fenced(json!({ "allowFrom": [{ "podSelector": {} }, { "namespaceSelector": {}, "podSelector": { "matchLabels": { "a": "b" } } }],
                "allowMetricsFrom": [{ "ipBlock": { "cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"] } }] })),
            service(json!({ "spec": { "monitoring": { "podMonitor": { "caSecretRef": { "name": "a" } } } } })),
            model(json!({ "spec": { "serving": { "endpoint": { "tls": { "secretName": "a" } }, "security": { "networkPolicy": {} } } } })),
            service(json!({ "spec": { "resources": { "limits": { "memory": "1Gi", "cpu": 2 } } } })),
            service(json!({ "spec": { "transcription": { "chunkDuration": "20s", "chunkOverlap": "1.5s" } } })),
            transcribing(json!({
                "longForm": "Sequential", "wordTimestamps": true,
                "vad": { "enabled": true, "threshold": 0.01, "minSpeech": "250ms", "minSilence": "0.1s", "speechPad": "1h" },
                "temperatures": [0, 0.25, 1], "beamSize": 32, "bestOf": 32, "compressionRatioThreshold": 2.5,
                "logprobThreshold": -1, "noSpeechThreshold": 0.75, "initialPrompt": "Names: Åsa,\n$(HOME).",
                "carryInitialPrompt": true, "hotwords": "x".repeat(4096), "conditionOnPreviousText": false
            })),
            canary(json!({ "image": "a", "weight": 50, "analysis": {} })),
            canary(json!({ "modelRef": { "name": "a" }, "transcription": { "vad": { "threshold": 0.4 }, "chunkOverlap": "2s" } })),
            transcribing(json!({ "longForm": "Sequential", "chunkDuration": "30000ms" })),
            transcribing(json!({ "longForm": "Chunked", "chunkDuration": "10s", "initialPrompt": "a" })),
            transcribing(json!({ "vad": {}, "beamSize": 2, "compressionRatioThreshold": 0 })),
            transcribing(json!({ "vad": { "enabled": false }, "temperatures": [0], "beamSize": 2 })),
            transcribing(json!({ "chunkSilence": "500ms", "encoderTail": "30s", "channels": "Separate", "beamSize": 2, "patience": 10, "lengthPenalty": 0.5,
                "seed": 7, "suppressTokens": [], "suppressBlank": false, "maxInitialTimestamp": "30s", "maxNewTokens": 1,
                "prependedPunctuation": "", "appendedPunctuation": ".,)" })),
            transcribing(json!({ "longForm": "Sequential", "hallucinationSilenceThreshold": "2s", "suppressTokens": [-1, 50257] })),
            service(json!({ "spec": { "autoscaling": { "maxReplicas": 2, "targetQueuedAudioSeconds": 60,
                "keda": { "serverAddress": "https://p.example:9090/x", "query": "sum(a)", "authenticationRef": "t", "pollingInterval": 5 } } } })),
            service(json!({ "spec": { "autoscaling": { "maxReplicas": 2, "targetCPUUtilization": 70 },
                "verticalPodAutoscaler": { "updateMode": "Recreate", "controlledResources": ["memory"], "maxAllowed": { "memory": "1Gi", "cpu": 2 } } } })),
            service(json!({ "spec": { "autoscaling": { "maxReplicas": 2, "targetCPUUtilization": 70 }, "verticalPodAutoscaler": {} } })),
            service(json!({ "spec": { "gpu": { "memoryAtLeast": "16Gi", "sharing": "MPS", "resourceName": "nvidia.com/mig-1g.5gb" } } })),
            service(json!({ "spec": { "gpu": { "deviceClassName": "gpu.nvidia.com", "count": 2 } } })),
            service(json!({ "spec": { "gpu": { "resourceClaimTemplateName": "t" } } })),
            service(json!({ "spec": { "podTemplate": { "spec": { "hostAliases": [{ "ip": "10.0.0.1", "hostnames": ["a"] }] } } } })),
            model(json!({})),
            model(json!({ "spec": { "serving": { "transcription": { "vad": { "threshold": 1 }, "temperatures": [1, 0.5], "bestOf": 5 } } } })),
            model(json!({ "spec": { "cache": { "size": "2Gi", "reclaim": "Retain" }, "digest": format!("sha256:{}", "a".repeat(64)) } })),
            model(json!({ "spec": { "source": { "bundled": null, "persistentVolumeClaim": { "claimName": "c", "path": "a/b..c" } } } })),
            model(json!({ "spec": { "serving": { "replicas": 2 } } })),
            evaluated(json!({ "samples": { "configMap": { "name": "calls" } }, "threshold": 0 })),
            evaluated(json!({ "samples": { "persistentVolumeClaim": { "claimName": "c", "path": "a/b" } }, "threshold": 1, "metric": "wer" })),
            tensors(json!({ "serving": { "transcription": { "timeout": "5s", "maxConcurrent": 2 },
                "autoscaling": { "maxReplicas": 2, "targetCPUUtilization": 70 } } })),
            tensors(json!({ "evaluation": { "metric": "similarity", "samples": { "configMap": { "name": "a" } } } })),
            from(json!({ "image": { "reference": "h:5000/a/b@sha256:00", "pullPolicy": "Always", "path": "a/b" } })),
            from(json!({ "huggingFace": { "repo": "onnx-community/whisper-large-v3-turbo", "revision": "refs/pr/1", "variant": "q8",
                "tokenSecretRef": { "name": "hub", "key": "token" }, "endpoint": "https://mirror.example.com:8443/hub" } })),
            from(json!({ "http": { "files": [
                { "path": "onnx/encoder_model.onnx_data", "url": "http://h/a,b?c=$d", "sha256": "0".repeat(64) },
                { "path": "config.json", "url": "https://h/c" } ] } })),
            from(json!({ "s3": { "bucket": "models", "prefix": "a/b..c/", "variant": "int8", "region": "eu-west-1",
                "endpoint": "http://minio:9000", "credentialsSecretRef": { "name": "keys" } } })),
        ];
        for file in std::fs::read_dir(e2e::manifest::repository("examples")).unwrap() {
            good.extend(example(file.unwrap().file_name().to_str().unwrap()));
        }
        for object in good {
            assert_eq!(refusal(&namespace, &object).await, None, "{object}");
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn bad_objects_are_refused_with_a_sentence() {
    in_namespace(|namespace| async move {
        let bad = [
            (service(json!({ "spec": { "model": null } })), "exactly one of modelRef and model must be set"),
            (service(json!({ "spec": { "modelRef": { "name": "x" } } })), "exactly one of modelRef and model must be set"),
            (service(json!({ "spec": { "model": { "source": { "bundled": null } } } })), "exactly one source must be set"),
            (
                service(json!({ "spec": { "model": { "source": { "persistentVolumeClaim": { "claimName": "c" } } } } })),
                "exactly one source must be set",
            ),
            (
                service(json!({ "spec": { "replicas": 1, "autoscaling": { "maxReplicas": 2, "targetCPUUtilization": 70 } } })),
                "replicas and autoscaling cannot both be set",
            ),
            (
                service(json!({ "spec": { "autoscaling": { "minReplicas": 1, "maxReplicas": 2, "targetCPUUtilization": 70, "idleAfter": "5m" } } })),
                "autoscaling.idleAfter needs autoscaling.minReplicas: 0",
            ),
            (
                service(json!({ "spec": { "autoscaling": { "minReplicas": 0, "maxReplicas": 2, "targetCPUUtilization": 70, "idleAfter": "0s" } } })),
                "autoscaling.idleAfter must be at least 1s",
            ),
            (
                service(json!({ "spec": { "autoscaling": { "minReplicas": 0, "maxReplicas": 2, "targetQueuedAudioSeconds": 70, "keda": { "serverAddress": "http://a" } } } })),
                "autoscaling.keda needs autoscaling.minReplicas of 1 or more",
            ),
            (
                service(json!({ "spec": { "autoscaling": { "minReplicas": 0, "maxReplicas": 2, "targetCPUUtilization": 70 }, "endpoint": { "tls": { "secretName": "a", "clientCASecretRef": { "name": "b" } } } } })),
                "autoscaling.minReplicas: 0 and endpoint.tls.clientCASecretRef cannot both be set",
            ),
            (
                service(json!({ "spec": { "autoscaling": { "minReplicas": 3, "maxReplicas": 2, "targetCPUUtilization": 70 } } })),
                "autoscaling.minReplicas must not be above autoscaling.maxReplicas",
            ),
            (
                service(json!({ "spec": { "autoscaling": { "maxReplicas": 2 } } })),
                "autoscaling needs targetCPUUtilization, targetMemoryUtilization or targetQueuedAudioSeconds",
            ),
            (
                service(json!({ "spec": { "autoscaling": { "maxReplicas": 2, "targetCPUUtilization": 70, "keda": { "serverAddress": "http://p" } } } })),
                "autoscaling.keda needs autoscaling.targetQueuedAudioSeconds",
            ),
            (
                service(json!({ "spec": { "autoscaling": { "maxReplicas": 2, "targetQueuedAudioSeconds": 1, "keda": { "serverAddress": "p:9090" } } } })),
                "spec.autoscaling.keda.serverAddress",
            ),
            (
                service(json!({ "spec": { "autoscaling": { "maxReplicas": 2, "targetCPUUtilization": 70 }, "verticalPodAutoscaler": { "updateMode": "Initial" } } })),
                "autoscaling.targetCPUUtilization and a verticalPodAutoscaler that sets cpu work against each other",
            ),
            (
                service(json!({ "spec": { "autoscaling": { "maxReplicas": 2, "targetMemoryUtilization": 70 },
                    "verticalPodAutoscaler": { "updateMode": "Auto", "controlledResources": ["memory"] } } })),
                "autoscaling.targetMemoryUtilization and a verticalPodAutoscaler that sets memory work against each other",
            ),
            (service(json!({ "spec": { "verticalPodAutoscaler": { "updateMode": "Sometimes" } } })), "spec.verticalPodAutoscaler.updateMode"),
            (
                service(json!({ "spec": { "gpu": { "deviceClassName": "a", "resourceClaimTemplateName": "b" } } })),
                "gpu.deviceClassName and gpu.resourceClaimTemplateName cannot both be set",
            ),
            (
                service(json!({ "spec": { "gpu": { "count": 2, "resourceClaimTemplateName": "b" } } })),
                "gpu.count cannot be set with gpu.resourceClaimTemplateName",
            ),
            (service(json!({ "spec": { "gpu": { "sharing": "Sometimes" } } })), "spec.gpu.sharing"),
            (service(json!({ "spec": { "podTemplate": "a" } })), "spec.podTemplate"),
            (
                service(json!({ "spec": { "placement": { "topologySpread": [{ "topologyKey": "z" }, { "topologyKey": "z", "maxSkew": 2 }] } } })),
                "duplicate entries for key [topologyKey=\"z\"]",
            ),
            (service(json!({ "spec": { "placement": { "affinity": { "nodes": [] } } } })), "field not declared in schema"),
            (transcribing(json!({ "patience": 2 })), "transcription.patience must be above 0, and needs a transcription.beamSize above 1"),
            (transcribing(json!({ "patience": 0, "beamSize": 2 })), "transcription.patience must be above 0"),
            (transcribing(json!({ "chunkSilence": "1s", "vad": { "enabled": false } })), "transcription.chunkSilence needs transcription.vad, and chunks"),
            (transcribing(json!({ "chunkSilence": "1s", "longForm": "Sequential" })), "transcription.chunkSilence needs transcription.vad, and chunks"),
            (transcribing(json!({ "chunkSilence": "499ms" })), "transcription.chunkSilence must be between 500ms and 30s"),
            (transcribing(json!({ "encoderTail": "31s" })), "transcription.encoderTail must be 30s or less"),
            (transcribing(json!({ "hallucinationSilenceThreshold": "2s" })), "transcription.hallucinationSilenceThreshold needs longForm Sequential"),
            (transcribing(json!({ "maxInitialTimestamp": "31s" })), "transcription.maxInitialTimestamp must be at most 30s"),
            (transcribing(json!({ "lengthPenalty": 2 })), "spec.transcription.lengthPenalty"),
            (transcribing(json!({ "suppressTokens": [-2] })), "spec.transcription.suppressTokens"),
            (transcribing(json!({ "maxNewTokens": 0 })), "spec.transcription.maxNewTokens"),
            (transcribing(json!({ "channels": "Left" })), "spec.transcription.channels"),
            (
                service(json!({ "spec": { "disruption": {} } })),
                "exactly one of disruption.minAvailable and disruption.maxUnavailable",
            ),
            (
                service(json!({ "spec": { "disruption": { "minAvailable": 1, "maxUnavailable": 1 } } })),
                "exactly one of disruption.minAvailable and disruption.maxUnavailable",
            ),
            (
                service(json!({ "spec": { "transcription": { "chunkDuration": "10s", "chunkOverlap": "6s" } } })),
                "transcription.chunkOverlap must be at most half of transcription.chunkDuration",
            ),
            (
                service(json!({ "spec": { "transcription": { "chunkDuration": "31s" } } })),
                "transcription.chunkDuration must be between 5s and 30s",
            ),
            (
                service(json!({ "spec": { "transcription": { "timeout": "0s" } } })),
                "transcription.timeout and transcription.maxAudioDuration must be above 0s",
            ),
            (service(json!({ "spec": { "transcription": { "timeout": "soon" } } })), "spec.transcription.timeout"),
            (service(json!({ "spec": { "precision": "int4" } })), "spec.precision"),
            (reached(json!({ "tls": {} })), "exactly one of endpoint.tls.secretName and endpoint.tls.certManagerIssuerRef"),
            (
                reached(json!({ "tls": { "secretName": "a", "certManagerIssuerRef": { "name": "b" } } })),
                "exactly one of endpoint.tls.secretName and endpoint.tls.certManagerIssuerRef",
            ),
            (reached(json!({ "auth": {} })), "spec.endpoint.auth.apiKeysSecretRef"),
            (reached(json!({ "ingress": { "host": "Speech" } })), "spec.endpoint.ingress.host"),
            (reached(json!({ "ingress": { "host": "https://a.b" } })), "spec.endpoint.ingress.host"),
            (reached(json!({ "gateway": { "parentRefs": [] } })), "spec.endpoint.gateway.parentRefs"),
            (
                reached(json!({ "gateway": { "parentRefs": [{ "name": "a" }], "grpcHostnames": ["a.b"] } })),
                "endpoint.gateway.grpcHostnames needs hostnames",
            ),
            (
                reached(json!({ "gateway": { "parentRefs": [{ "name": "a" }], "hostnames": ["a.b", "c.d"], "grpcHostnames": ["c.d"] } })),
                "endpoint.gateway.grpcHostnames needs hostnames, and no name may be in both",
            ),
            (fenced(json!({ "allowFrom": [{}] })), "each peer of security.networkPolicy.allowFrom must hold"),
            (
                fenced(json!({ "allowMetricsFrom": [{ "podSelector": {}, "ipBlock": { "cidr": "10.0.0.0/8" } }] })),
                "each peer of security.networkPolicy.allowMetricsFrom must hold",
            ),
            (transcribing(json!({ "longForm": "Sequential", "chunkDuration": "20s" })), "have no effect with longForm Sequential"),
            (transcribing(json!({ "longForm": "Sequential", "chunkOverlap": "2s" })), "have no effect with longForm Sequential"),
            (transcribing(json!({ "carryInitialPrompt": true })), "conditionOnPreviousText need longForm Sequential"),
            (transcribing(json!({ "longForm": "Chunked", "conditionOnPreviousText": false })), "conditionOnPreviousText need longForm Sequential"),
            (transcribing(json!({ "temperatures": [0, 0.5, 0] })), "transcription.temperatures must not hold a number twice"),
            (transcribing(json!({ "temperatures": [0.2, 1], "beamSize": 2 })), "transcription.beamSize needs a 0 among transcription.temperatures"),
            (transcribing(json!({ "temperatures": [0], "compressionRatioThreshold": 2 })), "transcription.compressionRatioThreshold needs two transcription.temperatures or more"),
            (transcribing(json!({ "vad": { "enabled": false, "threshold": 0.5 } })), "have no effect with transcription.vad.enabled false"),
            (transcribing(json!({ "vad": { "enabled": false, "minSpeech": "1s" } })), "have no effect with transcription.vad.enabled false"),
            (transcribing(json!({ "vad": { "enabled": false, "minSilence": "1s" } })), "have no effect with transcription.vad.enabled false"),
            (transcribing(json!({ "vad": { "enabled": false, "speechPad": "1s" } })), "have no effect with transcription.vad.enabled false"),
            (transcribing(json!({ "vad": { "minSpeech": "61m" } })), "must be at most 1h"),
            (transcribing(json!({ "vad": { "minSilence": "1h1ms" } })), "must be at most 1h"),
            (transcribing(json!({ "vad": { "speechPad": "3601s" } })), "must be at most 1h"),
            (transcribing(json!({ "vad": { "threshold": 0 } })), "transcription.vad.threshold must be at least 0.01"),
            (transcribing(json!({ "vad": { "threshold": 0.005 } })), "transcription.vad.threshold must be at least 0.01"),
            (transcribing(json!({ "vad": { "threshold": 1.5 } })), "spec.transcription.vad.threshold"),
            (transcribing(json!({ "vad": { "minSpeech": "short" } })), "spec.transcription.vad.minSpeech"),
            (transcribing(json!({ "vad": true })), "spec.transcription.vad"),
            (transcribing(json!({ "longForm": "sequential" })), "spec.transcription.longForm"),
            (transcribing(json!({ "temperatures": [] })), "spec.transcription.temperatures"),
            (transcribing(json!({ "temperatures": [1.5] })), "spec.transcription.temperatures"),
            (transcribing(json!({ "temperatures": (0..11).map(|n| f64::from(n) / 16.0).collect::<Vec<_>>() })), "spec.transcription.temperatures"),
            (transcribing(json!({ "beamSize": 0 })), "spec.transcription.beamSize"),
            (transcribing(json!({ "beamSize": 33 })), "spec.transcription.beamSize"),
            (transcribing(json!({ "bestOf": 33 })), "spec.transcription.bestOf"),
            (transcribing(json!({ "compressionRatioThreshold": -1 })), "spec.transcription.compressionRatioThreshold"),
            (transcribing(json!({ "logprobThreshold": 0.5 })), "spec.transcription.logprobThreshold"),
            (transcribing(json!({ "noSpeechThreshold": 1.5 })), "spec.transcription.noSpeechThreshold"),
            (transcribing(json!({ "initialPrompt": " \n" })), "spec.transcription.initialPrompt"),
            (transcribing(json!({ "initialPrompt": "a".repeat(4097) })), "spec.transcription.initialPrompt"),
            (transcribing(json!({ "hotwords": "" })), "spec.transcription.hotwords"),
            (transcribing(json!({ "hotwords": "a\0b" })), "spec.transcription.hotwords"),
            (
                service(json!({ "metadata": { "name": "a".repeat(49) } })),
                "metadata.name must have at most 48 characters",
            ),
            (service(json!({ "metadata": { "name": "1a" } })), "start with a letter"),
            (model(json!({ "metadata": { "name": "a.b" } })), "hold only a-z, 0-9 and '-'"),
            (
                model(json!({ "spec": { "source": { "bundled": null, "persistentVolumeClaim": { "claimName": "c" } }, "cache": {} } })),
                "cache cannot be set with source.persistentVolumeClaim",
            ),
            (
                model(json!({ "spec": { "source": { "bundled": null, "persistentVolumeClaim": { "claimName": "c", "path": "a/../b" } } } })),
                "path must be relative to the volume's root and must not contain '..'",
            ),
            (
                model(json!({ "spec": { "source": { "bundled": null, "persistentVolumeClaim": { "claimName": "c", "path": "/a" } } } })),
                "path must be relative to the volume's root and must not contain '..'",
            ),
            (from(json!({})), "exactly one source must be set"),
            (from(json!({ "bundled": { "name": "a" }, "s3": { "bucket": "models" } })), "exactly one source must be set"),
            (from(json!({ "http": { "files": [] } })), "spec.source.http.files"),
            (from(file("../c", "https://h/c")), "spec.source.http.files[0].path"),
            (from(file("/c", "https://h/c")), "spec.source.http.files[0].path"),
            (from(file("a/.hidden", "https://h/c")), "spec.source.http.files[0].path"),
            (from(file("c", "ftp://h/c")), "spec.source.http.files[0].url"),
            (from(json!({ "http": { "files": [{ "path": "c", "url": "https://h/c", "sha256": "AB" }] } })), "spec.source.http.files[0].sha256"),
            (from(json!({ "http": { "files": [{ "path": "c", "url": "https://h/c" }, { "path": "c", "url": "https://h/d" }] } })), "duplicate entries for key [path=\"c\"]"),
            (from(json!({ "huggingFace": { "repo": "a/b/c" } })), "spec.source.huggingFace.repo"),
            (from(json!({ "huggingFace": { "repo": "../../admin" } })), "spec.source.huggingFace.repo"),
            (from(json!({ "huggingFace": { "repo": "a/b", "variant": "q4" } })), "spec.source.huggingFace.variant"),
            (from(json!({ "huggingFace": { "repo": "a/b", "endpoint": "https://me:pw@h" } })), "spec.source.huggingFace.endpoint"),
            (from(json!({ "s3": { "bucket": "a/b" } })), "spec.source.s3.bucket"),
            (from(json!({ "s3": { "bucket": "models", "prefix": "/a" } })), "prefix must not begin with '/' and must not contain '..'"),
            (from(json!({ "s3": { "bucket": "models", "prefix": "a/../b" } })), "prefix must not begin with '/' and must not contain '..'"),
            (model(json!({ "spec": { "cache": { "size": "large" } } })), "cache.size must be a quantity such as 2Gi"),
            (model(json!({ "spec": { "digest": "sha256:abc" } })), "spec.digest"),
            (
                model(json!({ "spec": { "serving": { "replicas": 1, "autoscaling": { "maxReplicas": 2, "targetCPUUtilization": 70 } } } })),
                "replicas and autoscaling cannot both be set",
            ),
            (
                from(json!({ "image": { "reference": "models/a:1", "path": "/a" } })),
                "path must be relative to the image's root and must not contain '..'",
            ),
            (from(json!({ "image": { "reference": "a b" } })), "spec.source.image.reference"),
            (
                model(json!({ "spec": { "source": { "bundled": null, "image": { "reference": "a" } }, "cache": {} } })),
                "cache cannot be set with source.persistentVolumeClaim or source.image",
            ),
            (evaluated(json!({})), "exactly one of evaluation.samples.configMap, persistentVolumeClaim and bundled must be set"),
            (
                evaluated(json!({ "samples": { "bundled": {}, "configMap": { "name": "a" } } })),
                "exactly one of evaluation.samples.configMap, persistentVolumeClaim and bundled must be set",
            ),
            (evaluated(json!({ "samples": { "persistentVolumeClaim": { "claimName": "c", "path": "../a" } } })), "path must be relative"),
            (evaluated(json!({ "samples": { "bundled": {} }, "threshold": 1.5 })), "spec.evaluation.threshold"),
            (evaluated(json!({ "samples": { "bundled": {} }, "threshold": null })), "evaluation.threshold must be set for the metric wer"),
            (evaluated(json!({ "samples": { "bundled": {} }, "metric": "bleu" })), "spec.evaluation.metric"),
            (
                evaluated(json!({ "samples": { "configMap": { "name": "a" } }, "metric": "similarity" })),
                "evaluation.metric must be wer for format whisper, and similarity for format onnx",
            ),
            (
                tensors(json!({ "evaluation": { "metric": "similarity", "samples": { "bundled": {} } } })),
                "evaluation.samples.bundled holds recordings",
            ),
            (tensors(json!({ "source": { "http": null, "bundled": { "name": "a" } } })), "source.bundled holds Whispers only"),
            (tensors(json!({ "serving": { "precision": "int8" } })), "serving.precision and serving.autoscaling.targetQueuedAudioSeconds"),
            (
                tensors(json!({ "serving": { "autoscaling": { "minReplicas": 0, "maxReplicas": 2, "targetCPUUtilization": 70 } } })),
                "serving.autoscaling.minReplicas: 0 is for format whisper",
            ),
            (
                tensors(json!({ "serving": { "transcription": { "beamSize": 2 } } })),
                "serving.transcription may set only timeout, maxConcurrent and queueLimit for format onnx",
            ),
            (
                service(json!({ "spec": { "canary": { "image": "a" },
                    "autoscaling": { "minReplicas": 0, "maxReplicas": 2, "targetCPUUtilization": 70 } } })),
                "canary needs autoscaling.minReplicas of 1 or more",
            ),
            (canary(json!({ "weight": 10 })), "canary must change something"),
            (
                canary(json!({ "modelRef": { "name": "a" }, "model": { "source": { "bundled": { "name": "a" } } } })),
                "canary.modelRef and canary.model cannot both be set",
            ),
            (canary(json!({ "image": "a", "weight": 51 })), "spec.canary.weight"),
            (canary(json!({ "image": "a", "analysis": { "duration": "0s" } })), "canary.analysis.duration must be above 0s"),
            (canary(json!({ "image": "a", "analysis": { "duration": "169h" } })), "canary.analysis.duration must be above 0s and at most 168h"),
            (canary(json!({ "image": "a", "analysis": { "maxRestarts": -1 } })), "spec.canary.analysis.maxRestarts"),
            (canary(json!({ "transcription": { "beamSize": 33 } })), "spec.canary.transcription.beamSize"),
            (canary(json!({ "transcription": { "vad": { "minSpeech": "short" } } })), "spec.canary.transcription.vad.minSpeech"),
            (canary(json!({ "transcription": { "beams": 3 } })), "spec.canary.transcription.beams: field not declared in schema"),
            (service(json!({ "spec": { "profile": "huge" } })), "spec.profile"),
            (service(json!({ "spec": { "gpu": { "count": 0 } } })), "spec.gpu.count"),
            (service(json!({ "spec": { "replica": 1 } })), ".spec.replica: field not declared in schema"),
        ];
        let mut refusals = String::new();
        for (object, words) in bad {
            let refusal = refusal(&namespace, &object).await.unwrap_or_else(|| panic!("taken: {object}"));
            assert!(refusal.contains(words), "{object}\n  is refused with: {refusal}\n  and not with: {words}");
            refusals += &refusal;
        }
        for rule in rules() {
            let tried = refusals.contains(&rule) || TRANSITIONS.iter().any(|words| rule.contains(words));
            assert!(tried, "no object here breaks the rule: {rule}");
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn changes_that_a_volume_cannot_follow_are_refused() {
    in_namespace(|namespace| async move {
        let cache = |cache: Value| model(json!({ "spec": { "cache": cache } }));
        let object: ModelDeployment =
            serde_json::from_value(cache(json!({ "size": "2Gi", "storageClassName": "none-such" }))).unwrap();
        namespace.apply(&object).await;
        let grown = cache(json!({ "size": "3Gi", "storageClassName": "none-such" }));
        assert_eq!(refusal(&namespace, &grown).await, None);
        for (changed, words) in [
            (
                json!({ "size": "1Gi", "storageClassName": "none-such" }),
                "cache.size cannot be made smaller",
            ),
            (
                json!({ "size": "2000Mi", "storageClassName": "none-such" }),
                "cache.size cannot be made smaller",
            ),
            (
                json!({ "size": "2Gi", "storageClassName": "other" }),
                "cache.storageClassName cannot be changed",
            ),
            (
                json!({ "size": "2Gi", "storageClassName": "none-such", "accessMode": "ReadWriteMany" }),
                "cache.accessMode cannot be changed",
            ),
        ] {
            let refusal = refusal(&namespace, &cache(changed.clone()))
                .await
                .unwrap_or_else(|| panic!("taken: {changed}"));
            assert!(
                refusal.contains(words),
                "{changed}\n  is refused with: {refusal}\n  and not with: {words}"
            );
        }
        let of_tensors = model(json!({ "spec": { "format": "onnx" } }));
        let words = refusal(&namespace, &of_tensors).await.expect("taken");
        assert!(words.contains("format cannot be changed"), "{words}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn short_names_categories_and_scale_work() {
    in_namespace(|namespace| async move {
        let object: TranscriptionService =
            serde_json::from_value(service(json!({ "spec": { "replicas": 0 } }))).unwrap();
        namespace.apply(&object).await;
        let kubectl = |arguments: &[&str]| {
            let output = std::process::Command::new("kubectl")
                .args(["-n", &namespace.name])
                .args(arguments)
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            (output.status.success(), text)
        };
        for name in ["tsvc", "parlance", "transcriptionservices"] {
            let (ok, text) = kubectl(&["get", name]);
            assert!(
                ok && text.contains("PHASE") && text.contains("ENDPOINT"),
                "kubectl get {name}: {text}"
            );
        }
        let (ok, text) = kubectl(&["scale", "tsvc/a", "--replicas=2"]);
        assert!(ok, "{text}");
        let scaled = namespace.api::<TranscriptionService>().get("a").await.unwrap();
        assert_eq!(scaled.spec.serving.replicas, Some(2));
        let (ok, text) = kubectl(&["explain", "tsvc.spec.transcription.chunkOverlap"]);
        assert!(ok && text.contains("Audio that a window shares"), "{text}");
    })
    .await;
}
