//! Numbers that a piece of work needs while it lasts: each thread keeps them for its next one.

use std::cell::Cell;

thread_local! {
    static KEPT: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Does something with `count` numbers, which hold whatever was left in them.
pub(super) fn with_scratch<R>(count: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    // Work within work finds none, and gets its own.
    let mut numbers = KEPT.take();
    if numbers.len() < count {
        numbers.resize(count, 0.0);
    }
    let result = work(&mut numbers[..count]);
    KEPT.set(numbers);
    result
}
