//! What is known before a model runs, computed once.
//!
//! A fold is made of rounds, until one changes nothing. In each, graph by graph, those inside of nodes included:
//!
//! | pass | what it does |
//! | --- | --- |
//! | `copies` | nodes that hand on what they read go: Identity, Dropout that does not train |
//! | `shapes` | sizes that follow from what the inputs declare become constants |
//! | `constants` | Constant nodes become initializers; nodes that read constants alone are computed |
//! | `branches` | an If whose condition is a constant is its branch |
//! | `sweep` | what only served what is gone goes, too |
//!
//! `batch_norm` then folds normalisations into the layers before them, where that is asked for.

mod batch_norm;
mod branches;
mod bundles;
mod constants;
mod copies;
mod counts;
mod fix;
mod groups;
mod put;
mod shapes;
mod sweep;

use std::collections::{HashMap, HashSet};

use prost::Message;

use crate::graph::captured_names;
use crate::graph::messages::inner_graphs;
use crate::onnx::messages::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};
use crate::onnx::{Model, Tensor, each_tensor, is_external};
use crate::runtime::Runtime;
use crate::surgery::{Editor, Named, Part, Told, held, rename_values};

use super::{Runtimes, TransformError, Transformed};
use counts::Counts;

pub(super) use constants::gives_the_same;

/// What is folded besides constants, sizes and copies.
#[derive(Clone, Debug, Default)]
pub struct Folding {
    /// Normalisations with fixed statistics are folded into the convolution or dense layer before them.
    pub batch_norm: bool,
    /// The model's functions are written out.
    pub inline: bool,
    /// Inputs and the dimensions that are declared of them.
    pub shapes: Vec<(String, Vec<usize>)>,
    /// Dimensions that the inputs declare by a name, and their sizes.
    pub dims: Vec<(String, usize)>,
}

/// Rounds after which a fold ends in any case.
const MOST_ROUNDS: usize = 64;

/// Computes what is known before the model runs: nodes that read constants alone, sizes that follow from what the inputs
/// declare, copies, dropout, branches. Values keep their names, and so does a weight that is computed anew and stays one of as many
/// elements. What is drawn at random, has a graph inside or works on quantised numbers is left, and so is what would make
/// the file larger, as a weight that is read elsewhere, too.
///
/// Without onnxruntime only small integers are computed.
///
/// # Errors
/// When the model carries training graphs; a function cannot be written out; or a dimension is fixed that is not open.
pub fn fold<'m>(
    model: &'m Model,
    folding: &Folding,
    runtimes: &dyn Runtimes,
) -> Result<Transformed<'m>, TransformError> {
    let mut editor = Editor::new(model)?;
    if !model.proto.training_info.is_empty() {
        return Err(TransformError::Unfit(
            "the model carries training graphs, which may name any of its values".to_owned(),
        ));
    }
    if folding.inline {
        editor.inline()?;
    }
    let sizes = fix::fix(&mut editor, folding)?;
    let found = runtimes.runtime();
    let from = editor.proto().clone();
    let before = bytes(model, &from)?;
    let mut best = None;
    // Where sizes take more room as constants than as nodes, without them.
    for with_shapes in [true, false] {
        let mut pass = Pass::new(model, found.as_ref().ok(), &from);
        let proto = pass.run(from.clone(), folding.batch_norm, with_shapes)?;
        if bytes(model, &proto)? <= before {
            best = Some((proto, pass));
            break;
        }
    }
    let mut notes = Vec::new();
    if let Some((proto, pass)) = best {
        let Pass { told, counts, .. } = pass;
        editor.change(|model, all| {
            *model = proto;
            *all = told;
        });
        notes = counts.told(found.err().map(|e| e.to_string()));
    }
    let mut transformed = Transformed::new(model, editor.finish()?);
    transformed.promise.sizes = sizes;
    transformed.notes.extend(notes);
    Ok(transformed)
}

/// Bytes of a model's file and of what lies beside it.
fn bytes(model: &Model, proto: &ModelProto) -> Result<u64, TransformError> {
    let mut all = proto.encoded_len() as u64;
    let mut proto = proto.clone();
    each_tensor(&mut proto, |tensor| {
        if is_external(tensor)
            && tensor.raw_data.is_none()
            && let Some(values) = model.values_of(tensor)?
        {
            all += values.len();
        }
        Ok::<_, TransformError>(())
    })?;
    Ok(all)
}

