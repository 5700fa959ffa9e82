//! What follows from a run's files.

use std::collections::HashMap;

use crate::report::Proportion;
use crate::report::charts::SLOTS;
use crate::report::text::thousands;
use crate::run::{Planned, RunFiles, StrategyResult, TrialRecord, ranked};
use crate::strategy::StrategyName;
use crate::task::Task;
use crate::training::Monitor;

/// A run's files and what follows from them.
pub struct Facts<'a> {
    pub files: &'a RunFiles,
    trials: HashMap<&'a str, &'a TrialRecord>,
    places: HashMap<&'a str, usize>,
}

impl<'a> Facts<'a> {
    pub fn of(files: &'a RunFiles) -> Self {
        let mut places = HashMap::new();
        for (place, layer) in files.run.layers.iter().enumerate() {
            places.entry(layer.name.as_str()).or_insert(place);
        }
        Facts {
            files,
            trials: files.trials.iter().map(|t| (t.id.as_str(), t)).collect(),
            places,
        }
    }

    /// What the samples are called.
    pub fn samples(&self) -> &'static str {
        match self.files.run.data.images {
            true => "images",
            false => "samples",
        }
    }

    /// The same of one.
    pub fn sample(&self) -> &'static str {
        self.samples().trim_end_matches('s')
    }

    /// The figure by which strategies, candidates and epochs were chosen.
    pub fn monitor(&self) -> Monitor {
        self.files.run.configuration.settings.watched()
    }

    /// What is told of a sample.
    pub fn task(&self) -> Task {
        self.files.run.configuration.settings.task()
    }

    /// What the share of samples that are right is called: where they may have several labels, of all labels at once.
    pub fn accuracy(&self) -> &'static str {
        Monitor::Accuracy.label_for(self.task())
    }

    pub fn results(&self) -> &'a [StrategyResult] {
        self.files.results.as_ref().map_or(&[], |r| &r.strategies)
    }

    pub fn result(&self, strategy: StrategyName) -> Option<&'a StrategyResult> {
        self.results().iter().find(|r| r.name == strategy)
    }

    /// The strategies that gave a model.
    pub fn winners(&self) -> impl Iterator<Item = &'a StrategyResult> {
        self.results()
            .iter()
            .filter(|r| r.error.is_none() && r.candidate.is_some())
    }

    pub fn trial(&self, id: &str) -> Option<&'a TrialRecord> {
        self.trials.get(id).copied()
    }

    /// The record of the trial that trained a strategy's winner.
    pub fn training(&self, result: &StrategyResult) -> Option<&'a TrialRecord> {
        self.trial(result.trial.as_ref()?)
    }

    /// The trial that ranked a candidate, if it succeeded.
    pub fn searched(&self, candidate: &str) -> Option<&'a TrialRecord> {
        self.search_trial(candidate).filter(|t| t.error.is_none())
    }

    /// Whether the trial that was to rank a candidate failed.
    pub fn failed_in_search(&self, candidate: &str) -> bool {
        self.search_trial(candidate)
            .is_some_and(|t| t.error.is_some())
    }

    fn search_trial(&self, candidate: &str) -> Option<&'a TrialRecord> {
        let phase = self.files.run.configuration.settings.method().phase();
        self.trial(&format!("{candidate}-{}", phase.name()))
    }

    /// The validation accuracy of a candidate in the search.
    pub fn search_accuracy(&self, candidate: &str) -> Option<f64> {
        Some(self.searched(candidate)?.validation?.accuracy)
    }

    /// The best trial of a strategy in the search.
    pub fn best_searched(&self, planned: &Planned) -> Option<&'a TrialRecord> {
        // What `topK` searches are single layers; its own figure is that of the K together.
        let ids = match planned.name.rule().is_composed() {
            true => vec![planned.name.to_string()],
            false => {
                let candidates = self.files.candidates(planned).into_iter();
                candidates.map(|c| c.id.clone()).collect()
            }
        };
        let trials: Vec<&TrialRecord> = ids.iter().filter_map(|id| self.searched(id)).collect();
        let records: Vec<TrialRecord> = trials.iter().map(|t| (*t).clone()).collect();
        let by = self.files.run.configuration.settings.ranks_by();
        Some(trials[ranked(&records, by).first().copied()?])
    }

    /// Place of a layer among the run's, from 0.
    pub fn place(&self, layer: &str) -> Option<usize> {
        self.places.get(layer).copied()
    }

    /// The winner that is best by validation, as candidates are ranked; `None` without validation.
    ///
    /// Of repetitions, that with the best mean of the monitored figure over those in which all winners
    /// have one, if there are several; candidates and models are those of the first.
    pub fn best(&self) -> Option<&'a StrategyResult> {
        if let Some(means) = self.means() {
            let better = |a: (&'a StrategyResult, f64), b: (&'a StrategyResult, f64)| match self
                .monitor()
                .is_better(b.1, a.1)
            {
                true => b,
                false => a,
            };
            return means.into_iter().reduce(better).map(|(result, _)| result);
        }
        let mut rated: Vec<&StrategyResult> = self
            .winners()
            .filter(|r| r.validation_accuracy.is_some())
            .collect();
        // An average is worth what it is worth, not what the best of its trials is.
        let has_average = rated.iter().any(|r| !r.averaged.is_empty());
        let figures = rated.iter().filter_map(|r| r.monitored);
        let better = |a, b| if self.monitor().is_better(b, a) { b } else { a };
        if let Some(best) = figures.reduce(better).filter(|_| has_average) {
            rated.retain(|r| r.monitored == Some(best));
        }
        let records: Option<Vec<TrialRecord>> =
            rated.iter().map(|r| self.training(r).cloned()).collect();
        match records {
            Some(records) => Some(rated[ranked(&records, self.monitor()).first().copied()?]),
            // Records are missing: the results alone must do.
            None => rated.into_iter().reduce(|a, b| {
                match b.validation_accuracy > a.validation_accuracy {
                    true => b,
                    false => a,
                }
            }),
        }
    }

    /// The winners with the mean of their monitored figure over repetitions; `None` of fewer than two.
    fn means(&self) -> Option<Vec<(&'a StrategyResult, f64)>> {
        let repeats = self.files.results.as_ref().map_or(&[][..], |r| &r.repeats);
        let complete: Vec<Vec<f64>> = repeats
            .iter()
            .filter_map(|repeat| {
                let of = |winner: &StrategyResult| {
                    let mut results = repeat.strategies.iter();
                    results.find(|r| r.name == winner.name)?.monitored
                };
                self.winners().map(of).collect()
            })
            .collect();
        let mean = |place: usize| {
            complete.iter().map(|row| row[place]).sum::<f64>() / complete.len() as f64
        };
        let winners = self.winners().enumerate();
        (complete.len() > 1).then(|| winners.map(|(i, winner)| (winner, mean(i))).collect())
    }

    /// Whether several repetitions decide, not the first alone.
    pub fn is_over_seeds(&self) -> bool {
        self.means().is_some()
    }

    /// What decides which strategy is the best: `validation accuracy`.
    pub fn chosen_by(&self) -> String {
        let figure = format!("validation {}", self.monitor().label_for(self.task()));
        match self.is_over_seeds() {
            true => format!("mean {figure} over all {}", self.repeated_over()),
            false => figure,
        }
    }

    /// Where other winners have the figure by which `best` was chosen, too: which, and what decided.
    pub fn tie(&self, best: &StrategyResult) -> Option<String> {
        if self.is_over_seeds() || best.monitored.is_none() {
            return None;
        }
        let own = self.training(best);
        let mut names = Vec::new();
        let mut reasons = Vec::new();
        for other in self.winners().filter(|r| r.monitored == best.monitored) {
            if other.name == best.name {
                continue;
            }
            let score = |trial: Option<&TrialRecord>| trial?.validation;
            let by_loss = score(own).zip(score(self.training(other)));
            let reason = match by_loss {
                Some((own, other)) if own.loss < other.loss => "the lower validation loss",
                _ if best.trained_parameters < other.trained_parameters => {
                    "the smaller number of trained parameters"
                }
                _ => "the order of the strategies",
            };
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
            names.push(other.name.to_string());
        }
        (!names.is_empty()).then(|| {
            let (monitor, names) = (self.monitor().label(), names.join(", "));
            let reasons = reasons.join(" and ");
            format!("tied in validation {monitor} with {names}: {reasons} decided")
        })
    }

    /// In what repetitions differ: `seeds`, or `folds`.
    pub fn repeated_over(&self) -> &'static str {
        let results = self.files.results.as_ref();
        results.map_or("seeds", |results| results.repeated_over())
    }

    /// What stands before a sentence that is of the first repetition alone.
    pub fn of_first_seed(&self) -> String {
        match self.files.results.as_ref().map(|r| r.repeats.as_slice()) {
            Some([first, _, ..]) => format!("Of {}: ", first.label()),
            _ => String::new(),
        }
    }

    /// A winner's validation accuracy as a proportion.
    pub fn validation(&self, result: &StrategyResult) -> Option<Proportion> {
        let score = self.training(result).and_then(|t| t.validation);
        let count = score.map_or(self.files.run.data.parts.validation, |s| s.count);
        Proportion::of(result.validation_accuracy?, count)
    }

    /// A winner's held-out accuracy as a proportion.
    pub fn held_out(&self, result: &StrategyResult) -> Option<Proportion> {
        let score = result.held_out.as_ref().map(|h| h.score);
        let count = score.map_or(self.files.run.data.parts.held_out, |s| s.count);
        Proportion::of(result.held_out_accuracy?, count)
    }

    /// Whether the network was rewritten for a trial.
    fn is_rewritten(&self, trial: &TrialRecord) -> bool {
        let mut candidates = self.files.run.strategies.iter().flat_map(|p| &p.candidates);
        let is_of = |id: &str| trial.id == format!("{id}-{}", trial.phase.name());
        candidates.any(|c| !c.rewrite.is_none() && is_of(&c.id))
    }

    /// Whether a winner's network had parameters beside its own.
    pub fn adds(&self) -> bool {
        let trainings = self.results().iter().filter_map(|r| self.training(r));
        trainings.map(|t| t.added_parameters).any(|added| added > 0)
    }

    /// The share that a winner trained of all parameters that its network had, those that it added included.
    pub fn trained_share(&self, result: &StrategyResult) -> Option<f64> {
        let added = self.training(result).map_or(0, |t| t.added_parameters);
        let all = self.parameters()? + added;
        Some(result.trained_parameters? as f64 / all.max(1) as f64)
    }

    /// Number of all parameters of the network with its head; `None` where no trial tells the size
    /// of the head.
    pub fn parameters(&self) -> Option<usize> {
        let of_layer = |name: &String| {
            let layer = self.files.run.layers.get(self.place(name)?)?;
            Some(layer.parameters)
        };
        let all: usize = self.files.run.layers.iter().map(|l| l.parameters).sum();
        self.files.trials.iter().find_map(|trial| {
            let trained = trial.trained_parameters?;
            let rule = trial.strategy.rule();
            let adds = trial.added_parameters;
            // What was added to the network is none of its parameters, and the layers are frozen beside it.
            if adds > 0 && (rule.updates_weights() || rule.gates_filters() || rule.gates_blocks()) {
                return Some(all + trained.checked_sub(adds)?);
            }
            if self.is_rewritten(trial) {
                return None;
            }
            let backbone: Option<usize> = trial.layers.iter().map(of_layer).sum();
            Some(all + trained.checked_sub(backbone?)?)
        })
    }
}

