//! B as `[width, depth]`: rows of A, each times rows of B.

use super::{HEIGHT, Piece, Tile, stride};
use crate::kernels::dense::{Lanes, load, prefetch};
use pulp::{Simd, WithSimd};

/// Rows of B in a tile.
const NB: usize = 2;
/// Floats after those that are read that are asked for.
const AHEAD: usize = 256;
/// Columns after which the next rows are read, so that those of A stay in a cache.
const BLOCK: usize = 2048;

pub(super) struct Along<'a>(pub Piece<'a>);

impl WithSimd for Along<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let summed = self.0.summed.clone();
        let width = self.0.columns.len();
        for first in summed.clone().step_by(BLOCK) {
            let len = BLOCK.min(summed.end - first);
            let mut column = 0;
            while column < width {
                if width - column >= NB {
                    self.rows::<S, NB>(simd, [first, len], column);
                    column += NB;
                } else {
                    self.rows::<S, 1>(simd, [first, len], column);
                    column += 1;
                }
            }
        }
    }
}

impl Along<'_> {
    /// All rows of A, for `len` columns from `first` and the `NB` rows of B from `column`.
    #[inline(always)]
    fn rows<S: Simd, const NB: usize>(&mut self, simd: S, part: [usize; 2], column: usize) {
        for row in (0..self.0.shape.rows).step_by(HEIGHT) {
            match self.0.shape.rows - row {
                1 => self.tile::<S, 1, NB>(simd, part, row, column),
                2 => self.tile::<S, 2, NB>(simd, part, row, column),
                3 => self.tile::<S, 3, NB>(simd, part, row, column),
                _ => self.tile::<S, HEIGHT, NB>(simd, part, row, column),
            }
        }
    }

    #[allow(unsafe_code)]
    #[inline(always)]
    fn tile<S: Simd, const MR: usize, const NB: usize>(
        &mut self,
        simd: S,
        [first, len]: [usize; 2],
        row: usize,
        column: usize,
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
        let b: [&[f32]; NB] = std::array::from_fn(|j| {
            &b[(columns.start + column + j) * shape.depth + first..][..len]
        });
        let mut tile: Tile<S, MR, NB> = [[simd.splat_f32s(0.0); NB]; MR];
        for k in (0..len).step_by(S::F32_LANES) {
            let lanes = Lanes::of(len - k, 0, S::F32_LANES);
            if row == 0 {
                for b in &b {
                    prefetch(b.as_ptr().wrapping_add(k + AHEAD));
                }
            }
            let mut wide = [simd.splat_f32s(0.0); NB];
            for (wide, b) in wide.iter_mut().zip(&b) {
                // SAFETY: `lanes` keeps to `len`.
                *wide = unsafe { load(simd, b.as_ptr().wrapping_add(k), lanes) };
            }
            for (tile, a) in tile.iter_mut().zip(&a) {
                // SAFETY: as above.
                let a = unsafe { load(simd, a.as_ptr().wrapping_add(k), lanes) };
                for (sum, &wide) in tile.iter_mut().zip(&wide) {
                    *sum = simd.mul_add_e_f32s(a, wide, *sum);
                }
            }
        }
        for (i, tile) in tile.iter().enumerate() {
            let sums = &mut sums[(row + i) * stride + column..][..NB];
            for (sum, &vector) in sums.iter_mut().zip(tile) {
                *sum += simd.reduce_sum_f32s(vector);
            }
        }
    }
}
