//! The loss of logistic regression, multinomial or of each class by itself, and its gradient.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, s};
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::kernels::{GemmShape, MANY_ROWS, Serial, gemm};

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
/// Pieces of a band.
pub(super) const PARTS: usize = BAND / CHUNK;

/// `1/Σs Σ s_i loss_i + λ/2 ‖W‖²`, where `loss_i = −log softmax(x_i W + b)[y_i]`, as a function of the values of
/// W [columns, classes], row-major, and behind them b [classes]. Where samples may have several labels, `loss_i` is the
/// sum over the classes of `ln(1 + e^z)`, or for those that a sample is of `w_c ln(1 + e^−z)`: the problems of the
/// classes have no part in common, and are solved side by side.
///
/// Features and products are float32, sums and the point itself float64.
pub(super) struct Logistic<'a> {
    pub pool: &'a ThreadPool,
    /// [samples, columns], row-major.
    pub features: &'a [f32],
    pub columns: usize,
    /// Of each sample, below `classes`; where they may have several, anything.
    pub labels: &'a [usize],
    /// Where samples may have several labels, which they have.
    pub sets: Option<Sets<'a>>,
    pub classes: usize,
    /// How much each sample counts, s; with 0 it does not.
    pub counts: Vec<f64>,
    /// λ.
    pub strength: f64,
    /// Is asked between any two bands; `false` stops.
    pub go_on: &'a (dyn Fn() -> bool + 'a),
}

/// The labels of samples that may have several.
#[derive(Clone, Copy)]
pub(super) struct Sets<'a> {
    /// Whether each sample is of each class, [samples, classes], row-major.
    pub truth: &'a [bool],
    /// How much it counts for each class that a sample is of it, w; that it is not counts 1.
    pub weights: &'a [f64],
}

