//! What a run leaves behind, as it stands in its files.

use serde::{Deserialize, Serialize};

use crate::classifier::{ClassScore, Score};
use crate::strategy::StrategyName;
use crate::task::Task;
use crate::training::TriedRate;

use super::{Certainty, Gates, SearchCost};

/// A file beside a winner's model: that which holds its weights, or that which makes it of its backbone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightsFile {
    /// Its name; of weights, as the model says.
    pub location: String,
    /// SHA-256 of the whole file, in hexadecimal.
    pub sha256: String,
}

/// What a trial is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// To rank a candidate, on the search part of the data.
    Search,
    /// To train a winner, on the training part.
    Train,
}

impl Phase {
    /// `search` or `train`.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Search => "search",
            Phase::Train => "train",
        }
    }
}

/// A finished trial: one line of `trials.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// The trial's folder under `trials/`, unless it is the [same as](Self::same_as) another.
    pub id: String,
    /// The strategy it belongs to; of several, the first.
    pub strategy: StrategyName,
    /// What it was for.
    pub phase: Phase,
    /// Label of the candidate.
    pub candidate: String,
    /// Names of the backbone layers that were trained.
    pub layers: Vec<String>,
    /// Number of trained values; `None` if the trial failed.
    pub trained_parameters: Option<usize>,
    /// Of them, how many the candidate added to the network (an update of low rank, say); the others are its own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub added_parameters: usize,
    /// Floating-point operations of one of its steps, from the frozen values on; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flops: Option<u64>,
    /// At the best epoch; `None` without validation samples.
    pub validation: Option<Score>,
    /// At the best epoch, on the samples that rank candidates (see
    /// [`Settings::rank_samples`](super::Settings::rank_samples)); `None` of trials that are not for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranking: Option<Score>,
    /// The epoch the parameters were taken after, from 1; 0 where they are as they were before the first step.
    pub best_epoch: usize,
    /// Epochs that were trained.
    pub epochs: usize,
    /// Whether it ended while it still got better: see
    /// [`TrialOutcome::still_improving`](crate::training::TrialOutcome::still_improving).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub still_improving: bool,
    /// The learning rate that was found; `None` where it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f32>,
    /// The rates that the trial tried to find it; none of a winner that took that of its search.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried_rates: Vec<TriedRate>,
    /// See [`TrialOutcome::abandoned_epochs`](crate::training::TrialOutcome::abandoned_epochs).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub abandoned_epochs: usize,
    /// Wall-clock seconds, of all sessions of a trial that was interrupted; the frozen layers' outputs
    /// that it waited for count in the session in which it ended.
    pub seconds: f64,
    /// Seconds by the clock on the wall, of all sessions of the run, when it had ended; `None` where other
    /// processes carry out trials. See [`Results::clock`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<f64>,
    /// The trial that trained the same parameters in the same way, whose figures these are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_as: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// In which way. A trial that failed in none of these ways has not ended: it is run again when
    /// the run is resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// See [`TrialRequest::rung`](super::TrialRequest::rung).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rung: usize,
}

/// Whether a number says nothing.
pub(super) fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// How a trial or a strategy failed where the same command would come to the same again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// A loss, a parameter or an output was not finite.
    Diverged,
    /// The tuned model could not be written as ONNX, or failed its check.
    NoModel,
}

/// How many candidates a strategy chose among.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Searched {
    /// Candidates that were tried.
    pub candidates: usize,
    /// Those whose training diverged: they are not ranked.
    pub diverged: usize,
}

