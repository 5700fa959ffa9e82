//! SpotTune (Guo et al., "SpotTune: Transfer Learning through Adaptive Fine-tuning", CVPR 2019): for each sample a policy
//! network chooses, block by block, the fine-tuned or the pre-trained one.
//!
//! A block l exists twice: pre-trained `F_l`, which is the model's own and frozen, and tuned `F̂_l`, which begins as its copy.
//! Of a residual block what is added back is
//!
//! `x_l = I_l(x) F̂_l(x_{l−1}) + (1 − I_l(x)) F_l(x_{l−1}) + x_{l−1}`, `I_l ∈ {0, 1}` one number per sample and block.
//!
//! `region.rs` finds the blocks, `policy.rs` makes the `I_l`. All weights of a block are copied, those of normalisations
//! and what is added or multiplied among them, and the running statistics of its normalisations: F̂ has statistics of its
//! own, in `--bn batch` those of F̂'s maps of all samples.
//!
//! Our reading, where the paper is silent: a shortcut that is computed (a projection) belongs to its block, in both forms,
//! as in the authors' code; what lies in no block (the stem, layers between stages) stays frozen; and where a network has
//! no residual blocks, those that the analyser finds are blocks.

mod policy;
mod region;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::graph::{Dim, Graph, Node, following, infer_what_fits, normalise};
use crate::onnx::{DataType, Model};

use super::super::SurgeryError;
use super::Form;
use super::changes::{Changes, Splice};
use super::choice::{self, Adder, GateStart, Place, mix, threshold};
use super::layer::{refuse, tensor};

use region::{Flow, Region};

/// Blocks with a tuned copy, and a network that chooses for each sample.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SpotTune {
    /// The blocks.
    pub blocks: Vec<GatedBlock>,
    /// What kind of network chooses.
    pub policy: Policy,
    /// At which of the two forms of the blocks training begins.
    pub start: GateStart,
    /// What it reads: the picture, or the value at which the first block begins.
    pub reads: PolicyInput,
    /// Its width: output channels of the first convolution, or what lies between its two layers; at least 1.
    pub width: usize,
    /// Decides its first values.
    pub seed: u64,
}

/// A block that is gated.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GatedBlock {
    /// What people call it.
    pub name: String,
    /// The value at which it begins.
    pub from: String,
    /// The value that it makes.
    pub to: String,
    /// Number of dimensions of that, the batch included.
    pub rank: usize,
}

/// The network that chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// A small convolutional network on the picture.
    #[default]
    Conv,
    /// Two dense layers on the mean of what the first block reads.
    Features,
}

named!(Policy, "conv, features", "conv" => Policy::Conv, "features" => Policy::Features);

/// The value that a policy network reads, `[N, …]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PolicyInput {
    /// Its name.
    pub value: String,
    /// Number of its dimensions, the batch included; 4 of a picture.
    pub rank: usize,
    /// Its channels.
    pub channels: usize,
    /// Whether these are its last axis, and not the one behind the batch.
    pub channels_last: bool,
}

/// Names of the nodes of a block's layers, as the analyser divides a network.
pub type BlockNodes = Vec<String>;

/// A block that can be gated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateableBlock {
    /// The value that it makes, and number of its dimensions.
    pub to: (String, usize),
    /// The value at which it begins, as a policy reads it.
    pub from: PolicyInput,
    /// Names of its nodes.
    pub nodes: Vec<String>,
    /// Its weights. What several blocks read is of each.
    pub weights: Vec<String>,
    /// Those of its tuned copy.
    pub tuned: Vec<String>,
    /// Its place among the blocks that the analyser divides the network into; `None` of a residual one.
    pub place: Option<usize>,
}

impl GateableBlock {
    /// This block, gated, by the name that people call it.
    pub fn gated(&self, name: &str) -> GatedBlock {
        let (to, rank) = self.to.clone();
        GatedBlock {
            name: name.to_owned(),
            from: self.from.value.clone(),
            to,
            rank,
        }
    }
}

const PREFIX: &str = "ftsurgery/spottune/";
/// What is copied keeps its name behind this.
const COPY: &str = "/copy/";

fn prefix(to: &str) -> String {
    format!("{PREFIX}{to}")
}

fn copied(to: &str, value: &str) -> String {
    format!("{}{COPY}{value}", prefix(to))
}

impl SpotTune {
    /// The tensor that this is a copy of.
    pub(super) fn stands_for(parameter: &str) -> Option<&str> {
        let (_, original) = parameter.strip_prefix(PREFIX)?.split_once(COPY)?;
        Some(original)
    }

