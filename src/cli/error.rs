use std::{
    error::Error,
    fmt,
    io::{self, Write},
    path::Path,
};

use super::{SUCCESS, signals};
use crate::{
    adapter::AdapterError,
    analysis::AnalysisError,
    autodiff::AutodiffError,
    classifier::ClassifierError,
    cluster::ClusterError,
    data::DataError,
    distil::DistilError,
    graph::GraphError,
    onnx::OnnxError,
    package::PackageError,
    quantise::QuantiseError,
    report::{ReportError, plain_message},
    run::RunError,
    runtime::RuntimeError,
    search::SearchError,
    strategy::StrategyError,
    surgery::SurgeryError,
    training::TrainingError,
    training_graph::TrainingGraphError,
    transform::TransformError,
    verify::VerifyError,
};

/// Why a subcommand ended early, ready to be told to the user.
#[derive(Debug)]
pub struct CliError {
    error: Box<dyn Error>,
    hint: Option<String>,
    code: u8,
}

/// Exit code of a failure.
const FAILURE: u8 = 1;
/// Exit code of bad usage or input.
pub(super) const BAD_INPUT: u8 = 2;

impl CliError {
    /// An error of some room; `bad_input` when the user's file or flag is at fault.
    pub fn new(error: impl Error + 'static, bad_input: bool) -> Self {
        Self {
            error: Box::new(error),
            hint: None,
            code: if bad_input { BAD_INPUT } else { FAILURE },
        }
    }

    /// A message about the user's flag or file that no room has an error for.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            error: message.into().into(),
            hint: None,
            code: BAD_INPUT,
        }
    }

    /// A failure that has been told in detail elsewhere.
    pub fn failure(message: impl Into<String>) -> Self {
        Self {
            error: message.into().into(),
            hint: None,
            code: FAILURE,
        }
    }

    /// A file that cannot be written: a failure if there is no room for it, else the fault of the path given.
    pub fn cannot_write(path: &Path, error: &io::Error) -> Self {
        let message = format!("cannot write {}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::failure(message),
            _ => Self::usage(message),
        }
    }

    /// The error itself, without its causes.
    pub fn message(&self) -> String {
        self.error.to_string()
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Gives it an exit code of its own.
    #[must_use]
    pub fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// True when the reader of our output went away: an end, not a failure.
    fn is_broken_pipe(&self) -> bool {
        let mut next: Option<&(dyn Error + 'static)> = Some(self.error.as_ref());
        while let Some(error) = next {
            let io = error.downcast_ref::<io::Error>();
            if io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
                return true;
            }
            next = error.source();
        }
        false
    }

    /// Prints the chain on stderr and gives the exit code.
    pub(super) fn report(&self) -> u8 {
        if self.is_broken_pipe() {
            return SUCCESS;
        }
        let _ = write!(io::stderr(), "{self}");
        self.exit_code()
    }

    /// The exit code that it asks for, or that a signal has asked for.
    pub(super) fn exit_code(&self) -> u8 {
        signals::exit_code().unwrap_or(self.code)
    }
}

impl fmt::Display for CliError {
    /// Lines `error: …`, `caused by: …` and `hint: …`, without anything that a terminal obeys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = plain_message(&self.error.to_string());
        writeln!(f, "error: {said}")?;
        let mut next = self.error.source();
        while let Some(error) = next {
            let cause = plain_message(&error.to_string());
            // Some errors repeat their cause in their own text.
            if !said.contains(&cause) {
                writeln!(f, "caused by: {cause}")?;
            }
            said = cause;
            next = error.source();
        }
        if let Some(hint) = &self.hint {
            writeln!(f, "hint: {}", plain_message(hint))?;
        }
        Ok(())
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self::new(error, false)
    }
}

impl From<serde_json::Error> for CliError {
    /// Of writing JSON; an output error keeps its kind.
    fn from(error: serde_json::Error) -> Self {
        Self::new(io::Error::from(error), false)
    }
}

impl From<StrategyError> for CliError {
    fn from(error: StrategyError) -> Self {
        Self::from(SearchError::from(error))
    }
}

/// A room's error, with the exit code it asks for.
fn from_room<E: Error + 'static>(error: E, is_bad_input: impl Fn(&E) -> bool) -> CliError {
    let bad_input = is_bad_input(&error);
    CliError::new(error, bad_input)
}

/// Lets subcommands return the errors of these rooms with `?`.
macro_rules! rooms {
    ($($room:ty),* $(,)?) => {$(
        impl From<$room> for CliError {
            fn from(error: $room) -> Self {
                from_room(error, <$room>::is_bad_input)
            }
        }
    )*};
}
rooms![
    AnalysisError,
    AutodiffError,
    DataError,
    GraphError,
    OnnxError,
    ReportError,
    SurgeryError,
    TrainingError,
    VerifyError
];

/// The same for rooms whose errors have hints.
macro_rules! hinted_rooms {
    ($($room:ty),* $(,)?) => {$(
        impl From<$room> for CliError {
            fn from(error: $room) -> Self {
                let hint = error.hint();
                let cli = from_room(error, <$room>::is_bad_input);
                match hint {
                    Some(hint) => cli.with_hint(hint),
                    None => cli,
                }
            }
        }
    )*};
}
hinted_rooms![
    AdapterError,
    ClassifierError,
    ClusterError,
    DistilError,
    PackageError,
    QuantiseError,
    RunError,
    RuntimeError,
    SearchError,
    TrainingGraphError,
    TransformError
];

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read `a.onnx`")]
    struct Outer(#[source] io::Error);

    #[test]
    fn the_chain_is_printed_line_by_line() {
        let inner = io::Error::new(io::ErrorKind::NotFound, "no such file");
        let error = CliError::new(Outer(inner), true).with_hint("check the path");
        let expected =
            "error: cannot read `a.onnx`\ncaused by: no such file\nhint: check the path\n";
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.report(), BAD_INPUT);
    }

    #[test]
    fn a_broken_pipe_is_a_quiet_end_wherever_it_is_in_the_chain() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(CliError::from(broken()).report(), SUCCESS);
        assert_eq!(CliError::new(Outer(broken()), false).report(), SUCCESS);
        assert_eq!(CliError::usage("--x needs --y").report(), BAD_INPUT);
    }
}
