//! Tables for the terminal.

use crate::classifier::Predictions;
use crate::run::{RepeatResult, Results, Spread, StrategyResult};

use super::certainty::certainties;
use super::confusions::{commonest, rows};
use super::plain_message;
use super::text::{TextTable, none, percent, seconds, thousands};

/// One line per strategy, and what went wrong. Of several repetitions, model and candidate are those of
/// the first, and the accuracies the means and standard deviations of all; see [`Spread`]. `fit`: whether
/// to fit the width of the terminal.
pub fn results(results: &Results, fit: bool) -> String {
    let mut table = TextTable::fitted(fit);
    let over = match results.repeats.len() {
        0 | 1 => String::new(),
        seeds => format!(", {seeds} seeds"),
    };
    table.header([
        "strategy".to_owned(),
        "candidate".to_owned(),
        format!("validation{over}"),
        format!("held out{over}"),
        "trained".to_owned(),
        "trials' time".to_owned(),
        "model".to_owned(),
    ]);
    for strategy in &results.strategies {
        let figure = |of_one: Option<f64>, of: fn(&RepeatResult) -> Option<f64>| {
            let all = results.repeats.iter().flat_map(|r| &r.strategies);
            let named = all.filter(|s| s.name == strategy.name);
            let figures: Vec<f64> = named.filter_map(of).collect();
            match Spread::of(strategy.name, &figures) {
                Some(spread) if spread.count > 1 => mean(&spread),
                _ => of_one.map_or_else(none, percent),
            }
        };
        table.row([
            strategy.name.to_string(),
            winner(strategy).unwrap_or_else(none),
            figure(strategy.validation_accuracy, |s| s.validation_accuracy),
            figure(strategy.held_out_accuracy, |s| s.held_out_accuracy),
            strategy.trained_parameters.map_or_else(none, thousands),
            seconds(strategy.seconds),
            strategy
                .model
                .clone()
                .unwrap_or_else(|| "failed".to_owned()),
        ]);
    }
    table.align_right(2..6);
    let mut text = table.to_string();
    for strategy in results.failed() {
        let reason = strategy.error.as_deref().unwrap_or_default();
        let reason = plain_message(reason);
        text.push_str(&format!("\n{} failed: {reason}", strategy.name));
    }
    let notes = results.strategies.iter().filter_map(diverged);
    for note in notes.chain(certainties(&results.strategies)) {
        text.push_str(&format!("\n{note}"));
    }
    text
}

/// What won, and that nothing of it was left to train.
pub(super) fn winner(strategy: &StrategyResult) -> Option<String> {
    let candidate = strategy.candidate.as_ref()?;
    Some(match strategy.epochs {
        Some(0) => format!("{candidate}, solved"),
        _ => candidate.clone(),
    })
}

/// That some candidates of a strategy diverged and are not in its ranking.
pub(super) fn diverged(strategy: &StrategyResult) -> Option<String> {
    let searched = strategy.searched.filter(|s| s.diverged > 0)?;
    Some(format!(
        "{} of {} candidates of {} diverged and are not ranked",
        searched.diverged, searched.candidates, strategy.name
    ))
}

/// Mean and standard deviation: `87.05 % ± 1.20`.
fn mean(spread: &Spread) -> String {
    format!(
        "{} ± {:.2}",
        percent(spread.mean),
        100.0 * spread.standard_deviation
    )
}

/// Up to so many classes, a confusion matrix is printed in full.
const FEW: usize = 20;
/// Classes beyond which those that are told apart worst have a line, and no others.
const MANY: usize = 200;
/// Confusions, and classes, that are listed of more.
const LISTED: usize = 15;

/// The figures of all samples and of each class, and the confusion matrix (of many classes, those of the
/// lowest F1, and the commonest confusions). `names`: the classes, in the order of the labels.
pub fn evaluation(predictions: &Predictions, names: &[String], fit: bool) -> String {
    let score = predictions.score();
    let mut classes = TextTable::fitted(fit);
    let scores = predictions.class_scores();
    let mut shown: Vec<usize> = (0..names.len().min(scores.len())).collect();
    let mut first = "class".to_owned();
    if shown.len() > MANY {
        shown.retain(|&class| scores[class].support > 0);
        shown.sort_by(|&a, &b| scores[a].f1.total_cmp(&scores[b].f1));
        shown.truncate(LISTED);
        first = format!("the lowest F1 of {} classes", thousands(names.len()));
    }
    classes.header([&*first, "precision", "recall", "F1", "samples"]);
    for class in shown {
        let s = scores[class];
        classes.row([
            names[class].clone(),
            format!("{:.4}", s.precision),
            format!("{:.4}", s.recall),
            format!("{:.4}", s.f1),
            s.support.to_string(),
        ]);
    }
    classes.align_right(1..5);
    format!(
        "accuracy {} on {} samples, cross-entropy {:.4}\nbalanced accuracy {}, macro F1 {:.4}\n\n\
         {classes}\n\n{}",
        percent(score.accuracy),
        score.count,
        score.loss,
        percent(score.balanced_accuracy),
        score.macro_f1,
        confusion(&predictions.confusion(), names, fit)
    )
}

