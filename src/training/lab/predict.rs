//! What a network gives for samples: predictions, and whether its output can be logits.

use crate::classifier::{Prediction, Predictions, Several};
use crate::data::Dataset;
use crate::graph::Graph;
use crate::runtime::Buffer;
use crate::surgery::{Rewrite, Scores, ending};

use crate::training::features::{Features, Pass, Versions};
use crate::training::live::Live;
use crate::training::program::{boundary, evaluation_program};
use crate::training::sessions::{Bound, Sessions};
use crate::training::start::put;
use crate::training::{BatchNormMode, Observer, Start, Trained, TrainingError, TrialSpec};

use super::Lab;

/// Samples per run of the frozen prefix and of evaluation.
pub(in crate::training) const EVALUATION_BATCH: usize = 8;
/// Samples whose outputs tell whether they are probabilities.
const LOOKED_AT: usize = 8;

/// Refuses `output`, in which no softmax was found, where its `values` are probabilities by the look of
/// them: rows of `classes`.
///
/// # Errors
/// [`TrainingError::Probabilities`].
pub(in crate::training) fn refuse_probabilities(
    output: &str,
    values: &[f32],
    classes: usize,
) -> Result<(), TrainingError> {
    match Scores::Logits.of_values(values, classes) {
        Scores::Probabilities => Err(TrainingError::Probabilities {
            output: output.to_owned(),
            samples: values.len() / classes.max(1),
        }),
        _ => Ok(()),
    }
}

/// The logits of some samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Logits {
    /// Row-major [samples, classes].
    pub values: Vec<f32>,
    /// Number of classes.
    pub classes: usize,
}

/// Gets a batch of samples, their logits, row by row, and the number of classes.
type Rows<'r> = &'r mut dyn FnMut(&[usize], &[f32], usize);

/// Keeps of each sample what its logits say.
struct Scoring<'a> {
    dataset: &'a Dataset,
    predictions: Predictions,
}

impl<'a> Scoring<'a> {
    fn new(lab: &Lab<'a>) -> Self {
        Scoring {
            dataset: lab.dataset,
            predictions: Predictions {
                several: lab.dataset.sets().map(|_| Several::default()),
                ..Predictions::default()
            },
        }
    }

    fn rows(&mut self) -> impl FnMut(&[usize], &[f32], usize) + '_ {
        |batch, logits, classes| {
            let predictions = &mut self.predictions;
            predictions.classes = classes;
            for (row, &sample) in logits.chunks(classes.max(1)).zip(batch) {
                match self.dataset.sets() {
                    None => {
                        let label = self.dataset.labels()[sample];
                        predictions.samples.push(Prediction::of(row, label));
                    }
                    Some(sets) => predictions.push_several(row, sets.get(sample)),
                }
            }
        }
    }

    fn end(self) -> Predictions {
        self.predictions
    }
}

