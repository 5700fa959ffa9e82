//! Which trial finds the rate of which.

use super::*;

#[test]
fn where_rates_are_to_be_found_the_widest_trial_of_the_search_finds_that_of_the_others() {
    let strategies = [StrategyName::HEAD, StrategyName::BLOCKS, StrategyName::FULL];
    let found = |request: &TrialRequest| (request.candidate.id.clone(), request.rate);
    for method in [
        SearchMethod::Exhaustive,
        SearchMethod::Halving { rate: 2, first: 1 },
    ] {
        let mut run = Made::new(method, |_, _| 0.5);
        run.settings = run.settings.head_init(HeadInit::Solved);
        let (first, _) = run.next(&strategies);
        let ids: Vec<_> = first.iter().map(found).collect();
        let alone = |id: &str| (id.to_owned(), None);
        assert_eq!(
            ids,
            [alone("head"), alone("full"), alone("full")],
            "{method:?}"
        );
        let phases: Vec<Phase> = first.iter().map(|r| r.phase).collect();
        assert_eq!(phases, [Phase::Train, Phase::Train, Phase::Search]);
        let rounds: Vec<usize> = first.iter().map(|r| r.round).collect();
        assert_eq!(rounds, [1, 2, 3]);
        let round = 3;
        run.carry_out(first);
        let (others, _) = run.next(&strategies);
        assert!(others.len() > 2 && others.iter().all(|r| r.round == round));
        assert!(others.iter().all(|r| r.rate == Some(0.25)), "{others:?}");
        assert!(others.iter().all(|r| r.candidate.id != "full"));
        run.carry_out(others);
        // Later strategies have the same rate, in a round of their own, unless one of them trains more.
        let more = [&strategies[..], &[StrategyName::LAYERS]].concat();
        let (later, _) = run.next(&more);
        assert!(
            later
                .iter()
                .all(|r| r.rate == Some(0.25) && r.round > round)
        );
        assert!(!later.is_empty());
    }
}

#[test]
fn what_is_rewritten_finds_its_own_rate_and_so_do_all_where_the_widest_fails() {
    let mut run = Made::new(SearchMethod::Exhaustive, |layers, _| {
        if layers.len() > 2 { -1.0 } else { 0.5 }
    });
    run.settings = run.settings.head_init(HeadInit::Solved);
    let strategies = [StrategyName::BLOCKS, StrategyName::FULL];
    let (scout, _) = run.next(&strategies);
    let phases: Vec<Phase> = scout.iter().map(|r| r.phase).collect();
    assert_eq!(phases, [Phase::Train, Phase::Search]);
    run.carry_out(scout);
    run.records.get_mut("full-search").unwrap().rate = None;
    let (others, _) = run.next(&strategies);
    assert!(others.iter().all(|r| r.rate.is_none()));
    let candidate = Candidate {
        rewrite: Rewrite::LowRank(LowRank {
            weights: vec!["weight".to_owned()],
            rank: 1,
            alpha: 1,
            seed: 0,
        }),
        ..others[0].candidate.clone()
    };
    run.records.get_mut("full-search").unwrap().rate = Some(0.25);
    run.with(&strategies, |scene| {
        assert_eq!(scene.found_rate(&candidate, Phase::Search), None);
        let plain = &others[0].candidate;
        assert_eq!(scene.found_rate(plain, Phase::Search), Some(0.25));
    });
}
