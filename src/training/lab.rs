//! Where trials run: a network, data, a device.

mod options;
mod predict;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use crate::autodiff::{Operators, Targets};
use crate::classifier::InputSpec;
use crate::data::{Augmenter, Dataset, Layout, MemoryBudget, View};
use crate::graph::Graph;
use crate::runtime::{Buffer, Runtime, Session};
use crate::surgery::{Dropout, Grafted, Rewrite, Rewritten, trained_batch_norms};

pub use options::LabOptions;
pub use predict::Logits;
pub(super) use predict::{EVALUATION_BATCH, refuse_probabilities};

use crate::task::Task;

use super::apart;
use super::bank::FeatureBank;
use super::engine::StepMaker;
use super::features::{Features, Pass, Versions};
use super::groups::{Asked, FilterGroups};
use super::in_graph::{UpdatedProgram, Updating};
use super::parameters::parameter_buffers;
use super::program::{
    Prepared, Program, evaluation_program, step_of_whole_gradients, step_program,
};
use super::sessions::{Bound, SessionMaker, usable};
use super::{BatchNormMode, Observer, Start, Trained, TrainingError, TrialSpec};

/// A grafted network with its data, on which trials are run.
///
/// Trials may have different [rewrites](Rewrite) of the network; they share the data, the memory budget,
/// weights and the outputs of frozen layers. It may be shared between threads that run trials side by side.
pub struct Lab<'a> {
    pub(super) network: &'a Grafted,
    pub(super) dataset: &'a Dataset,
    input: InputSpec,
    sessions: SessionMaker<'a>,
    pub(super) options: LabOptions,
    /// What all features of the lab share.
    pub(super) budget: MemoryBudget,
    sample_dims: Vec<usize>,
    /// The network after the rewrites of trials so far.
    rewritten: Mutex<HashMap<Rewrite, Arc<Rewritten>>>,
    /// The rewrites after which the network was seen to keep samples apart.
    apart: Mutex<HashSet<Rewrite>>,
    /// Of trials so far.
    pub(super) groups: Mutex<Vec<(Asked, Arc<FilterGroups>)>>,
    /// Who makes the steps of trials; `None` where these make them themselves.
    pub(super) step_maker: Option<Box<dyn StepMaker>>,
}

impl<'a> Lab<'a> {
    /// A lab for `network` and `dataset`, whose samples must fit the network's input.
    ///
    /// # Errors
    /// When labels do not fit the model's classes or its task, arrays are to be augmented, the model cannot be
    /// brought to normal form, or its output is probabilities by the look of them though nothing tells of
    /// what.
    pub fn new(
        runtime: &'a Runtime,
        network: &'a Grafted,
        dataset: &'a Dataset,
        input: InputSpec,
        options: LabOptions,
    ) -> Result<Self, TrainingError> {
        options.augment.check(dataset)?;
        let sample_dims = input.sample_dims(dataset.sample_shape());
        let lab = Lab {
            sessions: SessionMaker::new(runtime, options.device, options.operators)
                .tf32(options.tf32),
            network,
            dataset,
            input,
            budget: MemoryBudget::new(options.memory_budget),
            options,
            sample_dims,
            rewritten: Mutex::default(),
            apart: Mutex::default(),
            groups: Mutex::default(),
            step_maker: None,
        };
        let classes = lab.prepare(&Rewrite::None, 1)?.classes;
        let all =
            (0..dataset.len()).flat_map(|i| dataset.classes_of(i).map(move |class| (i, class)));
        if let Some((i, label)) = all.into_iter().find(|&(_, class)| class >= classes) {
            return Err(TrainingError::Label {
                name: dataset.name(i),
                label: label as i64,
                classes,
            });
        }
        if network.task.is_multi_label() != dataset.sets().is_some() {
            return Err(TrainingError::Mismatch(format!(
                "the network is of task {}, the samples are of {}",
                network.task,
                dataset.task()
            )));
        }
        if network.task == Task::SingleLabel {
            lab.refuse_probabilities()?;
        }
        Ok(lab)
    }

