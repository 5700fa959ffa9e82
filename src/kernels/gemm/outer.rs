//! The gradient of a dense layer's weight: sums of few outer products.

use super::HEIGHT;
use crate::kernels::dense::{Lanes, load, store};
use pulp::{Simd, WithSimd};

/// Some rows of Y = Aᵀ · B.
pub(super) struct Outer<'a> {
    /// Rows of A and B.
    pub rows: usize,
    /// `[rows, depth]`
    pub a: &'a [f32],
    /// Row of Y, and column of A, of the first of `y`.
    pub first: usize,
    /// Columns of A.
    pub depth: usize,
    /// `[rows, width]`
    pub b: &'a [f32],
    /// Columns of B and Y.
    pub width: usize,
    /// Whole rows of Y.
    pub y: &'a mut [f32],
}

impl WithSimd for Outer<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for at in 0..self.y.len() / self.width.max(1) {
            for row in (0..self.rows).step_by(HEIGHT) {
                match self.rows - row {
                    1 => self.add::<S, 1>(simd, at, row),
                    2 => self.add::<S, 2>(simd, at, row),
                    3 => self.add::<S, 3>(simd, at, row),
                    _ => self.add::<S, HEIGHT>(simd, at, row),
                }
            }
        }
    }
}

impl Outer<'_> {
    /// Adds the products of `MR` rows from `row` to row `at` of Y; the first ones replace it.
    #[allow(unsafe_code)]
    #[inline(always)]
    fn add<S: Simd, const MR: usize>(&mut self, simd: S, at: usize, row: usize) {
        let Outer { width, .. } = *self;
        let b = &self.b[row * width..(row + MR) * width];
        let y = &mut self.y[at * width..(at + 1) * width];
        let mut scalars = [simd.splat_f32s(0.0); MR];
        for (i, scalar) in scalars.iter_mut().enumerate() {
            *scalar = simd.splat_f32s(self.a[(row + i) * self.depth + self.first + at]);
        }
        for column in (0..width).step_by(S::F32_LANES) {
            let lanes = Lanes::of(width - column, 0, S::F32_LANES);
            let to = y.as_mut_ptr().wrapping_add(column);
            // SAFETY: `lanes` keeps to the width of `y` and of each row of `b`.
            unsafe {
                let mut sum = match row {
                    0 => simd.splat_f32s(0.0),
                    _ => load(simd, to, lanes),
                };
                for (i, &scalar) in scalars.iter().enumerate() {
                    let from = b.as_ptr().wrapping_add(i * width + column);
                    sum = simd.mul_add_e_f32s(scalar, load(simd, from, lanes), sum);
                }
                store(simd, to, lanes, sum);
            }
        }
    }
}
