//! Several models as one: one behind the other, or side by side.
//!
//! `connect` finds which values of the models so far go to which inputs of the next, `shared` what both have alike, `names` gives
//! what clashes other names, `functions` and `imports` bring local functions and operator sets together, and `assemble` puts
//! the messages of the next behind those so far. The first model keeps all of its names.

mod assemble;
mod connect;
mod functions;
mod imports;
mod names;
mod shared;

use std::collections::HashMap;
use std::path::Path;

use crate::onnx::messages::{GraphProto, ModelProto, ValueInfoProto};
use crate::onnx::{EMPTY_GRAPH, Model, each_tensor, is_external};
use crate::surgery::{Editor, SurgeryError, Told};

use super::{Promise, Runtimes, Stage, TransformError, Transformed, types};

/// How models become one.
#[derive(Clone, Debug, Default)]
pub struct Merging {
    /// Values of a model and the inputs of one behind it that they go to. Without any, inputs that are called as outputs
    /// of the models before, else the only input is the only output.
    pub connect: Vec<(String, String)>,
    /// The models stand side by side: nothing of one goes to another.
    pub join: bool,
    /// The outputs of the new model, by its names. Without any, those of all models, but for what is connected.
    pub outputs: Vec<String>,
}

/// Models that are to be merged.
#[derive(Debug)]
pub struct Parts {
    /// The first, which can hold messages of all.
    host: Model,
    models: Vec<Model>,
    /// Their messages, as the host can hold them.
    protos: Vec<ModelProto>,
}

impl Parts {
    /// Of two models and more, in the order in which they come.
    ///
    /// # Errors
    /// When there are fewer, one has fields that would be lost on writing or training graphs, or external data cannot be read.
    pub fn new(models: Vec<Model>) -> Result<Self, TransformError> {
        let unfit = |reason: String| Err(TransformError::Unfit(reason));
        if models.len() < 2 {
            return unfit("two models and more can be merged".to_owned());
        }
        let mut protos = Vec::new();
        let mut parts = Vec::new();
        let mut host: Option<Model> = None;
        for model in models {
            model.ensure_fully_known()?;
            let mut proto = model.proto.clone();
            let Some(first) = host.take() else {
                host = Some(model.with_proto(proto.clone()));
                protos.push(proto);
                parts.push(model);
                continue;
            };
            if !proto.training_info.is_empty() {
                return unfit(format!(
                    "{} carries training graphs, which name its values",
                    model.path().display()
                ));
            }
            take_to_hand(&model, &mut proto)?;
            host = Some(first.with_values_of(&model));
            protos.push(proto);
            parts.push(model);
        }
        match host {
            Some(host) => Ok(Parts {
                host,
                models: parts,
                protos,
            }),
            None => unfit("there is no model".to_owned()),
        }
    }

    fn path(&self, at: usize) -> &Path {
        self.models[at].path()
    }
}

/// Has messages hold external data, as they may be in a model of another folder: those of initializers are to be beside it
/// again, what else is external comes inside.
fn take_to_hand(model: &Model, proto: &mut ModelProto) -> Result<(), TransformError> {
    for tensor in proto.graph.iter_mut().flat_map(|g| &mut g.initializer) {
        model.take_to_hand(tensor)?;
    }
    each_tensor(proto, |tensor| {
        if is_external(tensor)
            && tensor.raw_data.is_none()
            && let Some(values) = model.values_of(tensor)?
        {
            tensor.raw_data = Some(values.read()?);
            tensor.external_data.clear();
            tensor.data_location = None;
        }
        Ok::<_, TransformError>(())
    })
}

/// The models so far.
struct State<'p> {
    proto: ModelProto,
    told: Told,
    stages: Vec<Stage<'p>>,
    notes: Vec<String>,
    /// Values that an input of a later model reads, and that are outputs no more unless asked for.
    connected: Vec<String>,
    /// Which of the pairs that were asked for are made.
    made: Vec<bool>,
}

impl State<'_> {
    fn graph(&self) -> &GraphProto {
        self.proto.graph.as_ref().unwrap_or(&EMPTY_GRAPH)
    }
}

