//! `randomK`: K layers drawn at random; the preliminary experiment (Fig. 3) of the block-wise paper,
//! where K is 3. There is one draw per seed.

use rand::seq::index::sample;

use crate::random::{Purpose, stream};

use super::{Candidate, Network, Number, Strategy, StrategyError, StrategyName};

pub(super) struct Random;

impl StrategyName {
    /// `randomK`: so many layers, 1 or more, drawn at random.
    pub const fn random(layers: usize) -> Self {
        StrategyName::numbered(&(&Random as _), layers)
    }
}

impl Strategy for Random {
    fn word(&self) -> &'static str {
        "random"
    }

    fn trains(&self, count: usize) -> String {
        format!("{count} layers drawn at random")
    }

    fn number(&self) -> Option<Number> {
        Some(Number {
            default: 3,
            is_written: true,
            flag: "random",
            means: "Number of layers",
        })
    }

    fn in_paper(&self) -> &'static [StrategyName] {
        const { &[StrategyName::random(3)] }
    }

    fn candidates(
        &self,
        network: &Network<'_>,
        count: usize,
    ) -> Result<Vec<Candidate>, StrategyError> {
        let layers = network.analysis.backbone_layers();
        if layers.is_empty() {
            return Ok(Vec::new());
        }
        let mut rng = stream(Purpose::RandomLayers, network.seed, &[]);
        let mut places = sample(&mut rng, layers.len(), count.min(layers.len())).into_vec();
        places.sort_unstable();
        let drawn: Vec<usize> = places.iter().map(|&p| layers[p]).collect();
        let numbers: Vec<String> = places.iter().map(|p| (p + 1).to_string()).collect();
        let label = format!("layers {}", numbers.join(", "));
        Ok(vec![network.candidate(
            format!("random{count}"),
            &label,
            &drawn,
        )])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::{network, vgg};

    #[test]
    fn the_seed_draws_layers_each_once_in_the_order_of_the_network() {
        let analysis = vgg();
        let drawn = |seed, count| {
            let network = Network {
                seed,
                ..network(&analysis)
            };
            let candidates = StrategyName::random(count).candidates(&network).unwrap();
            assert_eq!(candidates.len(), 1);
            candidates[0].layers.clone()
        };
        let draws: Vec<_> = (0..20).map(|seed| drawn(seed, 2)).collect();
        assert!(draws.iter().all(|d| d.len() == 2 && d[0] < d[1]));
        assert!(draws.iter().any(|d| *d != draws[0]));
        assert_eq!(drawn(7, 2), drawn(7, 2));
        assert_eq!(drawn(0, 9), ["conv1", "conv2", "conv3", "conv4"]);
    }
}
