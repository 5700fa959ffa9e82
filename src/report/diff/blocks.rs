//! Two networks by their blocks, with what changed marked.

use std::collections::HashMap;

use crate::analysis::Analysis;
use crate::diff::{Diff, Fate, Kind, TensorChange};
use crate::onnx::Model;
use crate::report::charts::{Cell, Networks, Pair, State, Strip};
use crate::report::text::thousands;

use super::{figure, relative, sentence, share};

/// A network of the two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Network<'a> {
    pub name: &'a str,
    pub model: &'a Model,
    pub analysis: &'a Analysis,
}

/// The two networks as a chart.
pub(super) fn networks(diff: &Diff, before: Network, after: Network) -> Networks {
    let marks = Marks::of(diff, before.model, after.model);
    let partners: HashMap<&str, &str> = diff
        .pairs
        .iter()
        .map(|[a, b]| (b.as_str(), a.as_str()))
        .collect();
    let (old, new) = (before.analysis, after.analysis);
    let place: HashMap<&str, usize> = old
        .layers
        .iter()
        .map(|layer| (layer.name.as_str(), layer.block))
        .collect();
    // Each block with the one that most of its layers have their partners in.
    let mut claimed: Vec<Option<usize>> = Vec::new();
    for block in 0..new.blocks.len() {
        let layers = new.layers.iter().filter(|layer| layer.block == block);
        let mut votes: HashMap<usize, usize> = HashMap::new();
        for layer in layers {
            let partner = partners.get(layer.name.as_str());
            if let Some(&of) = partner.and_then(|name| place.get(name)) {
                *votes.entry(of).or_default() += 1;
            }
        }
        let best = votes
            .into_iter()
            .filter(|(of, _)| !claimed.contains(&Some(*of)));
        claimed.push(
            best.max_by_key(|&(of, votes)| (votes, std::cmp::Reverse(of)))
                .map(|(of, _)| of),
        );
    }
    let mut rows = Vec::new();
    let mut next = 0;
    for (block, partner) in claimed.iter().enumerate() {
        if let Some(partner) = *partner {
            let alone = (next..partner).filter(|of| !claimed.contains(&Some(*of)));
            rows.extend(alone.map(|of| row(&marks, [Some((old, of)), None])));
            next = next.max(partner + 1);
        }
        rows.push(row(
            &marks,
            [partner.map(|of| (old, of)), Some((new, block))],
        ));
    }
    let rest = (next..old.blocks.len()).filter(|of| !claimed.contains(&Some(*of)));
    rows.extend(rest.map(|of| row(&marks, [Some((old, of)), None])));
    Networks {
        titles: [before.name.to_owned(), after.name.to_owned()],
        rows,
    }
}

/// What is to be marked, by the names of nodes.
struct Marks<'a> {
    sides: [Side<'a>; 2],
}

#[derive(Default)]
struct Side<'a> {
    nodes: HashMap<&'a str, (State, String)>,
    tensors: HashMap<&'a str, Vec<&'a TensorChange>>,
}

impl<'a> Marks<'a> {
    fn of(diff: &'a Diff, before: &'a Model, after: &'a Model) -> Self {
        let now: HashMap<&str, &str> = diff
            .pairs
            .iter()
            .map(|[a, b]| (a.as_str(), b.as_str()))
            .collect();
        let mut sides = [Side::default(), Side::default()];
        for node in diff.nodes.iter().filter(|node| node.scope.is_empty()) {
            let name = node.name.as_str();
            let changes: Vec<String> = node.changes.iter().map(sentence).collect();
            let mark = |state| (state, changes.join("; "));
            match node.what {
                Fate::Added => drop(sides[1].nodes.insert(name, mark(State::New))),
                Fate::Removed => drop(sides[0].nodes.insert(name, mark(State::Gone))),
                Fate::Moved => {}
                Fate::Changed => {
                    sides[0].nodes.insert(name, mark(State::Changed));
                    sides[1]
                        .nodes
                        .insert(now.get(name).unwrap_or(&name), mark(State::Changed));
                }
            }
        }
        let renamed = diff
            .renamed
            .iter()
            .filter(|r| r.scope.is_empty() && r.kind == Kind::Tensor);
        let renamed: HashMap<&str, &str> =
            renamed.map(|r| (r.from.as_str(), r.to.as_str())).collect();
        let changed = diff
            .tensors
            .iter()
            .filter(|t| t.scope.is_empty() && t.what == Fate::Changed);
        let changed: Vec<&TensorChange> = changed.collect();
        for (side, model) in sides.iter_mut().zip([before, after]) {
            let is_before = std::ptr::eq(model, before);
            let names: HashMap<&str, &TensorChange> = changed
                .iter()
                .map(|tensor| {
                    let name = tensor.name.as_str();
                    let now = renamed.get(name).copied().unwrap_or(name);
                    (if is_before { name } else { now }, *tensor)
                })
                .collect();
            for node in &model.graph().node {
                let label = match node.name() {
                    "" => node.output.first().map_or("", String::as_str),
                    name => name,
                };
                let read = node
                    .input
                    .iter()
                    .filter_map(|name| names.get(name.as_str()));
                side.tensors.entry(label).or_default().extend(read);
            }
        }
        Marks { sides }
    }

