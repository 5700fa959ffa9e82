//! `spottune`: blocks with a tuned copy, and a network that chooses between the two for each sample (Guo et al.,
//! "SpotTune: Transfer Learning through Adaptive Fine-tuning", CVPR 2019). How it is read is told in
//! `surgery/rewrite/spottune/`. The block-wise paper does not have it.

use serde::{Deserialize, Serialize};

use crate::analysis::{Analysis, WeightedLayer};
use crate::surgery::Rewrite;
use crate::surgery::rewrite::{GateStart, GateableBlock, Policy, PolicyInput, SpotTune};

use super::pattern::meant;
use super::{Candidate, Network, Strategy, StrategyError, StrategyName};

pub(super) struct Spot;

impl StrategyName {
    /// `spottune`: blocks that are chosen for each sample.
    pub const SPOTTUNE: StrategyName = StrategyName::plain(&(&Spot as _));
}

/// What `spottune` gates, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpotTuneOptions {
    /// Patterns of the blocks: their names, or those of layers, parameters or blocks of the analyser in them; empty for
    /// the residual ones, where there are any, else all.
    pub blocks: Vec<String>,
    /// The network that chooses.
    pub policy: Policy,
    /// At which form of the blocks training begins.
    pub start: GateStart,
}

/// A block before the classifier.
struct Found<'a> {
    block: &'a GateableBlock,
    layers: Vec<&'a WeightedLayer>,
    name: String,
}

impl<'a> Found<'a> {
    /// The names by which a pattern means it, its own first.
    fn names(&self, analysis: &'a Analysis) -> Vec<&str> {
        let of_layers = self.layers.iter().flat_map(|layer| {
            let block = analysis.blocks.get(layer.block).map(|b| b.name.as_str());
            std::iter::once(layer.name.as_str()).chain(block)
        });
        let weights = self.block.weights.iter().map(String::as_str);
        let own = std::iter::once(self.name.as_str());
        own.chain(of_layers).chain(weights).collect()
    }
}

/// The blocks before the classifier that can be gated, with their names.
fn found<'a>(network: &'a Network<'_>) -> Vec<Found<'a>> {
    let analysis = network.analysis;
    let divided: Vec<&str> = analysis
        .backbone_blocks()
        .map(|b| b.name.as_str())
        .collect();
    let mut all: Vec<Found<'a>> = Vec::new();
    for block in &network.blocks {
        let is_own = |layer: &&WeightedLayer| block.nodes.contains(&layer.name);
        let layers: Vec<&WeightedLayer> = analysis.weighted.iter().filter(is_own).collect();
        let (Some(first), Some(last)) = (layers.first(), layers.last()) else {
            continue;
        };
        if layers.iter().any(|layer| layer.in_classifier) {
            continue;
        }
        let of_analyser = block.place.and_then(|at| divided.get(at));
        let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        let name = match of_analyser {
            Some(&name) => Some(name.to_owned()),
            None => folder(&names),
        };
        let is_new = |name: &String| all.iter().all(|other| other.name != *name);
        let name = name.filter(is_new);
        let name = name.unwrap_or_else(|| format!("{} to {}", first.name, last.name));
        all.push(Found {
            block,
            layers,
            name,
        });
    }
    all
}

/// The part of a path that several layers share, `layer1/layer1.0`; `None` where that is nothing.
fn folder(layers: &[&str]) -> Option<String> {
    let (first, others) = layers.split_first()?;
    let shared = others.iter().fold(first.len(), |len, other| {
        let both = first.bytes().zip(other.bytes());
        both.take(len).take_while(|(a, b)| a == b).count()
    });
    let shared = first.get(..shared)?;
    let end = shared
        .rfind('/')
        .filter(|&end| end > 0)
        .or_else(|| shared.rfind('.'))?;
    let name = first[..end].trim_matches('/');
    (!name.is_empty()).then(|| name.to_owned())
}

