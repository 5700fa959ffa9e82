//! Of an exhaustive search.

use super::*;

#[test]
fn the_head_is_trained_before_an_exhaustive_search_and_more_strategies_are_rounds_of_their_own() {
    let mut made = Made::new(SearchMethod::Exhaustive, few);
    let strategies = [
        StrategyName::HEAD,
        StrategyName::LAYERS,
        StrategyName::top(2),
    ];
    // The head for good; it and four layers; the best two together; then the other two winners.
    assert_eq!(
        made.run_to_the_end(&strategies),
        [
            (1, Phase::Train, 20, 1),
            (2, Phase::Search, 9, 5),
            (3, Phase::Search, 9, 1),
            (4, Phase::Train, 20, 2)
        ]
    );
    let chosen = made.chosen(&strategies);
    assert_eq!((&*chosen[0], &*chosen[2]), ("head", "top2"));
    let more = [&strategies[..], &[StrategyName::FULL, StrategyName::BLOCKS]].concat();
    let before = made.asked.len();
    let told = made.run_to_the_end(&more);
    // What needs no search does not wait for one.
    assert_eq!((told[0].0, told[0].1, told[0].3), (5, Phase::Train, 1));
    assert_eq!((told[1].0, told[1].1), (6, Phase::Search));
    assert_eq!(made.chosen(&more)[..3], chosen);
    let new = &made.asked[before..];
    let known = |r: &TrialRequest| {
        let old = made.asked[..before].iter();
        let mut old = old.filter(|o| o.phase == r.phase);
        old.any(|o| o.candidate.trains_the_same(&r.candidate))
    };
    assert!(!new.iter().any(known), "nothing is trained twice");
}

#[test]
fn of_a_strategy_alone_nothing_is_searched() {
    let mut made = Made::new(SearchMethod::Exhaustive, few);
    let strategies = [StrategyName::HEAD, StrategyName::FULL];
    assert_eq!(
        made.run_to_the_end(&strategies),
        [(1, Phase::Train, 20, 1), (2, Phase::Train, 20, 1)]
    );
}

#[test]
fn where_the_head_is_solved_its_own_trials_have_no_epochs() {
    for search in [
        SearchMethod::Exhaustive,
        SearchMethod::Halving { rate: 3, first: 1 },
    ] {
        for (head, expected) in [
            (HeadKind::Linear, 0),
            (HeadKind::Paper, 0),
            (HeadKind::Keep, 20),
        ] {
            let mut made = Made::new(search, few);
            let settings = made.settings.clone().head(head);
            made.settings = settings.head_init(HeadInit::Solved);
            made.run_to_the_end(&[StrategyName::HEAD, StrategyName::LAYERS]);
            let (of_head, others): (Vec<_>, Vec<_>) = made
                .asked
                .iter()
                .partition(|r| r.strategy == StrategyName::HEAD);
            assert_eq!(of_head.first().unwrap().epochs, expected);
            assert!(expected > 0 || of_head.iter().all(|r| r.epochs == 0));
            assert!(others.iter().all(|r| r.epochs > 0));
        }
    }
}

#[test]
fn what_diverged_everywhere_trains_no_winner() {
    let mut made = Made::new(SearchMethod::Exhaustive, |layers, _| match layers.len() {
        1 => -1.0,
        n => n as f64,
    });
    let strategies = [StrategyName::LAYERS, StrategyName::windows(2)];
    made.run_to_the_end(&strategies);
    let chosen = made.chosen(&strategies);
    assert_eq!(chosen[0], "diverged");
    assert!(chosen[1].starts_with("windows"), "{chosen:?}");
    let trained = made.asked.iter().filter(|r| r.phase == Phase::Train);
    assert_eq!(trained.count(), 1);
}

#[test]
fn the_same_parameters_of_another_network_are_another_trial() {
    let rewritten = |id: &str, rank: Option<usize>| Candidate {
        id: id.to_owned(),
        label: id.to_owned(),
        layers: vec![],
        trainable: vec![id[..1].to_owned(), "head".to_owned()],
        rewrite: match rank {
            None => Rewrite::None,
            Some(rank) => Rewrite::LowRank(LowRank {
                weights: vec!["w".to_owned()],
                rank,
                alpha: 1,
                seed: 0,
            }),
        },
    };
    let wanted = [
        rewritten("a plain", None),
        rewritten("a one", Some(1)),
        rewritten("a two", Some(2)),
        rewritten("a again", Some(1)),
        rewritten("b plain", None),
    ];
    let wanted = wanted.map(|candidate| (StrategyName::LAYERS, candidate));
    let new = distinct(Vec::new(), wanted);
    let ids: Vec<&str> = new.iter().map(|(_, c)| c.id.as_str()).collect();
    assert_eq!(ids, ["a plain", "a one", "a two", "b plain"]);
}

#[test]
fn a_winner_that_two_strategies_share_stands_for_both() {
    let mut made = Made::new(SearchMethod::Exhaustive, few);
    let strategies = [StrategyName::LAYERS, StrategyName::top(1)];
    made.run_to_the_end(&strategies);
    let mut trained = made.asked.iter().filter(|r| r.phase == Phase::Train);
    let request = trained.next().unwrap();
    assert!(trained.next().is_none());
    let twins = made.with(&strategies, |scene| scene.twins(request));
    let ids: Vec<&str> = twins.iter().map(|(_, c)| c.id.as_str()).collect();
    assert_eq!(ids, ["top1"]);
}

#[test]
fn of_what_a_search_cannot_tell_from_the_best_auto_trains_the_largest_and_others_the_best() {
    let mut made = Made::new(SearchMethod::Exhaustive, few);
    let strategies = [StrategyName::BLOCKS, StrategyName::AUTO];
    made.run_to_the_end(&strategies);
    let best = made.chosen(&strategies);
    for record in made.records.values_mut() {
        record.trained_parameters = Some(record.layers.len());
    }
    let largest = made.records.values().map(|r| r.layers.len()).max().unwrap();
    // Whether a candidate is right on a sample has nothing to do with what it is, or all but the best are wrong.
    for (by_chance, is_largest) in [(true, true), (false, false)] {
        for (place, (id, record)) in made.records.iter().enumerate() {
            let is_best = few(&record.layers, 1) >= 0.5;
            let right = |i: usize| match by_chance {
                true => !(i * 7 + place * 3).is_multiple_of(5),
                false => is_best || i.is_multiple_of(2),
            };
            let right: Vec<bool> = (0..100).map(right).collect();
            let losses: Vec<Option<f64>> = right
                .iter()
                .map(|&right| Some(if right { 0.1 } else { 2.0 }))
                .collect();
            let ranking = Ranking {
                labels: (0..100).map(|i| i % 2).collect(),
                calibrated: losses.clone(),
                losses,
                right,
            };
            made.rankings.insert(id.clone(), ranking);
        }
        let choices = made.with(&strategies, |scene| scene.choices());
        assert_eq!(choices[0].candidate.id, best[0]);
        assert!(choices[0].taken.is_none());
        assert_eq!(choices[1].taken.is_some(), is_largest);
        assert_eq!(choices[1].candidate.layers.len() == largest, is_largest);
        assert_eq!(choices[1].candidate.id == best[1], !is_largest);
        // The ranking is what it was.
        assert_eq!(choices[1].ranked[0].id, format!("{}-search", best[1]));
    }
}
