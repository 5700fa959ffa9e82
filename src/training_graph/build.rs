//! Making a training graph.

use std::collections::HashMap;

use crate::autodiff::Operators;
use crate::graph::{Builder, Graph, Names, Value};
use crate::hex;
use crate::onnx::messages::ModelProto;
use crate::onnx::{DataType, Model};
use crate::surgery::Rewrite;
use crate::training::program::{LABELS as CLASSES, Prepared, Program, TARGETS, whole_program};
use crate::training::{GradientOutput, Objective, Trained, rename};

use super::any_batch::{SIZES, joined};
use super::contract::{LABELS, LEARNING_RATE, LOSS};
use super::update::{Update, Updates};
use super::{Batch, Contract, Slot, State, TrainingGraphError, TrainingOptions};

/// A graph that trains, and what it begins with.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingGraph {
    /// The model: standard operators of opset 21, IR 10, float32. Frozen weights are inside, trained ones are not.
    pub model: ModelProto,
    /// The names of what goes in and comes out.
    pub contract: Contract,
    /// The state before the first step: parameters and running statistics as the model has them, moments of 0, averages
    /// that are the parameters.
    pub state: State,
    /// The batch size of the export, where the model had to be freed from it; see
    /// [`samples_stay_apart`](crate::training::samples_stay_apart).
    pub freed: Option<usize>,
}

/// The graph that trains the parameters `trainable` of `model` for samples of dimensions `sample`, where `backbone` is the
/// [hash](crate::adapter::backbone_sha256) of the file that the model was read from.
///
/// A run takes a batch, a learning rate and the state, and gives the loss and the logits before the update, and the state
/// behind it: the update of [`Optimizer`](crate::training::Optimizer) by gradients that are clipped to a norm, running
/// statistics that follow the batch's, and averages of all of them, each as in a trial. Dropout does not run. For an
/// objective that is a value of the model ([`Objective::Output`]), that is the one that the model
/// [is asked for](Model::with_scores).
///
/// # Errors
/// When the model cannot be brought to normal form at these dimensions, its output is not as the objective takes it, a
/// parameter is unknown or there is no gradient for it, the batch size cannot be left open, an input or output of
/// the model has a name that the state has.
pub fn training_graph(
    model: &Model,
    backbone: &str,
    trainable: &[String],
    sample: &[usize],
    options: &TrainingOptions,
) -> Result<TrainingGraph, TrainingGraphError> {
    if trainable.is_empty() {
        return Err(TrainingGraphError::Mismatch(
            "there is no parameter to train".to_owned(),
        ));
    }
    let maker = Maker {
        model,
        trainable,
        sample,
        options,
    };
    let mut forward = maker.differentiated()?;
    let backbone = hex::decode(backbone).unwrap_or_default();
    let made = maker.append(&mut forward, backbone)?;
    maker.name(forward, made)
}

/// What a step is made of.
pub(super) struct Maker<'a> {
    pub model: &'a Model,
    pub trainable: &'a [String],
    pub sample: &'a [usize],
    pub options: &'a TrainingOptions,
}

/// Forward pass, loss and gradients.
pub(super) struct Forward {
    pub prepared: Prepared,
    pub program: Program,
}

