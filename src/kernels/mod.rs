//! Channels-last convolution, its gradients and what stands around it, as plain functions on slices.
//!
//! A training step loses an inference runtime's blocked layouts, because its weights change. These
//! kernels keep activations channels-last, `[N, H, W, C]`: pointwise convolutions and both their
//! gradients are then matrix products without a transposition, depthwise ones vectorise over
//! channels, and bias, residual and activation are applied while a tile is in registers.
//!
//! Weights stand as ONNX has them, `[O, I/group, kH, kW]`. Vector instructions are chosen at run
//! time. The functions check their slices' lengths against the shape and refuse what does not fit;
//! results depend on the number of threads only through the order of sums.

mod activation;
mod bands;
mod channels;
mod conv;
mod depthwise;
mod disjoint;
mod elementwise;
mod epilogue;
mod gather;
mod input_gradient;
mod lanes;
mod layout;
mod mask;
mod outer;
mod pack;
mod padded;
mod parallel;
pub mod pool;
mod product;
mod shape;
mod shared;
mod taps;
mod tile;
mod weight_gradient;
mod workspace;

#[cfg(test)]
mod dense_tests;
#[cfg(test)]
mod testing;

pub use activation::Activation;
pub use conv::conv;
pub use epilogue::{Epilogue, InputEpilogue};
pub use input_gradient::conv_input_gradient;
pub use mask::{
    Smooth, activation_gradient, activation_gradient_in_place, smooth, smooth_gradient,
};
pub use parallel::{Parallel, Serial};
pub use shape::{ConvShape, KernelError};
pub use weight_gradient::conv_weight_gradient;

/// Domain of the operators that call these kernels.
pub const DOMAIN: &str = "ftsurgery";
