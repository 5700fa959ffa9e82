//! `randomK`: K layers drawn at random; the preliminary experiment (Fig. 3) of the block-wise paper,
//! where K is 3. There is one draw per seed.

use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;

use super::{Candidate, Network, Strategy};

/// The stream of the seed that belongs to this draw; 0 is the split's, small ones are the epochs'.
const STREAM: u64 = 1 << 32;

pub(super) fn candidates(network: &Network<'_>, count: usize) -> Vec<Candidate> {
    let layers = network.analysis.backbone_layers();
    if layers.is_empty() {
        return Vec::new();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(network.seed);
    rng.set_stream(STREAM);
    let mut places = sample(&mut rng, layers.len(), count.min(layers.len())).into_vec();
    places.sort_unstable();
    let drawn: Vec<usize> = places.iter().map(|&p| layers[p]).collect();
    let numbers: Vec<String> = places.iter().map(|p| (p + 1).to_string()).collect();
    let label = format!("layers {}", numbers.join(", "));
    vec![network.candidate(Strategy::Random(count).to_string(), &label, &drawn)]
}
