//! Cutting the backbone, grafting a head, writing tuned weights back.
//!
//! [`graft()`] and [`export()`] work on the model as it stands in its file, because what is emitted is
//! that model with a new head and new weights, everything else as it was. [`extract`],
//! [`fold_batch_norm`] and [`logits`] work on the indexed [`Graph`](crate::graph::Graph), of which
//! the graphs for training are made.

mod batch_norm;
mod cut;
mod dequantise;
mod difference;
mod dropout;
pub mod edit;
mod error;
mod export;
mod fold;
mod graft;
mod head;
mod inference_mode;
mod keep;
mod logits;
pub mod rewrite;
mod verify;

#[cfg(test)]
mod export_tests;
#[cfg(test)]
mod graft_tests;
#[cfg(test)]
mod testing;

pub(crate) use batch_norm::{
    BatchNorm, lower_batch_norm, trained_batch_norms, use_batch_statistics,
};
pub use cut::extract;
pub use dequantise::{Dequantised, Latent, Rounding, dequantised, rounding};
pub use difference::{Difference, Part, What};
pub(crate) use dropout::own_dropout;
pub(crate) use edit::node_key;
pub use edit::{Edited, Editor, Manifest, Place, taken_in};
pub(crate) use edit::{Told, held, reads, rename_values, serving};
pub use error::SurgeryError;
pub use export::{METADATA_PREFIX, as_stored, export};
pub use fold::fold_batch_norm;
pub(crate) use graft::takes_new_head;
pub use graft::{Dropout, Features, Grafted, graft};
pub use head::{HEAD_OUTPUT, HEAD_PREFIX, HeadKind, HeadSpec, LOGITS_OUTPUT};
pub use inference_mode::in_inference_mode;
pub use logits::{Ending, Scores, ending, logits, logits_of};
pub use rewrite::{Rewrite, Rewritten};
pub(crate) use verify::Named;
pub use verify::{differences, holds, holds_but_for_places};
