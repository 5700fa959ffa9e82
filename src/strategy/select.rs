//! `select`: the layers and parameters that the user names.

use super::pattern::matches;
use super::{Candidate, Network, StrategyError};

/// One candidate of all that a [`pattern`](super::pattern) matches: layers by their name, their parameters'
/// names and their block's, and parameters that no layer owns by their name and their block's.
pub(super) fn candidates(network: &Network<'_>) -> Result<Vec<Candidate>, StrategyError> {
    let analysis = network.analysis;
    if network.selection.is_empty() {
        return Err(StrategyError::NoSelection);
    }
    let all = analysis.backbone_layers();
    let matches_layer = |pattern: &str, layer: usize| {
        let layer = &analysis.weighted[layer];
        let block = analysis.blocks.get(layer.block).map(|b| &b.name);
        let mut names = std::iter::once(&layer.name)
            .chain(&layer.parameters)
            .chain(block);
        names.any(|name| matches(pattern, name))
    };
    let matches_tensor = |pattern: &str, (name, block): (&String, &str)| {
        matches(pattern, name) || matches(pattern, block)
    };
    let idle = |p: &&String| {
        !all.iter().any(|&l| matches_layer(p, l)) && !network.loose().any(|t| matches_tensor(p, t))
    };
    if let Some(pattern) = network.selection.iter().find(idle) {
        let layers: Vec<&str> = all
            .iter()
            .map(|&l| analysis.weighted[l].name.as_str())
            .collect();
        return Err(StrategyError::NoMatch {
            pattern: pattern.clone(),
            layers: layers.join(", "),
        });
    }
    let layers: Vec<usize> = all
        .iter()
        .copied()
        .filter(|&l| network.selection.iter().any(|p| matches_layer(p, l)))
        .collect();
    let tensors: Vec<&String> = network
        .loose()
        .filter(|&t| network.selection.iter().any(|p| matches_tensor(p, t)))
        .map(|(name, _)| name)
        .collect();
    let label = network.selection.join(", ");
    Ok(vec![network.candidate_of(
        "select".to_owned(),
        &label,
        &layers,
        &tensors,
    )])
}