/// The style of a strategy's marks, below [`SLOTS`]: each name of the paper has its own, which other numbers
/// up to its own share, or beyond the last of them; strategies that the paper does not have share the last.
pub fn slot(strategy: StrategyName) -> usize {
    let word = |name: StrategyName| name.rule().word();
    let mut paper: Vec<(usize, StrategyName)> =
        StrategyName::all().into_iter().enumerate().collect();
    paper.retain(|&(_, name)| word(name) == word(strategy));
    let reaches = |&&(_, name): &&(usize, StrategyName)| name.number() >= strategy.number();
    let nearest = paper.iter().find(reaches).or(paper.last());
    nearest.map_or(SLOTS - 1, |&(slot, _)| slot)
}

/// A share for an axis or a table, in per cent with as many decimals as a distance of `step` needs.
pub fn share(value: f64, step: f64) -> String {
    let whole = |x: f64| x >= 0.999 && (x - x.round()).abs() < 1e-6;
    let decimals = match step * 100.0 {
        s if whole(s) => 0,
        s if whole(10.0 * s) => 1,
        _ => 2,
    };
    format!("{:.decimals$} %", 100.0 * value)
}

/// A share that was asked for, with no more decimals than it has.
pub fn fraction(value: f64) -> String {
    format!("{} %", (value * 1e4).round() / 1e2)
}

