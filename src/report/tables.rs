//! Tables for the terminal.

use comfy_table::Table;

use crate::search::Results;
use crate::training::Predictions;

use super::text::{align_right, none, percent, seconds, table, thousands};

/// One line per strategy, and what went wrong. `fit`: whether to fit the width of the terminal.
pub fn results(results: &Results, fit: bool) -> String {
    let mut table = fitted(fit);
    table.set_header([
        "strategy",
        "candidate",
        "validation",
        "held out",
        "trained",
        "time",
        "model",
    ]);
    for strategy in &results.strategies {
        table.add_row([
            strategy.name.to_string(),
            strategy.candidate.clone().unwrap_or_else(none),
            strategy.validation_accuracy.map_or_else(none, percent),
            strategy.held_out_accuracy.map_or_else(none, percent),
            strategy.trained_parameters.map_or_else(none, thousands),
            seconds(strategy.seconds),
            strategy
                .model
                .clone()
                .unwrap_or_else(|| "failed".to_owned()),
        ]);
    }
    align_right(&mut table, 2..6);
    let mut text = table.to_string();
    for strategy in results.failed() {
        let reason = strategy.error.as_deref().unwrap_or_default();
        text.push_str(&format!("\n{} failed: {reason}", strategy.name));
    }
    text
}

/// Accuracy, the figures of each class, and the confusion matrix. `names`: the classes, in the
/// order of the labels.
pub fn evaluation(predictions: &Predictions, names: &[String], fit: bool) -> String {
    let score = predictions.score();
    let mut classes = fitted(fit);
    classes.set_header(["class", "precision", "recall", "F1", "samples"]);
    let scores = predictions.class_scores();
    for (name, s) in names.iter().zip(&scores) {
        classes.add_row([
            name.clone(),
            format!("{:.4}", s.precision),
            format!("{:.4}", s.recall),
            format!("{:.4}", s.f1),
            s.support.to_string(),
        ]);
    }
    align_right(&mut classes, 1..5);
    let mut confusion = fitted(fit);
    let mut header = vec!["true \\ predicted".to_owned()];
    header.extend(names.iter().cloned());
    confusion.set_header(header);
    for (name, row) in names.iter().zip(predictions.confusion()) {
        let mut cells = vec![name.clone()];
        cells.extend(row.iter().map(usize::to_string));
        confusion.add_row(cells);
    }
    align_right(&mut confusion, 1..names.len() + 1);
    format!(
        "accuracy {} on {} samples, cross-entropy {:.4}\n\n{classes}\n\n{confusion}",
        percent(score.accuracy),
        score.count,
        score.loss
    )
}

/// A table of the terminal's width, where asked for.
pub(super) fn fitted(fit: bool) -> Table {
    // Squeezed into less, a table says nothing any more.
    let width = Table::new().width().filter(|&columns| fit && columns >= 40);
    table(width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::StrategyResult;
    use crate::strategy::Strategy;

    #[test]
    fn every_strategy_has_its_line_failed_ones_their_reason() {
        let good = StrategyResult {
            name: Strategy::Blocks,
            candidate: Some("block5".into()),
            layers: vec![],
            trial: None,
            validation_accuracy: Some(0.875),
            held_out_accuracy: None,
            held_out: None,
            trained_parameters: Some(1234567),
            seconds: 61.2,
            model: Some("winners/blocks.onnx".into()),
            sha256: None,
            error: None,
        };
        let bad = StrategyResult {
            name: Strategy::Full,
            candidate: None,
            validation_accuracy: None,
            trained_parameters: None,
            seconds: 2.0,
            model: None,
            error: Some("training has diverged".into()),
            ..good.clone()
        };
        let text = results(
            &Results {
                strategies: vec![good, bad],
                ..Results::default()
            },
            false,
        );
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
    }
}