    fn cell(&self, side: usize, name: &str, op_type: &str) -> Cell {
        let what = &self.sides[side];
        let tensors = what.tensors.get(name).map_or(&[][..], Vec::as_slice);
        let mut note = format!("{name} ({op_type})");
        let share = tensors
            .iter()
            .filter_map(|t| t.values.as_ref()?.relative)
            .fold(0.0, f64::max);
        for tensor in tensors {
            let text = match &tensor.values {
                Some(v) => format!(
                    "{} of {} elements, {} of the norm",
                    thousands(v.changed as usize),
                    thousands(v.elements as usize),
                    relative(v)
                ),
                None => tensor
                    .changes
                    .iter()
                    .map(sentence)
                    .collect::<Vec<_>>()
                    .join("; "),
            };
            note += &format!("\n{}: {text}", tensor.name);
        }
        let state = match what.nodes.get(name) {
            Some((state, changes)) => {
                if !changes.is_empty() {
                    note += &format!("\n{changes}");
                }
                *state
            }
            None if tensors.is_empty() => State::Same,
            None => State::Tuned(share),
        };
        Cell { state, note }
    }
}

/// The row of two blocks, or of one alone.
fn row(marks: &Marks, blocks: [Option<(&Analysis, usize)>; 2]) -> Pair {
    let [before, after] = blocks;
    let strip = |side: usize, block: Option<(&Analysis, usize)>| {
        let (analysis, block) = block?;
        let layers = analysis.layers.iter().filter(|layer| layer.block == block);
        Some(Strip {
            label: analysis.blocks[block].name.clone(),
            cells: layers
                .map(|l| marks.cell(side, &l.name, &l.op_type))
                .collect(),
        })
    };
    let (share, note) = match (before, after) {
        (Some((analysis, block)), Some(_)) => trained(marks, analysis, block),
        (None, Some((analysis, block))) => (
            0.0,
            format!(
                "new: {} parameters",
                thousands(analysis.blocks[block].parameters)
            ),
        ),
        _ => (0.0, "gone".to_owned()),
    };
    Pair {
        strips: [strip(0, before), strip(1, after)],
        share,
        note,
    }
}

/// The share of a block's parameters that have other values, and what there is to say of them.
fn trained(marks: &Marks, analysis: &Analysis, block: usize) -> (f64, String) {
    let layers = analysis.layers.iter().filter(|layer| layer.block == block);
    let mut tensors: Vec<&TensorChange> = layers
        .filter_map(|layer| marks.sides[0].tensors.get(layer.name.as_str()))
        .flatten()
        .copied()
        .collect();
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    tensors.dedup_by(|a, b| a.name == b.name);
    let values: Vec<_> = tensors
        .iter()
        .filter_map(|tensor| tensor.values.as_ref())
        .collect();
    if values.is_empty() {
        let others = tensors.first().map(|_| "tensors of another form");
        return (0.0, others.unwrap_or_default().to_owned());
    }
    let changed: u64 = values.iter().map(|v| v.changed).sum();
    let root = |of: fn(&crate::diff::ValueChange) -> f64| {
        values.iter().map(|v| of(v).powi(2)).sum::<f64>().sqrt()
    };
    let (difference, norm) = (root(|v| v.difference), root(|v| v.norm));
    let size = match norm > 0.0 {
        true => share(difference / norm),
        false => figure(difference),
    };
    let parameters = analysis.blocks[block].parameters.max(1);
    let part = (changed as f64 / parameters as f64).min(1.0);
    (part, format!("{}, by {size}", thousands(changed as usize)))
}
