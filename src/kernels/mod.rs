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
mod conv;
mod gather;
mod input_gradient;
mod lanes;
mod layout;
mod outer;
mod pack;
mod padded;
mod parallel;
mod product;
mod shape;
mod shared;
mod tile;
mod weight_gradient;
mod workspace;

#[cfg(test)]
mod dense_tests;

pub use activation::Activation;
pub use conv::{Epilogue, conv};
pub use input_gradient::{InputEpilogue, conv_input_gradient};
pub use parallel::{Parallel, Serial};
pub use shape::{ConvShape, KernelError};
pub use weight_gradient::conv_weight_gradient;
