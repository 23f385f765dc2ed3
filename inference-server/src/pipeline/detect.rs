//! Audio in; the languages by their probability out, as `openai/whisper` detects them: from the first window with speech.

use super::{Cancel, Options, PipelineError, listener::Listener, speech::Speech};
use crate::{audio::Pcm16k, model::Model};

/// The languages that may be spoken, likeliest first, with their probabilities (0 to 1, together 1); none where nobody speaks.
/// A model of one language is sure of it.
///
/// Source: `whisper/decoding.py` (`detect_language`).
pub fn detect_language(
    model: &Model,
    audio: &Pcm16k,
    options: &Options,
    cancel: &Cancel,
) -> Result<Vec<(String, f32)>, PipelineError> {
    let listener = Listener::new(
        model,
        &Options {
            language: super::Language::Auto,
            ..options.clone()
        },
    )?;
    let (samples, features) = (audio.samples(), &model.config().features);
    let begin = match &options.vad {
        None => Some(0),
        Some(settings) => {
            let mut speech = Speech::new(&model.detector, settings)?;
            speech.push(samples)?;
            speech.finish()?;
            speech.within(0..samples.len()).first().map(|span| span.start)
        }
    };
    let Some(begin) = begin.filter(|_| !samples.is_empty()) else {
        return Ok(vec![]);
    };
    let tokens = &model.config().tokens;
    if !tokens.multilingual() {
        return Ok(tokens
            .codes()
            .into_iter()
            .take(1)
            .map(|code| (code, 1.0))
            .collect());
    }
    cancel.check()?;
    let end = samples.len().min(begin + features.n_samples);
    let found = listener.languages(&model.extractor.extract(&samples[begin..end]))?;
    Ok(found
        .into_iter()
        .map(|(code, probability)| (code.to_owned(), probability))
        .collect())
}
