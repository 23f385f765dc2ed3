//! The words of two windows that share some audio in; where the first ends and the second begins out. Pure.
//!
//! Source: `_find_longest_common_sequence` of transformers (`models/whisper/tokenization_whisper.py`): slide one
//! sequence along the other, count the equal places of each overlap, prefer many and long, cut in the middle of the best.
//! Different here: words are compared, as they are spoken, and not tokens, which change when a word is capitalised; only as
//! many as the shared audio can hold are looked at; one equal word is enough, since a second of audio seldom holds more than
//! two; and a different word costs, but little where a window begins or ends, since it may have cut that word short.

/// The most words that a second of audio holds; a character is a word where there are no spaces.
const WORDS_PER_SECOND: f64 = 12.0;

/// What a different word costs at either end of an overlap, where one of the windows may have cut it short; elsewhere 1.
const CUT_SHORT: f64 = 0.25;

/// Where to cut: the first window keeps `left` words, the second loses `right`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) left: usize,
    pub(super) right: usize,
}

/// Finds the words said in both windows; `None`: there are none, and nothing is to be cut.
///
/// A word is what is spoken of it, `None` where that is nothing (punctuation on its own). `shared` is the length of the
/// audio that both windows heard, in seconds.
pub(super) fn cut(left: &[Option<String>], right: &[Option<String>], shared: f64) -> Option<Cut> {
    // Only what is spoken is compared; the indices lead back to all words.
    let spoken = |words: &[Option<String>]| -> Vec<usize> {
        (0..words.len()).filter(|&i| words[i].is_some()).collect()
    };
    let (l, r) = (spoken(left), spoken(right));
    let most = ((shared * WORDS_PER_SECOND).ceil() as usize + 1)
        .min(l.len())
        .min(r.len());
    let mut best: Option<(f64, Vec<Cut>)> = None;
    for length in 1..=most {
        let pairs: Vec<Cut> = l[l.len() - length..]
            .iter()
            .zip(&r[..length])
            .map(|(&left, &right)| Cut { left, right })
            .collect();
        let (same, other): (Vec<Cut>, Vec<Cut>) = pairs
            .iter()
            .partition(|pair| left[pair.left] == right[pair.right]);
        let cut_short = other
            .iter()
            .filter(|pair| **pair == pairs[0] || **pair == pairs[length - 1])
            .count();
        let score = same.len() as f64 - CUT_SHORT * cut_short as f64 - (other.len() - cut_short) as f64;
        if !same.is_empty() && score > best.as_ref().map_or(0.0, |(most, _)| *most) {
            best = Some((score, same));
        }
    }
    best.map(|(_, same)| same[same.len() / 2])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<Option<String>> {
        let spoken = |w: &str| w.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        text.split_whitespace()
            .map(spoken)
            .map(|w| (!w.is_empty()).then_some(w))
            .collect()
    }

    fn merged(left: &str, right: &str) -> String {
        let (l, r): (Vec<&str>, Vec<&str>) = (
            left.split_whitespace().collect(),
            right.split_whitespace().collect(),
        );
        let cut = cut(&words(left), &words(right), 1.0).unwrap_or(Cut {
            left: l.len(),
            right: 0,
        });
        [&l[..cut.left], &r[cut.right..]].concat().join(" ")
    }

    #[test]
    fn words_heard_twice_are_written_once() {
        assert_eq!(merged("one two three", "three four"), "one two three four");
        assert_eq!(
            merged("one two Three four.", "Three four five"),
            "one two Three four five"
        );
        assert_eq!(merged("one two", "three four"), "one two three four");
        assert_eq!(merged("", "three"), "three");
        assert_eq!(merged("one", ""), "one");
    }

    #[test]
    fn words_cut_short_at_either_end_do_not_matter() {
        // The first window heard "fi" of five, the second "ree" of three.
        assert_eq!(
            merged("two three four fi", "ree four five six"),
            "two three four five six"
        );
        assert_eq!(
            merged("two three fi", "ree five six"),
            "two three fi ree five six"
        );
    }

    proptest! {
        /// However long the overlap, and with a wrong word at either end of it, every word is there once.
        #[test]
        fn nothing_is_doubled_or_lost(before in 0usize..20, shared in 1usize..10, after in 0usize..20, wrong: bool) {
            let all: Vec<String> = (0..before + shared + after).map(|i| format!("w{i}")).collect();
            let mut left = all[..before + shared].to_vec();
            let mut right = all[before..].to_vec();
            if wrong && shared >= 3 {
                left[before + shared - 1] = "x".to_owned();
                right[0] = "y".to_owned();
            }
            prop_assert_eq!(merged(&left.join(" "), &right.join(" ")), all.join(" "));
        }

        /// Whatever the words, the cut is within them.
        #[test]
        fn the_cut_is_within_the_words(left in "[a-c ]{0,40}", right in "[a-c ]{0,40}") {
            let (l, r) = (words(&left), words(&right));
            if let Some(cut) = cut(&l, &r, 1.0) {
                prop_assert!(cut.left < l.len() && cut.right < r.len());
            }
        }
    }
}
