//! Errors of the analysis room.

use crate::graph::GraphError;

/// Why a model has no usable feature map.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum BackboneError {
    /// No feature map before a classifier was found.
    #[error(
        "no feature map [N, C, H, W] or vector [N, C] before the classifier was found: {reason}; \
         name it with --features, or keep the model's own head with --head keep"
    )]
    NoFeatures {
        /// What was found instead.
        reason: String,
    },
    /// The value named by `--features` cannot be the feature map.
    #[error("--features `{value}`: {reason}")]
    BadFeatures {
        /// The value as given.
        value: String,
        /// Why it cannot be.
        reason: String,
    },
}

impl BackboneError {
    /// Whether the user's input, rather than this machine, is at fault.
    pub fn is_bad_input(&self) -> bool {
        true
    }
}

/// What can go wrong while a model is analysed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnalysisError {
    /// The graph is malformed.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// There is no usable feature map.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// A setting cannot be read.
    #[error("--{flag} `{value}`: {reason}")]
    Setting {
        /// The flag without its dashes.
        flag: &'static str,
        /// Its value as given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl AnalysisError {
    /// Whether the user's input, rather than this machine, is at fault.
    pub fn is_bad_input(&self) -> bool {
        match self {
            AnalysisError::Graph(e) => e.is_bad_input(),
            AnalysisError::Backbone(e) => e.is_bad_input(),
            AnalysisError::Setting { .. } => true,
        }
    }
}
