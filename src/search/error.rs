//! Errors of the search room.

use crate::adapter::AdapterError;
use crate::analysis::{AnalysisError, BackboneError};
use crate::autodiff::AutodiffError;
use crate::classifier::ClassifierError;
use crate::data::{DataError, show_bytes};
use crate::graph::GraphError;
use crate::onnx::OnnxError;
use crate::run::{Failure, RunError};
use crate::runtime::RuntimeError;
use crate::strategy::{StrategyError, StrategyName};
use crate::surgery::SurgeryError;
use crate::training::TrainingError;

/// What can go wrong in a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// No candidate of a strategy could be ranked.
    #[error("{}: {reason}", match candidates {
        1 => "its candidate diverged".to_owned(),
        n => format!("all {n} candidates diverged, the first"),
    })]
    Diverged {
        /// Number of its candidates.
        candidates: usize,
        /// The first trial's reason.
        reason: String,
    },
    /// A candidate is to be ranked that has not been tried: a defect of this program.
    #[error("trial `{id}` was not run, but is to be ranked")]
    NotTried {
        /// Its identity.
        id: String,
    },
    /// A winner's figures on the held-out samples are not numbers.
    #[error(
        "on the held-out samples the winner's mean loss is {loss}: some of its outputs are not finite"
    )]
    NotFinite {
        /// The mean loss.
        loss: f64,
    },
    /// A strategy has to choose among candidates without data to do so.
    #[error(
        "strategy `{strategy}` has to choose among {candidates} candidates, for which there is no \
         data: the search or the validation part is empty"
    )]
    NoSearchData {
        /// The strategy.
        strategy: StrategyName,
        /// Number of its candidates.
        candidates: usize,
    },
    /// No candidate of a strategy can be differentiated.
    #[error(
        "strategy `{strategy}` cannot be used on this model: {reason}; strategies that can: {working}{}",
        match layers.as_str() {
            "" => String::new(),
            layers => format!("; layers that can still be trained: {layers}"),
        }
    )]
    NoGradient {
        /// The strategy.
        strategy: StrategyName,
        /// What stands in the way of its first candidate.
        reason: Box<AutodiffError>,
        /// The strategies whose trained layers lie behind that, for people.
        working: String,
        /// The layers that lie behind it, for people; empty where there are none.
        layers: String,
    },
    /// There is not memory enough for what a candidate trains.
    #[error(
        "strategy `{strategy}` trains {values} values (`{candidate}`), which take {} with the best ones and the \
         optimizer's moments, and there is memory for {}",
        show_bytes(*bytes),
        show_bytes(*limit)
    )]
    NoRoom {
        /// The strategy.
        strategy: StrategyName,
        /// Label of the candidate.
        candidate: String,
        /// Number of its trained values.
        values: u64,
        /// What they take at least, in bytes.
        bytes: u64,
        /// What this process may use, in bytes.
        limit: u64,
    },
    /// A setting does not fit the model or the data.
    #[error("{0}")]
    Setting(String),
    /// An emitted model is not what was trained.
    #[error("the model emitted for strategy `{strategy}` failed its check: {reason}")]
    SelfCheck {
        /// The strategy.
        strategy: StrategyName,
        /// What differs.
        reason: String,
    },
    /// The run's folder is at fault.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The model is no classifier, or cannot be fed or run.
    #[error(transparent)]
    Classifier(#[from] ClassifierError),
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
    /// An adapter cannot be written.
    #[error(transparent)]
    Adapter(AdapterError),
}

impl From<AdapterError> for SearchError {
    /// What another room says stays that room's.
    fn from(error: AdapterError) -> Self {
        match error {
            AdapterError::Graph(e) => e.into(),
            AdapterError::Classifier(e) => e.into(),
            AdapterError::Surgery(e) => e.into(),
            AdapterError::Training(e) => e.into(),
            AdapterError::Onnx(e) => e.into(),
            error => SearchError::Adapter(error),
        }
    }
}