impl<'a> Sets<'a> {
    /// The classes that a sample is of, of so many.
    fn row(self, sample: usize, classes: usize) -> &'a [bool] {
        &self.truth[sample * classes..(sample + 1) * classes]
    }

    /// Adds the bias to the scores of a sample of these classes, and says what it comes to.
    fn judge(self, scores: &mut [f32], bias: &[f64], truth: &[bool]) -> Outcome {
        let mut loss = 0.0;
        let all = scores.iter_mut().zip(bias).zip(truth).zip(self.weights);
        for (((score, bias), &own), weight) in all {
            let z = f64::from(*score) + bias;
            *score = z as f32;
            let (z, weight) = if own { (-z, *weight) } else { (z, 1.0) };
            loss += weight * (z.max(0.0) + (-z.abs()).exp().ln_1p());
        }
        Outcome { loss, level: 0.0 }
    }
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
        let turned = self.is_narrow().then(|| turned(&weight, columns, classes));
        let weight = view(&weight, columns, classes);
        let several = self.sets;
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
                    if let Some(weight) = &turned {
                        let rows = features.slice(s![from..to, ..]);
                        narrow_scores(rows, weight, scores);
                    } else {
                        let mut product = view_mut(scores, outcomes.len(), classes);
                        let rows = features.slice(s![from..to, ..]);
                        general_mat_mul(1.0, &rows, &weight, 0.0, &mut product);
                    }
                    let rows = scores.chunks_mut(classes).zip(&labels[from..to]);
                    for (row, ((scores, &label), outcome)) in rows.zip(outcomes).enumerate() {
                        *outcome = match several {
                            None => judge(scores, bias, label),
                            Some(sets) => {
                                sets.judge(scores, bias, sets.row(first + from + row, classes))
                            }
                        };
                    }
                });
            });
            each(first, scores, outcomes);
        }
        Ok(())
    }

    /// Whether there are so few classes that products are those of few rows with a large matrix, the features, which
    /// is then read as it lies.
    fn is_narrow(&self) -> bool {
        self.classes < MANY_ROWS
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
                if let Some(sets) = self.sets {
                    let own = sets.row(first + row, classes);
                    let all = scores.iter_mut().zip(&mut *of_bias);
                    for (((score, of_bias), &own), weight) in all.zip(own).zip(sets.weights) {
                        let probability = 1.0 / (1.0 + (-f64::from(*score)).exp());
                        let slope = match own {
                            true => count * weight * (probability - 1.0),
                            false => count * probability,
                        };
                        *of_bias += slope;
                        *score = slope as f32;
                    }
                    continue;
                }
                for (class, (score, of_bias)) in scores.iter_mut().zip(&mut *of_bias).enumerate() {
                    let probability = (f64::from(*score) - outcome.level).exp();
                    let target = if class == label { 1.0 } else { 0.0 };
                    let slope = count * (probability - target);
                    *of_bias += slope;
                    *score = slope as f32;
                }
            }
            if self.is_narrow() {
                let features = self.rows(first, outcomes.len());
                return add_narrow_gradient(self.pool, features, scores, of_weight);
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

/// Scores `[samples, classes]` of few classes, by the weight `[classes, columns]`.
fn narrow_scores(features: ArrayView2<'_, f32>, weight: &[f32], scores: &mut [f32]) {
    let (samples, depth) = features.dim();
    let rows = scores.len() / samples.max(1);
    let shape = GemmShape {
        rows,
        depth,
        width: samples,
        transposed: true,
    };
    let mut product = vec![0.0; scores.len()];
    multiply(&shape, weight, features, &mut product);
    scores.copy_from_slice(&turned(&product, rows, samples));
}

/// Adds to the gradient `[columns, classes]` of few classes that of some samples, by the derivatives by their scores.
fn add_narrow_gradient(
    pool: &ThreadPool,
    features: ArrayView2<'_, f32>,
    slopes: &[f32],
    gradient: &mut [f64],
) {
    let (samples, columns) = features.dim();
    let classes = slopes.len() / samples.max(1);
    let part = |(chunk, slopes): (usize, &[f32])| {
        let depth = slopes.len() / classes;
        let from = chunk * CHUNK;
        let shape = GemmShape {
            rows: classes,
            depth,
            width: columns,
            transposed: false,
        };
        let mut product = vec![0.0; classes * columns];
        let slopes = turned(slopes, depth, classes);
        let rows = features.slice(s![from..from + depth, ..]);
        multiply(&shape, &slopes, rows, &mut product);
        product
    };
    let chunks = slopes.par_chunks((CHUNK * classes).max(1)).enumerate();
    let parts: Vec<Vec<f32>> = pool.install(|| chunks.map(part).collect());
    for part in parts {
        for (class, part) in part.chunks(columns.max(1)).enumerate() {
            let sums = gradient.iter_mut().skip(class).step_by(classes);
            sums.zip(part)
                .for_each(|(sum, &value)| *sum += f64::from(value));
        }
    }
}

fn multiply(shape: &GemmShape, a: &[f32], features: ArrayView2<'_, f32>, product: &mut [f32]) {
    let features = features.as_slice().expect("rows that lie together");
    gemm(shape, a, features, None, product, &Serial).expect("as many values");
}

/// A matrix `[rows, columns]` as `[columns, rows]`.
fn turned(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let column = |column: usize| {
        values
            .iter()
            .skip(column)
            .step_by(columns.max(1))
            .take(rows)
    };
    (0..columns).flat_map(column).copied().collect()
}

fn view(values: &[f32], rows: usize, columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, columns), values).expect("as many values")
}