/// So many of something.
pub fn count(n: usize, what: &str) -> String {
    format!("{} {what}{}", thousands(n), if n == 1 { "" } else { "s" })
}

/// The ends of an interval of shares.
pub fn interval((low, high): (f64, f64)) -> String {
    format!("{:.1}–{:.1} %", 100.0 * low, 100.0 * high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_of_the_paper_have_a_style_each_and_all_others_one() {
        let slots: Vec<usize> = StrategyName::all().into_iter().map(slot).collect();
        assert_eq!(slots, Vec::from_iter(0..SLOTS - 1));
        for (name, like) in [("top2", "top3"), ("top4", "top5"), ("top9", "top5")] {
            let slot = |name: &str| slot(name.parse().unwrap());
            assert_eq!(slot(name), slot(like), "{name}");
        }
        assert_eq!(
            slot(StrategyName::windows(7)),
            slot(StrategyName::windows(3))
        );
        for other in [StrategyName::SELECT, StrategyName::last(3)] {
            assert_eq!(slot(other), SLOTS - 1);
        }
    }

    #[test]
    fn ticks_have_the_decimals_that_tell_them_apart() {
        for (value, step, text) in [
            (0.8, 0.05, "80 %"),
            (0.825, 0.025, "82.5 %"),
            (0.905, 0.005, "90.5 %"),
            (0.9025, 0.0025, "90.25 %"),
            (0.87, 0.001, "87.0 %"),
        ] {
            assert_eq!(share(value, step), text);
        }
        assert_eq!(
            (fraction(0.1), fraction(0.125)),
            ("10 %".to_owned(), "12.5 %".to_owned())
        );
    }
}
