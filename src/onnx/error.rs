//! Errors of the file format.

use std::io::{self, ErrorKind};
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
    /// What is to be read is a folder, a pipe or a device.
    #[error("cannot read {path}: not a regular file")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A file is no longer what was read of it.
    #[error("{path} has been changed since it was read; nothing more is made of it")]
    Changed {
        /// The file.
        path: PathBuf,
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
        match self {
            OnnxError::Write { .. } => false,
            OnnxError::Read { source, .. } => is_wrong_path(source),
            _ => true,
        }
    }

    pub(crate) fn tensor(tensor: &str, reason: impl Into<String>) -> Self {
        OnnxError::Tensor {
            tensor: tensor.to_owned(),
            reason: reason.into(),
        }
    }
}

/// Whether the path is at fault where reading fails, rather than disk, memory or open files.
fn is_wrong_path(error: &io::Error) -> bool {
    let links_in_a_circle = cfg!(target_os = "linux") && error.raw_os_error() == Some(40);
    let kinds = matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::IsADirectory
            | ErrorKind::NotADirectory
            | ErrorKind::InvalidInput
            | ErrorKind::InvalidFilename
    );
    kinds || links_in_a_circle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_fails_to_read_is_not_the_users_fault() {
        let read = |source| OnnxError::Read {
            path: "model.onnx".into(),
            source,
        };
        assert!(read(ErrorKind::NotFound.into()).is_bad_input());
        assert!(read(ErrorKind::PermissionDenied.into()).is_bad_input());
        assert!(!read(ErrorKind::OutOfMemory.into()).is_bad_input());
        #[cfg(unix)]
        for code in [5, 24] {
            // EIO, EMFILE
            assert!(!read(io::Error::from_raw_os_error(code)).is_bad_input());
        }
    }
}