fn view_mut(values: &mut [f32], rows: usize, columns: usize) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((rows, columns), values).expect("as many values")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some number between -1 and 1.
    fn number(i: usize, k: usize) -> f32 {
        ((i * k) % 101) as f32 / 50.0 - 1.0
    }

    /// Loss and gradient, written out.
    fn written_out(of: &Logistic<'_>, x: &[f64]) -> (f64, Vec<f64>) {
        let (columns, classes) = (of.columns, of.classes);
        let total: f64 = of.counts.iter().sum();
        let mut gradient: Vec<f64> = x.iter().map(|w| of.strength * w).collect();
        gradient[columns * classes..].fill(0.0);
        let squares = x[..columns * classes].iter().map(|w| w * w);
        let mut loss = of.strength / 2.0 * squares.sum::<f64>();
        for (row, features) in of.features.chunks(columns).enumerate() {
            let score = |class: usize| {
                let products = features.iter().enumerate();
                let products = products.map(|(i, f)| f64::from(*f) * x[i * classes + class]);
                products.sum::<f64>() + x[columns * classes + class]
            };
            let exponents: Vec<f64> = (0..classes).map(|class| score(class).exp()).collect();
            let sum: f64 = exponents.iter().sum();
            let count = of.counts[row] / total;
            loss += count * (sum.ln() - score(of.labels[row]));
            for class in 0..classes {
                let target = f64::from(u8::from(class == of.labels[row]));
                let slope = count * (exponents[class] / sum - target);
                for (i, f) in features.iter().enumerate() {
                    gradient[i * classes + class] += slope * f64::from(*f);
                }
                gradient[columns * classes + class] += slope;
            }
        }
        (loss, gradient)
    }

    #[test]
    fn of_few_classes_and_of_many_it_is_what_is_written_out() {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(2)
            .build()
            .unwrap();
        // Beyond a band and a chunk of samples, and of columns.
        let (samples, columns) = (1100, 131);
        let features: Vec<f32> = (0..samples * columns).map(|i| number(i, 37)).collect();
        for classes in [2, 5, MANY_ROWS - 1, MANY_ROWS] {
            let labels: Vec<usize> = (0..samples).map(|i| (i * 7) % classes).collect();
            let mut logistic = Logistic {
                pool: &pool,
                features: &features,
                columns,
                labels: &labels,
                sets: None,
                classes,
                counts: (0..samples).map(|i| (i % 3) as f64).collect(),
                strength: 0.01,
                go_on: &|| true,
            };
            let values = (columns + 1) * classes;
            let x: Vec<f64> = (0..values)
                .map(|i| f64::from(number(i, 53)) / 8.0)
                .collect();
            let mut gradient = vec![1.0; values];
            let loss = logistic.evaluate(&x, &mut gradient).unwrap();
            let (expected, by_hand) = written_out(&logistic, &x);
            assert!(
                (loss - expected).abs() < 1e-5 * expected,
                "{classes}: {loss}"
            );
            for (found, expected) in gradient.iter().zip(&by_hand) {
                assert!(
                    (found - expected).abs() < 1e-6,
                    "{classes}: {found}, {expected}"
                );
            }
        }
    }

    /// The loss of several labels is that which is written out, and its gradient that of finite differences.
    #[test]
    fn of_several_labels_it_is_the_sum_over_classes() {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(2)
            .build()
            .unwrap();
        let (samples, columns) = (130, 5);
        let features: Vec<f32> = (0..samples * columns).map(|i| number(i, 37)).collect();
        for classes in [3, MANY_ROWS] {
            let truth: Vec<bool> = (0..samples * classes).map(|i| (i * 7) % 5 < 2).collect();
            let weights: Vec<f64> = (0..classes).map(|c| 1.0 + c as f64 / 2.0).collect();
            let counts: Vec<f64> = (0..samples).map(|i| (i % 3) as f64).collect();
            let mut logistic = Logistic {
                pool: &pool,
                features: &features,
                columns,
                labels: &vec![0; samples],
                sets: Some(Sets {
                    truth: &truth,
                    weights: &weights,
                }),
                classes,
                counts: counts.clone(),
                strength: 0.01,
                go_on: &|| true,
            };
            let values = (columns + 1) * classes;
            let x: Vec<f64> = (0..values).map(|i| f64::from(number(i, 53))).collect();
            let mut gradient = vec![1.0; values];
            let loss = logistic.evaluate(&x, &mut gradient).unwrap();
            let by_hand = |x: &[f64]| {
                let squares = x[..columns * classes].iter().map(|w| w * w);
                let mut sum = 0.005 * squares.sum::<f64>();
                let total: f64 = counts.iter().sum();
                for (row, own) in truth.chunks(classes).enumerate() {
                    for (class, &own) in own.iter().enumerate() {
                        let z: f64 = (0..columns)
                            .map(|i| {
                                f64::from(features[row * columns + i]) * x[i * classes + class]
                            })
                            .sum::<f64>()
                            + x[columns * classes + class];
                        let each = match own {
                            true => weights[class] * (1.0 + (-z).exp()).ln(),
                            false => (1.0 + z.exp()).ln(),
                        };
                        sum += counts[row] / total * each;
                    }
                }
                sum
            };
            assert!(
                (loss - by_hand(&x)).abs() < 1e-5 * loss,
                "{classes}: {loss}"
            );
            for i in (0..values).step_by(7) {
                let at = |by: f64| {
                    let mut moved = x.clone();
                    moved[i] += by;
                    by_hand(&moved)
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((gradient[i] - difference).abs() < 1e-5, "{classes} {i}");
            }
        }
    }
}
