//! `blocks`: one block at a time; Algorithm 2 of the block-wise paper.

use super::{Candidate, Network};

pub(super) fn candidates(network: &Network<'_>) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = network
        .analysis
        .backbone_blocks()
        .map(|block| {
            network.candidate(format!("blocks-{}", block.name), &block.name, &block.layers)
        })
        .collect();
    candidates.reverse();
    candidates
}
