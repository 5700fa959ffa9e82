//! Types of values, from where they are declared or follow from operators.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use crate::graph::schemas::{self, Kind, Schema};
use crate::onnx::Model;
use crate::onnx::messages::{AttributeProto, FunctionProto, GraphProto, NodeProto};

use super::attributes::{Attributes, int, named};
use super::{Callee, Env, Known, called_by, callee_of, constants, dims, is_own, is_standard};

/// Attributes that are the number of an element type.
pub(in crate::transform) const TYPE_ATTRIBUTES: [&str; 4] =
    ["to", "dtype", "output_dtype", "output_datatype"];

/// How often nodes that stand in another order are looked at.
const MOST_PASSES: usize = 50;

/// Reads what is known out of a model.
pub(in crate::transform) struct Reading<'m> {
    functions: HashMap<Callee, &'m FunctionProto>,
    opset: i64,
    /// What somebody else knows of values of the main graph.
    pub learned: HashMap<String, Known>,
    /// What was known inside of functions, for each call.
    bodies: RefCell<HashMap<Callee, Vec<Env>>>,
}

impl<'m> Reading<'m> {
    /// Of a model, whose functions do not call themselves.
    pub fn of(model: &'m Model) -> Self {
        let functions = model.proto.functions.iter();
        Reading {
            functions: functions.map(|f| (callee_of(f), f)).collect(),
            opset: model.opset(),
            learned: HashMap::new(),
            bodies: RefCell::default(),
        }
    }

    /// What is known in the main graph.
    pub fn main(&self, graph: &GraphProto) -> Env {
        self.bodies.borrow_mut().clear();
        let mut env = Env::default();
        for (name, known) in &self.learned {
            env.values.insert(name.clone(), known.clone());
        }
        self.graph(graph, self.opset, &env, &[], &Attributes::new())
    }

    /// What is known inside of a function, in all of its calls.
    pub fn body(&self, function: &Callee) -> Option<Env> {
        let bodies = self.bodies.borrow();
        let (first, others) = bodies.get(function)?.split_first()?;
        let mut env = first.clone();
        others.iter().for_each(|other| env.common(other));
        Some(env)
    }

