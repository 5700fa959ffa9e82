//! The linear head that fits given features best, in closed form but for the solver's rounding: multinomial
//! logistic regression with a penalty on the weights, whose strength is found by cross-validation.
//!
//! Minimised is `1/Σs Σ s_i · −log softmax(x_i W + b)[y_i] + λ/2 ‖W‖²` over standardised features x; the bias is
//! not penalised. Where samples may have several labels, minimised is instead the sum of the logistic regressions of
//! the classes, each of its samples against the others, with one strength for all. In terms of scikit-learn's `LogisticRegression` C is `1 / (λ Σs)`. What comes out is for the
//! features as they are.

mod scaling;

use rayon::ThreadPool;

use super::lbfgs::{Function, Options, minimise};
use super::logistic::{Logistic, PARTS, Sets};
use crate::kernels::MANY_ROWS;
use scaling::{Present, Scaling};

/// Parts of cross-validation, at most.
const FOLDS: usize = 5;
/// The strengths that are tried: a tenth of the number of columns, which leaves little but the bias, and each
/// next one weaker by a factor of √10, so many at most.
const FIRST: f64 = 0.1;
const WEAKER: f64 = 0.316_227_766_016_837_94;
const STRENGTHS: usize = 20;
/// Samples that are enough to tell strengths apart: of more parts than hold as many, those behind are not held out.
const HELD: usize = 2000;
/// Values of a head beyond which one part of five is held out, instead of each in turn, and less is remembered of
/// the way downhill.
const LARGE: usize = 1 << 22;
/// What is remembered of the way downhill.
const MEMORY: usize = 10;
const LEAST_MEMORY: usize = 3;
/// The share of a loss that the rounding of its scores, which are float32, may be.
const ROUNDING: f64 = 1e-6;
/// When a head that is only compared is good enough: tolerances are shares of the largest derivative where all
/// values are 0.
const COMPARED: Options = Options {
    tolerance: 1e-3,
    iterations: 200,
    memory: MEMORY,
    rounding: ROUNDING,
};
/// When the head that is wanted is.
const WANTED: Options = Options {
    tolerance: 1e-5,
    iterations: 1000,
    memory: MEMORY,
    rounding: ROUNDING,
};
/// Features with what they are of.
pub(super) struct Samples<'a> {
    /// [samples, columns], row-major; they are standardised in place.
    pub features: Vec<f32>,
    pub columns: usize,
    /// Of each sample, below `classes`. Where samples may have several, one of them, or `classes` of none, by which
    /// they are shared out.
    pub labels: &'a [usize],
    /// Where samples may have several labels, whether each is of each class, [samples, classes], row-major.
    pub sets: Option<Vec<bool>>,
    pub classes: usize,
    /// How much the samples of each class count; the same where it says nothing. Where they may have several labels, how
    /// much it counts that a sample is of a class; that it is not counts 1.
    pub class_weights: Option<&'a [f32]>,
}

/// How far solving has come.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Solving {
    /// A strength of the penalty is tried.
    Comparing {
        /// Its number, from 1.
        number: usize,
        /// The part that is held out, from 1.
        fold: usize,
        /// Number of such parts.
        folds: usize,
    },
    /// The head is solved with the best strength.
    Fitting {
        /// That.
        strength: f64,
    },
}

/// A linear head.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Solved {
    /// [columns, classes], row-major.
    pub weight: Vec<f32>,
    /// [classes].
    pub bias: Vec<f32>,
    /// λ.
    pub strength: f64,
    /// The mean loss in cross-validation (where samples may have several labels, over classes, too); `None` where there was nothing to hold out.
    pub loss: Option<f64>,
    /// The largest derivative at the end, of standardised features.
    pub slope: f64,
    /// Steps downhill at the end.
    pub iterations: usize,
}

/// Why there is no head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum SolveError {
    /// It was asked to stop.
    Stopped,
    /// A feature of this sample is not a number or infinite.
    NotFinite { sample: usize },
}

/// Bytes that [`solve`] takes at most, the features included.
pub(super) fn bytes(samples: u64, columns: u64, classes: u64) -> u64 {
    let values = columns.saturating_add(1).saturating_mul(classes);
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let (folds, memory) = effort(size(samples), size(values));
    // Point, gradient, both of the next point, the direction; a start for each part; pairs of float32; the weight
    // as float32 and a product.
    // Of few classes also the parts of a gradient.
    let parts = if classes < MANY_ROWS as u64 {
        4 * PARTS as u64
    } else {
        0
    };
    let each = 8 * (5 + folds as u64) + 4 * 2 * memory as u64 + 8 + parts;
    let features = samples.saturating_mul(columns).saturating_mul(4);
    features.saturating_add(values.saturating_mul(each))
}

