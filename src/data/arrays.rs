//! Samples that are in memory.

use std::collections::BTreeMap;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::hex;

use super::dataset::{Dataset, Samples, Workers};
use super::form::Form;
use super::image::Size;
use super::pixels::Pixels;
use super::resize::Resize;
use super::{DataError, LabelSets, copies, seen};

/// The values of samples, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub enum ArrayValues {
    /// Channels × height × width each, used as they are.
    Floats(Vec<f32>),
    /// Height × width × channels each, pixels of images of 1 (grey), 3 (colour) or 4 channels, which are scaled as those of
    /// files.
    Pixels(Vec<u8>),
}

/// What samples in memory are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArrayLabels {
    /// One class each.
    One(Vec<usize>),
    /// Several classes each, or none.
    Several(LabelSets),
}

impl Dataset {
    /// A data set of samples in memory, of `shape` (channels, height, width) each, and of `classes`, which `labels` number
    /// from 0. Samples are named `x[0]`, `x[1]`, ….
    ///
    /// ```
    /// use ftsurgery::data::{ArrayLabels, ArrayValues, Dataset, Layout, Preprocess};
    ///
    /// // Three grey images of 2 × 2 pixels.
    /// let pixels = ArrayValues::Pixels(vec![0, 9, 8, 7, 255, 240, 250, 251, 3, 1, 0, 2]);
    /// let classes = ["dark", "bright"].map(str::to_owned).into();
    /// let labels = ArrayLabels::One(vec![0, 1, 0]);
    /// let images = Dataset::of_arrays(pixels, [1, 2, 2], classes, labels)?;
    ///
    /// let mut batch = [0.0; 2 * 4];
    /// images.write_batch(&[1, 0], &Preprocess::UNIT, Layout::Nchw, &mut batch)?;
    /// assert!((batch[0] - 1.0).abs() < 1e-6 && batch[4] == 0.0);
    /// # Ok::<(), ftsurgery::data::DataError>(())
    /// ```
    ///
    /// # Errors
    /// When there are not as many labels as samples, or none, a label is beyond the classes, or a value is not finite.
    pub fn of_arrays(
        values: ArrayValues,
        shape: [usize; 3],
        classes: Vec<String>,
        labels: ArrayLabels,
    ) -> Result<Self, DataError> {
        let length = shape
            .iter()
            .try_fold(1usize, |n, &side| n.checked_mul(side));
        let length = length.filter(|&length| length > 0).ok_or_else(|| {
            DataError::option(
                "shape",
                format!("{shape:?}"),
                "no sample has as many values",
            )
        })?;
        let held = match &values {
            ArrayValues::Floats(values) => values.len(),
            ArrayValues::Pixels(pixels) => pixels.len(),
        };
        let rows = match &labels {
            ArrayLabels::One(labels) => labels.len(),
            ArrayLabels::Several(sets) => sets.len(),
        };
        if rows == 0 || held / length != rows || held % length != 0 {
            let reason = format!("{rows} samples with a label have {length} values each");
            return Err(DataError::option("values", held, reason));
        }
        let known = |class: usize| class < classes.len();
        let largest = match &labels {
            ArrayLabels::One(labels) => labels.iter().copied().find(|&class| !known(class)),
            ArrayLabels::Several(sets) => (0..rows)
                .flat_map(|row| sets.get(row))
                .map(|&class| class as usize)
                .find(|&class| !known(class)),
        };
        if let Some(class) = largest {
            let reason = format!("there are {} classes, counted from 0", classes.len());
            return Err(DataError::option("labels", class, reason));
        }
        if let ArrayValues::Floats(values) = &values
            && let Some(at) = values.iter().position(|value| !value.is_finite())
        {
            let reason = format!("x[{}] holds it, and values are finite", at / length);
            return Err(DataError::option("values", values[at], reason));
        }
        let (labels, sets) = match labels {
            ArrayLabels::One(labels) => {
                let labels = labels.into_iter().map(|class| class as i64);
                (labels.collect(), None)
            }
            ArrayLabels::Several(sets) => (sets.rarest(classes.len()), Some(sets)),
        };
        Held {
            values,
            labels,
            sets,
            classes,
            told: None,
        }
        .into_dataset(shape, Resize::SQUASH, Workers::new(0)?)
    }
}

/// What a data set in memory is made of. All of it fits together.
pub(super) struct Held {
    pub values: ArrayValues,
    pub labels: Vec<i64>,
    pub sets: Option<LabelSets>,
    pub classes: Vec<String>,
    /// How they were read, for people.
    pub told: Option<String>,
}

