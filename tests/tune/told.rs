//! What a watcher hears of a run: all that takes long, and how much each trial takes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use ftsurgery::choice::Choice;
use ftsurgery::data::Preprocess;
use ftsurgery::run::{Phase, Settings, TrialRecord};
use ftsurgery::runtime::testing::runtime;
use ftsurgery::search::{self, Doing, Job, RoundStart, TrialStart, Watcher, Work};
use ftsurgery::strategy::StrategyName;
use ftsurgery::surgery::HeadKind;
use ftsurgery::training::HeadInit;

use crate::scene::Scene;

#[derive(Default)]
struct Heard {
    /// Of what how many there are.
    doing: Mutex<HashMap<(String, Doing), usize>>,
    rounds: Mutex<Vec<RoundStart>>,
    /// What each trial takes, by round.
    work: Mutex<BTreeMap<(usize, String), f64>>,
    ended: Mutex<usize>,
}

impl Watcher for Heard {
    fn doing(&self, of: &str, what: Doing, done: usize, total: usize) {
        assert!(done <= total, "{of} {what}: {done} of {total}");
        self.doing
            .lock()
            .unwrap()
            .insert((of.to_owned(), what), total);
    }
    fn round(&self, start: &RoundStart) {
        assert_eq!(start.ended, *self.ended.lock().unwrap());
        self.rounds.lock().unwrap().push(start.clone());
    }
    fn trial(&self, start: &TrialStart<'_>) {
        assert!((0.0..=1.0).contains(&start.frozen), "{start:?}");
        let round = self.rounds.lock().unwrap().len();
        let key = (round, start.id.to_owned());
        self.work.lock().unwrap().insert(key, start.work);
    }
    fn trial_end(&self, _: &TrialRecord) {
        *self.ended.lock().unwrap() += 1;
    }
}

fn heard(strategies: Vec<StrategyName>) -> Option<Heard> {
    heard_of(Scene::new(), strategies)
}

fn heard_of(scene: Scene, strategies: Vec<StrategyName>) -> Option<Heard> {
    let runtime = runtime()?;
    let mut settings = Settings::default()
        .strategies(strategies)
        .head(HeadKind::Linear)
        .head_init(HeadInit::Solved)
        .preprocess(Some(Preprocess::SIGNED))
        .rank_samples(18)
        .epochs(2)
        .search_epochs(2)
        .threads(1);
    settings.split.search_fraction = Choice::Given(0.4);
    settings.split.train_fraction = 0.4;
    let job =
        Job::new(scene.at("model.onnx"), scene.at("photos"), scene.at("run")).settings(settings);
    let heard = Heard::default();
    search::tune(&runtime, &job, &heard).unwrap();
    Some(heard)
}

#[test]
fn nothing_that_takes_long_goes_unheard() {
    let auto = "auto".parse().unwrap();
    let Some(heard) = heard(vec![StrategyName::HEAD, StrategyName::BLOCKS, auto]) else {
        return;
    };
    let doing = heard.doing.into_inner().unwrap();
    let of_run = [
        Doing::Opening,
        Doing::Decoding,
        Doing::Planning,
        Doing::Gradients,
    ];
    let of_winner = [Doing::HeldOut, Doing::Writing];
    let expected = of_run
        .map(|what| ("", what))
        .into_iter()
        .chain(of_winner.map(|what| ("auto", what)))
        .chain(of_winner.map(|what| ("head", what)))
        .chain([
            ("head of the search", Doing::Features),
            ("head of the search", Doing::Solving),
            ("head of the winners", Doing::Solving),
            ("head-train", Doing::Validation),
        ]);
    for (of, what) in expected {
        let is_heard = doing.contains_key(&(of.to_owned(), what));
        assert!(is_heard, "{of:?}: {what}; {doing:?}");
    }
    for what in [Doing::Features, Doing::Validation, Doing::Ranking] {
        let of_search = |(of, heard): &(String, Doing)| of.ends_with("-search") && *heard == what;
        assert!(doing.keys().any(of_search), "{what}; {doing:?}");
    }
}

#[test]
fn photos_that_are_compared_resized_and_mirrored_are_heard_of() {
    let Some(heard) = heard_of(Scene::of(30), vec![StrategyName::HEAD]) else {
        return;
    };
    let doing = heard.doing.into_inner().unwrap();
    assert!(
        doing.contains_key(&(String::new(), Doing::Looking)),
        "{doing:?}"
    );
}

#[test]
fn candidates_are_ranked_on_validation_samples_that_are_scored_once() {
    let Some(heard) = heard(vec![StrategyName::HEAD, StrategyName::BLOCKS]) else {
        return;
    };
    let doing = heard.doing.into_inner().unwrap();
    for trial in ["blocks-block1-search", "head-search"] {
        let of = |what| doing[&(trial.to_owned(), what)];
        assert_eq!(of(Doing::Validation) + of(Doing::Ranking), 18, "{trial}");
    }
}

#[test]
fn rounds_tell_what_their_trials_take() {
    let Some(heard) = heard(vec![StrategyName::HEAD, StrategyName::BLOCKS]) else {
        return;
    };
    let rounds = heard.rounds.into_inner().unwrap();
    let work = heard.work.into_inner().unwrap();
    let phases: Vec<Phase> = rounds.iter().map(|r| r.phase).collect();
    // The trial that finds the learning rate is a round of its own.
    let search = Phase::Search;
    assert_eq!(phases, [Phase::Train, search, search, Phase::Train]);
    for (place, round) in rounds.iter().enumerate() {
        let own = work.iter().filter(|((number, _), _)| *number == place + 1);
        let own: Vec<f64> = own.map(|(_, work)| *work).collect();
        assert_eq!(own.len(), round.trials);
        let Work::Flops(all) = round.work else {
            panic!("{round:?}");
        };
        let sum: f64 = own.iter().sum();
        assert!(all > 0.0 && (sum - all).abs() < 1e-6 * all, "{sum} {all}");
    }
    // What the search finds is not known before its end; then all is.
    let known: Vec<bool> = rounds.iter().map(|r| r.later.is_some()).collect();
    assert_eq!(known, [false, false, true, true], "{rounds:?}");
    let totals: Vec<usize> = rounds.iter().map(|r| r.total).collect();
    assert_eq!(totals, [6; 4]);
    assert_eq!(rounds[3].later, Some(0.0));
    assert!(rounds[2].later > Some(0.0));
    // Through block1 go the gradients of all blocks, and a solved head has nothing left to train.
    let of = |round: usize, id: &str| work[&(round, format!("{id}-search"))];
    assert!(of(2, "blocks-block3") > 0.0);
    assert!(of(3, "blocks-block1") > of(3, "blocks-block2"), "{work:?}");
    assert!(of(3, "head") < of(3, "blocks-block1"), "{work:?}");
}
