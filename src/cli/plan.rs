//! `ftsurgery plan`: begins a run whose trials other processes carry out.

use crate::search::collect;
use clap::Args;

use super::collect::show;
use super::progress::Progress;
use super::tune::{self, JobArgs};
use super::{CliError, Context, signals};

const EXAMPLES: &str = "\
Prints a line of JSON for each trial that can be carried out now, by `trial RUN ID`, in any order, on any \
machine that shares RUN, the model and the data: its `id`, the `round` it belongs to, the `stage` of the \
network at which it begins (neighbours share frozen layers: give them to one process), `threads`, how many \
run `side_by_side` in one process, `epochs`, and the `flops` and `bytes` of a step. The last line has \
`waiting`, the number of these trials, and whether the run is `done`.

Examples:
  ftsurgery plan mobilenet_v2.onnx --data photos --out run --strategies head,blocks
  ftsurgery plan --resume run --strategies layers
  ftsurgery trial run head-search blocks-block5-search
  ftsurgery collect run";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct PlanArgs {
    #[command(flatten)]
    job: JobArgs,
}

pub fn run(args: &PlanArgs, context: &Context) -> Result<(), CliError> {
    let job = tune::job("plan", &args.job, context.words())?;
    args.job.settings.tell_unused(&job.settings, context);
    let runtime = context.runtime()?;
    let progress = Progress::stoppable(context);
    let collected = collect(&runtime, &job, &progress);
    progress.finish();
    signals::end_at_once();
    show(&collected?, context)
}
