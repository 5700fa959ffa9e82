//! What repetitions with other seeds come to together.

use super::results::{Repeat, RepeatResult, Results, Spread};
use super::rundir::RunDir;

/// Adds what repetition `number` (from 1) came to. The first is the run itself.
pub(super) fn add(all: &mut Results, came_to: Results, seed: u64, number: usize) {
    let strategies = came_to.strategies.iter().map(|s| RepeatResult {
        name: s.name,
        validation_accuracy: s.validation_accuracy,
        monitored: s.monitored,
        held_out_accuracy: s.held_out_accuracy,
    });
    let repeat = Repeat {
        seed,
        folder: match number {
            1 => ".".to_owned(),
            _ => RunDir::repetition_name(number),
        },
        strategies: strategies.collect(),
    };
    let interrupted = came_to.interrupted;
    if number == 1 {
        *all = came_to;
    }
    all.interrupted = interrupted;
    all.repeats.push(repeat);
    all.spread = spread(&all.repeats);
}

/// Mean and spread of each strategy, in the order of the first repetition.
fn spread(repeats: &[Repeat]) -> Vec<Spread> {
    let Some(first) = repeats.first() else {
        return Vec::new();
    };
    let accuracies = |name| -> Vec<f64> {
        let results = repeats.iter().flat_map(|r| &r.strategies);
        let of_strategy = results.filter(|s| s.name == name);
        of_strategy
            .filter_map(|s| s.held_out_accuracy.or(s.validation_accuracy))
            .collect()
    };
    let strategies = first.strategies.iter().map(|s| s.name);
    strategies
        .filter_map(|name| Spread::of(name, &accuracies(name)))
        .collect()
}
