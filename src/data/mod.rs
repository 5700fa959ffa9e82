//! Image folders and arrays, splits, batches and the feature cache.
//!
//! [`Dataset::open`] reads a folder of images (one sub-folder per class), a list of them or an `.npz` file,
//! [`Dataset::of_arrays`] takes what is in memory,
//! [`Split`] shares it out, [`batches`] cuts it into batches, [`Augment`] changes its images, and
//! [`FeatureStore`] keeps values computed from it. Nothing here knows of graphs or of onnxruntime.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use ftsurgery::data::{Dataset, OpenOptions, Split, SplitOptions};
//!
//! // A sub-folder for each class, for a network of 224 × 224 pixels in colour.
//! let photos = Dataset::open(Path::new("photos"), &OpenOptions::new(224, 224, 3))?;
//! for skipped in photos.skipped() {
//!     println!("{}: {}", skipped.path, skipped.reason);
//! }
//! let split = Split::of(&photos, &SplitOptions::default())?;
//! for &sample in &split.held_out {
//!     let class = photos.labels()[sample] as usize;
//!     println!("{} is of {}", photos.name(sample), photos.classes()[class]);
//! }
//! # Ok::<(), ftsurgery::data::DataError>(())
//! ```
//!
//! How a model wants its images [`ModelInput`](crate::classifier::ModelInput) finds out, whose
//! [`open`](crate::classifier::ModelInput::open) gives the data set that fits it.

mod arrays;
mod augment;
mod batches;
mod budget;
mod copies;
mod dataset;
mod error;
mod features;
mod folder;
mod form;
mod groups;
mod image;
mod limits;
mod list;
mod looks;
mod memory;
mod names;
mod npz;
mod parts;
mod pixels;
mod precision;
mod preprocess;
mod resize;
mod seen;
mod sets;
mod sources;
mod space;
mod split;
mod split_file;
mod text;

pub use crate::layout::Layout;
pub use arrays::{ArrayLabels, ArrayValues};
pub use augment::Augment;
pub(crate) use augment::{Augmenter, View};
pub use batches::batches;
pub(crate) use batches::{balanced_order, epoch_order};
pub use budget::MemoryBudget;
pub(crate) use dataset::are_images;
pub use dataset::{Dataset, OpenOptions, Skipped};
pub use error::DataError;
pub use features::FeatureStore;
pub use image::{
    ImageFile, MAX_DECODED_BYTES, MAX_DECODING_BYTES, MAX_FILE_BYTES, MAX_SIDE, image_dimensions,
    load_image, load_image_and_note,
};
pub use limits::{Limits, few, show_bytes};
pub use list::Columns;
pub use memory::{default_memory_budget, memory_limit};
pub use names::{ClassNames, composed, read_classes};
pub(crate) use npz::MAX_INFLATION;
pub use npz::npz_sample_shape;
pub use parts::{Given, Part};
pub use pixels::ImageCache;
pub use precision::FeaturePrecision;
pub use preprocess::{ChannelOrder, Preprocess};
pub use resize::{GREY, Resize, ResizeFilter, ResizeMode};
pub use seen::{Digest, Overlap, Seen};
pub use sets::LabelSets;
pub use sources::Sources;
pub use split::{Fold, Split, SplitOptions};
pub use split_file::SplitFile;
