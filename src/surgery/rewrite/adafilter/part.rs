//! The tuned copy of a convolution, and the mixture of both.

use crate::graph::{Attribute, Graph, Node};

use super::super::super::SurgeryError;
use super::super::changes::Changes;
use super::super::choice::{Adder, Place, mix};
use super::super::layer::{refuse, tensor};
use super::unit::{OF_NORM, Unit};
use super::{name, prefix};

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
            true if part.is_whole() => changes.copy(name, (original, old))?,
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

/// Adds what chooses between F and S, and gives the value that it makes. The gate is `[N, filters, 1, …]`. Where F has
/// some of the filters only, the mixture of these is put in the places of theirs.
pub(super) fn put(
    part: &Part<'_, '_>,
    tuned: &str,
    gate: (&str, bool),
    place: Place,
    changes: &mut Changes,
    nodes: &mut Vec<Node>,
) -> Result<String, SurgeryError> {
    let Part {
        weight,
        unit,
        filters,
    } = *part;
    let whole = unit.output();
    let along = [("axis", Attribute::Int(1))];
    let mut add = Adder::new(prefix(weight), nodes);
    if part.is_whole() {
        return mix([tuned, whole], gate, place, changes, &mut add);
    }
    let own: Vec<i64> = filters.iter().map(|&f| f as i64).collect();
    let own = changes.ints(add.name("filters"), &own);
    let kept = add.with("kept", "Gather", &[whole, &own], &along);
    let mixed = mix([tuned, &kept], gate, place, changes, &mut add)?;
    let channels = unit.channels();
    let place = |channel: usize| {
        let mixed = filters.binary_search(&channel);
        mixed.map_or(channel, |place| channels + place) as i64
    };
    let places: Vec<i64> = (0..channels).map(place).collect();
    let places = changes.ints(add.name("places"), &places);
    let both = add.with("both", "Concat", &[whole, &mixed], &along);
    Ok(add.with("placed", "Gather", &[&both, &places], &along))
}
