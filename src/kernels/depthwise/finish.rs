//! What is done to a sum before it is stored.

use pulp::Simd;

use crate::kernels::channels::{clamp, load, prefetch_read, slope};
use crate::kernels::{Activation, Epilogue, InputEpilogue};

/// The end of a sum.
pub(super) trait Finish: Sync {
    /// What to store for `value` at `offset` of the output.
    ///
    /// # Safety
    /// `offset + F32_LANES` must not be behind the output's end.
    #[allow(unsafe_code)]
    unsafe fn finish<S: Simd>(&self, simd: S, value: S::f32s, offset: usize) -> S::f32s;

    /// Says that the line at `offset` of the output, which may be behind its end, is finished soon.
    fn prefetch(&self, offset: usize);
}

/// An [`Epilogue`] whose residual is as long as the output; its bias is what sums start from.
impl Finish for Epilogue<'_> {
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn finish<S: Simd>(&self, simd: S, mut value: S::f32s, offset: usize) -> S::f32s {
        if let Some(residual) = self.residual {
            // SAFETY: as long as the output.
            value = simd.add_f32s(value, unsafe { load::<S>(residual.as_ptr().add(offset)) });
        }
        let bounds = match self.activation {
            Activation::None => return value,
            Activation::Relu => [0.0, f32::INFINITY],
            Activation::Clip { low, high } => [low, high],
        };
        let [low, high] = bounds.map(|bound| simd.splat_f32s(bound));
        clamp(simd, value, low, high)
    }

    #[inline(always)]
    fn prefetch(&self, offset: usize) {
        if let Some(residual) = self.residual {
            prefetch_read(residual.as_ptr().wrapping_add(offset));
        }
    }
}

/// An [`InputEpilogue`] whose slices are as long as the output.
impl Finish for InputEpilogue<'_> {
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn finish<S: Simd>(&self, simd: S, mut value: S::f32s, offset: usize) -> S::f32s {
        if let Some(addend) = self.addend {
            // SAFETY: as long as the output.
            value = simd.add_f32s(value, unsafe { load::<S>(addend.as_ptr().add(offset)) });
        }
        match self.mask {
            None => value,
            Some((activation, x)) => {
                // SAFETY: as long as the output.
                let x = unsafe { load::<S>(x.as_ptr().add(offset)) };
                slope(simd, activation, value, x)
            }
        }
    }

    #[inline(always)]
    fn prefetch(&self, offset: usize) {
        if let Some(addend) = self.addend {
            prefetch_read(addend.as_ptr().wrapping_add(offset));
        }
        if let Some((_, x)) = self.mask {
            prefetch_read(x.as_ptr().wrapping_add(offset));
        }
    }
}
