//! `topK`: the K best layers of the search of `layers`, trained together; BWT3 and BWT5 of the
//! block-wise paper. It searches what `layers` searches.

use super::{Candidate, Network, Strategy, layers};

pub(super) fn candidates(network: &Network<'_>) -> Vec<Candidate> {
    layers::candidates(network)
}

/// The first `count` of `ranking`, which names layers by their candidate's place in `candidates`,
/// the best first. There are fewer where the network, or what could be trained of it, has no more.
pub(super) fn winner(
    network: &Network<'_>,
    candidates: &[Candidate],
    ranking: &[usize],
    count: usize,
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
    network.candidate(Strategy::Top(count).to_string(), &label, &layers)
}
