//! Functions applied element by element, in one pass.

use pulp::{Scalar, Simd};

use super::bands::Bands;
use super::channels::{Kernel, dispatch};
use super::disjoint::DisjointMut;
use super::shape::expect;
use super::{KernelError, Parallel};

/// A function of two elements.
pub(super) trait Pointwise: Copy + Sync {
    /// Its values; everything in here has to be `#[inline(always)]`.
    fn at<S: Simd>(self, simd: S, a: S::f32s, b: S::f32s) -> S::f32s;
}

/// Where the first operand is.
pub(super) enum First<'a> {
    /// In a slice of its own.
    Apart(&'a [f32]),
    /// Where the result goes.
    Result,
}

/// result = f(a, b) for every element.
pub(super) fn map<F: Pointwise>(
    f: F,
    a: First,
    b: &[f32],
    result: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    if let First::Apart(a) = a {
        expect("the first operand", a.len(), result.len())?;
    }
    expect("the second operand", b.len(), result.len())?;
    // Pieces begin at multiples of what any vector holds.
    let blocks = result.len().div_ceil(BLOCK);
    let bands = Bands::new(blocks, 3 * result.len(), parallel.threads());
    let len = result.len();
    let shared = DisjointMut::new(result);
    parallel.run(bands.pieces(), &|piece| {
        let range = bands.range(piece);
        let range = range.start * BLOCK..(range.end * BLOCK).min(len);
        #[allow(unsafe_code)]
        // SAFETY: pieces have ranges of their own.
        let result = unsafe { shared.part(range.clone()) };
        let b = &b[range.clone()];
        match a {
            First::Apart(a) => dispatch(usize::MAX, Apart(f, &a[range], b, result)),
            First::Result => dispatch(usize::MAX, InPlace(f, b, result)),
        }
    });
    Ok(())
}

const BLOCK: usize = 1024;

struct Apart<'a, F>(F, &'a [f32], &'a [f32], &'a mut [f32]);

impl<F: Pointwise> Kernel for Apart<'_, F> {
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

struct InPlace<'a, F>(F, &'a [f32], &'a mut [f32]);

impl<F: Pointwise> Kernel for InPlace<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self(f, b, result) = self;
        let (b, b_rest) = S::as_simd_f32s(b);
        let (result, rest) = S::as_mut_simd_f32s(result);
        for (result, &b) in result.iter_mut().zip(b) {
            *result = f.at(simd, *result, b);
        }
        for (result, &b) in rest.iter_mut().zip(b_rest) {
            *result = f.at(Scalar, *result, b);
        }
    }
}
