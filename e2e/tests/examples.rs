//! Every example, applied as it stands, becomes what it promises.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use crds::{ModelDeployment, TranscriptionService};
use e2e::in_namespace;
use e2e::manifest::{example, has, ready, repository};
use kube::ResourceExt;

/// Those that need more than a cluster, and so are applied elsewhere: fake nodes in `gpu.rs` and `placement.rs`, servers in
/// `sources.rs` and `tensors.rs`, Secrets in `endpoint.rs`, an image in `storage.rs`, a Job in `batch.rs`.
const ELSEWHERE: [&str; 10] = [
    "batch.yaml",
    "tls.yaml",
    "gpu.yaml",
    "gpu-claimed.yaml",
    "gpu-shared.yaml",
    "model-from-hugging-face.yaml",
    "model-from-http.yaml",
    "model-from-s3.yaml",
    "model-from-image.yaml",
    "onnx-model.yaml",
];

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn every_example_becomes_ready() {
    let mut files: Vec<String> = std::fs::read_dir(repository("examples"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|file| !ELSEWHERE.contains(&file.as_str()))
        .collect();
    files.sort();
    assert!(files.contains(&"quickstart.yaml".to_owned()), "{files:?}");
    for file in files {
        in_namespace(|namespace| async move {
            let (mut models, mut services) = (Vec::new(), Vec::new());
            for object in example(&file) {
                if object["kind"] == "ModelDeployment" {
                    let model: ModelDeployment = serde_json::from_value(object).unwrap();
                    models.push(namespace.apply(&model).await.name_any());
                } else {
                    let service: TranscriptionService = serde_json::from_value(object).unwrap();
                    services.push(namespace.apply(&service).await.name_any());
                }
            }
            for model in models {
                namespace
                    .until::<ModelDeployment>(&model, &format!("of {file} to be ready"), |m| {
                        has(
                            &m.status.clone().unwrap_or_default().conditions,
                            "Ready",
                            "True",
                            None,
                        )
                    })
                    .await;
            }
            for service in services {
                namespace
                    .until::<TranscriptionService>(&service, &format!("of {file} to be ready"), ready)
                    .await;
            }
        })
        .await;
    }
}
