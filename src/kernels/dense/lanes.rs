//! Vector loads and stores through pointers, and activations on vectors.

use crate::kernels::Activation;
use pulp::{MemMask, Simd};

/// How many lanes of a vector an access touches.
#[derive(Clone, Copy)]
pub(in crate::kernels) enum Lanes {
    /// All of them.
    All,
    /// The first few.
    First(usize),
}

impl Lanes {
    /// What is left for vector `v` of a row with `width` elements, for vectors of `lanes`.
    #[inline(always)]
    pub(in crate::kernels) fn of(width: usize, v: usize, lanes: usize) -> Self {
        match width.saturating_sub(v * lanes) {
            left if left >= lanes => Lanes::All,
            left => Lanes::First(left),
        }
    }
}

#[inline(always)]
fn mask<S: Simd>(simd: S, count: usize) -> MemMask<S::m32s> {
    MemMask::new(simd.mask_between_m32s(0, count as u32).mask())
}

/// A vector from `from`; lanes that are not read are zero.
///
/// # Safety
/// The lanes that are read are readable floats.
#[allow(unsafe_code)]
#[inline(always)]
pub(in crate::kernels) unsafe fn load<S: Simd>(simd: S, from: *const f32, lanes: Lanes) -> S::f32s {
    // SAFETY: the caller's promise; vectors are plain old data.
    unsafe {
        match lanes {
            Lanes::All => from.cast::<S::f32s>().read_unaligned(),
            Lanes::First(count) => simd.mask_load_ptr_f32s(mask(simd, count), from),
        }
    }
}

/// Writes the chosen lanes of `value`.
///
/// # Safety
/// The lanes that are written are writable floats.
#[allow(unsafe_code)]
#[inline(always)]
pub(in crate::kernels) unsafe fn store<S: Simd>(
    simd: S,
    to: *mut f32,
    lanes: Lanes,
    value: S::f32s,
) {
    // SAFETY: the caller's promise; vectors are plain old data.
    unsafe {
        match lanes {
            Lanes::All => to.cast::<S::f32s>().write_unaligned(value),
            Lanes::First(count) => simd.mask_store_ptr_f32s(mask(simd, count), to, value),
        }
    }
}

#[inline(always)]
fn raise<S: Simd>(simd: S, x: S::f32s, low: S::f32s) -> S::f32s {
    simd.select_f32s(simd.less_than_f32s(x, low), low, x)
}

/// [`Activation::apply`] on every lane.
#[inline(always)]
pub(super) fn apply<S: Simd>(simd: S, activation: Activation, x: S::f32s) -> S::f32s {
    match activation {
        Activation::None => x,
        Activation::Relu => raise(simd, x, simd.splat_f32s(0.0)),
        Activation::Clip { low, high } => {
            let high = simd.splat_f32s(high);
            let raised = raise(simd, x, simd.splat_f32s(low));
            simd.select_f32s(simd.greater_than_f32s(raised, high), high, raised)
        }
    }
}
