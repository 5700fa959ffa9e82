//! Which trial of a search finds the learning rate that the others have.

use std::collections::HashSet;

use crate::choice;
use crate::run::{Phase, TrialRequest};
use crate::strategy::{Candidate, Network, StrategyName};

use super::{Budget, Scene, distinct};

impl Scene<'_> {
    /// What the search begins with. Where the learning rate is to be found, its [scout] is asked for alone, and when
    /// it has ended the others with its rate.
    pub(super) fn search(&self, budget: Budget) -> Vec<TrialRequest> {
        let all = self.requests(self.plan.searched(), Phase::Search, budget);
        let Some((strategy, scout)) = self.scout() else {
            return all;
        };
        let Some(asked) = self.request_for(&scout, Phase::Search) else {
            return self.requests([(strategy, scout)], Phase::Search, budget);
        };
        // The scout is one of their round, where nothing has been asked for since.
        let round = asked.round;
        let is_before = |r: &TrialRequest| r.round < round || r.id == asked.id;
        let is_first = |r: &TrialRequest| r.round == round && r.phase == Phase::Train;
        match self.asked.iter().all(|r| is_before(r) || is_first(r)) {
            true => all
                .into_iter()
                .map(|request| TrialRequest { round, ..request })
                .collect(),
            false => all,
        }
    }

    /// How many trials of the search wait for its [scout].
    pub fn waiting(&self) -> usize {
        let planned = distinct(Vec::new(), self.plan.searched());
        let is_asked = |c: &Candidate| self.request_for(c, Phase::Search).is_some();
        planned.iter().filter(|(_, c)| !is_asked(c)).count()
    }

    /// The learning rate with which a candidate is trained, where it is not to find its own: in the search that of
    /// the [scout], if the candidate trains the plain network as that does; a winner has that of its search.
    pub(super) fn found_rate(&self, candidate: &Candidate, phase: Phase) -> Option<f32> {
        match phase {
            Phase::Search => {
                let (_, scout) = self.scout().filter(|_| candidate.rewrite.is_none())?;
                self.tried(&scout)?.rate
            }
            Phase::Train => self.tried(candidate)?.rate,
        }
    }

    /// The scout of the candidates that are searched, where the learning rate is to be found.
    fn scout(&self) -> Option<(StrategyName, Candidate)> {
        let is_open = self.settings.learning_rate() == choice::Choice::Auto;
        let searched = || self.plan.searched();
        let trains = |(_, c): &(StrategyName, Candidate)| self.epochs(c, 1) > 0;
        is_open.then(|| scout(self.network, searched().filter(trains)))?
    }
}

/// Of the candidates of the plain network the one that trains most, the first of equals: a rate that does it no harm
/// does none to what trains less.
pub(in crate::search) fn scout(
    network: &Network<'_>,
    candidates: impl Iterator<Item = (StrategyName, Candidate)>,
) -> Option<(StrategyName, Candidate)> {
    let mut widest: Option<(usize, (StrategyName, Candidate))> = None;
    for (strategy, candidate) in candidates.filter(|(_, c)| c.rewrite.is_none()) {
        let layers: HashSet<&String> = candidate.layers.iter().collect();
        let layers = network
            .analysis
            .weighted
            .iter()
            .filter(|l| layers.contains(&l.name));
        let elements = layers.map(|l| l.elements).sum();
        if widest.as_ref().is_none_or(|(most, _)| elements > *most) {
            widest = Some((elements, (strategy, candidate)));
        }
    }
    widest.map(|(_, scout)| scout)
}
