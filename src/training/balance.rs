//! What is done for rare classes: weights in the loss, or samples that are drawn more often.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::data::Dataset;

/// How much the samples of each class count in the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeights {
    /// Every sample counts 1.
    #[default]
    None,
    /// A sample of class c counts `N / (C · n_c)` for N samples, C classes and n_c samples of class
    /// c, all of the trained part; classes without a sample do not count among the C.
    /// Source: `class_weight="balanced"` of scikit-learn.
    ///
    /// A step's loss is the sum over its samples divided by their number, not by the sum of their
    /// weights: see [`cross_entropy`](crate::autodiff::cross_entropy). Validation is not weighted.
    ///
    /// Where samples may have several labels, that one is of class c counts `(N − n_c) / n_c`, and that it is not
    /// counts 1: what `pos_weight` of PyTorch's `BCEWithLogitsLoss` is meant for.
    Balanced,
}

impl ClassWeights {
    /// The weight of each of `classes` classes for training on samples with these labels, 0 for a
    /// class without any; `None` where each sample counts 1.
    pub fn of(self, labels: impl IntoIterator<Item = i64>, classes: usize) -> Option<Vec<f32>> {
        if self == ClassWeights::None {
            return None;
        }
        let mut counts = vec![0usize; classes];
        for label in labels {
            let class = usize::try_from(label).ok();
            if let Some(count) = class.and_then(|c| counts.get_mut(c)) {
                *count += 1;
            }
        }
        let samples: usize = counts.iter().sum();
        let present = counts.iter().filter(|&&n| n > 0).count();
        let weight = |n: usize| samples as f64 / (present * n) as f64;
        let weights = counts.iter().map(|&n| match n {
            0 => 0.0,
            n => weight(n) as f32,
        });
        Some(weights.collect())
    }
}

impl ClassWeights {
    /// As [`ClassWeights::of`], for training on `samples` of a data set, whose samples may have several labels; of a
    /// class without a sample it is then 1.
    pub(super) fn of_samples(
        self,
        dataset: &Dataset,
        samples: &[usize],
        classes: usize,
    ) -> Option<Vec<f32>> {
        if dataset.sets().is_none() || self == ClassWeights::None {
            let labels = samples.iter().map(|&i| dataset.labels()[i]);
            return self.of(labels, classes);
        }
        let mut counts = vec![0_usize; classes];
        let all = samples.iter().flat_map(|&i| dataset.classes_of(i));
        all.for_each(|class| counts[class] += 1);
        let weight = |&count: &usize| match count {
            0 => 1.0,
            count => (samples.len() - count) as f32 / count as f32,
        };
        Some(counts.iter().map(weight).collect())
    }
}

impl fmt::Display for ClassWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ClassWeights::None => "none",
            ClassWeights::Balanced => "balanced",
        })
    }
}

impl FromStr for ClassWeights {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "none" => Ok(ClassWeights::None),
            "balanced" => Ok(ClassWeights::Balanced),
            _ => Err(format!("`{name}` is neither none nor balanced")),
        }
    }
}

/// Which samples an epoch takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// Each once.
    #[default]
    All,
    /// As many as there are, the same number of each class: those of rare classes several times, of common ones some.
    /// A head that is solved has weights to the same end.
    Balanced,
}

impl Sampler {
    pub(super) fn is_all(&self) -> bool {
        *self == Sampler::All
    }
}

impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sampler::All => "all",
            Sampler::Balanced => "balanced",
        })
    }
}

impl FromStr for Sampler {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "all" => Ok(Sampler::All),
            "balanced" => Ok(Sampler::Balanced),
            _ => Err(format!("`{name}` is neither all nor balanced")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_weights_are_those_of_scikit_learn() {
        // compute_class_weight("balanced", classes=[0, 1, 3], y=[0, 0, 0, 1, 1, 3])
        let weights = ClassWeights::Balanced.of([0, 0, 0, 1, 1, 3], 4).unwrap();
        assert_eq!(weights, [6.0 / 9.0, 1.0, 0.0, 2.0]);
        assert_eq!(ClassWeights::None.of([0, 1], 2), None);
        assert_eq!(ClassWeights::Balanced.of([], 2), Some(vec![0.0; 2]));
    }
}
