//! `ftsurgery apply` of a trained state.

use std::io::Write;
use std::path::Path;

use crate::onnx::{LARGEST_FILE, Model};
use crate::training_graph::State;
use serde_json::json;

use super::{ApplyArgs, output};
use crate::cli::{CliError, Context, signals};

pub fn run(args: &ApplyArgs, state: &State, context: &Context) -> Result<(), CliError> {
    let backbone = Model::open(&args.model)?;
    let out = match args.dry_run {
        true => None,
        false => Some(output(args, backbone.size() > LARGEST_FILE as u64)?),
    };
    let trained = state.apply(&backbone)?;
    match &out {
        None => trained.check()?,
        Some(out) => {
            signals::before_stops(|| trained.write(out))?;
        }
    }
    tell(args, state, out.as_deref(), context)
}

fn tell(
    args: &ApplyArgs,
    state: &State,
    out: Option<&Path>,
    context: &Context,
) -> Result<(), CliError> {
    let trained = state.trained();
    let values: usize = trained.iter().map(|(_, tensor)| tensor.len()).sum();
    let mut stdout = context.stdout();
    if args.json {
        let text = json!({
            "backbone": args.model,
            "steps": state.steps(),
            "averages": state.has_averages(),
            "tensors": trained.len(),
            "values": values,
            "model": out,
        });
        serde_json::to_writer_pretty(&mut stdout, &text)?;
        writeln!(stdout)?;
    } else {
        let what = match state.has_averages() {
            true => "averages over the steps",
            false => "values",
        };
        let steps = match state.steps() {
            Some(steps) => format!("state of {steps} steps"),
            None => "state".to_owned(),
        };
        writeln!(
            stdout,
            "{steps}: {} tensors of {values} {what}",
            trained.len()
        )?;
    }
    stdout.flush()?;
    match out {
        Some(out) => context.note(&format!("written to {}", out.display())),
        None => context.note("nothing is written (--dry-run)"),
    }
    Ok(())
}
