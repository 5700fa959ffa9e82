//! Activations whose derivative can be told from their output.

use pulp::Simd;

/// An activation applied to a convolution's output in place.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Activation {
    /// The identity.
    #[default]
    None,
    /// Y = max(X, 0); the derivative is 1 where Y > 0, else 0.
    Relu,
    /// Y = min(max(X, low), high); the derivative is 1 where low < Y < high, else 0.
    Clip {
        /// Lower bound.
        low: f32,
        /// Upper bound.
        high: f32,
    },
}

impl Activation {
    /// The activation min(max(X, low), high).
    pub fn between(low: f32, high: f32) -> Self {
        match (low, high) {
            (0.0, f32::INFINITY) => Activation::Relu,
            _ => Activation::Clip { low, high },
        }
    }

    /// The bounds of what it gives; `None` of the identity.
    pub fn bounds(self) -> Option<[f32; 2]> {
        match self {
            Activation::None => None,
            Activation::Relu => Some([0.0, f32::INFINITY]),
            Activation::Clip { low, high } => Some([low, high]),
        }
    }

    /// The value for `x`; NaN stays NaN.
    pub fn apply(self, x: f32) -> f32 {
        let Some([low, high]) = self.bounds() else {
            return x;
        };
        let raised = if x < low { low } else { x };
        if raised > high { high } else { raised }
    }

    /// The derivative where the output is `y`.
    pub fn slope(self, y: f32) -> f32 {
        let active = match self {
            Activation::None => true,
            Activation::Relu => y > 0.0,
            Activation::Clip { low, high } => low < y && y < high,
        };
        f32::from(u8::from(active))
    }
}

/// `value` raised to `low` and cut at `high`; NaN stays.
#[inline(always)]
pub(super) fn clamp<S: Simd>(simd: S, value: S::f32s, low: S::f32s, high: S::f32s) -> S::f32s {
    if S::IS_SCALAR {
        let raised = simd.select_f32s(simd.less_than_f32s(value, low), low, value);
        simd.select_f32s(simd.greater_than_f32s(raised, high), high, raised)
    } else {
        // The vector instructions return their second operand, or NaN, when one is NaN.
        simd.min_f32s(high, simd.max_f32s(low, value))
    }
}

/// `value` where `activation`'s derivative is 1 at output `y`, else 0.
#[inline(always)]
pub(super) fn slope<S: Simd>(
    simd: S,
    activation: Activation,
    value: S::f32s,
    y: S::f32s,
) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    match activation {
        Activation::None => value,
        Activation::Relu => simd.select_f32s(simd.greater_than_f32s(y, zero), value, zero),
        Activation::Clip { low, high } => {
            let above = simd.greater_than_f32s(y, simd.splat_f32s(low));
            let below = simd.less_than_f32s(y, simd.splat_f32s(high));
            simd.select_f32s(simd.and_m32s(above, below), value, zero)
        }
    }
}
