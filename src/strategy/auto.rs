//! `auto`: a few sets of blocks that are likely to be worth training, of which the search finds the best: the
//! last ones by depth, all, and those that gradients speak for (see
//! [`Scores`](crate::run::Scores)), alone and together. The block-wise paper leaves open how to find the block,
//! and how many, without trying all.

use std::collections::HashSet;

use crate::analysis::Block;

use super::{Candidate, Network, Strategy, StrategyError, StrategyName, Unit};

pub(super) struct Auto;

/// Shares of the blocks, in percent, that are tried from the output end.
const SHARES: [usize; 5] = [10, 20, 40, 60, 80];
/// How many of the most promising blocks are tried, alone and together.
const ALONE: usize = 2;
const TOGETHER: [usize; 3] = [2, 4, 8];
/// Blocks that a label names.
const NAMED: usize = 3;

impl StrategyName {
    /// `auto`: the best of a few sets of blocks.
    pub const AUTO: StrategyName = StrategyName::plain(&(&Auto as _));
}

impl Strategy for Auto {
    fn word(&self) -> &'static str {
        "auto"
    }

    fn trains(&self, _count: usize) -> String {
        "the best of a few sets of blocks: the last ones, all, and those that gradients speak for"
            .to_owned()
    }

    /// From the least deep to the deepest; of several that train the same, the first. Without anything that says
    /// which blocks are [promising](Network::promising), those by depth alone.
    fn candidates(
        &self,
        network: &Network<'_>,
        _count: usize,
    ) -> Result<Vec<Candidate>, StrategyError> {
        let blocks: Vec<&Block> = network.analysis.backbone_blocks().collect();
        let promising = &network.promising;
        let mut candidates = Vec::new();
        for share in SHARES {
            let count = StrategyName::share_of(blocks.len(), share);
            let id = format!("auto-last-{count}");
            candidates.extend(network.last_blocks(id, count));
        }
        for &block in promising.iter().take(ALONE) {
            candidates.extend(together(network, &blocks, &[block]));
        }
        for count in TOGETHER.into_iter().filter(|&n| n <= promising.len()) {
            candidates.extend(together(network, &blocks, &promising[..count]));
        }
        let all = StrategyName::FULL.candidates(network)?;
        candidates.extend(all.into_iter().map(|all| Candidate {
            id: "auto-all".to_owned(),
            ..all
        }));
        let mut distinct: Vec<Candidate> = Vec::new();
        for candidate in candidates {
            if !distinct.iter().any(|d| d.trains_the_same(&candidate)) {
                distinct.push(candidate);
            }
        }
        Ok(distinct)
    }

    fn searches(&self) -> Option<Unit> {
        Some(Unit::Group)
    }

    fn wants_promising(&self) -> bool {
        true
    }
}

/// The candidate of these blocks; `None` where one of them is not there.
fn together(network: &Network<'_>, blocks: &[&Block], chosen: &[usize]) -> Option<Candidate> {
    let mut places: Vec<usize> = chosen.to_vec();
    places.sort_unstable();
    let chosen: Option<Vec<&Block>> = places.iter().map(|&b| blocks.get(b).copied()).collect();
    let chosen = chosen.filter(|chosen| !chosen.is_empty())?;
    let names: Vec<&str> = chosen.iter().map(|b| b.name.as_str()).collect();
    let label = match names.len() {
        n if n <= NAMED => names.join(", "),
        n => format!("{} and {} more blocks", names[..2].join(", "), n - 2),
    };
    let layers: Vec<usize> = chosen.iter().flat_map(|b| &b.layers).copied().collect();
    let distinct: HashSet<&str> = names.iter().copied().collect();
    let id = match distinct.len() {
        1 => format!("auto-{}", names[0]),
        n => format!("auto-best-{n}"),
    };
    Some(network.candidate(id, &label, &layers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::{ids, network, vgg};

    #[test]
    fn sets_are_tried_by_depth_and_by_promise_each_once() {
        let analysis = vgg();
        let plain = network(&analysis);
        let of = |promising: &[usize]| {
            let network = Network {
                promising: promising.to_vec(),
                ..plain.clone()
            };
            StrategyName::AUTO.candidates(&network).unwrap()
        };
        // Of three blocks 10 and 20 % are one, 40 % one, 60 and 80 % two.
        assert_eq!(ids(&of(&[])), ["auto-last-1", "auto-last-2", "auto-all"]);
        let candidates = of(&[0, 2, 1]);
        assert_eq!(
            ids(&candidates),
            [
                "auto-last-1",
                "auto-last-2",
                "auto-block1",
                "auto-best-2",
                "auto-all"
            ]
        );
        assert_eq!(candidates[2].layers, ["conv1", "conv2"]);
        assert_eq!(candidates[3].label, "block1, block3");
        assert_eq!(candidates[3].layers, ["conv1", "conv2", "conv4"]);
    }

    #[test]
    fn it_is_not_of_the_paper() {
        assert!(!StrategyName::all().contains(&StrategyName::AUTO));
    }
}