    /// The function that a node calls.
    pub fn function(&self, node: &NodeProto) -> Option<&'m FunctionProto> {
        self.functions.get(&called_by(node)).copied()
    }

    /// What is known in a graph that reads values of `outer`; `given` are its inputs, where it declares less, and `call` what
    /// attributes refer to.
    pub fn graph(
        &self,
        graph: &GraphProto,
        opset: i64,
        outer: &Env,
        given: &[Known],
        call: &Attributes,
    ) -> Env {
        let mut env = outer.clone();
        for (at, input) in graph.input.iter().enumerate() {
            let mut known = Known::declared(input).unwrap_or_default();
            if let Some(given) = given.get(at) {
                known.learn(given);
            }
            env.constants.remove(input.name());
            env.values.insert(input.name().to_owned(), known);
        }
        for value in graph.value_info.iter().chain(&graph.output) {
            if let Some(known) = Known::declared(value) {
                env.values
                    .entry(value.name().to_owned())
                    .or_default()
                    .learn(&known);
            }
        }
        let listed = graph.input.iter().map(|v| v.name());
        let listed: HashSet<&str> = listed.collect();
        for tensor in &graph.initializer {
            env.values
                .insert(tensor.name().to_owned(), Known::of_tensor(tensor));
            // One that is an input, too, may be given another value, but for sizes nobody does.
            if !listed.contains(tensor.name()) || tensor.data_type == Some(7) {
                env.constants
                    .insert(tensor.name().to_owned(), tensor.clone());
            }
        }
        for sparse in &graph.sparse_initializer {
            if let Some(values) = &sparse.values {
                let known = Known {
                    dims: Some(sparse.dims.iter().map(|&d| Some(d)).collect()),
                    ..Known::of_tensor(values)
                };
                env.values.insert(values.name().to_owned(), known);
            }
        }
        let in_order = are_in_order(&graph.node);
        for _ in 0..MOST_PASSES {
            let mut learnt = false;
            for node in &graph.node {
                learnt |= self.node(node, opset, &mut env, call);
            }
            if !learnt || in_order {
                break;
            }
        }
        env
    }

    /// Adds what a node makes; whether something was not known before.
    fn node(&self, node: &NodeProto, opset: i64, env: &mut Env, call: &Attributes) -> bool {
        if node.op_type() == "Constant"
            && is_standard(node)
            && let (Some(tensor), Some(output)) = (constants::held(node), node.output.first())
        {
            let known = env.values.entry(output.clone()).or_default();
            let learnt = known.learn(&Known::of_tensor(&tensor));
            env.constants.insert(output.clone(), tensor);
            return learnt;
        }
        let made = self.outputs(node, opset, env, call);
        let mut learnt = false;
        for (output, known) in node.output.iter().zip(made) {
            if !output.is_empty() {
                learnt |= env.values.entry(output.clone()).or_default().learn(&known);
            }
        }
        learnt
    }

    /// What a node makes.
    fn outputs(&self, node: &NodeProto, opset: i64, env: &Env, call: &Attributes) -> Vec<Known> {
        if let Some(function) = self.function(node) {
            return self.called(function, node, env, call);
        }
        let inputs: Vec<Known> = node.input.iter().map(|i| env.known(i)).collect();
        let schema = schemas::standard(node.op_type(), opset);
        let Some(schema) = schema.filter(|_| is_standard(node)) else {
            return Vec::new();
        };
        let inner = |index: usize, given: &[Known]| -> Vec<Known> {
            let graphs = node.attribute.iter().flat_map(AttributeProto::subgraphs);
            let Some(graph) = graphs.into_iter().nth(index) else {
                return Vec::new();
            };
            let inside = self.graph(graph, opset, env, given, call);
            graph
                .output
                .iter()
                .map(|o| inside.known(o.name()))
                .collect()
        };
        match node.op_type() {
            "If" => {
                let (mut first, second) = (inner(0, &[]), inner(1, &[]));
                for (a, b) in first.iter_mut().zip(&second) {
                    if a.element == 0 {
                        (a.kind, a.element) = (b.kind, b.element);
                    }
                    a.dims = a.common(b).dims;
                }
                first
            }
            "Loop" => {
                let states = inputs.len().saturating_sub(2);
                let mut given = vec![Known::of_rank(7, 0), Known::of_rank(9, 0)];
                // A state may change its size.
                let state = |known: &Known| Known {
                    dims: None,
                    ..known.clone()
                };
                given.extend(inputs.iter().skip(2).map(state));
                let made = inner(0, &given);
                let made = made.into_iter().skip(1).enumerate();
                made.map(|(at, known)| match at < states {
                    true => Known {
                        dims: None,
                        ..known
                    },
                    false => stacked(known),
                })
                .collect()
            }
            "Scan" if opset > 8 => {
                let scanned = usize::try_from(int(node, "num_scan_inputs", 0)).unwrap_or(0);
                let states = inputs.len().saturating_sub(scanned);
                let mut given: Vec<Known> = inputs[..states].to_vec();
                given.extend(inputs[states..].iter().map(|known| {
                    Known {
                        dims: known
                            .dims
                            .as_ref()
                            .and_then(|d| Some(vec![None; d.len().checked_sub(1)?])),
                        ..known.clone()
                    }
                }));
                let made = inner(0, &given).into_iter().enumerate();
                made.map(|(at, known)| if at < states { known } else { stacked(known) })
                    .collect()
            }
            _ => {
                let sizes = dims::of(node, &inputs, env);
                (0..node.output.len())
                    .map(|at| Known {
                        dims: sizes.get(at).cloned().flatten(),
                        ..typed(schema, node, &inputs, at, call)
                    })
                    .collect()
            }
        }
    }

    fn called(
        &self,
        function: &FunctionProto,
        node: &NodeProto,
        env: &Env,
        call: &Attributes,
    ) -> Vec<Known> {
        let given: Vec<Known> = node.input.iter().map(|i| env.known(i)).collect();
        let constants = function
            .input
            .iter()
            .zip(&node.input)
            .filter_map(|(name, input)| Some((name.clone(), env.constants.get(input)?.clone())));
        let constants: HashMap<_, _> = constants.collect();
        let mut body = function.clone();
        let graph = super::take_body(&mut body);
        let mut opsets = function.opset_import.iter();
        let own = opsets.find(|o| is_own(o.domain.as_deref()));
        let opset = own.and_then(|o| o.version).unwrap_or(self.opset);
        let attributes = bound(function, node, call);
        let mut inside = self.graph(&graph, opset, &Env::default(), &given, &attributes);
        inside.constants.extend(constants);
        let made = function.output.iter().map(|o| inside.known(o)).collect();
        let mut bodies = self.bodies.borrow_mut();
        bodies.entry(callee_of(function)).or_default().push(inside);
        made
    }
}

