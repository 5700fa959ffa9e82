//! Choosers on made-up records: what is asked for, in which order, to which end.

use std::collections::HashMap;

use super::*;
use crate::analysis::nets;
use crate::analysis::{Analysis, AnalyzeOptions};
use crate::classifier::Score;
use crate::run::Allowance;
use crate::surgery::rewrite::LowRank;
use crate::surgery::{HeadKind, Rewrite};
use crate::training::HeadInit;

/// A run whose trials come to made-up figures.
struct Made {
    analysis: Analysis,
    settings: Settings,
    /// Of `auto`.
    allowance: Option<Allowance>,
    asked: Vec<TrialRequest>,
    records: HashMap<String, TrialRecord>,
    /// Of trials of the search, where they leave it.
    rankings: HashMap<String, Ranking>,
    /// The accuracy of the trial of a candidate's layers after so many epochs; it diverges below 0.
    accuracy: fn(&[String], usize) -> f64,
}

impl Made {
    fn new(search: SearchMethod, accuracy: fn(&[String], usize) -> f64) -> Self {
        let options = AnalyzeOptions::default();
        Made {
            analysis: Analysis::of_graph(&nets::vgg(), &[], &options).unwrap(),
            settings: Settings::default()
                .head_init(HeadInit::Random)
                .search(Some(search))
                .epochs(20)
                .search_epochs(9),
            allowance: None,
            asked: Vec::new(),
            records: HashMap::new(),
            rankings: HashMap::new(),
            accuracy,
        }
    }

    /// What is asked for next, by a run of these strategies.
    fn next(&self, strategies: &[StrategyName]) -> (Vec<TrialRequest>, Vec<Verdict>) {
        self.with(strategies, |scene| {
            let next = chooser(self.settings.method()).next(scene).unwrap();
            (next, scene.verdicts())
        })
    }

    fn with<T>(&self, strategies: &[StrategyName], ask: impl FnOnce(&Scene<'_>) -> T) -> T {
        let network = Network {
            analysis: &self.analysis,
            head: vec!["head".to_owned()],
            seed: 0,
            selection: &[],
            promising: vec![0, 2, 1],
            updatable: Vec::new(),
            gateable: Vec::new(),
            lora_alpha: None,
            adafilter: Default::default(),
            blocks: Vec::new(),
            spottune: Default::default(),
        };
        let strategies = strategies.iter().map(|&strategy| StrategyPlan {
            strategy,
            candidates: strategy.candidates(&network).unwrap(),
            skipped: Vec::new(),
            allowance: (strategy == StrategyName::AUTO)
                .then(|| self.allowance.clone())
                .flatten(),
        });
        let plan = Plan {
            strategies: strategies.collect(),
            method: self.settings.method(),
        };
        let record = |id: &str| self.records.get(id).cloned();
        let scene = Scene {
            plan: &plan,
            network: &network,
            settings: &self.settings,
            asked: &self.asked,
            record: &record,
            ranking: &|id: &str| self.rankings.get(id).cloned(),
        };
        ask(&scene)
    }

    fn carry_out(&mut self, requests: Vec<TrialRequest>) {
        for request in &requests {
            let accuracy = (self.accuracy)(&request.candidate.layers, request.epochs);
            let record = TrialRecord {
                id: request.id.clone(),
                strategy: request.strategy,
                phase: request.phase,
                candidate: request.candidate.label.clone(),
                layers: request.candidate.layers.clone(),
                trained_parameters: Some(1),
                added_parameters: 0,
                flops: None,
                validation: Some(Score {
                    accuracy,
                    balanced_accuracy: accuracy,
                    macro_f1: accuracy,
                    micro_f1: None,
                    average_precision: None,
                    loss: 1.0,
                    calibrated_loss: 1.0,
                    count: 100,
                }),
                ranking: None,
                best_epoch: request.epochs,
                epochs: request.epochs,
                rate: Some(0.25),
                tried_rates: vec![],
                abandoned_epochs: 0,
                seconds: 1.0,
                clock: None,
                still_improving: false,
                same_as: None,
                error: (accuracy < 0.0).then(|| "diverged".to_owned()),
                failure: None,
                rung: request.rung,
            };
            self.records.insert(request.id.clone(), record);
        }
        self.asked.extend(requests);
    }

    /// Carries out whatever is asked for: of each round, as often as it is asked for, its number, the phase, the
    /// epochs and how many.
    fn run_to_the_end(&mut self, strategies: &[StrategyName]) -> Vec<(usize, Phase, usize, usize)> {
        let mut told = Vec::new();
        loop {
            let next = self.next(strategies).0;
            if next.is_empty() {
                return told;
            }
            for round in next.chunk_by(|a, b| a.round == b.round) {
                let first = &round[0];
                told.push((first.round, first.phase, first.epochs, round.len()));
            }
            self.carry_out(next);
        }
    }

    fn chosen(&self, strategies: &[StrategyName]) -> Vec<String> {
        let label = |verdict| match verdict {
            Verdict::Chosen(choice) => choice.candidate.id,
            Verdict::Diverged { .. } => "diverged".to_owned(),
            Verdict::Open => "open".to_owned(),
        };
        self.next(strategies).1.into_iter().map(label).collect()
    }
}

/// Fewer layers are better.
fn few(layers: &[String], _: usize) -> f64 {
    1.0 / (1.0 + layers.len() as f64)
}

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

/// What `auto` may do: so many candidates, on so many rungs, with so many joined.
fn allowance(begun: usize, rungs: &[usize], joins: usize) -> Option<Allowance> {
    Some(Allowance {
        begun,
        rungs: rungs.to_vec(),
        joins,
        cost: None,
    })
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