/// What a strategy came to: one entry of `results.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StrategyResult {
    /// Name of the strategy.
    pub name: StrategyName,
    /// Label of the winning candidate.
    pub candidate: Option<String>,
    /// Names of the backbone layers that the winner trained.
    pub layers: Vec<String>,
    /// The trial that trained the winner, or the best of those that were averaged.
    pub trial: Option<String>,
    /// The trials whose parameters were averaged, the best first; none where the winner is one trial's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub averaged: Vec<String>,
    /// Of the winner after retraining; `None` without validation samples.
    pub validation_accuracy: Option<f64>,
    /// The figure that was watched (`--monitor`), of the validation samples like
    /// [`validation_accuracy`](Self::validation_accuracy).
    pub monitored: Option<f64>,
    /// Of the winner after retraining; `None` without held-out samples.
    pub held_out_accuracy: Option<f64>,
    /// What the winner made of the held-out samples, in full.
    pub held_out: Option<HeldOut>,
    /// Where samples may have several labels, the mean average precision of the validation samples
    /// ([`Score::average_precision`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_average_precision: Option<f64>,
    /// There, for each class the probability from which on it is taken to apply, chosen on the validation samples for
    /// the highest F1; accuracies, which are exact matches, and held-out figures are by these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Vec<f64>>,
    /// Number of trained values.
    pub trained_parameters: Option<usize>,
    /// Epochs that its winner was trained; 0 of a head that had been solved before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Whether the training of its winner ended while it still got better, so that more epochs may make it better:
    /// see [`TrialRecord::still_improving`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub still_improving: bool,
    /// The learning rate that was found for its winner; `None` where it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f32>,
    /// What it chose among; `None` where there was nothing to choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub searched: Option<Searched>,
    /// How sure the choice among them is; `None` where there was nothing to choose, or their trials left
    /// nothing to tell it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certainty: Option<Certainty>,
    /// What its search has cost; `None` where that was not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search_cost: Option<SearchCost>,
    /// Which tuned filters or blocks the winner takes for which samples; `None` of a network without such gates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gates: Option<Gates>,
    /// Seconds of its trials, added up: those of its search and its retraining. Trials run side by
    /// side, and those that several strategies share count for each, so that this is not the time by
    /// the clock on the wall.
    pub seconds: f64,
    /// Seconds by the clock on the wall, of all sessions, from the beginning of the run until this strategy had
    /// ended, with whatever of other strategies was done meanwhile. See [`Results::clock`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<f64>,
    /// Path of the model, relative to the run's folder.
    pub model: Option<String>,
    /// SHA-256 of that file, in hexadecimal.
    pub sha256: Option<String>,
    /// The file beside it that holds its weights, where one file cannot hold all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<WeightsFile>,
    /// The file beside it that makes it of its backbone, where that is kept: an
    /// [`Adapter`](../adapter/struct.Adapter.html).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<WeightsFile>,
    /// Why there is no model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// In which way it failed. A strategy that failed in none of these ways has not ended: it is
    /// tried again when the run is resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// What a winner made of the held-out samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Accuracy and loss.
    pub score: Score,
    /// Number of classes of the model.
    pub classes: usize,
    /// `[true class, predicted class, samples]` of the pairs that occur: see [`Predictions::confusion`](crate::classifier::Predictions::confusion).
    pub confusion: Vec<[usize; 3]>,
    /// The samples it was wrong about, by their place in the held-out part, so that winners can be
    /// compared sample by sample.
    pub wrong: Vec<usize>,
    /// Where samples may have several labels, what each class came to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_scores: Vec<ClassScore>,
    /// The samples it was most sure of while it was wrong, the worst first; at most
    /// [`HeldOut::MISTAKES`].
    pub mistakes: Vec<Mistake>,
}

impl HeldOut {
    /// Mistakes that are kept.
    pub const MISTAKES: usize = 12;

    /// Precision, recall and F1 of every class; samples whose outputs were not finite count in none.
    pub fn by_class(&self) -> Vec<ClassScore> {
        if !self.class_scores.is_empty() {
            return self.class_scores.clone();
        }
        let mut counts = vec![[0; 3]; self.classes];
        for &[label, predicted, samples] in &self.confusion {
            if let Some(own) = counts.get_mut(label) {
                own[1] += samples;
                own[0] += if label == predicted { samples } else { 0 };
            }
            if let Some(taken) = counts.get_mut(predicted) {
                taken[2] += samples;
            }
        }
        counts.into_iter().map(ClassScore::of).collect()
    }
}

/// A sample that was taken for another class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// Its name: of an image, the file relative to the data set's folder.
    pub sample: String,
    /// Its class, as an index.
    pub label: usize,
    /// The class it was taken for.
    pub predicted: usize,
    /// The probability given to that class, 0 to 1.
    #[serde(with = "crate::classifier::figure")]
    pub probability: f64,
}

