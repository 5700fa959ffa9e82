//! Surgery on a model's file: what comes out is the file that went in with what was asked for changed, and nothing else.
//!
//! Each operation is a function that takes a [`Model`] and gives a [`Transformed`]: the messages of the new model, a
//! [`Manifest`] of every difference, and a [`Promise`] of what the new model computes. [`write`](fn@write)
//! writes it, reads it again, holds it against manifest and promise, and only then gives it its name.
//!
//! | operation | what it does |
//! | --- | --- |
//! | [`extract`](fn@extract) | the part between any values |
//! | [`prune`](fn@prune) | takes away what serves no output |
//! | [`rename`](fn@rename) | other names for values, tensors and nodes |
//! | [`replace_head`](fn@replace_head), [`remove_head`](fn@remove_head) | another classifier behind the last feature map, or none |
//! | [`free_batch`](fn@free_batch), [`fix_batch`](fn@fix_batch) | a batch of any size, or of one |
//! | [`opset`](fn@opset) | another version of ONNX's operators, in graph and functions |
//! | [`precision`](fn@precision) | float16 or bfloat16 for float32, or back |
//! | [`fold`](fn@fold) | what is known before the model runs is computed once |
//! | [`merge`](fn@merge) | several models as one, one behind the other or side by side |
//! | [`place`](fn@place) | values of tensors beside the model, or inside |
//! | [`list`](fn@list) | looks at parameters, and writes no model |
//!
//! Of a model that is opened [in place](Model::open_in_place) the data of large tensors go from file to file, and are in
//! memory at no time.
//!
//! ```
//! # use std::path::Path;
//! use ftsurgery::onnx::Model;
//! use ftsurgery::transform::{Check, NoRuntime, Writing, extract, write};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("onnx-models/fashion_mobilenet.onnx");
//! # let out = folder.path().join("backbone.onnx");
//! let model = Model::open_in_place(&path)?;
//! let outputs = [model.graph().node[5].output[0].clone()];
//! let part = extract(&model, &[], &outputs, &NoRuntime)?;
//! let written = write(&part, &Writing::to(&out).check(Some(Check::Structure)), &NoRuntime)?;
//! println!("{}", written.manifest);
//! # assert!(Model::open(&out)?.graph().node.len() <= 6);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
mod error;
mod extract;
mod fold;
mod head;
mod known;
mod list;
mod merge;
mod numbers;
mod opset;
mod place;
mod precision;
mod probe;
mod prune;
mod rename;
mod stages;
mod types;
mod write;

use crate::graph::GraphError;
use crate::onnx::messages::{GraphProto, ModelProto};
use crate::onnx::{Model, Placement};
use crate::runtime::{Runtime, RuntimeError};
use crate::surgery::{Edited, Manifest};

pub use batch::{fix_batch, free_batch};
pub use error::TransformError;
pub use extract::extract;
pub use fold::{Folding, fold};
pub use head::{NewHead, remove_head, replace_head};
pub use list::{Listed, Statistics, list};
pub use merge::{Merging, Parts, merge};
pub use numbers::Numbers;
pub use opset::{newest_opset, opset};
pub use place::place;
pub use precision::{Precision, precision};
pub use prune::prune;
pub use rename::{Kind, Renames, rename};
pub use write::{Check, LARGEST_COMPARED, Writing, Written, write};

/// What an operation made of a model, not written yet.
#[derive(Debug)]
pub struct Transformed<'m> {
    /// What it was made of.
    pub original: &'m Model,
    /// The new model's messages. Values that its tensors have from the original's files are left there.
    pub proto: ModelProto,
    /// Every difference, but for where values of tensors lie.
    pub manifest: Manifest,
    /// Where these are to lie.
    pub placement: Placement,
    /// What it computes.
    pub promise: Promise,
    /// Where it computes what several models compute one behind the other: these, in place of the promise.
    pub stages: Vec<Stage<'m>>,
    /// What is to be said of it, a sentence each.
    pub notes: Vec<String>,
}

