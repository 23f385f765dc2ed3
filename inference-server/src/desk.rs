//! A request of whatever API in; its place in the queue, its permit and a thread of its own out, or why not: keys, admission, deadline,
//! cancellation and the server's phase around a model, whatever kind it is. Knows neither gRPC nor HTTP, nor what the work is.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::http::HeaderMap;
use tokio::{sync::watch, task::spawn_blocking, time::timeout_at};
use tokio_util::sync::CancellationToken;

use crate::{
    admission::{Admission, Permit, Place},
    call::Call,
    keys::Keys,
    metrics::{Api, Metrics},
    pipeline::{Cancel, Options},
    status::Failure,
    traces::Traces,
};

/// Where the server is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The model is being loaded.
    Loading,
    /// Requests are served.
    Ready,
    /// What runs is finished, nothing new begins.
    Draining,
}

/// What bounds a request, and what it does where it says nothing.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Language, task and windows of a request that does not say.
    pub options: Options,
    /// The longest that a request may take, from arrival to end.
    pub timeout: Duration,
    /// The longest audio.
    pub max_audio_duration: Duration,
    /// The largest message or upload, in bytes.
    pub max_message_size: usize,
    /// Who is let in; `None`: everybody.
    pub keys: Option<Arc<Keys>>,
}

/// What can be served.
pub trait Served: Send + Sync + 'static {
    /// The name under which it is.
    fn name(&self) -> &str;
    /// `sha256:<hex>` over its files.
    fn digest(&self) -> &str;
}

/// The model and everything that is shared between requests.
pub struct Desk<M> {
    settings: Settings,
    admission: Arc<Admission>,
    metrics: Arc<Metrics>,
    traces: Traces,
    model: OnceLock<Arc<M>>,
    phase: watch::Sender<Phase>,
    stop: CancellationToken,
}

const LOADING: Failure = Failure::Unavailable("the server is still loading its model");
const DRAINING: Failure = Failure::Unavailable("the server is shutting down");

impl<M: Served> Desk<M> {
    /// A server that has no model yet.
    pub fn new(settings: Settings, admission: Arc<Admission>, traces: Traces) -> Self {
        Desk {
            settings,
            admission,
            traces,
            metrics: Arc::new(Metrics::new()),
            model: OnceLock::new(),
            phase: watch::Sender::new(Phase::Loading),
            stop: CancellationToken::new(),
        }
    }

    /// The bounds and defaults.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The queue.
    pub fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Where the server is in its life.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// The model is there: requests may come.
    pub fn serve(&self, model: M, load_time: Duration) {
        self.metrics.loaded(model.name(), model.digest(), load_time);
        if self.model.set(Arc::new(model)).is_ok() {
            self.phase.send_replace(Phase::Ready);
        }
    }

    /// Nothing new begins from now on.
    pub fn drain(&self) {
        self.phase.send_replace(Phase::Draining);
    }

    /// What still runs ends now, as UNAVAILABLE.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Done once [`Desk::stop`] was called.
    pub async fn stopped(&self) -> Failure {
        self.stop.cancelled().await;
        DRAINING
    }

    /// The model, once there is one.
    pub fn model(&self) -> Result<Arc<M>, Failure> {
        self.model.get().cloned().ok_or(LOADING)
    }

    /// Refuses who has no API key, where one is needed.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<(), Failure> {
        self.settings
            .keys
            .as_ref()
            .map_or(Ok(()), |keys| keys.check(headers))
    }

    /// A place in the queue for a new request.
    pub fn enter(&self) -> Result<Place, Failure> {
        match self.phase() {
            Phase::Loading => Err(LOADING),
            Phase::Draining => Err(DRAINING),
            Phase::Ready => Ok(self.admission.enter()?),
        }
    }

    /// A request arrives; it must be over after `time`.
    pub fn begin(&self, api: Api, headers: &HeaderMap, time: Duration) -> Call {
        let model = self.model.get().map(|model| model.name());
        Call::begin(self.metrics.clone(), &self.traces, api, model, headers, time)
    }

    /// Waits for the permit to work on so much audio (zero: not known, or live), as long as the request may take; not at
    /// all where it would wait longer than that.
    pub async fn permit(&self, place: Place, audio: Duration, call: &mut Call) -> Result<Permit, Failure> {
        let asked = Instant::now();
        let time_left = call.deadline().saturating_duration_since(asked);
        if let Some(full) = self.admission.overdue(audio, time_left) {
            return Err(full.into());
        }
        let permit = tokio::select! {
            permit = timeout_at(call.deadline().into(), place.permit(audio)) => {
                permit.map_err(|_| Failure::deadline("the request waited in the queue"))?
            }
            failure = self.stopped() => return Err(failure),
        };
        permit.must_end_by(call.deadline());
        call.admitted(asked);
        Ok(permit)
    }
}