/// Constants that a graph inside of a node sees of those around it.
type Constants = HashMap<String, TensorProto>;

struct Pass<'a> {
    model: &'a Model,
    runtime: Option<&'a Runtime>,
    /// The model without its graph.
    around: ModelProto,
    ir: i64,
    opset: i64,
    /// Domain and name of the model's functions.
    functions: HashSet<(String, String)>,
    told: Told,
    counts: Counts,
    /// Values that are not to be computed, as onnxruntime could not.
    refused: HashSet<String>,
}

/// Where a graph is: the main one, or inside of this node of it.
type Place<'p> = Option<&'p str>;

impl<'a> Pass<'a> {
    fn new(model: &'a Model, runtime: Option<&'a Runtime>, proto: &ModelProto) -> Self {
        let functions = proto.functions.iter();
        Pass {
            model,
            runtime,
            ir: proto.ir_version.unwrap_or(0),
            opset: model.opset(),
            functions: functions
                .map(|f| (f.domain().to_owned(), f.name().to_owned()))
                .collect(),
            around: ModelProto {
                graph: None,
                ..proto.clone()
            },
            told: Told::default(),
            counts: Counts::default(),
            refused: HashSet::new(),
        }
    }

    fn run(
        &mut self,
        mut proto: ModelProto,
        batch_norm: bool,
        with_shapes: bool,
    ) -> Result<ModelProto, TransformError> {
        let none = Constants::new();
        for round in 0..MOST_ROUNDS {
            let sizes = match with_shapes {
                true => shapes::known(&self.model.with_proto(proto.clone()), self.runtime),
                false => HashMap::new(),
            };
            let graph = proto.graph.get_or_insert_default();
            let mut changed = self.graph(graph, None, &none, &sizes)?;
            if !changed {
                let dead = sweep::Dead::of(graph);
                let norms = batch_norm::fold(self, graph, batch_norm)?;
                dead.sweep(self, graph, None);
                changed = batch_norm && norms > 0;
            }
            if !changed || round + 1 == MOST_ROUNDS {
                break;
            }
        }
        Ok(proto)
    }

    /// One round; whether something changed.
    fn graph(
        &mut self,
        graph: &mut GraphProto,
        place: Place<'_>,
        around: &Constants,
        sizes: &HashMap<String, Tensor>,
    ) -> Result<bool, TransformError> {
        let dead = sweep::Dead::of(graph);
        let mut changed = copies::remove(self, graph, place, around);
        changed |= shapes::replace(self, graph, place, sizes, &dead);
        changed |= put::hoist(self, graph, place)?;
        changed |= constants::compute(self, graph, place, around, &dead)?;
        changed |= branches::take(self, graph, place, around)?;
        let mut inner = None;
        for at in 0..graph.node.len() {
            if inner_graphs(&graph.node[at]).next().is_none() {
                continue;
            }
            let seen = match &inner {
                Some(seen) => seen,
                None => {
                    let mut seen = around.clone();
                    seen.extend(self.constants(graph, place)?);
                    inner.insert(seen)
                }
            };
            let key = graph.node[at].key();
            let place = place.unwrap_or(&key);
            let attributes = graph.node[at].attribute.iter_mut();
            for inner in attributes.flat_map(AttributeProto::subgraphs_mut) {
                changed |= self.graph(inner, Some(place), seen, &HashMap::new())?;
            }
        }
        dead.sweep(self, graph, place);
        Ok(changed)
    }

    fn touch(&mut self, place: Place<'_>, part: Part, name: &str) {
        match place {
            None => self.told.part(part, name),
            Some(outer) => self.told.inside(outer),
        }
    }

    fn touch_node(&mut self, place: Place<'_>, node: &NodeProto) {
        self.touch(place, Part::Node, &node.key());
    }

    /// Whether a node is of ONNX's own operator of that name.
    fn is(&self, node: &NodeProto, operator: &str) -> bool {
        node.op_type() == operator && self.is_standard(node)
    }

