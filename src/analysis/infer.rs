//! Shapes of all values by tract, with the batch symbolic and without copying weights.
//!
//! tract is fed a copy of the graph in which every large constant is an input of known shape;
//! small ones stay, since shapes may depend on their values (`Reshape`, `Resize`, `Pad`, …).

use std::collections::{HashMap, HashSet};

use tract_onnx::prelude::{Framework, SymbolValues, TractResult};
use tract_onnx::tract_hir::infer::{Factoid, InferenceModelExt};
use tract_onnx::tract_hir::internal::OutletId;

use crate::graph::{Attribute, Dim, Graph, Node, Value};
use crate::onnx::messages::ValueInfoProto;
use crate::onnx::{DataType, Tensor};
use crate::panics::caught;

use super::hide::{UNKNOWN, hide, hide_unknown};
use super::trust::{self, Distrusted};

/// Constants above this size are given to tract by shape alone.
const MAX_CONSTANT_BYTES: usize = 4096;
/// The newest operator set that tract is tested with. Output shapes follow the same rules in later
/// ones.
const TRACT_OPSET: i64 = 18;
/// The symbol that stands for the batch.
pub const BATCH: &str = "N";
/// Stands for a dimension that is not known at all.
const UNKNOWN_DIM: &str = "?";

/// What is known of one value.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueShape {
    /// Dimensions, with the batch as the symbol `N`, and `?` for what is not known.
    pub dims: Vec<Dim>,
    /// Dimensions for a batch of one, when no other symbol is left.
    pub single: Option<Vec<usize>>,
    /// Bytes of one element.
    pub element_size: Option<usize>,
}

impl ValueShape {
    /// Whether some dimension is neither a number nor made of the inputs' symbols.
    pub fn has_unknown(&self) -> bool {
        let unknown = |d: &Dim| matches!(d, Dim::Symbolic(name) if name == UNKNOWN_DIM);
        self.dims.iter().any(unknown)
    }
}

/// Shapes by value name, and what could not be found out.
#[derive(Debug, Default)]
pub struct Inferred {
    shapes: HashMap<String, ValueShape>,
    /// One readable line for each thing that is not known.
    pub warnings: Vec<String>,
}

impl Inferred {
    /// What is known of a value's shape.
    pub fn get(&self, value: &str) -> Option<&ValueShape> {
        self.shapes.get(value)
    }

    /// Records what is known of a value's shape.
    pub fn insert(&mut self, value: &str, shape: ValueShape) {
        self.shapes.insert(value.to_owned(), shape);
    }

    /// Dimensions for a batch of one.
    pub fn single(&self, value: &str) -> Option<&[usize]> {
        self.get(value)?.single.as_deref()
    }

    /// Number of dimensions.
    pub fn rank(&self, value: &str) -> Option<usize> {
        Some(self.get(value)?.dims.len())
    }
}

/// Shapes of the values of `graph`. `declared` are the model's own notes on values, used only
/// behind operators that tract does not know; `image_size` (height, width) fixes the spatial
/// dimensions of image inputs that leave them open.
pub fn infer_shapes(
    graph: &Graph,
    declared: &[ValueInfoProto],
    image_size: Option<(usize, usize)>,
) -> Inferred {
    let distrusted = match trust::distrusted(graph, image_size, is_large) {
        Ok(distrusted) => distrusted,
        Err(reason) => return with_constants(failed(reason), graph),
    };
    let attempt =
        |symbolic_batch| attempt(graph, declared, image_size, symbolic_batch, &distrusted);
    let mut inferred = attempt(true);
    let fixed_batch = graph.inputs.iter().any(|i| {
        i.dims
            .as_ref()
            .is_some_and(|d| matches!(d.first(), Some(Dim::Known(_))))
    });
    // A fixed batch may be baked into the graph (a `Reshape` to [8, -1]).
    if !inferred.warnings.is_empty() && fixed_batch {
        let second = attempt(false);
        if second.warnings.is_empty() {
            inferred = second;
        }
    }
    with_constants(inferred, graph)
}

fn is_large(tensor: &Tensor) -> bool {
    tensor.data.len() > MAX_CONSTANT_BYTES
}