impl Held {
    /// The data set; `resize` is how images of another size would have come to that of these.
    ///
    /// # Errors
    /// When pixels are of a number of channels that no image has.
    pub fn into_dataset(
        self,
        shape: [usize; 3],
        resize: Resize,
        workers: Workers,
    ) -> Result<Dataset, DataError> {
        let Held {
            values,
            labels,
            sets,
            classes,
            told,
        } = self;
        let rows = labels.len();
        let mut digest = Sha256::new();
        for side in shape {
            digest.update((side as u64).to_le_bytes());
        }
        match &sets {
            None => labels
                .iter()
                .for_each(|label| digest.update(label.to_le_bytes())),
            Some(sets) => (0..rows).for_each(|row| {
                let own = sets.get(row);
                digest.update((own.len() as u64).to_le_bytes());
                own.iter()
                    .for_each(|class| digest.update(class.to_le_bytes()));
            }),
        }
        let row = shape.iter().product();
        let digests: Vec<[u8; 32]> = match &values {
            ArrayValues::Floats(values) => {
                values
                    .iter()
                    .for_each(|value| digest.update(value.to_le_bytes()));
                workers.install(|| values.par_chunks_exact(row).map(row_digest).collect())
            }
            ArrayValues::Pixels(pixels) => {
                digest.update(pixels);
                let rows = pixels.par_chunks_exact(row);
                workers.install(|| rows.map(|row| Sha256::digest(row).into()).collect())
            }
        };
        let copies = copies::groups(&digests);
        let differ = |a: usize, b: usize| match &sets {
            None => labels[a] != labels[b],
            Some(sets) => sets.get(a) != sets.get(b),
        };
        let notes = copies::note(&copies, differ, |i| format!("x[{i}]"));
        let [channels, height, width] = shape;
        Ok(Dataset {
            classes,
            labels,
            sets,
            names: Vec::new(),
            digests: digests.iter().map(seen::shortened).collect(),
            groups: copies.clone(),
            copies,
            group_names: Vec::new(),
            given: None,
            roots: BTreeMap::new(),
            skipped: Vec::new(),
            told: told.into_iter().collect(),
            notes: notes.into_iter().collect(),
            fingerprint: hex::encode(digest.finalize()),
            shape,
            samples: match values {
                ArrayValues::Floats(values) => Samples::Arrays(values),
                ArrayValues::Pixels(pixels) => Samples::Images {
                    form: Form {
                        size: Size::new(height, width, channels)?,
                        resize,
                        with_photo: false,
                    },
                    pixels: Pixels::Memory(pixels),
                },
            },
            workers,
        })
    }
}

fn row_digest(row: &[f32]) -> [u8; 32] {
    let mut digest = Sha256::new();
    let mut bytes = [0; 4096];
    for values in row.chunks(bytes.len() / 4) {
        let bytes = &mut bytes[..4 * values.len()];
        for (bytes, value) in bytes.chunks_exact_mut(4).zip(values) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        digest.update(bytes);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Layout, Preprocess};

    fn names() -> Vec<String> {
        ["cat", "dog"].map(str::to_owned).into()
    }

    #[test]
    fn arrays_in_memory_are_the_samples_that_they_hold() {
        let values: Vec<f32> = (0..24).map(|v| v as f32).collect();
        let floats = Dataset::of_arrays(
            ArrayValues::Floats(values.clone()),
            [2, 2, 2],
            names(),
            ArrayLabels::One(vec![1, 0, 1]),
        )
        .unwrap();
        assert_eq!((floats.len(), floats.labels()), (3, &[1, 0, 1][..]));
        assert_eq!(floats.classes(), ["cat", "dog"]);
        assert!(!floats.is_images());
        let mut batch = [0.0; 16];
        floats
            .write_batch(&[2, 0], &Preprocess::RAW, Layout::Nchw, &mut batch)
            .unwrap();
        assert_eq!(batch[..8], values[16..]);
        assert_eq!(batch[8..], values[..8]);

        let pixels: Vec<u8> = (0..24).collect();
        let sets = LabelSets::of([vec![0, 1], vec![]]);
        let images = Dataset::of_arrays(
            ArrayValues::Pixels(pixels),
            [3, 2, 2],
            names(),
            ArrayLabels::Several(sets),
        )
        .unwrap();
        assert!(images.is_images());
        assert_eq!(images.sets().unwrap().get(0), [0, 1]);
        let mut batch = [0.0; 12];
        images
            .write_batch(&[1], &Preprocess::RAW, Layout::Nchw, &mut batch)
            .unwrap();
        assert_eq!(batch[..4], [12.0, 15.0, 18.0, 21.0], "the first colour");
    }

    #[test]
    fn arrays_that_do_not_fit_together_are_refused_by_what_does_not() {
        let made = |values: Vec<f32>, shape, labels: Vec<usize>| {
            let values = ArrayValues::Floats(values);
            let made = Dataset::of_arrays(values, shape, names(), ArrayLabels::One(labels));
            let error = made.unwrap_err();
            assert!(error.is_bad_input());
            error.to_string()
        };
        for (values, shape, labels, told) in [
            (vec![0.0; 7], [1, 2, 2], vec![0, 1], "values = 7"),
            (vec![0.0; 8], [1, 2, 2], vec![0], "values = 8"),
            (vec![], [1, 2, 2], vec![], "values = 0"),
            (vec![0.0; 8], [0, 2, 2], vec![0, 1], "shape = [0, 2, 2]"),
            (vec![0.0; 8], [1, 2, 2], vec![0, 2], "labels = 2"),
            (vec![f32::NAN; 8], [1, 2, 2], vec![0, 1], "values = NaN"),
        ] {
            let text = made(values, shape, labels);
            assert!(text.contains(told), "{told}: {text}");
        }
        let odd = Dataset::of_arrays(
            ArrayValues::Pixels(vec![0; 8]),
            [2, 2, 2],
            names(),
            ArrayLabels::One(vec![0]),
        );
        assert!(odd.unwrap_err().to_string().contains("channels = 2"));
    }
}
