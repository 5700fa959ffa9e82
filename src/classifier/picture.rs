//! A picture as the input of a model.

use std::path::Path;

use crate::data::{DataError, ImageFile, Resize};

use super::{InputSpec, ModelInput};

/// A picture that was decoded for a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture<'i> {
    /// The dimensions of the sample that it becomes.
    pub sample: Vec<usize>,
    /// What is remarkable of its file.
    pub note: Option<&'static str>,
    pixels: Vec<u8>,
    channels: usize,
    spec: &'i InputSpec,
}

impl ModelInput {
    /// The picture of a file, at the size that the model takes: its own, where the model
    /// [takes it as it is](ModelInput::takes_pictures).
    ///
    /// # Errors
    /// As [`load_image`](crate::data::load_image).
    pub fn picture(&self, path: &Path) -> Result<Picture<'_>, DataError> {
        self.picture_of(&ImageFile::read(path)?)
    }

    /// As [`ModelInput::picture`], of the bytes of a file.
    ///
    /// # Errors
    /// As there.
    pub fn picture_of<B: AsRef<[u8]>>(
        &self,
        file: &ImageFile<'_, B>,
    ) -> Result<Picture<'_>, DataError> {
        let (size, resize) = match self.takes_pictures {
            true => {
                let (width, height) = file.dimensions()?;
                ([height as usize, width as usize], Resize::SQUASH)
            }
            false => ([self.height, self.width], self.spec.preprocess.resize),
        };
        let [height, width] = size;
        let (pixels, note) = file.load([height, width, self.channels], resize)?;
        Ok(Picture {
            sample: self.spec.sample_dims([self.channels, height, width]),
            note,
            pixels,
            channels: self.channels,
            spec: &self.spec,
        })
    }
}

impl Picture<'_> {
    /// Writes it as the sample.
    ///
    /// # Errors
    /// When `out` holds another number of values.
    pub fn write(&self, out: &mut [f32]) -> Result<(), DataError> {
        let InputSpec { preprocess, layout } = self.spec;
        preprocess.write(&self.pixels, self.channels, *layout, out)
    }
}
