//! What the cores do at most, for the floors beside the figures: products out of the nearest cache, and reading memory.

use std::{hint::black_box, thread, time::Instant};

use super::tile::{Format, Isa};

/// Words in depth of the product that is repeated: rows and panel stay in the nearest cache.
const DEPTH: usize = 128;
/// Products between two looks at the clock.
const TIMES: usize = 20_000;
/// How often it is tried; the best counts.
const TRIES: usize = 5;

/// Thousands of millions of operations (a multiplication and an addition are two) that so many threads do in a second, in the loop
/// that every product here is made of.
pub fn billions(format: Format, threads: usize) -> f64 {
    let isa = Isa::best();
    let (rows, panel) = (isa.rows(), isa.panel());
    let operations = (2 * rows * panel * DEPTH * format.per_word() * TIMES * threads) as f64;
    best(threads, operations, || {
        let (a, b) = (vec![0u32; rows * DEPTH], vec![0u32; panel * DEPTH]);
        let mut c = vec![0u32; rows * panel];
        for _ in 0..TIMES {
            let (a, c) = ((a.as_ptr(), DEPTH), (c.as_mut_ptr(), panel));
            // Sound: all three are as long as the tile says.
            unsafe { isa.tile(format, (rows, DEPTH), a, b.as_ptr(), c, false) };
        }
        black_box(&c);
    })
}

/// Bytes of memory that are read by each thread, more than any cache holds.
const BYTES: usize = 256 << 20;

/// Thousands of millions of bytes that so many threads read in a second.
pub fn bandwidth(threads: usize) -> f64 {
    let memory = vec![1u64; BYTES / size_of::<u64>()];
    best(threads, (BYTES * threads) as f64, || {
        let sums = memory
            .chunks(1024)
            .map(|part| part.iter().fold(0, |sum: u64, x| sum.wrapping_add(*x)));
        black_box(sums.fold(0, u64::wrapping_add));
    })
}

/// The most of something that is done in a second by threads that each do `work`, in thousands of millions.
fn best(threads: usize, amount: f64, work: impl Fn() + Sync) -> f64 {
    let rate = || {
        let started = Instant::now();
        thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(&work))));
        amount / started.elapsed().as_secs_f64() / 1e9
    };
    (0..TRIES).map(|_| rate()).fold(0.0, f64::max)
}
