//! Where the trained parts of some candidates begin, and which of these values follow from which.
//!
//! Each set of trained parameters has a [`boundary`]: the frozen values that its step reads. The
//! distinct boundaries are the *stages*. A stage is computed from its parent, the nearest stage
//! before it that determines it, or else from the model's input, so that all of them together cost
//! about one forward pass.

use std::collections::{HashMap, HashSet};

use crate::data::FeaturePrecision;
use crate::graph::{Graph, Node, Shapes, macs};
use crate::surgery::Rewrite;

use super::lab::Lab;
use super::program::{Prepared, boundary};
use super::{BatchNormMode, Trained, TrainingError};

/// Multiply-accumulates per second that a trial's own thread is taken to do in frozen layers: low
/// for a core of today, since the first layers are bound by memory.
const MACS_PER_SECOND: u64 = 10_000_000_000;
/// Bytes per second that are taken to be read from a file: a solid-state disk on a slow bus.
const BYTES_PER_SECOND: u64 = 500_000_000;

/// How a stage's values come to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// They are the model's input.
    Input,
    /// Computed once and kept.
    Kept,
    /// Computed from the model's input in every step.
    Live,
}

/// The frozen values at which some trained part begins.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    /// Names of the values, in the order in which steps read them.
    pub values: Vec<String>,
    /// Floats per sample of each.
    pub lens: Vec<usize>,
    /// How they come to a step.
    pub way: Way,
    /// The kept stage that they are computed from; `None` for the model's input.
    pub parent: Option<usize>,
}

/// The stages of some sets of trained parameters, from the input to the output: none determines an
/// earlier one that determines it.
pub(super) struct Stages {
    /// The network for a batch, with batch normalisation as it is in the model, because a runtime
    /// fuses it better where all weights are constant.
    pub prepared: Prepared,
    /// Samples of that batch.
    pub batch: usize,
    /// The stages.
    pub stages: Vec<Stage>,
    /// The stage of each set.
    pub of_set: Vec<usize>,
}

/// What decides whether a stage is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Samples (views of samples) to keep values of.
    pub rows: usize,
    /// The type they are kept in.
    pub precision: FeaturePrecision,
    /// Bytes of memory for all that is kept.
    pub budget: u64,
}

impl Room {
    /// Whether values of `lens` floats per sample are kept, that cost `macs` multiply-accumulates
    /// per sample: where they can never be in memory and computing them takes less time than
    /// reading them from a file, they are not.
    pub fn keeps(&self, lens: &[usize], macs: u64) -> bool {
        let floats: u128 = lens.iter().map(|&l| l as u128).sum();
        let bytes = floats * self.precision.size() as u128;
        let fits = bytes * self.rows as u128 <= u128::from(self.budget);
        let reading = bytes * u128::from(MACS_PER_SECOND);
        fits || u128::from(macs) * u128::from(BYTES_PER_SECOND) >= reading
    }
}

