//! The same images seen in several ways, judged by linear heads on the frozen network.

use std::collections::HashMap;

use super::solve::Solved;
use super::{ClassWeights, Lab, LinearHead, Observer, TrainingError};

/// What the head's dense layer reads of all samples of a lab, row by row.
pub struct Looks {
    rows: Vec<f32>,
}

impl Lab<'_> {
    /// What a linear head stands on, of all samples of the lab.
    ///
    /// # Errors
    /// As [`Lab::solve_head`].
    pub fn looks(&self, observer: &mut dyn Observer) -> Result<Looks, TrainingError> {
        let all: Vec<usize> = (0..self.dataset.len()).collect();
        let rows = self.head_features(&all, self.linear_head()?.columns, observer)?;
        Ok(Looks { rows })
    }

    /// The loss of each sample of the lab, in each of the looks `judged` (of labs of the same samples, in the same
    /// order), by a head that was solved on the other half of the samples in the look `fitted`; where samples may have
    /// several labels the mean over classes. Halves are of equal shares of each class.
    ///
    /// # Errors
    /// As [`Lab::solve_head`].
    pub fn losses_by_halves(
        &self,
        fitted: &Looks,
        judged: &[&Looks],
        observer: &mut dyn Observer,
    ) -> Result<Vec<Vec<f64>>, TrainingError> {
        let head = self.linear_head()?;
        let mut losses = vec![vec![0.0; self.dataset.len()]; judged.len()];
        let halves = self.halves();
        for (fit, judge) in [(0, 1), (1, 0)] {
            let row = |&sample: &usize| head.row(fitted, sample);
            let features = halves[fit].iter().flat_map(row).copied().collect();
            let weights = ClassWeights::None;
            let solved = self.solve_on(&head, &halves[fit], features, weights, observer)?;
            for (losses, look) in losses.iter_mut().zip(judged) {
                for &sample in &halves[judge] {
                    let scores = head.scores(&solved, head.row(look, sample));
                    losses[sample] = self.loss_of(sample, &scores);
                }
            }
        }
        Ok(losses)
    }

    /// The samples of the lab, those of each class in turn to one half and the other.
    fn halves(&self) -> [Vec<usize>; 2] {
        let mut halves = [Vec::new(), Vec::new()];
        let mut seen: HashMap<i64, usize> = HashMap::new();
        for (sample, &label) in self.dataset.labels().iter().enumerate() {
            let before = seen.entry(label).or_default();
            halves[*before % 2].push(sample);
            *before += 1;
        }
        halves
    }

    fn loss_of(&self, sample: usize, scores: &[f64]) -> f64 {
        let Some(sets) = self.dataset.sets() else {
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let all = scores.iter().map(|score| (score - most).exp()).sum::<f64>();
            let label = usize::try_from(self.dataset.labels()[sample]).unwrap_or(usize::MAX);
            return most + all.ln() - scores.get(label).copied().unwrap_or(most);
        };
        let own = sets.get(sample);
        let losses = scores.iter().enumerate().map(|(class, &score)| {
            let is_own = own.binary_search(&(class as u32)).is_ok();
            let wrong = if is_own { -score } else { score };
            wrong.max(0.0) + (-wrong.abs()).exp().ln_1p()
        });
        losses.sum::<f64>() / scores.len().max(1) as f64
    }
}

impl LinearHead {
    fn row<'l>(&self, look: &'l Looks, sample: usize) -> &'l [f32] {
        &look.rows[sample * self.columns..(sample + 1) * self.columns]
    }

    fn scores(&self, solved: &Solved, row: &[f32]) -> Vec<f64> {
        let mut scores: Vec<f64> = solved.bias.iter().copied().map(f64::from).collect();
        let weights = solved.weight.chunks_exact(self.classes.max(1));
        for (&value, weights) in row.iter().zip(weights) {
            for (score, &weight) in scores.iter_mut().zip(weights) {
                *score += f64::from(value) * f64::from(weight);
            }
        }
        scores
    }
}
