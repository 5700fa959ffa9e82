//! What is done to a sum before it is stored.

use std::ptr::null;

use pulp::Simd;

use crate::kernels::activation::clamp;
use crate::kernels::channelwise::channels::{load, prefetch_read};
use crate::kernels::{Activation, Epilogue, InputEpilogue};

/// The end of a sum.
pub(super) trait Finish: Sync {
    /// What [`Ready`] holds.
    fn ready<S: Simd>(&self, simd: S) -> Ready<S>;

    /// What to store for `value` at `offset` of the output.
    ///
    /// # Safety
    /// `offset + F32_LANES` must not be behind the output's end, and `ready` must come from a value
    /// whose slices are alive and as long as the output.
    #[allow(unsafe_code)]
    unsafe fn finish<S: Simd>(simd: S, ready: &Ready<S>, value: S::f32s, offset: usize) -> S::f32s;
}

/// An epilogue in registers.
#[derive(Clone, Copy)]
pub(super) struct Ready<S: Simd> {
    /// What is added, or null.
    added: *const f32,
    /// What tells the slope, or null.
    mask: *const f32,
    /// Whether there are bounds.
    bounded: bool,
    low: S::f32s,
    high: S::f32s,
}

impl<S: Simd> Ready<S> {
    /// Says that the line at `offset` of the output, which may be behind its end, is finished soon.
    #[inline(always)]
    pub(super) fn prefetch(&self, offset: usize) {
        if !self.added.is_null() {
            prefetch_read(self.added.wrapping_add(offset));
        }
        if !self.mask.is_null() {
            prefetch_read(self.mask.wrapping_add(offset));
        }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn add(&self, simd: S, value: S::f32s, offset: usize) -> S::f32s {
        match self.added.is_null() {
            true => value,
            // SAFETY: as long as the output by the caller's promise.
            false => simd.add_f32s(value, unsafe { load::<S>(self.added.add(offset)) }),
        }
    }
}

fn pointer(slice: Option<&[f32]>) -> *const f32 {
    slice.map_or(null(), <[f32]>::as_ptr)
}

/// An [`Epilogue`] whose bias is what sums start from.
impl Finish for Epilogue<'_> {
    #[inline(always)]
    fn ready<S: Simd>(&self, simd: S) -> Ready<S> {
        let [low, high] = match self.activation {
            Activation::None => [f32::NEG_INFINITY, f32::INFINITY],
            Activation::Relu => [0.0, f32::INFINITY],
            Activation::Clip { low, high } => [low, high],
        };
        Ready {
            added: pointer(self.residual),
            mask: null(),
            bounded: self.activation != Activation::None,
            low: simd.splat_f32s(low),
            high: simd.splat_f32s(high),
        }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn finish<S: Simd>(simd: S, ready: &Ready<S>, value: S::f32s, offset: usize) -> S::f32s {
        // SAFETY: the caller's promise.
        let value = unsafe { ready.add(simd, value, offset) };
        match ready.bounded {
            true => clamp(simd, value, ready.low, ready.high),
            false => value,
        }
    }
}

impl Finish for InputEpilogue<'_> {
    #[inline(always)]
    fn ready<S: Simd>(&self, simd: S) -> Ready<S> {
        let (activation, x) = self.mask.unzip();
        let [low, high] = match activation.unwrap_or_default() {
            // No number is at or above NaN.
            Activation::Relu => [0.0, f32::NAN],
            Activation::Clip { low, high } => [low, high],
            Activation::None => [0.0, 0.0],
        };
        let bounded = activation.unwrap_or_default() != Activation::None;
        Ready {
            added: pointer(self.addend),
            mask: pointer(x.filter(|_| bounded)),
            bounded,
            low: simd.splat_f32s(low),
            high: simd.splat_f32s(high),
        }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn finish<S: Simd>(simd: S, ready: &Ready<S>, value: S::f32s, offset: usize) -> S::f32s {
        // SAFETY: the caller's promise.
        let value = unsafe { ready.add(simd, value, offset) };
        if ready.mask.is_null() {
            return value;
        }
        // SAFETY: as long as the output by the caller's promise.
        let x = unsafe { load::<S>(ready.mask.add(offset)) };
        let above = simd.greater_than_f32s(x, ready.low);
        let beyond = simd.greater_than_or_equal_f32s(x, ready.high);
        let inside = simd.and_m32s(above, simd.not_m32s(beyond));
        simd.select_f32s(inside, value, simd.splat_f32s(0.0))
    }
}
