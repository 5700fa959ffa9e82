//! The loss of multinomial logistic regression, and its gradient.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, s};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::lbfgs::Function;
use super::solve::SolveError;

/// Samples whose scores are held at a time, at most; products of float32 are summed over as many, and those
/// sums in float64.
const BAND: usize = 1024;
/// Scores that are held at a time, at most, where the band is not smaller than [`CHUNK`].
const SCORES: usize = 1 << 22;
/// Samples, or columns, of one piece of parallel work. It does not depend on the number of threads, so that
/// no result does.
const CHUNK: usize = 128;

/// `1/Σs Σ s_i loss_i + λ/2 ‖W‖²`, where `loss_i = −log softmax(x_i W + b)[y_i]`, as a function of the values of
/// W [columns, classes], row-major, and behind them b [classes].
///
/// Features and products are float32, sums and the point itself float64.
pub(super) struct Logistic<'a> {
    pub pool: &'a ThreadPool,
    /// [samples, columns], row-major.
    pub features: &'a [f32],
    pub columns: usize,
    /// Of each sample, below `classes`.
    pub labels: &'a [usize],
    pub classes: usize,
    /// How much each sample counts, s; with 0 it does not.
    pub counts: Vec<f64>,
    /// λ.
    pub strength: f64,
    /// Is asked between any two bands; `false` stops.
    pub go_on: &'a (dyn Fn() -> bool + 'a),
}

/// What a sample comes to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    /// The loss.
    pub loss: f64,
    /// The logarithm of the sum of the exponentials of its scores.
    pub level: f64,
}

/// Gets the number of the first sample of a band, its scores, and what each sample comes to.
type Band<'b> = &'b mut dyn FnMut(usize, &mut [f32], &[Outcome]);

impl Logistic<'_> {
    fn band(&self) -> usize {
        (SCORES / self.classes).clamp(CHUNK, BAND)
    }

    /// What each sample comes to at a point; those that do not count, too.
    ///
    /// # Errors
    /// [`SolveError::Stopped`].
    pub fn outcomes(&self, x: &[f64]) -> Result<Vec<Outcome>, SolveError> {
        let mut outcomes = Vec::with_capacity(self.labels.len());
        self.bands(x, &mut |_, _, of_band| outcomes.extend_from_slice(of_band))?;
        Ok(outcomes)
    }

    /// Goes through all samples.
    fn bands(&self, x: &[f64], each: Band<'_>) -> Result<(), SolveError> {
        let (columns, classes) = (self.columns, self.classes);
        let (weight, bias) = x.split_at(columns * classes);
        let weight: Vec<f32> = weight.iter().map(|&w| w as f32).collect();
        let weight = view(&weight, columns, classes);
        let band = self.band().min(self.labels.len());
        let mut scores = vec![0.0f32; band * classes];
        let mut outcomes = vec![Outcome::default(); band];
        for (number, labels) in self.labels.chunks(band.max(1)).enumerate() {
            if !(self.go_on)() {
                return Err(SolveError::Stopped);
            }
            let first = number * band;
            let rows = labels.len();
            let features = self.rows(first, rows);
            let scores = &mut scores[..rows * classes];
            let outcomes = &mut outcomes[..rows];
            self.pool.install(|| {
                let chunks = scores.par_chunks_mut(CHUNK * classes);
                let chunks = chunks.zip(outcomes.par_chunks_mut(CHUNK)).enumerate();
                chunks.for_each(|(chunk, (scores, outcomes))| {
                    let from = chunk * CHUNK;
                    let to = from + outcomes.len();
                    let mut product = view_mut(scores, outcomes.len(), classes);
                    let rows = features.slice(s![from..to, ..]);
                    general_mat_mul(1.0, &rows, &weight, 0.0, &mut product);
                    let rows = scores.chunks_mut(classes).zip(&labels[from..to]);
                    for ((scores, &label), outcome) in rows.zip(outcomes) {
                        *outcome = judge(scores, bias, label);
                    }
                });
            });
            each(first, scores, outcomes);
        }
        Ok(())
    }

    fn rows(&self, first: usize, rows: usize) -> ArrayView2<'_, f32> {
        let from = first * self.columns;
        view(
            &self.features[from..from + rows * self.columns],
            rows,
            self.columns,
        )
    }
}

impl Function<SolveError> for Logistic<'_> {
    fn evaluate(&mut self, x: &[f64], gradient: &mut [f64]) -> Result<f64, SolveError> {
        let (columns, classes) = (self.columns, self.classes);
        let total: f64 = self.counts.iter().sum();
        gradient.fill(0.0);
        let (of_weight, of_bias) = gradient.split_at_mut(columns * classes);
        let mut loss = 0.0;
        self.bands(x, &mut |first, scores, outcomes| {
            // The derivative by each score: the probability, less 1 for the true class.
            let samples = scores.chunks_mut(classes).zip(outcomes).enumerate();
            for (row, (scores, outcome)) in samples {
                let count = self.counts[first + row] / total;
                loss += count * outcome.loss;
                let label = self.labels[first + row];
                for (class, (score, of_bias)) in scores.iter_mut().zip(&mut *of_bias).enumerate() {
                    let probability = (f64::from(*score) - outcome.level).exp();
                    let target = if class == label { 1.0 } else { 0.0 };
                    let slope = count * (probability - target);
                    *of_bias += slope;
                    *score = slope as f32;
                }
            }
            let slopes = view(scores, outcomes.len(), classes);
            let features = self.rows(first, outcomes.len());
            self.pool.install(|| {
                let chunks = of_weight.par_chunks_mut((CHUNK * classes).max(1));
                chunks.enumerate().for_each(|(chunk, sums)| {
                    let from = chunk * CHUNK;
                    let width = sums.len() / classes;
                    let mut product = vec![0.0f32; sums.len()];
                    let mut part = view_mut(&mut product, width, classes);
                    let columns = features.slice(s![.., from..from + width]);
                    general_mat_mul(1.0, &columns.t(), &slopes, 0.0, &mut part);
                    for (sum, &value) in sums.iter_mut().zip(&product) {
                        *sum += f64::from(value);
                    }
                });
            });
        })?;
        let weight = &x[..columns * classes];
        let mut squares = 0.0;
        for (slope, w) in of_weight.iter_mut().zip(weight) {
            *slope += self.strength * w;
            squares += w * w;
        }
        Ok(loss + self.strength / 2.0 * squares)
    }
}

/// Adds the bias to a sample's scores, and says what it comes to.
fn judge(scores: &mut [f32], bias: &[f64], label: usize) -> Outcome {
    let mut top = f64::NEG_INFINITY;
    for (score, bias) in scores.iter_mut().zip(bias) {
        *score = (f64::from(*score) + bias) as f32;
        top = top.max(f64::from(*score));
    }
    let sum: f64 = scores.iter().map(|&z| (f64::from(z) - top).exp()).sum();
    let level = top + sum.ln();
    Outcome {
        loss: level - scores.get(label).map_or(0.0, |&z| f64::from(z)),
        level,
    }
}

fn view(values: &[f32], rows: usize, columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, columns), values).expect("as many values")
}

fn view_mut(values: &mut [f32], rows: usize, columns: usize) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((rows, columns), values).expect("as many values")
}
