//! The text of a window in; when each word was said out: the decoder reads the text once more, and where it looks tells when.
//!
//! Source: `openai/whisper`, `whisper/timing.py` (`find_alignment`, `merge_punctuations`, `add_word_timestamps`). A model whose
//! decoder does not show where it looks gets words spread over their stretch by their length instead.

use super::{
    Cancel, PipelineError, Punctuation,
    segments::{Stretch, Timing},
};
use crate::{
    decoder::{Decoder, Prompt},
    model::{Engine, Model},
};

mod align;

/// The longest median word that is believed, in seconds.
const LONGEST_MEDIAN: f64 = 0.7;
const SENTENCE_ENDS: &str = ".。!！?？";

/// One window whose words are to be timed.
pub(super) struct Window<'a> {
    pub(super) model: &'a Model,
    /// Language of the words; empty for a model of one.
    pub(super) language: &'a str,
    pub(super) punctuation: &'a Punctuation,
    /// The prompt without timestamps and without what was said before.
    pub(super) prompt: &'a Prompt,
    /// Frames of 10 ms that are audio and not padding.
    pub(super) frames: usize,
    /// Where the window begins, in seconds.
    pub(super) offset: f64,
    /// Where the last speech before the window ended, in seconds.
    pub(super) last_speech: f64,
}

/// Gives every stretch its words, and moves its start and end to them where they are more to be believed.
pub(super) fn add(
    window: &Window<'_>,
    decoder: &mut Decoder<'_>,
    stretches: &mut [Stretch],
    cancel: &Cancel,
) -> Result<(), PipelineError> {
    let end = window.model.config.tokens.end;
    let text =
        |stretch: &Stretch| -> Vec<u32> { stretch.tokens.iter().copied().filter(|&t| t < end).collect() };
    let texts: Vec<Vec<u32>> = stretches.iter().map(text).collect();
    let all: Vec<u32> = texts.concat();
    if all.is_empty() {
        return Ok(());
    }
    let words = window.model.vocabulary.words(&all, window.language);
    match look(window, decoder, &all, cancel)? {
        Some(looked) => {
            let mut timings = timings(words, &looked, window.offset);
            place(
                &mut timings,
                stretches,
                &texts,
                window.punctuation,
                window.last_speech,
            );
        }
        None => spread(words, stretches, &texts, window.punctuation),
    }
    Ok(())
}

/// When each token begins and how likely it is, by the decoder's own attention.
struct Looked {
    /// In seconds; one more than there are tokens, the last is where the text ends.
    times: Vec<f64>,
    probabilities: Vec<f32>,
}

/// Whether the model shows where it looks, so that its words have times and probabilities of their own.
pub(super) fn seen(model: &Model) -> bool {
    match &model.engine {
        Engine::Own(_) => true,
        Engine::Exported(exported) => exported.cache.shows_attention(),
    }
}

/// `None`: the model does not show where it looks.
fn look(
    window: &Window<'_>,
    decoder: &mut Decoder<'_>,
    text: &[u32],
    cancel: &Cancel,
) -> Result<Option<Looked>, PipelineError> {
    let model = window.model;
    let end = model.config.tokens.end;
    let prompt = window.prompt.tokens();
    let positions = (window.frames / 2).min(model.config.sizes.encoder_positions);
    // A text that fills the decoder leaves no room for the prompt without timestamps; its last words go untimed together.
    let room = model
        .config
        .sizes
        .decoder_positions
        .saturating_sub(prompt.len() + 1);
    let read: Vec<u32> = prompt
        .iter()
        .chain(text.iter().take(room))
        .copied()
        .chain([end])
        .collect();
    let mut rows = Vec::new();
    let mut probabilities = Vec::new();
    let shown = decoder.watch(&read, cancel, |look| {
        let weights = look.weights.iter();
        rows.push(
            weights
                .map(|weights| align::renormalised(&weights[..positions.min(weights.len())]))
                .collect::<Vec<_>>(),
        );
        if let Some(&next) = read.get(rows.len()).filter(|_| rows.len() >= prompt.len())
            && next != end
        {
            let scores = &look.scores[..look.scores.len().min(end as usize)];
            probabilities.push(align::probability(scores, next as usize));
        }
    })?;
    if !shown {
        return Ok(None);
    }
    probabilities.resize(text.len(), 0.0);
    let from = prompt.len().saturating_sub(1);
    let mut times = align::token_times(&rows, from..read.len() - 1);
    times.resize(text.len() + 1, times.last().copied().unwrap_or(0.0));
    Ok(Some(Looked { times, probabilities }))
}

