//! What a convolution does to a tile before it stores it.

use super::Activation;

/// What is applied to a tile of Y: Y = activation(W ∗ X + bias + residual).
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// One number per output channel.
    pub bias: Option<&'a [f32]>,
    /// A map of Y's shape.
    pub residual: Option<&'a [f32]>,
    /// The activation.
    pub activation: Activation,
}

/// What is applied to a tile of dX: dX = (Wᵀ ∗ dY + addend) ⊙ activation′(X).
#[derive(Clone, Copy, Debug, Default)]
pub struct InputEpilogue<'a> {
    /// A map of X's shape.
    pub addend: Option<&'a [f32]>,
    /// The activation that made X, and X, from which its slope is told.
    pub mask: Option<(Activation, &'a [f32])>,
}
