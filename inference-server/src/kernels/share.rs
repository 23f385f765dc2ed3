//! One buffer written by several threads, each its own part.

use std::{marker::PhantomData, slice};

/// A buffer whose parts are written by different threads.
pub(super) struct Shared<'a, T = f32> {
    begin: *mut T,
    length: usize,
    buffer: PhantomData<&'a mut [T]>,
}

// Sound: parts are only given out by `part` and `pointer`, whose callers see to it that none is given out twice at a time.
unsafe impl<T: Send> Send for Shared<'_, T> {}
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(super) fn new(buffer: &'a mut [T]) -> Self {
        Shared {
            begin: buffer.as_mut_ptr(),
            length: buffer.len(),
            buffer: PhantomData,
        }
    }

    /// `length` values from `begin` on.
    ///
    /// # Safety
    /// No other part that overlaps is used at the same time.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn part(&self, begin: usize, length: usize) -> &mut [T] {
        assert!(
            begin + length <= self.length,
            "a part of {length} at {begin} of {}",
            self.length
        );
        unsafe { slice::from_raw_parts_mut(self.begin.add(begin), length) }
    }

    /// Where a part begins of which `length` values are used.
    pub(super) fn pointer(&self, begin: usize, length: usize) -> *mut T {
        assert!(
            begin + length <= self.length,
            "a part of {length} at {begin} of {}",
            self.length
        );
        unsafe { self.begin.add(begin) }
    }
}

/// Rows of a part of a buffer: `count` of them, `used` values each, `stride` from one to the next.
pub(super) struct Block<'a> {
    begin: *mut f32,
    stride: usize,
    count: usize,
    used: usize,
    buffer: PhantomData<&'a mut [f32]>,
}

impl<'a> Shared<'a> {
    /// Rows from `begin` on.
    ///
    /// # Safety
    /// Nobody else uses these rows' values while the block is there.
    pub(super) unsafe fn block(&self, begin: usize, stride: usize, count: usize, used: usize) -> Block<'_> {
        let length = (count - 1) * stride + used;
        assert!(used <= stride || count == 1, "rows of {used} values at {stride}");
        Block {
            begin: self.pointer(begin, length),
            stride,
            count,
            used,
            buffer: PhantomData,
        }
    }
}

impl Block<'_> {
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    #[inline(always)]
    pub(super) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.count, "row {row} of {}", self.count);
        // Sound: within what was looked at when the block was made, and nobody else's.
        unsafe { slice::from_raw_parts_mut(self.begin.add(row * self.stride), self.used) }
    }
}
