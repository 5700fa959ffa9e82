//! Errors of the graph room.

use crate::onnx::OnnxError;

/// What can be wrong with a graph.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The nodes of the graph depend on one another in a circle.
    #[error("the graph has a cycle through node {node}")]
    Cycle {
        /// A node of the cycle.
        node: String,
    },
    /// A node reads a value that nothing defines.
    #[error("node {node} reads `{value}`, which nothing defines")]
    Undefined {
        /// The reading node.
        node: String,
        /// The missing value.
        value: String,
    },
    /// Two things define the same value.
    #[error("the value `{value}` is defined twice")]
    Redefined {
        /// The value.
        value: String,
    },
    /// A node is malformed or uses something outside what is supported.
    #[error("node {node}: {reason}")]
    Node {
        /// The node.
        node: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A node computes as in training.
    #[error(
        "node {node}: it is in training mode ({why}); export the model for inference, or tune --inference-mode takes the statistics that it stores"
    )]
    TrainingMode {
        /// The node.
        node: String,
        /// By what it is.
        why: String,
    },
    /// A node makes a value that no machine has room for, or walks a window that takes no end.
    #[error("node {node}: {reason}")]
    TooLarge {
        /// The node.
        node: String,
        /// What is too large.
        reason: String,
    },
    /// The calls of a function that the model carries cannot be written out.
    #[error("the calls of function `{function}` cannot be written out: {reason}")]
    Function {
        /// The function, `DOMAIN:NAME`.
        function: String,
        /// Why.
        reason: String,
    },
    /// The value that is asked for as the class scores is not there.
    #[error(
        "the model has no value `{value}` to take the class scores from; its outputs are {outputs}"
    )]
    NoScores {
        /// The value as asked for.
        value: String,
        /// The outputs that there are.
        outputs: String,
    },
    /// The model is one that cannot be handled at all.
    #[error("{0}")]
    Unsupported(String),
    /// The file format is at fault.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
}

impl GraphError {
    /// Whether the user's input, rather than this machine, is at fault.
    pub fn is_bad_input(&self) -> bool {
        match self {
            GraphError::Onnx(e) => e.is_bad_input(),
            _ => true,
        }
    }
}
