//! Samples as they arrive in; where in a part of them somebody speaks out. Keeps the detector's probabilities of the samples
//! that are not transcribed yet, no more.

use std::ops::Range;

use super::PipelineError;
use crate::vad::{Activity, Detector, FRAME, Limits, Settings, VadError, spans};

/// Where somebody speaks, in audio that arrives piece by piece.
pub(super) struct Speech {
    /// `None` once the audio has ended.
    activity: Option<Activity>,
    limits: Limits,
    /// One a frame from `first` on.
    probabilities: Vec<f32>,
    /// The first frame that is still known.
    first: usize,
}

impl Speech {
    pub(super) fn new(detector: &Detector, settings: &Settings) -> Result<Self, PipelineError> {
        Ok(Speech {
            limits: settings.limits()?,
            activity: Some(Activity::new(detector)),
            probabilities: Vec::new(),
            first: 0,
        })
    }

    /// Takes the next samples.
    pub(super) fn push(&mut self, samples: &[f32]) -> Result<(), PipelineError> {
        if let Some(activity) = &mut self.activity {
            self.probabilities.extend(activity.push(samples)?);
        }
        Ok(())
    }

    /// No more samples.
    pub(super) fn finish(&mut self) -> Result<(), PipelineError> {
        if let Some(activity) = self.activity.take() {
            self.probabilities.extend(activity.finish()?);
        }
        Ok(())
    }

    /// The stretches of speech in a part of the audio, in samples from the part's start.
    pub(super) fn within(&self, part: Range<usize>) -> Vec<Range<usize>> {
        let frames = (part.start / FRAME).max(self.first)..part.end.div_ceil(FRAME);
        let known = frames.start - self.first..(frames.end - self.first).min(self.probabilities.len());
        let Some(probabilities) = self.probabilities.get(known) else {
            return vec![];
        };
        let origin = frames.start * FRAME;
        let found = spans(probabilities, &self.limits, probabilities.len() * FRAME);
        let from_start = |sample: usize| (origin + sample).clamp(part.start, part.end) - part.start;
        let found = found
            .into_iter()
            .map(|span| from_start(span.start)..from_start(span.end));
        found.filter(|span| !span.is_empty()).collect()
    }

    /// Forgets what comes before a sample.
    pub(super) fn forget(&mut self, before: usize) {
        let frames = (before / FRAME)
            .saturating_sub(self.first)
            .min(self.probabilities.len());
        self.probabilities.drain(..frames);
        self.first += frames;
    }
}

impl From<VadError> for PipelineError {
    fn from(error: VadError) -> Self {
        match error {
            VadError::InvalidSettings(problem) => {
                PipelineError::InvalidOptions(format!("voice activity: {problem}"))
            }
            other => PipelineError::Engine(other.to_string()),
        }
    }
}
