//! The image input of a model, with everything that is needed to open data for it.

use std::path::Path;

use crate::analysis::{self, image_input};
use crate::data::{Dataset, Layout, OpenOptions, Preprocess};
use crate::graph::{Dim, Graph};
use crate::training::InputSpec;

use super::{ModelCard, SearchError};

/// How pixels become the input of a model that does not say so itself.
pub const DEFAULT_PREPROCESS: Preprocess = Preprocess::IMAGENET;

/// The image input of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInput {
    /// 3 for colour, 1 for grey; arrays may have others.
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Preprocessing and axis order.
    pub spec: InputSpec,
}

impl ModelInput {
    /// The input of `graph`: sizes as it declares them, else as asked for, else as in its
    /// metadata; preprocessing as asked for, else as in its metadata, else
    /// [`DEFAULT_PREPROCESS`].
    ///
    /// # Errors
    /// When the model has no image input, its size is open and not given, or another size is asked
    /// for than the model is made for.
    pub fn of(
        graph: &Graph,
        card: &ModelCard,
        image_size: Option<(usize, usize)>,
        preprocess: Option<&Preprocess>,
    ) -> Result<Self, SearchError> {
        let input = image_input(graph).ok_or_else(|| {
            SearchError::Setting("the model has no image input (of four dimensions)".to_owned())
        })?;
        let (c, h, w, layout) = match input.layout {
            analysis::Layout::Nchw => (1, 2, 3, Layout::Nchw),
            analysis::Layout::Nhwc => (3, 1, 2, Layout::Nhwc),
        };
        let known = |axis: usize| match input.dims.get(axis) {
            Some(Dim::Known(n)) if *n > 0 => Some(*n),
            _ => None,
        };
        let side =
            |axis: usize, asked: Option<usize>, noted: Option<usize>| match (known(axis), asked) {
                (Some(own), Some(asked)) if own != asked => Err(SearchError::Setting(format!(
                    "input `{}` of the model is fixed to {} × {} pixels; the image size asked for \
                     does not fit",
                    input.name,
                    known(h).map_or("any".to_owned(), |n| n.to_string()),
                    known(w).map_or("any".to_owned(), |n| n.to_string()),
                ))),
                (own, asked) => own.or(asked).or(noted).ok_or_else(|| {
                    SearchError::Setting(format!(
                        "input `{}` of the model leaves the image size open; give it with \
                         --image-size",
                        input.name
                    ))
                }),
            };
        Ok(ModelInput {
            channels: known(c).unwrap_or(3),
            height: side(h, image_size.map(|s| s.0), card.image_size.map(|s| s.0))?,
            width: side(w, image_size.map(|s| s.1), card.image_size.map(|s| s.1))?,
            spec: InputSpec {
                preprocess: preprocess
                    .or(card.preprocess.as_ref())
                    .unwrap_or(&DEFAULT_PREPROCESS)
                    .clone(),
                layout,
            },
        })
    }

    /// Opens a data set for this input; see [`Dataset::open`].
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(
        &self,
        data: &Path,
        progress: Option<&(dyn Fn(usize, usize) + Sync)>,
    ) -> Result<Dataset, SearchError> {
        Ok(Dataset::open(
            data,
            &OpenOptions {
                height: self.height,
                width: self.width,
                channels: self.channels,
                progress,
            },
        )?)
    }
}