impl Stages {
    /// The stages of `sets`, for batches of `batch` samples.
    ///
    /// # Errors
    /// When the network cannot be brought to normal form.
    pub fn new(
        lab: &Lab<'_>,
        sets: &[Trained<'_>],
        batch: usize,
        room: &Room,
    ) -> Result<Self, TrainingError> {
        let prepared = lab.prepare(&Rewrite::None, batch)?;
        let mut found: Vec<(usize, Vec<String>)> = Vec::new();
        let mut of_set = Vec::with_capacity(sets.len());
        {
            let walk = Walk::new(&prepared.graph, &prepared.shapes);
            let input = HashSet::from([prepared.input.as_str()]);
            for values in boundaries(lab, &prepared, sets, batch)? {
                let known = found.iter().position(|(_, v)| *v == values);
                of_set.push(known.unwrap_or(found.len()));
                if known.is_none() {
                    // Nothing that is frozen lacks a way from the input.
                    let nodes = walk.part(&input, &values).map_or(0, |p| p.nodes);
                    found.push((nodes, values));
                }
            }
        }
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_by_key(|&at| &found[at]);
        let mut place = vec![0; found.len()];
        for (at, &was) in order.iter().enumerate() {
            place[was] = at;
        }
        for stage in &mut of_set {
            *stage = place[*stage];
        }
        found.sort();
        let values = found.into_iter().map(|(_, values)| values);
        let stages = describe(lab, &prepared, batch, values, room)?;
        Ok(Stages {
            prepared,
            batch,
            stages,
            of_set,
        })
    }
}

/// The names of the boundary's values, for each set.
///
/// They are found with batch normalisation folded, as in the step: values between a convolution and
/// its normalisation are then none, unless that normalisation takes the statistics of the batch. Those of a set
/// in a rewritten network are values of `plain`, the network without the rewrite.
fn boundaries(
    lab: &Lab<'_>,
    plain: &Prepared,
    sets: &[Trained<'_>],
    batch: usize,
) -> Result<Vec<Vec<String>>, TrainingError> {
    let mut boundaries: Vec<Vec<String>> = vec![Vec::new(); sets.len()];
    let rewrites: HashSet<&Rewrite> = sets.iter().map(|set| set.rewrite).collect();
    for rewrite in rewrites {
        let prepared = match rewrite {
            Rewrite::None => plain.clone(),
            rewrite => lab.prepare(rewrite, batch)?,
        };
        let mut folded = prepared.clone();
        folded.fold()?;
        let of = |folded: &Prepared, set: &Trained<'_>| -> Result<Vec<String>, TrainingError> {
            let ports = boundary(folded, set.parameters)?;
            Ok(ports.into_iter().map(|p| p.name).collect())
        };
        let places = sets.iter().zip(&mut boundaries);
        for (set, place) in places.filter(|(set, _)| set.rewrite == rewrite) {
            *place = match set.batch_norm {
                BatchNormMode::Frozen => of(&folded, set)?,
                BatchNormMode::Batch => {
                    let mut own = prepared.clone().for_training(*set)?;
                    if own.batch_norms.is_empty() {
                        of(&folded, set)?
                    } else {
                        own.fold()?;
                        of(&own, set)?
                    }
                }
            };
            if !rewrite.is_none() {
                ensure_same(plain, &prepared, place)?;
            }
        }
    }
    Ok(boundaries)
}

/// Fails unless `values` are computed by the same nodes in both networks. They are, for what a rewrite touches is
/// behind no boundary and it renames nothing; if not, a trial would go on from wrong values.
fn ensure_same(a: &Prepared, b: &Prepared, values: &[String]) -> Result<(), TrainingError> {
    let [first, second] = [a, b].map(|p| (p.graph.producers(), &p.graph.nodes));
    let mut seen = HashSet::new();
    let mut open: Vec<&str> = values.iter().map(String::as_str).collect();
    while let Some(name) = open.pop() {
        if !seen.insert(name) {
            continue;
        }
        let [one, other] = [&first, &second].map(|(producers, nodes)| {
            let at = producers.get(name)?;
            nodes.get(*at)
        });
        let known = a.graph.initializers.get(name) == b.graph.initializers.get(name);
        if one != other || !known {
            return Err(TrainingError::Mismatch(format!(
                "the frozen value `{name}` is not the same in the network and after the rewrite"
            )));
        }
        open.extend(one.into_iter().flat_map(Node::present_inputs));
    }
    Ok(())
}

/// Finds how each stage is computed; `values` are those of the stages in order.
fn describe(
    lab: &Lab<'_>,
    prepared: &Prepared,
    batch: usize,
    values: impl Iterator<Item = Vec<String>>,
    room: &Room,
) -> Result<Vec<Stage>, TrainingError> {
    let walk = Walk::new(&prepared.graph, &prepared.shapes);
    let input = HashSet::from([prepared.input.as_str()]);
    // What has no row per sample shows itself by how its dimensions follow the batch.
    let other = lab.prepare(&Rewrite::None, batch + 1).ok();
    let by_sample = |name: &String| {
        let (Ok([n, row @ ..]), Some(Ok([m, other @ ..]))) = (
            prepared.shapes.dims(name),
            other.as_ref().map(|o| o.shapes.dims(name)),
        ) else {
            return false;
        };
        *n == batch && *m == batch + 1 && row == other
    };
    let mut stages: Vec<Stage> = Vec::new();
    for values in values {
        let way = match values.as_slice() {
            [] => Way::Input,
            [only] if *only == prepared.input => Way::Input,
            values if !values.iter().all(by_sample) => Way::Live,
            _ => Way::Kept,
        };
        let mut stage = Stage {
            values,
            lens: Vec::new(),
            way,
            parent: None,
        };
        if way == Way::Kept {
            let floats = |name: &String| Ok(prepared.shapes.dims(name)?[1..].iter().product());
            let lens = stage.values.iter().map(floats);
            stage.lens = lens.collect::<Result<_, TrainingError>>()?;
            let macs = walk.part(&input, &stage.values).map_or(0, |p| p.macs);
            if room.keeps(&stage.lens, macs / batch as u64) {
                stage.parent = parent(&walk, &stages, &stage.values);
            } else {
                stage.way = Way::Live;
            }
        }
        stages.push(stage);
    }
    Ok(stages)
}

/// The kept stage from which `values` are computed with the least work: fewest
/// multiply-accumulates, then fewest nodes, then the last.
fn parent(walk: &Walk<'_>, stages: &[Stage], values: &[String]) -> Option<usize> {
    let kept = stages
        .iter()
        .enumerate()
        .filter(|(_, s)| s.way == Way::Kept);
    kept.filter_map(|(at, stage)| {
        let from = stage.values.iter().map(String::as_str).collect();
        let part = walk.part(&from, values)?;
        Some((part.macs, part.nodes, std::cmp::Reverse(at)))
    })
    .min()
    .map(|(_, _, at)| at.0)
}

/// Walks a graph from values back to those that they are computed from.
pub(super) struct Walk<'g> {
    graph: &'g Graph,
    shapes: &'g Shapes,
    producers: HashMap<&'g str, usize>,
}

