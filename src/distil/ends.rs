//! Where blocks of a network end, and which ends of two networks are the same.

use std::collections::{HashMap, HashSet};

use crate::analysis::chain;
use crate::graph::{Graph, following};
use crate::onnx::DataType;
use crate::training::program::Prepared;

/// A value through which all paths from a network's input to its scores go, floats with a row for each sample.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct End {
    /// Its name.
    pub value: String,
    /// How many convolutions and products are before it, counted over all branches.
    pub products: usize,
    /// How many numbers it has for a sample.
    pub size: usize,
    /// Its place, for those of two networks whose names differ.
    place: Place,
}

/// Where a value is in a network: how many convolutions and products are before it, which operator makes it, the how
/// manyth of its kind since the last of those, and its dimensions for one sample.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    products: usize,
    operator: String,
    nth: usize,
    dims: Vec<usize>,
}

/// The ends inside of a network, from input to scores. `single` is the same network for one sample, by which is told whether a
/// first dimension is that of samples. The values `inner` are on the way of rounding, and no ends.
pub(super) fn ends(network: &Prepared, single: &Prepared, inner: &HashSet<String>) -> Vec<End> {
    let Prepared { graph, shapes, .. } = network;
    let data = following(graph, [network.input.as_str()]);
    let is_read = read(graph);
    let rows = |prepared: &Prepared, value: &str| {
        let info = prepared.shapes.info(value).ok()?;
        let is_float = info.dtype == DataType::Float;
        info.dims.first().copied().filter(|_| is_float)
    };
    let batch = rows(network, &network.input);
    let mut before = 0;
    let mut last = 0;
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut found = Vec::new();
    for index in chain(graph, &network.input, &network.scores) {
        let products = |nodes: std::ops::RangeInclusive<usize>| {
            let nodes = graph.nodes[nodes].iter();
            nodes.filter(|n| multiplies(&n.op_type)).count()
        };
        let new = products(last..=index);
        last = index + 1;
        if new > 0 {
            before += new;
            counts.clear();
        }
        let node = &graph.nodes[index];
        let mut outputs = node
            .present_outputs()
            .filter(|o| data.contains(o) && is_read.contains(o));
        let (Some(value), None) = (outputs.next(), outputs.next()) else {
            continue;
        };
        if value == network.scores
            || inner.contains(value)
            || rows(network, value) != batch
            || rows(single, value) != Some(1)
        {
            continue;
        }
        let Ok(dims) = shapes.dims(value) else {
            continue;
        };
        let nth = counts.entry(node.op_type.clone()).or_default();
        *nth += 1;
        found.push(End {
            value: value.to_owned(),
            products: before,
            size: dims.iter().skip(1).product(),
            place: Place {
                products: before,
                operator: node.op_type.clone(),
                nth: *nth,
                dims: dims[1..].to_vec(),
            },
        });
    }
    found
}

/// How many convolutions and products a network has.
pub(super) fn products(graph: &Graph) -> usize {
    let nodes = graph.nodes.iter();
    nodes.filter(|node| multiplies(&node.op_type)).count()
}

fn multiplies(operator: &str) -> bool {
    matches!(
        operator,
        "Conv" | "ConvTranspose" | "Gemm" | "MatMul" | "Einsum"
    )
}

/// The values that nodes or the outputs read.
fn read(graph: &Graph) -> HashSet<&str> {
    let nodes = graph.nodes.iter().flat_map(|node| node.present_inputs());
    let outputs = graph.outputs.iter().map(|output| output.name.as_str());
    nodes.chain(outputs).collect()
}

/// For each end of `own`, which one of `others` is the same: the one of its name and dimensions, or where the other network
/// has nothing of that name the one in its place. Those of both come in the same order.
pub(super) fn pairs(own: &[End], others: &[End]) -> Vec<Option<usize>> {
    let by_name: HashMap<&str, usize> = others
        .iter()
        .enumerate()
        .map(|(i, end)| (end.value.as_str(), i))
        .collect();
    let by_place: HashMap<&Place, usize> = others
        .iter()
        .enumerate()
        .map(|(i, end)| (&end.place, i))
        .collect();
    let mut next = 0;
    own.iter()
        .map(|end| {
            let found = match by_name.get(end.value.as_str()) {
                Some(&at) => Some(at).filter(|&at| others[at].place.dims == end.place.dims),
                None => by_place.get(&end.place).copied(),
            };
            let found = found.filter(|&at| at >= next)?;
            next = found + 1;
            Some(found)
        })
        .collect()
}
