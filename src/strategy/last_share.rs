//! `lastN%`: the last blocks before the head, together, as many as make that share of the backbone's depth.

use super::{Candidate, Network, Number, Strategy, StrategyError, StrategyName};

pub(super) struct LastShare;

impl StrategyName {
    /// `lastN%`: that share of the backbone's blocks, in percent, from the output end; 1 or more, and above 100
    /// as 100.
    pub const fn last_share(percent: usize) -> Self {
        StrategyName::numbered(&(&LastShare as _), percent)
    }
}

impl StrategyName {
    /// How many of so many blocks a share in percent is: rounded to the nearest, half of a block up, and at least
    /// one.
    pub(super) fn share_of(blocks: usize, percent: usize) -> usize {
        ((blocks.saturating_mul(percent.min(100)) + 50) / 100).max(1)
    }
}

impl Strategy for LastShare {
    fn word(&self) -> &'static str {
        "last%"
    }

    fn trains(&self, count: usize) -> String {
        format!("the last {count} % of the blocks, together")
    }

    fn number(&self) -> Option<Number> {
        Some(Number {
            default: 40,
            is_written: true,
            flag: "last-share",
            means: "Share of the blocks in percent",
        })
    }

    fn candidates(
        &self,
        network: &Network<'_>,
        count: usize,
    ) -> Result<Vec<Candidate>, StrategyError> {
        let blocks = network.analysis.backbone_blocks().count();
        let id = StrategyName::last_share(count).file_stem();
        Ok(network.last_blocks(id, StrategyName::share_of(blocks, count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::{network, vgg};

    #[test]
    fn a_share_is_rounded_to_blocks_and_is_at_least_one() {
        let analysis = vgg();
        for (percent, layers) in [
            (1, 1),
            (49, 1),
            (50, 2),
            (60, 2),
            (84, 4),
            (100, 4),
            (900, 4),
        ] {
            let name = StrategyName::last_share(percent);
            let candidates = name.candidates(&network(&analysis)).unwrap();
            assert_eq!(candidates.len(), 1);
            assert_eq!(candidates[0].layers.len(), layers, "{percent} %");
        }
    }

    #[test]
    fn names_and_files_have_the_percentage() {
        let name = StrategyName::last_share(25);
        assert_eq!(name.to_string(), "last25%");
        assert_eq!("last25%".parse(), Ok(name));
        assert_eq!("last%".parse(), Ok(StrategyName::last_share(40)));
        // A percent sign in a path is taken for something else by URLs, by Slurm and by Windows.
        assert_eq!(name.file_stem(), "last25-percent");
        assert_eq!(StrategyName::from_file_stem("last25-percent"), Some(name));
        let ids = name.candidates(&network(&vgg())).unwrap();
        assert_eq!(ids[0].id, "last25-percent");
        for wrong in ["25%", "last25%%", "head%", "last%25", "last0%", "%"] {
            assert!(wrong.parse::<StrategyName>().is_err(), "{wrong}");
        }
    }
}
