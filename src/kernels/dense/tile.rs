//! The two inner loops: a tile of sums in registers, fed by broadcasts times vectors.

use super::lanes::{Lanes, load, store};
use pulp::Simd;

/// `MR` rows of `NV` vectors.
pub(super) type Tile<S, const MR: usize, const NV: usize> = [[<S as Simd>::f32s; NV]; MR];

/// A tile of zeros.
#[inline(always)]
pub(super) fn zeros<S: Simd, const MR: usize, const NV: usize>(simd: S) -> Tile<S, MR, NV> {
    [[simd.splat_f32s(0.0); NV]; MR]
}

/// Reads a tile that [`save`] wrote.
///
/// # Safety
/// `from` has `MR · NV` vectors.
#[allow(unsafe_code)]
#[inline(always)]
pub(super) unsafe fn restore<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    from: *const f32,
) -> Tile<S, MR, NV> {
    let mut tile = zeros::<S, MR, NV>(simd);
    for (i, row) in tile.iter_mut().enumerate() {
        for (v, value) in row.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *value = unsafe { load(simd, from.add((i * NV + v) * S::F32_LANES), Lanes::All) };
        }
    }
    tile
}

/// Writes a tile, row after row.
///
/// # Safety
/// `to` has room for `MR · NV` vectors.
#[allow(unsafe_code)]
#[inline(always)]
pub(super) unsafe fn save<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    tile: &Tile<S, MR, NV>,
    to: *mut f32,
) {
    for (i, row) in tile.iter().enumerate() {
        for (v, &value) in row.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { store(simd, to.add((i * NV + v) * S::F32_LANES), Lanes::All, value) };
        }
    }
}

/// Depth after which the next part of the rows to come is asked for.
const AHEAD: usize = 64;

/// Asks for the cache line of `from`, which may be any address.
#[inline(always)]
pub(in crate::kernels) fn prefetch(from: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which never faults; every x86-64 has the instruction.
    #[allow(unsafe_code)]
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(from.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}

/// Adds gathered rows times a packed panel: for each tap, for each k,
/// `tile[i] += rows[tap][i][first + k] · panel[tap][k]`. Meanwhile asks for the same parts of the
/// rows that come `ahead` behind, if that is not 0.
///
/// # Safety
/// `rows` has `ahead` pointers and then, or if that is 0 only, `taps · MR` pointers, each to at least `first + depth` floats; `panel` has
/// `taps · depth · NV` vectors.
#[allow(unsafe_code)]
#[inline(always)]
pub(super) unsafe fn gathered<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    tile: Tile<S, MR, NV>,
    rows: *const *const f32,
    ahead: usize,
    [taps, first, depth]: [usize; 3],
    panel: *const f32,
) -> Tile<S, MR, NV> {
    let mut tile = tile;
    let mut panel = panel;
    for tap in 0..taps {
        let mut row = [panel; MR];
        for (i, row) in row.iter_mut().enumerate() {
            // SAFETY: taps · MR pointers, each to first + depth floats.
            *row = unsafe { (*rows.add(tap * MR + i)).add(first) };
        }
        for part in (0..depth).step_by(AHEAD) {
            if ahead > 0 {
                for i in 0..MR {
                    // SAFETY: taps · MR pointers that many behind.
                    let next = unsafe { *rows.add(ahead + tap * MR + i) };
                    for line in (part..depth.min(part + AHEAD)).step_by(16) {
                        prefetch(next.wrapping_add(first + line));
                    }
                }
            }
            for k in part..depth.min(part + AHEAD) {
                let mut wide = [simd.splat_f32s(0.0); NV];
                for (v, wide) in wide.iter_mut().enumerate() {
                    // SAFETY: taps · depth · NV vectors, of which this is (tap, k, v).
                    *wide = unsafe { load(simd, panel.add(v * S::F32_LANES), Lanes::All) };
                }
                for i in 0..MR {
                    // SAFETY: k < depth.
                    let scalar = simd.splat_f32s(unsafe { *row[i].add(k) });
                    for v in 0..NV {
                        tile[i][v] = simd.mul_add_e_f32s(scalar, wide[v], tile[i][v]);
                    }
                }
                panel = panel.wrapping_add(NV * S::F32_LANES);
            }
        }
    }
    tile
}

/// Pixels that lie evenly in both factors of an outer product, and the first's place in them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// In the factor whose channels are broadcast, in pixels.
    pub tall: usize,
    /// In the factor whose channels are a vector, in floats.
    pub wide: usize,
    /// Pixels.
    pub len: usize,
}

/// Adds outer products of pixels: `tile[i] += tall[pixel][i] · wide[pixel]`.
///
/// # Safety
/// For every run and p < len: `tall + (run.tall + p · steps[0]) · pixel` has `MR` floats and
/// `wide + run.wide + p · steps[1]` has `NV` vectors.
#[allow(unsafe_code)]
#[inline(always)]
pub(super) unsafe fn outer<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    tile: Tile<S, MR, NV>,
    runs: &[Run],
    [tall, wide]: [*const f32; 2],
    [tall_step, wide_step]: [usize; 2],
    pixel: usize,
) -> Tile<S, MR, NV> {
    let mut tile = tile;
    let tall_step = tall_step * pixel;
    for run in runs {
        let mut tall = tall.wrapping_add(run.tall * pixel);
        let mut wide = wide.wrapping_add(run.wide);
        for _ in 0..run.len {
            let mut row = [simd.splat_f32s(0.0); NV];
            for (v, row) in row.iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                *row = unsafe { load(simd, wide.add(v * S::F32_LANES), Lanes::All) };
            }
            for (i, sums) in tile.iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                let scalar = simd.splat_f32s(unsafe { *tall.add(i) });
                for v in 0..NV {
                    sums[v] = simd.mul_add_e_f32s(scalar, row[v], sums[v]);
                }
            }
            tall = tall.wrapping_add(tall_step);
            wide = wide.wrapping_add(wide_step);
        }
    }
    tile
}
