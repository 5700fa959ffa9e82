//! `ftsurgery collect`: takes over what trials came to, and says which are wanted next.

use std::io::Write;
use std::path::PathBuf;

use crate::cluster::Slurm;
use crate::report;
use crate::search::{Collected, Job, collect};
use clap::Args;
use serde_json::json;

use super::progress::Progress;
use super::{CliError, Context, signals, trial, tune};

const EXAMPLES: &str = "\
Reads what `trial` has left in RUN, and prints the trials that are wanted and have not ended, as `plan` \
does. When none are wanted any more, it has written the models, results.json and the report, and its only \
line is `{\"done\":true,\"waiting\":0}`. It may be called at any time, also while trials are carried out.

Examples:
  ftsurgery collect run
  while ftsurgery collect run | grep '\"id\"' | cut -d'\"' -f4 | xargs -rn1 ftsurgery trial run; do
    ftsurgery collect run | grep -q '\"done\":true' && break; done";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct CollectArgs {
    /// The folder of the run
    run: PathBuf,
    /// Submit these trials to Slurm, as `tune --executor slurm` has submitted those before: for the job that
    /// it puts behind them
    #[arg(long)]
    submit: bool,
}

pub fn run(args: &CollectArgs, context: &Context) -> Result<(), CliError> {
    let job = Job::resume(&args.run)?;
    let runtime = context.runtime()?;
    let progress = Progress::stoppable(context);
    let collected = collect(&runtime, &job, &progress);
    progress.finish();
    let collected = collected.map_err(trial::in_use)?;
    signals::end_at_once();
    if let Some(lack) = report::write(&args.run)? {
        context.note(&format!("warning: {lack}"));
    }
    show(&collected, context)?;
    let (asked, results) = (collected.asked.clone(), collected.results.clone());
    // The jobs that are submitted now collect this run.
    drop(collected);
    if args.submit {
        Slurm::go_on(&args.run, &asked, &progress)?;
    }
    match asked.is_empty() {
        true => tune::outcome(&results, &args.run),
        false => Ok(()),
    }
}

/// Prints the trials that are wanted, and whether there are any.
pub fn show(collected: &Collected, context: &Context) -> Result<(), CliError> {
    let mut out = context.stdout();
    for trial in &collected.asked {
        serde_json::to_writer(&mut out, trial)?;
        writeln!(out)?;
    }
    let done = !collected.results.interrupted;
    let last = json!({"done": done, "waiting": collected.asked.len()});
    writeln!(out, "{last}")?;
    Ok(out.flush()?)
}
