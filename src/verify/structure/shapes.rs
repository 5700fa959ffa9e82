//! Dimensions: what follows from the declared ones, and where they contradict each other.
//!
//! What follows is inferred as for training, twice, with different sizes for all that is left open: dimensions that come to the
//! same are known. Where that does not get on, nothing follows; a contradiction is only what `fits` finds in what is known.

use std::collections::HashMap;

use crate::graph::normalise::{OPSET, normalise};
use crate::graph::{Attribute, Dim, Graph, GraphError, Node, Shapes, infer_what_fits};
use crate::onnx::messages::{DimensionValue, GraphProto, NodeProto, TypeValue, ValueInfoProto};
use crate::onnx::{Tensor, is_external};

use super::fits::{self, Operands};
use super::{Check, Rule};

/// Dimensions of a value, each where it is known.
pub(super) type Known = Vec<Option<usize>>;

/// Elements of a constant that is looked into.
const SMALL: usize = 64;

/// Sizes for open dimensions, by the first of which and by whose place they are: multiples of what networks divide sizes by,
/// large enough for all that halves them.
const SIZES: [usize; 2] = [384, 960];

/// What is known of the values of a graph and those around it.
#[derive(Clone, Default)]
struct Values {
    dims: HashMap<String, Known>,
    constants: HashMap<String, Vec<i64>>,
}

impl Check<'_> {
    /// The dimensions of the main graph and those inside of its nodes.
    pub(super) fn shapes(&mut self) {
        let graph = self.model.graph();
        let mut values = Values::default();
        match self.inferred() {
            Ok([first, second]) => {
                for (name, dims) in first {
                    if let Some(other) = second.get(&name).filter(|other| other.len() == dims.len())
                    {
                        let pairs = dims.iter().zip(other);
                        let known = pairs.map(|(a, b)| (a == b).then_some(*a)).collect();
                        values.dims.insert(name, known);
                    }
                }
            }
            Err(why) => self
                .found
                .unchecked
                .push(format!("which dimensions follow from the inputs: {why}")),
        }
        self.found.shapes = values.dims.len();
        for value in graph.output.iter().chain(&graph.value_info) {
            self.agrees(value, &values);
        }
        self.shapes_of(graph, &values);
    }

    /// The dimensions of all values that follow, for two choices of the sizes that are left open.
    fn inferred(&self) -> Result<[HashMap<String, Vec<usize>>; 2], GraphError> {
        let mut graph = Graph::from_model(self.model)?;
        normalise(&mut graph)?;
        debug_assert_eq!(graph.opset, OPSET);
        let run = |size: usize| -> Result<HashMap<String, Vec<usize>>, GraphError> {
            let mut symbols: HashMap<String, usize> = HashMap::new();
            let mut inputs = HashMap::new();
            for (place, input) in graph.inputs.iter().enumerate() {
                let Some(dims) = &input.dims else { continue };
                let sizes = dims.iter().enumerate().map(|(axis, dim)| match dim {
                    Dim::Known(size) => *size,
                    Dim::Symbolic(symbol) => {
                        // A nameless one is like no other.
                        let symbol = match symbol.as_str() {
                            "" => format!("{place} {axis}"),
                            symbol => symbol.to_owned(),
                        };
                        let next = size * (symbols.len() + 1);
                        *symbols.entry(symbol).or_insert(next)
                    }
                });
                inputs.insert(input.name.clone(), sizes.collect());
            }
            let (shapes, _) = infer_what_fits(&graph, &inputs)?;
            let names = graph.nodes.iter().flat_map(Node::present_outputs);
            let names = names.chain(graph.inputs.iter().map(|input| input.name.as_str()));
            let dims =
                |name: &str| Some((name.to_owned(), Shapes::dims(&shapes, name).ok()?.to_vec()));
            Ok(names.filter_map(dims).collect())
        };
        Ok([run(SIZES[0])?, run(SIZES[1])?])
    }

    /// Holds a declaration against what follows.
    fn agrees(&mut self, value: &ValueInfoProto, values: &Values) {
        let name = value.name();
        let (Some(inferred), Some(declared)) = (values.dims.get(name), declared(value)) else {
            return;
        };
        let same = inferred.len() == declared.len()
            && inferred
                .iter()
                .zip(&declared)
                .all(|(a, b)| a.is_none() || b.is_none() || a == b);
        if !same {
            let (a, b) = (words(inferred), words(&declared));
            let text = format!("`{name}` comes to dimensions {a}, and is declared with {b}");
            self.fault(Rule::Shape, text);
        }
    }

    fn shapes_of(&mut self, graph: &GraphProto, around: &Values) {
        let mut values = around.clone();
        for value in graph
            .input
            .iter()
            .chain(&graph.value_info)
            .chain(&graph.output)
        {
            if let Some(dims) = declared(value) {
                values.dims.entry(value.name().to_owned()).or_insert(dims);
            }
        }
        for tensor in &graph.initializer {
            let dims = tensor
                .dims
                .iter()
                .map(|&d| usize::try_from(d).ok())
                .collect();
            values.dims.insert(tensor.name().to_owned(), dims);
            if !is_external(tensor) {
                let found = Tensor::from_proto(tensor).ok();
                values.note(tensor.name(), found);
            }
        }
        for node in &graph.node {
            if let (Some(output), Ok(read)) = (node.output.first(), Node::from_proto(node, 0)) {
                if read.is("Constant") {
                    let found = constant(&read);
                    if let Some(tensor) = &found {
                        let dims = tensor.dims.iter().map(|&size| Some(size)).collect();
                        values.dims.insert(output.clone(), dims);
                    }
                    values.note(output, found);
                } else {
                    self.node_fits(node, &read, &values);
                }
            }
            for attribute in &node.attribute {
                for inner in attribute.subgraphs() {
                    let way = format!("`{}` of node `{}`", attribute.name(), node.name());
                    self.within(way, |check| check.shapes_of(inner, &values));
                }
            }
        }
    }

    fn node_fits(&mut self, node: &NodeProto, read: &Node, values: &Values) {
        let dims: Vec<Option<&Known>> = node
            .input
            .iter()
            .map(|name| values.dims.get(name))
            .collect();
        let constants = node.input.iter().map(|name| values.constants.get(name));
        let operands = Operands {
            node: read,
            opset: self.imports.get("").copied().unwrap_or(1),
            dims,
            constants: constants.map(|c| c.map(Vec::as_slice)).collect(),
        };
        if let Some(why) = fits::contradiction(&operands) {
            self.fault(Rule::Shape, format!("node {read}: {why}"));
        }
    }
}

