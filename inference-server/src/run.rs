//! A command in; its outcome out. For `serve` that is the whole life of the server: it listens at once, loads its model,
//! serves, and on SIGTERM finishes what runs and leaves. Serves no request itself.

use std::{
    future::pending,
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    activate,
    admission::Admission,
    batch::{self, BatchError},
    bench::{self, BenchError},
    bundled::NotBundled,
    cli::Command,
    desk::{Desk, Served, Settings},
    digest::Digest,
    evaluate::{self, EvaluateError},
    fetch::{self, FetchError},
    inspect::{self, InspectError},
    kind::{Kind, ModelFormat},
    model::{Device, Dtype, Model, ModelError, Precision},
    pipeline::{Live, PipelineError},
    ports::Ports,
    telemetry::{self, LogFormat},
    tensors::TensorModel,
    tls::{Tls, TlsError, TlsSettings, handshakes::Shown},
    traces::{Traces, TracesError},
    transcribe::{self, TranscribeError},
};

/// After the work is done, how long connections may take to close.
pub(crate) const CLOSING: Duration = Duration::from_secs(3);

/// What `serve` is to be.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // each field is the flag of its name
pub struct Config {
    pub model: PathBuf,
    pub format: ModelFormat,
    pub model_name: Option<String>,
    pub digest: Option<String>,
    pub dtype: Option<Dtype>,
    /// Where the model is computed.
    pub device: Device,
    /// In which the products with weights are computed.
    pub precision: Precision,
    pub threads: usize,
    pub grpc_addr: SocketAddr,
    pub http_addr: SocketAddr,
    pub tls: Option<TlsSettings>,
    pub otlp_endpoint: Option<String>,
    pub settings: Settings,
    pub max_concurrent: usize,
    pub queue_limit: usize,
    pub drain_timeout: Duration,
    pub log_format: LogFormat,
    pub log_level: String,
}

