//! A classifier as it stands in its file: what it says of itself, how it is fed and what it gives.
//!
//! [`ModelCard`] is what its metadata name, [`ModelInput`] how images become its input,
//! [`Inference`] runs it, and a [`Judge`] makes [`Predictions`] of what it gives.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use ftsurgery::classifier::{Inference, Judge, ModelCard, ModelInput};
//! use ftsurgery::data::{Augment, Limits, Sources};
//! use ftsurgery::graph::Graph;
//! use ftsurgery::onnx::Model;
//! use ftsurgery::runtime::{Device, Runtime, locate};
//!
//! let threads = 4;
//! let runtime = Runtime::load(&locate::locate(None)?.located)?;
//! let model = Model::open(Path::new("full.onnx"))?;
//! let card = ModelCard::read(&model)?;
//! let graph = Graph::from_model(&model)?;
//! let mut input = ModelInput::of(&graph, &card, None, None, None)?;
//!
//! // The classes of the data in the order of the model's outputs, where it names them.
//! let (data, limits) = ((Path::new("photos"), &Sources::default()), Limits::default());
//! let names = card.classes.as_deref();
//! let photos = input.open(data, names, &limits, Augment::None.into(), None)?;
//! // A tuned model says how its input is made of pixels; of another, some of the photos tell.
//! input.find_preprocess_on(&runtime, (&model, &graph), threads, &photos)?;
//!
//! let mut inference = Inference::new(&runtime, &model, Device::Cpu, threads)?.of_task(card.task);
//! let all: Vec<usize> = (0..photos.len()).collect();
//! let outputs = inference.run_dataset(&photos, &all, &input.spec)?;
//! let mut judge = Judge::new(outputs.scores).half(inference.is_half());
//! judge.take(&outputs.values, outputs.classes, photos.labels());
//! let score = judge.end().score();
//! println!("{:.1} % of {} are right", 100.0 * score.accuracy, score.count);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod agreement;
mod beside;
mod card;
mod company;
mod error;
mod feature_map;
mod feed;
pub(crate) mod figure;
mod find;
mod given;
mod guess;
mod headless;
mod image_size;
mod inference;
mod input;
mod judge;
mod names;
mod picture;
mod predictions;
mod ranked;
mod restated;
mod several;
mod temperature;
mod told;
mod untried;
mod witness;

pub(crate) use agreement::{Squares, outputs_agree, relative_error};
pub use beside::Beside;
pub use card::{CLASSES, ModelCard, TASK, THRESHOLDS};
pub use error::ClassifierError;
pub use feature_map::feature_map;
pub use image_size::{at_image_size, parse_image_size};
pub use inference::{Fill, Inference, Outputs, Rows};
pub use input::{DEFAULT_PREPROCESS, InputSpec, ModelInput, Origin, image_folder};
pub use judge::Judge;
pub(crate) use names::names_elsewhere;
pub use names::{by_place, listed};
pub use picture::Picture;
pub(crate) use predictions::argmax;
pub use predictions::{ClassScore, Prediction, Predictions, Score, log_softmax, softmax};
pub use ranked::Ranked;
pub(crate) use restated::{names_literal, resized, restated};
pub use several::{Several, sigmoid};
pub(crate) use told::{other_outputs, quoted};
pub(crate) use untried::{harm, limit as time_limit, may_be_optimized, room};
pub use witness::{Pictures, Weighed, Witness, WritePictures};
