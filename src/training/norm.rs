//! The length of a step's gradient, and clipping to it.

use std::ops::Range;

use crate::runtime::denormals::FlushToZero;

use super::gradient::GradientBuffers;
use super::{GradientValues, TrainingError};

/// Elements whose squares are summed apart, whoever sums them: the sum has the same bits on any number of threads.
const CHUNK: usize = 1 << 16;
/// Sums that are kept side by side, for vectors.
const LANES: usize = 16;
/// Added to a norm before it divides.
pub(super) const EPSILON: f64 = 1e-6;

/// What all gradients are multiplied by so that their norm, as of one vector, is at most `limit`:
/// `min(1, limit / (norm + 1e-6))`. By `threads` threads; 0 for all cores.
/// Source: `torch.nn.utils.clip_grad_norm_`.
///
/// # Errors
/// When a buffer is in use.
pub(super) fn clipping(
    gradients: &[GradientBuffers],
    limit: f32,
    threads: usize,
) -> Result<f32, TrainingError> {
    let mut squares = 0.0;
    for gradient in gradients {
        squares += gradient.read(|values| sum_of_squares(values, threads))?;
    }
    let factor = f64::from(limit) / (squares.sqrt() + EPSILON);
    Ok(factor.min(1.0) as f32)
}

/// The sum of the squares of a gradient's elements. Of AᵀdY it is `Σ (AAᵀ) ∘ (dYdYᵀ)`, for which the product need not
/// be made.
fn sum_of_squares(gradient: GradientValues<'_>, threads: usize) -> f64 {
    match gradient {
        GradientValues::Whole(values) => of_whole(values, threads),
        GradientValues::Factors { a, dy, dims } => of_factors(a, dy, dims),
    }
}

fn of_whole(values: &[f32], threads: usize) -> f64 {
    let threads = match threads {
        0 => rayon::current_num_threads(),
        threads => threads,
    };
    let mut sums = vec![0.0; values.len().div_ceil(CHUNK)];
    let each = sums.len().div_ceil(threads).max(1);
    let sum = |sums: &mut [f64], values: &[f32]| {
        let _flush = FlushToZero::new();
        for (sum, chunk) in sums.iter_mut().zip(values.chunks(CHUNK)) {
            *sum = dot(chunk, chunk);
        }
    };
    if each >= sums.len() {
        sum(&mut sums, values);
    } else {
        let parts = sums.chunks_mut(each).zip(values.chunks(each * CHUNK));
        rayon::scope(|scope| {
            for (sums, values) in parts {
                scope.spawn(move |_| sum(sums, values));
            }
        });
    }
    sums.iter().sum()
}

fn of_factors(a: &[f32], dy: &[f32], [rows, depth, width]: [usize; 3]) -> f64 {
    let row = |i: usize, columns: usize| -> Range<usize> { i * columns..(i + 1) * columns };
    let mut total = 0.0;
    for i in 0..rows {
        for j in 0..=i {
            let of_a = dot(&a[row(i, depth)], &a[row(j, depth)]);
            let of_dy = dot(&dy[row(i, width)], &dy[row(j, width)]);
            total += of_a * of_dy * if i == j { 1.0 } else { 2.0 };
        }
    }
    // Where the product is next to nothing, rounding may take it below.
    total.max(0.0)
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    // The same sums on wider vectors, where the processor has them.
    pulp::Arch::new().dispatch(|| lanes(a, b))
}

#[inline(always)]
fn lanes(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    for (sum, (&a, &b)) in sums.iter_mut().zip(rest) {
        *sum = f64::from(a) * f64::from(b);
    }
    for (a, b) in a_chunks.zip(b_chunks) {
        for (sum, (&a, &b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += f64::from(a) * f64::from(b);
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Buffer;

    fn numbers(count: usize, k: usize) -> Vec<f32> {
        let value = |i: usize| ((i * k) % 101) as f32 / 50.0 - 1.0;
        (0..count).map(value).collect()
    }

    fn naive(values: &[f32]) -> f64 {
        values.iter().map(|&v| f64::from(v).powi(2)).sum()
    }

    #[test]
    fn squares_add_up_to_the_same_bits_on_any_number_of_threads() {
        for count in [0, 1, 15, 16, 17, CHUNK, 3 * CHUNK + 5, 7 * CHUNK + 1] {
            let values = numbers(count, 37);
            let one = of_whole(&values, 1);
            assert!((one - naive(&values)).abs() <= 1e-12 * one, "{count}");
            for threads in [0, 2, 3, 16] {
                let found = of_whole(&values, threads);
                assert_eq!(found.to_bits(), one.to_bits(), "{count}, {threads}");
            }
        }
    }

    #[test]
    fn factors_have_the_norm_of_their_product() {
        for dims @ [rows, depth, width] in [[1, 1, 1], [3, 70, 33], [16, 40, 100]] {
            let (a, dy) = (numbers(rows * depth, 37), numbers(rows * width, 53));
            let factors = GradientValues::Factors {
                a: &a,
                dy: &dy,
                dims,
            };
            let expected = naive(&factors.to_vec());
            let found = sum_of_squares(factors, 2);
            assert!((found - expected).abs() < 1e-5 * expected, "{dims:?}");
        }
        // Rows that take each other's part away.
        let (a, dy) = ([1.0, 2.0, 1.0, 2.0], [0.1, 0.7, -0.1, -0.7]);
        let dims = [2, 2, 2];
        assert_eq!(of_factors(&a, &dy, dims), 0.0);
    }

    #[test]
    fn the_norm_is_that_of_all_gradients_together() {
        let whole = |values: &[f32]| {
            GradientBuffers::Whole(Buffer::from_f32(&[values.len()], values).unwrap())
        };
        let a = Buffer::from_f32(&[1, 2], &[1.0, 2.0]).unwrap();
        let dy = Buffer::from_f32(&[1, 1], &[2.0]).unwrap();
        // 3² + 4 · (1² + 2²) + 1² + … : a norm of 6.
        let gradients = [
            whole(&[3.0, 0.0]),
            GradientBuffers::Factors([a, dy]),
            whole(&[1.0, -1.0, 2.0, 1.0]),
        ];
        for (limit, expected) in [
            (1.5, 1.5 / (6.0 + 1e-6)),
            (6.0, 6.0 / (6.0 + 1e-6)),
            (9.0, 1.0),
        ] {
            let found = clipping(&gradients, limit, 1).unwrap();
            assert_eq!(found, expected as f32);
        }
        assert_eq!(clipping(&[whole(&[0.0])], 1.0, 1).unwrap(), 1.0);
    }
}