    /// Has the steps of its trials made by this.
    pub(crate) fn with_steps_by(mut self, maker: Option<Box<dyn StepMaker>>) -> Self {
        self.step_maker = maker;
        self
    }

    /// Names of the parameters of a new head, in the order of its layers.
    pub(crate) fn head_parameters(&self) -> &[String] {
        &self.network.head_parameters
    }

    pub(super) fn operators(&self) -> Operators {
        usable(self.options.operators, self.options.device)
    }

    /// The label of each sample, see [`Dataset::labels`].
    pub fn labels(&self) -> &[i64] {
        self.dataset.labels()
    }

    /// Dimensions of a sample as the model's input has it, and their order.
    pub(super) fn sample(&self) -> (&[usize], Layout) {
        (&self.sample_dims, self.input.layout)
    }

    /// How samples become the model's input.
    pub(super) fn input(&self) -> &InputSpec {
        &self.input
    }

    /// The network after a rewrite, made when it is first asked for; `None` for the grafted network itself.
    pub(super) fn rewritten(
        &self,
        rewrite: &Rewrite,
    ) -> Result<Option<Arc<Rewritten>>, TrainingError> {
        if rewrite.is_none() {
            return Ok(None);
        }
        let mut made = self.rewritten.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(known) = made.get(rewrite) {
            return Ok(Some(Arc::clone(known)));
        }
        let new = Arc::new(rewrite.apply(self.network)?);
        made.insert(rewrite.clone(), Arc::clone(&new));
        Ok(Some(new))
    }

    /// The parameters that a rewrite adds to the network.
    pub(super) fn added(&self, rewrite: &Rewrite) -> Result<Vec<String>, TrainingError> {
        let rewritten = self.rewritten(rewrite)?;
        Ok(rewritten.map_or_else(Vec::new, |r| r.parameters.clone()))
    }

    /// Where a trial of this rewrite applies dropout.
    pub(super) fn dropout(&self, rewrite: &Rewrite) -> Result<Vec<Dropout>, TrainingError> {
        let rewritten = self.rewritten(rewrite)?;
        let dropout = rewritten.as_ref().map(|r| &r.dropout);
        Ok(dropout.unwrap_or(&self.network.dropout).clone())
    }

    /// The network after a rewrite in normal form for `batch` samples. One of which it is in doubt whether it
    /// mixes the samples of a batch is run on random ones, together and apart, when several are first asked for.
    pub(super) fn prepare(
        &self,
        rewrite: &Rewrite,
        batch: usize,
    ) -> Result<Prepared, TrainingError> {
        let sample = &self.sample_dims;
        let task = self.network.task;
        let rewritten = self.rewritten(rewrite)?;
        let (model, prepared) = match &rewritten {
            None => {
                let model = &self.network.model;
                (model, Prepared::of(model, batch, sample, task)?)
            }
            Some(rewritten) => {
                let prepared = Prepared::rewritten(rewritten, batch, sample, task)?;
                (&rewritten.model, prepared)
            }
        };
        let mut apart = self.apart.lock().unwrap_or_else(|e| e.into_inner());
        // A sample alone has none to be mixed with.
        if batch > 1 && !apart.contains(rewrite) {
            if apart::is_in_doubt(&prepared) {
                apart::compare(&self.sessions, model, sample, task, self.options.threads)?;
            }
            apart.insert(rewrite.clone());
        }
        drop(apart);
        Ok(prepared)
    }

    pub(super) fn prepare_for(
        &self,
        trained: Trained<'_>,
        batch: usize,
    ) -> Result<Prepared, TrainingError> {
        self.prepare(trained.rewrite, batch)?.for_training(trained)
    }

