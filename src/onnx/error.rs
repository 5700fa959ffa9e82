//! Errors of the file format.

use std::path::PathBuf;

/// What can go wrong while reading or writing ONNX files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The bytes are not a decodable ONNX model.
    #[error("{path} is not a valid ONNX file: {reason}")]
    Decode {
        /// The file.
        path: PathBuf,
        /// What the decoder found.
        reason: String,
    },
    /// The file has fields that the schema of this version does not know.
    #[error(
        "{path} has field {field} in {message}, which is newer than the ONNX schema known here; \
         writing it back would lose that field"
    )]
    UnknownField {
        /// The file.
        path: PathBuf,
        /// Name of the message that holds the field.
        message: &'static str,
        /// Number of the field.
        field: u64,
    },
    /// A tensor's declaration and data do not fit.
    #[error("tensor `{tensor}`: {reason}")]
    Tensor {
        /// Name of the tensor.
        tensor: String,
        /// What does not fit.
        reason: String,
    },
    /// External data lies outside the model's folder.
    #[error(
        "tensor `{tensor}` has external data at `{location}`, which leaves the model's folder; refused"
    )]
    ExternalLocation {
        /// Name of the tensor.
        tensor: String,
        /// The location as written in the model.
        location: String,
    },
    /// The encoded model would be larger than protobuf's limit of 2 GiB.
    #[error("the model would be {bytes} bytes, over protobuf's limit of 2 GiB for one file")]
    TooLarge {
        /// Size of the encoded model.
        bytes: usize,
    },
}

impl OnnxError {
    /// Whether the user's input, rather than this machine, is at fault.
    pub fn is_bad_input(&self) -> bool {
        !matches!(self, OnnxError::Write { .. })
    }

    pub(crate) fn tensor(tensor: &str, reason: impl Into<String>) -> Self {
        OnnxError::Tensor {
            tensor: tensor.to_owned(),
            reason: reason.into(),
        }
    }
}
