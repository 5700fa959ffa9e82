//! `windows`: neighbouring weighted layers, one window after the other with stride 1; BWSW of the
//! block-wise paper, where a window has three layers.

use super::{Candidate, Network};

/// Where there are fewer layers than `length`, they are one window.
pub(super) fn candidates(network: &Network<'_>, length: usize) -> Vec<Candidate> {
    let layers = network.analysis.backbone_layers();
    if layers.is_empty() {
        return Vec::new();
    }
    let length = length.clamp(1, layers.len());
    let candidate = |(place, window): (usize, &[usize])| {
        let (first, last) = (place + 1, place + length);
        network.candidate(
            format!("windows-{first:02}-{last:02}"),
            &format!("layers {first} to {last}"),
            window,
        )
    };
    layers
        .windows(length)
        .enumerate()
        .map(candidate)
        .rev()
        .collect()
}
