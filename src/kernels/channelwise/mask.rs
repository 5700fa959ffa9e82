//! Gradients of activations, and activations whose gradient wants their input.

use pulp::Simd;

use super::channels::{clamp, slope};
use super::elementwise::{Pointwise, map};
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

/// Activations whose derivative is told from their input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Smooth {
    /// Y = X · min(max(X / 6 + 1/2, 0), 1)
    HardSwish,
    /// Y = min(max(alpha · X + beta, 0), 1)
    HardSigmoid {
        /// Steepness.
        alpha: f32,
        /// Value at 0.
        beta: f32,
    },
    /// Y = 1 / (1 + e^−X)
    Sigmoid,
    /// Y = X / (1 + e^−X), also called SiLU
    Swish,
}

/// Y = activation(X).
///
/// # Errors
/// [`KernelError::Length`] when the slices are not of one length.
pub fn smooth(
    kind: Smooth,
    x: &[f32],
    y: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    match kind {
        Smooth::HardSwish => map(HardSwish, x, x, y, parallel),
        Smooth::HardSigmoid { alpha, beta } => map(HardSigmoid(alpha, beta), x, x, y, parallel),
        Smooth::Sigmoid => map(Sigmoid, x, x, y, parallel),
        Smooth::Swish => map(Swish, x, x, y, parallel),
    }
}

/// dX = dY ⊙ activation′(X).
///
/// # Errors
/// [`KernelError::Length`] when the slices are not of one length.
pub fn smooth_gradient(
    kind: Smooth,
    dy: &[f32],
    x: &[f32],
    dx: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    match kind {
        Smooth::HardSwish => map(Gradient(HardSwish), dy, x, dx, parallel),
        Smooth::HardSigmoid { alpha, beta } => {
            map(Gradient(HardSigmoid(alpha, beta)), dy, x, dx, parallel)
        }
        Smooth::Sigmoid => map(Gradient(Sigmoid), dy, x, dx, parallel),
        Smooth::Swish => map(Gradient(Swish), dy, x, dx, parallel),
    }
}

/// A function and its derivative.
trait Differentiable: Copy + Sync {
    fn value<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s;
    fn derivative<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s;
}

#[derive(Clone, Copy)]
struct Gradient<F>(F);

impl<F: Differentiable> Pointwise for Gradient<F> {
    #[inline(always)]
    fn at<S: Simd>(self, simd: S, dy: S::f32s, x: S::f32s) -> S::f32s {
        simd.mul_f32s(dy, self.0.derivative(simd, x))
    }
}

macro_rules! pointwise {
    ($($function:ty),*) => {$(
        impl Pointwise for $function {
            #[inline(always)]
            fn at<S: Simd>(self, simd: S, x: S::f32s, _: S::f32s) -> S::f32s {
                self.value(simd, x)
            }
        }
    )*};
}

pointwise!(HardSwish, HardSigmoid, Sigmoid, Swish);

#[derive(Clone, Copy)]
struct HardSwish;

impl Differentiable for HardSwish {
    #[inline(always)]
    fn value<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        simd.mul_f32s(x, HardSigmoid(1.0 / 6.0, 0.5).value(simd, x))
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        let [zero, half, one] = [0.0, 0.5, 1.0].map(|value| simd.splat_f32s(value));
        let middle = simd.mul_add_f32s(x, simd.splat_f32s(1.0 / 3.0), half);
        let below = simd.less_than_or_equal_f32s(x, simd.splat_f32s(-3.0));
        let above = simd.greater_than_or_equal_f32s(x, simd.splat_f32s(3.0));
        simd.select_f32s(below, zero, simd.select_f32s(above, one, middle))
    }
}

#[derive(Clone, Copy)]
struct HardSigmoid(f32, f32);

impl Differentiable for HardSigmoid {
    #[inline(always)]
    fn value<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        let [alpha, beta, zero, one] = [self.0, self.1, 0.0, 1.0].map(|v| simd.splat_f32s(v));
        clamp(simd, simd.mul_add_f32s(alpha, x, beta), zero, one)
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        let [alpha, beta] = [self.0, self.1].map(|value| simd.splat_f32s(value));
        let unit = Activation::Clip {
            low: 0.0,
            high: 1.0,
        };
        slope(simd, unit, alpha, simd.mul_add_f32s(alpha, x, beta))
    }
}

#[derive(Clone, Copy)]
struct Sigmoid;

