//! How many candidates the strategies have.

use crate::analysis::Analysis;

use super::{Network, StrategyName};

/// Candidates of each strategy of the paper for a network with a new head; 0 where a strategy finds nothing
/// to choose from. `windows` has the window that the analysis was asked for.
///
/// In JSON an object of numbers by the strategies' names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateCounts(Vec<(StrategyName, usize)>);

impl CandidateCounts {
    /// Counts what [`StrategyName::candidates`] gives; the best layers of a search are one candidate.
    pub fn of(analysis: &Analysis) -> Self {
        let network = Network::of_analysis(analysis);
        let windows = StrategyName::windows(analysis.window);
        let count = |name: StrategyName| {
            let is_window = name.rule().word() == windows.rule().word();
            let asked = if is_window { windows } else { name };
            let candidates = asked.candidates(&network).map_or(0, |c| c.len());
            match name.rule().is_composed() {
                true => candidates.min(1),
                false => candidates,
            }
        };
        let all = StrategyName::all().into_iter();
        CandidateCounts(all.map(|name| (name, count(name))).collect())
    }

    /// Each strategy with the number of its candidates, in the order of the paper.
    pub fn iter(&self) -> impl Iterator<Item = (StrategyName, usize)> {
        self.0.iter().copied()
    }
}

impl serde::Serialize for CandidateCounts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}