    /// The blocks of a model that can be gated, in its order: its residual blocks, and where none is, those of `blocks`
    /// that begin at one value and end at one, of which nothing else reads what is between.
    ///
    /// # Errors
    /// When the model's graph is malformed.
    pub fn gateable(
        model: &Model,
        blocks: &[BlockNodes],
    ) -> Result<Vec<GateableBlock>, SurgeryError> {
        let graph = Graph::from_model(model)?;
        let flow = Flow::new(&graph);
        let mut regions: Vec<(Region<'_>, Option<usize>)> =
            flow.residual().into_iter().map(|r| (r, None)).collect();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (at, node) in graph.nodes.iter().enumerate() {
            places.entry(&node.name).or_insert(at);
        }
        for (place, names) in blocks.iter().enumerate() {
            let own = names
                .iter()
                .filter_map(|name| places.get(name.as_str()).copied());
            let is_left = |at: &usize| !regions.iter().any(|(r, _)| r.nodes.contains(at));
            let left: BTreeSet<usize> = own.filter(is_left).collect();
            if let Some(region) = flow.around(&left)
                && !regions.iter().any(|(other, _)| other.meets(&region))
            {
                regions.push((region, Some(place)));
            }
        }
        regions.sort_by_key(|(region, _)| region.end());
        let dims = dimensions(&graph);
        let found = regions.into_iter().filter_map(|(region, place)| {
            let from = dims(region.from)?;
            let channels_last = from.len() > 2 && region.reads_channels_last(&graph);
            let axis = if channels_last { from.len() - 1 } else { 1 };
            let tuned = region.weights.iter().map(|w| copied(region.to, w));
            Some(GateableBlock {
                to: (region.to.to_owned(), dims(region.to)?.len()),
                tuned: tuned.collect(),
                nodes: region
                    .nodes
                    .iter()
                    .map(|&at| graph.nodes[at].name.clone())
                    .collect(),
                weights: region.weights.iter().map(|&w| w.to_owned()).collect(),
                from: PolicyInput {
                    value: region.from.to_owned(),
                    rank: from.len(),
                    channels: from[axis],
                    channels_last,
                },
                place,
            })
        });
        Ok(found.collect())
    }

    /// The value of the trained network that holds the choices of the block that makes `to`, `[N, 1]` of 0 and 1, in
    /// float32.
    pub fn choices_of(to: &str) -> String {
        format!("{}/hard", prefix(to))
    }

    /// The parameters of the policy network.
    pub fn policy_parameters(&self) -> Vec<String> {
        policy::parameters(self)
    }

    pub(super) fn changes(&self, graph: &Graph, form: Form) -> Result<Changes, SurgeryError> {
        let flow = Flow::new(graph);
        let mut blocks: Vec<(usize, Region<'_>)> = Vec::new();
        for (at, block) in self.blocks.iter().enumerate() {
            let Some(region) = flow.between(&block.from, &block.to) else {
                let from = &block.from;
                return refuse(
                    &block.to,
                    format!("no block with weights leads from `{from}` there"),
                );
            };
            if blocks.iter().any(|(_, other)| other.meets(&region)) {
                return refuse(&block.to, "two blocks share a node");
            }
            blocks.push((at, region));
        }
        blocks.sort_by_key(|(_, region)| region.end());
        let mut changes = Changes::default();
        let Some((_, first)) = blocks.first() else {
            return Ok(changes);
        };
        if graph.opset < choice::OLDEST {
            return refuse(first.to, choice::TOO_OLD);
        }
        let dtype = first.weights.first().and_then(|w| tensor(graph, w));
        let place = Place {
            dtype: dtype.map_or(DataType::Float, |t| t.dtype),
            opset: graph.opset,
            form,
        };
        let mut nodes = Vec::new();
        let soft = policy::choices(self, graph, place, &mut changes, &mut nodes)?;
        for (at, region) in &blocks {
            let reads = changes.instead_of(region.from);
            let tuned = copy(graph, region, &reads, &mut changes, &mut nodes)?;
            let mut add = Adder::new(prefix(region.to), &mut nodes);
            let index = changes.ints(add.name("place"), &[*at as i64]);
            let own = add.with("own", "Gather", &[&soft, &index], &[("axis", 1.into())]);
            let open = threshold(&own, place, &mut changes, &mut add)?;
            changes.constants.extend(open.jump);
            let mut gate = open.value;
            let rank = self.blocks[*at].rank;
            if rank > 2 {
                let wide = [&[0][..], &vec![1; rank - 1]].concat();
                let wide = changes.ints(add.name("wide"), &wide);
                gate = add.op("gate", "Reshape", &[&gate, &wide]);
            }
            let both = [&tuned, region.to];
            let instead = mix(both, (&gate, open.is_bool), place, &mut changes, &mut add)?;
            changes.splices.push(Splice {
                value: region.to.to_owned(),
                nodes: std::mem::take(&mut nodes),
                instead,
            });
        }
        Ok(changes)
    }
}

/// Adds F̂, and gives the value that it makes. Nodes that bring a copied weight into the form in which it is read are
/// copied with it.
fn copy(
    graph: &Graph,
    region: &Region<'_>,
    reads: &str,
    changes: &mut Changes,
    nodes: &mut Vec<Node>,
) -> Result<String, SurgeryError> {
    let mut renamed: HashMap<&str, String> = HashMap::from([(region.from, reads.to_owned())]);
    for &weight in &region.weights {
        let Some(old) = tensor(graph, weight) else {
            return refuse(weight, "it is no tensor of floats");
        };
        let new = changes.copy(copied(region.to, weight), (weight, old))?;
        renamed.insert(weight, new);
    }
    let inside = region.nodes.iter().map(|&at| &graph.nodes[at]);
    for norm in inside.clone().filter(|n| n.is("BatchNormalization")) {
        for statistic in [3, 4].into_iter().filter_map(|i| norm.input(i)) {
            if let Some(old) = tensor(graph, statistic).filter(|_| !renamed.contains_key(statistic))
            {
                let values = old.to_f32().unwrap_or_default();
                let new = copied(region.to, statistic);
                renamed.insert(
                    statistic,
                    changes.tensor(new, old.dtype, &old.dims, &values)?,
                );
            }
        }
    }
    let affected = following(graph, region.weights.iter().copied());
    let is_open = |v: &&str, renamed: &HashMap<&str, String>| {
        affected.contains(v) && !renamed.contains_key(v)
    };
    let mut needed: HashSet<&str> = HashSet::new();
    for node in inside {
        needed.extend(node.present_inputs().filter(|v| is_open(v, &renamed)));
    }
    let mut all = region.nodes.clone();
    for at in (0..region.end()).rev() {
        let node = &graph.nodes[at];
        let makes = node.present_outputs().any(|o| needed.contains(o));
        if makes && !all.contains(&at) {
            needed.extend(node.present_inputs().filter(|v| is_open(v, &renamed)));
            all.push(at);
        }
    }
    all.sort_unstable();
    for at in all {
        let mut node = graph.nodes[at].clone();
        for input in &mut node.inputs {
            if let Some(new) = renamed.get(input.as_str()) {
                input.clone_from(new);
            }
        }
        for (output, old) in node.outputs.iter_mut().zip(&graph.nodes[at].outputs) {
            if !old.is_empty() {
                *output = copied(region.to, old);
                renamed.insert(old, output.clone());
            }
        }
        let first = node.present_outputs().next().map(str::to_owned);
        node.name = first.unwrap_or_default();
        nodes.push(node);
    }
    Ok(renamed.remove(region.to).unwrap_or_default())
}

/// Height and width at which a picture's maps are looked at where a model leaves them open: their number of dimensions
/// and channels do not follow from it.
const SIDE: usize = 224;
/// A batch that no other dimension is likely to be.
const BATCH: usize = 13;

/// The dimensions of values that are known and have the batch first.
fn dimensions(graph: &Graph) -> impl Fn(&str) -> Option<Vec<usize>> {
    let size = |(at, dim): (usize, &Dim)| match dim {
        Dim::Known(size) => *size,
        Dim::Symbolic(_) if at == 0 => BATCH,
        Dim::Symbolic(_) => SIDE,
    };
    let mut work = graph.clone();
    work.only_scores(&[]);
    let inputs = work.inputs.iter().filter_map(|input| {
        let dims = input.dims.as_ref()?.iter().enumerate().map(size);
        Some((input.name.clone(), dims.collect::<Vec<usize>>()))
    });
    let inputs: HashMap<String, Vec<usize>> = inputs.collect();
    let batch = inputs
        .values()
        .next()
        .and_then(|dims| dims.first().copied());
    let shapes = normalise(&mut work).and_then(|()| infer_what_fits(&work, &inputs));
    let shapes = shapes.map(|(shapes, _)| shapes).ok();
    // What normal form has removed is what it copies.
    let copies = graph.nodes.iter().filter(|n| n.elements().is_copy());
    let copies = copies.filter_map(|n| Some((n.output(0)?.to_owned(), n.input(0)?.to_owned())));
    let copies: HashMap<String, String> = copies.collect();
    move |value| {
        let mut value = value;
        let shapes = shapes.as_ref()?;
        while shapes.info(value).is_err() {
            value = copies.get(value)?;
        }
        let dims = shapes.dims(value).ok()?;
        (dims.len() > 1 && dims.first().copied() == batch).then(|| dims.to_vec())
    }
}
