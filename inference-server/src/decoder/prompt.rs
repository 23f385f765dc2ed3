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
