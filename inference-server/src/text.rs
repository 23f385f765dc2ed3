//! Tokens in; text out. Knows the tokenizer file; knows no audio and no graph.

use std::{collections::HashSet, path::Path};

use tokenizers::Tokenizer;

/// A model's tokenizer.
pub struct Vocabulary {
    tokenizer: Tokenizer,
    /// Ids that stand for no text: special tokens, languages, timestamps.
    marks: HashSet<u32>,
}

impl Vocabulary {
    /// Reads `tokenizer.json`.
    pub fn load(path: &Path) -> Result<Self, String> {
        let tokenizer = Tokenizer::from_file(path).map_err(|e| e.to_string())?;
        let marks = tokenizer.get_added_tokens_decoder().into_keys().collect();
        Ok(Vocabulary { tokenizer, marks })
    }

    /// The text of tokens, exactly as the tokenizer spells it, without special tokens and timestamps.
    pub fn text(&self, tokens: &[u32]) -> String {
        let words: Vec<u32> = tokens
            .iter()
            .copied()
            .filter(|id| !self.marks.contains(id))
            .collect();
        // Fails only for a tokenizer without a decoder, which spells tokens one by one.
        self.tokenizer.decode(&words, false).unwrap_or_default()
    }

    /// The id of a token such as `<|nospeech|>`.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// Which of two windows' tokens are the same word: the text in lower case without punctuation around it.
    ///
    /// `None` for what is no word of its own: marks, and parts of characters.
    pub fn spoken(&self, token: u32) -> Option<String> {
        let text = self.text(&[token]);
        let bare = text.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        (!bare.is_empty() && !text.contains(char::REPLACEMENT_CHARACTER)).then_some(bare)
    }
}
