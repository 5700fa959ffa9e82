//! What is done to a convolution's result while it is in registers.

use super::shape::expect;
use super::{Activation, ConvShape, KernelError};

/// y = activation(conv + bias + residual)
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// One value per output channel.
    pub bias: Option<&'a [f32]>,
    /// As long as Y.
    pub residual: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
    /// Whether errors of a few 1e-6 of the result's norm are welcome if they save time.
    pub coarse: bool,
}

impl Epilogue<'_> {
    /// Refuses slices that do not fit `shape`.
    pub(super) fn check(&self, shape: &ConvShape) -> Result<(), KernelError> {
        if let Some(bias) = self.bias {
            expect("the bias", bias.len(), shape.out_channels)?;
        }
        if let Some(residual) = self.residual {
            expect("the residual", residual.len(), shape.y_len())?;
        }
        Ok(())
    }
}

/// dx = (convᵀ + addend) ⊙ slope(of the activation that made X, told from X)
#[derive(Clone, Copy, Debug, Default)]
pub struct InputEpilogue<'a> {
    /// Another gradient of X, as long as X.
    pub addend: Option<&'a [f32]>,
    /// The activation that made X, and X.
    pub mask: Option<(Activation, &'a [f32])>,
}

impl InputEpilogue<'_> {
    /// Refuses slices that do not fit `shape`.
    pub(super) fn check(&self, shape: &ConvShape) -> Result<(), KernelError> {
        if let Some(addend) = self.addend {
            expect("the addend", addend.len(), shape.x_len())?;
        }
        if let Some((_, x)) = self.mask {
            expect("the activation", x.len(), shape.x_len())?;
        }
        Ok(())
    }
}
