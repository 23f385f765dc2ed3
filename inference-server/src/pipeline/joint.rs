//! The words of two windows that share some audio in; where the first ends and the second begins out. Pure.
//!
//! Source: `_find_longest_common_sequence` of transformers (`models/whisper/tokenization_whisper.py`): slide one
//! sequence along the other, count the equal places of each overlap, prefer many and long, cut in the middle of the best.
//! Different here: words are compared as they are spoken, not as they are capitalised; only as many as the shared audio
//! can hold are looked at; and one equal word is enough, since a second of audio seldom holds more than two.

/// The most words (tokens) that a second of audio holds.
const WORDS_PER_SECOND: f64 = 12.0;

/// Where to cut: the first window keeps `left` words, the second loses `right`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) left: usize,
    pub(super) right: usize,
}

/// A word to compare: what is spoken, if it is a word, and whether a text may be cut before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) spoken: Option<String>,
    pub(super) begins: bool,
}

/// Finds the words said in both windows; `None`: there are none, and nothing is to be cut.
///
/// `shared` is the length of the audio that both windows heard, in seconds.
pub(super) fn cut(left: &[Word], right: &[Word], shared: f64) -> Option<Cut> {
    // Only what is spoken is compared; the indices lead back to all words.
    let spoken =
        |words: &[Word]| -> Vec<usize> { (0..words.len()).filter(|&i| words[i].spoken.is_some()).collect() };
    let (l, r) = (spoken(left), spoken(right));
    let most = ((shared * WORDS_PER_SECOND).ceil() as usize + 1)
        .min(l.len())
        .min(r.len());
    let mut best: Option<(f64, Vec<(usize, usize)>)> = None;
    for length in 1..=most {
        let pairs = l[l.len() - length..]
            .iter()
            .copied()
            .zip(r[..length].iter().copied());
        let same: Vec<(usize, usize)> = pairs
            .filter(|&(i, j)| left[i].spoken == right[j].spoken)
            .collect();
        // A word that only one window cut short may be wrong at either end of the overlap, hence a third is enough.
        if same.len() * 3 < length || same.is_empty() {
            continue;
        }
        let score = same.len() as f64 / length as f64 + length as f64 / 10_000.0;
        if best.as_ref().is_none_or(|(most, _)| score > *most) {
            best = Some((score, same));
        }
    }
    let (_, same) = best?;
    let middle = same.len() / 2;
    let cuttable = (0..same.len()).filter(|&i| right[same[i].1].begins && left[same[i].0].begins);
    let at = cuttable.min_by_key(|i| i.abs_diff(middle)).unwrap_or(0);
    Some(Cut {
        left: same[at].0,
        right: same[at].1,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<Word> {
        let word = |w: &str| {
            let bare = w.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
            Word {
                spoken: (!bare.is_empty()).then_some(bare),
                begins: true,
            }
        };
        text.split_whitespace().map(word).collect()
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

    #[test]
    fn a_word_of_several_tokens_is_not_cut() {
        let word = |spoken: &str, begins| Word {
            spoken: Some(spoken.to_owned()),
            begins,
        };
        let left = [
            word("a", true),
            word("zu", true),
            word("gvo", false),
            word("gel", false),
        ];
        let right = [
            word("zu", true),
            word("gvo", false),
            word("gel", false),
            word("b", true),
        ];
        assert_eq!(cut(&left, &right, 1.0), Some(Cut { left: 1, right: 0 }));
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
