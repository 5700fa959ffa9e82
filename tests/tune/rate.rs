//! `--lr auto`: the learning rate that a trial finds.

use ftsurgery::choice::Choice;
use ftsurgery::training::{
    Checkpointing, EpochMetrics, Monitor, Observer, OptimizerKind, TrainingError, TrialSpec,
};

use crate::bed::*;
use crate::elsewhere::{assert_same_results, plan, to_the_end};
use crate::scene::*;
use crate::support::*;
use crate::variants;

fn spec(bed: &Bed, kind: OptimizerKind) -> TrialSpec {
    let mut spec = bed.spec(kind);
    (spec.epochs, spec.early_stopping, spec.ema) = (3, None, Some(0.9));
    spec.optimizer.learning_rate = Choice::Auto;
    spec
}

/// Counts what it hears of while rates are tried, and stops at one of it.
#[derive(Default)]
struct Tries {
    rates: Vec<f32>,
    heard: usize,
    stop_at: Option<usize>,
}

impl Observer for Tries {
    fn trying_rate(&mut self, rate: f32, done: usize, total: usize) -> Result<(), TrainingError> {
        assert!(done < total);
        if self.rates.last() != Some(&rate) {
            assert_eq!(done, 0);
            self.rates.push(rate);
        }
        self.heard += 1;
        match self.stop_at == Some(self.heard) {
            true => Err(TrainingError::Stopped),
            false => Ok(()),
        }
    }
}

#[test]
fn behind_the_search_for_its_rate_a_trial_is_as_if_that_had_been_given() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    for kind in [OptimizerKind::Adamw, OptimizerKind::Sgd] {
        let mut spec = spec(&bed, kind);
        let mut tries = Tries::default();
        let found = bed.run(&lab, &spec, None, &mut tries).unwrap();
        let rate = found.found_rate.unwrap();
        let tried: Vec<f32> = found.tried_rates.iter().map(|t| t.rate).collect();
        assert_eq!(tried, tries.rates);
        assert!(tried.len() >= 3);
        // No two rates come to the same, so that steps were done.
        let mut losses: Vec<u64> = found.tried_rates.iter().map(|t| t.loss.to_bits()).collect();
        losses.sort_unstable();
        losses.dedup();
        assert_eq!(losses.len(), tried.len(), "{:?}", found.tried_rates);
        spec.optimizer.learning_rate = rate.into();
        let given = bed.run(&lab, &spec, None, &mut ()).unwrap();
        assert!(given.tried_rates.is_empty() && given.found_rate.is_none());
        assert_eq!(bits(&found), bits(&given), "{kind:?}");
    }
}

#[test]
fn stopped_while_it_tries_rates_a_trial_goes_on_to_the_same() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let spec = spec(&bed, OptimizerKind::Adamw);
    let mut tries = Tries::default();
    let whole = bed.run(&lab, &spec, None, &mut tries).unwrap();
    let steps = tries.heard / tries.rates.len();
    // Within the first rate, at the beginning of the second, within the last, with the state of each kept.
    for stop_at in [1, 3, steps + 1, tries.heard] {
        let checkpoint = Checkpointing {
            path: bed.folder.path().join(format!("{stop_at}.safetensors")),
            every: std::time::Duration::ZERO,
            at_end: false,
        };
        let mut stops = Tries {
            stop_at: Some(stop_at),
            ..Tries::default()
        };
        let stopped = bed.run(&lab, &spec, Some(&checkpoint), &mut stops);
        assert!(matches!(stopped, Err(TrainingError::Stopped)));
        let mut rest = Tries::default();
        let resumed = bed.run(&lab, &spec, Some(&checkpoint), &mut rest).unwrap();
        // What was tried is not tried again.
        let ended = (stop_at - 1) / steps;
        assert_eq!(rest.rates, tries.rates[ended..], "{stop_at}");
        assert_eq!(resumed.tried_rates, whole.tried_rates);
        assert_eq!(bits(&resumed), bits(&whole), "{stop_at}");
    }
}

#[test]
fn without_validation_samples_some_of_the_training_samples_judge() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let spec = spec(&bed, OptimizerKind::Adamw);
    let features = lab.features(spec.trained(), &bed.train, &mut ()).unwrap();
    let run = |train: &[usize]| {
        lab.run(&spec, train, &[], &features, None, &mut ())
            .unwrap()
    };
    let outcome = run(&bed.train);
    assert!(outcome.tried_rates.len() >= 3 && outcome.found_rate.is_some());
    // A sample alone judges what it has made.
    assert!(run(&bed.train[..1]).found_rate.is_some());
}