/// How many parts are held out in turn, at most, of so many samples and for a head of so many values; and how much
/// is remembered.
fn effort(samples: usize, values: usize) -> (usize, usize) {
    let part = samples.div_ceil(FOLDS).max(1);
    match values > LARGE {
        false => (HELD.div_ceil(part).min(FOLDS), MEMORY),
        true => (1, (MEMORY * LARGE / values).max(LEAST_MEMORY)),
    }
}

/// Solves the head. The same to the bit whatever the number of threads of `pool`.
///
/// - Columns that are constant have the weight 0.
/// - Classes without a sample have the weight 0, and a bias with which they have, all together, a probability of at
///   most `1 / 2N` for each of the N samples.
/// - A class of one sample is in each fold's fitting part; where no class has two, nothing is held out, and the
///   strength is that of scikit-learn's default, C = 1.
///
/// # Errors
/// When a feature is not finite, or `watch` says `false`.
pub(super) fn solve(
    samples: Samples<'_>,
    pool: &ThreadPool,
    watch: &dyn Fn(Solving) -> bool,
) -> Result<Solved, SolveError> {
    let problem = Problem::new(samples, pool)?;
    let (strength, loss) = match problem.choose(watch)? {
        Some((strength, loss)) => (strength, Some(loss)),
        None => (1.0 / problem.counts.iter().sum::<f64>(), None),
    };
    problem.fit(strength, loss, &|| watch(Solving::Fitting { strength }))
}

/// Standardised features, and the classes that have a sample.
struct Problem<'a> {
    pool: &'a ThreadPool,
    features: Vec<f32>,
    scaling: Scaling,
    present: Present,
    /// Of each sample, the place among the present classes.
    labels: Vec<usize>,
    /// How much each sample counts.
    counts: Vec<f64>,
    /// Where samples may have several labels, which they have, and how much each class counts.
    sets: Option<(Vec<bool>, Vec<f64>)>,
}

impl<'a> Problem<'a> {
    fn new(mut samples: Samples<'_>, pool: &'a ThreadPool) -> Result<Self, SolveError> {
        let scaling = Scaling::standardise(&mut samples)?;
        if let Some(truth) = samples.sets.take() {
            let weight = |class| samples.count(class);
            let weights = (0..samples.classes).map(weight).collect();
            return Ok(Problem {
                pool,
                scaling,
                labels: samples.labels.to_vec(),
                counts: vec![1.0; samples.labels.len()],
                sets: Some((truth, weights)),
                present: Present::all(samples.classes),
                features: samples.features,
            });
        }
        let present = Present::of(&samples);
        let labels = samples.labels.iter();
        Ok(Problem {
            pool,
            scaling,
            labels: labels.clone().map(|&l| present.place[l]).collect(),
            counts: labels.map(|&l| samples.count(l)).collect(),
            sets: None,
            present,
            features: samples.features,
        })
    }

    /// Number of values of a head.
    fn values(&self) -> usize {
        (self.scaling.mean.len() + 1) * self.present.classes.len()
    }

    /// How many losses that of a sample is the sum of.
    fn terms(&self) -> usize {
        match self.sets {
            None => 1,
            Some(_) => self.present.classes.len().max(1),
        }
    }

