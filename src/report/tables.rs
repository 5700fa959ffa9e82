//! Tables for the terminal.

use std::fmt::Write as _;

use crate::run::{Gated, Gates, RepeatResult, Results, SearchCost, Spread, StrategyResult};

use super::certainty::certainties;
use super::plain_message;
use super::text::{TextTable, none, percent, seconds, thousands};

/// Layers that a note names.
const NAMED: usize = 6;

/// One line per strategy, and what went wrong. Of several repetitions, model and candidate are those of
/// the first, and the accuracies the means and standard deviations of all; see [`Spread`]. `fit`: whether
/// to fit the width of the terminal.
pub fn results(results: &Results, fit: bool) -> String {
    let mut table = TextTable::fitted(fit);
    let over = match results.repeats.len() {
        0 | 1 => String::new(),
        count => format!(", {count} {}", results.repeated_over()),
    };
    let held_out_precision = |s: &StrategyResult| s.held_out.as_ref()?.score.average_precision;
    let several = results.task().is_multi_label();
    let what = if several { ", exact match" } else { "" };
    let mut header = vec![
        "strategy".to_owned(),
        "candidate".to_owned(),
        format!("validation{what}{over}"),
        format!("held out{what}{over}"),
    ];
    if several {
        header.push("validation AP".to_owned());
        header.push("held-out AP".to_owned());
    }
    header.extend(["trained", "trials' time", "ready after", "model"].map(str::to_owned));
    let columns = header.len();
    table.header(header);
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
        let mut row = vec![
            strategy.name.to_string(),
            winner(strategy).unwrap_or_else(none),
            figure(strategy.validation_accuracy, |s| s.validation_accuracy),
            figure(strategy.held_out_accuracy, |s| s.held_out_accuracy),
        ];
        if several {
            let precisions = [
                strategy.validation_average_precision,
                held_out_precision(strategy),
            ];
            row.extend(precisions.map(|p| p.map_or_else(none, |p| format!("{p:.4}"))));
        }
        row.extend([
            strategy.trained_parameters.map_or_else(none, thousands),
            seconds(strategy.seconds),
            strategy.clock.map_or_else(none, seconds),
            strategy
                .model
                .clone()
                .unwrap_or_else(|| "failed".to_owned()),
        ]);
        table.row(row);
    }
    table.align_right(2..columns - 1);
    let mut text = table.to_string();
    for strategy in results.failed() {
        let reason = strategy.error.as_deref().unwrap_or_default();
        let reason = plain_message(reason);
        text.push_str(&format!("\n{} failed: {reason}", strategy.name));
    }
    let notes = results.strategies.iter().filter_map(diverged);
    let notes = notes.chain(results.strategies.iter().filter_map(improving));
    let costs = results.strategies.iter().filter_map(|strategy| {
        let cost = cost(strategy.search_cost.as_ref()?)?;
        Some(format!("{}: its search took {cost}", strategy.name))
    });
    let gates = results.strategies.iter().filter_map(gates);
    let updates = results.strategies.iter();
    let updates = updates.filter_map(|strategy| updated(strategy, NAMED));
    let notes = notes
        .chain(costs)
        .chain(updates)
        .chain(gates)
        .chain(certainties(results));
    // What is not of all repetitions is of the first.
    let seed = match results.repeats.as_slice() {
        [first, _, ..] => format!("{}: ", first.label()),
        _ => String::new(),
    };
    let notes = notes.map(|note| format!("{seed}{note}"));
    for note in notes.chain(rates(results)).chain(clock(results)) {
        text.push_str(&format!("\n{note}"));
    }
    text
}

/// That a strategy's winner might be better after more epochs.
pub(super) fn improving(strategy: &StrategyResult) -> Option<String> {
    let epochs = strategy.epochs.filter(|_| strategy.still_improving)?;
    Some(format!(
        "{} was still improving at its last epoch, number {epochs}: more --epochs may make it better",
        strategy.name
    ))
}

