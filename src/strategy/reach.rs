//! Which blocks of a network the strategies would train.

use std::collections::HashSet;

use crate::analysis::Analysis;

use super::{Candidate, Network, StrategyName};

/// What a strategy would train of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Reach {
    /// The strategy.
    pub name: StrategyName,
    /// How many candidates it has; with more than one it searches.
    pub candidates: usize,
    /// Of each block before the classifier how many of the candidates train something of it.
    pub blocks: Vec<usize>,
    /// The fewest and the most elements of the backbone that a candidate trains.
    pub elements: (usize, usize),
}

/// What the strategies of the paper would train, the last three blocks and the last 40 % of them; without those that find nothing
/// to choose from. `windows` has the window that the analysis was asked for.
pub fn reach(analysis: &Analysis) -> Vec<Reach> {
    let network = Network::of_analysis(analysis);
    let windows = StrategyName::windows(analysis.window);
    let names = StrategyName::all().into_iter().map(|name| {
        let is_window = name.rule().word() == windows.rule().word();
        if is_window { windows } else { name }
    });
    let more = [StrategyName::last(3), StrategyName::last_share(40)];
    let blocks: Vec<Vec<(&str, usize)>> = analysis
        .blocks
        .iter()
        .filter(|block| !block.is_classifier)
        .map(|block| {
            let tensors = analysis.tensors(block).into_iter();
            tensors
                .map(|(name, _, elements)| (name, elements))
                .collect()
        })
        .collect();
    names
        .chain(more)
        .filter_map(|name| {
            let candidates = name.candidates(&network).ok()?;
            (!candidates.is_empty()).then(|| of(name, &candidates, &blocks))
        })
        .collect()
}

fn of(name: StrategyName, candidates: &[Candidate], blocks: &[Vec<(&str, usize)>]) -> Reach {
    let mut counts = vec![0; blocks.len()];
    let mut elements = (usize::MAX, 0);
    for candidate in candidates {
        let trained: HashSet<&str> = candidate.trainable.iter().map(String::as_str).collect();
        let mut counted = HashSet::new();
        let mut sum = 0;
        for (block, count) in blocks.iter().zip(&mut counts) {
            let mut here = block
                .iter()
                .filter(|(tensor, _)| trained.contains(tensor))
                .peekable();
            *count += usize::from(here.peek().is_some());
            // One that several layers share counts once.
            sum += here
                .filter(|(tensor, _)| counted.insert(*tensor))
                .map(|(_, n)| n)
                .sum::<usize>();
        }
        elements = (elements.0.min(sum), elements.1.max(sum));
    }
    Reach {
        name,
        candidates: candidates.len(),
        blocks: counts,
        elements,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{AnalyzeOptions, nets};

    #[test]
    fn strategies_reach_the_blocks_whose_tensors_they_train() {
        let analysis =
            Analysis::of_graph(&nets::resnet_v2(), &[], &AnalyzeOptions::default()).unwrap();
        let blocks = analysis.blocks.iter().filter(|b| !b.is_classifier);
        let backbone: usize = blocks.clone().map(|b| b.parameters).sum();
        let count = blocks.count();
        let found = reach(&analysis);
        let of = |name: StrategyName| found.iter().find(|r| r.name == name).unwrap();
        assert_eq!(of(StrategyName::HEAD).elements, (0, 0));
        let full = of(StrategyName::FULL);
        assert_eq!((full.candidates, full.elements), (1, (backbone, backbone)));
        assert_eq!(full.blocks, vec![1; count]);
        let last = &of(StrategyName::last(3)).blocks;
        assert_eq!(last.iter().sum::<usize>(), 3.min(count));
        assert!(last[count - 3.min(count)..].iter().all(|&n| n == 1));
        // Each block is a candidate of its own.
        assert_eq!(of(StrategyName::BLOCKS).blocks, vec![1; count]);
    }
}