/// The part of a graph between some values and others.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'g> {
    /// Those of the earlier values that it reads.
    pub reads: HashSet<&'g str>,
    /// Number of its nodes.
    pub nodes: usize,
    /// Multiply-accumulates of its convolutions and dense products; `u64::MAX` where they cannot be
    /// counted.
    pub macs: u64,
}

impl<'g> Walk<'g> {
    pub fn new(graph: &'g Graph, shapes: &'g Shapes) -> Self {
        Walk {
            graph,
            shapes,
            producers: graph.producers(),
        }
    }

    /// The part that computes `to` from the values `from` and initializers; `None` if an input of
    /// the graph is needed that is not among them.
    pub fn part<'v>(&self, from: &HashSet<&str>, to: &'v [String]) -> Option<Part<'v>>
    where
        'g: 'v,
    {
        let mut part = Part {
            reads: HashSet::new(),
            nodes: 0,
            macs: 0,
        };
        let mut seen: HashSet<usize> = HashSet::new();
        let mut left: Vec<&'v str> = to.iter().map(String::as_str).collect();
        while let Some(name) = left.pop() {
            if from.contains(name) {
                part.reads.insert(name);
            } else if let Some(&producer) = self.producers.get(name) {
                if seen.insert(producer) {
                    let node = &self.graph.nodes[producer];
                    let macs = macs(node, |name| self.shapes.dims(name).ok());
                    part.nodes += 1;
                    part.macs = part.macs.saturating_add(macs.unwrap_or(u64::MAX));
                    left.extend(node.present_inputs());
                }
            } else if !self.graph.initializers.contains_key(name) {
                return None;
            }
        }
        Some(part)
    }
}
