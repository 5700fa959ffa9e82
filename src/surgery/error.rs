//! Errors of the surgery room.

use super::difference::Difference;
use crate::graph::GraphError;
use crate::onnx::{DataType, OnnxError};
use crate::task::Task;

/// What can go wrong while cutting, grafting and exporting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SurgeryError {
    /// The name of a head kind is not known.
    #[error("unknown head `{0}`; the heads are `paper`, `linear`, `cosine` and `keep`")]
    UnknownHead(String),
    /// The description of the head cannot be followed.
    #[error("the head cannot be built: {0}")]
    Spec(String),
    /// The feature map named does not exist.
    #[error("the feature map `{value}` is not a value of the model")]
    NoFeatures {
        /// The value.
        value: String,
    },
    /// The feature map is not a float tensor.
    #[error("the feature map `{value}` is {dtype:?}; a head needs float features")]
    FeatureType {
        /// The value.
        value: String,
        /// Its element type.
        dtype: DataType,
    },
    /// The model's operator set is older than the head's operators.
    #[error(
        "the model is written in opset {0}; a new head needs opset 7 or newer: convert the file \
         (onnx.version_converter), or keep its own head"
    )]
    Opset(i64),
    /// The kept head has another number of classes than the data.
    #[error(
        "the model's output `{output}` has {model} classes, the data set {wanted}; \
         a new head (`linear`, `cosine` or `paper`) fits any number"
    )]
    Classes {
        /// The model's output.
        output: String,
        /// Classes of the model.
        model: usize,
        /// Classes asked for.
        wanted: usize,
    },
    /// The model has no output.
    #[error("the model has no output")]
    NoOutput,
    /// It cannot be told which value the loss is to be taken of.
    #[error(
        "the output `{output}` is made from the probabilities of node {node}, and it cannot be \
         told that they are [N, classes] over the last axis"
    )]
    Logits {
        /// The model's output.
        output: String,
        /// The softmax.
        node: String,
    },
    /// The output is probabilities of which no cross-entropy can be taken.
    #[error("{}", of_probabilities(output, node, value, between))]
    Probabilities {
        /// The model's output.
        output: String,
        /// The node that makes the probabilities.
        node: String,
        /// What it makes them of.
        value: String,
        /// What computes with them then; empty where nothing does.
        between: String,
    },
    /// The output is of a softmax, whose classes exclude each other, and each is to be told by itself.
    #[error(
        "the output `{output}` is of the softmax of node {node}, by which classes exclude each other, which task \
         {task} does not want: a new head (--head linear or paper) has sigmoids"
    )]
    Exclusive {
        /// The model's output.
        output: String,
        /// The node that makes the probabilities.
        node: String,
        /// What is to be told.
        task: Task,
    },
    /// The output lies between 0 and 1 whatever the weights and the data are.
    #[error(
        "the output `{output}` is no logits: as node {node} makes it, it lies between 0 and 1 whatever \
         the weights are; give the model with its logits as output instead, or train a new head \
         (tune --head linear)"
    )]
    Bounded {
        /// The model's output.
        output: String,
        /// The node that makes it.
        node: String,
    },
    /// A part of a graph cannot be computed from the inputs it was given.
    #[error("`{value}`, which {reader} needs, cannot be computed from the inputs of the cut")]
    Unreachable {
        /// The missing value.
        value: String,
        /// What reads it.
        reader: String,
    },
    /// A tuned value belongs to no initializer or constant of the model.
    #[error("the model has no initializer or constant `{tensor}` to write tuned values to")]
    NoTensor {
        /// The tensor.
        tensor: String,
    },
    /// A tuned value is given twice.
    #[error("tuned values for `{tensor}` are given twice")]
    Twice {
        /// The tensor.
        tensor: String,
    },
    /// A tuned value has another length than the tensor it is for.
    #[error("tensor `{tensor}` has {expected} elements, its tuned values are {given}")]
    Length {
        /// The tensor.
        tensor: String,
        /// Elements of the tensor.
        expected: usize,
        /// Values given.
        given: usize,
    },
    /// A tuned value is for a tensor that holds no floats.
    #[error("tensor `{tensor}` is {dtype:?}; only float tensors can be tuned")]
    NotFloat {
        /// The tensor.
        tensor: String,
        /// Its element type.
        dtype: DataType,
    },
    /// A tuned value is not a number, or infinite (in the tensor's own type).
    #[error("tuned values of `{tensor}` are not finite in {dtype:?} (first at element {index})")]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// Its element type.
        dtype: DataType,
        /// Index of the first such value.
        index: usize,
    },
    /// New values of a tensor have another type or other dimensions than it.
    #[error(
        "tensor `{tensor}` is {:?} {:?}, its new values are {:?} {:?}",
        expected.0, expected.1, given.0, given.1
    )]
    OtherTensor {
        /// The tensor.
        tensor: String,
        /// Its element type and dimensions.
        expected: (DataType, Vec<usize>),
        /// Those of the new values.
        given: (DataType, Vec<usize>),
    },
    /// An edit names a value that the graph does not have.
    #[error("the graph has no value `{value}`")]
    NoValue {
        /// The value.
        value: String,
    },
    /// An edit names a node that the graph does not have.
    #[error("the graph has no node `{node}`")]
    NoNode {
        /// The node.
        node: String,
    },
    /// An edit names a node by a name that several have.
    #[error("several nodes are named `{node}`")]
    SeveralNodes {
        /// The node.
        node: String,
    },
    /// A name that something is to get is another's.
    #[error("the name `{name}` is taken")]
    Taken {
        /// The name.
        name: String,
    },
    /// A name that something is to get is none.
    #[error("`{name}` can be no name: it is empty, or holds a NUL character")]
    NoName {
        /// The name.
        name: String,
    },
    /// A graph inside of a node has a value of its own under the old or the new name of another.
    #[error(
        "`{value}` cannot be renamed: a graph inside of the node of `{node}` makes a value of its \
         own under the old or the new name"
    )]
    Shadowed {
        /// The value to be renamed.
        value: String,
        /// The node, by its first output.
        node: String,
    },
    /// A model with training graphs is to have values renamed.
    #[error(
        "`{value}` cannot be renamed: the model carries training graphs, which may name it, too"
    )]
    TrainingGraphs {
        /// The value to be renamed.
        value: String,
    },
    /// A model cannot be rewritten at a value.
    #[error("the model cannot be rewritten at `{value}`: {reason}")]
    Rewrite {
        /// The value.
        value: String,
        /// What stands in the way.
        reason: String,
    },
    /// An edited model is not its original with the changes of its manifest.
    #[error("{}", not_as_claimed(unexplained, missing))]
    NotAsClaimed {
        /// Differences that the manifest does not explain.
        unexplained: Vec<Difference>,
        /// Entries of the manifest that are not in the model.
        missing: Vec<Difference>,
    },
    /// The graph is at fault.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The file format is at fault.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
}

