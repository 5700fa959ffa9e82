//! Sizes that follow from what the inputs declare.
//!
//! Shapes are inferred on the normal form of the graph, whose values have the names of the file's. What the inputs leave
//! open is tried at several sizes, each dimension at another one: a value counts as known where it is the same at all of
//! them at which shapes can be inferred, two at least. What is not known so onnxruntime may know, which infers shapes for
//! all sizes at once.

use std::collections::{HashMap, HashSet};

use crate::graph::messages::inner_graphs;
use crate::graph::{Dim, Graph, Value, infer_what_fits, normalise, value_to_proto};
use crate::onnx::messages::{AttributeProto, GraphProto, NodeProto};
use crate::onnx::{DataType, Model, Tensor};
use crate::runtime::Runtime;
use crate::surgery::Named;

use super::super::probe;
use super::put::put;
use super::sweep::Dead;
use super::{Pass, Place, is_output};

/// Sizes that are tried in turn of first dimensions that are open.
const BATCHES: [usize; 5] = [2, 1, 7, 3, 5];
/// Those of others; the second of a model's begins at another place, so that no two are equal.
const SIDES: [usize; 10] = [224, 320, 96, 13, 192, 61, 1, 448, 64, 1021];
/// Elements up to which a value takes the place of its node in any case; more have to take less room than the nodes.
const SMALL: usize = 64;

/// Values of the main graph that are known, by name.
pub(super) fn known(model: &Model, runtime: Option<&Runtime>) -> HashMap<String, Tensor> {
    if !model.graph().node.iter().any(is_size) {
        return HashMap::new();
    }
    let mut known = inferred(model).unwrap_or_default();
    if let Some(runtime) = runtime {
        of_runtime(model, runtime, &mut known);
    }
    known
}

fn is_size(node: &NodeProto) -> bool {
    matches!(node.op_type(), "Shape" | "Size")
}

fn inferred(model: &Model) -> Option<HashMap<String, Tensor>> {
    let mut follow: HashSet<String> = HashSet::new();
    for node in &model.graph().node {
        let reads = node.input.iter().any(|i| follow.contains(i));
        // What depends on a branch that is taken or not is not inferred.
        let is_plain = inner_graphs(node).next().is_none();
        if is_plain && reads || is_size(node) {
            follow.extend(node.output.iter().filter(|o| !o.is_empty()).cloned());
        }
    }
    // What these need is kept, under its name; of an If that is known the condition would not be.
    let value = |name: &String| Value {
        name: name.clone(),
        dtype: DataType::Float,
        dims: None,
    };
    let mut proto = model.proto.clone();
    proto.graph.get_or_insert_default().output = follow
        .iter()
        .map(value)
        .map(|v| value_to_proto(&v))
        .collect();
    let mut graph = Graph::from_model(&model.with_proto(proto).outlined()).ok()?;
    graph.prune();
    normalise(&mut graph).ok()?;
    let samples = samples(&graph)?;
    let least = samples.len().min(2);
    let mut found: HashMap<&String, (usize, Tensor)> = HashMap::new();
    let mut unknown: HashSet<&String> = HashSet::new();
    for sizes in &samples {
        let Ok((shapes, _)) = infer_what_fits(&graph, sizes) else {
            continue;
        };
        for name in &follow {
            if shapes.info(name).is_err() {
                continue;
            }
            let constant = shapes.constant(name).filter(|_| !shapes.is_of_floats(name));
            match (constant, found.get_mut(name)) {
                (None, _) => drop(unknown.insert(name)),
                (Some(tensor), None) => drop(found.insert(name, (1, tensor.clone()))),
                (Some(tensor), Some((count, first))) if tensor == first => *count += 1,
                (Some(_), Some(_)) => drop(unknown.insert(name)),
            }
        }
    }
    let known = found
        .into_iter()
        .filter(|(name, (count, _))| *count >= least && !unknown.contains(name));
    Some(
        known
            .map(|(name, (_, tensor))| (name.clone(), tensor))
            .collect(),
    )
}

/// A dimension, or which of those that are open it is; `None` stands for the batch.
type Size = Result<usize, Option<usize>>;

