//! What repetitions with other seeds or folds come to together.

use crate::data::Fold;
use crate::run::{Repeat, RepeatResult, Results, RunDir, Spread};

/// Adds what repetition `number` (from 1) came to. The first is the run itself.
pub(super) fn add(
    all: &mut Results,
    came_to: Results,
    (seed, fold): (u64, Option<Fold>),
    number: usize,
) {
    let strategies = came_to.strategies.iter().map(|s| RepeatResult {
        name: s.name,
        validation_accuracy: s.validation_accuracy,
        monitored: s.monitored,
        held_out_accuracy: s.held_out_accuracy,
    });
    let repeat = Repeat {
        seed,
        fold: fold.map(|fold| fold.number),
        folder: match number {
            1 => ".".to_owned(),
            _ => RunDir::repetition_name(number),
        },
        clock: came_to.clock,
        strategies: strategies.collect(),
    };
    let interrupted = came_to.interrupted;
    let clock = match number {
        1 => came_to.clock,
        _ => all.clock.zip(came_to.clock).map(|(all, own)| all + own),
    };
    if number == 1 {
        *all = came_to;
    }
    all.interrupted = interrupted;
    all.clock = clock;
    if !interrupted {
        all.repeats.push(repeat);
    }
    all.spread = spread(&all.repeats);
}

/// Mean and spread of each strategy, in the order of the first repetition. Where some repetitions have a
/// held-out accuracy, these alone count: a validation accuracy says something else.
fn spread(repeats: &[Repeat]) -> Vec<Spread> {
    let Some(first) = repeats.first() else {
        return Vec::new();
    };
    let accuracies = |name| -> Vec<f64> {
        let results = repeats.iter().flat_map(|r| &r.strategies);
        let of_strategy: Vec<_> = results.filter(|s| s.name == name).collect();
        let each = |accuracy: fn(&RepeatResult) -> Option<f64>| -> Vec<f64> {
            of_strategy.iter().filter_map(|s| accuracy(s)).collect()
        };
        match each(|s| s.held_out_accuracy) {
            held_out if held_out.is_empty() => each(|s| s.validation_accuracy),
            held_out => held_out,
        }
    };
    let strategies = first.strategies.iter().map(|s| s.name);
    strategies
        .filter_map(|name| Spread::of(name, &accuracies(name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::StrategyResult;
    use crate::strategy::StrategyName;

    fn came_to(held_out: Option<f64>, interrupted: bool) -> Results {
        let strategy = serde_json::json!({
            "name": StrategyName::HEAD, "candidate": null, "layers": [], "trial": null,
            "validation_accuracy": 0.25, "held_out_accuracy": held_out, "held_out": null,
            "trained_parameters": null, "seconds": 0.0, "model": null, "sha256": null
        });
        Results {
            strategies: vec![serde_json::from_value::<StrategyResult>(strategy).unwrap()],
            interrupted,
            ..Results::default()
        }
    }

    #[test]
    fn held_out_and_validation_accuracies_are_not_mixed() {
        let mut all = Results::default();
        for (number, held_out) in [Some(0.5), None, Some(1.0)].into_iter().enumerate() {
            add(&mut all, came_to(held_out, false), (0, None), number + 1);
        }
        assert_eq!((all.spread[0].count, all.spread[0].mean), (2, 0.75));
        let mut all = Results::default();
        add(&mut all, came_to(None, false), (0, None), 1);
        assert_eq!((all.spread[0].count, all.spread[0].mean), (1, 0.25));
    }

    #[test]
    fn a_repetition_that_was_interrupted_is_not_listed() {
        let mut all = Results::default();
        add(&mut all, came_to(Some(0.5), false), (0, None), 1);
        add(&mut all, came_to(Some(1.0), true), (1, None), 2);
        assert!(all.interrupted);
        assert_eq!((all.repeats.len(), all.spread[0].mean), (1, 0.5));
    }
}