impl Differentiable for Sigmoid {
    #[inline(always)]
    fn value<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        let one = simd.splat_f32s(1.0);
        let e = exp(simd, simd.neg_f32s(x));
        simd.div_f32s(one, simd.add_f32s(one, e))
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        let y = self.value(simd, x);
        simd.negate_mul_add_f32s(y, y, y)
    }
}

#[derive(Clone, Copy)]
struct Swish;

impl Differentiable for Swish {
    #[inline(always)]
    fn value<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        simd.mul_f32s(x, Sigmoid.value(simd, x))
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        // σ + x σ (1 − σ)
        let y = Sigmoid.value(simd, x);
        let rest = simd.negate_mul_add_f32s(y, y, y);
        simd.mul_add_f32s(x, rest, y)
    }
}

/// e^x within a few units in the last place; inputs beyond ±87 count as ±87, NaN stays.
#[inline(always)]
fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let splat = |value: f32| simd.splat_f32s(value);
    let x = clamp(simd, x, splat(-87.0), splat(87.0));
    // x = n ln 2 + r: adding 1.5 · 2²³ rounds to an integer, which the low bits then are.
    let magic = splat(12_582_912.0);
    let shifted = simd.mul_add_f32s(x, splat(std::f32::consts::LOG2_E), magic);
    let n = simd.sub_f32s(shifted, magic);
    let r = simd.negate_mul_add_f32s(n, splat(0.693_359_4), x);
    let r = simd.negate_mul_add_f32s(n, splat(-2.121_944_4e-4), r);
    // e^r on [−ln 2 / 2, ln 2 / 2], coefficients of Cephes' expf.
    let mut sum = splat(1.987_569_1e-4);
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        sum = simd.mul_add_f32s(sum, r, splat(coefficient));
    }
    let sum = simd.mul_add_f32s(sum, simd.mul_f32s(r, r), simd.add_f32s(r, splat(1.0)));
    // Times 2ⁿ, by adding n to the exponent.
    let bits = simd.transmute_u32s_f32s(shifted);
    let exponent = simd.wrapping_dyn_shl_u32s(bits, simd.splat_u32s(23));
    let scaled = simd.add_u32s(simd.transmute_u32s_f32s(sum), exponent);
    let scaled = simd.transmute_f32s_u32s(scaled);
    simd.select_f32s(simd.equal_f32s(x, x), scaled, x)
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

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    fn reference(kind: Smooth, x: f64) -> f64 {
        match kind {
            Smooth::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Smooth::HardSigmoid { alpha, beta } => {
                (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0)
            }
            Smooth::Sigmoid => sigmoid(x),
            Smooth::Swish => x * sigmoid(x),
        }
    }

    #[test]
    fn smooth_activations_and_their_gradients_are_the_formulas() {
        let x = inputs(5000);
        let dy = Numbers::new(11).floats(x.len());
        for kind in [
            Smooth::HardSwish,
            Smooth::HardSigmoid {
                alpha: 0.2,
                beta: 0.5,
            },
            Smooth::Sigmoid,
            Smooth::Swish,
        ] {
            let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            smooth(kind, &x, &mut y, &Threads(2)).unwrap();
            smooth_gradient(kind, &dy, &x, &mut dx, &Threads(2)).unwrap();
            for index in 0..x.len() {
                let at = f64::from(x[index]);
                if x[index].is_nan() {
                    let flat = matches!(kind, Smooth::HardSigmoid { .. });
                    assert!(
                        y[index].is_nan() && (flat || dx[index].is_nan()),
                        "{kind:?}"
                    );
                    continue;
                }
                if x[index].is_infinite() {
                    continue;
                }
                let wanted = reference(kind, at);
                let error = (f64::from(y[index]) - wanted).abs();
                let bend = matches!(kind, Smooth::HardSwish | Smooth::HardSigmoid { .. });
                let size = if bend { at.abs() + 1.0 } else { wanted.abs() };
                assert!(error <= 1e-6 * size + 1e-30, "{kind:?}({at}): {}", y[index]);
                let step = 1e-5;
                let slope =
                    (reference(kind, at + step) - reference(kind, at - step)) / (2.0 * step);
                if bend && [2.5, 3.0].iter().any(|b| (at.abs() - b).abs() < 1e-3) {
                    continue;
                }
                let error = (f64::from(dx[index]) - slope * f64::from(dy[index])).abs();
                assert!(error <= 1e-5, "{kind:?}′({at}): {}", dx[index]);
            }
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
        refused(smooth(Smooth::Swish, &[0.0; 4], &mut dx, &Serial));
        refused(smooth_gradient(
            Smooth::Swish,
            &[0.0; 4],
            &[0.0; 3],
            &mut dx,
            &Serial,
        ));
    }
}