/// The layers of which a winner has updates, `most` of them by name: `lora4 trained updates of 2 layers, conv1 and fc; in
/// its model they are added to the weights of these, which has nothing more than the original`.
pub(super) fn updated(strategy: &StrategyResult, most: usize) -> Option<String> {
    let layers = &strategy.layers;
    if !strategy.name.rule().updates_weights() || layers.is_empty() {
        return None;
    }
    let named = layers.iter().take(most).map(String::as_str);
    let mut named: Vec<String> = named.map(str::to_owned).collect();
    if layers.len() > most {
        named.push(format!("{} more", layers.len() - most));
    }
    let named = match named.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => named.concat(),
    };
    Some(format!(
        "{} trained updates beside the frozen weights of {} layer{}: {named}; its model has them added to these weights, \
         and no parameter more than one without",
        strategy.name,
        layers.len(),
        if layers.len() == 1 { "" } else { "s" },
    ))
}

/// How much a winner takes of what is tuned: `adafilter takes 41.20 % of its tuned filters, by layer 12.00 % to 80.00 %`.
pub(super) fn gates(strategy: &StrategyResult) -> Option<String> {
    let gates = strategy.gates.as_ref()?;
    let of = |better: fn(f64, f64) -> f64| gates.layers.iter().map(|l| l.mean).reduce(better);
    let (all, each) = match gates.of {
        Gated::Filters => ("filters", "layer"),
        Gated::Blocks => ("blocks", "block"),
    };
    let mut told = format!(
        "{} takes {} of its tuned {all}, by {each} {} to {}",
        strategy.name,
        percent(gates.share()),
        percent(of(f64::min)?),
        percent(of(f64::max)?)
    );
    if let Some(left) = gates.left {
        let _ = write!(told, "; {}", kept(gates, left));
    }
    Some(told)
}

/// How many gates are in the model that leaves: `in the model 12 of 640 filters depend on the sample`.
pub(super) fn kept(gates: &Gates, left: usize) -> String {
    let filters: usize = gates.layers.iter().map(|l| l.gates).sum();
    format!("in the model {left} of {filters} filters depend on the sample")
}

/// How long the run took, and what the times are times of.
pub(super) fn clock(results: &Results) -> Option<String> {
    let took = seconds(results.clock?);
    Some(format!(
        "`ready after` is by the clock on the wall, by which the run took {took}; `trials' time` is added up over \
         a strategy's trials, which run side by side and may serve other strategies, too"
    ))
}

