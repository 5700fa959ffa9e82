//! `ftsurgery serve`: a model over HTTP on this machine, to try it.

mod answers;
mod infer;
mod listen;
mod worker;

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::package::{Facts, name_of};
use clap::Args;

use super::classifier::{Classifier, ClassifierArgs};
use super::package::check;
use super::{CliError, Context};
use answers::Service;
use worker::Worker;

const EXAMPLES: &str = "\
It listens on this machine alone (127.0.0.1), and is for trying a model, not for production: one thread asks one model, requests \
are bounded in size and time, and there is neither encryption nor a login. `ftsurgery package MODEL --format triton` or `kserve` \
makes what a server for production runs.

  GET  /                            a page to drop pictures on
  POST /classify                    the bytes of a picture; gives its classes as `predict --json`
  GET  /v2, /v2/health/live, /v2/health/ready, /v2/models/NAME, /v2/models/NAME/ready
  POST /v2/models/NAME/infer        tensors, by the Open Inference Protocol in JSON

Examples:
  ftsurgery serve run/winners/auto.onnx
  curl --data-binary @rose.jpg localhost:8000/classify";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ServeArgs {
    /// The ONNX model
    model: PathBuf,
    /// The port; 0 for one that is free
    #[arg(long, value_name = "N", default_value_t = 8000)]
    port: u16,
    /// What addresses call the model: letters, digits, `-`, `_` and `.` [default: the name of its file]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    classifier: ClassifierArgs,
}

pub fn run(args: &ServeArgs, context: &Context) -> Result<(), CliError> {
    let mut classifier = Classifier::open(&args.model, &args.classifier)?;
    let runtime = context.runtime()?;
    let mut inference = classifier.load(&runtime, &args.classifier)?;
    classifier.ensure_told(&runtime, &args.classifier, "")?;
    let tried = check::outputs(&mut inference, &classifier.input)?;
    let stem = args.model.file_stem().unwrap_or_default();
    let name = match &args.name {
        Some(name) => name.clone(),
        None => name_of(&stem.to_string_lossy()),
    };
    let Classifier {
        ref card,
        ref input,
        ref graph,
        ..
    } = classifier;
    let facts = Facts::of(&name, graph, (card, input), &inference, &tried)?;
    classifier.tell(true, "to be served", context);
    let service = Arc::new(Service::new(&facts)?);
    let worker = Worker::start(inference, classifier.card, classifier.input, facts);
    listen::on(
        (Ipv4Addr::LOCALHOST, args.port),
        &service,
        &worker,
        |address| {
            let mut out = context.stdout();
            writeln!(out, "http://{address}/")?;
            out.flush()?;
            context.note(&format!(
            "for trying: `{name}` by the Open Inference Protocol, and a page to drop pictures on; Ctrl-C ends it. For production: \
             ftsurgery package {} --format triton (or kserve)",
            args.model.display()
        ));
            Ok(())
        },
    )
}