impl Strategy for Spot {
    fn word(&self) -> &'static str {
        "spottune"
    }

    fn trains(&self, _count: usize) -> String {
        "copies of all residual blocks, with a network that takes them or the frozen ones for each image".to_owned()
    }

    /// One candidate; none where no block can be gated.
    fn candidates(
        &self,
        network: &Network<'_>,
        _count: usize,
    ) -> Result<Vec<Candidate>, StrategyError> {
        let SpotTuneOptions {
            blocks,
            policy,
            start,
        } = &network.spottune;
        let all = found(network);
        let residual = |found: &&Found<'_>| found.block.place.is_none();
        let chosen: Vec<&Found<'_>> = match blocks.as_slice() {
            [] if all.iter().any(|found| residual(&found)) => all.iter().filter(residual).collect(),
            [] => all.iter().collect(),
            [word] if word == "all" => all.iter().collect(),
            patterns => {
                let names = all.iter().map(|found| found.names(network.analysis));
                let places = meant(patterns, &Vec::from_iter(names))?;
                places.into_iter().map(|at| &all[at]).collect()
            }
        };
        let reads = match policy {
            Policy::Conv => picture(network.analysis),
            Policy::Features => chosen.first().map(|found| found.block.from.clone()),
        };
        let (false, Some(reads)) = (chosen.is_empty(), reads) else {
            return Ok(Vec::new());
        };
        let gated = chosen.iter().map(|found| found.block.gated(&found.name));
        let spottune = SpotTune {
            blocks: gated.collect(),
            policy: *policy,
            start: *start,
            reads,
            width: match policy {
                // A hundredth of the operations of a ResNet-50.
                Policy::Conv => 16,
                Policy::Features => 64,
            },
            seed: network.seed,
        };
        let tuned = chosen.iter().flat_map(|found| &found.block.tuned).cloned();
        let trainable = tuned.chain(spottune.policy_parameters());
        let mut layers: Vec<String> = Vec::new();
        for layer in chosen.iter().flat_map(|found| &found.layers) {
            if !layers.contains(&layer.name) {
                layers.push(layer.name.clone());
            }
        }
        Ok(vec![Candidate {
            id: "spottune".to_owned(),
            label: match chosen.len() {
                1 => "choice of 1 block".to_owned(),
                n => format!("choice of {n} blocks"),
            },
            layers,
            trainable: trainable.chain(network.head.clone()).collect(),
            rewrite: Rewrite::SpotTune(spottune),
        }])
    }

    fn gates_blocks(&self) -> bool {
        true
    }
}

