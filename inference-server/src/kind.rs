//! A kind of model in: how one is loaded, what its ports answer, and what is told when it is there, out. `run` is the same for all.

use std::{sync::Arc, time::Duration};

use clap::ValueEnum;
use tonic_health::server::HealthReporter;

use crate::{
    calibration::calibrate,
    desk::{Desk, Served},
    http,
    model::Model,
    ports::{Answers, Windows},
    run::{self, Config, Error},
    service,
    transcriber::Transcriber,
};

/// What a model's files are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ModelFormat {
    /// A Whisper: audio in, text out.
    #[default]
    Whisper,
    /// One ONNX graph: tensors in, tensors out.
    Onnx,
}

/// What the server of a kind of model is made of.
pub trait Kind: Served + Sized {
    /// The gRPC service that it answers.
    const SERVICE: &'static str;

    /// What the gRPC port and the HTTP port answer.
    fn answers(
        desk: &Arc<Desk<Self>>,
        health: &HealthReporter,
    ) -> Result<Answers, tonic_reflection::server::Error>;

    /// The model that the flags name, if it is the right one and can do what they ask. Blocks.
    fn load(config: &Config) -> Result<Self, Error>;

    /// It is loaded, which took so long: tells so, and lets requests come. Blocks.
    fn introduce(self, desk: &Desk<Self>, took: Duration);
}

impl Kind for Model {
    const SERVICE: &'static str = service::SERVICE_NAME;

    fn answers(
        transcriber: &Arc<Transcriber>,
        health: &HealthReporter,
    ) -> Result<Answers, tonic_reflection::server::Error> {
        Ok(Answers {
            routes: service::routes(transcriber, health)?,
            router: http::router(transcriber.clone()),
            windows: Windows::Usual,
        })
    }

    fn load(config: &Config) -> Result<Self, Error> {
        run::load_model(config)
    }

    fn introduce(self, transcriber: &Transcriber, took: Duration) {
        // What is wrong with an engine that cannot do this is said by the first request.
        let calibration = calibrate(&self).ok();
        let facts = self.facts();
        tracing::info!(
            model = facts.name,
            digest = facts.digest,
            bytes = facts.size_bytes,
            files = facts.files,
            took_seconds = took.as_secs_f64(),
            engine = self.engine_name(),
            prepacked = self.prepacked(),
            precision = %self.precision(),
            threads = self.threads(),
            real_time_factor = calibration.map(|c| c.real_time_factor),
            "ready"
        );
        transcriber.ready(self, took, calibration);
    }
}
