//! What `evaluate` and `predict` share: a classifier, with how it wants its images.

use std::path::{Path, PathBuf};

use crate::classifier::{Inference, ModelCard, ModelInput, Origin, Pictures};
use crate::data::{Dataset, read_classes};
use crate::graph::{Dim, Graph};
use crate::onnx::Model;
use crate::runtime::Runtime;
use clap::Args;

use super::values::{DeviceArgs, ImageArgs, OutputArg};
use super::{CliError, Context};

/// How to run a classifier.
#[derive(Args)]
pub struct ClassifierArgs {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    output: OutputArg,
    #[command(flatten)]
    images: ImageArgs,
    /// The names of the model's classes in the order of its outputs: a file with one a line, or a JSON list [default:
    /// as the model's metadata say]
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
}

impl ClassifierArgs {
    /// Number of threads; 0 for one per core.
    pub fn threads(&self) -> usize {
        self.device.threads()
    }
}

/// A classifier with its metadata.
pub struct Classifier {
    /// As its file has it.
    pub model: Model,
    /// Of it.
    pub graph: Graph,
    /// Its metadata.
    pub card: ModelCard,
    /// Size and preprocessing of its images: as asked for, else as its metadata says.
    pub input: ModelInput,
}

impl Classifier {
    /// Opens the model at `path`.
    pub fn open(path: &Path, args: &ClassifierArgs) -> Result<Self, CliError> {
        let mut classifier = Self::of(path, &args.output, &args.images)?;
        if let Some(path) = &args.classes {
            classifier.card.classes = Some(read_classes(path)?);
            classifier.card.beside.classes = None;
        }
        Ok(classifier)
    }

    /// Opens the model at `path`, with the classes that it says it has.
    pub fn of(path: &Path, output: &OutputArg, images: &ImageArgs) -> Result<Self, CliError> {
        let model = Model::open(path)?.with_scores(output.output.as_deref());
        let card = ModelCard::read(&model)?;
        let preprocess = images.preprocess()?;
        let graph = Graph::from_model(&model)?;
        let size = images.image_size;
        let resize = images.resize();
        let input = ModelInput::of(&graph, &card, size, preprocess.as_ref(), resize)?;
        Ok(Classifier {
            model,
            graph,
            card,
            input,
        })
    }

    /// The one batch size that it is made for, if it is.
    pub fn fixed_batch(&self) -> Option<usize> {
        let mut inputs = self.graph.inputs.iter();
        let input = inputs.find(|input| input.name == self.input.name)?;
        match input.dims.as_ref()?.first()? {
            Dim::Known(batch) => Some(*batch),
            Dim::Symbolic(_) => None,
        }
    }

    /// Finds out how it wants the pixels of a data set, where nobody says it.
    pub fn look_at(
        &mut self,
        dataset: &Dataset,
        runtime: &Runtime,
        threads: usize,
    ) -> Result<(), CliError> {
        let model = (&self.model, &self.graph);
        let input = &mut self.input;
        Ok(input.find_preprocess_on(runtime, model, threads, dataset)?)
    }

    /// As [`Classifier::look_at`], with pictures.
    pub fn look_at_pictures(
        &mut self,
        pictures: &mut Pictures<'_>,
        runtime: &Runtime,
        args: &ClassifierArgs,
    ) -> Result<(), CliError> {
        let model = (&self.model, &self.graph);
        let input = &mut self.input;
        Ok(input.find_preprocess(runtime, model, args.threads(), pictures)?)
    }

    /// Finds out by nobody's pictures how it wants its pixels, and refuses a model of which nothing says it; `why`: what for.
    pub fn ensure_told(
        &mut self,
        runtime: &Runtime,
        args: &ClassifierArgs,
        why: &str,
    ) -> Result<(), CliError> {
        let mut none = Pictures {
            count: 0,
            write: &mut |_, _, _| Ok(()),
        };
        self.look_at_pictures(&mut none, runtime, args)?;
        match self.input.origin {
            Origin::Guess => {
                let text = format!("nothing says how the model wants its pixels{why}");
                Err(CliError::usage(text).with_hint("say it with --preprocess"))
            }
            _ => Ok(()),
        }
    }

    /// Tells what is run, and how `images` (or arrays) become its input; `on`: on what.
    pub fn tell(&self, images: bool, on: &str, context: &Context) {
        let (path, input) = (self.model.path().display(), self.input.described(images));
        let beside = &self.card.beside;
        let classes = match (&self.card.classes, &beside.classes) {
            (Some(names), Some(_)) => {
                format!(
                    "{} classes, named by {}",
                    names.len(),
                    beside.classes_of.display()
                )
            }
            (Some(names), None) => format!("{} classes", names.len()),
            (None, _) => "classes without names".to_owned(),
        };
        context.note(&format!("{path}: {input}, {classes}; {on}"));
        if let Some(found) = self.input.found() {
            context.note(&found);
        }
        for warning in self.input.warnings(&self.model, &self.graph, images) {
            context.note(&format!("warning: {warning}"));
        }
    }

    /// Loads it into onnxruntime.
    pub fn load(&self, runtime: &Runtime, args: &ClassifierArgs) -> Result<Inference, CliError> {
        let (device, threads) = (args.device.device(), args.threads());
        let inference = Inference::new(runtime, &self.model, device, threads)?;
        Ok(inference.of_task(self.card.task))
    }
}
