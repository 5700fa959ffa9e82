//! Functions applied element by element, in one pass.

use pulp::{Scalar, Simd};

use super::bands::Bands;
use super::channels::{Kernel, dispatch};
use crate::kernels::shape::expect;
use crate::kernels::shared::Shared;
use crate::kernels::{KernelError, Parallel};

/// A function of two elements.
pub(super) trait Pointwise: Copy + Sync {
    /// Its values; everything in here has to be `#[inline(always)]`.
    fn at<S: Simd>(self, simd: S, a: S::f32s, b: S::f32s) -> S::f32s;
}

/// result = f(a, b) for every element.
pub(super) fn map<F: Pointwise>(
    f: F,
    a: &[f32],
    b: &[f32],
    result: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    expect("the first operand", a.len(), result.len())?;
    expect("the second operand", b.len(), result.len())?;
    // Pieces begin at multiples of what any vector holds.
    let blocks = result.len().div_ceil(BLOCK);
    let bands = Bands::new(blocks, 3 * result.len(), parallel.threads());
    let len = result.len();
    let shared = Shared::new(result);
    parallel.run(bands.pieces(), &|piece| {
        let range = bands.range(piece);
        let range = range.start * BLOCK..(range.end * BLOCK).min(len);
        #[allow(unsafe_code)]
        // SAFETY: pieces have ranges of their own.
        let result = unsafe { shared.part(range.clone()) };
        let (a, b) = (&a[range.clone()], &b[range]);
        dispatch(usize::MAX, Piece(f, a, b, result));
    });
    Ok(())
}

const BLOCK: usize = 1024;

struct Piece<'a, F>(F, &'a [f32], &'a [f32], &'a mut [f32]);

impl<F: Pointwise> Kernel for Piece<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self(f, a, b, result) = self;
        let (a, a_rest) = S::as_simd_f32s(a);
        let (b, b_rest) = S::as_simd_f32s(b);
        let (result, rest) = S::as_mut_simd_f32s(result);
        for ((result, &a), &b) in result.iter_mut().zip(a).zip(b) {
            *result = f.at(simd, a, b);
        }
        for ((result, &a), &b) in rest.iter_mut().zip(a_rest).zip(b_rest) {
            *result = f.at(Scalar, a, b);
        }
    }
}
