//! Two texts in; how many words of one are wrong out.
//!
//! Texts are made alike first, as `BasicTextNormalizer` of openai/whisper does: compatibility forms (NFKC), lower case, nothing in
//! brackets, no marks, symbols and punctuation. So `Eight, nine.` and `eight nine` are the same. Words are what stands between spaces.

use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::UnicodeNormalization;

/// What is left out: remarks in brackets, and characters that are no part of a word.
static BRACKETED: LazyLock<Regex> = LazyLock::new(|| pattern(r"[<\[][^>\]]*[>\]]|\([^)]+\)"));
static SYMBOLS: LazyLock<Regex> = LazyLock::new(|| pattern(r"[\p{M}\p{S}\p{P}]"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the patterns of this file are sound")
}

/// The words of a text, made alike.
pub(super) fn of(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let plain = BRACKETED.replace_all(&lower, "");
    let composed: String = plain.nfkc().collect();
    let bare = SYMBOLS.replace_all(&composed, " ").to_lowercase();
    bare.split_whitespace().map(str::to_owned).collect()
}

/// The number of words in `expected`, and how many words of `heard` are wrong, missing or too many: the least number of changes
/// that make it `expected`.
pub(super) fn compare(expected: &str, heard: &str) -> (usize, usize) {
    let (expected, heard) = (of(expected), of(heard));
    (expected.len(), strsim::generic_levenshtein(&expected, &heard))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors_in(expected: &str, heard: &str) -> usize {
        compare(expected, heard).1
    }

    #[test]
    fn texts_are_made_alike_as_whisper_does() {
        for (text, expected) in [
            ("Seven, three - ONE.", "seven three one"),
            ("[music] Hello <noise> (laughs) there!", "hello there"),
            ("It's  10\u{a0}km/h", "it s 10 km h"),
            ("ﬁne ＡＢＣ", "fine abc"),
            ("Élève", "élève"),
            ("naïve", "naïve"),
            ("...", ""),
        ] {
            assert_eq!(of(text).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn wrong_missing_and_surplus_words_are_errors() {
        assert_eq!(errors_in("one two three", "One, two, three."), 0);
        assert_eq!(errors_in("one two three", "one three three"), 1, "wrong");
        assert_eq!(errors_in("one two three", "two three"), 1, "missing");
        assert_eq!(errors_in("one two", "one or two"), 1, "too many");
        assert_eq!(errors_in("one two three", ""), 3);
        assert_eq!(errors_in("", "thank you"), 2);
    }
}
