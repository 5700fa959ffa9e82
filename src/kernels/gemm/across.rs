//! B as `[depth, width]`: rows of B, each times a scalar of A.

use super::{HEIGHT, Piece, Tile, stride};
use crate::kernels::dense::{Lanes, load, prefetch, store};
use pulp::{Simd, WithSimd};

/// Vectors of a tile's row.
const NV: usize = 2;
/// Rows of B that are read before the next columns are.
const BLOCK: usize = 32;
/// The same where columns of all rows fall on the same lines of a cache, which has 8 or more of each.
const SHORT_BLOCK: usize = 8;
/// Floats of a row, or multiples of them, for which that is so.
const ALIKE: usize = 1024;
/// Floats of a cache line.
const LINE: usize = 16;

pub(super) struct Across<'a>(pub Piece<'a>);

impl WithSimd for Across<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let summed = self.0.summed.clone();
        let width = self.0.columns.len();
        let block = match self.0.shape.width.is_multiple_of(ALIKE) {
            true => SHORT_BLOCK,
            false => BLOCK,
        };
        for first in summed.clone().step_by(block) {
            let len = block.min(summed.end - first);
            let mut column = 0;
            while column < width {
                let left = width - column;
                if left >= NV * S::F32_LANES {
                    self.rows::<S, NV>(simd, [first, len], column, Lanes::All);
                    column += NV * S::F32_LANES;
                } else {
                    let lanes = Lanes::of(left, 0, S::F32_LANES);
                    self.rows::<S, 1>(simd, [first, len], column, lanes);
                    column += S::F32_LANES;
                }
            }
        }
    }
}

impl Across<'_> {
    /// All rows of A, for `len` rows of B from `first` and the vectors from `column`.
    #[inline(always)]
    fn rows<S: Simd, const NV: usize>(
        &mut self,
        simd: S,
        part: [usize; 2],
        column: usize,
        lanes: Lanes,
    ) {
        for row in (0..self.0.shape.rows).step_by(HEIGHT) {
            match self.0.shape.rows - row {
                1 => self.tile::<S, 1, NV>(simd, part, row, column, lanes),
                2 => self.tile::<S, 2, NV>(simd, part, row, column, lanes),
                3 => self.tile::<S, 3, NV>(simd, part, row, column, lanes),
                _ => self.tile::<S, HEIGHT, NV>(simd, part, row, column, lanes),
            }
        }
    }

    #[allow(unsafe_code)]
    #[inline(always)]
    fn tile<S: Simd, const MR: usize, const NV: usize>(
        &mut self,
        simd: S,
        [first, len]: [usize; 2],
        row: usize,
        column: usize,
        lanes: Lanes,
    ) {
        let stride = stride(&self.0.columns);
        let Piece {
            shape,
            a,
            b,
            ref columns,
            ref mut sums,
            ..
        } = self.0;
        // What is read below lies in these, so that slicing checks it.
        let a: [&[f32]; MR] = std::array::from_fn(|i| &a[(row + i) * shape.depth + first..][..len]);
        let sums: [&mut [f32]; MR] = {
            let mut rows = sums[row * stride..].chunks_exact_mut(stride);
            std::array::from_fn(|_| &mut rows.next().unwrap_or_default()[column..])
        };
        let start = first * shape.width + columns.start + column;
        let read = match lanes {
            Lanes::All => NV * S::F32_LANES,
            Lanes::First(count) => count,
        };
        let b = &b[start..start + (len - 1) * shape.width + read];
        let mut tile: Tile<S, MR, NV> = [[simd.splat_f32s(0.0); NV]; MR];
        for (tile, sums) in tile.iter_mut().zip(&sums) {
            for (sum, from) in tile.iter_mut().zip(sums.chunks(S::F32_LANES)) {
                debug_assert!(from.len() == S::F32_LANES);
                // SAFETY: rows of sums are whole vectors.
                *sum = unsafe { load(simd, from.as_ptr(), Lanes::All) };
            }
        }
        // The next rows of B are asked for as they lie in memory: as many lines as are read here.
        let lines = column * len;
        let mut line = lines % columns.len() / LINE * LINE;
        let ahead = (first + len + lines / columns.len()) * shape.width + columns.start;
        let mut ahead = self.0.b.as_ptr().wrapping_add(ahead);
        for k in 0..len {
            let from = b.as_ptr().wrapping_add(k * shape.width);
            let mut wide = [simd.splat_f32s(0.0); NV];
            for (v, wide) in wide.iter_mut().enumerate() {
                // SAFETY: `b` was cut to `read` floats behind its last row's beginning.
                *wide = unsafe { load(simd, from.wrapping_add(v * S::F32_LANES), lanes) };
            }
            if row == 0 {
                for _ in 0..(NV * S::F32_LANES).div_ceil(LINE) {
                    prefetch(ahead.wrapping_add(line));
                    line += LINE;
                    if line >= columns.len() {
                        line = 0;
                        ahead = ahead.wrapping_add(shape.width);
                    }
                }
            }
            for (tile, a) in tile.iter_mut().zip(&a) {
                // SAFETY: k < len.
                let scalar = simd.splat_f32s(unsafe { *a.get_unchecked(k) });
                for (sum, &wide) in tile.iter_mut().zip(&wide) {
                    *sum = simd.mul_add_e_f32s(scalar, wide, *sum);
                }
            }
        }
        for (tile, sums) in tile.iter().zip(sums) {
            for (&sum, to) in tile.iter().zip(sums.chunks_mut(S::F32_LANES)) {
                debug_assert!(to.len() == S::F32_LANES);
                // SAFETY: as above.
                unsafe { store(simd, to.as_mut_ptr(), Lanes::All, sum) };
            }
        }
    }
}
