//! What is done to a convolution's result while it is in registers.

use super::Activation;

/// y = activation(conv + bias + residual)
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// One value per output channel.
    pub bias: Option<&'a [f32]>,
    /// As long as Y.
    pub residual: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
}

/// dx = (convᵀ + addend) ⊙ slope(of the activation that made X, told from X)
#[derive(Clone, Copy, Debug, Default)]
pub struct InputEpilogue<'a> {
    /// Another gradient of X, as long as X.
    pub addend: Option<&'a [f32]>,
    /// The activation that made X, and X.
    pub mask: Option<(Activation, &'a [f32])>,
}
