//! How far from the head each parameter is.

use std::collections::{HashMap, HashSet};

use crate::analysis::Analysis;
use crate::surgery::rewrite::Rewrite;
use crate::surgery::{Grafted, HeadKind};

use super::network::head_parameters;

/// The distance of every parameter from the head, in blocks: 0 of the block nearest the head that has a weighted
/// layer, 1 of the one before it. A parameter of several blocks counts for the nearest.
///
/// (BEiT and timm count the head as 0 and the nearest block as 1.)
#[derive(Clone, Debug, Default)]
pub struct Depths {
    head: HashSet<String>,
    backbone: HashMap<String, usize>,
}

impl Depths {
    /// Those of the grafted network. What a rewrite adds is as far as what it [stands for](Rewrite::stands_for); what
    /// chooses between copies and originals has no distance.
    pub fn of(analysis: &Analysis, grafted: &Grafted, head: HeadKind) -> Self {
        let head = head_parameters(analysis, grafted, head);
        Depths::new(analysis, head)
    }

    fn new(analysis: &Analysis, head: Vec<String>) -> Self {
        let mut depths = Depths {
            head: head.into_iter().collect(),
            backbone: HashMap::new(),
        };
        let blocks: Vec<_> = analysis.backbone_blocks().collect();
        for (depth, block) in blocks.into_iter().rev().enumerate() {
            let layers = block
                .layers
                .iter()
                .filter_map(|&l| analysis.weighted.get(l));
            let owned = layers.flat_map(|l| &l.parameters);
            for name in owned.chain(&block.tensors) {
                depths.backbone.entry(name.clone()).or_insert(depth);
            }
        }
        depths
    }

    /// Whether one of these parameters is of the first half of the blocks that have weighted layers.
    pub fn are_deep(&self, parameters: &[String]) -> bool {
        let farthest = self.backbone.values().max();
        let farthest = farthest.map_or(0, |depth| depth + 1);
        let mut own = parameters.iter().filter_map(|name| self.depth(name));
        own.any(|depth| 2 * depth >= farthest)
    }

    fn depth(&self, parameter: &str) -> Option<usize> {
        let known = |name: &str| self.backbone.get(name).copied();
        known(parameter).or_else(|| known(Rewrite::stands_for(parameter)?))
    }

    /// What the learning rate of each of these parameters is multiplied by: of the head's by `head`, of another's
    /// by `decay` to the power of its distance; of one that is not known by 1. Empty where all are 1.
    pub fn rates(&self, parameters: &[String], head: f32, decay: f32) -> Vec<f32> {
        let rate = |name: &String| match self.depth(name) {
            _ if self.head.contains(name) => head,
            Some(depth) => decay.powi(i32::try_from(depth).unwrap_or(i32::MAX)),
            None => 1.0,
        };
        let rates: Vec<f32> = parameters.iter().map(rate).collect();
        match rates.iter().all(|&rate| rate == 1.0) {
            true => Vec::new(),
            false => rates,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::vgg;

    fn depths() -> Depths {
        let mut analysis = vgg();
        // What no layer owns belongs to its block.
        analysis.blocks[0].tensors.push("token".to_owned());
        Depths::new(&analysis, vec!["head".to_owned()])
    }

    #[test]
    fn rates_fall_block_by_block_from_the_head() {
        // Two layers in the first block, one in each of the others.
        let names = [
            "conv1.w", "conv2.b", "token", "conv3.w", "conv4.w", "head", "other",
        ];
        let names = names.map(str::to_owned);
        let rates = depths().rates(&names, 10.0, 0.5);
        assert_eq!(rates, [0.25, 0.25, 0.25, 0.5, 1.0, 10.0, 1.0]);
        let added = [
            "ftsurgery/low_rank/conv3.w/a",
            "ftsurgery/adafilter/conv1.w/shift",
            "ftsurgery/adafilter/conv1.w/logits/weight",
            "ftsurgery/spottune/relu2/copy/conv2.b",
            "ftsurgery/spottune/policy/hidden/weight",
        ];
        let rates = depths().rates(&added.map(str::to_owned), 10.0, 0.5);
        assert_eq!(rates, [0.5, 0.25, 1.0, 0.25, 1.0]);
    }

    #[test]
    fn what_trains_the_first_half_of_the_blocks_is_deep() {
        let are_deep = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            depths().are_deep(&names)
        };
        assert!(are_deep(&["head", "conv4.w", "conv2.b"]));
        assert!(!are_deep(&["head", "conv4.w", "conv3.w"]));
        assert!(!are_deep(&["head", "other"]));
        assert!(are_deep(&["ftsurgery/adafilter/conv1.w/weight"]));
        assert!(!are_deep(&[]));
    }

    #[test]
    fn where_all_rates_are_the_same_there_are_none() {
        let names = ["conv1.w".to_owned(), "head".to_owned()];
        assert!(depths().rates(&names, 1.0, 1.0).is_empty());
        assert!(depths().rates(&names[..1], 5.0, 1.0).is_empty());
    }
}