/// The words with the times of their tokens.
fn timings(words: Vec<(String, Vec<u32>)>, looked: &Looked, offset: f64) -> Vec<Timing> {
    let mut first = 0;
    let mut timings: Vec<Timing> = Vec::new();
    for (text, tokens) in words {
        let last = first + tokens.len();
        let sum: f32 = looked.probabilities[first..last].iter().sum();
        timings.push(Timing {
            start: offset + looked.times[first],
            end: offset + looked.times[last],
            text,
            probability: sum / tokens.len() as f32,
            tokens,
        });
        first = last;
    }
    timings
}

fn median_duration(timings: &[Timing]) -> Option<f64> {
    let mut durations: Vec<f64> = timings
        .iter()
        .map(|t| t.end - t.start)
        .filter(|d| *d != 0.0)
        .collect();
    durations.sort_by(f64::total_cmp);
    let middle = durations.len() / 2;
    match durations.len() {
        0 => None,
        n if n % 2 == 1 => Some(durations[middle]),
        _ => Some((durations[middle - 1] + durations[middle]) / 2.0),
    }
}

/// Gives the words to their stretches.
fn place(
    timings: &mut [Timing],
    stretches: &mut [Stretch],
    texts: &[Vec<u32>],
    punctuation: &Punctuation,
    mut last_speech: f64,
) {
    let known = median_duration(timings);
    let median = known.unwrap_or(0.0).min(LONGEST_MEDIAN);
    let longest = median * 2.0;
    if known.is_some() {
        shorten_at_sentence_ends(timings, longest);
    }
    merge_punctuation(timings, punctuation);
    let hundredths = |seconds: f64| (seconds * 100.0).round() / 100.0;
    let mut rest = timings.iter();
    for (stretch, text) in stretches.iter_mut().zip(texts) {
        let (mut saved, mut words) = (0, Vec::new());
        while saved < text.len() {
            let Some(timing) = rest.next() else { break };
            saved += timing.tokens.len();
            if !timing.text.is_empty() {
                words.push(Timing {
                    start: hundredths(timing.start),
                    end: hundredths(timing.end),
                    ..timing.clone()
                });
            }
        }
        fit(&mut words, stretch, median, last_speech);
        if !words.is_empty() {
            last_speech = stretch.end;
        }
        stretch.words = words;
    }
}

fn shorten_at_sentence_ends(timings: &mut [Timing], longest: f64) {
    for i in 1..timings.len() {
        let ends = |word: &str| SENTENCE_ENDS.contains(word);
        if timings[i].end - timings[i].start <= longest {
            continue;
        }
        if ends(&timings[i].text) {
            timings[i].end = timings[i].start + longest;
        } else if ends(&timings[i - 1].text) {
            timings[i].start = timings[i].end - longest;
        }
    }
}

/// A word after a pause is no longer than two median words, and a stretch begins and ends with its words, unless they are
/// so far off that the timestamps are more to be believed.
fn fit(words: &mut [Timing], stretch: &mut Stretch, median: f64, last_speech: f64) {
    let longest = median * 2.0;
    let long = |words: &[Timing], first: usize, last: usize, most: f64| {
        words.len() > last && words[last].end - words[first].start > most
    };
    if words.is_empty() {
        return;
    }
    if words[0].end - last_speech > median * 4.0
        && (long(words, 0, 0, longest) || long(words, 0, 1, longest * 2.0))
    {
        if long(words, 1, 1, longest) {
            let boundary = (words[1].end / 2.0).max(words[1].end - longest);
            words[0].end = boundary;
            words[1].start = boundary;
        }
        words[0].start = (words[0].end - longest).max(0.0);
    }
    if stretch.start < words[0].end && stretch.start - 0.5 > words[0].start {
        words[0].start = (words[0].end - median).min(stretch.start).max(0.0);
    } else {
        stretch.start = words[0].start;
    }
    let last = words.len() - 1;
    if stretch.end > words[last].start && stretch.end + 0.5 < words[last].end {
        words[last].end = (words[last].start + median).max(stretch.end);
    } else {
        stretch.end = words[last].end;
    }
}

/// Opening punctuation joins the word after it, closing punctuation the one before it.
fn merge_punctuation(timings: &mut [Timing], marks: &Punctuation) {
    let mut following = timings.len().saturating_sub(1);
    for i in (0..following).rev() {
        if timings[i].text.starts_with(' ') && marks.prepended.contains(timings[i].text.trim()) {
            let previous = std::mem::take(&mut timings[i].text);
            timings[following].text.insert_str(0, &previous);
            let tokens = std::mem::take(&mut timings[i].tokens);
            timings[following].tokens.splice(0..0, tokens);
        } else {
            following = i;
        }
    }
    let mut previous = 0;
    for i in 1..timings.len() {
        if !timings[previous].text.ends_with(' ') && marks.appended.contains(timings[i].text.as_str()) {
            let text = std::mem::take(&mut timings[i].text);
            timings[previous].text.push_str(&text);
            let tokens = std::mem::take(&mut timings[i].tokens);
            timings[previous].tokens.extend(tokens);
        } else {
            previous = i;
        }
    }
}