/// The differences that are told; of more, the number is.
const TOLD: usize = 3;

fn not_as_claimed(unexplained: &[Difference], missing: &[Difference]) -> String {
    let told = |intro: &str, list: &[Difference]| {
        let first = list.iter().take(TOLD).map(Difference::to_string);
        let first = first.collect::<Vec<_>>().join("; ");
        match list.len() {
            0 => None,
            n if n > TOLD => Some(format!("{intro} {first}; and {} more", n - TOLD)),
            _ => Some(format!("{intro} {first}")),
        }
    };
    let parts = [
        told("the manifest does not tell that", unexplained),
        told("the manifest tells what is not so:", missing),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(". ")
}

fn of_probabilities(output: &str, node: &str, value: &str, between: &str) -> String {
    let fault = match between {
        "" => format!("the probabilities of node {node}, one for each class by itself"),
        _ => format!("what {between} makes of the probabilities of node {node}"),
    };
    let way_out = match between {
        "" => "take the binary cross-entropy of each class (--task multi-label), ",
        _ => "",
    };
    format!(
        "the output `{output}` is no logits but {fault}, of which no softmax cross-entropy can be taken; {way_out}give \
         the model with `{value}` as its output instead, or train a new head (tune --head linear)"
    )
}

impl SurgeryError {
    /// Whether the user's input, rather than a failure on the way, is at fault.
    pub fn is_bad_input(&self) -> bool {
        match self {
            SurgeryError::Graph(e) => e.is_bad_input(),
            SurgeryError::Onnx(e) => e.is_bad_input(),
            SurgeryError::Unreachable { .. }
            | SurgeryError::NoTensor { .. }
            | SurgeryError::Twice { .. }
            | SurgeryError::Length { .. }
            | SurgeryError::NotFloat { .. }
            | SurgeryError::NotFinite { .. }
            | SurgeryError::NotAsClaimed { .. } => false,
            _ => true,
        }
    }
}
