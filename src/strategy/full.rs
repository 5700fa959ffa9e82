//! `full`: every weighted layer; Baseline II of the block-wise paper.

use super::{Candidate, Network};

pub(super) fn candidates(network: &Network<'_>) -> Vec<Candidate> {
    let layers = network.analysis.backbone_layers();
    vec![network.candidate("full".to_owned(), "all layers", &layers)]
}
