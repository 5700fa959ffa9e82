use std::path::PathBuf;

use super::{Version, locate::Tried};

/// What can go wrong while finding, installing, loading or driving onnxruntime.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// No usable library in any of the usual places.
    #[error("no usable onnxruntime library found{}", list(.0))]
    NotFound(Vec<Tried>),
    /// The library the user named cannot be used.
    #[error("{source_name} names `{}`, which cannot be used: {reason}", .path.display())]
    Named {
        /// The flag or environment variable that named it.
        source_name: &'static str,
        /// The named file.
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// The library is older than [`Version::OLDEST`].
    #[error(
        "onnxruntime {version} at `{}` is too old: at least {} is needed",
        .path.display(),
        Version::OLDEST
    )]
    TooOld {
        /// What the library reports.
        version: String,
        /// The library.
        path: PathBuf,
    },
    /// The library exists but cannot be loaded.
    #[error("cannot load onnxruntime from `{}`: {reason}", .path.display())]
    Load {
        /// The library.
        path: PathBuf,
        /// What the system or onnxruntime says.
        reason: String,
    },
    /// A process can load one library only.
    #[error("onnxruntime is already loaded from `{}`; cannot load `{}` too", .loaded.display(), .wanted.display())]
    AlreadyLoaded {
        /// The library in use.
        loaded: PathBuf,
        /// The other one.
        wanted: PathBuf,
    },
    /// A tensor was made before [`Runtime::load`](super::Runtime::load).
    #[error("no onnxruntime library is loaded yet")]
    NotLoaded,
    /// The installation failed.
    #[error("cannot install onnxruntime: {0}")]
    Install(String),
    /// The version asked for cannot be installed.
    #[error("cannot install onnxruntime {version}: {reason}")]
    Version {
        /// As the user wrote it.
        version: String,
        /// Why not.
        reason: String,
    },
    /// A file of the cache could not be read or written.
    #[error("{action} `{}`", .path.display())]
    Io {
        /// What was attempted, such as "cannot create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The device is not one the loaded library offers.
    #[error("device `{device}` is not available: {reason}")]
    Device {
        /// As the user wrote it.
        device: String,
        /// Why not.
        reason: String,
    },
    /// onnxruntime refused or failed something.
    #[error("{label}: onnxruntime failed to {action}: {message}")]
    Session {
        /// The session's label.
        label: String,
        /// What was attempted, such as "load the model".
        action: String,
        /// onnxruntime's message.
        message: String,
        /// Whether the model, rather than the machine, is at fault.
        of_model: bool,
    },
    /// There is no training API.
    #[error("there is no training API: {reason}")]
    NoTrainingApi {
        /// What lacks it.
        reason: String,
    },
    /// A tensor does not fit what is asked of it.
    #[error("{label}: tensor `{name}`: {reason}")]
    Tensor {
        /// The session's label.
        label: String,
        /// The name of the input, output or initializer.
        name: String,
        /// What does not fit.
        reason: String,
    },
    /// A buffer was used while a run or another borrow holds it.
    #[error("{0} is in use: no borrow may overlap a run that binds it")]
    BufferInUse(String),
    /// A buffer of one type was read as another.
    #[error("buffer holds {holds}, not {asked}")]
    BufferType {
        /// Type of the buffer's elements.
        holds: &'static str,
        /// The type asked for.
        asked: &'static str,
    },
}

impl RuntimeError {
    /// True when the user's flag, environment or file is at fault rather than the machine.
    pub fn is_bad_input(&self) -> bool {
        matches!(
            self,
            Self::NotFound(_)
                | Self::Named { .. }
                | Self::TooOld { .. }
                | Self::Version { .. }
                | Self::Device { .. }
                | Self::NoTrainingApi { .. }
                | Self::Session { of_model: true, .. }
        )
    }

    /// What the user can do about it, if there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotFound(_) => Some(
                "run `ftsurgery runtime install`, or add --install-runtime to this command, \
                 or set ORT_DYLIB_PATH to the library of an onnxruntime you have",
            ),
            Self::Named { .. } | Self::TooOld { .. } => Some(
                "unset ORT_DYLIB_PATH or drop --runtime to search the usual places; \
                 `ftsurgery runtime install` fetches a suitable library",
            ),
            Self::Install(_) => Some(
                "the installation needs python3 with pip and a package index; or install \
                 onnxruntime by other means and set ORT_DYLIB_PATH to its library",
            ),
            Self::NoTrainingApi { .. } => Some(
                "docs/ort-training.md says how to build ftsurgery with it, and which library has it",
            ),
            _ => None,
        }
    }
}

fn list(tried: &[Tried]) -> String {
    tried.iter().map(|tried| format!("\n  {tried}")).collect()
}