    /// Loss (mean cross-entropy, of [several labels](crate::task::Task::MultiLabel) binary cross-entropy, and the penalties of a rewritten network) and gradients of one batch, as
    /// parameters stand in the model, or where training begins. Nothing is drawn: dropout does not run, and noise is at rest.
    ///
    /// # Errors
    /// When there is no gradient for a parameter or the runtime fails.
    pub fn gradients(
        &self,
        trained: Trained<'_>,
        start: &Start,
        samples: &[usize],
    ) -> Result<(f32, Vec<Gradient>), TrainingError> {
        if samples.is_empty() {
            return Err(TrainingError::NoSamples);
        }
        let features = self.features(trained, samples, &mut ())?;
        let parameters = self.initial_parameters(trained.rewrite, trained.parameters, start)?;
        let prepared = self.prepare_for(trained, samples.len())?;
        let program = step_program(&prepared, trained.parameters, &[], self.operators())?;
        let mut bound = self.bind_program(program, "gradients", &parameters)?;
        features.gather(self, samples, &bound.inputs.features, Pass::Plain)?;
        bound.inputs.set_labels(self.dataset, samples)?;
        bound.session.run_bound(&mut bound.binding)?;
        let gradients = trained
            .parameters
            .iter()
            .zip(&bound.gradients)
            .zip(&parameters)
            .map(|((name, gradient), parameter)| {
                Ok(Gradient {
                    name: name.clone(),
                    dims: parameter.dims().to_vec(),
                    values: gradient.read(|values| values.to_vec())?,
                })
            })
            .collect::<Result<_, TrainingError>>()?;
        let loss = bound.loss()?;
        Ok((bound.penalty()?.map_or(loss, |p| loss + p), gradients))
    }

    /// What the user should know of training `trained`: that no BatchNormalization takes the
    /// statistics of the batch though that is asked for, or that some do not.
    ///
    /// # Errors
    /// When the model cannot be brought to normal form.
    pub fn batch_norm_note(&self, trained: Trained<'_>) -> Result<Option<String>, TrainingError> {
        if trained.batch_norm == BatchNormMode::Frozen {
            return Ok(None);
        }
        let norms =
            trained_batch_norms(&self.prepare(trained.rewrite, 1)?.graph, trained.parameters)?;
        Ok(match norms.shared.first() {
            None if norms.own.is_empty() => {
                Some("no BatchNormalization is trained: --bn batch changes nothing".to_owned())
            }
            None => None,
            Some(first) => Some(format!(
                "{} of {} trained BatchNormalizations (the first is that of `{first}`) keep their \
                 stored statistics, because these are computed or have another reader",
                norms.shared.len(),
                norms.shared.len() + norms.own.len()
            )),
        })
    }

    /// The frozen features of `samples` as they are, for a trial that trains `trained` (not yet
    /// computed where they are the input itself). Several trials share a feature bank.
    ///
    /// # Errors
    /// When the observer asks to stop, neither memory nor disk has room, or the runtime fails.
    pub fn features(
        &self,
        trained: Trained<'_>,
        samples: &[usize],
        observer: &mut dyn Observer,
    ) -> Result<Arc<Features>, TrainingError> {
        let threads = self.options.threads;
        FeatureBank::with(
            self,
            &[trained],
            (samples, &[]),
            Versions::default(),
            threads,
        )?
        .features(0, observer)
    }

    /// A session for some of the frozen layers; 0 `threads` for all cores.
    pub(super) fn frozen_session(
        &self,
        graph: &Graph,
        threads: usize,
    ) -> Result<Session, TrainingError> {
        self.sessions.frozen(graph, threads)
    }

    /// Writes the model's input for some views of samples.
    pub(super) fn write_views(
        &self,
        views: &[View],
        augmenter: &Augmenter,
        values: &mut [f32],
    ) -> Result<(), TrainingError> {
        let InputSpec { preprocess, layout } = &self.input;
        self.dataset
            .write_views(views, augmenter, preprocess, *layout, values)?;
        Ok(())
    }

