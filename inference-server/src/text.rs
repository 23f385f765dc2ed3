//! Tokens in; text out. Knows the tokenizer file; knows no audio and no graph.

use std::{collections::HashSet, path::Path};

use tokenizers::Tokenizer;

pub mod languages;

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

    /// The tokens of a text, without special ones.
    pub fn tokens(&self, text: &str) -> Vec<u32> {
        // Fails only for a text that no byte-level tokenizer can refuse.
        self.tokenizer
            .encode(text, false)
            .map(|encoded| encoded.get_ids().to_vec())
            .unwrap_or_default()
    }

    /// Splits text tokens into words with their texts, the spaces before them included. A word of a script without spaces
    /// is what a reader would call a character.
    ///
    /// Source: `whisper/tokenizer.py` (`split_to_word_tokens`).
    pub fn words(&self, tokens: &[u32], language: &str) -> Vec<(String, Vec<u32>)> {
        let characters = self.characters(tokens);
        if UNSPACED_LANGUAGES.contains(&language) {
            return characters;
        }
        let mut words: Vec<(String, Vec<u32>)> = Vec::new();
        for (text, tokens) in characters {
            let alone = text.starts_with(' ') || PUNCTUATION.contains(text.trim());
            match words.last_mut() {
                Some((word, all)) if !alone => {
                    word.push_str(&text);
                    all.extend(tokens);
                }
                _ => words.push((text, tokens)),
            }
        }
        words
    }

    /// The shortest runs of tokens that spell whole characters (`split_tokens_on_unicode`).
    fn characters(&self, tokens: &[u32]) -> Vec<(String, Vec<u32>)> {
        let full: Vec<char> = self.text(tokens).chars().collect();
        let (mut parts, mut current, mut offset) = (Vec::new(), Vec::new(), 0);
        for &token in tokens {
            current.push(token);
            let text = self.text(&current);
            let broken = text.chars().position(|c| c == char::REPLACEMENT_CHARACTER);
            let whole = broken.is_none_or(|at| full.get(offset + at) == Some(&char::REPLACEMENT_CHARACTER));
            if whole {
                offset += text.chars().count();
                parts.push((text, std::mem::take(&mut current)));
            }
        }
        parts
    }

    /// The id of a token such as `<|nospeech|>`.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// Whether a token begins a word: after a space, or in a script that has none between words.
    pub fn begins_word(&self, token: u32) -> bool {
        self.text(&[token])
            .chars()
            .next()
            .is_some_and(|c| c.is_whitespace() || unspaced(c))
    }

    /// What is spoken of a word, to tell whether two windows heard the same one: its text in lower case, without the
    /// punctuation around it. `None` where nothing is.
    pub fn spoken(&self, word: &[u32]) -> Option<String> {
        let text = self.text(word);
        let bare = text.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        (!bare.is_empty()).then_some(bare)
    }
}

/// Languages that are written without spaces between words.
const UNSPACED_LANGUAGES: [&str; 6] = ["zh", "ja", "th", "lo", "my", "yue"];

/// Python's `string.punctuation`.
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// Joins texts by a space, except where a script without spaces between words meets.
pub fn join<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let mut joined = String::new();
    for text in texts.into_iter().map(str::trim).filter(|text| !text.is_empty()) {
        let unspaced = |c: Option<char>| c.is_some_and(unspaced);
        let glued = unspaced(joined.chars().last()) && unspaced(text.chars().next());
        if !joined.is_empty() && !glued {
            joined.push(' ');
        }
        joined.push_str(text);
    }
    joined
}

/// Scripts that are written without spaces between words: Chinese, Japanese, Thai, Lao, Burmese, Khmer, Tibetan.
fn unspaced(c: char) -> bool {
    matches!(c, '\u{0e00}'..='\u{0fff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3000}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{ff00}'..='\u{ffef}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_joined_as_their_script_is_written() {
        assert_eq!(join(["Seven three.", " ", "Two."]), "Seven three. Two.");
        assert_eq!(join(["你好。", "世界"]), "你好。世界");
        assert_eq!(join(["OK", "世界"]), "OK 世界");
        assert_eq!(join([]), "");
    }

    #[test]
    fn special_tokens_are_no_text() {
        let model = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../models/whisper-nano-digits/tokenizer.json"
        );
        let vocabulary = Vocabulary::load(Path::new(model)).unwrap();
        let [start, en, timestamp] =
            ["<|startoftranscript|>", "<|en|>", "<|0.00|>"].map(|token| vocabulary.id(token).unwrap());
        let word = vocabulary
            .tokenizer
            .encode(" one", false)
            .unwrap()
            .get_ids()
            .to_vec();
        let mut tokens = vec![start, en, timestamp];
        tokens.extend(&word);
        assert_eq!(vocabulary.text(&tokens), " one");
        assert_eq!(vocabulary.spoken(&[start]), None);
        assert_eq!(vocabulary.spoken(&tokens).as_deref(), Some("one"));
        assert!(vocabulary.begins_word(word[0]));
    }

    #[test]
    fn words_are_split_at_spaces_and_punctuation_and_characters_stay_whole() {
        let model = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../models/whisper-nano-digits/tokenizer.json"
        );
        let vocabulary = Vocabulary::load(Path::new(model)).unwrap();
        let split = |text: &str, language: &str| -> Vec<String> {
            let tokens = vocabulary.tokens(text);
            let words = vocabulary.words(&tokens, language);
            assert_eq!(
                words
                    .iter()
                    .flat_map(|(_, tokens)| tokens.clone())
                    .collect::<Vec<_>>(),
                tokens
            );
            words.into_iter().map(|(word, _)| word).collect()
        };
        assert_eq!(
            split(" Seven three one.", "en"),
            [" Seven", " three", " one", "."]
        );
        assert_eq!(split(" größer", "de"), [" größer"]);
        assert_eq!(split("世界", "ja"), ["世", "界"]);
    }
}
