//! `topK`: the K best layers of the search of `layers`, trained together; BWT3 and BWT5 of the
//! block-wise paper. It searches what `layers` searches.

use super::layers::single_layers;
use super::{Candidate, Network, Number, Strategy, StrategyError, StrategyName, Unit};

pub(super) struct Top;

impl StrategyName {
    /// `topK`: so many of the best single layers, 1 or more, together.
    pub const fn top(layers: usize) -> Self {
        StrategyName::numbered(&(&Top as _), layers)
    }
}

impl Strategy for Top {
    fn word(&self) -> &'static str {
        "top"
    }

    fn trains(&self, count: usize) -> String {
        format!("the best {count} layers together")
    }

    fn number(&self) -> Option<Number> {
        Some(Number {
            default: 3,
            is_written: true,
            flag: "top",
            means: "Number of layers",
        })
    }

    fn in_paper(&self) -> &'static [StrategyName] {
        const { &[StrategyName::top(3), StrategyName::top(5)] }
    }

    fn candidates(
        &self,
        network: &Network<'_>,
        _count: usize,
    ) -> Result<Vec<Candidate>, StrategyError> {
        Ok(single_layers(network))
    }

    /// The first `count` of the ranking; fewer where the network, or what could be trained of it, has no more.
    fn winner(
        &self,
        network: &Network<'_>,
        count: usize,
        candidates: &[Candidate],
        ranking: &[usize],
    ) -> Candidate {
        let chosen: Vec<&str> = ranking
            .iter()
            .take(count)
            .flat_map(|&place| &candidates[place].layers)
            .map(String::as_str)
            .collect();
        // From input to output, whatever their rank.
        let layers: Vec<usize> = network
            .analysis
            .backbone_layers()
            .into_iter()
            .filter(|&l| chosen.contains(&network.analysis.weighted[l].name.as_str()))
            .collect();
        let label = format!("best {} layers", layers.len());
        network.candidate(format!("top{count}"), &label, &layers)
    }

    fn is_composed(&self) -> bool {
        true
    }

    fn searches(&self) -> Option<Unit> {
        Some(Unit::Layer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::{network, vgg};

    #[test]
    fn the_best_layers_train_together_in_the_order_of_the_network() {
        let analysis = vgg();
        let network = network(&analysis);
        let top = StrategyName::top(2);
        let candidates = top.candidates(&network).unwrap();
        // From the output end: conv4, conv3, conv2, conv1.
        let winner = top.winner(&network, &candidates, &[0, 2, 1]);
        assert_eq!(winner.layers, ["conv2", "conv4"]);
        assert_eq!(
            (winner.id.as_str(), winner.label.as_str()),
            ("top2", "best 2 layers")
        );
    }

    #[test]
    fn where_fewer_could_be_trained_there_are_fewer() {
        let analysis = vgg();
        let network = network(&analysis);
        let top = StrategyName::top(5);
        let candidates = top.candidates(&network).unwrap();
        let winner = top.winner(&network, &candidates, &[3, 1]);
        assert_eq!(winner.layers, ["conv1", "conv3"]);
        assert_eq!(
            (winner.id.as_str(), winner.label.as_str()),
            ("top5", "best 2 layers")
        );
    }
}
