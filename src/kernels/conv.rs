//! Convolutions, each by the kernel that is made for it.

use super::channelwise::depthwise;
use super::dense::{forward, input_gradient, weight_gradient};
use super::{ConvShape, Epilogue, InputEpilogue, KernelError, Parallel, Weight};

/// Whether [`conv`] is faster for this shape than sums of all products on this processor's vectors
/// could be: it takes fewer multiplications, or a matrix unit.
pub fn beats_vectors(shape: &ConvShape) -> bool {
    !shape.is_depthwise() && shape.check().is_ok() && forward::beats_vectors(shape)
}

/// Y = activation(X ∗ W + bias + residual).
///
/// # Errors
/// [`KernelError`] when sizes contradict each other or a slice's length its shape.
pub fn conv<'a>(
    shape: &ConvShape,
    x: &[f32],
    w: impl Into<Weight<'a>>,
    epilogue: &Epilogue,
    y: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    let w = w.into();
    match shape.is_depthwise() {
        true => depthwise::conv(shape, x, w.values, epilogue, y, parallel),
        false => forward::conv(shape, x, w, epilogue, y, parallel),
    }
}

/// dX = (dY ∗ᵀ W + addend) ⊙ slope; where no window reads, the addend alone.
///
/// # Errors
/// [`KernelError`] when sizes contradict each other or a slice's length its shape.
pub fn conv_input_gradient<'a>(
    shape: &ConvShape,
    dy: &[f32],
    w: impl Into<Weight<'a>>,
    epilogue: &InputEpilogue,
    dx: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    let w = w.into();
    match shape.is_depthwise() {
        true => depthwise::conv_input_gradient(shape, dy, w.values, epilogue, dx, parallel),
        false => input_gradient::conv_input_gradient(shape, dy, w, epilogue, dx, parallel),
    }
}

/// dW = Σ X · dY and, if wanted, dbias = Σ dY.
///
/// # Errors
/// [`KernelError`] when sizes contradict each other or a slice's length its shape.
pub fn conv_weight_gradient(
    shape: &ConvShape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    match shape.is_depthwise() {
        true => depthwise::conv_weight_gradient(shape, x, dy, dw, db, parallel),
        false => weight_gradient::conv_weight_gradient(shape, x, dy, dw, db, parallel),
    }
}
