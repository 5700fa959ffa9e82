//! `auto`: a few sets of blocks that are likely to be worth training, of which the search finds the best: the
//! last ones by depth, all, and those that gradients speak for (see
//! [`Scores`](crate::run::Scores)), alone and together, and what is joined of those that do best. The block-wise
//! paper leaves open how to find the block, and how many, without trying all.

use std::collections::HashSet;

use indexmap::IndexSet;

use crate::analysis::Block;
use crate::surgery::Rewrite;
use crate::surgery::rewrite::LowRank;

use super::{Candidate, Network, Strategy, StrategyError, StrategyName, Unit};

pub(super) struct Auto;

/// What is tried.
#[derive(Clone, Copy)]
enum Idea {
    /// The last blocks, by their share in percent.
    Last(usize),
    /// Everything.
    All,
    /// The block of this place among the promising ones, from 0.
    Block(usize),
    /// So many of the most promising blocks, together.
    Best(usize),
    /// The last blocks, by their share in percent, and updates of low rank of all before them.
    LowRankBefore(usize),
}

/// What is tried, in this order as far as a budget reaches: the plain choices first, then depth and gradients in
/// turn.
const IDEAS: [Idea; 12] = [
    Idea::All,
    Idea::Last(40),
    Idea::Block(0),
    Idea::Last(20),
    Idea::Best(4),
    Idea::Last(60),
    Idea::Best(2),
    Idea::Last(10),
    Idea::Block(1),
    Idea::Best(8),
    Idea::Last(80),
    Idea::LowRankBefore(40),
];
/// Rank of the updates of [`Idea::LowRankBefore`], the default of the strategy `loraN`.
const RANK: usize = 4;
/// Blocks that a label names.
const NAMED: usize = 3;
/// How the identity of a candidate begins that was joined of others.
const JOINED: &str = "auto-joined-";

impl StrategyName {
    /// `auto`: the best of a few sets of blocks.
    pub const AUTO: StrategyName = StrategyName::plain(&(&Auto as _));
}

impl Strategy for Auto {
    fn word(&self) -> &'static str {
        "auto"
    }

    fn trains(&self, _count: usize) -> String {
        "the best of a few sets of blocks: the last ones, all, those that gradients speak for, and what the search \
         joins of them"
            .to_owned()
    }

    /// Of several that train the same, the first. Without anything that says which blocks are
    /// [promising](Network::promising), those by depth alone.
    fn candidates(
        &self,
        network: &Network<'_>,
        _count: usize,
    ) -> Result<Vec<Candidate>, StrategyError> {
        let mut distinct: Vec<Candidate> = Vec::new();
        for idea in IDEAS {
            let candidate = candidate(network, idea)?;
            let is_new = |c: &Candidate| !distinct.iter().any(|d| d.trains_the_same(c));
            distinct.extend(candidate.filter(is_new));
        }
        Ok(distinct)
    }

    /// The best and the next best that adds something to it, together; else the next pair of which that is true.
    fn joined(
        &self,
        network: &Network<'_>,
        candidates: &[Candidate],
        ranking: &[usize],
    ) -> Option<Candidate> {
        let plain = ranking.iter().map(|&place| &candidates[place]);
        let plain: Vec<&Candidate> = plain.filter(|c| c.rewrite.is_none()).collect();
        let earlier = candidates.iter().filter(|c| c.id.starts_with(JOINED));
        let id = format!("{JOINED}{}", earlier.count() + 1);
        let pairs = (0..plain.len()).flat_map(|i| (i + 1..plain.len()).map(move |j| (i, j)));
        pairs
            .map(|(i, j)| union(network, id.clone(), plain[i], plain[j]))
            .find(|joined| !candidates.iter().any(|c| c.trains_the_same(joined)))
    }

    fn searches(&self) -> Option<Unit> {
        Some(Unit::Group)
    }

    fn wants_promising(&self) -> bool {
        true
    }

    fn takes_the_largest(&self) -> bool {
        true
    }

    fn averages(&self) -> bool {
        true
    }
}

/// The candidate of an idea; `None` where the network has nothing for it.
fn candidate(network: &Network<'_>, idea: Idea) -> Result<Option<Candidate>, StrategyError> {
    let blocks: Vec<&Block> = network.analysis.backbone_blocks().collect();
    let promising = &network.promising;
    let last = |percent: usize| {
        let count = StrategyName::share_of(blocks.len(), percent);
        network
            .last_blocks(format!("auto-last-{count}"), count)
            .pop()
    };
    Ok(match idea {
        Idea::Last(percent) => last(percent),
        Idea::All => {
            let all = StrategyName::FULL.candidates(network)?.pop();
            all.map(|all| Candidate {
                id: "auto-all".to_owned(),
                ..all
            })
        }
        Idea::Block(place) => promising
            .get(place)
            .and_then(|&block| together(network, &blocks, &[block])),
        Idea::Best(count) => promising
            .get(..count)
            .and_then(|chosen| together(network, &blocks, chosen)),
        Idea::LowRankBefore(percent) => last(percent).and_then(|last| with_low_rank(network, last)),
    })
}

