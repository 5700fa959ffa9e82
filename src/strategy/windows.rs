//! `windowsN`: N neighbouring weighted layers, one window after the other with stride 1; BWSW of the
//! block-wise paper, where a window has three layers.

use super::{Candidate, Network, Number, Strategy, StrategyError, StrategyName, Unit};

pub(super) struct Windows;

impl StrategyName {
    /// `windowsN`: the best window of so many neighbouring layers, 1 or more.
    pub const fn windows(layers: usize) -> Self {
        StrategyName::numbered(&(&Windows as _), layers)
    }
}

impl Strategy for Windows {
    fn word(&self) -> &'static str {
        "windows"
    }

    fn trains(&self, count: usize) -> String {
        format!("the best {count} layers in a row")
    }

    fn number(&self) -> Option<Number> {
        Some(Number {
            default: 3,
            is_written: false,
            flag: "window",
            means: "Number of layers",
        })
    }

    fn in_paper(&self) -> &'static [StrategyName] {
        const { &[StrategyName::windows(3)] }
    }

    /// Where there are fewer layers than `count`, they are one window.
    fn candidates(
        &self,
        network: &Network<'_>,
        count: usize,
    ) -> Result<Vec<Candidate>, StrategyError> {
        let layers = network.analysis.backbone_layers();
        if layers.is_empty() {
            return Ok(Vec::new());
        }
        let length = count.clamp(1, layers.len());
        let candidate = |(place, window): (usize, &[usize])| {
            let (first, last) = (place + 1, place + length);
            network.candidate(
                format!("windows-{first:02}-{last:02}"),
                &format!("layers {first} to {last}"),
                window,
            )
        };
        let windows = layers.windows(length).enumerate();
        Ok(windows.map(candidate).rev().collect())
    }

    fn searches(&self) -> Option<Unit> {
        Some(Unit::Window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::{ids, network, vgg};

    #[test]
    fn a_window_slides_by_one_layer_from_the_output_end() {
        let analysis = vgg();
        let network = network(&analysis);
        let candidates = StrategyName::windows(3).candidates(&network).unwrap();
        assert_eq!(ids(&candidates), ["windows-02-04", "windows-01-03"]);
        assert_eq!(candidates[1].layers, ["conv1", "conv2", "conv3"]);
        // Fewer layers than a window has are one window.
        let candidates = StrategyName::windows(9).candidates(&network).unwrap();
        assert_eq!(ids(&candidates), ["windows-01-04"]);
    }
}
