//! Activations whose derivative can be told from their output.

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
    /// The value for `x`; NaN stays NaN.
    pub fn apply(self, x: f32) -> f32 {
        let [low, high] = match self {
            Activation::None => return x,
            Activation::Relu => [0.0, f32::INFINITY],
            Activation::Clip { low, high } => [low, high],
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
