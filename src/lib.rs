//! `ftsurgery` fine-tunes chosen parts of a pretrained network as an ONNX file.
//!
//! The crate differentiates the ONNX graph itself and writes the forward pass, the loss and the
//! gradients as one ordinary ONNX graph, which any stock onnxruntime executes. `ARCHITECTURE.md`
//! in the repository shows the rooms (modules) and the direction of their dependencies.
#![warn(missing_docs)]
#![warn(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!(
    "the data of ONNX files is little-endian, and is handed to onnxruntime as it stands in them"
);

/// For each of these fields a method of its name that sets it and gives the whole back.
macro_rules! setters {
    ($($field:ident: $kind:ty),* $(,)?) => {$(
        #[doc = concat!("Sets [`", stringify!($field), "`](#structfield.", stringify!($field), ").")]
        #[must_use]
        pub fn $field(mut self, $field: $kind) -> Self {
            self.$field = $field;
            self
        }
    )*};
}

pub mod analysis;
pub mod autodiff;
pub mod batch;
pub mod channels_last;
pub mod classifier;
pub mod data;
pub mod graph;
pub mod hex;
pub mod kernels;
pub mod layout;
pub mod onnx;
pub mod panics;
pub mod random;
pub mod report;
pub mod run;
pub mod runtime;
pub mod search;
pub mod strategy;
pub mod surgery;
#[doc(hidden)]
pub mod testing;
pub mod training;
