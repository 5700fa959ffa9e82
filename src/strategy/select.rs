//! `select`: the layers that the user names.

use super::{Candidate, Network, StrategyError};

/// One candidate of all layers that a pattern matches. A pattern (`*` within a part of a name, `**`
/// across `/`) is held against a layer's name, its parameters' names and its block's name.
pub(super) fn candidates(network: &Network<'_>) -> Result<Vec<Candidate>, StrategyError> {
    let analysis = network.analysis;
    if network.selection.is_empty() {
        return Err(StrategyError::NoSelection);
    }
    let all = analysis.backbone_layers();
    let names = |layer: usize| {
        let layer = &analysis.weighted[layer];
        let block = analysis.blocks.get(layer.block).map(|b| &b.name);
        std::iter::once(&layer.name)
            .chain(&layer.parameters)
            .chain(block)
    };
    let matches = |pattern: &str, layer: usize| {
        names(layer)
            .any(|name| pattern == "*" || pattern == name || glob_match::glob_match(pattern, name))
    };
    let idle = |p: &&String| !all.iter().any(|&l| matches(p, l));
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
    let chosen: Vec<usize> = all
        .iter()
        .copied()
        .filter(|&l| network.selection.iter().any(|p| matches(p, l)))
        .collect();
    let label = network.selection.join(", ");
    Ok(vec![network.candidate(
        "select".to_owned(),
        &label,
        &chosen,
    )])
}
