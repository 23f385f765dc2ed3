//! One buffer written by several threads, each its own part.

use std::{marker::PhantomData, slice};

/// A buffer whose parts are written by different threads.
pub(super) struct Shared<'a> {
    begin: *mut f32,
    length: usize,
    buffer: PhantomData<&'a mut [f32]>,
}

// Sound: parts are only given out by `part` and `pointer`, whose callers see to it that none is given out twice at a time.
unsafe impl Send for Shared<'_> {}
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub(super) fn new(buffer: &'a mut [f32]) -> Self {
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
    pub(super) unsafe fn part(&self, begin: usize, length: usize) -> &mut [f32] {
        assert!(
            begin + length <= self.length,
            "a part of {length} at {begin} of {}",
            self.length
        );
        unsafe { slice::from_raw_parts_mut(self.begin.add(begin), length) }
    }

    /// Where a part begins of which `length` values are used.
    pub(super) fn pointer(&self, begin: usize, length: usize) -> *mut f32 {
        assert!(
            begin + length <= self.length,
            "a part of {length} at {begin} of {}",
            self.length
        );
        unsafe { self.begin.add(begin) }
    }
}
