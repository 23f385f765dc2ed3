//! Language, task and timestamps in; the tokens that the decoder starts from out.

use crate::{
    model::{Model, TokenConfig},
    pipeline::Task,
};

/// The tokens that the decoder starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt(Vec<u32>);

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
        Some(Prompt(tokens))
    }

    /// The start token, then what the model knows of language, task and timestamps.
    pub fn tokens(&self) -> &[u32] {
        &self.0
    }

    /// All but the start token.
    pub fn after_start(&self) -> &[u32] {
        &self.0[1..]
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
        }
    }

    #[test]
    fn a_model_of_many_languages_is_told_language_and_task() {
        let config = config(&[("en", 12), ("de", 13)]);
        let tokens =
            |language, task, timestamps| Prompt::new(&config, language, task, timestamps).map(|p| p.0);
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
        assert_eq!(prompt.map(|p| p.after_start().to_vec()), Some(vec![30]));
    }
}
