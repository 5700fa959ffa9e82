//! Nodes that read constants alone.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use crate::graph::messages::inner_graphs;
use crate::graph::operators::{Class, named};
use crate::onnx::messages::{GraphProto, ModelProto, NodeProto, TensorProto};
use crate::onnx::{DataType, Tensor, element_count, is_external};
use crate::runtime::{Array, Port, Runtime};
use crate::surgery::{Named, reads};

use super::super::{TransformError, probe};
use super::bundles::{bundled, try_each};
use super::groups::{Candidates, Values};
use super::put::{put, set};
use super::sweep::Dead;
use super::{Constants, Pass, Place, is_annotated, is_output};

/// Operators whose values are not the same each time.
const DRAWN: [&str; 7] = [
    "Bernoulli",
    "Dropout",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
];
/// Bytes of values on the way to what is computed.
const MOST_BYTES: u64 = 1 << 28;
/// Bytes of constants and values of what is computed together.
const TOGETHER: u64 = 1 << 24;

/// Computes them, where the file does not become larger by it; whether there was one.
pub(super) fn compute(
    pass: &mut Pass<'_>,
    graph: &mut GraphProto,
    place: Place<'_>,
    around: &Constants,
    dead: &Dead,
) -> Result<bool, TransformError> {
    let own = pass.constants(graph, place)?;
    let leaf = |name: &str| own.get(name).or_else(|| around.get(name));
    let allowed: Vec<bool> = graph
        .node
        .iter()
        .map(|node| !dead.has(node) && is_plain(pass, graph, node) && !widens(node, &own, around))
        .collect();
    let mut candidates = Candidates::new(graph, &|name: &str| leaf(name).is_some(), allowed);
    candidates.settle();
    if candidates.is_empty() {
        return Ok(false);
    }
    let Some(runtime) = pass.runtime else {
        pass.counts.left = candidates.nodes().len();
        return Ok(false);
    };
    let part = |nodes: &[usize]| part(pass, graph, nodes, &leaf);
    let mut types = Values::new();
    let refused = try_each(&candidates.parts(), &mut |nodes| {
        let found = types_of(runtime, pass, part(nodes));
        found.map(|found| types.extend(found)).is_some()
    });
    candidates.refuse(&refused);
    let weight = |name: &str| own.get(name).map(|tensor| size(pass, tensor));
    candidates.refuse_unknown(&types, MOST_BYTES);
    candidates.refuse_larger(&types, &weight);
    let mut values: HashMap<String, Tensor> = HashMap::new();
    loop {
        let bytes = |nodes: &[usize]| candidates.bytes(nodes, &types, &weight);
        let mut failed = Vec::new();
        for bundle in bundled(candidates.parts(), bytes, TOGETHER) {
            failed.extend(try_each(&bundle, &mut |nodes| {
                let wanted = candidates.wanted(nodes);
                if wanted.iter().all(|name| values.contains_key(name)) {
                    return true;
                }
                let found = run(runtime, pass, part(nodes), &wanted);
                found.map(|found| values.extend(found)).is_some()
            }));
        }
        if failed.is_empty() {
            break;
        }
        candidates.refuse(&failed);
        candidates.refuse_larger(&types, &weight);
    }
    let nodes: HashSet<usize> = candidates.nodes().into_iter().collect();
    let refused = candidates.refused().iter().map(|&at| graph.node[at].key());
    pass.refused.extend(refused);
    if nodes.is_empty() {
        return Ok(false);
    }
    let wanted: Vec<String> = candidates.wanted(&Vec::from_iter(nodes.iter().copied()));
    let heirs = candidates.heirs(&types, &|name| {
        let tensor = own.get(name)?;
        let is_tensor = graph.initializer.iter().any(|t| t.name() == name);
        let dtype = DataType::from_number(tensor.data_type.unwrap_or(0))?;
        let count = elements(tensor)?;
        (is_tensor && dtype.is_float() && count > 1 && !is_annotated(graph, name)).then_some(count)
    });
    apply(pass, graph, place, &nodes, &wanted, &values, &heirs);
    Ok(true)
}

