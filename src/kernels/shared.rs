//! A slice that several threads write, each its own part.

use std::marker::PhantomData;
use std::ops::Range;

/// The start of a mutable slice, for pieces that run at the same time and write disjoint elements.
///
/// Holding one is safe; what is written through [`Shared::at`] is the writer's responsibility.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    start: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: a pointer and a length; every dereference is unsafe and promises disjointness there.
#[allow(unsafe_code)]
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    /// Lends `slice` out.
    pub(super) fn new(slice: &'a mut [f32]) -> Self {
        Shared {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            slice: PhantomData,
        }
    }

    /// Elements.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The first element's address.
    pub(super) fn start(&self) -> *const f32 {
        self.start
    }

    /// The start of the `len` elements from `offset`, which are checked to lie inside.
    ///
    /// To dereference it, nobody else may use those elements at the same time.
    pub(super) fn at(&self, offset: usize, len: usize) -> *mut f32 {
        assert!(offset <= self.len && len <= self.len - offset);
        self.start.wrapping_add(offset)
    }

    /// The elements of `range`.
    ///
    /// # Safety
    /// Nobody else uses those elements while the result lives.
    #[allow(unsafe_code, clippy::mut_from_ref)]
    pub(super) unsafe fn part(&self, range: Range<usize>) -> &'a mut [f32] {
        // SAFETY: `at` checks the bounds; the caller promises that nobody else uses the elements.
        unsafe { std::slice::from_raw_parts_mut(self.at(range.start, range.len()), range.len()) }
    }
}
