//! A classifier as it stands in its file: what it says of itself, how it is fed and what it gives.
//!
//! [`ModelCard`] is what its metadata name, [`ModelInput`] how images become its input,
//! [`Inference`] runs it, and a [`Judge`] makes [`Predictions`] of what it gives.

mod beside;
mod card;
mod company;
mod error;
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
mod predictions;
mod restated;
mod several;
mod temperature;
mod told;
mod untried;
mod witness;

pub use beside::Beside;
pub use card::{ModelCard, TASK, THRESHOLDS};
pub use error::ClassifierError;
pub use image_size::{at_image_size, parse_image_size};
pub use inference::{Fill, Inference, Outputs, Rows};
pub use input::{DEFAULT_PREPROCESS, InputSpec, ModelInput, Origin, image_folder};
pub use judge::Judge;
pub(crate) use names::names_elsewhere;
pub use names::{by_place, listed};
pub use predictions::{ClassScore, Prediction, Predictions, Score, log_softmax, softmax};
pub(crate) use restated::{resized, restated};
pub use several::{Several, sigmoid};
pub(crate) use told::{other_outputs, quoted};
pub(crate) use untried::{may_be_optimized, room};
pub use witness::{Pictures, Weighed, Witness, WritePictures};