/// Puts what was computed in the place of the nodes.
fn apply(
    pass: &mut Pass<'_>,
    graph: &mut GraphProto,
    place: Place<'_>,
    nodes: &HashSet<usize>,
    wanted: &[String],
    values: &HashMap<String, Tensor>,
    heirs: &HashMap<String, String>,
) {
    let all = std::mem::take(&mut graph.node);
    let wanted: HashSet<&String> = wanted.iter().collect();
    let mut inherited = Vec::new();
    for (at, node) in all.into_iter().enumerate() {
        if !nodes.contains(&at) {
            graph.node.push(node);
            continue;
        }
        pass.touch_node(place, &node);
        pass.counts.computed += 1;
        for output in &node.output {
            let Some(tensor) = wanted
                .contains(output)
                .then(|| values.get(output))
                .flatten()
            else {
                continue;
            };
            let given = is_output(graph, output);
            let as_node = pass.ir < 4 || given;
            match heirs.get(output).filter(|_| !given) {
                Some(weight) => inherited.push((output.clone(), weight.clone(), tensor)),
                None => put(pass, graph, place, tensor.to_proto(output), as_node),
            }
        }
    }
    for (value, weight, tensor) in &inherited {
        set(pass, graph, place, weight, tensor);
        pass.forget(graph, place, value);
    }
    let names = inherited.iter();
    let names = names.map(|(value, weight, _)| (value.as_str(), weight.as_str()));
    pass.redirect(graph, place, &names.collect());
}

/// Bytes that a tensor takes, in the file and beside it.
fn size(pass: &Pass<'_>, tensor: &TensorProto) -> u64 {
    use prost::Message;
    let beside = match is_external(tensor) && tensor.raw_data.is_none() {
        true => pass.model.values_of(tensor).ok().flatten(),
        false => None,
    };
    tensor.encoded_len() as u64 + beside.map_or(0, |values| values.len())
}

/// Whether a node of ONNX's own operators gives the same each time, and another's is not known.
pub(in crate::transform) fn gives_the_same(node: &NodeProto) -> bool {
    matches!(node.domain.as_deref().unwrap_or_default(), "" | "ai.onnx")
        && !DRAWN.contains(&node.op_type())
}

/// Whether a node gives the same each time, and nothing else is to be known of it.
fn is_plain(pass: &Pass<'_>, graph: &GraphProto, node: &NodeProto) -> bool {
    let operator = node.op_type();
    let class = named(operator).map(|o| o.class);
    let is_left = [Class::Quantised, Class::Sequence, Class::ControlFlow]
        .iter()
        .any(|left| class == Some(*left));
    pass.is_standard(node)
        && operator != "Constant"
        && gives_the_same(node)
        && !is_left
        && inner_graphs(node).next().is_none()
        && node.input.iter().any(|i| !i.is_empty())
        && !pass.refused.contains(&node.key())
        && !node.output.iter().any(|o| is_annotated(graph, o))
}

/// Whether a node makes more bits of a tensor of floats, or of numbers of less than a byte, which is how it is kept.
fn widens(node: &NodeProto, own: &Constants, around: &Constants) -> bool {
    let bits = |number: i32| match number {
        21..=23 => 4,
        17..=20 => 8,
        10 | 16 => 16,
        1 => 32,
        // Integers and what is as large as any.
        _ => 64,
    };
    let Some(input) = node.input.first().filter(|_| node.op_type() == "Cast") else {
        return false;
    };
    let tensor = own.get(input).or_else(|| around.get(input));
    let mut attributes = node.attribute.iter();
    let to = attributes.find(|a| a.name.as_deref() == Some("to"));
    let to = to.and_then(|a| i32::try_from(a.i?).ok()).unwrap_or(0);
    tensor.is_some_and(|t| {
        elements(t).is_none_or(|n| n > 1) && bits(t.data_type.unwrap_or(0)) < bits(to)
    })
}

/// How many elements a tensor says that it has, where that is a number.
fn elements(tensor: &TensorProto) -> Option<usize> {
    let dims = tensor.dims.iter();
    let dims: Option<Vec<usize>> = dims.map(|&d| usize::try_from(d).ok()).collect();
    element_count(&dims?)
}

