//! What `evaluate` and `predict` share: a classifier, with how it wants its images.

use std::path::Path;

use clap::Args;
use ftsurgery::graph::Graph;
use ftsurgery::onnx::Model;
use ftsurgery::runtime::Runtime;
use ftsurgery::search::{ModelCard, ModelInput};
use ftsurgery::training::Inference;

use super::CliError;
use super::values::{DeviceArgs, ImageArgs};

/// How to run a classifier.
#[derive(Args)]
pub struct ClassifierArgs {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    images: ImageArgs,
}

/// A classifier with its metadata.
pub struct Classifier {
    model: Model,
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
        let input = ModelInput::of(&graph, &card, size, preprocess.as_ref())?;
        Ok(Classifier { model, card, input })
    }

    /// Loads it into onnxruntime.
    pub fn load(&self, runtime: &Runtime, args: &ClassifierArgs) -> Result<Inference, CliError> {
        let (device, threads) = (args.device.device, args.device.threads());
        Ok(Inference::new(runtime, &self.model, device, threads)?)
    }
}
