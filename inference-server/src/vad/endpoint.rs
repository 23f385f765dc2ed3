//! Probabilities as they come in; that speech began or ended out. Keeps a few numbers, no audio.
//!
//! Source: `VADIterator` of Silero VAD 6.2.3 (`silero_vad/utils_vad.py`). Different here: the threshold below which speech
//! may end is the one of the settings; there it is always 0.15 below the other.

use super::{FRAME, Limits};

/// What happened in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Speech began at this sample of the stream: `speech_pad` before the frame in which it was heard.
    SpeechStart(usize),
    /// Speech ended at this sample of the stream: `speech_pad` after the last frame with speech in it, which is about
    /// `min_silence` ago.
    SpeechEnd(usize),
}

/// Listens to the probabilities of one stream.
///
/// Speech is reported when it begins, so it is not known yet whether it will last: `min_speech` and `max_speech` have no
/// part in this. Starts and ends alternate, beginning with a start.
#[derive(Clone, Debug)]
pub struct Endpoint {
    limits: Limits,
    /// Where the next frame begins.
    position: usize,
    speaking: bool,
    /// Since when it has been below the negative threshold; only while speaking.
    quiet: Option<usize>,
}

impl Endpoint {
    /// Nothing heard yet.
    pub fn new(limits: &Limits) -> Self {
        Endpoint {
            limits: *limits,
            position: 0,
            speaking: false,
            quiet: None,
        }
    }

    /// Whether somebody speaks, or has until less than `min_silence` ago.
    pub fn speaking(&self) -> bool {
        self.speaking
    }

    /// Takes the probability of the next frame.
    pub fn push(&mut self, probability: f32) -> Option<Event> {
        let (at, probability) = (self.position, f64::from(probability));
        self.position += FRAME;
        if probability >= self.limits.threshold {
            self.quiet = None;
            if !self.speaking {
                self.speaking = true;
                return Some(Event::SpeechStart(at.saturating_sub(self.limits.speech_pad)));
            }
        }
        if self.speaking && probability < self.limits.neg_threshold {
            let since = *self.quiet.get_or_insert(at);
            if at - since >= self.limits.min_silence {
                self.speaking = false;
                self.quiet = None;
                return Some(Event::SpeechEnd(since + self.limits.speech_pad));
            }
        }
        None
    }

    /// No more audio: ends the speech that goes on, at the end of the stream's `samples` samples.
    pub fn finish(self, samples: usize) -> Option<Event> {
        self.speaking.then_some(Event::SpeechEnd(samples))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vad::Settings;

    #[test]
    fn speech_that_goes_on_ends_with_the_stream() {
        let mut endpoint = Endpoint::new(&Settings::default().limits().unwrap());
        assert_eq!(endpoint.clone().finish(0), None);
        assert_eq!(endpoint.push(0.1), None);
        assert_eq!(endpoint.push(0.9), Some(Event::SpeechStart(FRAME - 480)));
        assert!(endpoint.speaking());
        assert_eq!(endpoint.clone().finish(1_000), Some(Event::SpeechEnd(1_000)));
        // 0, 32, 64 and 96 ms of silence are too little, 128 ms are enough.
        for _ in 0..4 {
            assert_eq!(endpoint.push(0.1), None);
        }
        assert_eq!(endpoint.push(0.1), Some(Event::SpeechEnd(2 * FRAME + 480)));
        assert!(!endpoint.speaking());
        assert_eq!(endpoint.finish(4_000), None);
    }
}
