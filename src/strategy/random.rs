//! `randomK`: K layers drawn at random; the preliminary experiment (Fig. 3) of the block-wise paper,
//! where K is 3. There is one draw per seed.

use rand::seq::index::sample;

use crate::random::{Purpose, stream};

use super::{Candidate, Network, Strategy};

pub(super) fn candidates(network: &Network<'_>, count: usize) -> Vec<Candidate> {
    let layers = network.analysis.backbone_layers();
    if layers.is_empty() {
        return Vec::new();
    }
    let mut rng = stream(Purpose::RandomLayers, network.seed, &[]);
    let mut places = sample(&mut rng, layers.len(), count.min(layers.len())).into_vec();
    places.sort_unstable();
    let drawn: Vec<usize> = places.iter().map(|&p| layers[p]).collect();
    let numbers: Vec<String> = places.iter().map(|p| (p + 1).to_string()).collect();
    let label = format!("layers {}", numbers.join(", "));
    vec![network.candidate(Strategy::Random(count).to_string(), &label, &drawn)]
}
