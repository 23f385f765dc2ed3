//! Samples as they are spoken in; words out, at first as they seem to be and then as they are, and when speech begins and ends.
//! Around [`Live`]: an utterance ends where its speaker pauses, not where a window is full.

use std::time::{Duration, Instant};

use super::{Cancel, Live, LongForm, Options, PipelineError, Segment, WindowResult};
use crate::{
    audio::SAMPLE_RATE,
    model::Model,
    vad::{Activity, Endpoint, Event},
};

/// Audio that is taken at once: 100 ms.
const PIECE: usize = 1600;
/// New audio that is worth another look.
const INTERIM_EVERY: Duration = Duration::from_millis(500);
/// Looks may take so much of the time: one half, of all channels together.
const LOOKS: u32 = 2;

/// What is told of audio while it is spoken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveOptions {
    /// The silence that ends an utterance and makes its words final. `None`: they are final when a window is full.
    pub utterance_silence: Option<Duration>,
    /// Whether words are told before they are final.
    pub interim_results: bool,
    /// Whether it is told when speech begins and ends.
    pub voice_activity: bool,
    /// Where the audio begins, added to all times: it goes on where another stream broke off.
    pub start_offset: Duration,
}

impl LiveOptions {
    /// The silence that ends an utterance where a stream that wants to hear of words early does not say.
    pub const UTTERANCE_SILENCE: Duration = Duration::from_millis(500);

    /// Whether anything is told that a recording is not told.
    fn early(&self) -> bool {
        self.utterance_silence.is_some() || self.interim_results || self.voice_activity
    }
}

/// News of a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// Somebody began to speak then.
    SpeechStart(Duration),
    /// They stopped then.
    SpeechEnd(Duration),
    /// Words that may still change.
    Interim {
        /// All words since the last final result.
        result: WindowResult,
        /// The words at its beginning that the look before had found too.
        stable: String,
        /// Their share of all words, 0 to 1.
        stability: f32,
    },
    /// Words that stay.
    Final(WindowResult),
    /// All words up to here are final, because the client said so.
    Committed(Duration),
}

/// One stream.
pub struct Conversation<'m> {
    live: Live<'m>,
    options: LiveOptions,
    /// Conversations that share the time.
    among: u32,
    /// Listens for the speaker; `None` where nothing is to be told of them, and once the audio has ended.
    listening: Option<Activity>,
    endpoint: Endpoint,
    /// Samples so far.
    heard: usize,
    /// Samples at the last look, how long it took, and its words.
    looked: usize,
    look_took: Duration,
    seen: Vec<String>,
}

impl<'m> Conversation<'m> {
    /// Checks the options against the model. What is told early is told chunk by chunk, whatever long form was asked for.
    pub fn new(model: &'m Model, options: &Options, live: LiveOptions) -> Result<Self, PipelineError> {
        let mut options = options.clone();
        let mut settings = options.vad.clone().unwrap_or_else(super::options::speech);
        if let Some(silence) = live.utterance_silence {
            settings.min_silence = silence;
        }
        if live.early() {
            options.long_form = LongForm::Chunked;
        }
        let limits = settings.limits()?;
        Ok(Conversation {
            live: Live::new(model, &options)?,
            listening: live.early().then(|| Activity::new(&model.detector)),
            options: live,
            among: 1,
            endpoint: Endpoint::new(&limits),
            heard: 0,
            looked: 0,
            look_took: Duration::ZERO,
            seen: Vec::new(),
        })
    }

    /// So many others have a part in the time.
    pub fn beside(mut self, others: usize) -> Self {
        self.among = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
        self
    }

    /// Takes the next samples (16 kHz mono) and returns what there is to tell.
    pub fn push(&mut self, samples: &[f32], cancel: &Cancel) -> Result<Vec<Update>, PipelineError> {
        let mut updates = Vec::new();
        for piece in samples.chunks(PIECE) {
            let windows = self.live.push(piece, cancel)?;
            self.heard += piece.len();
            self.tell(windows, &mut updates);
            if let Some(activity) = &mut self.listening {
                let probabilities = activity.push(piece)?;
                for event in probabilities
                    .into_iter()
                    .filter_map(|p| self.endpoint.push(p))
                    .collect::<Vec<_>>()
                {
                    self.speaker(event, &mut updates, cancel)?;
                }
            }
            if self.options.interim_results && self.endpoint.speaking() && self.worth_a_look() {
                self.look(&mut updates, cancel)?;
            }
        }
        Ok(updates)
    }