const SETTINGS: &str = "--preprocess signed --search-fraction 0.3 --train-fraction 0.5 --epochs 1 \
                        --search-epochs 2 --strategies head,blocks,full --head linear --head-init solved \
                        --optimizer adamw --lr auto --threads 1";

#[test]
fn a_winner_takes_the_rate_of_its_search_and_a_strategy_without_one_finds_its_own() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(12);
    let output = scene.tune("run", SETTINGS).output().unwrap();
    assert!(output.status.success());
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("learning rates found: blocks "), "{table}");
    let trials = trials(&scene.at("run"));
    let rate = |id: &str| trials[id]["rate"].as_f64();
    let results = json(&scene.at("run").join("results.json"));
    for result in results["strategies"].as_array().unwrap() {
        let winner = result["trial"].as_str().unwrap();
        assert_eq!(result["rate"].as_f64(), rate(winner));
        if winner == "head-train" {
            // Nothing of it is trained.
            assert_eq!(rate(winner), None);
            continue;
        }
        assert!(rate(winner).is_some(), "{winner}");
        let search = winner.replace("-train", "-search");
        // What needs no search is trained before it.
        let is_before = winner == "full-train";
        assert!(is_before || rate(&search) == rate(winner), "{winner}");
        assert_eq!(trials[winner]["tried_rates"].is_array(), is_before);
        // That which trains most has tried some, and the others have its rate.
        let tried = trials[&search]["tried_rates"].as_array();
        assert_eq!(tried.is_some_and(|t| t.len() >= 3), search == "full-search");
        assert_eq!(rate(&search), rate("full-search"));
        // The highest rate of a trial is that of its schedule.
        let file = format!("trials/{winner}/metrics.jsonl");
        let metrics = lines(&scene.at("run").join(file));
        let first = metrics[0]["learning_rate"].as_f64();
        assert_eq!(first, rate(winner));
    }
    // Without a search it is the winner that tries.
    let alone = SETTINGS.replace("head,blocks,full", "full");
    scene.tune("alone", &alone).assert().success();
    let alone = crate::scene::trials(&scene.at("alone"));
    let tried = alone["full-train"]["tried_rates"].as_array().unwrap();
    assert!(tried.len() >= 3, "{tried:?}");
}

#[test]
fn a_rate_is_found_for_a_head_that_fits_alone() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(8);
    // Where the head is drawn, it is the optimizer's usual one.
    let random = SETTINGS.replace("solved", "random");
    scene.tune("random", &random).assert().success();
    let run = json(&scene.at("random/run.json"));
    assert!(run["configuration"]["optimizer"]["learning_rate"].is_f64());
    for (id, trial) in trials(&scene.at("random")) {
        assert!(trial["tried_rates"].is_null(), "{id}: {trial}");
    }
    let beside = format!("{SETTINGS} --head-lr 0.1");
    let refused = scene.tune("beside", &beside).assert().failure().code(2);
    let text = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(text.contains("head_lr"), "{text}");
}

#[test]
fn a_rate_is_found_once_for_all_candidates_and_elsewhere_it_is_the_same() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(12);
    let settings = format!("{SETTINGS} --search halving:2");
    scene.whole(&settings);
    for (id, trial) in trials(&scene.at("whole")) {
        let tried = trial["tried_rates"].as_array().map_or(0, Vec::len);
        let finds = ["full-train", "full-search"].contains(&id.as_str());
        assert_eq!(tried >= 3, finds, "{id}: {trial}");
        assert!(tried <= 5, "{id}: {trial}");
    }
    let lines = plan(&scene, "run", &settings);
    to_the_end(&scene, "run", lines);
    assert_same_results(&scene.at("whole"), &scene.at("run"));
}

/// Hears of trainings that came to nothing, and stops at a step.
#[derive(Default)]
struct Anew {
    in_vain: Vec<f32>,
    steps: usize,
    stop_at: Option<usize>,
    epochs: Vec<usize>,
}

impl Observer for Anew {
    fn begins_anew(&mut self, rate: f32) -> Result<(), TrainingError> {
        self.in_vain.push(rate);
        Ok(())
    }

