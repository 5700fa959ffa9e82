//! B as `[width, depth]`: rows of A, each times rows of B.

use super::{HEIGHT, Piece, Tile, stride};
use crate::kernels::dense::{Lanes, load, prefetch};
use pulp::{Simd, WithSimd};

/// Floats after those that are read that are asked for.
const AHEAD: usize = 2048;
/// Columns after which the next rows are read, so that those of A stay in a cache.
const BLOCK: usize = 2048;

pub(super) struct Along<'a>(pub Piece<'a>);

impl WithSimd for Along<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // As many sums as registers hold beside what they are made of.
        match S::REGISTER_COUNT >= 32 {
            true => self.blocks::<S, 4>(simd),
            false => self.blocks::<S, 2>(simd),
        }
    }
}

impl Along<'_> {
    /// All columns, in tiles of `NB` rows of B.
    #[inline(always)]
    fn blocks<S: Simd, const NB: usize>(&mut self, simd: S) {
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
        if row == 0 {
            for b in &b {
                for line in (0..len).step_by(16) {
                    prefetch(b.as_ptr().wrapping_add(line + AHEAD));
                }
            }
        }
        let mut tile: Tile<S, MR, NB> = [[simd.splat_f32s(0.0); NB]; MR];
        let whole = len / S::F32_LANES * S::F32_LANES;
        for k in (0..whole).step_by(S::F32_LANES) {
            add(simd, &mut tile, &a, &b, k, Lanes::All);
        }
        if whole < len {
            let rest = Lanes::of(len - whole, 0, S::F32_LANES);
            add(simd, &mut tile, &a, &b, whole, rest);
        }
        for (i, tile) in tile.iter().enumerate() {
            let sums = &mut sums[(row + i) * stride + column..][..NB];
            for (sum, &vector) in sums.iter_mut().zip(tile) {
                *sum += simd.reduce_sum_f32s(vector);
            }
        }
    }
}

/// Adds the products of the `lanes` elements from `k` of rows of A and of B.
#[allow(unsafe_code)]
#[inline(always)]
fn add<S: Simd, const MR: usize, const NB: usize>(
    simd: S,
    tile: &mut Tile<S, MR, NB>,
    a: &[&[f32]; MR],
    b: &[&[f32]; NB],
    k: usize,
    lanes: Lanes,
) {
    let mut wide = [simd.splat_f32s(0.0); NB];
    for (wide, b) in wide.iter_mut().zip(b) {
        // SAFETY: `lanes` keeps to the rows' length.
        *wide = unsafe { load(simd, b.as_ptr().wrapping_add(k), lanes) };
    }
    for (tile, a) in tile.iter_mut().zip(a) {
        // SAFETY: as above.
        let a = unsafe { load(simd, a.as_ptr().wrapping_add(k), lanes) };
        for (sum, &wide) in tile.iter_mut().zip(&wide) {
            *sum = simd.mul_add_e_f32s(a, wide, *sum);
        }
    }
}