/// Throws the switch when it is dropped: whoever waited for the work is gone.
pub struct CancelOnDrop(pub Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Runs `work` on a thread that may block. It keeps the permit until the work has truly ended, which the returned future
/// does not wait for: at the deadline it fails, and dropping it (or that) stops the work at its next check.
pub async fn on_worker<T: Send + 'static>(
    permit: Permit,
    deadline: Instant,
    doing: &str,
    work: impl FnOnce(&Cancel, &mut Permit) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let cancel = Cancel::new().with_deadline(Some(deadline));
    let _guard = CancelOnDrop(cancel.clone());
    let job = spawn_blocking(move || {
        let mut permit = permit;
        work(&cancel, &mut permit)
    });
    match timeout_at(deadline.into(), job).await {
        Ok(Ok(done)) => done,
        Ok(Err(panicked)) => Err(Failure::Internal(format!("a worker panicked: {panicked}"))),
        Err(_) => Err(Failure::deadline(doing)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::status::Code;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    async fn permit(admission: &Arc<Admission>) -> Permit {
        admission.enter().expect("a place").permit(Duration::ZERO).await
    }

    async fn becomes_idle(admission: &Admission) {
        let idle = timeout_at(
            (Instant::now() + Duration::from_secs(60)).into(),
            admission.idle(),
        );
        idle.await.expect("the work stops");
    }

    fn until_stopped(cancel: &Cancel) -> Result<(), Failure> {
        loop {
            cancel.check()?;
            std::thread::yield_now();
        }
    }

    #[tokio::test]
    async fn a_panic_is_internal_and_gives_its_permit_back() {
        let admission = Admission::new(1, 0);
        let failed = on_worker::<()>(permit(&admission).await, later(), "", |_, _| panic!("boom")).await;
        assert_eq!(failed.unwrap_err().code(), Code::Internal);
        admission.idle().await;
        assert_eq!(
            on_worker(permit(&admission).await, later(), "", |_, _| Ok(7)).await,
            Ok(7)
        );
    }

    #[tokio::test]
    async fn dropping_the_future_stops_the_work_and_the_permit_is_held_until_then() {
        let admission = Admission::new(1, 0);
        let (started, has_started) = tokio::sync::oneshot::channel();
        let (go, gate) = mpsc::channel::<()>();
        let work = on_worker(permit(&admission).await, later(), "", move |cancel, _| {
            started.send(()).expect("the test waits for it");
            gate.recv().expect("the test sends it");
            until_stopped(cancel)
        });
        let running = tokio::spawn(work);
        has_started.await.unwrap();
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        assert_eq!(admission.load().running, 1, "the thread has not looked yet");
        go.send(()).unwrap();
        becomes_idle(&admission).await;
    }

    #[tokio::test]
    async fn the_deadline_answers_even_when_the_work_does_not_look() {
        let admission = Admission::new(1, 0);
        let (go, gate) = mpsc::channel::<()>();
        let late = on_worker(permit(&admission).await, Instant::now(), "", move |cancel, _| {
            gate.recv().expect("the test sends it");
            until_stopped(cancel)
        });
        assert_eq!(late.await.unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(admission.load().running, 1, "the thread has not looked yet");
        go.send(()).unwrap();
        becomes_idle(&admission).await;
    }
}