impl Maker<'_> {
    /// For the batch size of the options, or any.
    pub fn differentiated(&self) -> Result<Forward, TrainingGraphError> {
        match self.options.batch {
            Batch::Fixed(batch) => self.forward(batch, Operators::Standard),
            Batch::Any => {
                let [first, second, third] = SIZES.map(|n| self.forward(n, Operators::AnyBatch));
                let (mut first, second, third) = (first?, second?, third?);
                let graphs = [&first, &second, &third].map(|forward| &forward.program.graph);
                first.program.graph = joined(graphs)?;
                Ok(first)
            }
        }
    }

    fn forward(&self, batch: usize, operators: Operators) -> Result<Forward, TrainingGraphError> {
        let trained = Trained {
            parameters: self.trainable,
            batch_norm: self.options.batch_norm,
            rewrite: &Rewrite::None,
        };
        let objective = self.options.objective;
        let prepared = Prepared::of(self.model, batch, self.sample, objective)?;
        let mut prepared = prepared.for_training(trained)?;
        prepared.targets = self.options.targets.clone();
        let program = whole_program(&prepared, self.trainable, operators)?;
        Ok(Forward { prepared, program })
    }

    /// Appends the update to forward pass, loss and gradients, which become inner values.
    fn append(
        &self,
        forward: &mut Forward,
        backbone: Vec<u8>,
    ) -> Result<Update, TrainingGraphError> {
        let Forward { prepared, program } = forward;
        let Some((_, gradients)) = &program.loss else {
            return Err(TrainingGraphError::Mismatch(
                "the step has no loss".to_owned(),
            ));
        };
        // Of standard operators, so that each is one value.
        let gradients = gradients.iter().flat_map(GradientOutput::ports);
        let gradients: Vec<String> = gradients.map(|port| port.name.clone()).collect();
        let tensor = |name: &String| {
            let tensor = prepared.graph.initializers.get(name).cloned();
            tensor.ok_or_else(|| TrainingGraphError::Mismatch(format!("there is no `{name}`")))
        };
        let mut builder = Builder::new(&mut program.graph);
        let mut updates = Updates::new(&mut builder, self.options, &backbone);
        updates.clip(&gradients);
        for (parameter, gradient) in self.trainable.iter().zip(&gradients) {
            updates.parameter(parameter, tensor(parameter)?, gradient);
        }
        for (norm, step) in prepared.batch_norms.iter().zip(&program.norms) {
            let running = [tensor(&norm.mean)?, tensor(&norm.variance)?];
            let open = match self.options.batch {
                Batch::Fixed(_) => None,
                Batch::Any => Some((prepared.input.as_str(), step.count / SIZES[0])),
            };
            updates.running([&norm.mean, &norm.variance], running, step, open);
        }
        Ok(updates.finish())
    }

    /// Gives all that goes in and comes out the names of the contract.
    fn name(&self, forward: Forward, made: Update) -> Result<TrainingGraph, TrainingGraphError> {
        let Forward { prepared, program } = forward;
        let mut graph = program.graph;
        let slots: Vec<Slot> = made.state.slots().collect();
        let own = prepared.graph.inputs.iter().map(|v| v.name.clone());
        let mut inputs: Vec<String> = own.collect();
        let logits = match self.options.objective {
            Objective::Output => None,
            _ => Some(prepared.scores.clone()),
        };
        let mut names: Names = inputs.iter().chain(&logits).cloned().collect();
        let mut public = HashMap::new();
        for (slot, [before, behind]) in slots.iter().zip(&made.values) {
            for (value, wanted) in [(before, slot.name()), (behind, slot.next())] {
                if names.fresh(&wanted) != wanted {
                    return Err(TrainingGraphError::Taken { name: wanted });
                }
                public.insert(value.clone(), wanted);
            }
        }
        let mut claim = |value: &str, wanted: &str| {
            let name = names.fresh(wanted);
            public.insert(value.to_owned(), name.clone());
            name
        };
        let is_input = |name: &&str| graph.inputs.iter().any(|v| v.name == **name);
        let ours = [CLASSES, TARGETS].into_iter().find(is_input);
        let labels = ours.map(|ours| claim(ours, LABELS));
        let learning_rate = claim(&made.learning_rate, LEARNING_RATE);
        let loss = match &program.loss {
            Some((loss, _)) => claim(loss, LOSS),
            None => LOSS.to_owned(),
        };
        rename(&mut graph, public);

        let own_inputs = inputs.len();
        inputs.extend(labels.clone());
        inputs.push(learning_rate.clone());
        inputs.extend(slots.iter().map(Slot::name));
        let mut outputs = vec![loss.clone()];
        outputs.extend(logits.clone());
        outputs.extend(slots.iter().map(Slot::next));
        let declared = declared(&prepared, &graph, &slots, &learning_rate)?;
        let of = |name: &String| declared.get(name).cloned();
        graph.inputs = inputs.iter().filter_map(of).collect();
        graph.outputs = outputs.iter().filter_map(of).collect();
        graph.sort()?;
        graph.prune();
        graph.leaves_last();
        // What the model had of others went with what makes no scores.
        let nodes = &graph.nodes;
        let is_used = |domain: &str| nodes.iter().any(|node| node.domain == domain);
        graph.domains.retain(|(domain, _)| is_used(domain));
        let own = inputs[..own_inputs].iter();
        let contract = Contract {
            inputs: own.filter_map(of).collect(),
            labels: labels.as_ref().and_then(of),
            learning_rate,
            loss,
            logits: logits.as_ref().and_then(of),
            state: slots,
        };
        Ok(TrainingGraph {
            model: graph.to_model(usize::MAX).0,
            contract,
            state: made.state,
            freed: prepared.freed,
        })
    }
}

/// Type and dimensions of all that goes into a graph of the contract's names and comes out, by name.
fn declared(
    prepared: &Prepared,
    graph: &Graph,
    slots: &[Slot],
    learning_rate: &str,
) -> Result<HashMap<String, Value>, TrainingGraphError> {
    let own = graph.inputs.iter().chain(&graph.outputs).cloned();
    let rate = Value::fixed(learning_rate, DataType::Float, &[]);
    let of_slot = |slot: &Slot| {
        let value = |name: String| Value::fixed(&name, slot.dtype, &slot.dims);
        [value(slot.name()), value(slot.next())]
    };
    let all = own.chain([rate]).chain(slots.iter().flat_map(of_slot));
    let mut declared: HashMap<String, Value> = all.map(|v| (v.name.clone(), v)).collect();
    // The two logits of a binary task are ours; the model has one.
    let ours = declared.get(&prepared.logits).and_then(|v| v.dims.clone());
    let batch = ours.into_iter().flatten().take(1);
    let dims = prepared.shapes.dims(&prepared.scores)?;
    let mut scores = Value::fixed(&prepared.scores, DataType::Float, dims);
    let rest = scores.dims.into_iter().flatten().skip(1);
    scores.dims = Some(batch.chain(rest).collect());
    declared.insert(scores.name.clone(), scores);
    Ok(declared)
}
