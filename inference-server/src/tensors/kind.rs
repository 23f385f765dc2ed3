//! An ONNX model as one of the kinds that are served.

use std::{sync::Arc, time::Duration};

use tonic_health::server::HealthReporter;

use super::{SERVICE_NAME, TensorModel, grpc, rest};
use crate::{
    desk::{Desk, Served},
    kind::Kind,
    ports::{Answers, Windows},
    run::{Config, Error},
};

impl Served for TensorModel {
    fn name(&self) -> &str {
        TensorModel::name(self)
    }

    fn digest(&self) -> &str {
        &TensorModel::digest(self).digest
    }
}

impl Kind for TensorModel {
    const SERVICE: &'static str = SERVICE_NAME;

    fn answers(
        desk: &Arc<Desk<Self>>,
        health: &HealthReporter,
    ) -> Result<Answers, tonic_reflection::server::Error> {
        Ok(Answers {
            routes: grpc::routes(desk, health)?,
            router: rest::router(desk.clone()),
            windows: Windows::Usual,
        })
    }

    fn load(config: &Config) -> Result<Self, Error> {
        let dir = &config.model;
        let able = config.device.for_tensors();
        let load = able.and_then(|()| TensorModel::load(dir, config.dtype, config.threads));
        let mut model = load.map_err(|source| Error::Load {
            model: dir.clone(),
            source,
        })?;
        config.verify(&model.digest().digest)?;
        if let Some(name) = &config.model_name {
            model.set_name(name.clone());
        }
        Ok(model)
    }

    fn introduce(self, desk: &Desk<Self>, took: Duration) {
        let (name, digest) = (self.name().to_owned(), self.digest().clone());
        let (threads, signature) = (self.threads(), self.signature().clone());
        desk.metrics().threads(threads);
        desk.serve(self, took);
        tracing::info!(
            model = name,
            digest = digest.digest,
            bytes = digest.size_bytes,
            files = digest.files,
            took_seconds = took.as_secs_f64(),
            threads,
            inputs = signature.inputs.len(),
            outputs = signature.outputs.len(),
            "ready"
        );
    }
}
