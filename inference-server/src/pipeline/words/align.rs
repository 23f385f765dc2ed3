//! Where the decoder looked at each token in; when each token begins out. Pure arithmetic.
//!
//! Source: `openai/whisper`, `whisper/timing.py`: `find_alignment` from the weights on, `median_filter`, `dtw_cpu`.

use std::ops::Range;

/// Frames over which the median of the weights is taken.
const MEDIAN: usize = 7;
/// Encoder positions of a second.
const POSITIONS_PER_SECOND: f64 = 50.0;

/// Soft-max over all positions to soft-max over the first of them.
pub(super) fn renormalised(weights: &[f32]) -> Vec<f32> {
    let sum: f32 = weights.iter().sum();
    let scale = if sum > 0.0 { sum.recip() } else { 0.0 };
    weights.iter().map(|w| w * scale).collect()
}

/// The soft-max probability of one of the scores.
pub(super) fn probability(scores: &[f32], index: usize) -> f32 {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = scores.iter().map(|s| (s - most).exp()).sum();
    scores.get(index).map_or(0.0, |s| (s - most).exp() / sum)
}

/// When each of the tokens `wanted` begins, in seconds.
///
/// `rows[token][head]` are the weights over the positions; all tokens that the decoder read have a row, since each position
/// is normalised over them.
pub(super) fn token_times(rows: &[Vec<Vec<f32>>], wanted: Range<usize>) -> Vec<f64> {
    let heads = rows.first().map_or(0, Vec::len);
    let positions = rows.first().and_then(|row| row.first()).map_or(0, Vec::len);
    if heads == 0 || positions == 0 || wanted.is_empty() {
        return vec![0.0; wanted.len()];
    }
    let mut cost = vec![vec![0.0f64; positions]; wanted.len()];
    for head in 0..heads {
        let (mean, deviation) = moments(rows, head, positions);
        for (row, token) in cost.iter_mut().zip(wanted.clone()) {
            let weights = &rows[token][head];
            let normal: Vec<f32> = (0..positions)
                .map(|i| {
                    if deviation[i] > 0.0 {
                        (weights[i] - mean[i]) / deviation[i]
                    } else {
                        0.0
                    }
                })
                .collect();
            for (sum, value) in row.iter_mut().zip(median_filter(&normal)) {
                *sum -= f64::from(value) / heads as f64;
            }
        }
    }
    first_positions(&cost)
        .into_iter()
        .map(|i| i as f64 / POSITIONS_PER_SECOND)
        .collect()
}

/// Mean and standard deviation of a head's weights at each position, over the tokens.
fn moments(rows: &[Vec<Vec<f32>>], head: usize, positions: usize) -> (Vec<f32>, Vec<f32>) {
    let n = rows.len() as f64;
    let at = |i: usize| rows.iter().map(move |row| f64::from(row[head][i]));
    let mean: Vec<f64> = (0..positions).map(|i| at(i).sum::<f64>() / n).collect();
    let deviation = (0..positions)
        .map(|i| (at(i).map(|w| (w - mean[i]).powi(2)).sum::<f64>() / n).sqrt() as f32)
        .collect();
    (mean.into_iter().map(|m| m as f32).collect(), deviation)
}

/// The median of each value and its neighbours; the edges are mirrored. Too few values stay as they are.
fn median_filter(values: &[f32]) -> Vec<f32> {
    let (edge, n) = (MEDIAN / 2, values.len());
    if n <= edge {
        return values.to_vec();
    }
    let at = |i: isize| {
        let i = i.unsigned_abs();
        values[if i < n { i } else { 2 * n - 2 - i }]
    };
    (0..n as isize)
        .map(|middle| {
            let mut around: Vec<f32> = (middle - edge as isize..=middle + edge as isize)
                .map(at)
                .collect();
            around.sort_by(f32::total_cmp);
            around[edge]
        })
        .collect()
}

/// The first position of each row on the cheapest path through the matrix (dynamic time warping).
fn first_positions(cost: &[Vec<f64>]) -> Vec<usize> {
    #[derive(Clone, Copy, PartialEq)]
    enum From {
        Both,
        Row,
        Position,
    }
    let (n, m) = (cost.len(), cost.first().map_or(0, Vec::len));
    let mut total = vec![vec![f32::INFINITY; m + 1]; n + 1];
    let mut from = vec![vec![From::Position; m + 1]; n + 1];
    for row in &mut from[1..] {
        row[0] = From::Row;
    }
    total[0][0] = 0.0;
    for j in 1..=m {
        for i in 1..=n {
            let (both, row, position) = (total[i - 1][j - 1], total[i - 1][j], total[i][j - 1]);
            let (least, way) = if both < row && both < position {
                (both, From::Both)
            } else if row < both && row < position {
                (row, From::Row)
            } else {
                (position, From::Position)
            };
            total[i][j] = (cost[i - 1][j - 1] + f64::from(least)) as f32;
            from[i][j] = way;
        }
    }
    let mut first = vec![0; n];
    let (mut i, mut j) = (n, m);
    while i > 0 || j > 0 {
        if i > 0 {
            first[i - 1] = j.saturating_sub(1);
        }
        match from[i][j] {
            From::Both => (i, j) = (i - 1, j - 1),
            From::Row => i -= 1,
            From::Position => j -= 1,
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn weights_and_probabilities_sum_to_one() {
        assert_eq!(renormalised(&[0.1, 0.3]), [0.25, 0.75]);
        assert_eq!(renormalised(&[0.0, 0.0]), [0.0, 0.0]);
        assert!((probability(&[0.0, 3f32.ln()], 1) - 0.75).abs() < 1e-6);
    }

    #[test]
    fn a_single_peak_does_not_pass_the_median() {
        let mut values = vec![0.0; 20];
        values[10] = 9.0;
        assert_eq!(median_filter(&values), vec![0.0; 20]);
        assert_eq!(median_filter(&[1.0, 2.0, 3.0]), [1.0, 2.0, 3.0]);
        assert_eq!(median_filter(&[5.0; 9]), [5.0; 9]);
    }

    #[test]
    fn tokens_begin_where_they_are_looked_at() {
        // Four tokens of 10 positions each; two heads, one of them blind.
        let look = |token: usize, i: usize| if i / 10 == token { 1.0 } else { 0.01 };
        let rows: Vec<Vec<Vec<f32>>> = (0..4)
            .map(|token| vec![(0..40).map(|i| look(token, i)).collect(), vec![0.025; 40]])
            .collect();
        assert_eq!(token_times(&rows, 0..4), [0.0, 0.2, 0.4, 0.6]);
        assert_eq!(token_times(&rows, 2..2), [0.0; 0]);
    }

    proptest! {
        /// Whatever the weights, times do not run backwards and stay within the positions.
        #[test]
        fn times_go_on(values in prop::collection::vec(prop::collection::vec(0.0f32..1.0, 30), 1..8)) {
            let rows: Vec<Vec<Vec<f32>>> = values.into_iter().map(|row| vec![renormalised(&row)]).collect();
            let times = token_times(&rows, 0..rows.len());
            prop_assert!(times.windows(2).all(|pair| pair[0] <= pair[1]), "{:?}", times);
            prop_assert!(times.iter().all(|t| (0.0..30.0 / 50.0).contains(t)));
        }
    }
}