/// Without attention: each word takes the part of its stretch that its letters are of the stretch's.
fn spread(
    words: Vec<(String, Vec<u32>)>,
    stretches: &mut [Stretch],
    texts: &[Vec<u32>],
    punctuation: &Punctuation,
) {
    let mut timings: Vec<Timing> = words
        .into_iter()
        .map(|(text, tokens)| Timing {
            text,
            tokens,
            ..Timing::default()
        })
        .collect();
    merge_punctuation(&mut timings, punctuation);
    let mut rest = timings.into_iter();
    for (stretch, text) in stretches.iter_mut().zip(texts) {
        let (mut saved, mut words) = (0, Vec::new());
        while saved < text.len() {
            let Some(timing) = rest.next() else { break };
            saved += timing.tokens.len();
            if !timing.text.is_empty() {
                words.push(timing);
            }
        }
        let letters = |word: &Timing| word.text.trim().chars().count().max(1) as f64;
        let all: f64 = words.iter().map(letters).sum();
        let (length, mut at) = (stretch.end - stretch.start, stretch.start);
        for word in &mut words {
            word.start = at;
            at = (at + length * letters(word) / all).min(stretch.end);
            word.end = at;
        }
        stretch.words = words;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str, start: f64, end: f64) -> Timing {
        Timing {
            start,
            end,
            text: text.to_owned(),
            tokens: vec![1],
            probability: 0.5,
        }
    }

    fn texts(timings: &[Timing]) -> Vec<&str> {
        timings
            .iter()
            .map(|t| t.text.as_str())
            .filter(|t| !t.is_empty())
            .collect()
    }

    #[test]
    fn punctuation_joins_its_word() {
        let mut timings = ["He", " said", " \"", "yes", ",", " no", ".", "\""].map(|t| word(t, 0.0, 1.0));
        let usual = Punctuation::default();
        merge_punctuation(&mut timings, &usual);
        assert_eq!(texts(&timings), ["He", " said", " \"yes,", " no.\""]);
        merge_punctuation(&mut [], &usual);
        let mut alone = [word(".", 0.0, 0.1)];
        merge_punctuation(&mut alone, &usual);
        assert_eq!(texts(&alone), ["."]);
        let own = Punctuation {
            prepended: "#".to_owned(),
            appended: "%".to_owned(),
        };
        let mut timings = [" #", "5", "%", " no", "."].map(|t| word(t, 0.0, 1.0));
        merge_punctuation(&mut timings, &own);
        assert_eq!(texts(&timings), [" #5%", " no", "."]);
    }

    #[test]
    fn a_long_word_after_a_sentence_is_shortened() {
        let mut timings = vec![
            word(" one", 0.0, 0.5),
            word(".", 0.5, 0.6),
            word(" two", 0.6, 5.0),
        ];
        timings.extend((0..4).map(|i| word(" x", 5.0 + f64::from(i) * 0.4, 5.4 + f64::from(i) * 0.4)));
        let mut stretches = [Stretch {
            end: 7.0,
            tokens: vec![1; 7],
            ..Stretch::default()
        }];
        place(
            &mut timings,
            &mut stretches,
            &[vec![1; 7]],
            &Punctuation::default(),
            0.0,
        );
        let words = &stretches[0].words;
        assert_eq!(words[0].text, " one.");
        assert!(
            (words[1].end - words[1].start - 0.8).abs() < 1e-9,
            "twice the median: {:?}",
            words[1]
        );
        assert_eq!((stretches[0].start, stretches[0].end), (0.0, words[5].end));
    }

    #[test]
    fn without_attention_words_share_the_stretch_by_their_letters() {
        let mut stretches = [Stretch {
            start: 1.0,
            end: 3.0,
            tokens: vec![1, 2, 3],
            words: vec![],
        }];
        let words = vec![
            (" one".to_owned(), vec![1]),
            (" seven".to_owned(), vec![2]),
            (".".to_owned(), vec![3]),
        ];
        spread(words, &mut stretches, &[vec![1, 2, 3]], &Punctuation::default());
        let words = &stretches[0].words;
        assert_eq!(words.len(), 2);
        assert_eq!((words[0].start, words[1].end), (1.0, 3.0));
        assert!((words[0].end - 1.0 - 2.0 * 3.0 / 9.0).abs() < 1e-9);
    }
}
