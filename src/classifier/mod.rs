//! A classifier as it stands in its file: what it says of itself, how it is fed and what it gives.
//!
//! [`ModelCard`] is what its metadata name, [`ModelInput`] how images become its input,
//! [`Inference`] runs it, and a [`Judge`] makes [`Predictions`] of what it gives.

mod card;
mod error;
pub(crate) mod figure;
mod guess;
mod image_size;
mod inference;
mod input;
mod judge;
mod predictions;
mod untried;

pub use card::ModelCard;
pub use error::ClassifierError;
pub use image_size::{at_image_size, parse_image_size};
pub use inference::{Fill, Inference, Outputs, Rows};
pub use input::{DEFAULT_PREPROCESS, InputSpec, ModelInput, Origin, image_folder};
pub use judge::Judge;
pub use predictions::{ClassScore, Prediction, Predictions, Score, log_softmax, softmax};
pub(crate) use untried::{may_be_optimized, room};
