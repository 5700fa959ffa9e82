//! The sum of pixels: the bias gradient.

use super::lanes::{Lanes, load, store};
use crate::kernels::shared::Shared;
use pulp::Simd;

/// Writes the sum of `shares`, each as long as `to`, of which there is at least one.
pub(super) fn sum_shares(shares: &[f32], to: &mut [f32]) {
    let (first, rest) = shares.split_at(to.len());
    to.copy_from_slice(first);
    for share in rest.chunks_exact(to.len()) {
        to.iter_mut().zip(share).for_each(|(to, more)| *to += more);
    }
}

/// Adds pixels of as many channels as `to` has floats to it.
///
/// # Safety
/// Nobody else uses `to` meanwhile.
#[allow(unsafe_code)]
#[inline(always)]
pub(super) unsafe fn add_pixels<S: Simd>(simd: S, pixels: &[f32], to: Shared) {
    /// Vectors whose sums do not wait for each other.
    const TOGETHER: usize = 4;
    let channels = to.len();
    for first in (0..channels).step_by(TOGETHER * S::F32_LANES) {
        let width = (channels - first).min(TOGETHER * S::F32_LANES);
        let to = to.at(first, width);
        let mut sums = [simd.splat_f32s(0.0); TOGETHER];
        if width == TOGETHER * S::F32_LANES {
            for row in pixels.chunks_exact(channels) {
                let row = row[first..first + width].as_ptr();
                for (v, sum) in sums.iter_mut().enumerate() {
                    let from = row.wrapping_add(v * S::F32_LANES);
                    // SAFETY: all of `width`.
                    *sum = simd.add_f32s(*sum, unsafe { load(simd, from, Lanes::All) });
                }
            }
        } else {
            for row in pixels.chunks_exact(channels) {
                let row = row[first..first + width].as_ptr();
                for (v, sum) in sums.iter_mut().enumerate() {
                    let lanes = Lanes::of(width, v, S::F32_LANES);
                    let from = row.wrapping_add(v * S::F32_LANES);
                    // SAFETY: `lanes` keeps to `width`.
                    *sum = simd.add_f32s(*sum, unsafe { load(simd, from, lanes) });
                }
            }
        }
        for (v, sum) in sums.into_iter().enumerate() {
            let lanes = Lanes::of(width, v, S::F32_LANES);
            let to = to.wrapping_add(v * S::F32_LANES);
            // SAFETY: `lanes` keeps to `width`, and the caller promises that nobody else uses it.
            unsafe { store(simd, to, lanes, simd.add_f32s(sum, load(simd, to, lanes))) };
        }
    }
}
