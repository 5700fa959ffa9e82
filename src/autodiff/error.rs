//! Errors of differentiation.

use crate::graph::GraphError;

/// What can stop the differentiation of a graph.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AutodiffError {
    /// No rule is known for an operator on the path from a parameter to the loss.
    #[error(
        "there is no gradient rule for operator {op_type} (node `{node}`), \
         which lies between the parameter `{parameter}` and the loss"
    )]
    NoRule {
        /// The operator, with its domain if it is not the default one.
        op_type: String,
        /// The node.
        node: String,
        /// A trainable parameter whose gradient would pass through the node.
        parameter: String,
    },
    /// The rule of an operator does not cover this use of it.
    #[error("no gradient through node {node} for the parameter `{parameter}`: {reason}")]
    Refused {
        /// The node.
        node: String,
        /// A trainable parameter whose gradient would pass through the node.
        parameter: String,
        /// What the rule does not cover.
        reason: String,
    },
    /// A parameter to be trained does not influence the loss.
    #[error("the parameter `{0}` does not influence the loss")]
    Unused(String),
    /// A parameter to be trained is not a float tensor of the graph.
    #[error("`{0}` is not a float initializer of the graph")]
    NotAParameter(String),
    /// The graph itself is at fault.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

impl AutodiffError {
    /// Whether the user's input, rather than this machine, is at fault.
    pub fn is_bad_input(&self) -> bool {
        true
    }
}