    /// A session of the lab's threads.
    pub(super) fn bind_program(
        &self,
        program: Program,
        label: &str,
        parameters: &[Buffer],
    ) -> Result<Bound, TrainingError> {
        self.sessions
            .bind(program, label, parameters, self.options.threads)
    }

    pub(super) fn bind_step(
        &self,
        spec: &TrialSpec,
        targets: &Targets,
        batch: usize,
        parameters: &[Buffer],
    ) -> Result<Bound, TrainingError> {
        let prepared = self.prepare_step(spec, targets, batch)?;
        let dropout = self.dropout(&spec.rewrite)?;
        let program = step_program(&prepared, &spec.trainable, &dropout, self.operators())?;
        self.sessions
            .bind(program, "training step", parameters, spec.threads)
    }

    /// Loss and gradients of a trial behind the frozen layers, each gradient one value.
    pub(super) fn step_of(
        &self,
        spec: &TrialSpec,
        targets: &Targets,
        batch: usize,
        operators: Operators,
    ) -> Result<Program, TrainingError> {
        let prepared = self.prepare_step(spec, targets, batch)?;
        let dropout = self.dropout(&spec.rewrite)?;
        step_of_whole_gradients(&prepared, &spec.trainable, &dropout, operators)
    }

    fn prepare_step(
        &self,
        spec: &TrialSpec,
        targets: &Targets,
        batch: usize,
    ) -> Result<Prepared, TrainingError> {
        let mut prepared = self.prepare_for(spec.trained(), batch)?;
        prepared.targets = targets.clone();
        prepared.is_mixed = spec.mixes();
        Ok(prepared)
    }

    /// A step of a trial with its update in the graph, and its session.
    pub(super) fn updated_step(
        &self,
        spec: &TrialSpec,
        targets: &Targets,
        batch: usize,
        by: Updating<'_>,
    ) -> Result<(UpdatedProgram, Session), TrainingError> {
        let prepared = self.prepare_step(spec, targets, batch)?;
        let dropout = self.dropout(&spec.rewrite)?;
        let trained = (spec.trainable.as_slice(), dropout.as_slice());
        let made = UpdatedProgram::new(&prepared, trained, self.operators(), by)?;
        let session = self
            .sessions
            .updated_step(&made.program.graph, spec.threads)?;
        Ok((made, session))
    }

    pub(super) fn bind_evaluation(
        &self,
        trained: Trained<'_>,
        batch: usize,
        parameters: &[Buffer],
        threads: usize,
    ) -> Result<Bound, TrainingError> {
        let prepared = self.prepare_for(trained, batch)?;
        let program = evaluation_program(&prepared, trained.parameters, self.operators())?;
        self.sessions
            .bind(program, "evaluation", parameters, threads)
    }

    /// The values of parameters of the network as it stands.
    pub(crate) fn values_of(&self, names: &[String]) -> Result<Vec<Vec<f32>>, TrainingError> {
        let buffers = self.initial_parameters(&Rewrite::None, names, &Start::default())?;
        let values = buffers.iter().map(|buffer| Ok(buffer.as_f32()?.to_vec()));
        values.collect()
    }

    /// Buffers with the values of the named initializers: those of `start`, of the others as in the model.
    pub(super) fn initial_parameters(
        &self,
        rewrite: &Rewrite,
        names: &[String],
        start: &Start,
    ) -> Result<Vec<Buffer>, TrainingError> {
        let buffers = parameter_buffers(&self.prepare(rewrite, 1)?, names)?;
        start.put(names, &buffers)?;
        self.network.model.release();
        Ok(buffers)
    }
}

/// The gradient of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradient {
    /// Name of the parameter's initializer.
    pub name: String,
    /// Its dimensions.
    pub dims: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f32>,
}
