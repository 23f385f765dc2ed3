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