    fn logistic<'s>(
        &'s self,
        strength: f64,
        counts: Vec<f64>,
        go_on: &'s dyn Fn() -> bool,
    ) -> Logistic<'s> {
        Logistic {
            pool: self.pool,
            features: &self.features,
            columns: self.scaling.mean.len(),
            labels: &self.labels,
            sets: self
                .sets
                .as_ref()
                .map(|(truth, weights)| Sets { truth, weights }),
            classes: self.present.classes.len(),
            counts,
            strength,
            go_on,
        }
    }

    /// The largest derivative where all values are 0.
    fn first_slope(&self, go_on: &dyn Fn() -> bool) -> Result<f64, SolveError> {
        let mut function = self.logistic(0.0, self.counts.clone(), go_on);
        let mut gradient = vec![0.0; self.values()];
        function.evaluate(&vec![0.0; self.values()], &mut gradient)?;
        Ok(gradient.iter().fold(0.0, |top, g| g.abs().max(top)))
    }

    /// The strength with the least loss on held-out samples, and that loss: from strong to weak, each begun
    /// where the one before ended, until the loss does not fall any more. `None` where nothing can be held out.
    fn choose(&self, watch: &dyn Fn(Solving) -> bool) -> Result<Option<(f64, f64)>, SolveError> {
        // Of several labels there may be none, which is a kind of its own.
        let kinds = self.present.classes.len() + usize::from(self.sets.is_some());
        let folds = Folds::of(&self.labels, kinds);
        let (most, memory) = effort(self.labels.len(), self.values());
        let go_on = || {
            watch(Solving::Comparing {
                number: 1,
                fold: 1,
                folds: folds.count.min(most),
            })
        };
        let options = Options {
            memory,
            tolerance: COMPARED.tolerance * self.first_slope(&go_on)?,
            ..COMPARED
        };
        let count = folds.count.min(most);
        let mut starts = vec![vec![0.0; self.values()]; count];
        let mut best: Option<(f64, f64)> = None;
        let mut strength = FIRST * self.scaling.varying().max(1) as f64;
        for number in 1..=STRENGTHS {
            let (mut sum, mut weight) = (0.0, 0.0);
            for (fold, start) in starts.iter_mut().enumerate() {
                let step = Solving::Comparing {
                    number,
                    fold: fold + 1,
                    folds: count,
                };
                let go_on = || watch(step);
                let is_held = |row: usize| folds.of[row] == Some(fold);
                let fitted = self.counts.iter().enumerate();
                let fitted = fitted.map(|(row, &count)| if is_held(row) { 0.0 } else { count });
                let mut function = self.logistic(strength, fitted.collect(), &go_on);
                *start = minimise(&mut function, std::mem::take(start), options)?.x;
                for (row, outcome) in function.outcomes(start)?.iter().enumerate() {
                    if is_held(row) {
                        sum += self.counts[row] * outcome.loss;
                        weight += self.counts[row];
                    }
                }
            }
            let loss = sum / weight;
            // It is not a number where nothing is held out.
            if loss.is_nan() || best.is_some_and(|(_, least)| loss >= least) {
                break;
            }
            best = Some((strength, loss));
            strength *= WEAKER;
        }
        Ok(best)
    }

    /// The head of a strength.
    fn fit(
        &self,
        strength: f64,
        loss: Option<f64>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Solved, SolveError> {
        let mut function = self.logistic(strength, self.counts.clone(), go_on);
        let options = Options {
            memory: effort(self.labels.len(), self.values()).1,
            tolerance: WANTED.tolerance * self.first_slope(go_on)?,
            ..WANTED
        };
        let found = minimise(&mut function, vec![0.0; self.values()], options)?;
        let levels = function.outcomes(&found.x)?.into_iter().map(|o| o.level);
        let lowest = levels.fold(f64::INFINITY, f64::min);
        let head = self.scaling.back(&found.x, self.present.classes.len());
        let (weight, bias) = self.present.spread(head, lowest);
        Ok(Solved {
            weight,
            bias,
            strength,
            loss: loss.map(|loss| loss / self.terms() as f64),
            slope: found.slope,
            iterations: found.iterations,
        })
    }
}

impl Samples<'_> {
    /// How much a sample of a class counts.
    fn count(&self, label: usize) -> f64 {
        let weight = self.class_weights.and_then(|w| w.get(label));
        weight.map_or(1.0, |&w| f64::from(w))
    }
}

/// Which part of cross-validation holds a sample out.
struct Folds {
    /// Number of parts; 0 where no class has two samples.
    count: usize,
    /// Of each sample, from 0; `None` of one that is never held out.
    of: Vec<Option<usize>>,
}

impl Folds {
    /// Stratified: the samples of each class go to the parts in turn, in their order, and the next class begins
    /// where the one before ended. As many parts as the most frequent class has samples, at most.
    fn of(labels: &[usize], classes: usize) -> Self {
        let mut sizes = vec![0usize; classes];
        labels.iter().for_each(|&l| sizes[l] += 1);
        let largest = sizes.iter().copied().max().unwrap_or(0);
        let count = if largest < 2 { 0 } else { largest.min(FOLDS) };
        let mut next = vec![0usize; classes];
        let mut begun = 0;
        for (next, &size) in next.iter_mut().zip(&sizes) {
            *next = begun;
            begun += if size > 1 { size } else { 0 };
        }
        let of = labels.iter().map(|&label| {
            let turn = next[label];
            next[label] += 1;
            (sizes[label] > 1).then(|| turn % count.max(1))
        });
        Folds {
            of: of.collect(),
            count,
        }
    }
}

#[cfg(test)]
mod tests;
