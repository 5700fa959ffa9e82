//! Errors of the surgery room.

use crate::graph::GraphError;
use crate::onnx::{DataType, OnnxError};

/// What can go wrong while cutting, grafting and exporting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SurgeryError {
    /// The name of a head kind is not known.
    #[error("unknown head `{0}`; the heads are `paper`, `linear` and `keep`")]
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
    #[error("the model is written in opset {0}; a new head needs opset 7 or newer")]
    Opset(i64),
    /// The kept head has another number of classes than the data.
    #[error(
        "the model's output `{output}` has {model} classes, the data set {wanted}; \
         a new head (`paper` or `linear`) fits any number"
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
    /// The graph is at fault.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The file format is at fault.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
}

fn of_probabilities(output: &str, node: &str, value: &str, between: &str) -> String {
    let fault = match between {
        "" => format!("the probabilities of node {node}, one for each class by itself"),
        _ => format!("what {between} makes of the probabilities of node {node}"),
    };
    format!(
        "the output `{output}` is no logits but {fault}, of which no softmax cross-entropy can be taken; give \
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
            | SurgeryError::NotFinite { .. } => false,
            _ => true,
        }
    }
}
