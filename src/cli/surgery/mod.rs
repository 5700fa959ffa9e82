//! Surgery as commands: a model in, a model out. One file per command says what is made; here is what they share: the flags,
//! and how it is written, checked and told.
//!
//! To add a command, write its operation in the library's `transform`, which gives a [`Transformed`], and here a file with its
//! arguments, of which `SurgeryArgs` are a part: `args.surgery.open()`, the operation, `args.surgery.finish(…)`.

mod batch;
mod extract;
mod fold;
mod head;
mod list;
mod merge;
mod opset;
mod place;
mod precision;
mod prune;
mod rename;
mod tell;

use std::path::PathBuf;

use crate::onnx::Model;
use crate::runtime::{Runtime, RuntimeError};
use crate::transform::{Check, Runtimes, TransformError, Transformed, Writing, write};
use clap::{Args, ValueEnum};

use super::{CliError, Context, signals};

pub use batch::BatchArgs;
pub use extract::ExtractArgs;
pub use fold::FoldArgs;
pub use head::HeadArgs;
pub use list::ListArgs;
pub use merge::MergeArgs;
pub use opset::OpsetArgs;
pub use place::{ExternalizeArgs, InternalizeArgs};
pub use precision::PrecisionArgs;
pub use prune::PruneArgs;
pub use rename::RenameArgs;

pub use batch::run as batch;
pub use extract::run as extract;
pub use fold::run as fold;
pub use head::run as head;
pub use list::run as list;
pub use merge::run as merge;
pub use opset::run as opset;
pub use place::{externalize, internalize};
pub use precision::run as precision;
pub use prune::run as prune;
pub use rename::run as rename;

/// What every command says of its checks, in its help.
macro_rules! checked {
    ($what:literal, $examples:literal) => {
        concat!(
            $what,
            "\n\nThe new model is written beside its place, read again, and gets its name when all is well: it must be the \
             original with the printed changes and not one more, to the byte of every weight (--check structure); then both \
             run in onnxruntime on the same random inputs (--check numbers), where there is one and the model has no more \
             than 256 MiB, unless asked for. Values that lie beside the model lie beside the new one, in FILE.data. Weights \
             go from file to file, so that a model of any size takes little memory.\n\nExamples:\n",
            $examples
        )
    };
}
use checked;

/// The model, the file to write, and how.
#[derive(Args)]
pub struct SurgeryArgs {
    /// The ONNX model
    model: PathBuf,
    /// The ONNX file to write
    #[arg(long, value_name = "FILE", required_unless_present = "dry_run")]
    out: Option<PathBuf>,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
    /// Print what would change, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// How the new model is checked before it gets its name
    #[arg(long, value_enum, default_value_t = CheckArg::Auto)]
    check: CheckArg,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum CheckArg {
    /// As `numbers` where that can be done, else as `structure`
    Auto,
    /// Not at all
    Off,
    /// What was written is the original with the printed changes and no other
    Structure,
    /// And it computes the same
    Numbers,
}

impl SurgeryArgs {
    /// The model, of which large tensors stay in their files.
    fn open(&self) -> Result<Model, CliError> {
        Ok(Model::open_in_place(&self.model)?)
    }

    /// Writes, checks and tells what was made.
    fn finish(
        &self,
        operation: &str,
        transformed: &Transformed<'_>,
        context: &Context,
    ) -> Result<(), CliError> {
        let out = self.out.as_ref().filter(|_| !self.dry_run);
        let Some(out) = out else {
            tell::planned(self, operation, transformed, context)?;
            context.note("nothing is written (--dry-run)");
            return Ok(());
        };
        let writing = Writing::to(out)
            .overwrite(self.force)
            .check(match self.check {
                CheckArg::Auto => None,
                CheckArg::Off => Some(Check::Off),
                CheckArg::Structure => Some(Check::Structure),
                CheckArg::Numbers => Some(Check::Numbers),
            });
        let written = signals::before_stops(|| write(transformed, &writing, &Found(context)))
            .map_err(|error| match error {
                TransformError::Write { path, source } => CliError::cannot_write(&path, &source),
                error => error.into(),
            })?;
        tell::written(self, operation, transformed, &written, context)
    }
}

/// The onnxruntime of the command line.
struct Found<'c>(&'c Context);

impl Runtimes for Found<'_> {
    fn runtime(&self) -> Result<Runtime, RuntimeError> {
        let found = self.0.locate_runtime()?;
        Runtime::load(&found.located)
    }
}