/// Whether nodes stand behind those that make what they read.
fn are_in_order(nodes: &[NodeProto]) -> bool {
    let mut later: HashSet<&str> = nodes
        .iter()
        .flat_map(|n| &n.output)
        .map(String::as_str)
        .collect();
    nodes.iter().all(|node| {
        let early = node
            .input
            .iter()
            .any(|i| !i.is_empty() && later.contains(i.as_str()));
        for output in &node.output {
            later.remove(output.as_str());
        }
        !early
    })
}

/// What a call gives the attributes of a function, or else their defaults.
pub(in crate::transform) fn bound(
    function: &FunctionProto,
    node: &NodeProto,
    call: &Attributes,
) -> Attributes {
    let mut attributes = Attributes::new();
    for attribute in &function.attribute_proto {
        attributes.insert(attribute.name().to_owned(), attribute.clone());
    }
    for attribute in &node.attribute {
        if let Some(attribute) = resolved(attribute, call) {
            attributes.insert(attribute.name().to_owned(), attribute);
        }
    }
    attributes
}

/// An attribute, or what the call gives it where it refers to one of the function's.
pub(in crate::transform) fn resolved(
    attribute: &AttributeProto,
    call: &Attributes,
) -> Option<AttributeProto> {
    match attribute.ref_attr_name.as_deref().unwrap_or_default() {
        "" => Some(attribute.clone()),
        referred => call.get(referred).map(|given| AttributeProto {
            name: attribute.name.clone(),
            ..given.clone()
        }),
    }
}

fn stacked(known: Known) -> Known {
    Known {
        dims: known.dims.map(|dims| vec![None; dims.len() + 1]),
        ..known
    }
}

/// The type of output `at`.
fn typed(
    schema: &Schema,
    node: &NodeProto,
    inputs: &[Known],
    at: usize,
    call: &Attributes,
) -> Known {
    let Some(made) = schema.output(at) else {
        return Known::default();
    };
    let own = [made.kind];
    let types = schema.variable(made.kind).unwrap_or(&own);
    if let [only] = types
        && let Some((kind, element)) = Kind::read(only)
    {
        return Known {
            kind,
            ..Known::tensor(element)
        };
    }
    let bound = inputs.iter().enumerate().find(|(index, known)| {
        let read = schema.input(*index);
        known.element != 0 && read.is_some_and(|p| p.kind == made.kind && p.is_of_one_type())
    });
    if let Some((_, known)) = bound {
        return Known {
            dims: None,
            ..known.clone()
        };
    }
    let attribute = TYPE_ATTRIBUTES
        .into_iter()
        .find(|name| schema.attribute(name).is_some());
    let said = attribute.and_then(|name| {
        let given = named(node, name).and_then(|a| resolved(a, call)?.i);
        given.or_else(|| schema.default(name)?.parse().ok())
    });
    let first = |index: usize| inputs.get(index).map_or(0, |known| known.element);
    let element = match (said, node.op_type()) {
        (Some(number), _) if number != 0 => i32::try_from(number).unwrap_or(0),
        (_, "ConstantOfShape") => {
            let value = named(node, "value").and_then(|a| resolved(a, call)?.t);
            value.map_or(1, |t| t.data_type.unwrap_or(0))
        }
        (_, "QuantizeLinear") => 2,
        (_, "DequantizeLinear") => first(1),
        // A reference that nobody gives.
        _ if attribute.is_some_and(|name| named(node, name).is_some()) => 0,
        _ => first(0),
    };
    Known {
        kind: schema.kind(made).unwrap_or_default(),
        ..Known::tensor(element)
    }
}
