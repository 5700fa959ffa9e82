//! The tuned copy of a convolution, and the mixture of both.

use crate::graph::{Graph, Node};

use super::super::super::SurgeryError;
use super::super::Form;
use super::super::changes::Changes;
use super::super::layer::{refuse, tensor};
use super::name;
use super::unit::{OF_NORM, Unit};

/// A convolution, and of which of its filters there are copies.
pub(super) struct Part<'p, 'g> {
    pub weight: &'p str,
    pub unit: &'p Unit<'g>,
    /// The filters, ascending.
    pub filters: &'p [usize],
}

impl Part<'_, '_> {
    pub fn is_whole(&self) -> bool {
        self.filters.len() == self.unit.channels()
    }
}

/// Of `values`, so many for each filter as for any other, those of some filters.
pub(super) fn rows(values: &[f32], of: usize, filters: &[usize]) -> Vec<f32> {
    let each = values.len() / of.max(1);
    let own = filters.iter().flat_map(|f| &values[f * each..][..each]);
    own.copied().collect()
}

/// Adds F, and gives the value that it makes.
pub(super) fn copy(
    graph: &Graph,
    part: &Part<'_, '_>,
    reads: &str,
    changes: &mut Changes,
    nodes: &mut Vec<Node>,
) -> Result<String, SurgeryError> {
    let Part {
        weight,
        unit,
        filters,
    } = *part;
    let originals = unit.originals();
    let mut copies = Vec::new();
    for (original, (name, trained)) in originals.iter().zip(unit.copies(weight)) {
        let Some(old) = tensor(graph, original) else {
            return refuse(weight, format!("`{original}` is no tensor"));
        };
        let values = old.to_f32().unwrap_or_default();
        let values = rows(&values, unit.channels(), filters);
        let dims = [&[filters.len()][..], &old.dims[1..]].concat();
        copies.push(match trained {
            true => changes.parameter(name, old.dtype, &dims, &values)?,
            false => changes.tensor(name, old.dtype, &dims, &values)?,
        });
    }
    let of_conv = originals.len() - unit.norm.map_or(0, |_| OF_NORM.len());
    let mut add = |like: &Node, part: &str, reads: &str, own: &[String]| {
        let output = name(weight, part);
        let inputs = std::iter::once(reads).chain(own.iter().map(String::as_str));
        let inputs: Vec<&str> = inputs.collect();
        let mut node = Node::new(&output, &like.op_type, &inputs, &[&output]);
        node.attributes.clone_from(&like.attributes);
        nodes.push(node);
        output
    };
    let tuned = add(unit.layer.node, "conv", reads, &copies[..of_conv]);
    Ok(match unit.norm {
        Some(norm) => add(norm, "norm", &tuned, &copies[of_conv..]),
        None => tuned,
    })
}

/// Adds what chooses between F and S, and gives the value that it makes. The gate is `[N, filters, 1, …]`.
///
/// While training, `S + g (F − S)`, in which the gate has a gradient; where all is decided, `Where`, or the formula
/// itself in files whose operator set has no such operator. Where F has some of the filters only, the mixture of these is
/// put in the places of theirs.
pub(super) fn mix(
    part: &Part<'_, '_>,
    [tuned, gate]: [&str; 2],
    (gate_is_bool, form): (bool, Form),
    changes: &mut Changes,
    nodes: &mut Vec<Node>,
) -> Result<String, SurgeryError> {
    let Part { weight, unit, .. } = *part;
    let whole = unit.output();
    let along = |node: Node| node.with("axis", 1);
    let kept = match part.is_whole() {
        true => whole.to_owned(),
        false => {
            let filters: Vec<i64> = part.filters.iter().map(|&f| f as i64).collect();
            let filters = changes.ints(name(weight, "filters"), &filters);
            let kept = name(weight, "kept");
            let node = Node::new(&kept, "Gather", &[whole, &filters], &[&kept]);
            nodes.push(along(node));
            kept
        }
    };
    let mut op = |part: &str, op: &str, inputs: &[&str]| {
        let output = name(weight, part);
        nodes.push(Node::new(&output, op, inputs, &[&output]));
        output
    };
    let mixed = match form {
        Form::Training => {
            let difference = op("difference", "Sub", &[tuned, &kept]);
            let part = op("part", "Mul", &[gate, &difference]);
            op("mixed", "Add", &[&kept, &part])
        }
        Form::Inference if gate_is_bool => op("mixed", "Where", &[gate, tuned, &kept]),
        Form::Inference => {
            let one = changes.tensor(name(weight, "one"), unit.layer.weight.dtype, &[], &[1.0])?;
            let closed = op("closed", "Sub", &[&one, gate]);
            let of_tuned = op("of_tuned", "Mul", &[gate, tuned]);
            let of_kept = op("of_kept", "Mul", &[&closed, &kept]);
            op("mixed", "Add", &[&of_tuned, &of_kept])
        }
    };
    if part.is_whole() {
        return Ok(mixed);
    }
    let channels = unit.channels();
    let place = |channel: usize| {
        let mixed = part.filters.binary_search(&channel);
        mixed.map_or(channel, |place| channels + place) as i64
    };
    let places: Vec<i64> = (0..channels).map(place).collect();
    let places = changes.ints(name(weight, "places"), &places);
    let [both, placed] = ["both", "placed"].map(|part| name(weight, part));
    let join = Node::new(&both, "Concat", &[whole, &mixed], &[&both]);
    let take = Node::new(&placed, "Gather", &[&both, &places], &[&placed]);
    nodes.extend([along(join), along(take)]);
    Ok(placed)
}
