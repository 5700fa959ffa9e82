//! Which candidates one training run serves.

use std::collections::{BTreeSet, HashMap};

use crate::run::Phase;
use crate::strategy::{Candidate, StrategyName};

use super::plan::trial_id;

/// One training run, and the candidates whose figures it gives.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    /// Its identity and its folder's name.
    pub id: String,
    pub phase: Phase,
    /// Who asked first.
    pub strategy: StrategyName,
    pub candidate: Candidate,
    /// Other candidates that train the same parameters: blocks of a single layer, say.
    pub twins: Vec<(StrategyName, Candidate)>,
}

impl Trial {
    /// The strategies it serves.
    pub fn strategies(&self) -> impl Iterator<Item = StrategyName> {
        std::iter::once(self.strategy).chain(self.twins.iter().map(|(s, _)| *s))
    }
}

/// The trials that `wanted` come to: candidates that train the same parameters share one, since in
/// one phase all else is the same for all.
pub(super) fn distinct(
    wanted: impl IntoIterator<Item = (StrategyName, Candidate)>,
    phase: Phase,
) -> Vec<Trial> {
    let mut trials: Vec<Trial> = Vec::new();
    let mut by_parameters: HashMap<BTreeSet<String>, usize> = HashMap::new();
    for (strategy, candidate) in wanted {
        let parameters = candidate.trainable.iter().cloned().collect();
        let known = by_parameters
            .get(&parameters)
            .map(|&place| &mut trials[place]);
        match known {
            None => {
                by_parameters.insert(parameters, trials.len());
                trials.push(Trial {
                    id: trial_id(&candidate, phase),
                    phase,
                    strategy,
                    candidate,
                    twins: Vec::new(),
                });
            }
            Some(trial) => {
                let is_new = trial.candidate.id != candidate.id
                    && trial.twins.iter().all(|(_, twin)| twin.id != candidate.id);
                if is_new {
                    trial.twins.push((strategy, candidate));
                }
            }
        }
    }
    trials
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: &str, trainable: &[&str]) -> Candidate {
        Candidate {
            id: id.to_owned(),
            label: id.to_owned(),
            layers: vec![],
            trainable: trainable.iter().map(|&t| t.to_owned()).collect(),
        }
    }

    #[test]
    fn candidates_with_the_same_parameters_share_a_trial() {
        let trials = distinct(
            [
                (StrategyName::LAYERS, candidate("layers-02", &["b", "head"])),
                (StrategyName::LAYERS, candidate("layers-01", &["a", "head"])),
                (StrategyName::top(3), candidate("layers-02", &["b", "head"])),
                (StrategyName::BLOCKS, candidate("blocks-x", &["head", "b"])),
                (
                    StrategyName::BLOCKS,
                    candidate("blocks-y", &["a", "b", "head"]),
                ),
            ],
            Phase::Search,
        );
        let ids: Vec<&str> = trials.iter().map(|t| t.id.as_str()).collect();
        assert_eq!(
            ids,
            ["layers-02-search", "layers-01-search", "blocks-y-search"]
        );
        let twins: Vec<&str> = trials[0].twins.iter().map(|(_, c)| c.id.as_str()).collect();
        assert_eq!(twins, ["blocks-x"]);
        assert!(trials[1].twins.is_empty());
    }
}
