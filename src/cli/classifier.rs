//! What `evaluate` and `predict` share: a classifier, with how it wants its images.

use std::path::Path;

use clap::Args;
use ftsurgery::classifier::{Inference, ModelCard, ModelInput};
use ftsurgery::graph::Graph;
use ftsurgery::onnx::Model;
use ftsurgery::runtime::Runtime;

use super::values::{DeviceArgs, ImageArgs};
use super::{CliError, Context};

/// How to run a classifier.
#[derive(Args)]
pub struct ClassifierArgs {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    images: ImageArgs,
}

impl ClassifierArgs {
    /// Number of threads; 0 for one per core.
    pub fn threads(&self) -> usize {
        self.device.threads()
    }
}

/// A classifier with its metadata.
pub struct Classifier {
    model: Model,
    graph: Graph,
    /// Its metadata.
    pub card: ModelCard,
    /// Size and preprocessing of its images: as asked for, else as its metadata says.
    pub input: ModelInput,
}

impl Classifier {
    /// Opens the model at `path`.
    pub fn open(path: &Path, args: &ClassifierArgs) -> Result<Self, CliError> {
        let model = Model::open(path)?;
        let card = ModelCard::read(&model)?;
        let preprocess = args.images.preprocess()?;
        let graph = Graph::from_model(&model)?;
        let size = args.images.image_size;
        let resize = args.images.resize;
        let input = ModelInput::of(&graph, &card, size, preprocess.as_ref(), resize)?;
        Ok(Classifier {
            model,
            graph,
            card,
            input,
        })
    }

    /// Tells what is run, and how `images` (or arrays) become its input; `on`: on what.
    pub fn tell(&self, images: bool, on: &str, context: &Context) {
        let (path, input) = (self.model.path().display(), self.input.described(images));
        let classes = match &self.card.classes {
            Some(names) => format!("{} classes", names.len()),
            None => "classes without names".to_owned(),
        };
        context.note(&format!("{path}: {input}, {classes}; {on}"));
        for warning in self.input.warnings(&self.model, &self.graph, images) {
            context.note(&format!("warning: {warning}"));
        }
    }

    /// Loads it into onnxruntime.
    pub fn load(&self, runtime: &Runtime, args: &ClassifierArgs) -> Result<Inference, CliError> {
        let (device, threads) = (args.device.device(), args.threads());
        Ok(Inference::new(runtime, &self.model, device, threads)?)
    }
}