impl SearchError {
    /// Whether the user's input, rather than this machine, is at fault.
    pub fn is_bad_input(&self) -> bool {
        match self {
            SearchError::NoSearchData { .. }
            | SearchError::NoGradient { .. }
            | SearchError::NoRoom { .. }
            | SearchError::Setting(_) => true,
            SearchError::SelfCheck { .. }
            | SearchError::Diverged { .. }
            | SearchError::NotTried { .. }
            | SearchError::NotFinite { .. } => false,
            SearchError::Run(e) => e.is_bad_input(),
            SearchError::Classifier(e) => e.is_bad_input(),
            SearchError::Backbone(e) => e.is_bad_input(),
            SearchError::Strategy(e) => e.is_bad_input(),
            SearchError::Analysis(e) => e.is_bad_input(),
            SearchError::Data(e) => e.is_bad_input(),
            SearchError::Graph(e) => e.is_bad_input(),
            SearchError::Onnx(e) => e.is_bad_input(),
            SearchError::Surgery(e) => e.is_bad_input(),
            SearchError::Training(e) => e.is_bad_input(),
            SearchError::Runtime(e) => e.is_bad_input(),
            SearchError::Adapter(e) => e.is_bad_input(),
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            SearchError::Onnx(OnnxError::Changed { .. }) => {
                Some("put it back as it was, or begin a new run in another folder with --out")
            }
            SearchError::NoRoom { .. } => Some(
                "train less, as `--strategies head,last1` does, or with `--optimizer sgd`, which remembers less",
            ),
            SearchError::NoSearchData { .. } => Some(
                "give --search-fraction above 0 (and --validation-fraction, if given), or leave the strategy out",
            ),
            SearchError::NoGradient { .. } => Some("choose among these with --strategies"),
            SearchError::Training(TrainingError::Stopped) => {
                Some("no trial had begun; the same command begins again")
            }
            SearchError::Training(TrainingError::Checkpoint { .. }) => {
                Some("delete that file: its trial then begins anew, and the results are the same")
            }
            SearchError::Run(e) => e.hint(),
            SearchError::Classifier(e) => e.hint(),
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
        matches!(self, SearchError::Run(e) if e.is_change())
    }

    /// What a trial or a strategy came to, if this is it: the same command would come to the same
    /// again. All else – a stop, a full disk, no memory, a device that fails – says nothing of the
    /// candidate. It ends the run, which then can be resumed.
    pub(super) fn failure(&self) -> Option<Failure> {
        match self {
            SearchError::Training(TrainingError::Diverged { .. })
            | SearchError::Diverged { .. }
            | SearchError::NotFinite { .. } => Some(Failure::Diverged),
            SearchError::Onnx(e)
            | SearchError::Surgery(
                SurgeryError::Onnx(e) | SurgeryError::Graph(GraphError::Onnx(e)),
            ) => match e {
                // The model was read before: disk, memory, or what others do to its files.
                OnnxError::Write { .. } | OnnxError::Changed { .. } | OnnxError::Read { .. } => {
                    None
                }
                _ => Some(Failure::NoModel),
            },
            SearchError::SelfCheck { .. } | SearchError::Surgery(_) => Some(Failure::NoModel),
            _ => None,
        }
    }

    /// Whether a study as a whole must end: it was stopped, or its files cannot be written.
    pub(super) fn ends_a_study(&self) -> bool {
        match self {
            SearchError::Run(RunError::Write { .. })
            | SearchError::Adapter(AdapterError::Write { .. }) => true,
            SearchError::Onnx(e) => {
                matches!(e, OnnxError::Write { .. } | OnnxError::Changed { .. })
            }
            SearchError::Training(TrainingError::Stopped) => true,
            SearchError::Training(TrainingError::Checkpoint { .. }) => true,
            SearchError::Training(TrainingError::Data(e))
            | SearchError::Classifier(ClassifierError::Data(e))
            | SearchError::Data(e) => {
                matches!(e, DataError::Write { .. } | DataError::Spill { .. })
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataError;
    use crate::training::Divergence;

    /// What has a failure is a result, stays in the run's records and out of the ranking.
    #[test]
    fn only_divergence_is_what_a_trial_came_to() {
        let diverged = TrainingError::Diverged {
            step: 3,
            epoch: 1,
            what: Divergence::Loss(f32::NAN),
        };
        let failure = |error: TrainingError| SearchError::from(error).failure();
        assert_eq!(failure(diverged), Some(Failure::Diverged));
        let runtime = RuntimeError::Session {
            label: "training step".into(),
            action: "run".into(),
            message: "bad allocation".into(),
            of_model: false,
        };
        let spill = DataError::Spill {
            place: "memory".into(),
            bytes: 1,
            source: std::io::ErrorKind::OutOfMemory.into(),
        };
        for error in [
            TrainingError::Stopped,
            TrainingError::NoSamples,
            TrainingError::Mismatch("a batch of 1 sample".into()),
            TrainingError::Runtime(runtime),
            TrainingError::Data(spill),
            TrainingError::Onnx(OnnxError::Write {
                path: "x".into(),
                source: std::io::ErrorKind::StorageFull.into(),
            }),
        ] {
            let text = error.to_string();
            assert_eq!(failure(error), None, "{text}");
        }
        // Reading weights, wherever that is, of a file that was changed or cannot be read for now.
        let changed = || OnnxError::Changed { path: "x".into() };
        let no_memory = || OnnxError::Read {
            path: "x".into(),
            source: std::io::ErrorKind::OutOfMemory.into(),
        };
        let gone = OnnxError::Read {
            path: "x".into(),
            source: std::io::ErrorKind::NotFound.into(),
        };
        for error in [
            SearchError::Onnx(gone),
            SearchError::Onnx(changed()),
            SearchError::Onnx(no_memory()),
            SearchError::Surgery(SurgeryError::Onnx(no_memory())),
            SearchError::Surgery(GraphError::Onnx(changed()).into()),
        ] {
            assert_eq!(error.failure(), None, "{error}");
        }
        let full = OnnxError::Write {
            path: "x".into(),
            source: std::io::ErrorKind::StorageFull.into(),
        };
        assert_eq!(SearchError::from(full).failure(), None);
    }
}