/// The picture, where its channels are known.
fn picture(analysis: &Analysis) -> Option<PolicyInput> {
    let input = &analysis.backbone.as_ref().ok()?.input;
    let [axis, ..] = input.layout.axes();
    Some(PolicyInput {
        value: input.name.clone(),
        rank: input.dims.len(),
        channels: input.channels()?,
        channels_last: axis > 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::nets;
    use crate::graph::Graph;
    use crate::strategy::tests::{analyse, network, network_of};

    fn spottune(graph: &Graph, options: SpotTuneOptions) -> Result<Candidate, StrategyError> {
        let analysis = analyse(graph);
        let network = Network {
            spottune: options,
            ..network_of(&analysis, graph)
        };
        let mut candidates = StrategyName::SPOTTUNE.candidates(&network)?;
        assert_eq!(candidates.len(), 1, "{candidates:?}");
        Ok(candidates.remove(0))
    }

    fn of(blocks: &[&str], policy: Policy) -> SpotTuneOptions {
        SpotTuneOptions {
            blocks: blocks.iter().map(|&b| b.to_owned()).collect(),
            policy,
            ..SpotTuneOptions::default()
        }
    }

    fn rewrite(candidate: &Candidate) -> &SpotTune {
        match &candidate.rewrite {
            Rewrite::SpotTune(spottune) => spottune,
            other => panic!("{other:?}"),
        }
    }

    fn names(candidate: &Candidate) -> Vec<&str> {
        let blocks = rewrite(candidate).blocks.iter();
        blocks.map(|block| block.name.as_str()).collect()
    }

    #[test]
    fn copies_of_the_residual_blocks_the_policy_and_the_head_are_trained() {
        let found = spottune(&nets::resnet_v2(), of(&[], Policy::Conv)).unwrap();
        assert_eq!(found.layers, ["c1", "c2", "shortcut"]);
        assert_eq!(names(&found), ["c1 to shortcut"]);
        let trains = |name: &str| found.trainable.iter().any(|t| t == name);
        assert!(trains("ftsurgery/spottune/add/copy/c1.w"));
        assert!(trains("ftsurgery/spottune/add/copy/c1/bn.scale"));
        assert!(!trains("ftsurgery/spottune/add/copy/c1/bn.mean"));
        assert!(trains("ftsurgery/spottune/policy/conv4/weight"));
        assert!(trains("ftsurgery/spottune/policy/tuned/bias"));
        assert!(!trains("c1.w"));
        assert_eq!(found.trainable.last().unwrap(), "head");
        assert_eq!(rewrite(&found).reads.value, "x");
    }

    #[test]
    fn where_there_are_no_residual_blocks_they_are_those_of_the_analyser() {
        let found = spottune(&nets::vgg(), of(&[], Policy::Features)).unwrap();
        assert_eq!(names(&found), ["block1", "block2", "block3"]);
        let reads = &rewrite(&found).reads;
        assert_eq!((reads.value.as_str(), reads.channels), ("x", 3));
    }

    #[test]
    fn patterns_choose_blocks_and_one_that_matches_nothing_is_told() {
        let net = nets::resnet_v2();
        let all = spottune(&net, of(&["all"], Policy::Conv)).unwrap();
        assert_eq!(names(&all), ["block1", "c1 to shortcut"]);
        let vgg = nets::vgg();
        let some = spottune(&vgg, of(&["conv3", "block3"], Policy::Features)).unwrap();
        assert_eq!(names(&some), ["block2", "block3"]);
        // What is frozen before the first block is what the policy reads the end of.
        let reads = &rewrite(&some).reads;
        assert_eq!((reads.value.as_str(), reads.channels), ("pool1", 4));
        let error = spottune(&vgg, of(&["conv9"], Policy::Conv)).unwrap_err();
        assert!(matches!(error, StrategyError::NoMatch { pattern, .. } if pattern == "conv9"));
    }

    #[test]
    fn another_policy_or_seed_is_another_network() {
        let (graph, analysis) = (nets::vgg(), analyse(&nets::vgg()));
        let first = spottune(&graph, of(&[], Policy::Conv)).unwrap();
        assert!(first.trains_the_same(&spottune(&graph, of(&[], Policy::Conv)).unwrap()));
        assert!(!first.trains_the_same(&spottune(&graph, of(&[], Policy::Features)).unwrap()));
        let network = Network {
            seed: 1,
            ..network(&analysis)
        };
        let other = StrategyName::SPOTTUNE.candidates(&network).unwrap();
        assert_eq!(other[0].trainable, first.trainable);
        assert!(!first.trains_the_same(&other[0]));
    }

    #[test]
    fn a_block_is_called_by_the_path_that_its_layers_share() {
        let layers = ["/layer1/layer1.0/conv1/Conv", "/layer1/layer1.0/conv2/Conv"];
        assert_eq!(folder(&layers).as_deref(), Some("layer1/layer1.0"));
        let layers = ["/f/f.3/conv/conv.1/Conv", "/f/f.3/conv/conv.2/Conv"];
        assert_eq!(folder(&layers).as_deref(), Some("f/f.3/conv"));
        assert_eq!(folder(&["a.0.w", "a.1.w"]).as_deref(), Some("a"));
        assert_eq!(folder(&["conv1", "conv2"]), None);
        assert_eq!(folder(&["a"]), None);
    }
}
