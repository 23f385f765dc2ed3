//! Audio of one request in; its transcript out: what the desk gives every request, around `pipeline`.
//! Both APIs go through here. Knows neither gRPC nor HTTP.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, task::spawn_blocking};

use crate::{
    admission::{Permit, Place},
    audio::{self, Channels, Enough, Source, SourceError},
    calibration::Calibration,
    call::Call,
    desk::{self, Desk, Served},
    model::Model,
    pipeline::{self, Cancel, Options, Recording, Take, Transcript, WindowResult},
    stages::{self, Stage},
    status::Failure,
};

pub use crate::desk::{CancelOnDrop, Phase, Settings};

/// The desk of a Whisper.
pub type Transcriber = Desk<Model>;

/// What the work is, for whoever learns that its time was over.
const DOING: &str = "the audio was transcribed";

impl Served for Model {
    fn name(&self) -> &str {
        &self.facts().name
    }

    fn digest(&self) -> &str {
        &self.facts().digest
    }
}

impl Transcriber {
    /// The model is there, and known to be so fast: requests may come.
    pub fn ready(&self, model: Model, load_time: Duration, calibration: Option<Calibration>) {
        if let Some(calibration) = calibration {
            self.admission().expect(calibration.real_time_factor);
            self.metrics().calibrated(&calibration, model.threads());
        }
        let metrics = self.metrics().clone();
        model.watch_runs(move |sequences| metrics.batched(sequences));
        self.serve(model, load_time);
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
        let metrics = self.metrics().clone();
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
        let options = self.settings().options.clone();
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
        let max = self.settings().max_audio_duration;
        let (audio, work_ahead) = estimated(audio, channels, max).await?;
        let permit = self.permit(place, work_ahead, call).await?;
        let stages = call.stages().clone();
        let work = desk::on_worker(permit, call.deadline(), DOING, move |cancel, permit| {
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
        self.admission().measured(audio, took);
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
