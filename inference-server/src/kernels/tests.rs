//! Every kernel against plain loops, on every instruction set of this machine.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;

use super::{
    attention::{Group, Heads, attend, look_back},
    cache::Cache,
    finish::Finish,
    functions::{self, reference},
    key_values::{Memory, order_keys, order_values, sizes},
    layers::{Convolution, FeedForward, LayerNorm, Linear, Projections},
    matrix::{Matrix, Rows},
    operators::{Kernel, Machine},
    pool::Pool,
    powers::rounded_powers,
    tile::{Format, Isa},
};

/// Numbers from -1 to 1 that depend on a seed only.
fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn close(a: &[f32], b: &[f32], within: f32) -> Result<(), TestCaseError> {
    prop_assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        prop_assert!(
            (a - b).abs() <= within * (1.0 + b.abs()),
            "{} is {}, {} is expected",
            i,
            a,
            b
        );
    }
    Ok(())
}

fn plain_softmax(row: &[f32]) -> Vec<f32> {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = row.iter().map(|x| f64::from(x - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|x| (x / sum) as f32).collect()
}

/// One query over some keys and values, a row each.
fn plain_attention(query: &[f32], keys: &[&[f32]], values: &[&[f32]]) -> Vec<f32> {
    let scores: Vec<f32> = keys
        .iter()
        .map(|key| key.iter().zip(query).map(|(a, b)| a * b).sum())
        .collect();
    let weights = plain_softmax(&scores);
    (0..query.len())
        .map(|i| weights.iter().zip(values).map(|(w, value)| w * value[i]).sum())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_product_is_what_three_loops_give(
        rows in 1usize..40, depth in 1usize..70, columns in 1usize..90, extra in 0usize..5,
        deep: bool, gelu: bool, bias: bool, plus: bool, threads in 1usize..3, seed: u64,
    ) {
        // Now and then deeper than a block.
        let depth = if deep { depth + 500 } else { depth };
        let stride = depth + extra;
        let a = noise(seed, rows * stride);
        let b = noise(seed + 1, depth * columns);
        let offsets = noise(seed + 2, columns);
        let more = noise(seed + 3, rows * columns);
        let mut expected = vec![0.0; rows * columns];
        for i in 0..rows {
            for j in 0..columns {
                let mut sum: f64 = (0..depth).map(|k| f64::from(a[i * stride + k]) * f64::from(b[k * columns + j])).sum();
                if bias { sum += f64::from(offsets[j]); }
                let mut value = sum as f32;
                if gelu { value = 0.5 * value * (1.0 + reference::erf(value / 2f32.sqrt())); }
                if plus { value += more[i * columns + j]; }
                expected[i * columns + j] = value;
            }
        }
        for isa in Isa::all() {
            let matrix = Matrix::new(isa, Format::F32, depth, columns, |k, j| b[k * columns + j]);
            let finish = Finish { bias: bias.then_some(&offsets[..]), gelu, plus: plus.then_some(&more[..]) };
            let mut out = vec![f32::NAN; rows * columns];
            matrix.panels().multiply(&Pool::new(threads), Rows { values: &a, count: rows, stride }, &mut out, columns, finish);
            close(&out, &expected, 1e-4)?;
            // A row does not depend on those beside it.
            let last = Rows { values: &a[(rows - 1) * stride..], count: 1, stride };
            let finish = Finish { plus: plus.then_some(&more[(rows - 1) * columns..]), ..finish };
            let mut alone = vec![f32::NAN; columns];
            matrix.panels().multiply(&Pool::new(1), last, &mut alone, columns, finish);
            prop_assert_eq!(&alone, &out[(rows - 1) * columns..]);
            let mut column = vec![0.0; depth];
            matrix.column(columns - 1, &mut column);
            close(&column, &(0..depth).map(|k| b[k * columns + columns - 1]).collect::<Vec<_>>(), 0.0)?;
        }
    }

    #[test]
    fn a_product_in_fewer_bits_is_that_of_the_rounded_numbers(
        rows in 1usize..40, depth in 1usize..90, columns in 1usize..90, deep: bool, gelu: bool, bias: bool, plus: bool, threads in 1usize..3, seed: u64,
    ) {
        let depth = if deep { depth + 2100 } else { depth };
        let more = noise(seed + 3, rows * columns);
        let (a, b) = (noise(seed, rows * depth), noise(seed + 1, depth * columns));
        let offsets = noise(seed + 2, columns);
        let bf16 = |x: f32| {
            let (down, up) = (f32::from_bits(x.to_bits() & 0xffff_0000), f32::from_bits((x.to_bits() & 0xffff_0000) + 0x1_0000));
            let (below, above) = ((x - down).abs(), (up - x).abs());
            if above < below || (above == below && (down.to_bits() >> 16) & 1 == 1) { up } else { down }
        };
        let whole = |limit: f32, most: f32| move |x: f32| (x * (limit / most)).round_ties_even() * (most / limit);
        let int8 = |most: f32| whole(127.0, most);
        let most = |values: &mut dyn Iterator<Item = f32>| values.map(f32::abs).fold(0.0, f32::max);
        for isa in Isa::all() {
            for format in [Format::Bf16, Format::Int8, Format::W8A16] {
                if !isa.takes(format) {
                    continue;
                }
                let row = |i: usize| -> Vec<f32> {
                    let row = &a[i * depth..(i + 1) * depth];
                    match format {
                        Format::Int8 => row.iter().copied().map(int8(most(&mut row.iter().copied()))).collect(),
                        Format::W8A16 => row.iter().copied().map(whole(127.0 * 128.0, most(&mut row.iter().copied()))).collect(),
                        _ => row.iter().copied().map(bf16).collect(),
                    }
                };
                let column = |j: usize| -> Vec<f32> {
                    let column: Vec<f32> = (0..depth).map(|k| b[k * columns + j]).collect();
                    match format {
                        Format::Int8 | Format::W8A16 => column.iter().copied().map(int8(most(&mut column.iter().copied()))).collect(),
                        _ => column.iter().copied().map(bf16).collect(),
                    }
                };
                let matrix = Matrix::new(isa, format, depth, columns, |k, j| b[k * columns + j]);
                let finish = Finish { bias: bias.then_some(&offsets[..]), gelu, plus: plus.then_some(&more[..]) };
                let mut out = vec![f32::NAN; rows * columns];
                let source = Rows { values: &a, count: rows, stride: depth };
                matrix.panels().multiply(&Pool::new(threads), source, &mut out, columns, finish);
                for (i, j) in [(0, 0), (rows - 1, columns - 1), (rows / 2, columns / 2)] {
                    let mut sum: f64 = row(i).iter().zip(column(j)).map(|(x, y)| f64::from(*x) * f64::from(y)).sum();
                    if bias { sum += f64::from(offsets[j]); }
                    let mut value = sum as f32;
                    if gelu { value = 0.5 * value * (1.0 + reference::erf(value / 2f32.sqrt())); }
                    if plus { value += more[i * columns + j]; }
                    close(&[out[i * columns + j]], &[value], 1e-3).map_err(|e| TestCaseError::fail(format!("{isa:?} {format:?} {i} {j}: {e}")))?;
                }
                let last = Rows { values: &a[(rows - 1) * depth..], count: 1, stride: depth };
                let finish = Finish { plus: plus.then_some(&more[(rows - 1) * columns..]), ..finish };
                let mut alone = vec![f32::NAN; columns];
                matrix.panels().multiply(&Pool::new(1), last, &mut alone, columns, finish);
                prop_assert_eq!(&alone, &out[(rows - 1) * columns..]);
                let mut kept = vec![0.0; depth];
                matrix.column(columns - 1, &mut kept);
                close(&kept, &column(columns - 1), 1e-6)?;
            }
        }
    }

    #[test]
    fn functions_are_what_their_definitions_give(count in 1usize..150, scale in 0.1f32..20.0, seed: u64) {
        let x: Vec<f32> = noise(seed, count).iter().map(|x| x * scale).collect();
        let (weight, bias) = (noise(seed + 1, count), noise(seed + 2, count));
        let mean = x.iter().sum::<f32>() / count as f32;
        let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / count as f32;
        let normal: Vec<f32> = (0..count).map(|i| (x[i] - mean) / (variance + 1e-5).sqrt() * weight[i] + bias[i]).collect();
        for isa in Isa::all() {
            let mut out = x.clone();
            functions::softmax(isa, &mut out);
            close(&out, &plain_softmax(&x), 1e-5)?;
            functions::layer_norm(isa, &x, &weight, &bias, 1e-5, &mut out);
            close(&out, &normal, 1e-3)?;
            let many = noise(seed + 3, count * 20);
            let sums = (0..16).map(|t| (0..count).map(|i| x[i] * many[i * 16 + t]).sum::<f32>());
            close(&functions::times_columns(isa, &x, &many[..count * 16]), &sums.collect::<Vec<_>>(), 1e-4)?;
            out.copy_from_slice(&x);
            functions::add_rows(isa, &mut out, &[2.5, -1.5, 0.5], &many);
            let added = (0..count).map(|i| x[i] + 2.5 * many[i] - 1.5 * many[count + i] + 0.5 * many[2 * count + i]);
            close(&out, &added.collect::<Vec<_>>(), 1e-5)?;
            let halves: Vec<u16> = many.iter().map(|x| (x.to_bits() >> 16) as u16).collect();
            let whole: Vec<f32> = halves.iter().map(|x| f32::from_bits(u32::from(*x) << 16)).collect();
            close(&functions::times_halves(isa, &x, &halves[..count * 16]), &functions::times_columns(isa, &x, &whole[..count * 16]), 1e-5)?;
            let (mut of_halves, mut of_whole) = (x.clone(), x.clone());
            functions::add_halves(isa, &mut of_halves, &[2.5, -1.5, 0.5], &halves);
            functions::add_rows(isa, &mut of_whole, &[2.5, -1.5, 0.5], &whole);
            close(&of_halves, &of_whole, 1e-5)?;
            let all = x.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln() as f32;
            close(&[functions::log_sum_exp(isa, &x)], &[all], 1e-5)?;
            prop_assert_eq!(functions::log_sum_exp(isa, &[f32::NEG_INFINITY; 20]), f32::NEG_INFINITY);
            let most = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            prop_assert_eq!(Some(functions::greatest(isa, &x)), x.iter().position(|x| *x == most));
            let twice = [x.clone(), x.clone()].concat();
            prop_assert!(functions::greatest(isa, &twice) < count, "the first of equals");
            let most = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let powers: Vec<f32> = x.iter().map(|x| f64::from(x - most).exp() as f32).collect();
            out.copy_from_slice(&x);
            close(&[functions::powers(isa, &mut out)], &[powers.iter().sum()], 1e-5)?;
            close(&out, &powers, 1e-5)?;
            if isa.takes(Format::Bf16) {
                let mut words = vec![u32::MAX; count.div_ceil(2)];
                close(&[rounded_powers(&x, &mut words)], &[powers.iter().sum()], 1e-5)?;
                let halves: Vec<f32> = words.iter().flat_map(|word| [word << 16, word & 0xffff_0000]).map(f32::from_bits).collect();
                close(&halves[..count], &powers, 4e-3)?;
                prop_assert!(halves[count..].iter().all(|x| (0.0..1e-30).contains(x)), "what fills the last word up is next to nothing");
            }
        }
    }

    #[test]
    fn layers_are_what_they_are_of_each_row(
        rows in 1usize..400, width in 1usize..12, inner in 1usize..40, stride in 1usize..3, threads in 1usize..3, seed: u64,
    ) {
        let x = noise(seed, rows * width);
        let (a, b) = (noise(seed + 1, width * inner), noise(seed + 2, inner * width));
        let (kernel, more) = (noise(seed + 3, 3 * width * inner), noise(seed + 4, ((rows - 1) / stride + 1) * inner));
        let (weight, bias) = (noise(seed + 5, width), noise(seed + 6, inner));
        let gelu = |x: f32| 0.5 * x * (1.0 + reference::erf(x / 2f32.sqrt()));
        let dot = |x: &[f32], column: &dyn Fn(usize) -> f32| x.iter().enumerate().map(|(i, x)| x * column(i)).sum::<f32>();
        let norm = |row: &[f32]| -> Vec<f32> {
            let mean = row.iter().sum::<f32>() / width as f32;
            let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / width as f32;
            row.iter().zip(&weight).map(|(x, weight)| (x - mean) / (variance + 0.1).sqrt() * weight).collect()
        };
        let wide: Vec<Vec<f32>> = x.chunks(width).map(norm)
            .map(|row| (0..inner).map(|j| dot(&row, &|i| a[i * inner + j]) + bias[j]).collect()).collect();
        let fed: Vec<f32> = x.chunks(width).zip(&wide).flat_map(|(x, wide)| {
            let wide: Vec<f32> = wide.iter().copied().map(gelu).collect();
            (0..width).map(|j| x[j] + dot(&wide, &|i| b[i * width + j])).collect::<Vec<_>>()
        }).collect();
        let heard: Vec<f32> = (0..(rows - 1) / stride + 1).flat_map(|at| {
            let near: Vec<f32> = (0..3 * width).map(|i| (at * stride * width + i).checked_sub(width).and_then(|i| x.get(i)).copied().unwrap_or(0.0)).collect();
            let (kernel, bias, more) = (&kernel, &bias, &more);
            (0..inner).map(move |j| gelu(dot(&near, &|i| kernel[i * inner + j]) + bias[j]) + more[at * inner + j])
        }).collect();
        for isa in Isa::all() {
            let machine = Machine { isa, pool: Arc::new(Pool::new(threads)) };
            let run = |kernel: &dyn Kernel, count: usize| {
                let mut out = vec![f32::NAN; count];
                kernel.run(&machine, &[&x], &mut [&mut out]).unwrap();
                out
            };
            let norm = || LayerNorm { weight: weight.clone(), bias: vec![0.0; width], epsilon: 0.1 };
            let linear = |values: &[f32], depth: usize, columns: usize, bias| Linear {
                matrix: Arc::new(Matrix::new(isa, Format::F32, depth, columns, |i, j| values[i * columns + j])),
                bias,
            };
            let one = Projections { norm: norm(), maps: vec![linear(&a, width, inner, Some(bias.clone()))] };
            close(&run(&one, rows * inner), &wide.concat(), 1e-3)?;
            let feed_forward = FeedForward {
                norm: norm(),
                wide: linear(&a, width, inner, Some(bias.clone())),
                narrow: linear(&b, inner, width, None),
            };
            close(&run(&feed_forward, rows * width), &fed, 1e-3)?;
            let parts = [(0, inner / 2), (inner / 2, inner)].map(|(from, to)| {
                let some: Vec<f32> = a.chunks(inner).flat_map(|row| &row[from..to]).copied().collect();
                linear(&some, width, to - from, Some(bias[from..to].to_vec()))
            });
            let beside = Projections { norm: norm(), maps: parts.into() };
            close(&run(&beside, rows * inner), &wide.concat(), 1e-3)?;
            let convolution = Convolution {
                matrix: Arc::new(Matrix::new(isa, Format::F32, 3 * width, inner, |i, j| kernel[i * inner + j])),
                bias: Some(bias.clone()),
                stride,
                plus: Some(more.clone()),
            };
            close(&run(&convolution, heard.len()), &heard, 1e-3)?;
        }
    }

    #[test]
    fn attention_is_its_definition(
        positions in 1usize..70, count in 1usize..4, width in 1usize..80, rows in 1usize..30, threads in 1usize..3, seed: u64,
    ) {
        let heads = Heads { count, width };
        let (all, pool) = (heads.all(), Pool::new(threads));
        let mixed = noise(seed, positions * 3 * all);
        let at = |which: usize, position: usize, head: usize| {
            let begin = position * 3 * all + which * all + head * width;
            &mixed[begin..begin + width]
        };
        let see = |query: &[f32], head: usize, until: usize| {
            let keys: Vec<&[f32]> = (0..until).map(|p| at(1, p, head)).collect();
            let values: Vec<&[f32]> = (0..until).map(|p| at(2, p, head)).collect();
            plain_attention(query, &keys, &values)
        };
        let expected: Vec<f32> = (0..positions).flat_map(|p| (0..count).flat_map(move |h| see(at(0, p, h), h, positions))).collect();
        let causal: Vec<f32> = (0..positions).flat_map(|p| (0..count).flat_map(move |h| see(at(0, p, h), h, p + 1))).collect();
        let queries = noise(seed + 1, rows * all);
        let back: Vec<f32> = queries.chunks(all).flat_map(|row| (0..count).flat_map(move |h| see(&row[h * width..(h + 1) * width], h, positions))).collect();
        for isa in Isa::all() {
            for (format, within) in [(Format::F32, 1e-4), (Format::Bf16, 2e-2), (Format::W8A16, 4e-2)] {
            if !isa.takes(format) { continue; }
            let source = Rows { values: &mixed, count: positions, stride: 3 * all };
            let mut out = vec![f32::NAN; positions * all];
            attend(isa, format, &pool, heads, source, &mut out);
            close(&out, &expected, within)?;

            let (keys, values) = sizes(isa, format, heads, positions);
            let (mut keys, mut values) = (vec![0.0; keys], vec![0.0; values]);
            order_keys(isa, format, &pool, heads, Rows { values: &mixed[all..], ..source }, &mut keys);
            order_values(isa, format, &pool, heads, Rows { values: &mixed[2 * all..], ..source }, &mut values);
            let memory = Memory::of(isa, format, heads, positions, &keys, &values);
            let groups = [Group { from: 0, count: rows / 2, memory }, Group { from: rows / 2, count: rows - rows / 2, memory }];
            let mut out = vec![f32::NAN; rows * all];
            look_back(&pool, heads, &queries, &groups, &mut out, |row, _, weights| {
                if row % 2 == 0 {
                    assert!((weights().iter().sum::<f32>() - 1.0).abs() < 1e-4);
                }
            });
            close(&out, &back, within)?;
            }

            for (format, within) in [(Format::F32, 1e-4), (Format::Bf16, 2e-2)] {
                let mut cache = Cache::new(2, heads, format);
                let mut out = Vec::new();
                for position in 0..positions {
                    let earlier = cache.clone();
                    cache.grow(1);
                    let row = &mixed[position * 3 * all..];
                    cache.write(1, position, &row[all..2 * all], &row[2 * all..3 * all]);
                    prop_assert_eq!(earlier.length(), position);
                    for head in 0..count {
                        let mut part = vec![f32::NAN; width];
                        cache.look(isa, 1, (head, position), at(0, position, head), &mut part);
                        out.extend(part);
                    }
                }
                close(&out, &causal, within)?;
            }
        }
    }
}

#[test]
fn the_exponential_and_the_error_function_are_right_to_the_last_places() {
    for i in -8700..8800 {
        let x = i as f32 / 100.0;
        let (is, should) = (f64::from(reference::exp(x)), f64::from(x).exp());
        assert!(
            (is / should - 1.0).abs() < 3e-7,
            "e^{x} is {is}, {should} is expected"
        );
    }
    assert_eq!(reference::exp(f32::NEG_INFINITY), 0.0);
    assert!(reference::exp(f32::NAN).is_nan());
    // Abramowitz and Stegun, table 7.1.
    for (x, value) in [
        (0.0f32, 0.0f32),
        (0.1, 0.112_462_916),
        (0.5, 0.520_499_9),
        (1.0, 0.842_700_8),
        (1.5, 0.966_105_15),
        (2.0, 0.995_322_3),
        (3.5, 0.999_999_3),
        (9.0, 1.0),
    ] {
        assert!(
            (reference::erf(x) - value).abs() < 3e-7 && (reference::erf(-x) + value).abs() < 3e-7,
            "erf({x})"
        );
    }
}

#[test]
fn a_copy_of_a_cache_does_not_see_what_is_written_to_the_other() {
    let heads = Heads { count: 1, width: 2 };
    let mut one = Cache::new(1, heads, Format::F32);
    one.grow(1);
    one.write(0, 0, &[0.0, 0.0], &[1.0, 1.0]);
    let mut other = one.clone();
    for (cache, value) in [(&mut one, 3.0), (&mut other, 5.0)] {
        cache.grow(1);
        cache.write(0, 1, &[0.0, 0.0], &[value, value]);
    }
    for (cache, mean) in [(&one, 2.0), (&other, 3.0)] {
        let mut out = [0.0; 2];
        cache.look(Isa::all()[0], 0, (0, 1), &[0.0, 0.0], &mut out);
        assert_eq!(out, [mean, mean]);
    }
}
