//! BatchNormalization in training: whose statistics it takes, and how the running ones follow.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::runtime::Buffer;

use super::TrainingError;

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

/// The parameters that are trained, and how their BatchNormalizations are.
#[derive(Clone, Copy, Debug)]
pub struct Trained<'a> {
    /// Names of the initializers.
    pub parameters: &'a [String],
    /// Whose statistics BatchNormalization takes.
    pub batch_norm: BatchNormMode,
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
