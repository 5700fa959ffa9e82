//! BatchNormalization in training: whose statistics it takes, and how the running ones follow.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::runtime::Buffer;
use crate::surgery::{BatchNorm, Rewrite, trained_batch_norms, use_batch_statistics};

use super::TrainingError;
use super::program::Prepared;

/// Which statistics a BatchNormalization takes while its scale or bias is trained. One that is not
/// trained always takes the stored ones, as does every one when a model is evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchNormMode {
    /// The stored ones, which stay as they are.
    #[default]
    Frozen,
    /// Those of the batch; the stored ones follow them and are exported.
    Batch,
}

impl fmt::Display for BatchNormMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frozen => "frozen",
            Self::Batch => "batch",
        })
    }
}

impl FromStr for BatchNormMode {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "frozen" => Ok(Self::Frozen),
            "batch" => Ok(Self::Batch),
            _ => Err(format!("`{s}` is neither frozen nor batch")),
        }
    }
}

/// The parameters that are trained, how their BatchNormalizations are, and in which network.
#[derive(Clone, Copy, Debug)]
pub struct Trained<'a> {
    /// Names of the initializers.
    pub parameters: &'a [String],
    /// Whose statistics BatchNormalization takes.
    pub batch_norm: BatchNormMode,
    /// What is changed in the network before.
    pub rewrite: &'a Rewrite,
}

/// A BatchNormalization of a step that takes the statistics of its batch.
#[derive(Clone, Debug, PartialEq)]
pub struct StepNorm {
    /// Names of the step's outputs for the batch's mean and (biased) variance.
    pub statistics: [String; 2],
    /// Number of channels.
    pub channels: usize,
    /// Values per channel in the batch, at least 2.
    pub count: usize,
    /// The share of the running statistics that a step leaves.
    pub momentum: f32,
}

impl StepNorm {
    /// Moves running statistics towards those of a batch: r ← m r + (1 − m) b, with b the mean, or
    /// the variance times n/(n − 1).
    ///
    /// The running variance thus follows the unbiased variance, as PyTorch's does
    /// (`torch.nn.BatchNorm2d`), whereas ONNX's operator in training mode would follow the biased
    /// one. Within a batch both normalise with the biased one.
    pub fn update(&self, running: [&mut [f32]; 2], batch: [&[f32]; 2]) {
        let unbiased = self.count as f64 / (self.count as f64 - 1.0);
        let keep = f64::from(self.momentum);
        for ((running, batch), factor) in running.into_iter().zip(batch).zip([1.0, unbiased]) {
            let share = (1.0 - keep) * factor;
            for (r, &b) in running.iter_mut().zip(batch) {
                *r = (keep * f64::from(*r) + share * f64::from(b)) as f32;
            }
        }
    }
}

impl Prepared {
    /// This model for training `trained`: with [`BatchNormMode::Batch`], the trained
    /// BatchNormalizations that have running statistics of their own take those of the batch.
    ///
    /// # Errors
    /// When the graph is malformed.
    pub fn for_training(mut self, trained: Trained<'_>) -> Result<Self, TrainingError> {
        self.train(trained)?;
        Ok(self)
    }

    /// As [`Prepared::for_training`], in place of what it was for before.
    pub(super) fn train(&mut self, trained: Trained<'_>) -> Result<(), TrainingError> {
        self.batch_norms = match trained.batch_norm {
            BatchNormMode::Frozen => Vec::new(),
            BatchNormMode::Batch => trained_batch_norms(&self.graph, trained.parameters)?.own,
        };
        Ok(())
    }

    /// Names of the running statistics that follow those of the batches: of each
    /// BatchNormalization mean and variance.
    pub fn running_statistics(&self) -> Vec<String> {
        let both = |n: &BatchNorm| [n.mean.clone(), n.variance.clone()];
        self.batch_norms.iter().flat_map(both).collect()
    }

    /// Values per channel that each of the `batch_norms` takes its statistics of.
    ///
    /// # Errors
    /// When there is but one, as in a batch of one sample behind global pooling: its variance is 0
    /// and the unbiased one, which the running variance would follow, is not defined.
    pub fn values_per_channel(&self) -> Result<Vec<usize>, TrainingError> {
        let count = |norm: &BatchNorm| {
            let dims = self.shapes.dims(&norm.output)?;
            let count = dims.iter().product::<usize>() / dims[1].max(1);
            if count < 2 {
                return Err(TrainingError::Mismatch(format!(
                    "a batch of {} sample has one value per channel at the BatchNormalization of \
                     `{}`, which gives no variance; choose a batch size that leaves no sample over, \
                     or the stored statistics (--bn frozen)",
                    dims[0], norm.output
                )));
            }
            Ok(count)
        };
        self.batch_norms.iter().map(count).collect()
    }

    /// Makes the `batch_norms` take the statistics of the batch. Shapes of the new values are for
    /// the caller to infer anew.
    pub(super) fn use_batch_statistics(&mut self) -> Result<Vec<StepNorm>, TrainingError> {
        let counts = self.values_per_channel()?;
        let names = use_batch_statistics(&mut self.graph, &self.batch_norms);
        let norms = self.batch_norms.iter().zip(counts).zip(names);
        norms
            .map(|((norm, count), statistics)| {
                Ok(StepNorm {
                    statistics,
                    channels: self.shapes.dims(&norm.mean)?[0],
                    count,
                    momentum: norm.momentum,
                })
            })
            .collect()
    }
}

/// Updates the running statistics of `norms` after a step: of each, mean and variance in `running`
/// from those in `batch`.
pub(super) fn update_running(
    norms: &[StepNorm],
    running: &[Buffer],
    batch: &[Buffer],
) -> Result<(), TrainingError> {
    let pairs = running.chunks_exact(2).zip(batch.chunks_exact(2));
    for (norm, (running, batch)) in norms.iter().zip(pairs) {
        norm.update(
            [&mut running[0].as_f32_mut()?, &mut running[1].as_f32_mut()?],
            [&batch[0].as_f32()?, &batch[1].as_f32()?],
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_statistics_follow_the_mean_and_the_unbiased_variance() {
        let norm = StepNorm {
            statistics: Default::default(),
            channels: 1,
            count: 4,
            momentum: 0.75,
        };
        let (mut mean, mut variance) = ([1.0], [2.0]);
        norm.update([&mut mean, &mut variance], [&[3.0], &[6.0]]);
        assert_eq!(mean, [1.5]);
        assert_eq!(variance, [3.5]); // 0.75 · 2 + 0.25 · 6 · 4/3
    }
}
