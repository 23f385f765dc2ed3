//! Stretches of speech in; pieces of audio that are short enough to be transcribed at once out. Pure; all in samples.

use std::ops::Range;

use super::FRAME;

/// Packs stretches of speech, as [`super::spans()`] gives them, into pieces of at most `longest` samples, in order.
///
/// A piece is a part of the recording as it is: it begins where speech begins, ends where speech ends, and keeps the
/// silences between, so that a time in the piece plus its start is a time in the recording. Each piece takes in as many
/// stretches as it holds, but none that comes after more than `gap` samples of silence (`usize::MAX`: however long).
/// What lies between two pieces is silence and in neither.
///
/// Only a stretch that is itself longer than `longest` is cut within: where speech is least likely by the
/// `probabilities` in the latter half of what fits, so in a short pause if it has one. (With `max_speech` in the
/// settings it has been split at a longer pause already.)
pub fn chunks(
    spans: &[Range<usize>],
    probabilities: &[f32],
    longest: usize,
    gap: usize,
) -> Vec<Range<usize>> {
    let mut chunks: Vec<Range<usize>> = Vec::new();
    let pieces = spans
        .iter()
        .flat_map(|span| pieces(span.clone(), probabilities, longest));
    for piece in pieces {
        match chunks.last_mut() {
            Some(last) if piece.end - last.start <= longest && piece.start - last.end <= gap => {
                last.end = piece.end;
            }
            _ => chunks.push(piece),
        }
    }
    chunks
}

/// How many samples of `window` are speech by the `spans`; 0: there is nothing to transcribe in it.
pub fn speech_within(spans: &[Range<usize>], window: &Range<usize>) -> usize {
    spans
        .iter()
        .map(|span| (span.start.max(window.start)..span.end.min(window.end)).len())
        .sum()
}

/// A stretch of speech in as few pieces as it takes.
fn pieces(mut span: Range<usize>, probabilities: &[f32], longest: usize) -> Vec<Range<usize>> {
    let longest = longest.max(1);
    let mut pieces = Vec::new();
    while span.len() > longest {
        let cut = quietest(span.start + longest / 2, span.start + longest, probabilities);
        pieces.push(span.start..cut);
        span.start = cut;
    }
    pieces.push(span);
    pieces
}

/// The middle of the frame least likely to be speech, after `from` and not after `to`, the last of equals; `to` where
/// there is no frame.
fn quietest(from: usize, to: usize, probabilities: &[f32]) -> usize {
    let middle = |frame: usize| frame * FRAME + FRAME / 2;
    let frames = (from / FRAME..=to / FRAME).filter(|&frame| middle(frame) > from && middle(frame) <= to);
    frames
        .filter_map(|frame| Some((*probabilities.get(frame)?, middle(frame))))
        .min_by(|(a, at), (b, bt)| a.total_cmp(b).then(bt.cmp(at)))
        .map_or(to, |(_, at)| at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: usize = 16_000;

    fn seconds(ranges: &[(usize, usize)]) -> Vec<Range<usize>> {
        ranges.iter().map(|r| r.0 * SECOND..r.1 * SECOND).collect()
    }

    #[test]
    fn pieces_are_filled_and_end_in_silence() {
        let spans = seconds(&[(1, 5), (8, 20), (24, 30), (32, 33), (40, 69), (70, 71)]);
        let packed = |gap| chunks(&spans, &[], 30 * SECOND, gap);
        assert_eq!(
            packed(usize::MAX),
            seconds(&[(1, 30), (32, 33), (40, 69), (70, 71)])
        );
        assert_eq!(
            packed(3 * SECOND),
            seconds(&[(1, 20), (24, 33), (40, 69), (70, 71)])
        );
        assert_eq!(packed(0), spans);
        assert!(chunks(&[], &[], 30 * SECOND, 0).is_empty());
    }

    #[test]
    fn speech_without_a_pause_is_cut_where_it_is_least_likely() {
        let mut probabilities = vec![0.9; 65 * SECOND / FRAME];
        // The first is lower but too early, the second is the one, the third is as low but beyond what fits.
        for (second, probability) in [(10, 0.1), (22, 0.4), (31, 0.1)] {
            probabilities[second * SECOND / FRAME] = probability;
        }
        let packed = chunks(&seconds(&[(0, 65)]), &probabilities, 30 * SECOND, usize::MAX);
        let cut = 22 * SECOND / FRAME * FRAME + FRAME / 2;
        assert_eq!(packed[0], 0..cut);
        // All equal from there on: the last frame that fits.
        assert!(
            cut + 30 * SECOND - packed[1].end < FRAME && packed.len() == 3,
            "{packed:?}"
        );
        // Nothing known: where it gets too long.
        let packed = chunks(&seconds(&[(0, 65)]), &[], 30 * SECOND, usize::MAX);
        assert_eq!(packed, seconds(&[(0, 30), (30, 60), (60, 65)]));
    }

    #[test]
    fn a_window_without_speech_is_told_from_one_with() {
        let spans = seconds(&[(1, 5), (8, 20)]);
        let within = |from, to| speech_within(&spans, &(from * SECOND..to * SECOND));
        assert_eq!(within(5, 8), 0);
        assert_eq!(within(20, 50), 0);
        assert_eq!(within(4, 9), 2 * SECOND);
        assert_eq!(within(0, 30), 16 * SECOND);
    }

    proptest! {
        #[test]
        fn no_speech_is_lost_and_no_piece_is_too_long(
            lengths in proptest::collection::vec((1usize..40_000, 1usize..200_000), 0..20),
            probabilities in proptest::collection::vec(0f32..1.0, 0..3_000),
            longest in 1usize..100_000,
            gap in 0usize..50_000,
        ) {
            let longest = longest.max(FRAME);
            let mut at = 0;
            let spans: Vec<Range<usize>> = lengths.iter().map(|&(silence, speech)| {
                at += silence + speech;
                at - speech..at
            }).collect();
            let packed = chunks(&spans, &probabilities, longest, gap);
            let mut covered = 0;
            for (i, piece) in packed.iter().enumerate() {
                prop_assert!(!piece.is_empty() && piece.len() <= longest);
                prop_assert!(i == 0 || packed[i - 1].end <= piece.start);
                covered += speech_within(&spans, piece);
                // A cut within speech only if it is too long to be whole.
                for span in spans.iter().filter(|span| span.start < piece.end && piece.end < span.end) {
                    prop_assert!(span.len() > longest);
                }
            }
            prop_assert_eq!(covered, spans.iter().map(Range::len).sum::<usize>());
        }
    }
}
