//! How a pod brings a model from elsewhere.
//!
//! In: the source of a spec. Out: flags of `parlance-server fetch`, and the Secrets that its environment is filled from.
//! Pure. It never holds what a Secret does: the kubelet alone puts the two together.

use crds::model::{HttpFile, HttpSource, HuggingFaceSource, ModelSource, S3Source};
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, SecretKeySelector};

/// How the first container of a pod downloads a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remote {
    /// Flags of `parlance-server fetch`.
    pub flags: Vec<String>,
    /// Variables of its environment.
    pub secrets: Vec<SecretVariable>,
}

/// A variable whose value is in a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretVariable {
    /// Its name.
    pub name: &'static str,
    /// The Secret.
    pub secret: String,
    /// The key.
    pub key: String,
    /// Whether the pod starts without it.
    pub optional: bool,
}

impl Remote {
    /// How to download what `source` names; nothing when that is no source elsewhere.
    pub fn of(source: &ModelSource) -> Option<Remote> {
        let hub = source.hugging_face.as_ref().map(hugging_face);
        let links = || source.http.as_ref().map(http);
        let bucket = || source.s3.as_ref().map(s3);
        hub.or_else(links).or_else(bucket)
    }

    /// The variables as a container takes them.
    pub fn environment(&self) -> Vec<EnvVar> {
        let variable = |variable: &SecretVariable| EnvVar {
            name: variable.name.into(),
            value_from: Some(EnvVarSource {
                secret_key_ref: Some(SecretKeySelector {
                    name: variable.secret.clone(),
                    key: variable.key.clone(),
                    optional: variable.optional.then_some(true),
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        self.secrets.iter().map(variable).collect()
    }
}

fn hugging_face(source: &HuggingFaceSource) -> Remote {
    let mut flags = vec![
        format!("--hugging-face={}", source.repo),
        format!("--revision={}", source.revision),
    ];
    flags.extend(
        source
            .variant
            .map(|variant| format!("--variant={}", variant.as_str())),
    );
    flags.extend(source.endpoint.as_ref().map(|hub| format!("--hub={hub}")));
    let token = source.token_secret_ref.as_ref().map(|token| SecretVariable {
        name: "HF_TOKEN",
        secret: token.name.clone(),
        key: token.key.clone(),
        optional: false,
    });
    Remote {
        flags,
        secrets: token.into_iter().collect(),
    }
}

fn http(source: &HttpSource) -> Remote {
    let file = |HttpFile { url, sha256, path }: &HttpFile| {
        let sha256 = sha256
            .as_ref()
            .map_or(String::new(), |sha256| format!("sha256={sha256},"));
        format!("--http-file=path={path},{sha256}url={url}")
    };
    Remote {
        flags: source.files.iter().map(file).collect(),
        secrets: Vec::new(),
    }
}

fn s3(source: &S3Source) -> Remote {
    let mut flags = vec![format!("--s3={}/{}", source.bucket, source.prefix)];
    flags.extend(
        source
            .variant
            .map(|variant| format!("--variant={}", variant.as_str())),
    );
    flags.extend(source.endpoint.as_ref().map(|url| format!("--s3-endpoint={url}")));
    flags.extend(
        source
            .region
            .as_ref()
            .map(|region| format!("--s3-region={region}")),
    );
    let variables = |name: &str| {
        [
            ("AWS_ACCESS_KEY_ID", false),
            ("AWS_SECRET_ACCESS_KEY", false),
            ("AWS_SESSION_TOKEN", true),
        ]
        .map(|(key, optional)| SecretVariable {
            name: key,
            secret: name.to_string(),
            key: key.into(),
            optional,
        })
    };
    let credentials = source.credentials_secret_ref.as_ref();
    Remote {
        flags,
        secrets: credentials
            .map(|secret| variables(&secret.name).into())
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn remote(source: Value) -> Remote {
        Remote::of(&serde_json::from_value(source).unwrap()).unwrap()
    }

    #[test]
    fn a_repository_with_its_defaults_and_with_everything() {
        let plain = remote(json!({"huggingFace": {"repo": "onnx-community/whisper-base"}}));
        assert_eq!(
            plain.flags,
            ["--hugging-face=onnx-community/whisper-base", "--revision=main"]
        );
        assert_eq!(plain.environment(), []);
        let whole = remote(json!({"huggingFace": {
            "repo": "me/tiny", "revision": "v1", "variant": "q8", "endpoint": "https://mirror/hub",
            "tokenSecretRef": {"name": "hub"},
        }}));
        assert_eq!(
            whole.flags,
            [
                "--hugging-face=me/tiny",
                "--revision=v1",
                "--variant=q8",
                "--hub=https://mirror/hub"
            ]
        );
        assert_eq!(
            json!(whole.environment()),
            json!([{"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}])
        );
    }

    #[test]
    fn files_by_their_urls() {
        let sha256 = "ab".repeat(32);
        let files = json!([
            {"url": "https://h/c.json?v=1,2", "path": "config.json"},
            {"url": "https://h/e.onnx", "path": "onnx/encoder_model.onnx", "sha256": sha256},
        ]);
        assert_eq!(
            remote(json!({"http": {"files": files}})).flags,
            [
                "--http-file=path=config.json,url=https://h/c.json?v=1,2".to_string(),
                format!("--http-file=path=onnx/encoder_model.onnx,sha256={sha256},url=https://h/e.onnx"),
            ]
        );
    }

    #[test]
    fn a_bucket_with_keys() {
        let bucket = remote(json!({"s3": {
            "bucket": "models", "prefix": "whisper/tiny", "endpoint": "http://minio:9000", "region": "eu-west-1",
            "variant": "fp16", "credentialsSecretRef": {"name": "keys"},
        }}));
        assert_eq!(
            bucket.flags,
            [
                "--s3=models/whisper/tiny",
                "--variant=fp16",
                "--s3-endpoint=http://minio:9000",
                "--s3-region=eu-west-1"
            ]
        );
        let from =
            |name: &str| json!({"name": name, "valueFrom": {"secretKeyRef": {"name": "keys", "key": name}}});
        let mut session = from("AWS_SESSION_TOKEN");
        session["valueFrom"]["secretKeyRef"]["optional"] = json!(true);
        assert_eq!(
            json!(bucket.environment()),
            json!([from("AWS_ACCESS_KEY_ID"), from("AWS_SECRET_ACCESS_KEY"), session])
        );
    }

    #[test]
    fn a_model_of_the_image_is_nowhere_else() {
        let source = serde_json::from_value(json!({"bundled": {"name": "nano"}})).unwrap();
        assert_eq!(Remote::of(&source), None);
    }
}
