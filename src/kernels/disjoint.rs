//! One output written by several pieces of work.

use std::marker::PhantomData;
use std::ops::Range;

/// A mutable slice of which independent pieces take parts that do not overlap.
pub(super) struct DisjointMut<'a, T> {
    start: *mut T,
    len: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: the only access is `part`, whose callers promise that no two parts overlap; sharing the
// wrapper therefore shares no element between threads.
#[allow(unsafe_code)]
unsafe impl<T: Send> Sync for DisjointMut<'_, T> {}

impl<'a, T> DisjointMut<'a, T> {
    /// Borrows `slice` for as long as parts of it are handed out.
    pub(super) fn new(slice: &'a mut [T]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            owner: PhantomData,
        }
    }

    /// The elements of `range`.
    ///
    /// # Panics
    /// When the range is not within the slice.
    ///
    /// # Safety
    /// No other part that overlaps `range` may be alive.
    #[allow(unsafe_code, clippy::mut_from_ref)]
    pub(super) unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: within the borrowed slice by the assertion, unshared by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}
