//! The indexed graph, its normal form, shapes and the node builder.
//!
//! A [`Graph`] is the working copy on which ftsurgery thinks; the file it came from is never
//! changed by it. Values are named, as in ONNX; every value is defined once.

mod branches;
mod build;
#[cfg(test)]
pub(crate) mod cases;
mod cubic;
mod einsum;
mod error;
mod functions;
pub mod infer;
mod kernel;
pub(crate) mod messages;
mod node;
pub mod normalise;
pub(crate) mod operators;
mod order;
mod outputs;
mod overhang;
mod reach;
mod shapes;
mod value;
mod weights;
mod window;
mod work;

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use crate::onnx::messages::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
};
use crate::onnx::{Model, Tensor, is_external, set_external};

pub use build::Builder;
pub(crate) use build::Names;
pub(crate) use cubic::part_cubic_resizes;
pub(crate) use einsum::{Einsum, is_equation};
pub use error::GraphError;
pub(crate) use functions::write_out as write_out_functions;
pub use infer::infer_shapes;
pub(crate) use infer::{fold_constants, infer_what_fits};
pub(crate) use node::attribute_to_proto;
pub use node::{Attribute, Node};
pub use normalise::{normalise, refuse_untrainable, to_float32, whole_as_floats};
pub(crate) use operators::schemas;
pub(crate) use order::captured_names;
pub(crate) use overhang::write_overhangs_as_pads;
pub use reach::{following, reaching};
pub use shapes::{Shapes, TensorInfo};
use value::value_from_proto;
pub use value::{Dim, Value, value_to_proto};
pub use weights::{Weight, float_tensors, output_features, weights};
pub use window::{Padding, Window, WindowAttributes, WindowError, to_i64};
pub use work::macs;

/// A graph in memory: nodes in topological order, initializers, inputs and outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Version of the default operator set its nodes are written in.
    pub opset: i64,
    /// Other imported operator sets: domain and version.
    pub domains: Vec<(String, i64)>,
    /// Nodes, each after those whose outputs it reads.
    pub nodes: Vec<Node>,
    /// Inputs that are not initializers.
    pub inputs: Vec<Value>,
    /// Outputs; the element type of an untyped one is taken to be float32.
    pub outputs: Vec<Value>,
    /// Initializers by name, in the order of the file.
    pub initializers: IndexMap<String, Tensor>,
}

/// onnxruntime's interface ends a name at its first NUL, so that another could be meant.
fn refuse_nul(graph: &GraphProto) -> Result<(), GraphError> {
    let values = graph.input.iter().chain(&graph.output);
    let names = values
        .filter_map(|v| v.name.as_ref())
        .chain(graph.initializer.iter().filter_map(|t| t.name.as_ref()))
        .chain(graph.node.iter().flat_map(|n| {
            let ends = n.input.iter().chain(&n.output);
            ends.chain(&n.name)
        }));
    match names.into_iter().find(|name| name.contains('\0')) {
        None => Ok(()),
        Some(name) => Err(GraphError::Unsupported(format!(
            "the name `{}` holds a NUL character, at which onnxruntime would end it",
            name.escape_debug()
        ))),
    }
}

/// The values that nodes of a graph or of its inner graphs read, and its outputs.
fn read_values(graph: &GraphProto) -> HashSet<&str> {
    let mut read = HashSet::new();
    let mut open = vec![graph];
    while let Some(graph) = open.pop() {
        let outputs = graph.output.iter().filter_map(|o| o.name.as_deref());
        read.extend(outputs);
        for node in &graph.node {
            read.extend(node.input.iter().map(String::as_str));
            open.extend(node.attribute.iter().flat_map(AttributeProto::subgraphs));
        }
    }
    read
}

impl Graph {
    /// A graph of an opset without anything in it.
    pub fn new(opset: i64) -> Self {
        Graph {
            opset,
            domains: vec![],
            nodes: vec![],
            inputs: vec![],
            outputs: vec![],
            initializers: IndexMap::new(),
        }
    }

    /// The main graph of a model: indexed, checked, in topological order. Initializers in external
    /// data that nothing reads are left out, and their data alone.
    ///
    /// Its first output is the class scores: the value that is [asked for](Model::with_scores), else of all
    /// outputs that have floats the one that the most layers lead to, the first of equals, rows of numbers
    /// before maps. Behind what is made of scores alone (`TopK`, `ArgMax`, `ZipMap`) it is what that reads,
    /// which may be no output of the file. The others follow, but for those that are no tensors.
    ///
    /// Calls of functions that the model carries are written out, and so is the branch of an `If` whose
    /// condition is known before the graph runs: it is a constant, or follows from shapes, as long as it comes
    /// to the same at several sizes of what the inputs leave open.
    ///
    /// # Errors
    /// When values are undefined or defined twice, nodes form a cycle, a tensor is malformed, or a name
    /// has a character that onnxruntime does not take.
    pub fn from_model(model: &Model) -> Result<Self, GraphError> {
        Self::read(model, None)
    }

    /// As [`Graph::from_model`], for a first input of these dimensions, from which conditions may follow; what
    /// it declares goes before them.
    ///
    /// # Errors
    /// As [`Graph::from_model`].
    pub fn from_model_at(model: &Model, dims: &[usize]) -> Result<Self, GraphError> {
        Self::read(model, Some(dims))
    }