impl Config {
    /// Refuses a model that is not of the digest asked for.
    pub(crate) fn verify(&self, actual: &str) -> Result<(), Error> {
        match &self.digest {
            Some(expected) if expected != actual => Err(Error::Digest {
                model: self.model.clone(),
                expected: expected.clone(),
                actual: actual.to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// Why a command failed, in one sentence.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each variant is its sentence
pub enum Error {
    #[error(transparent)]
    NotBundled(#[from] NotBundled),
    #[error("no ONNX model is bundled: name the folder of one by --model")]
    NoModel,
    #[error("cannot read the API keys in {}: {source}", path.display())]
    Keys { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Traces(#[from] TracesError),
    #[error("the log level cannot be read: {0}")]
    LogLevel(#[from] tracing_subscriber::filter::ParseError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot load the model in {}: {source}", model.display())]
    Load { model: PathBuf, source: ModelError },
    #[error("the model in {} has the digest {actual}, but {expected} was asked for", model.display())]
    Digest {
        model: PathBuf,
        expected: String,
        actual: String,
    },
    #[error("the model cannot follow the server's options: {0}")]
    Options(#[from] PipelineError),
    #[error("loading the model panicked; the line above tells where")]
    LoadPanicked,
    #[error("the reflection service cannot be built: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("the server stopped by itself: {0}")]
    Stopped(String),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Transcribe(#[from] TranscribeError),
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Bench(#[from] BenchError),
}

impl Error {
    /// The exit code: 3 for what was done and is not good enough, a model or recordings (2 is a command line that cannot be read).
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Evaluate(EvaluateError::NotGoodEnough(_)) => 3,
            Error::Batch(error) => error.exit_code(),
            _ => 1,
        }
    }
}

/// Runs a command to its end.
pub fn command(command: Command) -> Result<(), Error> {
    let out = &mut io::stdout().lock();
    match command {
        Command::Serve(args) => serve(args.into_config()?),
        Command::Activate(args) => activate::serve(args.into_config()?),
        Command::Transcribe(args) => Ok(transcribe::run(&args.into_request(), out)?),
        Command::Inspect(args) => {
            let (dir, dtype, format) = args.into_request();
            Ok(inspect::run(&dir, dtype, format, out)?)
        }
        Command::Batch(args) => {
            let (request, log_format, log_level) = args.into_request();
            telemetry::init(log_format, &log_level)?;
            Ok(batch::run(&request, out)?)
        }
        Command::Evaluate(args) => {
            telemetry::init(LogFormat::Text, "info")?;
            Ok(evaluate::run(&args.into_request(), out)?)
        }
        Command::Bench(args) => Ok(bench::run(&args.into_request(), io::stdin().lock(), out)?),
        Command::Fetch(args) => {
            telemetry::init(LogFormat::Text, "info")?;
            let fetch::Fetched {
                model:
                    Digest {
                        digest,
                        size_bytes,
                        files,
                    },
                source: _,
                resolved_revision,
            } = fetch::run(&args.into_request())?;
            let commit = resolved_revision.map_or(String::new(), |commit| format!(", revision {commit}"));
            Ok(writeln!(
                out,
                "{digest} ({files} files, {size_bytes} bytes{commit})"
            )?)
        }
    }
}

fn serve(config: Config) -> Result<(), Error> {
    telemetry::init(config.log_format, &config.log_level)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let signals = signals()?;
        match config.format {
            ModelFormat::Whisper => Server::<Model>::bind(config).await?.run(signals).await,
            ModelFormat::Onnx => Server::<TensorModel>::bind(config).await?.run(signals).await,
        }
    });
    // A worker that does not look at its switch must not keep the process.
    runtime.shutdown_background();
    outcome
}

/// One message for each SIGTERM or SIGINT.
pub(crate) fn signals() -> io::Result<mpsc::Receiver<()>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            if sender.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

/// A server that listens, and does not answer yet.
pub struct Server<M> {
    config: Config,
    desk: Arc<Desk<M>>,
    traces: Traces,
    health: HealthReporter,
    ports: Ports,
}

impl<M: Kind> Server<M> {
    /// Takes both ports, and reads what they need for TLS.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        let tls = config.tls.clone().map(Tls::open).transpose()?.map(Arc::new);
        let listen = async |address| {
            TcpListener::bind(address)
                .await
                .map_err(|source| Error::Listen { address, source })
        };
        let (grpc, http) = (listen(config.grpc_addr).await?, listen(config.http_addr).await?);
        let admission = Admission::new(config.max_concurrent, config.queue_limit);
        let traces = match &config.otlp_endpoint {
            Some(endpoint) => Traces::to(endpoint)?,
            None => Traces::default(),
        };
        let settings = config.settings.clone();
        let desk = Arc::new(Desk::new(settings, admission, traces.clone()));
        Ok(Server {
            config,
            desk,
            traces,
            health: HealthReporter::new(),
            ports: Ports { grpc, http, tls },
        })
    }

    /// Where gRPC and HTTP listen.
    pub fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.ports.grpc.local_addr()?, self.ports.http.local_addr()?))
    }

    /// Lives until `shutdown` says so: once to finish what runs, twice to leave at once.
    pub async fn run(self, shutdown: mpsc::Receiver<()>) -> Result<(), Error> {
        let config = self.config.clone();
        self.run_with(move || M::load(&config), shutdown).await
    }

    /// The same, with a model from elsewhere; `load` runs on a thread of its own.
    pub async fn run_with(
        self,
        load: impl FnOnce() -> Result<M, Error> + Send + 'static,
        shutdown: mpsc::Receiver<()>,
    ) -> Result<(), Error> {
        let traces = self.traces.clone();
        let outcome = self.live(load, shutdown).await;
        traces.end().await;
        outcome
    }

    async fn live(
        self,
        load: impl FnOnce() -> Result<M, Error> + Send + 'static,
        mut shutdown: mpsc::Receiver<()>,
    ) -> Result<(), Error> {
        let (grpc_addr, http_addr) = self.addresses()?;
        let Self {
            config,
            desk,
            traces: _,
            mut health,
            ports,
        } = self;
        report(&health, M::SERVICE, ServingStatus::NotServing).await;
        let close = CancellationToken::new();
        let tls = ports.tls.is_some();
        let answers = M::answers(&desk, &health)?;
        let mut servers = ports.serve::<Shown>(answers, desk.metrics().tls(), &close)?;
        tracing::info!(grpc = %grpc_addr, http = %http_addr, tls, "listening");

        tokio::select! {
            loaded = load_beside(load, &desk) => loaded?,
            _ = shutdown.recv() => return Ok(()),
            ended = servers.join_next() => return Err(stopped(ended)),
        }
        report(&health, M::SERVICE, ServingStatus::Serving).await;
        tokio::select! {
            _ = shutdown.recv() => {}
            () = watch(&desk, &health) => {}
            ended = servers.join_next() => return Err(stopped(ended)),
        }

        desk.drain();
        report(&health, M::SERVICE, ServingStatus::NotServing).await;
        drain(&desk, config.drain_timeout, &mut shutdown).await;
        close.cancel();
        for name in ["", M::SERVICE] {
            // Ends the clients' watches, which would keep their connections open.
            health.clear_service_status(name).await;
        }
        let closed = async { while servers.join_next().await.is_some() {} };
        let in_time = timeout(CLOSING, closed).await.is_ok();
        tracing::info!(all_connections_closed = in_time, "stopped");
        Ok(())
    }
}

/// Says that nothing is served when no worker comes back, and that it is when one does. Never ends.
async fn watch<M: Kind>(desk: &Desk<M>, health: &HealthReporter) {
    let mut stuck = false;
    loop {
        sleep(LOOK_EVERY).await;
        let now = desk.admission().stuck();
        if now != stuck {
            stuck = now;
            tracing::error!(
                stuck,
                "every worker is busy with a request that should have ended long ago"
            );
            let status = if stuck {
                ServingStatus::NotServing
            } else {
                ServingStatus::Serving
            };
            report(health, M::SERVICE, status).await;
        }
    }
}

/// How often health looks whether the workers are stuck.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Health is reported of the whole server, and of the service.
pub(crate) async fn report(health: &HealthReporter, service: &str, status: ServingStatus) {
    for name in ["", service] {
        health.set_service_status(name, status).await;
    }
}

pub(crate) fn stopped(ended: Option<Result<Result<(), String>, tokio::task::JoinError>>) -> Error {
    Error::Stopped(match ended {
        Some(Ok(Err(error))) => error,
        Some(Err(panicked)) => panicked.to_string(),
        Some(Ok(Ok(()))) | None => "it ended without an error".to_owned(),
    })
}

/// Loads the model beside the servers, which say meanwhile that they are not ready.
async fn load_beside<M: Kind>(
    load: impl FnOnce() -> Result<M, Error> + Send + 'static,
    desk: &Arc<Desk<M>>,
) -> Result<(), Error> {
    let (started, desk) = (Instant::now(), desk.clone());
    let loading = tokio::task::spawn_blocking(move || {
        let model = load()?;
        model.introduce(&desk, started.elapsed());
        Ok(())
    });
    loading.await.map_err(|_| Error::LoadPanicked)?
}

/// The model that the flags name, if it is the right one and can do what they ask.
pub fn load_model(config: &Config) -> Result<Model, Error> {
    let dir = &config.model;
    let load = Model::load_with(dir, config.dtype, config.device, config.precision, config.threads);
    let mut model = load.map_err(|source| Error::Load {
        model: dir.clone(),
        source,
    })?;
    config.verify(&model.facts().digest)?;
    if let Some(name) = &config.model_name {
        model.set_name(name.clone());
    }
    Live::new(&model, &config.settings.options)?;
    Ok(model)
}

/// Waits for what runs, but not for ever.
async fn drain<M: Served>(desk: &Desk<M>, limit: Duration, shutdown: &mut mpsc::Receiver<()>) {
    let load = desk.admission().load();
    tracing::info!(running = load.running, queued = load.queued, "draining");
    let again = async {
        if shutdown.recv().await.is_none() {
            pending::<()>().await;
        }
    };
    tokio::select! {
        () = desk.admission().idle() => return,
        () = sleep(limit) => {}
        () = again => {}
    }
    let load = desk.admission().load();
    tracing::warn!(
        running = load.running,
        queued = load.queued,
        "out of time: what still runs is cut off"
    );
    desk.stop();
}