    fn is_standard(&self, node: &NodeProto) -> bool {
        let domain = node.domain.clone().unwrap_or_default();
        let is_own = self
            .functions
            .contains(&(domain.clone(), node.op_type().to_owned()));
        matches!(domain.as_str(), "" | "ai.onnx") && !is_own
    }

    /// The tensors of a graph that are the same in every run: initializers whose values nobody can give from outside, and
    /// what Constant nodes hold.
    fn constants(&self, graph: &GraphProto, place: Place<'_>) -> Result<Constants, TransformError> {
        let mut constants = Constants::new();
        let given: HashSet<&str> = match place {
            // Before IR 4 an initializer has to be among the inputs.
            None if self.ir < 4 => HashSet::new(),
            _ => graph.input.iter().map(|v| v.name()).collect(),
        };
        for tensor in &graph.initializer {
            if !given.contains(tensor.name()) {
                constants.insert(tensor.name().to_owned(), tensor.clone());
            }
        }
        for node in &graph.node {
            if let Some(tensor) = self.constant(node)? {
                constants.insert(tensor.name().to_owned(), tensor);
            }
        }
        Ok(constants)
    }

    /// What a Constant node holds, under the name of its output.
    fn constant(&self, node: &NodeProto) -> Result<Option<TensorProto>, TransformError> {
        let ([output], [attribute]) = (node.output.as_slice(), node.attribute.as_slice()) else {
            return Ok(None);
        };
        if !self.is(node, "Constant") || attribute.ref_attr_name.is_some() {
            return Ok(None);
        }
        if let (Some("value"), Some(tensor)) = (attribute.name.as_deref(), &attribute.t) {
            let mut tensor = tensor.clone();
            tensor.name = Some(output.clone());
            return Ok(Some(tensor));
        }
        let tensor = held(self.model, attribute)?;
        Ok(tensor.map(|tensor| tensor.to_proto(output)))
    }

    /// A tensor's values.
    fn tensor(&self, tensor: &TensorProto) -> Option<Tensor> {
        self.model.tensor(tensor).ok()
    }

    /// Makes all that read a value of `names`, in graphs inside of nodes, too, read what it stands for.
    fn redirect(&mut self, graph: &mut GraphProto, place: Place<'_>, names: &HashMap<&str, &str>) {
        let set = |name: &mut String| {
            let to = names.get(name.as_str());
            to.map(|to| (*to).clone_into(name)).is_some()
        };
        for node in &mut graph.node {
            let key = node.key();
            let mut inner_names = HashMap::new();
            for inner in inner_graphs(node) {
                let mut read = Vec::new();
                captured_names(inner, &mut read, 0);
                let pairs = read
                    .into_iter()
                    .filter_map(|name| names.get_key_value(name));
                inner_names.extend(pairs.map(|(from, to)| (*from, *to)));
            }
            let changed = node
                .input
                .iter_mut()
                .fold(false, |any, name| set(name) | any);
            if changed {
                let devices = node.device_configurations.iter_mut();
                let sharded = devices.flat_map(|d| &mut d.sharding_spec);
                for name in sharded.flat_map(|s| &mut s.tensor_name) {
                    set(name);
                }
                self.touch(place, Part::Node, &key);
            }
            if !inner_names.is_empty() {
                let attributes = node.attribute.iter_mut();
                for inner in attributes.flat_map(AttributeProto::subgraphs_mut) {
                    rename_values(inner, &inner_names);
                }
                self.told.inside(place.unwrap_or(&key));
            }
        }
    }

    /// Takes away what is noted of a value that is there no more, or is a constant now.
    fn forget(&mut self, graph: &mut GraphProto, place: Place<'_>, value: &str) {
        let before = graph.value_info.len();
        graph.value_info.retain(|v| v.name() != value);
        if graph.value_info.len() < before {
            self.touch(place, Part::ValueInfo, value);
        }
    }
}

/// Whether something is noted of the numbers of a value.
fn is_annotated(graph: &GraphProto, value: &str) -> bool {
    let mut notes = graph.quantization_annotation.iter();
    notes.any(|note| note.tensor_name.as_deref() == Some(value))
}

fn is_output(graph: &GraphProto, value: &str) -> bool {
    graph.output.iter().any(|o| o.name() == value)
}

impl From<std::convert::Infallible> for TransformError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