    fn read(model: &Model, dims: Option<&[usize]>) -> Result<Self, GraphError> {
        let written = write_out_functions(&model.proto)?;
        let proto = written.as_ref().map_or(model.graph(), |w| &w.graph);
        refuse_nul(proto)?;
        let mut initializers = IndexMap::new();
        let mut unread = HashSet::new();
        let mut read = None;
        for tensor in &proto.initializer {
            let name = tensor.name.clone().unwrap_or_default();
            if is_external(tensor) {
                let read = read.get_or_insert_with(|| read_values(proto));
                if !read.contains(name.as_str()) {
                    unread.insert(name);
                    continue;
                }
            }
            if initializers
                .insert(name.clone(), model.tensor(tensor)?)
                .is_some()
            {
                return Err(GraphError::Redefined { value: name });
            }
        }
        if let Some(sparse) = proto.sparse_initializer.first() {
            let name = sparse
                .values
                .as_ref()
                .and_then(|v| v.name.clone())
                .unwrap_or_default();
            return Err(GraphError::Unsupported(format!(
                "the initializer `{name}` is sparse; sparse initializers are not supported"
            )));
        }
        let mut inputs: Vec<Value> = proto
            .input
            .iter()
            .filter(|i| {
                let name = i.name.as_deref().unwrap_or("");
                !initializers.contains_key(name) && !unread.contains(name)
            })
            .map(value_from_proto)
            .collect::<Result<_, _>>()?;
        if inputs.len() > 1 {
            // Keras declares constants as inputs that it has folded.
            let read = read_values(model.graph());
            inputs.retain(|input| read.contains(input.name.as_str()));
        }
        // What is no tensor is nobody's class scores.
        let outputs = proto.output.iter();
        let outputs = outputs.filter_map(|o| value_from_proto(o).ok()).collect();
        let nodes = proto
            .node
            .iter()
            .enumerate()
            .map(|(i, n)| Node::from_proto(n, i))
            .collect::<Result<_, _>>()?;
        let domains = model
            .proto
            .opset_import
            .iter()
            .chain(written.iter().flat_map(|w| &w.imports))
            .map(|o| (o.domain.clone().unwrap_or_default(), o.version.unwrap_or(1)))
            .filter(|(domain, _)| !matches!(domain.as_str(), "" | "ai.onnx"))
            .filter(|(domain, _)| {
                let mut functions = model.proto.functions.iter();
                functions.all(|f| f.domain.as_ref() != Some(domain))
            })
            .collect();
        let mut graph = Graph {
            opset: model.opset(),
            domains,
            nodes,
            inputs,
            outputs,
            initializers,
        };
        graph.sort()?;
        branches::fold(&mut graph, model, dims)?;
        outputs::lead(&mut graph, proto, model.scores())?;
        Ok(graph)
    }

    /// Index of the node that defines each value.
    pub fn producers(&self) -> HashMap<&str, usize> {
        let mut producers = HashMap::new();
        for (i, node) in self.nodes.iter().enumerate() {
            for output in node.present_outputs() {
                producers.insert(output, i);
            }
        }
        producers
    }

    /// Indices of the nodes that read each value, in topological order.
    pub fn consumers(&self) -> HashMap<&str, Vec<usize>> {
        let mut consumers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (i, node) in self.nodes.iter().enumerate() {
            for input in node.present_inputs() {
                let list = consumers.entry(input).or_default();
                if list.last() != Some(&i) {
                    list.push(i);
                }
            }
        }
        consumers
    }

    /// Makes every reader of `from` (and an output of that name) read `to` instead.
    pub fn replace_uses(&mut self, from: &str, to: &str) {
        for name in self.nodes.iter_mut().flat_map(|n| &mut n.inputs) {
            if name == from {
                to.clone_into(name);
            }
        }
        for output in &mut self.outputs {
            if output.name == from {
                to.clone_into(&mut output.name);
            }
        }
    }

    /// The graph as a model for a runtime. Initializers of `external_from` bytes or more are only
    /// declared, with their data left to the caller, who hands the returned tensors to the session.
    pub fn to_model(&self, external_from: usize) -> (ModelProto, Vec<(String, Tensor)>) {
        let mut external = Vec::new();
        let initializer = self
            .initializers
            .iter()
            .map(|(name, tensor)| {
                let mut proto = tensor.to_proto(name);
                if tensor.data.len() >= external_from {
                    set_external(&mut proto, "in-memory", 0, tensor.data.len());
                    external.push((name.clone(), tensor.clone()));
                }
                proto
            })
            .collect();
        let graph = GraphProto {
            name: Some("ftsurgery".to_owned()),
            node: named_once(self.nodes.iter().map(Node::to_proto).collect()),
            initializer,
            input: self.inputs.iter().map(value_to_proto).collect(),
            output: self.outputs.iter().map(value_to_proto).collect(),
            ..GraphProto::default()
        };
        let opset = |domain: &str, version| OperatorSetIdProto {
            domain: Some(domain.to_owned()),
            version: Some(version),
        };
        let model = ModelProto {
            // IR 10 came with opset 21 and is the newest that onnxruntime 1.19 reads.
            ir_version: Some(10),
            producer_name: Some("ftsurgery".to_owned()),
            producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            opset_import: std::iter::once(opset("", self.opset))
                .chain(self.domains.iter().map(|(d, v)| opset(d, *v)))
                .collect(),
            graph: Some(graph),
            ..ModelProto::default()
        };
        (model, external)
    }
}

/// Nodes of which a name that another has before them gets a number: onnxruntime takes a name once.
fn named_once(mut nodes: Vec<NodeProto>) -> Vec<NodeProto> {
    let mut names: Names = nodes.iter().filter_map(|node| node.name.clone()).collect();
    let mut seen = HashSet::new();
    for name in nodes.iter_mut().filter_map(|node| node.name.as_mut()) {
        if !name.is_empty() && !seen.insert(name.clone()) {
            *name = names.fresh(name);
        }
    }
    nodes
}