impl Lab<'_> {
    /// What the network makes of `samples` with the given values of some parameters and running statistics,
    /// its own for the others; [`Lab::predict_watched`] takes a rewritten network.
    ///
    /// # Errors
    /// When a parameter is unknown or the runtime fails.
    pub fn predict(
        &self,
        parameters: &[(String, Vec<f32>)],
        samples: &[usize],
    ) -> Result<Predictions, TrainingError> {
        self.predict_watched(&Rewrite::None, parameters, samples, &mut ())
    }

    /// As [`Lab::predict`], of the network after a rewrite, and the observer hears of every batch that is
    /// [scored](Observer::scored).
    ///
    /// # Errors
    /// As [`Lab::predict`], and when the observer asks to stop.
    pub fn predict_watched(
        &self,
        rewrite: &Rewrite,
        parameters: &[(String, Vec<f32>)],
        samples: &[usize],
        observer: &mut dyn Observer,
    ) -> Result<Predictions, TrainingError> {
        let mut predictions = Scoring::new(self);
        let of = (parameters, samples);
        self.run_with((rewrite, &[]), of, &mut predictions.rows(), observer)?;
        Ok(predictions.end())
    }

    /// The logits behind [`Lab::predict_watched`], all of them: for a few samples.
    ///
    /// # Errors
    /// As [`Lab::predict`].
    pub fn logits(
        &self,
        rewrite: &Rewrite,
        parameters: &[(String, Vec<f32>)],
        samples: &[usize],
    ) -> Result<Logits, TrainingError> {
        let mut logits = Logits {
            values: Vec::new(),
            classes: 0,
        };
        let mut rows = |_: &[usize], values: &[f32], classes| {
            logits.values.extend_from_slice(values);
            logits.classes = classes;
        };
        self.run_with((rewrite, &[]), (parameters, samples), &mut rows, &mut ())?;
        Ok(logits)
    }

    /// What some values of the network after a rewrite are for `samples`, `[N, width]` each, one behind the other:
    /// `each` gets a batch of samples and a row for every one of it.
    ///
    /// # Errors
    /// As [`Lab::predict_watched`], and when a value is unknown or has other dimensions.
    pub fn read(
        &self,
        (rewrite, values): (&Rewrite, &[String]),
        parameters: &[(String, Vec<f32>)],
        samples: &[usize],
        each: &mut dyn FnMut(&[usize], &[f32]),
        observer: &mut dyn Observer,
    ) -> Result<(), TrainingError> {
        let of_logits = self.prepare(rewrite, 1)?.classes;
        let mut rows = |batch: &[usize], all: &[f32], width: usize| {
            let own = all.chunks(width.max(1)).flat_map(|row| &row[of_logits..]);
            each(batch, &own.copied().collect::<Vec<f32>>());
        };
        self.run_with(
            (rewrite, values),
            (parameters, samples),
            &mut rows,
            observer,
        )
    }

    fn run_with(
        &self,
        (rewrite, values): (&Rewrite, &[String]),
        (parameters, samples): (&[(String, Vec<f32>)], &[usize]),
        rows: Rows<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainingError> {
        let names: Vec<String> = parameters.iter().map(|(n, _)| n.clone()).collect();
        let buffers = self.filled(rewrite, &names, parameters)?;
        let given = Trained {
            parameters: &names,
            batch_norm: BatchNormMode::Frozen,
            rewrite,
        };
        // Each sample is read once: nothing is kept.
        let features = self.live_features(given)?;
        let bind = |n| self.bind_reading(given, values, n, &buffers);
        let mut sessions = Sessions::default();
        self.each_batch(&features, samples, (&mut sessions, &bind), rows, observer)
    }

    fn bind_reading(
        &self,
        given: Trained<'_>,
        values: &[String],
        batch: usize,
        parameters: &[Buffer],
    ) -> Result<Bound, TrainingError> {
        let threads = self.options.threads;
        if values.is_empty() {
            return self.bind_evaluation(given, batch, parameters, threads);
        }
        let mut prepared = self.prepare_for(given, batch)?;
        prepared.read(values)?;
        let program = evaluation_program(&prepared, given.parameters, self.operators())?;
        self.sessions
            .bind(program, "evaluation", parameters, threads)
    }

    /// Buffers of the parameters of these names, which are those of `parameters`, with their values.
    fn filled(
        &self,
        rewrite: &Rewrite,
        names: &[String],
        parameters: &[(String, Vec<f32>)],
    ) -> Result<Vec<Buffer>, TrainingError> {
        let buffers = self.initial_parameters(rewrite, names, &Start::default())?;
        put(parameters, names, &buffers)?;
        Ok(buffers)
    }

    /// What a trial's network makes of `samples` with the parameters and running statistics of its
    /// [outcome](crate::training::TrialOutcome::parameters), from their frozen `features`.
    ///
    /// # Errors
    /// When the parameters are not those of the trial, the observer asks to stop, or the runtime fails.
    pub fn predict_trained(
        &self,
        spec: &TrialSpec,
        parameters: &[(String, Vec<f32>)],
        (samples, features): (&[usize], &Features),
        observer: &mut dyn Observer,
    ) -> Result<Predictions, TrainingError> {
        let names: Vec<String> = parameters.iter().map(|(n, _)| n.clone()).collect();
        let buffers = self.filled(&spec.rewrite, &names, parameters)?;
        let bind = |n| self.bind_evaluation(spec.trained(), n, &buffers, spec.threads);
        self.evaluate(features, samples, &mut Sessions::default(), bind, observer)
    }

    /// What the network makes of `samples`, in sessions that `bind` makes for so many samples.
    pub(in crate::training) fn evaluate(
        &self,
        features: &Features,
        samples: &[usize],
        sessions: &mut Sessions<Bound>,
        bind: impl Fn(usize) -> Result<Bound, TrainingError>,
        observer: &mut dyn Observer,
    ) -> Result<Predictions, TrainingError> {
        let mut judge = Scoring::new(self);
        let sessions = (sessions, &bind as &dyn Fn(usize) -> _);
        self.each_batch(features, samples, sessions, &mut judge.rows(), observer)?;
        Ok(judge.end())
    }

    /// Gives `rows` the logits of each batch of samples.
    fn each_batch(
        &self,
        features: &Features,
        samples: &[usize],
        (sessions, bind): (
            &mut Sessions<Bound>,
            &dyn Fn(usize) -> Result<Bound, TrainingError>,
        ),
        rows: Rows<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainingError> {
        let mut done = 0;
        for batch in samples.chunks(EVALUATION_BATCH) {
            let bound = sessions.get(batch.len(), || bind(batch.len()))?;
            features.gather(self, batch, &bound.inputs.features, Pass::Plain)?;
            bound.session.run_bound(&mut bound.binding)?;
            let classes = bound.program.logits.dims[1];
            rows(batch, &bound.logits.as_f32()?, classes);
            done += batch.len();
            observer.scored(done, samples.len())?;
        }
        Ok(())
    }

    /// Refuses a network whose output, in which no softmax was found, gives probabilities for some samples.
    pub(super) fn refuse_probabilities(&self) -> Result<(), TrainingError> {
        let graph = Graph::from_model(&self.network.model)?;
        if ending(&graph)?.scores != Scores::Logits {
            return Ok(());
        }
        let stride = self.dataset.len().div_ceil(LOOKED_AT).max(1);
        let samples: Vec<usize> = (0..self.dataset.len()).step_by(stride).collect();
        let Logits { values, classes } = self.logits(&Rewrite::None, &[], &samples)?;
        refuse_probabilities(&self.network.output, &values, classes)
    }

    /// Frozen features of any samples, computed when they are asked for.
    pub(crate) fn live_features(&self, trained: Trained<'_>) -> Result<Features, TrainingError> {
        let mut folded = self.prepare_for(trained, 1)?;
        folded.fold()?;
        let ports = boundary(&folded, trained.parameters)?;
        let values: Vec<String> = ports.into_iter().map(|p| p.name).collect();
        let versions = Versions::default();
        if values.iter().all(|name| *name == folded.input) {
            return Ok(Features::input(versions));
        }
        let live = Live::new(values, self.options.threads);
        Ok(Features::frozen(None, live, versions))
    }
}
