//! `full`: every weighted layer, and what no layer owns; Baseline II of the block-wise paper.

use super::{Candidate, Network};

pub(super) fn candidates(network: &Network<'_>) -> Vec<Candidate> {
    let layers = network.analysis.backbone_layers();
    let tensors: Vec<&String> = network.loose().map(|(name, _)| name).collect();
    vec![network.candidate_of("full".to_owned(), "all layers", &layers, &tensors)]
}