    fn resumed(&mut self, _: usize, epochs: &[EpochMetrics]) -> Result<(), TrainingError> {
        self.epochs = epochs.iter().map(|e| e.epoch).collect();
        Ok(())
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<(), TrainingError> {
        self.epochs.push(metrics.epoch);
        Ok(())
    }

    fn step(&mut self, _: usize, _: usize, _: f32) -> Result<(), TrainingError> {
        self.steps += 1;
        match self.stop_at == Some(self.steps) {
            true => Err(TrainingError::Stopped),
            false => Ok(()),
        }
    }
}

#[test]
fn a_training_that_is_never_better_than_its_start_begins_anew_with_a_lower_rate() {
    let Some(mut bed) = Bed::new() else { return };
    // Of the class that no step sees.
    bed.validation = (20..30).collect();
    let lab = bed.lab();
    let spec = TrialSpec {
        score_start: true,
        monitor: Monitor::Loss,
        epochs: 4,
        ..spec(&bed, OptimizerKind::Adamw)
    };
    let mut anew = Anew::default();
    let whole = bed.run(&lab, &spec, None, &mut anew).unwrap();
    assert_eq!(whole.best_epoch, 0, "{:?}", whole.epochs);
    let falls = |rates: &[f32]| rates.windows(2).all(|w| w[0] > w[1]);
    assert!(!anew.in_vain.is_empty() && falls(&anew.in_vain));
    assert!(whole.found_rate.unwrap() < *anew.in_vain.last().unwrap());
    for tried in &whole.tried_rates {
        assert_eq!(anew.in_vain.contains(&tried.rate), tried.loss.is_infinite());
    }
    assert!((1..=2 * spec.epochs).contains(&whole.abandoned_epochs));
    assert_eq!(anew.epochs, [0, 1, 2, 3, 4]);
    // Where it has fewer epochs at first, all of them in vain, it goes on from these as it does without a break.
    let checkpoint = Checkpointing {
        path: bed.folder.path().join("rungs.safetensors"),
        every: std::time::Duration::from_secs(3600),
        at_end: true,
    };
    for epochs in 1..spec.epochs {
        let rung = TrialSpec {
            epochs,
            cycles: vec![spec.epochs],
            ..spec.clone()
        };
        let part = bed.run(&lab, &rung, Some(&checkpoint), &mut ()).unwrap();
        assert_eq!((part.best_epoch, part.abandoned_epochs), (0, 0));
    }
    let on = TrialSpec {
        cycles: vec![spec.epochs],
        ..spec.clone()
    };
    let gone_on = bed.run(&lab, &on, Some(&checkpoint), &mut ()).unwrap();
    assert_eq!(gone_on.abandoned_epochs, whole.abandoned_epochs);
    assert_eq!(bits(&gone_on), bits(&whole));
    // Stopped before and behind each of these moments it goes on to the same.
    for stop_at in (1..anew.steps).step_by(3) {
        let checkpoint = Checkpointing {
            path: bed
                .folder
                .path()
                .join(format!("anew-{stop_at}.safetensors")),
            every: std::time::Duration::ZERO,
            at_end: false,
        };
        let mut stops = Anew {
            stop_at: Some(stop_at),
            ..Anew::default()
        };
        let stopped = bed.run(&lab, &spec, Some(&checkpoint), &mut stops);
        assert!(matches!(stopped, Err(TrainingError::Stopped)));
        let resumed = bed.run(&lab, &spec, Some(&checkpoint), &mut ()).unwrap();
        assert_eq!(resumed.tried_rates, whole.tried_rates, "{stop_at}");
        assert_eq!(
            resumed.abandoned_epochs, whole.abandoned_epochs,
            "{stop_at}"
        );
        assert_eq!(bits(&resumed), bits(&whole), "{stop_at}");
    }
}

#[test]
fn a_rate_is_tried_with_the_choices_as_they_begin() {
    let Some(bed) = Bed::new() else { return };
    let rewrite = variants::spottune(&bed, 3);
    let lab = variants::lab(&bed, &bed.network);
    let mut all = variants::spec(&bed, &rewrite, OptimizerKind::Adamw);
    all.optimizer.learning_rate = Choice::Auto;
    let choosers = rewrite.choosers();
    let mut copies = all.clone();
    copies.trainable.retain(|name| !choosers.contains(name));
    assert!(copies.trainable.len() < all.trainable.len());
    let [all, copies] = [all, copies].map(|spec| {
        let tried = bed.run(&lab, &spec, None, &mut ()).unwrap().tried_rates;
        tried.iter().map(|t| (t.rate, t.loss)).collect::<Vec<_>>()
    });
    assert!(all.len() >= 3);
    for ((rate, loss), (of_copies, alone)) in all.iter().zip(&copies) {
        assert_eq!(rate, of_copies);
        assert!((loss - alone).abs() < 1e-5 * alone, "{all:?} {copies:?}");
    }
}
