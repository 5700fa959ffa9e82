//! `ftsurgery` fine-tunes chosen parts of a pretrained network as an ONNX file.
//!
//! The crate differentiates the ONNX graph itself and writes the forward pass, the loss and the
//! gradients as one ordinary ONNX graph, which any stock onnxruntime executes. `ARCHITECTURE.md`
//! in the repository shows the rooms (modules) and the direction of their dependencies.
//!
//! # Differentiate a graph
//!
//! The gradient becomes nodes of the same graph, in standard operators:
//!
//! ```
//! use std::collections::HashMap;
//!
//! use ftsurgery::autodiff::{Operators, gradients};
//! use ftsurgery::graph::{Builder, Graph, Node, Value, infer_shapes};
//! use ftsurgery::onnx::{DataType, Tensor, encode};
//!
//! // loss = Σ relu(x · w)
//! let mut graph = Graph::new(21);
//! graph.inputs = vec![Value::fixed("x", DataType::Float, &[2, 3])];
//! graph.initializers.insert("w".to_owned(), Tensor::f32(&[3, 1], &[1.0, -2.0, 0.5]));
//! graph.nodes = vec![
//!     Node::new("product", "MatMul", &["x", "w"], &["product"]),
//!     Node::new("relu", "Relu", &["product"], &["relu"]),
//!     Node::new("loss", "ReduceSum", &["relu"], &["loss"]).with("keepdims", 0),
//! ];
//! graph.outputs = vec![Value::fixed("loss", DataType::Float, &[])];
//!
//! let inputs = HashMap::from([("x".to_owned(), vec![2, 3])]);
//! let shapes = infer_shapes(&graph, &inputs)?;
//! let mut builder = Builder::new(&mut graph);
//! let one = builder.scalar(1.0);
//! let seeds = [("loss", one.as_str())];
//! let wrt = ["w".to_owned()];
//! let of_w = gradients(&mut builder, &shapes, &seeds, &wrt, &[], Operators::Standard)?;
//!
//! graph.outputs.push(Value::fixed(&of_w[0], DataType::Float, &[3, 1]));
//! let (model, _) = graph.to_model(usize::MAX);
//! let bytes = encode(&model)?; // a file for any runtime: x in, loss and ∂loss/∂w out
//! # assert!(graph.nodes.len() > 3 && graph.nodes.iter().all(|node| node.domain.is_empty()));
//! # ftsurgery::graph::Graph::from_model(&ftsurgery::onnx::Model::decode(bytes.into(), "g".as_ref())?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`training::differentiate`] does this for the classification loss of a whole model.
//!
//! # Tune a model
//!
//! A run as `ftsurgery tune` does it, from files to tuned files. It needs onnxruntime, which
//! `ftsurgery runtime install` (or [`runtime::install`]) fetches:
//!
//! ```
//! use ftsurgery::run::Settings;
//! use ftsurgery::runtime::{Runtime, locate};
//! use ftsurgery::search::{Job, tune};
//! use ftsurgery::strategy::StrategyName;
//! use ftsurgery::surgery::HeadKind;
//!
//! # use ftsurgery::graph::{Graph, Node, Value};
//! # use ftsurgery::onnx::{Tensor, save};
//! # fn files(model: &std::path::Path, data: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
//! #     // Dark and bright images of 8 × 8 pixels, and a network for them.
//! #     let pixel = |(n, c, y, x): (usize, usize, usize, usize)| {
//! #         (n % 2) as f32 + 0.01 * ((n * 7 + c * 5 + y * 3 + x) % 11) as f32
//! #     };
//! #     let images = ndarray::Array4::from_shape_fn([40, 3, 8, 8], pixel);
//! #     let labels = ndarray::Array1::from_shape_fn(40, |n| (n % 2) as i64);
//! #     let mut npz = ndarray_npy::NpzWriter::new(std::fs::File::create(data)?);
//! #     npz.add_array("x", &images)?;
//! #     npz.add_array("y", &labels)?;
//! #     npz.finish()?;
//! #     let weight = |dims: &[usize]| {
//! #         let count: usize = dims.iter().product();
//! #         let values: Vec<f32> = (0..count).map(|i| (i * 5 % 7) as f32 / 7.0 - 0.3).collect();
//! #         Tensor::f32(dims, &values)
//! #     };
//! #     let mut graph = Graph::new(17);
//! #     graph.inputs = vec![Value::batched("image", &[3, 8, 8])];
//! #     graph.outputs = vec![Value::batched("scores", &[2])];
//! #     for (name, dims) in [("conv.weight", &[4, 3, 3, 3][..]), ("fc.weight", &[4, 2]), ("fc.bias", &[2])] {
//! #         graph.initializers.insert(name.to_owned(), weight(dims));
//! #     }
//! #     graph.nodes = vec![
//! #         Node::new("conv", "Conv", &["image", "conv.weight"], &["conv"]),
//! #         Node::new("relu", "Relu", &["conv"], &["relu"]),
//! #         Node::new("pool", "GlobalAveragePool", &["relu"], &["pool"]),
//! #         Node::new("flat", "Flatten", &["pool"], &["flat"]),
//! #         Node::new("fc", "Gemm", &["flat", "fc.weight", "fc.bias"], &["scores"]),
//! #     ];
//! #     Ok(save(&graph.to_model(usize::MAX).0, model)?)
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let (model, data) = (folder.path().join("model.onnx"), folder.path().join("data.npz"));
//! # let out = folder.path().join("run");
//! # files(&model, &data)?;
//! # if let Err(why) = locate::locate(None) {
//! #     ftsurgery::testing::skip("runtime", why);
//! #     return Ok(());
//! # }
//! let runtime = Runtime::load(&locate::locate(None)?.located)?;
//! let settings = Settings::default()
//!     .strategies(vec![StrategyName::HEAD, StrategyName::FULL])
//!     .head(HeadKind::Linear)
//!     .epochs(2);
//! let job = Job::new(&model, &data, &out).settings(settings);
//! let results = tune(&runtime, &job, &())?;
//! for strategy in &results.strategies {
//!     println!("{}: {:?} correct", strategy.name, strategy.held_out_accuracy);
//! }
//! assert!(out.join("winners/full.onnx").is_file());
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! `cli` (default): the command, with what it alone needs. A library user builds without:
//! `ftsurgery = { version = "…", default-features = false }`.
//!
//! `training`: [`training::Engine::OrtTraining`], trials by onnxruntime's training API, where the library that is loaded has
//! it.
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

pub mod adapter;
pub mod analysis;
pub mod autodiff;
pub mod batch;
pub(crate) mod channels_last;
pub mod choice;
pub mod classifier;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod cluster;
pub mod data;
pub mod diff;
pub mod distil;
pub mod graph;
#[doc(hidden)]
pub mod hex;
#[doc(hidden)]
pub mod kernels;
pub mod layout;
pub mod onnx;
pub mod package;
#[doc(hidden)]
pub mod panics;
#[doc(hidden)]
pub mod python;
pub mod quantise;
pub(crate) mod random;
pub mod report;
pub mod run;
pub mod runtime;
pub mod search;
pub mod strategy;
pub mod surgery;
pub mod task;
#[doc(hidden)]
pub mod testing;
pub mod training;
pub mod training_graph;
pub mod transform;
pub mod verify;
