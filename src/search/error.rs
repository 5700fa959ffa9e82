//! Errors of the search room.

use std::path::{Path, PathBuf};

use crate::analysis::{AnalysisError, BackboneError};
use crate::autodiff::AutodiffError;
use crate::data::DataError;
use crate::graph::GraphError;
use crate::onnx::OnnxError;
use crate::runtime::RuntimeError;
use crate::strategy::{Strategy, StrategyError};
use crate::surgery::SurgeryError;
use crate::training::TrainingError;

/// What can go wrong in a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// The run's folder is in use.
    #[error("{path} exists and is not empty")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
        /// Whether it holds a run.
        resumable: bool,
    },
    /// Another process works on the run.
    #[error("another process works on the run in {path}")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A run cannot be resumed, because something is not as it was when the run began.
    #[error("{what} has changed since the run began: it was {was}, and is now {is}")]
    Changed {
        /// What, for people: a flag, the model, the data.
        what: String,
        /// Then.
        was: String,
        /// Now.
        is: String,
    },
    /// Every trial of a strategy failed in an earlier process.
    #[error("{reason}")]
    Failed {
        /// The first trial's reason.
        reason: String,
    },
    /// A file of the run's folder cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file of a run cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// There is no run in the folder.
    #[error("{path} is not the folder of a run: it has no run.json")]
    NotARun {
        /// The folder.
        path: PathBuf,
    },
    /// A file of a run is not as it was written.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A run of which another version of ftsurgery wrote the files, in another form.
    #[error(
        "{path} was written by another version of ftsurgery, in a form that this one does not read \
         ({}; this version reads format {reads})",
        match found { Some(n) => format!("format {n}"), None => "an older one, without a number".to_owned() }
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The number in the file.
        found: Option<u32>,
        /// The number that is read.
        reads: u32,
    },
    /// A strategy has to choose among candidates without data to do so.
    #[error(
        "strategy `{strategy}` has to choose among {candidates} candidates, for which there is no \
         data: the search or the validation part is empty"
    )]
    NoSearchData {
        /// The strategy.
        strategy: Strategy,
        /// Number of its candidates.
        candidates: usize,
    },
    /// No candidate of a strategy can be differentiated.
    #[error(
        "strategy `{strategy}` cannot be used on this model: {reason}; strategies that can: {working}"
    )]
    NoGradient {
        /// The strategy.
        strategy: Strategy,
        /// What stands in the way of its first candidate.
        reason: AutodiffError,
        /// The strategies whose trained layers lie behind that, for people.
        working: String,
    },
    /// A setting does not fit the model or the data.
    #[error("{0}")]
    Setting(String),
    /// An emitted model is not what was trained.
    #[error("the model emitted for strategy `{strategy}` failed its check: {reason}")]
    SelfCheck {
        /// The strategy.
        strategy: Strategy,
        /// What differs.
        reason: String,
    },
    /// There is no usable feature map.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The strategy is at fault.
    #[error(transparent)]
    Strategy(#[from] StrategyError),
    /// Analysis failed.
    #[error(transparent)]
    Analysis(#[from] AnalysisError),
    /// The data are at fault.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model's graph is at fault.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The model file is at fault.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// Cutting, grafting or exporting failed.
    #[error(transparent)]
    Surgery(#[from] SurgeryError),
    /// A trial failed.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// onnxruntime failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl SearchError {
    /// Whether the user's input, rather than this machine, is at fault.
    pub fn is_bad_input(&self) -> bool {
        match self {
            SearchError::NotEmpty { .. }
            | SearchError::InUse { .. }
            | SearchError::Changed { .. }
            | SearchError::NotARun { .. }
            | SearchError::Damaged { .. }
            | SearchError::Format { .. }
            | SearchError::NoSearchData { .. }
            | SearchError::NoGradient { .. }
            | SearchError::Setting(_) => true,
            SearchError::Read { .. }
            | SearchError::Write { .. }
            | SearchError::SelfCheck { .. }
            | SearchError::Failed { .. } => false,
            SearchError::Backbone(e) => e.is_bad_input(),
            SearchError::Strategy(e) => e.is_bad_input(),
            SearchError::Analysis(e) => e.is_bad_input(),
            SearchError::Data(e) => e.is_bad_input(),
            SearchError::Graph(e) => e.is_bad_input(),
            SearchError::Onnx(e) => e.is_bad_input(),
            SearchError::Surgery(e) => e.is_bad_input(),
            SearchError::Training(e) => e.is_bad_input(),
            SearchError::Runtime(e) => e.is_bad_input(),
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            SearchError::NotEmpty {
                resumable: true, ..
            } => Some(
                "go on with what is there by --resume, replace it by --out with --force, or choose \
                 another folder",
            ),
            SearchError::NotEmpty { .. } => {
                Some("choose another folder with --out, or add the run to this one with --force")
            }
            SearchError::Changed { .. } | SearchError::Onnx(OnnxError::Changed { .. }) => {
                Some("put it back as it was, or begin a new run in another folder with --out")
            }
            SearchError::Format { .. } => Some(
                "use the version that its `versions` name, or make the run anew in another folder",
            ),
            SearchError::NoSearchData { .. } => Some(
                "give --search-fraction above 0 (and --validation-fraction, if given), or leave the strategy out",
            ),
            SearchError::NoGradient { .. } => Some("choose among these with --strategies"),
            SearchError::Strategy(e) => e.hint(),
            SearchError::Data(e) => e.hint(),
            SearchError::Runtime(e) => e.hint(),
            _ => None,
        }
    }

    /// Whether the watcher asked to stop.
    pub(super) fn is_stop(&self) -> bool {
        matches!(self, SearchError::Training(TrainingError::Stopped))
    }

    /// Whether what is resumed is not what began, or not to be had now.
    pub(super) fn is_change(&self) -> bool {
        matches!(
            self,
            SearchError::Changed { .. } | SearchError::InUse { .. } | SearchError::Format { .. }
        )
    }

    /// Whether the run as a whole must end: it was stopped, or its files cannot be written.
    pub(super) fn ends_the_run(&self) -> bool {
        match self {
            SearchError::Write { .. } => true,
            SearchError::Onnx(e) => {
                matches!(e, OnnxError::Write { .. } | OnnxError::Changed { .. })
            }
            SearchError::Training(TrainingError::Stopped) => true,
            SearchError::Training(TrainingError::Checkpoint { .. }) => true,
            SearchError::Training(TrainingError::Data(e)) | SearchError::Data(e) => {
                matches!(e, DataError::Write { .. } | DataError::Spill { .. })
            }
            _ => false,
        }
    }

    pub(super) fn write(path: &Path, source: std::io::Error) -> Self {
        SearchError::Write {
            path: path.to_owned(),
            source,
        }
    }
}
