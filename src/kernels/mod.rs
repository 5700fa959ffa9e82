//! Channels-last convolution, its gradients and what stands around it, as plain functions on slices.
//!
//! A training step loses an inference runtime's blocked layouts, because its weights change. These
//! kernels keep activations channels-last, `[N, H, W, C]`: pointwise convolutions and both their
//! gradients are then matrix products without a transposition, depthwise ones vectorise over
//! channels, and bias, residual and activation are applied while a tile is in registers.
//!
//! Weights stand as ONNX has them, `[O, I/group, kH, kW]`. Vector instructions, and AMX, are chosen at
//! run time. The functions check their slices' lengths against the shape and refuse what does not fit;
//! results depend on the number of threads only through the order of sums.

mod activation;
mod channelwise;
mod conv;
mod dense;
pub mod dialect;
mod epilogue;
mod gemm;
mod parallel;
mod shape;
mod shared;
mod weight;
mod workspace;

pub use activation::Activation;
pub use channelwise::mask::{activation_gradient, hard_swish, hard_swish_gradient};
pub use channelwise::pool;
pub use channelwise::scale::row_scale_gradient;
pub use conv::{beats_vectors, conv, conv_input_gradient, conv_weight_gradient};
pub use epilogue::{Epilogue, InputEpilogue};
pub use gemm::{GemmShape, MANY_ROWS, gemm, gemm_weight_gradient, gemm_weight_gradient_rows};
pub use parallel::{Parallel, Serial};
pub use shape::{ConvShape, KernelError};
pub use weight::{Kept, Weight};

/// The instructions that these kernels run on here. Those of onnxruntime follow them: between two such
/// names, results may differ in their last bits.
pub fn instructions() -> &'static str {
    match (dense::has_tiles(), dense::lanes()) {
        (true, _) => "AMX",
        (_, 16..) => "AVX-512",
        (_, 8..16) => "AVX2",
        (_, 4..8) => "vectors of 4",
        _ => "no vectors",
    }
}
