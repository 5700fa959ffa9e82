//! `head`: the head alone; Baseline I of the block-wise paper.

use super::{Candidate, Network};

pub(super) fn candidates(network: &Network<'_>) -> Vec<Candidate> {
    vec![network.candidate("head".to_owned(), "head", &[])]
}