impl<'m> Transformed<'m> {
    /// What an editor made of `original`, which computes what that computed: its inputs and outputs have the names that
    /// they had.
    pub fn new(original: &'m Model, edited: Edited) -> Self {
        let notes = match original.renamed_nodes() {
            0 => Vec::new(),
            n => vec![format!(
                "{n} nodes of which the file repeats the name have names of their own, as onnxruntime asks"
            )],
        };
        Transformed {
            promise: Promise::of(original.graph()),
            original,
            proto: edited.proto,
            manifest: edited.manifest,
            placement: Placement::AsItIs,
            stages: Vec::new(),
            notes,
        }
    }

    /// The model, with the original's values.
    pub fn model(&self) -> Model {
        self.original.with_proto(self.proto.clone())
    }
}

/// A model that is run as a part of what another computes.
#[derive(Clone, Debug)]
pub struct Stage<'m> {
    /// The model.
    pub model: &'m Model,
    /// Values of the new model, and the inputs of this one that they go to: inputs, or what stages before it give.
    pub fed: Vec<(String, String)>,
    /// Values of the new model, and the outputs of this one that they are equal to.
    pub equal: Vec<(String, String)>,
}

/// What a new model computes, in values of the original: from the same values the same values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Promise {
    /// The inputs of the new model, and the values of the original that go there.
    pub fed: Vec<(String, String)>,
    /// Values of the new model, and those of the original that they are equal to.
    pub equal: Vec<(String, String)>,
    /// How far a float may be off, as a part of the largest of its tensor. Without it as far as one rounding in each of
    /// many sums: 1e-5, of 16 bits 1e-2.
    pub within: Option<f64>,
    /// Whether inputs and outputs may be floats of another type.
    pub other_types: bool,
    /// Whether it may be of what onnxruntime runs on other devices than a processor alone.
    pub elsewhere: bool,
    /// The number of samples for which it holds, where it holds for one alone.
    pub batch: Option<usize>,
    /// The dimensions of inputs of the original for which it holds, where it holds for these alone.
    pub sizes: Vec<(String, Vec<usize>)>,
}

impl Promise {
    /// The same from the same, under the same names.
    fn of(graph: &GraphProto) -> Self {
        let stored: std::collections::HashSet<&str> =
            graph.initializer.iter().map(|t| t.name()).collect();
        let same = |name: &str| (name.to_owned(), name.to_owned());
        let inputs = graph.input.iter().map(|v| v.name());
        Promise {
            fed: inputs
                .filter(|name| !stored.contains(name))
                .map(same)
                .collect(),
            equal: graph.output.iter().map(|v| same(v.name())).collect(),
            ..Promise::default()
        }
    }
}

/// Who has onnxruntime, for what cannot be known or checked without. It is asked for when it is needed.
pub trait Runtimes {
    /// The library, loaded.
    ///
    /// # Errors
    /// When there is none, or it cannot be loaded.
    fn runtime(&self) -> Result<Runtime, RuntimeError>;
}

/// Nobody.
#[derive(Clone, Copy, Debug)]
pub struct NoRuntime;

impl Runtimes for NoRuntime {
    fn runtime(&self) -> Result<Runtime, RuntimeError> {
        Err(RuntimeError::NotFound(Vec::new()))
    }
}

impl<F: Fn() -> Result<Runtime, RuntimeError>> Runtimes for F {
    fn runtime(&self) -> Result<Runtime, RuntimeError> {
        self()
    }
}

/// A graph's nodes and tensors, for who asks whether it has a value.
fn has_value(graph: &GraphProto, name: &str) -> bool {
    crate::graph::messages::defined(graph).contains(name)
}

/// The same model with its functions written out, where it has any.
fn written_out(model: &Model) -> Result<Option<Model>, GraphError> {
    let Some(written) = crate::graph::write_out_functions(&model.proto)? else {
        return Ok(None);
    };
    let mut proto = model.proto.clone();
    proto.functions.clear();
    proto.graph = Some(written.graph);
    proto.opset_import.extend(written.imports);
    Ok(Some(model.with_proto(proto)))
}