fn with_constants(mut inferred: Inferred, graph: &Graph) -> Inferred {
    for (name, tensor) in constants(graph) {
        inferred
            .shapes
            .entry(name.to_owned())
            .or_insert_with(|| ValueShape {
                dims: tensor.dims.iter().map(|&d| Dim::Known(d)).collect(),
                single: Some(tensor.dims.clone()),
                element_size: Some(tensor.dtype.size()),
            });
    }
    inferred
}

/// Initializers and the tensors of `Constant` nodes, by value name.
pub fn constants(graph: &Graph) -> HashMap<&str, &Tensor> {
    let nodes = graph.nodes.iter().filter(|n| n.is("Constant"));
    graph
        .initializers
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .chain(
            nodes.filter_map(|n| match (n.output(0), n.attributes.get("value")) {
                (Some(name), Some(Attribute::Tensor(tensor))) => Some((name, tensor)),
                _ => None,
            }),
        )
        .collect()
}

fn attempt(
    graph: &Graph,
    declared: &[ValueInfoProto],
    image_size: Option<(usize, usize)>,
    symbolic_batch: bool,
    distrusted: &Distrusted,
) -> Inferred {
    let copy = weightless(graph, image_size, symbolic_batch);
    match caught(|| run_tract(copy, declared, &distrusted.values)) {
        Some(Ok(mut inferred)) => {
            inferred
                .warnings
                .extend(distrusted.warnings.iter().cloned());
            inferred
        }
        Some(Err(e)) => failed(format!("{e:#}")),
        None => failed("tract gives up on this graph".to_owned()),
    }
}

fn failed(reason: String) -> Inferred {
    Inferred {
        shapes: HashMap::new(),
        warnings: vec![format!("shapes are not known: {reason}")],
    }
}

/// The graph with large constants as inputs and the batch dimension of inputs as a symbol.
fn weightless(graph: &Graph, image_size: Option<(usize, usize)>, symbolic_batch: bool) -> Graph {
    let as_input = |name: &str, t: &Tensor| Value::fixed(name, stand_in(t.dtype), &t.dims);
    let mut inputs: Vec<Value> = graph
        .inputs
        .iter()
        .map(|input| open_input(input, image_size, symbolic_batch))
        .collect();
    inputs.extend(
        constants(graph)
            .into_iter()
            .filter(|(_, t)| is_large(t))
            .map(|(name, t)| as_input(name, t)),
    );
    let is_large_constant = |node: &Node| {
        node.is("Constant")
            && matches!(node.attributes.get("value"), Some(Attribute::Tensor(t)) if is_large(t))
    };
    Graph {
        opset: graph.opset.min(TRACT_OPSET),
        domains: graph.domains.clone(),
        nodes: graph
            .nodes
            .iter()
            .filter(|n| !is_large_constant(n))
            .cloned()
            .map(without_trailing_absent_inputs)
            .collect(),
        inputs,
        outputs: graph.outputs.clone(),
        initializers: graph
            .initializers
            .iter()
            .filter(|(_, t)| !is_large(t))
            .map(|(name, t)| (name.clone(), t.clone()))
            .collect(),
    }
}

/// tract counts inputs that are spelled out as absent.
fn without_trailing_absent_inputs(mut node: Node) -> Node {
    while node.inputs.last().is_some_and(String::is_empty) {
        node.inputs.pop();
    }
    node
}

/// tract knows no bfloat16; the shapes are those of float32.
fn stand_in(dtype: DataType) -> DataType {
    match dtype {
        DataType::Bfloat16 => DataType::Float,
        other => other,
    }
}

fn open_input(input: &Value, image_size: Option<(usize, usize)>, symbolic_batch: bool) -> Value {
    let mut value = input.clone();
    value.dtype = stand_in(value.dtype);
    let Some(dims) = &mut value.dims else {
        return value;
    };
    let rank = dims.len();
    let channels_last = is_nhwc(dims);
    for (i, dim) in dims.iter_mut().enumerate() {
        if i == 0 && (symbolic_batch || matches!(dim, Dim::Symbolic(_))) {
            *dim = Dim::Symbolic(BATCH.to_owned());
        } else if i == 1 && rank == 4 && !channels_last && matches!(dim, Dim::Symbolic(_)) {
            // Left for the first convolution's weight to tell.
            *dim = Dim::Symbolic(String::new());
        } else if let Dim::Symbolic(name) = dim
            && !is_symbol(name)
        {
            // Exporters write expressions and serial numbers here; an unknown says as much.
            *dim = Dim::Symbolic(format!("d{i}"));
        }
    }
    if let (4, Some((height, width))) = (rank, image_size) {
        let first = if channels_last { 1 } else { 2 };
        for (dim, size) in dims[first..].iter_mut().zip([height, width]) {
            if matches!(dim, Dim::Symbolic(_)) {
                *dim = Dim::Known(size);
            }
        }
    }
    value
}

