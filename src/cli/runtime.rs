//! `ftsurgery runtime`: which onnxruntime library is used, and getting one.

use std::io::Write;

use clap::{Args, Subcommand};
use ftsurgery::runtime::{Runtime, install};
use serde_json::json;

use super::{CliError, Context};

const EXAMPLES: &str = "\
The library is searched for in this order: --runtime PATH; the environment variable \
ORT_DYLIB_PATH; the cache ($FTSURGERY_CACHE, $XDG_CACHE_HOME/ftsurgery or ~/.cache/ftsurgery); \
the onnxruntime package of python3; the system's library folders. Any onnxruntime from 1.19 on \
serves.

Examples:
  ftsurgery runtime install
  ftsurgery runtime install --version 1.31.0
  ftsurgery runtime status --json
  ftsurgery --runtime /opt/onnxruntime/lib/libonnxruntime.so runtime status";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct RuntimeArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show the library that is used, how it was found and what it offers
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Fetch the library from the Python package index into the cache (needs python3 with pip)
    Install {
        /// The onnxruntime version to install
        #[arg(long, value_name = "VERSION")]
        version: Option<String>,
    },
}

pub fn run(args: &RuntimeArgs, context: &Context) -> Result<(), CliError> {
    match &args.action {
        Action::Status { json } => status(*json, context),
        Action::Install { version } => {
            let path = install::install(version.as_deref(), &mut |step| context.note(step))?;
            writeln!(context.stdout(), "{}", path.display())?;
            Ok(())
        }
    }
}

fn status(as_json: bool, context: &Context) -> Result<(), CliError> {
    let found = context.find_runtime()?;
    let runtime = Runtime::load(&found.located)?;
    let providers = runtime.providers()?;
    let mut out = context.stdout();
    if as_json {
        let status = json!({
            "path": runtime.path().display().to_string(),
            "origin": runtime.origin(),
            "version": runtime.version().to_string(),
            "providers": providers,
            "tried": found.tried,
        });
        serde_json::to_writer_pretty(&mut out, &status)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "library    {}", runtime.path().display())?;
    writeln!(out, "found by   {}", runtime.origin())?;
    writeln!(out, "version    {}", runtime.version())?;
    writeln!(out, "providers  {}", providers.join(", "))?;
    if !found.tried.is_empty() {
        writeln!(out, "passed over:")?;
        for tried in &found.tried {
            writeln!(out, "  {tried}")?;
        }
    }
    Ok(())
}
