//! Interleaved samples of any shape in; 16 kHz samples out, mixed or channel by channel, never longer than the limit.
//! Where the shape changes within a stream (chained Ogg), what was before is finished and joined to what follows.

use std::time::Duration;

use super::{AudioError, Channels, mix::Shape, resample::Resampler};

/// Samples at 16 kHz: one vector, or one for each channel.
pub(super) type Lanes = Vec<Vec<f32>>;

/// Where decoded samples go.
pub(super) struct Output {
    channels: Channels,
    max: Duration,
    /// How long the finished parts are, in seconds.
    before: f64,
    part: Option<Part>,
    ready: Lanes,
}

/// Samples of one shape.
struct Part {
    shape: Shape,
    frames: u64,
    promised: Option<u64>,
    resamplers: Vec<Resampler>,
}

impl Output {
    pub(super) fn new(channels: Channels, max: Duration) -> Self {
        Output {
            channels,
            max,
            before: 0.0,
            part: None,
            ready: Vec::new(),
        }
    }

    /// A header was read: samples of this shape follow, so many frames if it says so.
    pub(super) fn begin(&mut self, shape: Shape, promised: Option<u64>) -> Result<(), AudioError> {
        let lanes = self.channels.out_of(shape.channels)?;
        if !self.ready.is_empty() && self.ready.len() != lanes {
            return Err(AudioError::Unsupported(
                "the number of channels changes within the file, so that they cannot be transcribed each by itself; \
                 mix them"
                    .to_owned(),
            ));
        }
        self.end_part()?;
        self.ready.resize(lanes, Vec::new());
        let resamplers = (0..lanes)
            .map(|_| Resampler::new(shape.rate))
            .collect::<Result<_, _>>()?;
        self.part = Some(Part {
            shape,
            frames: 0,
            promised,
            resamplers,
        });
        self.check(promised.unwrap_or(0))
    }

    /// The next samples.
    pub(super) fn take(&mut self, interleaved: &[f32]) -> Result<(), AudioError> {
        let Some(part) = &mut self.part else {
            return Ok(());
        };
        let channels = part.shape.channels;
        part.frames += (interleaved.len() / usize::from(channels)) as u64;
        let frames = part.frames;
        self.check(frames)?;
        let Some(part) = &mut self.part else {
            return Ok(());
        };
        let lanes = self.channels.pick(interleaved, channels);
        for ((lane, resampler), ready) in lanes.into_iter().zip(&mut part.resamplers).zip(&mut self.ready) {
            ready.extend(resampler.push(lane)?);
        }
        Ok(())
    }

    /// What is ready; nothing yet is one empty vector when the channels are mixed.
    pub(super) fn ready(&mut self) -> Lanes {
        if self.ready.is_empty() {
            return match self.channels {
                Channels::Mix => vec![Vec::new()],
                Channels::Each => Vec::new(),
            };
        }
        self.ready.iter_mut().map(std::mem::take).collect()
    }

    /// The rest. Here a stream turns out to be shorter than its header promises.
    pub(super) fn finish(mut self) -> Result<Lanes, AudioError> {
        self.end_part()?;
        Ok(self.ready())
    }

    /// Refuses what is too long as soon as that is known: by the header, or by the samples so far.
    fn check(&self, frames: u64) -> Result<(), AudioError> {
        let rate = self.part.as_ref().map_or(0, |part| part.shape.rate);
        let most = ((self.max.as_secs_f64() - self.before) * f64::from(rate)).ceil() as u64;
        if frames > most {
            return Err(AudioError::TooLong { max: self.max });
        }
        Ok(())
    }

    fn end_part(&mut self) -> Result<(), AudioError> {
        let Some(part) = self.part.take() else {
            return Ok(());
        };
        let rate = part.shape.rate;
        if let Some(promised) = part.promised.filter(|&promised| part.frames < promised) {
            return Err(AudioError::truncated(promised, part.frames, rate));
        }
        self.before += part.frames as f64 / f64::from(rate);
        for (resampler, ready) in part.resamplers.into_iter().zip(&mut self.ready) {
            ready.extend(resampler.finish()?);
        }
        Ok(())
    }
}
