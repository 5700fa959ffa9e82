//! `ftsurgery trial`: carries out trials of a run for another process.

use std::path::PathBuf;

use crate::run::RunError;
use crate::search::{SearchError, carry_out};
use clap::Args;

use super::progress::Progress;
use super::{CliError, Context, signals};

/// "A temporary failure: try again later" (`EX_TEMPFAIL` of sysexits.h).
const TRY_AGAIN: u8 = 75;

const EXAMPLES: &str = "\
Several trials that begin at neighbouring stages of the network take less time in one process than in \
several, because frozen layers are computed once. What has ended already is passed over; what was \
interrupted, by SIGTERM, SIGINT, SIGUSR1 or a crash, goes on from its checkpoint when the same command is \
given again, on whichever machine. Exit code 75: another process works on one of the trials.

Examples:
  ftsurgery trial run blocks-block5-search
  ftsurgery trial run repeats/2/head-train repeats/2/blocks-block5-train";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct TrialArgs {
    /// The folder of the run
    run: PathBuf,
    /// The trials, as `plan` and `collect` print them
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

pub fn run(args: &TrialArgs, context: &Context) -> Result<(), CliError> {
    let runtime = context.runtime()?;
    let progress = Progress::stoppable(context);
    let outcome = carry_out(&runtime, &args.run, &args.ids, &progress);
    progress.finish();
    match outcome {
        Ok(()) => Ok(()),
        Err(_) if signals::asked() => {
            let text = "stopped; what had begun is in its checkpoint";
            Err(CliError::failure(text).with_hint("the same command goes on from there"))
        }
        Err(error) => Err(in_use(error)),
    }
}

/// The error, with the exit code of its own if it is that another process is at work.
pub fn in_use(error: SearchError) -> CliError {
    let later = matches!(error, SearchError::Run(RunError::InUse { .. }));
    let error = CliError::from(error);
    match later {
        true => error.with_code(TRY_AGAIN),
        false => error,
    }
}
