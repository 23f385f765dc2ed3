//! A prompt that has been read in; the best sequence that follows it out: greedy, drawn, or by beams.
//!
//! Source: `openai/whisper`, `whisper/decoding.py`: `DecodingTask._main_loop` with `GreedyDecoder` or `BeamSearchDecoder`, and
//! `MaximumLikelihoodRanker`. Different here: only tokens that the rules allow are looked at.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{Decoder, DecoderError, Ready, Rules, Sequence, rules::log_sum_exp};
use crate::{
    kernels::{functions, tile::Isa},
    model::Config,
    pipeline::{Cancel, Decoding},
};

/// A sequence after the prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Found {
    /// Without the end-of-text token.
    pub(super) ids: Vec<u32>,
    /// Sum of the log-probabilities, end-of-text included.
    pub(super) sum_logprob: f32,
}

/// Finds what follows the prompt.
pub(super) fn search(
    decoder: &mut Decoder<'_>,
    ready: &Ready,
    rules: &Rules,
    how: &Decoding,
    temperature: f32,
    cancel: &Cancel,
) -> Result<Found, DecoderError> {
    let tokens = &decoder.model.config.tokens;
    let most = most_after(&decoder.model.config, ready.length).min(how.max_new_tokens.unwrap_or(usize::MAX));
    let walk = Walk {
        end: tokens.end,
        most,
        rules,
        cancel,
    };
    let found = if temperature > 0.0 {
        let mut rng = StdRng::seed_from_u64(how.seed);
        walk.alongside(decoder, ready, how.best_of, |scores| {
            draw(scores, temperature, &mut rng)
        })?
    } else if how.beam_size > 1 {
        walk.beams(decoder, ready, how)?
    } else {
        walk.alongside(decoder, ready, 1, likeliest)?
    };
    Ok(best_of(found, how.length_penalty))
}

/// Most tokens that can follow a prompt of so many: half of what the decoder can hold, as in the original, and no more than the model
/// allows beside the prompt.
pub fn most_after(config: &Config, prompt: usize) -> usize {
    (config.sizes.decoder_positions / 2).min(config.tokens.max_length.saturating_sub(prompt))
}

/// What every kind of search obeys.
struct Walk<'a> {
    end: u32,
    /// Most tokens after the prompt.
    most: usize,
    rules: &'a Rules,
    cancel: &'a Cancel,
}

impl Walk<'_> {
    /// So many sequences alongside each other, each token chosen from the scores that the rules leave.
    fn alongside(
        &self,
        decoder: &mut Decoder<'_>,
        ready: &Ready,
        count: usize,
        mut choose: impl FnMut(&[f32]) -> u32,
    ) -> Result<Vec<Found>, DecoderError> {
        let mut all = vec![(Found::default(), ready.sequence.clone()); count];
        let mut ended = vec![self.most == 0; count];
        while ended.contains(&false) {
            let mut steps = Vec::new();
            for ((found, sequence), ended) in all.iter_mut().zip(&mut ended).filter(|(_, ended)| !**ended) {
                self.rules.apply(&mut sequence.scores, &found.ids);
                let token = choose(&sequence.scores);
                found.sum_logprob += sequence.scores[token as usize] - log_sum_exp(&sequence.scores);
                *ended = token == self.end;
                if !*ended {
                    found.ids.push(token);
                    *ended = found.ids.len() >= self.most;
                }
                if !*ended {
                    steps.push((sequence, token));
                }
            }
            self.cancel.check()?;
            decoder.step_each(steps)?;
        }
        Ok(all.into_iter().map(|(found, _)| found).collect())
    }

    /// The sequences in which a beam search ends.
    fn beams(
        &self,
        decoder: &mut Decoder<'_>,
        ready: &Ready,
        how: &Decoding,
    ) -> Result<Vec<Found>, DecoderError> {
        let enough = (how.beam_size as f32 * how.patience).round().max(1.0) as usize;
        let mut beams = vec![(Found::default(), ready.sequence.clone())];
        let mut ended: Vec<Found> = Vec::new();
        for length in 1..=self.most {
            let (next, newly_ended) = self.extend(&mut beams, how.beam_size);
            ended.extend(newly_ended);
            ended.truncate(enough);
            let last = ended.len() >= enough || length == self.most || next.is_empty();
            let extended = next
                .into_iter()
                .map(|(found, source)| (found, beams[source].1.clone()));
            beams = extended.collect();
            if !last {
                self.cancel.check()?;
                let steps = beams
                    .iter_mut()
                    .filter_map(|(found, sequence)| Some((sequence, *found.ids.last()?)));
                decoder.step_each(steps.collect())?;
            }
            if last {
                break;
            }
        }
        // Too few ended: the likeliest of those that have not are taken as they are.
        beams.sort_by(|(a, _), (b, _)| b.sum_logprob.total_cmp(&a.sum_logprob));
        let missing = how.beam_size.saturating_sub(ended.len());
        ended.extend(beams.into_iter().take(missing).map(|(found, _)| found));
        Ok(ended)
    }

    /// The likeliest continuations of all beams: those that go on, with the beam that each comes from, and those that end.
    fn extend(&self, beams: &mut [(Found, Sequence)], size: usize) -> (Vec<(Found, usize)>, Vec<Found>) {
        let mut candidates: Vec<(f32, usize, u32)> = Vec::new();
        for (source, (found, sequence)) in beams.iter_mut().enumerate() {
            self.rules.apply(&mut sequence.scores, &found.ids);
            let all = log_sum_exp(&sequence.scores);
            for token in top(&sequence.scores, size + 1) {
                let logprob = sequence.scores[token as usize] - all;
                candidates.push((found.sum_logprob + logprob, source, token));
            }
        }
        // A stable order: of equals the first beam's and the first token is the better one, as in the original.
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut next, mut ended) = (Vec::new(), Vec::new());
        for (sum_logprob, source, token) in candidates {
            let mut ids = beams[source].0.ids.clone();
            if token == self.end {
                ended.push(Found { ids, sum_logprob });
                continue;
            }
            ids.push(token);
            next.push((Found { ids, sum_logprob }, source));
            if next.len() == size {
                break;
            }
        }
        (next, ended)
    }
}

