//! What is done to features and classes before a head is solved, and undone behind it: columns are standardised,
//! and classes without a sample left out.

use super::{Samples, SolveError};

/// A column that varies by less than this share of its largest value, or of the deviation of the column that
/// varies most, is taken as constant: its weights would magnify what rounding leaves of it.
const CONSTANT: f64 = 1e-5;

/// How columns were standardised.
pub(super) struct Scaling {
    pub mean: Vec<f64>,
    /// One over the standard deviation; 0 of a constant column.
    scale: Vec<f64>,
}

impl Scaling {
    /// Gives each column that varies the mean 0 and the variance 1, and makes the others 0.
    pub fn standardise(samples: &mut Samples<'_>) -> Result<Self, SolveError> {
        let columns = samples.columns;
        let rows = samples.labels.len().max(1) as f64;
        let (mut mean, mut largest) = (vec![0.0f64; columns], vec![0.0f64; columns]);
        for (sample, row) in samples.features.chunks(columns.max(1)).enumerate() {
            for ((mean, largest), &value) in mean.iter_mut().zip(&mut largest).zip(row) {
                if !value.is_finite() {
                    return Err(SolveError::NotFinite { sample });
                }
                *mean += f64::from(value) / rows;
                *largest = largest.max(f64::from(value.abs()));
            }
        }
        let mut deviation = vec![0.0f64; columns];
        for row in samples.features.chunks(columns.max(1)) {
            for ((deviation, mean), &value) in deviation.iter_mut().zip(&mean).zip(row) {
                *deviation += (f64::from(value) - mean).powi(2) / rows;
            }
        }
        deviation.iter_mut().for_each(|d| *d = d.sqrt());
        let most = deviation.iter().copied().fold(0.0, f64::max);
        let scale: Vec<f64> = deviation
            .iter()
            .zip(&largest)
            .map(
                |(&deviation, &largest)| match deviation > CONSTANT * largest.max(most) {
                    true => 1.0 / deviation,
                    false => 0.0,
                },
            )
            .collect();
        for row in samples.features.chunks_mut(columns.max(1)) {
            for ((value, mean), scale) in row.iter_mut().zip(&mean).zip(&scale) {
                *value = ((f64::from(*value) - mean) * scale) as f32;
            }
        }
        Ok(Scaling { mean, scale })
    }

    /// Number of columns that are not constant.
    pub fn varying(&self) -> usize {
        self.scale.iter().filter(|&&scale| scale > 0.0).count()
    }

    /// A point for features as they were: weight [columns, classes] and bias.
    pub fn back(&self, x: &[f64], classes: usize) -> (Vec<f64>, Vec<f64>) {
        let (weight, bias) = x.split_at(self.mean.len() * classes);
        let (mut weight, mut bias) = (weight.to_vec(), bias.to_vec());
        let columns = weight
            .chunks_mut(classes.max(1))
            .zip(&self.mean)
            .zip(&self.scale);
        for ((weights, mean), scale) in columns {
            for (weight, bias) in weights.iter_mut().zip(&mut bias) {
                *weight *= scale;
                *bias -= mean * *weight;
            }
        }
        (weight, bias)
    }
}

/// The classes that have a sample.
pub(super) struct Present {
    /// Them.
    pub classes: Vec<usize>,
    /// The place of each class among them.
    pub place: Vec<usize>,
    /// Number of all classes, and of samples.
    all: usize,
    samples: usize,
}

impl Present {
    pub fn of(samples: &Samples<'_>) -> Self {
        let mut is_present = vec![false; samples.classes];
        samples.labels.iter().for_each(|&l| is_present[l] = true);
        let classes: Vec<usize> = (0..samples.classes).filter(|&c| is_present[c]).collect();
        let mut place = vec![0; samples.classes];
        classes
            .iter()
            .enumerate()
            .for_each(|(at, &class)| place[class] = at);
        Present {
            classes,
            place,
            all: samples.classes,
            samples: samples.labels.len(),
        }
    }

    /// So many classes, which all have what they need to be told from others.
    pub fn all(classes: usize) -> Self {
        Present {
            classes: (0..classes).collect(),
            place: (0..classes).collect(),
            all: classes,
            samples: 0,
        }
    }

    /// Weight and bias with those of the classes that have no sample; `lowest`: of all samples, the smallest
    /// logarithm of the sum of the exponentials of the scores.
    pub fn spread(
        &self,
        (weight, bias): (Vec<f64>, Vec<f64>),
        lowest: f64,
    ) -> (Vec<f32>, Vec<f32>) {
        let present = self.classes.len();
        let absent = self.all - present;
        let share = 1.0 / (2.0 * (self.samples.max(1) * absent.max(1)) as f64);
        let columns = weight.len() / present.max(1);
        let mut all = vec![0.0f32; columns * self.all];
        let rows = all
            .chunks_mut(self.all.max(1))
            .zip(weight.chunks(present.max(1)));
        for (to, from) in rows {
            for (&class, &value) in self.classes.iter().zip(from) {
                to[class] = value as f32;
            }
        }
        let mut biases = vec![(lowest + share.ln()) as f32; self.all];
        for (&class, &value) in self.classes.iter().zip(&bias) {
            biases[class] = value as f32;
        }
        (all, biases)
    }
}
