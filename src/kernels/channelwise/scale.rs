//! Gradients of a matrix whose rows are scaled.

use pulp::{Scalar, Simd};

use super::bands::Bands;
use super::channels::{Kernel, dispatch};
use crate::kernels::shape::expect;
use crate::kernels::shared::Shared;
use crate::kernels::{KernelError, Parallel};

/// For Y = A with each row times its factor in `s`: dA = dY with each row times its factor, and ds,
/// for each row the sum of dY ⊙ A.
///
/// # Errors
/// [`KernelError::Length`] when the slices do not fit, or `s` does not divide A into rows.
pub fn row_scale_gradient(
    dy: &[f32],
    a: &[f32],
    s: &[f32],
    da: &mut [f32],
    ds: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    let rows = s.len();
    let width = a.len() / rows.max(1);
    expect("A", a.len(), rows * width)?;
    expect("dY", dy.len(), a.len())?;
    expect("dA", da.len(), a.len())?;
    expect("ds", ds.len(), rows)?;
    let bands = Bands::new(rows, 3 * a.len(), parallel.threads());
    let (da, ds) = (Shared::new(da), Shared::new(ds));
    parallel.run(bands.pieces(), &|piece| {
        for row in bands.range(piece) {
            let range = row * width..(row + 1) * width;
            #[allow(unsafe_code)]
            // SAFETY: every row belongs to one piece.
            let (da, ds) = unsafe { (da.part(range.clone()), ds.part(row..row + 1)) };
            let (dy, a) = (&dy[range.clone()], &a[range]);
            ds[0] = dispatch(usize::MAX, Row(dy, a, s[row], da));
        }
    });
    Ok(())
}

struct Row<'a>(&'a [f32], &'a [f32], f32, &'a mut [f32]);

impl Kernel for Row<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let Self(dy, a, factor, da) = self;
        let (dy, dy_rest) = S::as_simd_f32s(dy);
        let (a, a_rest) = S::as_simd_f32s(a);
        let (da, da_rest) = S::as_mut_simd_f32s(da);
        let factors = simd.splat_f32s(factor);
        let mut sums = simd.splat_f32s(0.0);
        for ((da, &dy), &a) in da.iter_mut().zip(dy).zip(a) {
            sums = simd.mul_add_f32s(dy, a, sums);
            *da = simd.mul_f32s(dy, factors);
        }
        let mut sum = simd.reduce_sum_f32s(sums);
        for ((da, &dy), &a) in da_rest.iter_mut().zip(dy_rest).zip(a_rest) {
            sum = Scalar.mul_add_f32s(dy, a, sum);
            *da = dy * factor;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Serial;
    use crate::kernels::channelwise::testing::Threads;

    #[test]
    fn rows_are_scaled_and_summed() {
        for (rows, width) in [(1, 1), (3, 16), (5, 37), (300, 150)] {
            let number = |i: usize| ((i * 37) % 29) as f32 / 29.0 - 0.4;
            let dy: Vec<f32> = (0..rows * width).map(number).collect();
            let a: Vec<f32> = (0..rows * width).map(|i| number(i + 5)).collect();
            let s: Vec<f32> = (0..rows).map(|i| number(i + 11)).collect();
            for parallel in [&Serial as &dyn Parallel, &Threads(2)] {
                let (mut da, mut ds) = (vec![f32::NAN; a.len()], vec![f32::NAN; rows]);
                row_scale_gradient(&dy, &a, &s, &mut da, &mut ds, parallel).unwrap();
                for row in 0..rows {
                    let range = row * width..(row + 1) * width;
                    let sum: f64 = range
                        .clone()
                        .map(|i| f64::from(dy[i]) * f64::from(a[i]))
                        .sum();
                    assert!((f64::from(ds[row]) - sum).abs() < 1e-5 * width as f64);
                    assert!(range.into_iter().all(|i| da[i] == dy[i] * s[row]));
                }
            }
        }
    }

    #[test]
    fn slices_that_do_not_fit_are_refused() {
        let (mut da, mut ds) = ([0.0; 6], [0.0; 4]);
        let four = [1.0; 4];
        assert!(
            row_scale_gradient(&[0.0; 6], &[0.0; 6], &four, &mut da, &mut ds, &Serial).is_err()
        );
    }
}
