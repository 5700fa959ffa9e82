//! Some images of a data set by other rules, to find out which rule is the better one.

use std::path::PathBuf;

use rayon::prelude::*;

use super::augment::mirror;
use super::dataset::Samples;
use super::form::Form;
use super::image::{image_dimensions, load_image};
use super::pixels::Pixels;
use super::{DataError, Dataset, LabelSets, Resize};

impl Dataset {
    /// The file of sample `index`; `None` for a row of an array.
    pub fn file(&self, index: usize) -> Option<PathBuf> {
        let name = self.names.get(index)?;
        // A prefix that another begins with stands before it.
        let mut inside = self.roots.iter().rev().filter_map(|(prefix, root)| {
            let rest = name.strip_prefix(prefix.as_str())?;
            Some(root.join(rest))
        });
        inside.next()
    }

    /// Some of these images, of files, as they come to the input's size by `resize`, in memory and without whole
    /// photos. What is said of them besides their labels is left out.
    ///
    /// # Errors
    /// When they are of arrays, or a file is no longer what it was.
    pub fn resized(&self, samples: &[usize], resize: Resize) -> Result<Self, DataError> {
        self.some(samples, resize, |form, index, out| {
            if self.copy(index, form, out)? {
                return Ok(());
            }
            let file = self.file(index).ok_or_else(|| self.no_files())?;
            let size = form.size;
            let pixels = load_image(&file, size.height, size.width, size.channels, resize)?;
            out.copy_from_slice(&pixels);
            Ok(())
        })
    }

    /// Some of these images, mirrored left to right; as [`Dataset::resized`].
    ///
    /// # Errors
    /// When they are of arrays of floats.
    pub fn mirrored(&self, samples: &[usize]) -> Result<Self, DataError> {
        let Samples::Images { form, .. } = &self.samples else {
            return Err(self.no_files());
        };
        self.some(samples, form.resize, |form, index, out| {
            self.copy(index, form, out)?;
            mirror(out, form.size.channels, form.size.width);
            Ok(())
        })
    }

    /// The image as it is here, if that is by the rule of `wanted`.
    fn copy(&self, index: usize, wanted: &Form, out: &mut [u8]) -> Result<bool, DataError> {
        match &self.samples {
            Samples::Images { form, pixels } if form.resize == wanted.resize => {
                pixels.with(index, form.bytes(), |image| {
                    out.copy_from_slice(form.parts(image).0);
                    Ok(true)
                })
            }
            _ => Ok(false),
        }
    }

    /// Whether all of some images, of files, have the shape of the input, so that squashing distorts none.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn have_input_shape(&self, samples: &[usize]) -> Result<bool, DataError> {
        let [_, height, width] = self.shape.map(|side| side as f64);
        let has = |&index: &usize| {
            let Some(file) = self.file(index) else {
                return Ok(true);
            };
            let (own_width, own_height) = image_dimensions(&file)?;
            // By how much its sides, in the input's pixels, are apart.
            let [x, y] = [f64::from(own_width) / width, f64::from(own_height) / height];
            Ok((x / y - 1.0).abs() * width.max(height) < 1.0)
        };
        let all = self
            .workers
            .install(|| samples.par_iter().map(has).collect::<Result<Vec<_>, _>>());
        Ok(all?.into_iter().all(|has| has))
    }

    fn some(
        &self,
        samples: &[usize],
        resize: Resize,
        write: impl Fn(&Form, usize, &mut [u8]) -> Result<(), DataError> + Sync,
    ) -> Result<Self, DataError> {
        let Samples::Images { form, .. } = &self.samples else {
            return Err(self.no_files());
        };
        let form = Form {
            resize,
            with_photo: false,
            ..*form
        };
        let each = form.bytes();
        let mut pixels = vec![0; samples.len() * each];
        self.workers.install(|| {
            let places = pixels.par_chunks_exact_mut(each).zip(samples);
            places.try_for_each(|(out, &index)| write(&form, index, out))
        })?;
        let alone: Vec<usize> = (0..samples.len()).collect();
        let label = |&index: &usize| self.labels[index];
        Ok(Dataset {
            classes: self.classes.clone(),
            labels: samples.iter().map(label).collect(),
            sets: self.sets.as_ref().map(|sets| {
                let of = |&index: &usize| -> Vec<usize> {
                    sets.get(index).iter().map(|&c| c as usize).collect()
                };
                LabelSets::of(samples.iter().map(of))
            }),
            names: samples.iter().map(|&index| self.name(index)).collect(),
            digests: Vec::new(),
            copies: alone.clone(),
            groups: alone,
            group_names: Vec::new(),
            given: None,
            roots: self.roots.clone(),
            skipped: Vec::new(),
            told: Vec::new(),
            notes: Vec::new(),
            fingerprint: String::new(),
            shape: self.shape,
            samples: Samples::Images {
                form,
                pixels: Pixels::Memory(pixels),
            },
            workers: self.workers.clone(),
        })
    }

    fn no_files(&self) -> DataError {
        DataError::option("resize", "auto", "the data are arrays, not images of files")
    }
}

#[cfg(test)]
mod tests;