/// A model of some nodes and the constants that they read.
fn part<'g>(
    pass: &Pass<'_>,
    graph: &GraphProto,
    nodes: &[usize],
    leaf: &impl Fn(&str) -> Option<&'g TensorProto>,
) -> ModelProto {
    let mut part = GraphProto {
        name: Some("constants".to_owned()),
        ..GraphProto::default()
    };
    let mut read: HashSet<&str> = HashSet::new();
    for &at in nodes {
        let node = &graph.node[at];
        read.extend(reads(node));
        part.node.push(node.clone());
    }
    let mut read: Vec<&str> = read.into_iter().collect();
    read.sort_unstable();
    part.initializer = read
        .into_iter()
        .filter_map(|name| leaf(name).cloned())
        .collect();
    ModelProto {
        ir_version: Some(pass.ir.max(4)),
        opset_import: pass.around.opset_import.clone(),
        graph: Some(part),
        ..ModelProto::default()
    }
}

/// Types and dimensions of all that the nodes make, as far as onnxruntime knows them.
fn types_of(runtime: &Runtime, pass: &Pass<'_>, mut part: ModelProto) -> Option<Values> {
    let graph = part.graph.get_or_insert_default();
    let made = graph.node.iter().flat_map(|n| &n.output);
    let made: Vec<String> = made.filter(|o| !o.is_empty()).cloned().collect();
    // A value of unknown rank has no dimensions in onnxruntime's words, as a single number: what Shape makes of it tells.
    let rank = |value: &str| format!("rank of {value}");
    graph.node.extend(made.iter().map(|value| NodeProto {
        op_type: Some("Shape".to_owned()),
        input: vec![value.clone()],
        output: vec![rank(value)],
        ..NodeProto::default()
    }));
    let model = pass.model.with_proto(part);
    let ranks: Vec<String> = made.iter().map(|value| rank(value)).collect();
    let wanted: Vec<&str> = made.iter().chain(&ranks).map(String::as_str).collect();
    let session = probe::outline(runtime, &model, &wanted).ok()?;
    let ports = session.outputs().iter();
    let ports: HashMap<&str, &Port> = ports.map(|port| (port.name.as_str(), port)).collect();
    let known = made.iter().filter_map(|value| {
        let port = ports.get(value.as_str())?;
        let rank = ports.get(rank(value).as_str())?.dims.first().copied()??;
        let dims: Option<Vec<usize>> = port.dims.iter().copied().collect();
        let dims = dims.filter(|dims| dims.len() == rank)?;
        Some((value.clone(), (DataType::from_number(port.dtype)?, dims)))
    });
    Some(known.collect())
}

fn run(
    runtime: &Runtime,
    pass: &Pass<'_>,
    part: ModelProto,
    wanted: &[String],
) -> Option<HashMap<String, Tensor>> {
    let model = pass.model.with_proto(part);
    let names: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let mut session = probe::session(runtime, &model, &names, "nodes of constants").ok()?;
    let arrays = session.run(&[]).ok()?;
    let names: Vec<String> = session.outputs().iter().map(|p| p.name.clone()).collect();
    Some(names.into_iter().zip(arrays.iter().map(tensor)).collect())
}

/// An array as a tensor.
fn tensor(array: &Array) -> Tensor {
    macro_rules! bytes {
        ($a:expr) => {
            $a.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()
        };
    }
    let (dtype, data) = match array {
        Array::F32(a) => (DataType::Float, bytes!(a)),
        Array::F64(a) => (DataType::Double, bytes!(a)),
        Array::F16(a) => (DataType::Float16, bytes!(a)),
        Array::I64(a) => (DataType::Int64, bytes!(a)),
        Array::I32(a) => (DataType::Int32, bytes!(a)),
        Array::U8(a) => (DataType::Uint8, a.iter().copied().collect()),
        Array::Bool(a) => (DataType::Bool, a.iter().map(|&v| u8::from(v)).collect()),
    };
    Tensor {
        dtype,
        dims: array.dims().to_vec(),
        data: Bytes::from(data),
    }
}
