//! Language, task, timestamps and what was said before in; the tokens that the decoder starts from out. Pure.

use crate::{
    model::{Model, TokenConfig},
    pipeline::Task,
};

/// The tokens that the decoder starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    tokens: Vec<u32>,
    start: usize,
}

impl Prompt {
    /// `<|startoftranscript|>`, and for a model of many languages language and task, and `<|notimestamps|>` unless
    /// timestamps are wanted. `None`: the model has no such language or task.
    pub fn new(config: &TokenConfig, language: Option<&str>, task: Task, timestamps: bool) -> Option<Prompt> {
        let mut tokens = vec![config.start];
        if config.multilingual() {
            tokens.push(*config.languages.get(language?)?);
            tokens.push(*config.tasks.get(task.name())?);
        }
        if !timestamps {
            tokens.extend(config.no_timestamps);
        }
        Some(Prompt { tokens, start: 0 })
    }

    /// The same after `<|startofprev|>`, hot words, and as much of the end of `previous` as half of the decoder's
    /// `positions` has room for. Unchanged where there is nothing to say, or the model has no such token.
    ///
    /// Source: `whisper/decoding.py` (`DecodingTask._get_initial_tokens`); hot words as in faster-whisper (`get_prompt`).
    pub fn after(
        mut self,
        config: &TokenConfig,
        positions: usize,
        hotwords: &[u32],
        previous: &[u32],
    ) -> Prompt {
        let Some(marker) = config
            .previous
            .filter(|_| !(hotwords.is_empty() && previous.is_empty()))
        else {
            return self;
        };
        let room = (positions / 2).saturating_sub(1);
        let hotwords = &hotwords[..hotwords.len().min(room)];
        let previous = &previous[previous.len().saturating_sub(room - hotwords.len())..];
        let before: Vec<u32> = [&[marker], hotwords, previous].concat();
        self.start += before.len();
        self.tokens.splice(0..0, before);
        self
    }

    /// All tokens, in order.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Where `<|startoftranscript|>` is among them.
    pub fn start(&self) -> usize {
        self.start
    }
}

/// The token whose probability tells that nobody speaks: `<|nospeech|>`, in older tokenizers `<|nocaptions|>`, and in
/// tokenizers without either the one before `<|notimestamps|>`, where transformers takes it to be.
pub fn no_speech_token(model: &Model) -> Option<u32> {
    let named = model
        .vocabulary
        .id("<|nospeech|>")
        .or_else(|| model.vocabulary.id("<|nocaptions|>"));
    named.or_else(|| model.config.tokens.no_timestamps?.checked_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(languages: &[(&str, u32)]) -> TokenConfig {
        TokenConfig {
            start: 10,
            end: 11,
            no_timestamps: Some(30),
            languages: languages
                .iter()
                .map(|(code, id)| ((*code).to_owned(), *id))
                .collect(),
            tasks: [("transcribe".to_owned(), 20)].into(),
            suppress: vec![],
            begin_suppress: vec![],
            max_initial_timestamp_index: None,
            max_length: 448,
            previous: Some(31),
            alignment_heads: None,
        }
    }

    #[test]
    fn a_model_of_many_languages_is_told_language_and_task() {
        let config = config(&[("en", 12), ("de", 13)]);
        let tokens =
            |language, task, timestamps| Prompt::new(&config, language, task, timestamps).map(|p| p.tokens);
        assert_eq!(
            tokens(Some("de"), Task::Transcribe, false),
            Some(vec![10, 13, 20, 30])
        );
        assert_eq!(tokens(Some("en"), Task::Transcribe, true), Some(vec![10, 12, 20]));
        assert_eq!(tokens(Some("fr"), Task::Transcribe, true), None);
        assert_eq!(tokens(None, Task::Transcribe, true), None);
        assert_eq!(tokens(Some("en"), Task::Translate, true), None);
    }

    #[test]
    fn a_model_of_one_language_is_told_neither() {
        let prompt = Prompt::new(&config(&[]), Some("en"), Task::Transcribe, false);
        assert_eq!(prompt.map(|p| p.tokens), Some(vec![10, 30]));
    }

    #[test]
    fn what_was_said_before_comes_first_and_only_its_end_when_it_is_long() {
        let config = config(&[("en", 12)]);
        let after = |positions, hotwords: &[u32], previous: &[u32]| {
            let prompt = Prompt::new(&config, Some("en"), Task::Transcribe, true).unwrap();
            let prompt = prompt.after(&config, positions, hotwords, previous);
            assert_eq!(prompt.tokens()[prompt.start()..], [10, 12, 20]);
            prompt.tokens()[..prompt.start()].to_vec()
        };
        assert_eq!(after(448, &[], &[]), [0; 0]);
        assert_eq!(after(448, &[], &[1, 2]), [31, 1, 2]);
        assert_eq!(after(448, &[5], &[1, 2]), [31, 5, 1, 2]);
        assert_eq!(
            after(8, &[], &[1, 2, 3, 4, 5]),
            [31, 3, 4, 5],
            "half of eight, the marker included"
        );
        assert_eq!(after(8, &[7, 8], &[1, 2, 3]), [31, 7, 8, 3]);
        assert_eq!(after(8, &[5, 6, 7, 8, 9], &[1]), [31, 5, 6, 7]);
    }
}