/// A repetition of the whole run with another seed, in a folder of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repeat {
    /// Its seed.
    pub seed: u64,
    /// The fold that it holds out, from 1, of a cross-validation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<usize>,
    /// Its folder, relative to the run's: an ordinary run. `.` for the first.
    pub folder: String,
    /// See [`Results::clock`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<f64>,
    /// Each strategy's accuracies.
    pub strategies: Vec<RepeatResult>,
}

impl Repeat {
    /// What tells it from the others: `seed 7`, or `fold 2`.
    pub fn label(&self) -> String {
        match self.fold {
            Some(fold) => format!("fold {fold}"),
            None => format!("seed {}", self.seed),
        }
    }
}

/// What a strategy came to in one repetition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RepeatResult {
    /// Name of the strategy.
    pub name: StrategyName,
    /// See [`StrategyResult::validation_accuracy`].
    pub validation_accuracy: Option<f64>,
    /// See [`StrategyResult::monitored`].
    pub monitored: Option<f64>,
    /// See [`StrategyResult::held_out_accuracy`].
    pub held_out_accuracy: Option<f64>,
}

/// Mean and spread of a strategy's held-out accuracy (validation accuracy where nothing is held
/// out) over repetitions or over models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Name of the strategy.
    pub name: StrategyName,
    /// Accuracies that went in.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Their sample variance (divided by `count − 1`); 0 for a single one.
    pub variance: f64,
    /// Its square root.
    pub standard_deviation: f64,
}

impl Spread {
    /// The spread of `accuracies`; `None` without any.
    pub fn of(name: StrategyName, accuracies: &[f64]) -> Option<Self> {
        let count = accuracies.len();
        if count == 0 {
            return None;
        }
        let mean = accuracies.iter().sum::<f64>() / count as f64;
        let squares: f64 = accuracies.iter().map(|a| (a - mean).powi(2)).sum();
        let variance = squares / (count - 1).max(1) as f64;
        Some(Spread {
            name,
            count,
            mean,
            variance,
            standard_deviation: variance.sqrt(),
        })
    }
}

/// The content of `results.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Finished strategies, in the order asked for.
    pub strategies: Vec<StrategyResult>,
    /// Whether the run was stopped before its end.
    pub interrupted: bool,
    /// Seconds by the clock on the wall that the run took, data and all: those of every session that did
    /// something, added up, of one that was killed until the last trial that ended in it; with `--repeats` those of
    /// all repetitions. `None` where other processes carry out trials, whose waiting nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<f64>,
    /// With `--repeats`: every repetition that is finished, the run itself first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repeats: Vec<Repeat>,
    /// With `--repeats`: mean and spread over them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spread: Vec<Spread>,
}

impl Results {
    /// What was told of a sample, as far as the figures say: each class by itself where they have an average precision,
    /// else one class, be it of two by one output.
    pub fn task(&self) -> Task {
        let precision = |s: &StrategyResult| {
            let held_out = s.held_out.as_ref().and_then(|h| h.score.average_precision);
            s.validation_average_precision.or(held_out)
        };
        match self.strategies.iter().any(|s| precision(s).is_some()) {
            true => Task::MultiLabel,
            false => Task::SingleLabel,
        }
    }

    /// In what repetitions differ: `seeds`, or `folds`.
    pub fn repeated_over(&self) -> &'static str {
        match self.repeats.iter().any(|repeat| repeat.fold.is_some()) {
            true => "folds",
            false => "seeds",
        }
    }

    /// The strategies that gave no model.
    pub fn failed(&self) -> impl Iterator<Item = &StrategyResult> {
        self.strategies.iter().filter(|s| s.error.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_of_three_accuracies() {
        let spread = Spread::of(StrategyName::HEAD, &[0.5, 0.75, 1.0]).unwrap();
        assert_eq!((spread.count, spread.mean), (3, 0.75));
        assert!((spread.variance - 0.0625).abs() < 1e-12);
        assert!((spread.standard_deviation - 0.25).abs() < 1e-12);
        assert_eq!(
            Spread::of(StrategyName::HEAD, &[0.5]).unwrap().variance,
            0.0
        );
        assert_eq!(Spread::of(StrategyName::HEAD, &[]), None);
    }
}
