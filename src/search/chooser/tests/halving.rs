//! Of successive halving.

use super::*;

#[test]
fn of_four_candidates_two_go_on_and_then_one() {
    // The last layer is the best at first, and the first in the end.
    let mut made = Made::new(
        SearchMethod::Halving { rate: 2, first: 1 },
        |layers, epochs| {
            let last = layers.iter().any(|l| l.contains('4'));
            if last { 0.5 } else { 0.1 * epochs as f64 }
        },
    );
    made.settings.search_epochs = 8.into();
    let told = made.run_to_the_end(&[StrategyName::LAYERS]);
    let search: Vec<_> = told.iter().filter(|t| t.1 == Phase::Search).collect();
    let sizes: Vec<_> = search.iter().map(|t| (t.0, t.2, t.3)).collect();
    // All rungs are of the round that was planned for all.
    assert_eq!(sizes, [(1, 1, 4), (1, 2, 2), (1, 4, 1), (1, 8, 1)]);
    let last = made.asked.iter().rfind(|r| r.rung > 0).unwrap();
    assert!(!last.goes_on && last.rung == 4);
    assert!(
        made.asked
            .iter()
            .filter(|r| (1..4).contains(&r.rung))
            .all(|r| r.goes_on)
    );
}

#[test]
fn as_many_go_on_as_the_winner_is_made_of() {
    let mut made = Made::new(SearchMethod::Halving { rate: 4, first: 1 }, few);
    made.settings.search_epochs = 4.into();
    let told = made.run_to_the_end(&[StrategyName::top(3)]);
    let sizes: Vec<_> = told.iter().map(|t| (t.1, t.2, t.3)).collect();
    assert_eq!(
        sizes,
        [
            (Phase::Search, 1, 4),
            (Phase::Search, 4, 3),
            (Phase::Search, 4, 1),
            (Phase::Train, 20, 1)
        ]
    );
}

/// The first and the last layer are worth something, and each costs more the more there are.
fn ends(layers: &[String], _: usize) -> f64 {
    let of = |name: &str| f64::from(layers.iter().any(|l| l == name));
    0.3 + 0.5 * of("conv1") + 0.4 * of("conv4") - 0.05 * (layers.len() as f64).powi(2)
}

/// Identity, rung, epochs and round of the trials of the search.
fn searches(requests: &[TrialRequest]) -> Vec<(&str, usize, usize, usize)> {
    let search = requests.iter().filter(|r| r.phase == Phase::Search);
    search
        .map(|r| (r.candidate.id.as_str(), r.rung, r.epochs, r.round))
        .collect()
}

#[test]
fn what_is_joined_of_the_best_begins_on_their_next_rung_and_may_win() {
    let mut made = Made::new(SearchMethod::Halving { rate: 2, first: 1 }, ends);
    made.settings.search_epochs = 4.into();
    // All, the last block, the first block and the last two; not the first and the last together.
    made.allowance = allowance(4, &[1, 2, 4], 2);
    made.run_to_the_end(&[StrategyName::AUTO]);
    assert_eq!(
        searches(&made.asked),
        [
            ("auto-all", 1, 1, 1),
            ("auto-last-1", 1, 1, 1),
            ("auto-block1", 1, 1, 1),
            ("auto-last-2", 1, 1, 1),
            ("auto-last-1", 2, 2, 1),
            ("auto-block1", 2, 2, 1),
            ("auto-joined-1", 2, 2, 2),
            ("auto-joined-1", 3, 4, 2),
            ("auto-last-1", 3, 4, 1),
        ]
    );
    assert_eq!(made.chosen(&[StrategyName::AUTO]), ["auto-joined-1"]);
    let winner = made.asked.last().unwrap();
    assert_eq!(winner.candidate.layers, ["conv1", "conv2", "conv4"]);
}

#[test]
fn no_more_is_begun_and_on_no_more_rungs_than_is_allowed() {
    let mut made = Made::new(SearchMethod::Halving { rate: 3, first: 1 }, ends);
    made.allowance = allowance(2, &[1, 3], 0);
    made.run_to_the_end(&[StrategyName::HEAD, StrategyName::AUTO]);
    let asked = searches(&made.asked);
    let auto: Vec<_> = asked.iter().filter(|a| a.0 != "head").collect();
    assert_eq!(auto.len(), 3, "{asked:?}");
    assert!(auto.iter().all(|a| a.1 <= 2 && a.2 <= 3), "{asked:?}");
    let chosen = made.chosen(&[StrategyName::HEAD, StrategyName::AUTO]);
    assert_eq!(chosen, ["head", "auto-last-1"]);
}

#[test]
fn a_candidate_of_two_strategies_is_ranked_by_each_under_its_own_name() {
    let mut made = Made::new(SearchMethod::Halving { rate: 3, first: 1 }, few);
    made.allowance = allowance(6, &[1, 3, 9], 0);
    let strategies = [StrategyName::BLOCKS, StrategyName::AUTO];
    made.run_to_the_end(&strategies);
    let tried = made.with(&strategies, |scene| {
        let plans = scene.plan.strategies.iter();
        let tried = plans.map(|plan| {
            let candidates = scene.candidates(plan).into_iter();
            candidates.map(|c| scene.tried(&c).unwrap()).collect()
        });
        tried.collect::<Vec<Vec<TrialRecord>>>()
    });
    for (trials, prefix) in tried.iter().zip(["blocks-", "auto-"]) {
        for trial in trials {
            assert!(trial.id.starts_with(prefix), "{trial:?}");
        }
    }
    let labels = |place: usize| -> Vec<String> {
        tried[place].iter().map(|t| t.candidate.clone()).collect()
    };
    assert!(labels(0).contains(&"block3".to_owned()));
    assert!(labels(1).contains(&"last block".to_owned()));
}

#[test]
fn a_strategy_added_to_a_halved_search_halves_what_is_new() {
    let mut made = Made::new(SearchMethod::Halving { rate: 3, first: 1 }, few);
    made.run_to_the_end(&[StrategyName::LAYERS]);
    let told = made.run_to_the_end(&[StrategyName::LAYERS, StrategyName::windows(2)]);
    let search: Vec<_> = told.iter().filter(|t| t.1 == Phase::Search).collect();
    assert!(
        search.len() > 1 && search.iter().all(|t| t.0 == search[0].0),
        "{told:?}"
    );
    assert!(search[0].3 > search[1].3, "{told:?}");
    assert_eq!(told.last().unwrap().1, Phase::Train);
}
