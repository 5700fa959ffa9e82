//! The head that fits the features of the frozen network best, before anything else is trained.
//!
//! `solve` is the mathematics of a linear head, on numbers alone; `lbfgs` goes downhill for it on the function in
//! `logistic`. Here a [`Lab`] computes the features, and trains what is no linear head; `looks` compares ways of making
//! pixels by such heads.

mod lbfgs;
mod logistic;
mod looks;
mod solve;

use std::cell::RefCell;
use std::time::Instant;

use rayon::ThreadPoolBuilder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::data::{DataError, memory_limit};
use crate::hex;
use crate::runtime::Buffer;
use crate::surgery::{Rewrite, as_stored};
use crate::task::Task;

use super::features::Pass;
use super::identity::Identity;
use super::lab::EVALUATION_BATCH;
use super::parameters::parameter_buffers;
use super::program::boundary;
use super::{
    BatchNormMode, Checkpointing, ClassWeights, Lab, Observer, Start, Trained, TrainingError,
    TrialSpec,
};

use solve::{Samples, SolveError, Solved, solve};

pub use looks::Looks;
pub use solve::Solving;

/// A head that was solved or trained alone.
#[derive(Clone, Debug, PartialEq)]
pub struct SolvedHead {
    /// Its values, rounded to the types in which the model stores them.
    pub start: Start,
    /// How it was found.
    pub figures: HeadFigures,
}

/// How a head was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeadFigures {
    /// Of a linear head the strength of the penalty on its weights, λ of `mean loss + λ/2 ‖W‖²`, for features of
    /// variance 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// The mean loss in the cross-validation that chose it; `None` where no class had two samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Of a head that was trained, its epochs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Wall-clock seconds, with the features.
    pub seconds: f64,
}

