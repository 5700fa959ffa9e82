//! How many candidates the strategies have.

use crate::analysis::Analysis;

use super::{Network, Strategy};

/// Candidates per strategy for a network with a new head, `windows` with the window that the analysis was
/// asked for; 0 where a strategy finds nothing to choose from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs)]
pub struct CandidateCounts {
    pub head: usize,
    pub full: usize,
    pub layers: usize,
    pub top3: usize,
    pub top5: usize,
    pub blocks: usize,
    pub windows: usize,
    pub random3: usize,
}

impl CandidateCounts {
    /// Counts what [`Strategy::candidates`] gives; the best layers of a search are one candidate.
    pub fn of(analysis: &Analysis) -> Self {
        let network = Network {
            analysis,
            head: vec!["head".to_owned()],
            seed: 0,
            selection: &[],
        };
        let count = |strategy: Strategy| strategy.candidates(&network).map_or(0, |c| c.len());
        CandidateCounts {
            head: count(Strategy::Head),
            full: count(Strategy::Full),
            layers: count(Strategy::Layers),
            top3: count(Strategy::Top(3)).min(1),
            top5: count(Strategy::Top(5)).min(1),
            blocks: count(Strategy::Blocks),
            windows: count(Strategy::Windows(analysis.window)),
            random3: count(Strategy::Random(3)),
        }
    }
}
