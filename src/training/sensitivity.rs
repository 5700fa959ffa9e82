//! What the gradients of single samples say of a network's tensors, before anything is trained.

use super::features::Pass;
use super::lab::Lab;
use super::program::step_program;
use super::{Observer, Start, Trained, TrainingError};

/// What the gradients gₙ of N samples, each by itself, say of a tensor w: sums over its elements i.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensitivity {
    /// Name of the initializer.
    pub name: String,
    /// Number of elements.
    pub elements: usize,
    /// Σᵢ wᵢ².
    pub weight: f64,
    /// Σᵢ ḡᵢ², ḡ the mean gradient of the samples.
    pub gradient: f64,
    /// Σᵢ meanₙ gₙᵢ²: the trace of the empirical Fisher information.
    pub fisher: f64,
    /// Σᵢ ḡᵢ² / varₙ gₙᵢ, the signal-to-noise ratio; elements whose gradient is the same for all samples count 0.
    pub signal: f64,
    /// Σᵢ ḡᵢ² · meanₙ gₙᵢ²: the curvature along ḡ, of a quadratic model with the diagonal of the Fisher
    /// information.
    pub curvature: f64,
}

/// Running sums of a tensor's gradients.
struct Sums {
    sum: Vec<f32>,
    squares: Vec<f32>,
}

impl Lab<'_> {
    /// What the gradients of `samples`, one by one, say of each of the trained parameters as they stand in
    /// the model. Nothing is drawn, and BatchNormalizations take their stored statistics.
    ///
    /// Two numbers are kept for each trained value. The observer hears of each sample that is
    /// [scored](Observer::scored).
    ///
    /// # Errors
    /// When there is no sample, no gradient for a parameter, the observer asks to stop, or the runtime fails.
    pub fn sensitivity(
        &self,
        trained: Trained<'_>,
        start: &Start,
        samples: &[usize],
        observer: &mut dyn Observer,
    ) -> Result<Vec<Sensitivity>, TrainingError> {
        if samples.is_empty() {
            return Err(TrainingError::NoSamples);
        }
        let features = self.features(trained, samples, observer)?;
        let parameters = self.initial_parameters(trained.rewrite, trained.parameters, start)?;
        let prepared = self.prepare_for(trained, 1)?;
        let program = step_program(&prepared, trained.parameters, &[], self.operators())?;
        let mut bound = self.bind_program(program, "gradients of a sample", &parameters)?;
        let zeros = |count: usize| Sums {
            sum: vec![0.0; count],
            squares: vec![0.0; count],
        };
        let counts = parameters.iter().map(|p| p.dims().iter().product());
        let mut sums: Vec<Sums> = counts.map(zeros).collect();
        for (done, sample) in samples.chunks(1).enumerate() {
            features.gather(self, sample, &bound.inputs.features, Pass::Plain)?;
            bound.inputs.set_labels(self.dataset, sample)?;
            bound.session.run_bound(&mut bound.binding)?;
            for (gradient, Sums { sum, squares }) in bound.gradients.iter().zip(&mut sums) {
                gradient.read(|values| {
                    values.pieces(0..sum.len(), |start, piece| {
                        let range = start..start + piece.len();
                        let kept = sum[range.clone()].iter_mut().zip(&mut squares[range]);
                        for ((sum, square), g) in kept.zip(piece) {
                            *sum += g;
                            *square += g * g;
                        }
                    });
                })?;
            }
            observer.scored(done + 1, samples.len())?;
        }
        let named = trained.parameters.iter().zip(&parameters).zip(sums);
        named
            .map(|((name, parameter), sums)| {
                let weight = parameter.as_f32()?.iter().map(|&w| square(w)).sum();
                Ok(sums.end(name.clone(), weight, samples.len()))
            })
            .collect()
    }
}

fn square(value: f32) -> f64 {
    f64::from(value) * f64::from(value)
}

impl Sums {
    /// What they come to over so many samples.
    fn end(self, name: String, weight: f64, samples: usize) -> Sensitivity {
        let n = samples as f64;
        let mut found = Sensitivity {
            name,
            elements: self.sum.len(),
            weight,
            gradient: 0.0,
            fisher: 0.0,
            signal: 0.0,
            curvature: 0.0,
        };
        for (&sum, &squares) in self.sum.iter().zip(&self.squares) {
            let mean = f64::from(sum) / n;
            let second = f64::from(squares) / n;
            let variance = second - mean * mean;
            found.gradient += mean * mean;
            found.fisher += second;
            found.curvature += mean * mean * second;
            // Below it the difference of the two is rounding.
            if variance > 1e-6 * second {
                found.signal += mean * mean / variance;
            }
        }
        found
    }
}