/// The learning rates that were found: `learning rates found: full 1e-4, blocks 3e-4`.
fn rates(results: &Results) -> Option<String> {
    let of = |s: &StrategyResult| Some(format!("{} {:e}", s.name, s.rate?));
    let all: Vec<String> = results.strategies.iter().filter_map(of).collect();
    (!all.is_empty()).then(|| format!("learning rates found: {}", all.join(", ")))
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

/// What a search cost: `4.61 % of the operations of trying every layer, block and window, and all (the budget was
/// 5.00 %)`; `None` where nothing tells what that would be.
pub(super) fn cost(cost: &SearchCost) -> Option<String> {
    let share = |operations: u64| percent(operations as f64 / cost.exhaustive as f64);
    if cost.exhaustive == 0 {
        return None;
    }
    let minutes = cost.per_second.filter(|&rate| rate > 0.0);
    let minutes = minutes.map(|rate| {
        let time = seconds(cost.operations as f64 / rate);
        format!(", {time} by the steps that were timed")
    });
    let budget = cost
        .budget
        .map(|budget| format!(" (the budget was {})", share(budget)));
    Some(format!(
        "{} of the operations of trying every layer, block and window, and all{}{}",
        share(cost.operations),
        budget.unwrap_or_default(),
        minutes.unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Repeat, Searched, StrategyResult};
    use crate::strategy::StrategyName;

    #[test]
    fn every_strategy_has_its_line_failed_ones_their_reason() {
        let good = StrategyResult {
            name: StrategyName::BLOCKS,
            candidate: Some("block5".into()),
            layers: vec![],
            trial: None,
            averaged: Vec::new(),
            validation_accuracy: Some(0.875),
            monitored: Some(0.875),
            held_out_accuracy: None,
            held_out: None,
            validation_average_precision: None,
            thresholds: None,
            trained_parameters: Some(1234567),
            certainty: None,
            search_cost: None,
            gates: None,
            epochs: Some(3),
            still_improving: true,
            rate: Some(3e-4),
            seconds: 61.2,
            clock: Some(130.0),
            model: Some("winners/blocks.onnx".into()),
            sha256: None,
            external: None,
            adapter: None,
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
            still_improving: false,
            rate: None,
            searched: None,
            ..good.clone()
        };
        let bad = StrategyResult {
            name: StrategyName::FULL,
            candidate: None,
            validation_accuracy: None,
            trained_parameters: None,
            still_improving: false,
            certainty: None,
            search_cost: None,
            gates: None,
            seconds: 2.0,
            model: None,
            searched: None,
            error: Some("training has diverged".into()),
            ..good.clone()
        };
        let text = results(
            &Results {
                strategies: vec![good, bad, solved],
                clock: Some(95.0),
                ..Results::default()
            },
            false,
        );
        assert!(text.contains("head, solved"), "{text}");
        assert!(text.contains("by which the run took 1:35 min"), "{text}");
        assert!(text.contains("learning rates found: blocks 3e-4"), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        for part in [
            "blocks",
            "block5",
            "87.50 %",
            "–",
            "1,234,567",
            "1:01 min",
            "2:10 min",
        ] {
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
            text.contains("\n2 of 5 candidates of blocks diverged"),
            "{text}"
        );
        let told = "\nblocks was still improving at its last epoch, number 3: more --epochs";
        assert!(text.contains(told), "{text}");
        assert_eq!(text.matches("still improving").count(), 1, "{text}");
    }

    #[test]
    fn the_layers_that_have_updates_are_told_and_of_many_the_first() {
        let of = |name: StrategyName, layers: &[&str]| -> StrategyResult {
            let text = serde_json::json!({
                "name": name, "candidate": "c", "layers": layers, "trial": null, "validation_accuracy": null,
                "monitored": null, "held_out_accuracy": null, "held_out": null, "trained_parameters": 1,
                "seconds": 0.0, "model": "m", "sha256": null
            });
            serde_json::from_value(text).unwrap()
        };
        let told = |name, layers: &[&str]| updated(&of(name, layers), 2).unwrap_or_default();
        for (layers, named) in [
            (&["a"][..], "of 1 layer: a;"),
            (&["a", "b"], "of 2 layers: a and b;"),
            (&["a", "b", "c", "d"], "of 4 layers: a, b and 2 more;"),
        ] {
            for name in [StrategyName::lora(4), StrategyName::lora_blocks(4)] {
                let text = told(name, layers);
                assert!(
                    text.starts_with(&name.to_string()) && text.contains(named),
                    "{text}"
                );
            }
        }
        assert_eq!(told(StrategyName::BLOCKS, &["a"]), "");
        let results = Results {
            strategies: vec![of(StrategyName::lora(2), &["a"])],
            ..Results::default()
        };
        assert!(super::results(&results, false).contains("lora2 trained updates"));
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
            fold: None,
            seed,
            folder: seed.to_string(),
            clock: None,
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
            averaged: Vec::new(),
            validation_accuracy: Some(0.5),
            monitored: Some(0.5),
            held_out_accuracy,
            held_out: None,
            validation_average_precision: None,
            thresholds: None,
            trained_parameters: None,
            certainty: None,
            search_cost: None,
            gates: None,
            epochs: None,
            still_improving: false,
            rate: None,
            seconds: 1.0,
            clock: None,
            model: None,
            sha256: None,
            external: None,
            adapter: None,
            error: None,
            failure: None,
            searched: None,
        };
        let improving = StrategyResult {
            epochs: Some(7),
            still_improving: true,
            ..strategy(StrategyName::FULL, Some(0.25))
        };
        let text = results(
            &Results {
                strategies: vec![strategy(StrategyName::HEAD, Some(0.5)), improving],
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
        assert!(
            text.contains("\nseed 1: full was still improving"),
            "{text}"
        );
        // Of one figure there is no deviation.
        assert!(!text.contains("25.00 % ±"), "{text}");
    }
}
