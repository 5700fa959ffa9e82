//! `ftsurgery report`.

use std::io::Write;
use std::path::PathBuf;

use crate::report;
use crate::run::{REPORT, TABLE, TENSORBOARD};
use clap::Args;

use super::{CliError, Context};

/// Write the report of a run anew from the files in its folder
///
/// Of a run that is not finished, the report holds what is there. RUN/report.html is one page that
/// loads nothing; RUN/trials.csv has all trials for spreadsheets; RUN/tensorboard/ is for
/// `tensorboard --logdir`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  ftsurgery report run
  tensorboard --logdir run/tensorboard")]
pub struct ReportArgs {
    /// The folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,
}

pub fn run(args: &ReportArgs, context: &Context) -> Result<(), CliError> {
    if let Some(lack) = report::write(&args.run)? {
        context.note(&format!("warning: {lack}"));
    }
    let mut out = context.stdout();
    for name in [REPORT, TABLE, TENSORBOARD] {
        writeln!(out, "{}", args.run.join(name).display())?;
    }
    Ok(())
}
