//! Audio of one request in; its transcript out: admission, a thread of its own, deadline and cancellation around `pipeline`.
//! Both APIs go through here. Knows neither gRPC nor HTTP.

use std::{
    cell::{Cell, RefCell},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::http::HeaderMap;
use tokio::{runtime::Handle, sync::watch, task::spawn_blocking, time::timeout_at};
use tokio_util::sync::CancellationToken;

use crate::{
    admission::{Admission, Permit, Place},
    audio::{self, Channels, Enough, Source, SourceError},
    calibration::Calibration,
    call::Call,
    keys::Keys,
    metrics::{Api, Metrics},
    model::Model,
    pipeline::{self, Cancel, Options, Recording, Take, Transcript, WindowResult},
    stages::{self, Stage},
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

/// The model and everything that is shared between requests.
pub struct Transcriber {
    settings: Settings,
    admission: Arc<Admission>,
    metrics: Arc<Metrics>,
    traces: Traces,
    model: OnceLock<Arc<Model>>,
    phase: watch::Sender<Phase>,
    stop: CancellationToken,
}

const LOADING: Failure = Failure::Unavailable("the server is still loading its model");
const DRAINING: Failure = Failure::Unavailable("the server is shutting down");

impl Transcriber {
    /// A server that has no model yet.
    pub fn new(settings: Settings, admission: Arc<Admission>, traces: Traces) -> Self {
        Transcriber {
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

    /// The model is there, and known to be so fast: requests may come.
    pub fn ready(&self, model: Model, load_time: Duration, calibration: Option<Calibration>) {
        if let Some(calibration) = calibration {
            self.admission.expect(calibration.real_time_factor);
            self.metrics.calibrated(&calibration, model.threads());
        }
        self.metrics.loaded(model.facts(), load_time);
        let metrics = self.metrics.clone();
        model.watch_runs(move |sequences| metrics.batched(sequences));
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

    /// Done once [`Transcriber::stop`] was called.
    pub async fn stopped(&self) -> Failure {
        self.stop.cancelled().await;
        DRAINING
    }

    /// The model, once there is one.
    pub fn model(&self) -> Result<Arc<Model>, Failure> {
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
        let model = self.model.get().map(|model| model.facts().name.as_str());
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

    /// Transcribes a whole recording.
    pub async fn transcribe(
        &self,
        place: Place,
        audio: Source,
        options: Options,
        call: &mut Call,
    ) -> Result<Transcript, Failure> {
        self.transcribe_each(place, audio, options, call, |_| {}).await
    }

    /// The same; `each` gets every window as soon as it is final, on the worker's thread, and may block.
    pub async fn transcribe_each(
        &self,
        place: Place,
        audio: Source,
        options: Options,
        call: &mut Call,
        mut each: impl FnMut(&WindowResult) + Send + 'static,
    ) -> Result<Transcript, Failure> {
        let metrics = self.metrics.clone();
        let each = move |window: &WindowResult| {
            metrics.said(window);
            each(window);
        };
        let channels = options.channels;
        let work = move |model: &Model, audio: &Played<'_>, cancel: &Cancel| {
            pipeline::transcribe_each(model, audio, &options, cancel, each)
        };
        self.work(place, (audio, channels), call, work).await
    }

    /// The languages of a recording, likeliest first.
    pub async fn detect_language(
        &self,
        place: Place,
        audio: Source,
        call: &mut Call,
    ) -> Result<Vec<(String, f32)>, Failure> {
        let options = self.settings.options.clone();
        let work = move |model: &Model, audio: &Played<'_>, cancel: &Cancel| {
            pipeline::detect_language(model, audio, &options, cancel)
        };
        self.work(place, (audio, Channels::Mix), call, work).await
    }

    /// Waits for a permit, and does something with a recording on a thread of its own.
    async fn work<T: Send + 'static>(
        &self,
        place: Place,
        (audio, channels): (Source, Channels),
        call: &mut Call,
        work: impl FnOnce(&Model, &Played<'_>, &Cancel) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let model = self.model()?;
        let max = self.settings.max_audio_duration;
        let (audio, work_ahead) = estimated(audio, channels, max).await?;
        let permit = self.permit(place, work_ahead, call).await?;
        let stages = call.stages().clone();
        let work = on_worker(permit, call.deadline(), move |cancel, permit| {
            let _following = stages.follow();
            let started = Instant::now();
            let audio = Played {
                source: audio,
                max,
                permit: RefCell::new(permit),
                samples: Cell::new(0),
                lanes: Cell::new(1),
                beside: Cell::new(Duration::ZERO),
            };
            let done = work(&model, &audio, cancel)?;
            let took = started.elapsed().saturating_sub(audio.beside.get());
            Ok((done, audio.worked_on(), took))
        });
        let (done, audio, took) = tokio::select! {
            done = work => done?,
            failure = self.stopped() => return Err(failure),
        };
        self.admission.measured(audio, took);
        call.transcribed(audio, took);
        Ok(done)
    }
}

/// A recording as the pipeline plays it. Between two pieces of a long one, clips that wait go first.
struct Played<'p> {
    source: Source,
    max: Duration,
    permit: RefCell<&'p mut Permit>,
    /// Samples of the last time, of one channel, and how many channels.
    samples: Cell<usize>,
    lanes: Cell<usize>,
    /// Time that decoding and waiting took, which is not the model's.
    beside: Cell<Duration>,
}

impl Played<'_> {
    /// How much audio the model heard: each channel counts.
    fn worked_on(&self) -> Duration {
        let samples = self.samples.get() * self.lanes.get();
        Duration::from_secs_f64(samples as f64 / f64::from(audio::SAMPLE_RATE))
    }
}

impl Recording for Played<'_> {
    type Error = Failure;

    fn play(&self, channels: Channels, take: &mut Take<'_, Failure>) -> Result<(), Failure> {
        self.samples.set(0);
        let (began, mut taking, mut waiting) = (Instant::now(), Duration::ZERO, Duration::ZERO);
        let played = self.source.play(channels, self.max, &mut |lanes| {
            let new = lanes.first().map_or(0, Vec::len);
            self.samples.set(self.samples.get() + new);
            self.lanes.set(self.lanes.get().max(lanes.len()));
            let began = Instant::now();
            let taken = take(lanes);
            taking += began.elapsed();
            let asked = Instant::now();
            if Handle::current().block_on(self.permit.borrow_mut().let_short_ones_pass()) {
                stages::add(Stage::Queue, asked, asked.elapsed());
                waiting += asked.elapsed();
            }
            taken
        });
        let beside = began.elapsed().saturating_sub(taking);
        stages::add(Stage::Audio, began, beside.saturating_sub(waiting));
        self.beside.set(self.beside.get() + beside);
        played.map_err(|error| match error {
            SourceError::Taker(failure) => failure,
            SourceError::Audio(error) => error.into(),
            read @ SourceError::Read(_) => Failure::Internal(read.to_string()),
        })
    }
}

/// About how much audio there is to work on, and the audio again. To count channels is to decode its beginning.
async fn estimated(audio: Source, channels: Channels, max: Duration) -> Result<(Source, Duration), Failure> {
    let work = spawn_blocking(move || {
        let lanes = match audio.count(channels, max) {
            Ok(lanes) => lanes,
            Err(SourceError::Audio(error)) => return Err(error.into()),
            Err(read @ SourceError::Read(_)) => return Err(Failure::Internal(read.to_string())),
            Err(SourceError::Taker(Enough)) => 1,
        };
        let estimate = audio.estimate(lanes);
        Ok((audio, estimate))
    });
    let done = work.await;
    done.unwrap_or_else(|panicked| Err(Failure::Internal(format!("a worker panicked: {panicked}"))))
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
        Err(_) => Err(Failure::deadline("the audio was transcribed")),
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
        let failed = on_worker::<()>(permit(&admission).await, later(), |_, _| panic!("boom")).await;
        assert_eq!(failed.unwrap_err().code(), Code::Internal);
        admission.idle().await;
        assert_eq!(
            on_worker(permit(&admission).await, later(), |_, _| Ok(7)).await,
            Ok(7)
        );
    }

    #[tokio::test]
    async fn dropping_the_future_stops_the_work_and_the_permit_is_held_until_then() {
        let admission = Admission::new(1, 0);
        let (started, has_started) = tokio::sync::oneshot::channel();
        let (go, gate) = mpsc::channel::<()>();
        let work = on_worker(permit(&admission).await, later(), move |cancel, _| {
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
        let late = on_worker(permit(&admission).await, Instant::now(), move |cancel, _| {
            gate.recv().expect("the test sends it");
            until_stopped(cancel)
        });
        assert_eq!(late.await.unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(admission.load().running, 1, "the thread has not looked yet");
        go.send(()).unwrap();
        becomes_idle(&admission).await;
    }
}