/// Dimensions of all inputs, in each way that is tried.
fn samples(graph: &Graph) -> Option<Vec<HashMap<String, Vec<usize>>>> {
    let mut sides: Vec<String> = Vec::new();
    let mut batches: HashSet<&str> = HashSet::new();
    for input in &graph.inputs {
        if let Some(Dim::Symbolic(name)) = input.dims.as_ref()?.first() {
            batches.insert(name);
        }
    }
    let mut is_open = false;
    // By input and axis which open dimension it is; none stands for the batch.
    let mut places: Vec<(String, Vec<Size>)> = Vec::new();
    for input in &graph.inputs {
        let mut dims = Vec::new();
        for (axis, dim) in input.dims.as_ref()?.iter().enumerate() {
            dims.push(match dim {
                Dim::Known(size) => Ok(*size),
                Dim::Symbolic(name) => {
                    is_open = true;
                    let is_batch = axis == 0 || !name.is_empty() && batches.contains(name.as_str());
                    let same = sides.iter().position(|s| s == name && !name.is_empty());
                    Err(match (is_batch, same) {
                        (true, _) => None,
                        (false, Some(same)) => Some(same),
                        (false, None) => {
                            sides.push(name.clone());
                            Some(sides.len() - 1)
                        }
                    })
                }
            });
        }
        places.push((input.name.clone(), dims));
    }
    let rounds = if is_open { SIDES.len() } else { 1 };
    let at = |round: usize| {
        let size = |place: &Result<usize, Option<usize>>| match place {
            Ok(size) => *size,
            Err(None) => BATCHES[round % BATCHES.len()],
            Err(Some(side)) => SIDES[(round + 3 * side) % SIDES.len()],
        };
        let sizes = places.iter();
        sizes
            .map(|(name, dims)| (name.clone(), dims.iter().map(size).collect()))
            .collect()
    };
    Some((0..rounds).map(at).collect())
}

/// What onnxruntime knows of what Shape nodes read. What the file notes of inner values is not looked at.
fn of_runtime(model: &Model, runtime: &Runtime, known: &mut HashMap<String, Tensor>) {
    let graph = model.graph();
    let is_shape = |node: &&NodeProto| {
        node.op_type() == "Shape" && node.domain.as_deref().unwrap_or("").is_empty()
    };
    let open = graph.node.iter().filter(is_shape);
    let open: Vec<&NodeProto> = open
        .filter(|n| n.input.len() == 1 && n.output.len() == 1 && !known.contains_key(&n.output[0]))
        .collect();
    let wanted: HashSet<&str> = open.iter().map(|n| n.input[0].as_str()).collect();
    let inputs: HashSet<&str> = graph.input.iter().map(|v| v.name()).collect();
    let wanted: Vec<&str> = wanted.into_iter().filter(|n| !inputs.contains(n)).collect();
    if wanted.is_empty() {
        return;
    }
    let mut proto = model.proto.clone();
    proto.graph.get_or_insert_default().value_info.clear();
    proto.graph.get_or_insert_default().output.clear();
    let Ok(session) = probe::outline(runtime, &model.with_proto(proto), &wanted) else {
        return;
    };
    for node in open {
        let Some(port) = session.outputs().iter().find(|p| p.name == node.input[0]) else {
            continue;
        };
        // Of a value of unknown rank it says no dimensions, too.
        if port.dtype == 0 || port.dims.is_empty() {
            continue;
        }
        let rank = port.dims.len() as i64;
        let bound = |name: &str, default: i64| {
            let mut attributes = node.attribute.iter();
            let value = attributes.find(|a: &&AttributeProto| a.name.as_deref() == Some(name));
            let value = value.and_then(|a| a.i).unwrap_or(default);
            let value = if value < 0 {
                value.saturating_add(rank)
            } else {
                value
            };
            value.clamp(0, rank) as usize
        };
        let part = port.dims.get(bound("start", 0)..bound("end", i64::MAX));
        let sizes: Option<Vec<i64>> = part
            .unwrap_or_default()
            .iter()
            .map(|dim| dim.map(|size| size as i64))
            .collect();
        if let Some(sizes) = sizes {
            known.insert(node.output[0].clone(), Tensor::i64s(&sizes));
        }
    }
}

/// Puts constants in the place of nodes whose values are known; whether there was one.
pub(super) fn replace(
    pass: &mut Pass<'_>,
    graph: &mut GraphProto,
    place: Place<'_>,
    known: &HashMap<String, Tensor>,
    dead: &Dead,
) -> bool {
    let value = |node: &NodeProto| {
        let ([output], true) = (node.output.as_slice(), pass.is_standard(node)) else {
            return None;
        };
        let has_graph = inner_graphs(node).next().is_some();
        let is_left = has_graph || node.op_type() == "Constant" || dead.has(node);
        known
            .get(output)
            .filter(|t| !is_left && t.len() <= SMALL)
            .map(|t| t.to_proto(output))
    };
    let found: Vec<Option<_>> = graph.node.iter().map(value).collect();
    if found.iter().all(Option::is_none) {
        return false;
    }
    let nodes = std::mem::take(&mut graph.node);
    for (node, value) in nodes.into_iter().zip(found) {
        let Some(value) = value else {
            graph.node.push(node);
            continue;
        };
        pass.touch(place, crate::surgery::Part::Node, &node.key());
        let as_node = pass.ir < 4 || is_output(graph, value.name());
        put(pass, graph, place, value, as_node);
        pass.counts.sizes += 1;
    }
    true
}