impl Lab<'_> {
    /// The head [`Linear`](crate::surgery::HeadKind::Linear) that fits the features of `samples` as they are, without
    /// augmentation, best: multinomial logistic regression (where samples may have several labels, of each class against
    /// the others) whose penalty is chosen by stratified
    /// cross-validation. The same to the bit for a number of threads of the [`LabOptions`](super::LabOptions).
    ///
    /// # Errors
    /// When the network has another head, features are not finite, there is not memory enough, the observer asks
    /// to stop, or the runtime fails.
    pub fn solve_head(
        &self,
        samples: &[usize],
        class_weights: ClassWeights,
        observer: &mut dyn Observer,
    ) -> Result<SolvedHead, TrainingError> {
        let begun = Instant::now();
        let head = self.linear_head()?;
        self.ensure_room_to_solve(samples.len())?;
        let features = self.head_features(samples, head.columns, observer)?;
        let solved = self.solve_on(&head, samples, features, class_weights, observer)?;
        tracing::debug!(
            strength = solved.strength,
            loss = solved.loss,
            iterations = solved.iterations,
            slope = solved.slope,
            "head solved"
        );
        let (weight, bias) = match self.network.task {
            Task::SingleLabel | Task::MultiLabel => (solved.weight, solved.bias),
            Task::Binary => (apart(&solved.weight), apart(&solved.bias)),
        };
        let values = vec![(head.weight, weight), (head.bias, bias)];
        Ok(SolvedHead {
            start: Start::new(as_stored(&self.network.model, values)?),
            figures: HeadFigures {
                strength: Some(solved.strength),
                loss: solved.loss,
                epochs: None,
                seconds: begun.elapsed().as_secs_f64(),
            },
        })
    }

    /// The head of the network, of one dense layer.
    fn linear_head(&self) -> Result<LinearHead, TrainingError> {
        let head = self.network.head_parameters.as_slice();
        let prepared = self.prepare(&Rewrite::None, 1)?;
        let buffers = parameter_buffers(&prepared, head)?;
        let dims: Vec<&[usize]> = buffers.iter().map(Buffer::dims).collect();
        let ([weight, bias], [of_weight, of_bias]) = (head, dims.as_slice()) else {
            return Err(other_head());
        };
        let (&[columns, outputs], &[biases]) = (*of_weight, *of_bias) else {
            return Err(other_head());
        };
        if outputs != biases || outputs != self.network.task.outputs(prepared.classes) {
            return Err(other_head());
        }
        Ok(LinearHead {
            weight: weight.clone(),
            bias: bias.clone(),
            columns,
            classes: prepared.classes,
        })
    }

    /// Solves the head on the features of `samples`; for two classes by one output as for two outputs.
    fn solve_on(
        &self,
        head: &LinearHead,
        samples: &[usize],
        features: Vec<f32>,
        class_weights: ClassWeights,
        observer: &mut dyn Observer,
    ) -> Result<Solved, TrainingError> {
        if samples.is_empty() {
            return Err(TrainingError::NoSamples);
        }
        let &LinearHead {
            columns, classes, ..
        } = head;
        let class_weights = class_weights.of_samples(self.dataset, samples, classes);
        let labels = samples.iter().map(|&i| self.dataset.labels()[i]);
        let labels = labels.map(|label| usize::try_from(label).unwrap_or(classes));
        let labels: Vec<usize> = labels.collect();
        let sets = self.dataset.sets().map(|sets| {
            let of = |&sample: &usize| {
                let own = sets.get(sample);
                (0..classes).map(move |class| own.binary_search(&(class as u32)).is_ok())
            };
            samples.iter().flat_map(of).collect()
        });
        let pool = ThreadPoolBuilder::new()
            .num_threads(self.options.threads)
            .thread_name(|number| format!("head {number}"))
            .build()
            .map_err(|source| DataError::Threads {
                threads: self.options.threads,
                source,
            })?;
        let watching = RefCell::new((observer, None));
        let watch = |step| {
            let (observer, error) = &mut *watching.borrow_mut();
            *error = observer.solving(&step).err();
            error.is_none()
        };
        let solved = solve(
            Samples {
                features,
                columns,
                labels: &labels,
                sets,
                classes,
                class_weights: class_weights.as_deref(),
            },
            &pool,
            &watch,
        );
        let (_, asked) = watching.into_inner();
        solved.map_err(|error| match error {
            SolveError::Stopped => asked.unwrap_or(TrainingError::Stopped),
            SolveError::NotFinite { sample } => TrainingError::Features {
                sample: self.dataset.name(samples[sample]),
            },
        })
    }

    /// A head of several layers, trained as `spec` says on the features of the samples `train` as they are, without
    /// augmentation, which are computed once; what it is after its best epoch on the samples `validation`.
    ///
    /// # Errors
    /// As [`Lab::run`].
    pub fn train_head(
        &self,
        spec: &TrialSpec,
        [train, validation]: [&[usize]; 2],
        checkpoint: Option<&Checkpointing>,
        observer: &mut dyn Observer,
    ) -> Result<SolvedHead, TrainingError> {
        let begun = Instant::now();
        let all = [train, validation].concat();
        let features = self.features(spec.trained(), &all, observer)?;
        let outcome = self.run(spec, train, validation, &features, checkpoint, observer)?;
        Ok(SolvedHead {
            figures: HeadFigures {
                epochs: Some(outcome.trained_epochs()),
                // Of all sessions; the features count in the last.
                seconds: begun.elapsed().as_secs_f64().max(outcome.seconds),
                ..HeadFigures::default()
            },
            start: Start::new(as_stored(&self.network.model, outcome.parameters)?),
        })
    }

    /// What tells a head apart from one that was solved on other samples, with other settings or from other
    /// features: a digest.
    pub(crate) fn head_identity(
        &self,
        spec: &TrialSpec,
        parts: [&[usize]; 2],
    ) -> Result<String, TrainingError> {
        let buffers = self.initial_parameters(&spec.rewrite, &spec.trainable, &spec.start)?;
        let identity = Identity::new(self, spec, parts, &spec.trainable, &buffers)?;
        let text = serde_json::to_vec(&identity).unwrap_or_default();
        let of_versions = Sha256::new().chain_update(env!("CARGO_PKG_VERSION"));
        Ok(hex::encode(of_versions.chain_update(text).finalize()))
    }

    /// Refuses to solve a linear head on so many samples where there is not memory enough.
    pub(crate) fn ensure_room_to_solve(&self, samples: usize) -> Result<(), TrainingError> {
        let head = &self.network.head_parameters;
        let buffers = self.initial_parameters(&Rewrite::None, head, &Start::default())?;
        let Some(&[columns, classes]) = buffers.first().map(Buffer::dims) else {
            return Ok(());
        };
        let bytes = solve::bytes(samples as u64, columns as u64, classes as u64);
        match memory_limit() {
            Some(limit) if bytes > limit => Err(TrainingError::HeadMemory { bytes, limit }),
            _ => Ok(()),
        }
    }

    /// What the head's dense layer reads of some samples, row by row.
    fn head_features(
        &self,
        samples: &[usize],
        columns: usize,
        observer: &mut dyn Observer,
    ) -> Result<Vec<f32>, TrainingError> {
        let trained = Trained {
            parameters: &self.network.head_parameters,
            batch_norm: BatchNormMode::Frozen,
            rewrite: &Rewrite::None,
        };
        let source = self.live_features(trained)?;
        let mut features = Vec::with_capacity(samples.len() * columns);
        let mut buffers: Option<(usize, Vec<Buffer>)> = None;
        for (number, batch) in samples.chunks(EVALUATION_BATCH).enumerate() {
            observer.features(number * EVALUATION_BATCH, samples.len())?;
            if buffers
                .as_ref()
                .is_none_or(|(size, _)| *size != batch.len())
            {
                let mut folded = self.prepare_for(trained, batch.len())?;
                folded.fold()?;
                let ports = boundary(&folded, trained.parameters)?.into_iter();
                let zeros = ports.map(|port| Buffer::zeros_f32(&port.dims));
                buffers = Some((batch.len(), zeros.collect::<Result<_, _>>()?));
            }
            let Some((_, buffers)) = &buffers else {
                continue;
            };
            source.gather(self, batch, buffers, Pass::Plain)?;
            let [rows] = buffers.as_slice() else {
                return Err(other_head());
            };
            features.extend_from_slice(&rows.as_f32()?);
        }
        observer.features(samples.len(), samples.len())?;
        match features.len() == samples.len() * columns {
            true => Ok(features),
            false => Err(other_head()),
        }
    }
}

/// A head of one dense layer.
struct LinearHead {
    /// The names of its parameters.
    weight: String,
    bias: String,
    columns: usize,
    classes: usize,
}

/// Of each pair of values of two classes how much more the second is: what one output has in their place.
fn apart(values: &[f32]) -> Vec<f32> {
    let (pairs, _) = values.as_chunks::<2>();
    pairs.iter().map(|[first, second]| second - first).collect()
}

fn other_head() -> TrainingError {
    TrainingError::Mismatch(
        "only a head of one dense layer, with weight and bias, can be solved".to_owned(),
    )
}
