//! Gradients of activations, and an activation whose gradient wants its input.

use pulp::Simd;

use super::elementwise::{Pointwise, map};
use crate::kernels::activation::{clamp, slope};
use crate::kernels::{Activation, KernelError, Parallel};

/// dx = dy ⊙ slope(y), where y is what the activation gave.
///
/// # Errors
/// [`KernelError::Length`] when the slices are not of one length.
pub fn activation_gradient(
    activation: Activation,
    dy: &[f32],
    y: &[f32],
    dx: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    map(Masked(activation), dy, y, dx, parallel)
}

#[derive(Clone, Copy)]
struct Masked(Activation);

impl Pointwise for Masked {
    #[inline(always)]
    fn at<S: Simd>(self, simd: S, dy: S::f32s, y: S::f32s) -> S::f32s {
        slope(simd, self.0, dy, y)
    }
}

/// Y = X · min(max(X / 6 + 1/2, 0), 1).
///
/// # Errors
/// [`KernelError::Length`] when the slices are not of one length.
pub fn hard_swish(x: &[f32], y: &mut [f32], parallel: &dyn Parallel) -> Result<(), KernelError> {
    map(HardSwish, x, x, y, parallel)
}

/// dX of [`hard_swish`]: dY times 0 where X ≤ −3, 1 where X ≥ 3, X/3 + 1/2 between.
///
/// # Errors
/// [`KernelError::Length`] when the slices are not of one length.
pub fn hard_swish_gradient(
    dy: &[f32],
    x: &[f32],
    dx: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    map(HardSwishGradient, dy, x, dx, parallel)
}

#[derive(Clone, Copy)]
struct HardSwish;

impl Pointwise for HardSwish {
    #[inline(always)]
    fn at<S: Simd>(self, simd: S, x: S::f32s, _: S::f32s) -> S::f32s {
        let [sixth, half, zero, one] = [1.0 / 6.0, 0.5, 0.0, 1.0].map(|v| simd.splat_f32s(v));
        let gate = clamp(simd, simd.mul_add_f32s(sixth, x, half), zero, one);
        simd.mul_f32s(x, gate)
    }
}

#[derive(Clone, Copy)]
struct HardSwishGradient;

impl Pointwise for HardSwishGradient {
    #[inline(always)]
    fn at<S: Simd>(self, simd: S, dy: S::f32s, x: S::f32s) -> S::f32s {
        let [zero, half, one] = [0.0, 0.5, 1.0].map(|value| simd.splat_f32s(value));
        let middle = simd.mul_add_f32s(x, simd.splat_f32s(1.0 / 3.0), half);
        let below = simd.less_than_or_equal_f32s(x, simd.splat_f32s(-3.0));
        let above = simd.greater_than_or_equal_f32s(x, simd.splat_f32s(3.0));
        let slope = simd.select_f32s(below, zero, simd.select_f32s(above, one, middle));
        simd.mul_f32s(dy, slope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Serial;
    use crate::kernels::channelwise::testing::{Numbers, Threads};

    const EDGES: [f32; 10] = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        0.0,
        -0.0,
        6.0,
        -3.0,
        3.0,
        100.0,
        -100.0,
    ];

    fn inputs(len: usize) -> Vec<f32> {
        let random = Numbers::new(3).floats(len);
        let scaled = random.iter().map(|x| x * 20.0);
        EDGES.into_iter().chain(scaled).collect()
    }

    #[test]
    fn activation_gradients_are_the_slopes() {
        for len in [0, 1, 15, 16, 17, 1000, 50_000] {
            let y = inputs(len);
            let dy = Numbers::new(5).floats(y.len());
            for activation in [
                Activation::None,
                Activation::Relu,
                Activation::Clip {
                    low: 0.0,
                    high: 6.0,
                },
            ] {
                let wanted: Vec<f32> = std::iter::zip(&dy, &y)
                    .map(|(dy, &y)| dy * activation.slope(y))
                    .collect();
                let mut dx = vec![f32::NAN; y.len()];
                activation_gradient(activation, &dy, &y, &mut dx, &Serial).unwrap();
                assert_eq!(dx, wanted);
                let mut dx = vec![f32::NAN; y.len()];
                activation_gradient(activation, &dy, &y, &mut dx, &Threads(2)).unwrap();
                assert_eq!(dx, wanted);
            }
        }
    }

    #[test]
    fn hard_swish_and_its_gradient_are_the_formulas() {
        let reference = |x: f64| x * (x / 6.0 + 0.5).clamp(0.0, 1.0);
        let x = inputs(5000);
        let dy = Numbers::new(11).floats(x.len());
        let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        hard_swish(&x, &mut y, &Threads(2)).unwrap();
        hard_swish_gradient(&dy, &x, &mut dx, &Threads(2)).unwrap();
        for index in 0..x.len() {
            let at = f64::from(x[index]);
            if x[index].is_nan() {
                assert!(y[index].is_nan() && dx[index].is_nan());
                continue;
            }
            if x[index].is_infinite() {
                continue;
            }
            let error = (f64::from(y[index]) - reference(at)).abs();
            assert!(error <= 1e-6 * (at.abs() + 1.0), "at {at}: {}", y[index]);
            if (at.abs() - 3.0).abs() < 1e-3 {
                continue;
            }
            let step = 1e-5;
            let slope = (reference(at + step) - reference(at - step)) / (2.0 * step);
            let error = (f64::from(dx[index]) - slope * f64::from(dy[index])).abs();
            assert!(error <= 1e-5, "slope at {at}: {}", dx[index]);
        }
    }

    #[test]
    fn slices_of_another_length_are_refused() {
        let refused = |result| assert!(matches!(result, Err(KernelError::Length { .. })));
        let mut dx = [0.0; 3];
        refused(activation_gradient(
            Activation::Relu,
            &[0.0; 2],
            &[0.0; 3],
            &mut dx,
            &Serial,
        ));
        refused(activation_gradient(
            Activation::Relu,
            &[0.0; 3],
            &[0.0; 2],
            &mut dx,
            &Serial,
        ));
        refused(hard_swish(&[0.0; 4], &mut dx, &Serial));
        refused(hard_swish_gradient(&[0.0; 4], &[0.0; 3], &mut dx, &Serial));
    }
}