impl Values {
    /// Notes the whole numbers of a small constant.
    fn note(&mut self, name: &str, tensor: Option<Tensor>) {
        self.constants.remove(name);
        let small = tensor.filter(|tensor| tensor.len() <= SMALL);
        if let Some(numbers) = small.and_then(|tensor| tensor.to_i64()) {
            self.constants.insert(name.to_owned(), numbers);
        }
    }
}

/// What a `Constant` of numbers makes.
fn constant(node: &Node) -> Option<Tensor> {
    match node.attributes.values().next()? {
        Attribute::Tensor(tensor) => Some(tensor.clone()),
        Attribute::Int(number) => Some(Tensor::scalar_i64(*number)),
        Attribute::Ints(numbers) => Some(Tensor::i64s(numbers)),
        Attribute::Float(number) => Some(Tensor::scalar_f32(*number)),
        Attribute::Floats(numbers) => Some(Tensor::f32(&[numbers.len()], numbers)),
        _ => None,
    }
}

fn declared(value: &ValueInfoProto) -> Option<Known> {
    let TypeValue::Tensor(tensor) = value.r#type.as_ref()?.value.as_ref()? else {
        return None;
    };
    let dims = tensor
        .shape
        .as_ref()?
        .dim
        .iter()
        .map(|dim| match dim.value {
            Some(DimensionValue::DimValue(size)) => {
                usize::try_from(size).ok().filter(|&size| size > 0)
            }
            _ => None,
        });
    Some(dims.collect())
}

/// Dimensions in words.
pub(super) fn words(dims: &[Option<usize>]) -> String {
    let dims = dims
        .iter()
        .map(|dim| dim.map_or_else(|| "?".to_owned(), |dim| dim.to_string()));
    format!("[{}]", dims.collect::<Vec<_>>().join(", "))
}
