//! `layers`: one weighted layer at a time; Algorithm 1 (LW) of the block-wise paper.

use super::{Candidate, Network};

pub(super) fn candidates(network: &Network<'_>) -> Vec<Candidate> {
    let layers = network.analysis.backbone_layers();
    let candidate = |(place, &layer): (usize, &usize)| {
        let name = &network.analysis.weighted[layer].name;
        network.candidate(format!("layers-{:02}", place + 1), name, &[layer])
    };
    layers.iter().enumerate().rev().map(candidate).collect()
}
