//! The results of a transcription: words, segments, transcripts. Data only.

use std::time::Duration;

/// A word and when it was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// From the start of the audio.
    pub start: Duration,
    /// From the start of the audio; never before `start`.
    pub end: Duration,
    /// The word with its punctuation, and with the space before it where there is one.
    pub text: String,
    /// Mean probability of its tokens.
    pub probability: f32,
}

/// A stretch of speech.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// From the start of the audio.
    pub start: Duration,
    /// From the start of the audio; never before `start`.
    pub end: Duration,
    /// The channel in which it was said, from 1; `None`: the channels were mixed.
    pub channel: Option<u16>,
    /// Where its window begins, in frames of 10 ms from the start of the audio.
    pub seek: usize,
    /// The words, trimmed.
    pub text: String,
    /// The tokens of the text and the timestamps, as the model said them.
    pub tokens: Vec<u32>,
    /// The words one by one, where they were asked for.
    pub words: Vec<Word>,
    /// The temperature at which the window was decoded.
    pub temperature: f32,
    /// Mean log-probability of the window's tokens, end-of-text included.
    pub avg_logprob: f32,
    /// Bytes of the window's text to its zlib-compressed bytes.
    pub compression_ratio: f32,
    /// Probability that the window holds no speech.
    pub no_speech_prob: f32,
}

/// What was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Transcript {
    /// The segments' texts joined ([`crate::text::join`]).
    pub text: String,
    /// In order of time; those of one channel do not overlap.
    pub segments: Vec<Segment>,
    /// The code of the language given or detected, of several channels that of the first with words; empty when there was no
    /// speech to tell it from.
    pub language: String,
    /// Length of the audio.
    pub audio_duration: Duration,
}

/// The words of one window, final.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowResult {
    /// In order of time; empty when nothing was said.
    pub segments: Vec<Segment>,
    /// As in [`Transcript::language`].
    pub language: String,
    /// All audio up to here is accounted for.
    pub end_offset: Duration,
}

impl WindowResult {
    /// The same, said in this channel.
    pub(crate) fn of(mut self, channel: Option<u16>) -> Self {
        self.segments
            .iter_mut()
            .for_each(|segment| segment.channel = channel);
        self
    }
}