    /// What was said until now is final: the client says so.
    pub fn commit(&mut self, cancel: &Cancel) -> Result<Vec<Update>, PipelineError> {
        let mut updates = Vec::new();
        let windows = self.live.cut(self.heard, cancel)?;
        self.tell(windows, &mut updates);
        updates.push(Update::Committed(self.now()));
        Ok(updates)
    }

    /// What is not final is forgotten: the client says so.
    pub fn clear(&mut self) {
        self.live.clear();
        self.seen.clear();
        self.looked = self.heard;
    }

    fn now(&self) -> Duration {
        self.options.start_offset + Duration::from_secs_f64(self.heard as f64 / f64::from(SAMPLE_RATE))
    }

    /// No more audio: what is left is final.
    pub fn finish(mut self, cancel: &Cancel) -> Result<Vec<Update>, PipelineError> {
        let mut updates = Vec::new();
        if let Some(activity) = self.listening.take() {
            let last = activity
                .finish()?
                .and_then(|probability| self.endpoint.push(probability));
            let end = self.endpoint.clone().finish(self.heard);
            for event in [last, end].into_iter().flatten() {
                if self.options.voice_activity {
                    updates.push(self.told(event));
                }
            }
        }
        let origin = self.options.start_offset;
        let windows = self.live.finish(cancel)?;
        updates.extend(
            windows
                .into_iter()
                .map(|window| Update::Final(later(window, origin))),
        );
        Ok(updates)
    }

    /// The speaker began or stopped.
    fn speaker(
        &mut self,
        event: Event,
        updates: &mut Vec<Update>,
        cancel: &Cancel,
    ) -> Result<(), PipelineError> {
        if self.options.voice_activity {
            updates.push(self.told(event));
        }
        match event {
            Event::SpeechStart(at) if self.options.utterance_silence.is_some() => self.live.skip(at),
            Event::SpeechEnd(at) if self.options.utterance_silence.is_some() => {
                let windows = self.live.cut(at, cancel)?;
                self.tell(windows, updates);
            }
            _ => {}
        }
        Ok(())
    }

    fn told(&self, event: Event) -> Update {
        let time = |sample: usize| {
            let sample = sample.min(self.heard);
            self.options.start_offset + Duration::from_secs_f64(sample as f64 / f64::from(SAMPLE_RATE))
        };
        match event {
            Event::SpeechStart(at) => Update::SpeechStart(time(at)),
            Event::SpeechEnd(at) => Update::SpeechEnd(time(at)),
        }
    }

    fn tell(&mut self, windows: Vec<WindowResult>, updates: &mut Vec<Update>) {
        if !windows.is_empty() {
            self.seen.clear();
            self.looked = self.heard;
        }
        let origin = self.options.start_offset;
        updates.extend(
            windows
                .into_iter()
                .map(|window| Update::Final(later(window, origin))),
        );
    }

    /// Whether there is enough new audio, and time.
    fn worth_a_look(&self) -> bool {
        let new = Duration::from_secs_f64((self.heard - self.looked) as f64 / f64::from(SAMPLE_RATE));
        new >= INTERIM_EVERY.max(self.look_took * LOOKS * self.among)
    }

    fn look(&mut self, updates: &mut Vec<Update>, cancel: &Cancel) -> Result<(), PipelineError> {
        let began = Instant::now();
        let Some(result) = self.live.peek(cancel)? else {
            return Ok(());
        };
        (self.looked, self.look_took) = (self.heard, began.elapsed());
        let words = words(&result.segments);
        let same = words
            .iter()
            .zip(&self.seen)
            .take_while(|(new, old)| new == old)
            .count();
        let stable = words[..same].join(" ");
        let stability = if words.is_empty() {
            0.0
        } else {
            same as f32 / words.len() as f32
        };
        let again = words == self.seen && same == words.len() && words.is_empty();
        self.seen = words;
        if !again {
            updates.push(Update::Interim {
                result: later(result, self.options.start_offset),
                stable,
                stability,
            });
        }
        Ok(())
    }
}

fn words(segments: &[Segment]) -> Vec<String> {
    let words = segments
        .iter()
        .flat_map(|segment| segment.text.split_whitespace());
    words.map(str::to_owned).collect()
}

/// The same, so much later.
fn later(mut result: WindowResult, by: Duration) -> WindowResult {
    result.end_offset += by;
    for segment in &mut result.segments {
        segment.start += by;
        segment.end += by;
        for word in &mut segment.words {
            word.start += by;
            word.end += by;
        }
    }
    result
}
