//! What is done to sums when they are stored.

use super::lanes::{Lanes, apply, load, store};
use super::tile::{Tile, prefetch};
use crate::kernels::Activation;
use crate::kernels::activation::slope;
use crate::kernels::shared::Shared;
use pulp::Simd;

/// What happens to a tile before it is stored.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Finish<'a> {
    /// Added, by channel.
    pub bias: Option<&'a [f32]>,
    /// Added, by element.
    pub addend: Option<&'a [f32]>,
    /// Applied after the sums.
    pub activation: Activation,
    /// Keeps what belongs to active elements of an activation's output.
    pub mask: Option<(Activation, &'a [f32])>,
    /// Whether rounding may be that of a few more digits, for the sake of time.
    pub coarse: bool,
}

impl Finish<'_> {
    /// What is stored for `sum`, bias included, whose lanes are the elements from `at`.
    #[allow(unsafe_code)]
    #[inline(always)]
    pub(super) fn value<S: Simd>(&self, simd: S, sum: S::f32s, at: usize, lanes: Lanes) -> S::f32s {
        let elements = match lanes {
            Lanes::All => at..at + S::F32_LANES,
            Lanes::First(count) => at..at + count,
        };
        let mut value = sum;
        if let Some(addend) = self.addend {
            let from = addend[elements.clone()].as_ptr();
            // SAFETY: `lanes` are those elements.
            value = simd.add_f32s(value, unsafe { load(simd, from, lanes) });
        }
        value = apply(simd, self.activation, value);
        if let Some((activation, output)) = self.mask {
            let from = output[elements].as_ptr();
            // SAFETY: as above.
            let output = unsafe { load(simd, from, lanes) };
            value = slope(simd, activation, value, output);
        }
        value
    }
}

/// Where finished tiles go.
#[derive(Clone, Copy)]
pub(super) struct Writer<'a> {
    /// The last step.
    pub finish: &'a Finish<'a>,
    /// The map.
    pub target: Shared<'a>,
}

/// Whether a map of so many floats does not lie in a near cache, so that its rows are asked for ahead.
pub(super) fn is_far(len: usize) -> bool {
    len > 1 << 20
}

impl Writer<'_> {
    /// Whether [`fetch`](Self::fetch) is of use.
    pub(super) fn is_far(&self) -> bool {
        is_far(self.target.len())
    }

    /// Asks for what will be written and added at `writes`, channels `channel..channel + width`.
    #[inline(always)]
    pub(super) fn fetch(&self, writes: &[usize], channel: usize, width: usize) {
        let Finish { addend, mask, .. } = self.finish;
        for &row in writes {
            for line in (0..width).step_by(16) {
                let at = row + channel + line;
                prefetch(self.target.start().wrapping_add(at));
                if let Some(addend) = addend {
                    prefetch(addend.as_ptr().wrapping_add(at));
                }
                if let Some((_, output)) = mask {
                    prefetch(output.as_ptr().wrapping_add(at));
                }
            }
        }
    }

    /// Stores a tile's rows at `writes`, channels `channel..channel + width`.
    ///
    /// # Safety
    /// Nobody else uses those elements of the map meanwhile.
    #[allow(unsafe_code)]
    #[inline(always)]
    pub(super) unsafe fn store<S: Simd, const MR: usize, const NV: usize>(
        &self,
        simd: S,
        tile: &Tile<S, MR, NV>,
        writes: &[usize],
        channel: usize,
        width: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            if width == NV * S::F32_LANES {
                self.store_lanes::<S, MR, NV, true>(simd, tile, writes, channel, width)
            } else {
                self.store_lanes::<S, MR, NV, false>(simd, tile, writes, channel, width)
            }
        }
    }

    /// # Safety
    /// As [`Self::store`].
    #[allow(unsafe_code)]
    #[inline(always)]
    unsafe fn store_lanes<S: Simd, const MR: usize, const NV: usize, const FULL: bool>(
        &self,
        simd: S,
        tile: &Tile<S, MR, NV>,
        writes: &[usize],
        channel: usize,
        width: usize,
    ) {
        let bias = self.bias::<S, NV, FULL>(simd, channel, width);
        for (i, sums) in tile.iter().enumerate() {
            if i >= writes.len() {
                break;
            }
            // SAFETY: the caller's promise.
            unsafe {
                self.store_row::<S, NV, FULL>(simd, *sums, bias, writes[i] + channel, width);
            }
        }
    }

    /// The bias of channels `channel..channel + width`, of as many as `NV` vectors have if `FULL`.
    #[allow(unsafe_code)]
    #[inline(always)]
    pub(super) fn bias<S: Simd, const NV: usize, const FULL: bool>(
        &self,
        simd: S,
        channel: usize,
        width: usize,
    ) -> [S::f32s; NV] {
        let mut bias = [simd.splat_f32s(0.0); NV];
        if let Some(values) = self.finish.bias {
            let values = &values[channel..channel + width];
            for (v, bias) in bias.iter_mut().enumerate() {
                let from = values.as_ptr().wrapping_add(v * S::F32_LANES);
                // SAFETY: the lanes keep to the width of `values`.
                *bias = unsafe { load(simd, from, lanes::<S, FULL>(width, v)) };
            }
        }
        bias
    }

    /// Stores `width` sums at `start`, of as many as `NV` vectors have if `FULL`.
    ///
    /// # Safety
    /// As [`Self::store`].
    #[allow(unsafe_code)]
    #[inline(always)]
    pub(super) unsafe fn store_row<S: Simd, const NV: usize, const FULL: bool>(
        &self,
        simd: S,
        sums: [S::f32s; NV],
        bias: [S::f32s; NV],
        start: usize,
        width: usize,
    ) {
        let to = self.target.at(start, width);
        for v in 0..NV {
            let offset = v * S::F32_LANES;
            let lanes = lanes::<S, FULL>(width, v);
            let value = simd.add_f32s(sums[v], bias[v]);
            let value = self.finish.value(simd, value, start + offset, lanes);
            // SAFETY: `at` checked the `width` elements, which the caller promises nobody else uses.
            unsafe { store(simd, to.wrapping_add(offset), lanes, value) };
        }
    }
}

#[inline(always)]
fn lanes<S: Simd, const FULL: bool>(width: usize, v: usize) -> Lanes {
    match FULL {
        true => Lanes::All,
        false => Lanes::of(width, v, S::F32_LANES),
    }
}