/// What `last` trains, and updates of low rank of the layers that it does not; `None` where none can have one.
fn with_low_rank(network: &Network<'_>, last: Candidate) -> Option<Candidate> {
    let mut layers = Vec::new();
    let mut weights = Vec::new();
    for layer in network.analysis.backbone_layers() {
        let layer = &network.analysis.weighted[layer];
        if last.layers.contains(&layer.name) {
            continue;
        }
        if let Some(weight) = network.updatable_weight(layer, RANK) {
            layers.push(layer.name.clone());
            weights.push(weight);
        }
    }
    if weights.is_empty() {
        return None;
    }
    let added = weights.iter().flat_map(|w| LowRank::parameters_of(w));
    layers.extend(last.layers);
    Some(Candidate {
        id: format!("{}-low-rank", last.id),
        label: format!("{}, rank {RANK} before", last.label),
        layers,
        trainable: added.chain(last.trainable).collect(),
        rewrite: Rewrite::LowRank(LowRank {
            weights,
            rank: RANK,
            alpha: RANK,
            seed: network.seed,
        }),
    })
}

/// What two candidates of the plain network train, together.
fn union(network: &Network<'_>, id: String, a: &Candidate, b: &Candidate) -> Candidate {
    let trained = a.trainable.iter().chain(&b.trainable);
    let body: IndexSet<&String> = trained.filter(|n| !network.head.contains(n)).collect();
    let layers = network.analysis.backbone_layers().into_iter();
    let layers = layers.map(|layer| &network.analysis.weighted[layer].name);
    let layers = layers.filter(|name| a.layers.contains(name) || b.layers.contains(name));
    Candidate {
        id,
        label: format!("{} + {}", a.label, b.label),
        layers: layers.cloned().collect(),
        trainable: body.into_iter().chain(&network.head).cloned().collect(),
        rewrite: Rewrite::None,
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

    fn pool(promising: &[usize]) -> Vec<Candidate> {
        let analysis = vgg();
        let network = Network {
            promising: promising.to_vec(),
            ..network(&analysis)
        };
        StrategyName::AUTO.candidates(&network).unwrap()
    }

    #[test]
    fn sets_are_tried_by_depth_and_by_promise_each_once() {
        // Of three blocks 10 and 20 % are one, 40 % one, 60 and 80 % two.
        assert_eq!(
            ids(&pool(&[])),
            [
                "auto-all",
                "auto-last-1",
                "auto-last-2",
                "auto-last-1-low-rank"
            ]
        );
        let candidates = pool(&[0, 2, 1]);
        assert_eq!(
            ids(&candidates),
            [
                "auto-all",
                "auto-last-1",
                "auto-block1",
                "auto-last-2",
                "auto-best-2",
                "auto-last-1-low-rank"
            ]
        );
        assert_eq!(candidates[2].layers, ["conv1", "conv2"]);
        assert_eq!(candidates[4].label, "block1, block3");
        assert_eq!(candidates[4].layers, ["conv1", "conv2", "conv4"]);
    }

    #[test]
    fn the_last_blocks_train_and_those_before_them_have_updates() {
        let candidate = pool(&[]).pop().unwrap();
        assert_eq!(candidate.layers, ["conv1", "conv2", "conv3", "conv4"]);
        let Rewrite::LowRank(low) = &candidate.rewrite else {
            panic!("{candidate:?}")
        };
        assert_eq!(low.weights, ["conv1.w", "conv2.w", "conv3.w"]);
        let trains = |name: &str| candidate.trainable.iter().any(|t| t == name);
        assert!(trains("conv4.w") && trains("conv4.b") && !trains("conv3.w"));
        assert_eq!(candidate.trainable.last().unwrap(), "head");
    }

    #[test]
    fn the_best_is_joined_with_the_next_best_that_adds_something() {
        let analysis = vgg();
        let network = network(&analysis);
        let mut candidates = pool(&[0, 2, 1]);
        let joined = |candidates: &[Candidate], ranking: &[usize]| {
            StrategyName::AUTO
                .rule()
                .joined(&network, candidates, ranking)
        };
        // The last block is in the last two, those and the first are all, and the first and the last are there.
        assert_eq!(joined(&candidates, &[1, 3, 2, 0]), None);
        // Without what there is already: the last block and the first.
        let best = candidates.remove(4);
        let made = joined(&candidates, &[1, 3, 2]).unwrap();
        assert!(made.trains_the_same(&best), "{made:?}");
        assert_eq!(made.id, "auto-joined-1");
        assert_eq!(made.label, "last block + block1");
        assert_eq!(made.layers, best.layers);
        assert_eq!(made.trainable.last().unwrap(), "head");
        candidates.push(made);
        assert_eq!(joined(&candidates, &[1, 3, 2, 5]), None);
        // Low-rank candidates are of another network.
        assert_eq!(joined(&candidates, &[4, 1]), None);
    }

    #[test]
    fn it_is_not_of_the_paper() {
        assert!(!StrategyName::all().contains(&StrategyName::AUTO));
    }
}