fn is_symbol(name: &str) -> bool {
    name != BATCH
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether four dimensions are those of an image with its channels last.
pub fn is_nhwc(dims: &[Dim]) -> bool {
    let channels = |d: &Dim| matches!(d, Dim::Known(1 | 3));
    // Four may be colours and alpha, or a side of a small map.
    let is_side = |d: &Dim| !matches!(d, Dim::Known(..16));
    dims.len() == 4
        && match dims[3] {
            Dim::Known(4) => is_side(&dims[1]) && is_side(&dims[2]),
            _ => channels(&dims[3]) && !channels(&dims[1]),
        }
}

fn run_tract(
    mut graph: Graph,
    declared: &[ValueInfoProto],
    distrusted: &HashSet<String>,
) -> TractResult<Inferred> {
    let onnx = tract_onnx::onnx();
    hide(&mut graph, distrusted);
    let unknown_outputs = hide_unknown(&onnx, &mut graph)?;
    let model = encode(&graph, declared, &unknown_outputs);
    let proto = onnx.proto_model_for_read(&mut model.as_slice())?;
    let mut parsed = onnx.parse(&proto, None)?;
    let mut warnings: Vec<String> = graph
        .nodes
        .iter()
        .filter(|n| n.op_type == UNKNOWN && !n.present_outputs().any(|o| distrusted.contains(o)))
        .map(|n| format!("tract does not know the operator of node `{}`", n.name))
        .collect();
    if let Err(e) = parsed.model.analyse(true) {
        warnings.push(format!("some shapes are not known: {}", short(&e)));
    }
    let batch = parsed.model.symbols.sym(BATCH);
    let one = SymbolValues::default().with(&batch, 1);
    let shapes = parsed
        .outlets_by_name
        .iter()
        .filter_map(|(name, outlet)| Some((name.clone(), shape_of(&parsed.model, *outlet, &one)?)))
        .collect();
    Ok(Inferred { shapes, warnings })
}

pub(super) fn encode(
    graph: &Graph,
    declared: &[ValueInfoProto],
    of_interest: &[String],
) -> Vec<u8> {
    let (mut model, _) = graph.to_model(usize::MAX);
    if let Some(proto) = &mut model.graph {
        proto.value_info = declared
            .iter()
            .filter(|v| v.name.as_ref().is_some_and(|n| of_interest.contains(n)))
            .cloned()
            .collect();
    }
    prost::Message::encode_to_vec(&model)
}

fn shape_of(
    model: &tract_onnx::prelude::InferenceModel,
    outlet: OutletId,
    one: &SymbolValues,
) -> Option<ValueShape> {
    let fact = model.outlet_fact(outlet).ok()?;
    if fact.shape.is_open() {
        return None;
    }
    let dims: Vec<_> = fact.shape.dims().map(|d| d.concretize()).collect();
    let single = dims
        .iter()
        .map(|d| usize::try_from(d.as_ref()?.eval_to_i64(one).ok()?).ok())
        .collect();
    let dims = dims
        .iter()
        .map(|d| match d {
            None => Dim::Symbolic(UNKNOWN_DIM.to_owned()),
            Some(d) => match d.to_i64().ok().and_then(|v| usize::try_from(v).ok()) {
                Some(v) => Dim::Known(v),
                None => Dim::Symbolic(d.to_string()),
            },
        })
        .collect();
    Some(ValueShape {
        dims,
        single,
        element_size: fact.datum_type.concretize().map(|t| t.size_of()),
    })
}

/// The outermost context of an error, which names the node, and its root cause.
fn short(error: &tract_onnx::prelude::TractError) -> String {
    format!("{error}: {}", error.root_cause())
}