fn confusion(counts: &[[usize; 3]], names: &[String], fit: bool) -> String {
    let mut table = TextTable::fitted(fit);
    if names.len() <= FEW {
        let mut header = vec!["true \\ predicted".to_owned()];
        header.extend(names.iter().cloned());
        table.header(header);
        for (name, row) in names.iter().zip(rows(counts, names.len())) {
            let mut cells = vec![name.clone()];
            cells.extend(row.iter().map(usize::to_string));
            table.row(cells);
        }
        table.align_right(1..names.len() + 1);
        return table.to_string();
    }
    let common = commonest(counts, LISTED);
    if common.is_empty() {
        return "no sample is taken for another class".to_owned();
    }
    table.header(["the commonest confusions", "taken for", "samples", "of"]);
    let name = |class: usize| names.get(class).cloned().unwrap_or_else(none);
    for c in common {
        let numbers = [c.samples, c.of].map(thousands);
        table.row(
            [name(c.label), name(c.predicted)]
                .into_iter()
                .chain(numbers),
        );
    }
    table.align_right(2..4);
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::Prediction;
    use crate::run::{Repeat, Searched, StrategyResult};
    use crate::strategy::StrategyName;

    #[test]
    fn of_thousands_of_classes_the_worst_are_shown_and_no_matrix() {
        let classes = 10_000;
        let names: Vec<String> = (0..classes).map(|i| format!("class{i}")).collect();
        let of = |label: usize, predicted: usize| Prediction {
            label: label as i64,
            predicted,
            is_decided: true,
            log_probability: -1.0,
            probability: 0.5,
        };
        let mut samples: Vec<Prediction> = (0..classes - 1).map(|i| of(i, i)).collect();
        samples[4321].predicted = 7;
        let text = evaluation(&Predictions { samples, classes }, &names, false);
        assert!(text.lines().count() < 30, "{text}");
        let first = text.lines().find(|line| line.contains("class4321"));
        assert!(first.is_some_and(|l| l.contains("0.0000")), "{text}");
        // Nothing is known of a class without samples.
        assert!(!text.contains("class9999"), "{text}");
        assert!(text.contains("the lowest F1 of 10,000 classes"), "{text}");
        let pair = text.lines().last().unwrap_or_default();
        assert!(
            pair.contains("class4321") && pair.contains("class7"),
            "{text}"
        );
    }

    #[test]
    fn every_strategy_has_its_line_failed_ones_their_reason() {
        let good = StrategyResult {
            name: StrategyName::BLOCKS,
            candidate: Some("block5".into()),
            layers: vec![],
            trial: None,
            validation_accuracy: Some(0.875),
            monitored: Some(0.875),
            held_out_accuracy: None,
            held_out: None,
            trained_parameters: Some(1234567),
            certainty: None,
            epochs: Some(3),
            seconds: 61.2,
            model: Some("winners/blocks.onnx".into()),
            sha256: None,
            external: None,
            error: None,
            failure: None,
            searched: Some(Searched {
                candidates: 5,
                diverged: 2,
            }),
        };
        let solved = StrategyResult {
            name: StrategyName::HEAD,
            candidate: Some("head".into()),
            epochs: Some(0),
            searched: None,
            ..good.clone()
        };
        let bad = StrategyResult {
            name: StrategyName::FULL,
            candidate: None,
            validation_accuracy: None,
            trained_parameters: None,
            certainty: None,
            seconds: 2.0,
            model: None,
            searched: None,
            error: Some("training has diverged".into()),
            ..good.clone()
        };
        let text = results(
            &Results {
                strategies: vec![good, bad, solved],
                ..Results::default()
            },
            false,
        );
        assert!(text.contains("head, solved"), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        for part in ["blocks", "block5", "87.50 %", "–", "1,234,567", "1:01 min"] {
            assert!(
                lines
                    .iter()
                    .any(|l| l.contains("winners/") && l.contains(part)),
                "{text}"
            );
        }
        assert!(
            text.contains("full failed: training has diverged"),
            "{text}"
        );
        assert!(
            text.contains("2 of 5 candidates of blocks diverged"),
            "{text}"
        );
    }

    #[test]
    fn of_repetitions_the_table_has_mean_and_deviation() {
        let result = |name, held_out_accuracy| RepeatResult {
            name,
            validation_accuracy: Some(0.5),
            monitored: Some(0.5),
            held_out_accuracy,
        };
        let repeat = |seed: u64, held_out| Repeat {
            seed,
            folder: seed.to_string(),
            strategies: vec![
                result(StrategyName::HEAD, Some(held_out)),
                result(StrategyName::FULL, (seed == 1).then_some(0.25)),
            ],
        };
        let strategy = |name, held_out_accuracy| StrategyResult {
            name,
            candidate: None,
            layers: vec![],
            trial: None,
            validation_accuracy: Some(0.5),
            monitored: Some(0.5),
            held_out_accuracy,
            held_out: None,
            trained_parameters: None,
            certainty: None,
            epochs: None,
            seconds: 1.0,
            model: None,
            sha256: None,
            external: None,
            error: None,
            failure: None,
            searched: None,
        };
        let text = results(
            &Results {
                strategies: vec![
                    strategy(StrategyName::HEAD, Some(0.5)),
                    strategy(StrategyName::FULL, Some(0.25)),
                ],
                repeats: vec![repeat(1, 0.5), repeat(2, 0.75), repeat(3, 1.0)],
                ..Results::default()
            },
            false,
        );
        for part in [
            "held out, 3 seeds",
            "75.00 % ± 25.00",
            "50.00 % ± 0.00",
            "25.00 %",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // Of one figure there is no deviation.
        assert!(!text.contains("25.00 % ±"), "{text}");
    }
}