/// The token with the highest score, the first of equals.
fn likeliest(scores: &[f32]) -> u32 {
    functions::greatest(Isa::best(), scores) as u32
}

/// The probabilities from which a token is drawn at a temperature above 0: the soft-max of the scores divided by it, one a
/// vocabulary entry, together 1.
pub fn drawn_from(scores: &[f32], temperature: f32) -> Vec<f64> {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |score: &f32| f64::from((score - most) / temperature).exp();
    let mut weights: Vec<f64> = scores.iter().map(weight).collect();
    let total: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= total);
    weights
}

/// A token drawn by its probability at a temperature above 0.
fn draw(scores: &[f32], temperature: f32, rng: &mut StdRng) -> u32 {
    let mut left = rng.random::<f64>();
    let mut chosen = likeliest(scores);
    for (token, probability) in drawn_from(scores, temperature).into_iter().enumerate() {
        if probability > 0.0 {
            chosen = token as u32;
            left -= probability;
            if left < 0.0 {
                break;
            }
        }
    }
    chosen
}

/// The tokens of the `n` highest scores that are allowed at all, best first.
fn top(scores: &[f32], n: usize) -> Vec<u32> {
    let mut best: Vec<u32> = Vec::with_capacity(n + 1);
    for (token, &score) in scores.iter().enumerate() {
        if score == f32::NEG_INFINITY || (best.len() == n && score <= scores[best[n - 1] as usize]) {
            continue;
        }
        let place = best.partition_point(|&other| scores[other as usize] >= score);
        best.insert(place, token as u32);
        best.truncate(n);
    }
    best
}

/// The likeliest sequence for its length.
fn best_of(found: Vec<Found>, length_penalty: Option<f32>) -> Found {
    let score = |found: &Found| {
        let length = found.ids.len().max(1) as f32;
        let penalty = length_penalty.map_or(length, |exponent| ((5.0 + length) / 6.0).powf(exponent));
        found.sum_logprob / penalty
    };
    let better = |best: Found, other: Found| if score(&other) > score(&best) { other } else { best };
    found.into_iter().reduce(better).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(ids: &[u32], sum_logprob: f32) -> Found {
        Found {
            ids: ids.to_vec(),
            sum_logprob,
        }
    }

    #[test]
    fn the_likeliest_for_its_length_wins() {
        let (short, long) = (found(&[1], -1.0), found(&[1, 2, 3, 4], -2.0));
        assert_eq!(best_of(vec![short.clone(), long.clone()], None), long);
        assert_eq!(best_of(vec![short.clone(), long.clone()], Some(0.0)), short);
        assert_eq!(
            best_of(vec![short.clone(), found(&[9], -1.0)], None),
            short,
            "the first of equals"
        );
        assert_eq!(best_of(vec![], None), Found::default());
    }

    #[test]
    fn drawing_follows_the_probabilities_and_never_what_is_forbidden() {
        let mut rng = StdRng::seed_from_u64(1);
        let scores = [f32::NEG_INFINITY, 0.0, 3f32.ln(), f32::NEG_INFINITY];
        let drawn: Vec<u32> = (0..4000).map(|_| draw(&scores, 1.0, &mut rng)).collect();
        let twos = drawn.iter().filter(|&&token| token == 2).count();
        assert!(drawn.iter().all(|token| [1, 2].contains(token)));
        assert!((2850..3150).contains(&twos), "{twos} of 4000, 3000 are expected");
        let cold = (0..1000).filter(|_| draw(&scores, 0.1, &mut rng) == 1).count();
        assert_eq!(cold, 0, "at 0.1 the odds are 3^10");
    }

    proptest! {
        #[test]
        fn the_top_is_what_sorting_gives(scores in prop::collection::vec(-5i8..5, 1..40), n in 1usize..8) {
            let scores: Vec<f32> = scores.into_iter().map(|s| if s == -5 { f32::NEG_INFINITY } else { f32::from(s) }).collect();
            let mut sorted: Vec<u32> = (0..scores.len() as u32).filter(|&i| scores[i as usize] > f32::NEG_INFINITY).collect();
            sorted.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
            sorted.truncate(n);
            prop_assert_eq!(top(&scores, n), sorted);
        }
    }
}