/// Makes one model of several. What both of two have alike (initializers, constants, functions, nodes of these, inputs that
/// nothing is connected to) is there once; a name of a later model that is taken gets a number, and that is told. Metadata
/// and documentation are those of all, of the first where they differ; versions of IR and operator sets are the highest.
///
/// # Errors
/// When nothing fits together, a value or input is not there or of another type, operator sets cannot be brought together,
/// or a function of one has the name of an operator that another uses.
pub fn merge<'p>(
    parts: &'p Parts,
    merging: &Merging,
    runtimes: &dyn Runtimes,
) -> Result<Transformed<'p>, TransformError> {
    let mut editor = Editor::new(&parts.host)?;
    let own = |values: &[ValueInfoProto], skip: &GraphProto| -> Vec<(String, String)> {
        let stored = |name: &str| skip.initializer.iter().any(|t| t.name() == name);
        let names = values.iter().map(|v| v.name().to_owned());
        let names = names.filter(|name| !stored(name));
        names.map(|name| (name.clone(), name)).collect()
    };
    let graph = parts.host.graph();
    let mut state = State {
        proto: parts.protos[0].clone(),
        told: Told::default(),
        stages: vec![Stage {
            model: &parts.models[0],
            fed: own(&graph.input, graph),
            equal: own(&graph.output, &GraphProto::default()),
        }],
        notes: Vec::new(),
        connected: Vec::new(),
        made: vec![false; merging.connect.len()],
    };
    // Of each stage, the new names of its values by the old.
    let mut renamed = vec![HashMap::new()];
    for at in 1..parts.models.len() {
        let mut next = parts.protos[at].clone();
        imports::bring_together(parts, at, &mut state, &mut next, runtimes)?;
        functions::bring_together(parts, at, &mut state, &mut next)?;
        let joints = connect::joints(parts, at, &mut state, &next, merging)?;
        for (_, value) in &joints {
            hand_on(&mut state.stages, &renamed, value);
        }
        let shared = shared::find(&parts.host, &state, &next, &joints)?;
        let names = names::clashes(parts, at, &mut state, &mut next, &joints, &shared);
        let now = |name: &str| names.get(name).cloned().unwrap_or_else(|| name.to_owned());
        let graph = parts.models[at].graph();
        renamed.push(names.clone());
        let under = |pairs: Vec<(String, String)>| -> Vec<(String, String)> {
            let pairs = pairs.into_iter();
            pairs.map(|(name, own)| (now(&name), own)).collect()
        };
        state.stages.push(Stage {
            model: &parts.models[at],
            fed: under(own(&graph.input, graph)),
            equal: under(own(&graph.output, &GraphProto::default())),
        });
        let joined: HashMap<String, String> = joints.into_iter().collect();
        assemble::append(&mut state, next, &joined, &shared, &names, parts.path(at));
    }
    if let Some(at) = state.made.iter().position(|made| !made) {
        let (value, input) = &merging.connect[at];
        return Err(TransformError::Unfit(format!(
            "no model has an input `{input}` behind one with the value `{value}`"
        )));
    }
    outputs(&mut state, parts, merging, runtimes)?;
    let State {
        proto,
        told,
        stages,
        notes,
        ..
    } = state;
    editor.change(|model, all| {
        *model = proto;
        *all = told;
    });
    let mut transformed = Transformed::new(&parts.host, editor.finish()?);
    transformed.promise = Promise::default();
    transformed.stages = stages;
    transformed.notes.extend(notes);
    Ok(transformed)
}

/// Has the stage that makes a value give it, as one behind reads it.
fn hand_on(stages: &mut [Stage<'_>], renamed: &[HashMap<String, String>], value: &str) {
    let is_known = |stage: &Stage<'_>| {
        let mut pairs = stage.equal.iter().chain(&stage.fed);
        pairs.any(|(now, _)| now == value)
    };
    if stages.iter().any(is_known) {
        return;
    }
    for (stage, names) in stages.iter_mut().zip(renamed) {
        let nodes = stage.model.graph().node.iter();
        let mut made = nodes.flat_map(|node| &node.output);
        let own = made.find(|own| names.get(*own).unwrap_or(own) == value);
        if let Some(own) = own.cloned() {
            stage.equal.push((value.to_owned(), own));
            return;
        }
    }
}

/// Declares the outputs.
fn outputs(
    state: &mut State<'_>,
    parts: &Parts,
    merging: &Merging,
    runtimes: &dyn Runtimes,
) -> Result<(), TransformError> {
    let old = state.graph().output.clone();
    let new = match merging.outputs.as_slice() {
        [] => {
            let stays = |v: &&ValueInfoProto| !state.connected.iter().any(|c| c == v.name());
            old.iter().filter(stays).cloned().collect()
        }
        names => {
            let model = parts.host.with_proto(state.proto.clone());
            if let Some(name) = names
                .iter()
                .find(|name| !super::has_value(model.graph(), name))
            {
                let value = name.clone();
                return Err(SurgeryError::NoValue { value }.into());
            }
            types::declarations(&model, names, runtimes)?
        }
    };
    assemble::declare_outputs(state, old, new);
    Ok(())
}
