//! Of candidates that are trained whole.

use super::*;

#[test]
fn trained_whole_the_best_is_the_winner_and_what_another_strategy_trains_is_not_trained_again() {
    let mut made = Made::new(SearchMethod::Whole, few);
    made.allowance = allowance(2, &[20], 0);
    let last = StrategyName::last(1);
    let strategies = [StrategyName::HEAD, last, StrategyName::AUTO];
    // The head and the last block are there before the candidates are begun; nothing is trained behind them.
    let told = made.run_to_the_end(&strategies);
    let trained: Vec<usize> = told.iter().map(|(.., count)| *count).collect();
    assert!(
        told.iter()
            .all(|(_, phase, epochs, _)| (*phase, *epochs) == (Phase::Train, 20))
    );
    let ids: Vec<&str> = made.asked.iter().map(|r| r.id.as_str()).collect();
    assert_eq!(ids[..2], ["head-train", "last1-train"]);
    assert_eq!(trained.iter().sum::<usize>(), ids.len());
    let of_auto: Vec<&&str> = ids.iter().filter(|id| id.starts_with("auto-")).collect();
    let choices = made.with(&strategies, |scene| scene.choices());
    let auto = &choices[2];
    assert_eq!(auto.searched.unwrap().candidates, 2);
    // Each trial takes a second; that of the winner is not the search's.
    assert_eq!(auto.seconds, 1.0);
    assert!(of_auto.len() <= 2, "{ids:?}");
    let fewest = made.with(&strategies, |scene| {
        let candidates = scene.candidates(&scene.plan.strategies[2]);
        candidates.into_iter().min_by_key(|c| c.layers.len())
    });
    assert_eq!(auto.candidate.id, fewest.unwrap().id);
}
