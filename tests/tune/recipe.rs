//! The recipe of a trial: rates from step to step.

use std::f64::consts::PI;
use std::time::Duration;

use ftsurgery::classifier::softmax;
use ftsurgery::graph::Graph;
use ftsurgery::onnx::Model;
use ftsurgery::surgery::Rewrite;
use ftsurgery::training::{
    BatchNormMode, Checkpointing, ClassWeights, Cosine, OptimizerKind, Schedule, TrainingError,
    TrialOutcome, TrialSpec,
};

use crate::bed::{At, Bed, bits};
use crate::scene::*;
use crate::support::*;

pub fn checkpoint(bed: &Bed) -> Checkpointing {
    Checkpointing {
        path: bed.folder.path().join("checkpoint.safetensors"),
        every: Duration::MAX,
        at_end: true,
    }
}

/// Runs a trial as a whole, and stopped after each of some steps and resumed, to the same bits.
pub fn resumed(bed: &Bed, spec: &TrialSpec) -> TrialOutcome {
    let (lab, to) = (bed.lab(), checkpoint(bed));
    let whole = bed.run(&lab, spec, None, &mut ()).unwrap();
    for step in [1, 3, 7] {
        let stopped = bed.run(&lab, spec, Some(&to), &mut At(step));
        assert!(matches!(stopped, Err(TrainingError::Stopped)));
        let outcome = bed.run(&lab, spec, Some(&to), &mut ()).unwrap();
        std::fs::remove_file(&to.path).unwrap();
        assert_eq!(bits(&outcome), bits(&whole), "step {step}");
    }
    whole
}

/// Three steps an epoch, all epochs.
fn spec(bed: &Bed, epochs: usize) -> TrialSpec {
    TrialSpec {
        epochs,
        early_stopping: None,
        schedule: Schedule::Constant,
        ..bed.spec(OptimizerKind::Adam)
    }
}

#[test]
fn a_cosine_falls_from_step_to_step_behind_its_warm_up() {
    let Some(bed) = Bed::new() else { return };
    let spec = TrialSpec {
        schedule: Schedule::Cosine(Cosine { floor: 0.1 }),
        // Four steps.
        warmup: 4.0 / 3.0,
        ..spec(&bed, 5)
    };
    let whole = resumed(&bed, &spec);
    let rate = |t: f64| {
        let cosine = (1.0 + (PI * (t - 4.0) / 11.0).cos()) / 2.0;
        let share = if t < 4.0 {
            (t + 1.0) / 4.0
        } else {
            0.1 + 0.9 * cosine
        };
        0.02 * share
    };
    for (epoch, last) in whole.epochs.iter().zip([2.0, 5.0, 8.0, 11.0, 14.0]) {
        let found = f64::from(epoch.learning_rate);
        assert!((found - rate(last)).abs() < 1e-8, "{found} {}", rate(last));
    }
    let constant = TrialSpec {
        schedule: Schedule::Constant,
        warmup: 0.0,
        ..spec
    };
    let constant = bed.run(&bed.lab(), &constant, None, &mut ()).unwrap();
    assert_ne!(bits(&constant), bits(&whole));
}

#[test]
fn a_trial_that_goes_on_for_more_epochs_has_the_schedule_of_all_of_them() {
    let Some(bed) = Bed::new() else { return };
    let (lab, to) = (bed.lab(), checkpoint(&bed));
    for schedule in [
        Schedule::Cosine(Cosine::default()),
        Schedule::OneCycle,
        Schedule::Constant,
    ] {
        let whole = TrialSpec {
            schedule,
            warmup: 1.0,
            ..spec(&bed, 4)
        };
        let unbroken = bed.run(&lab, &whole, None, &mut ()).unwrap();
        let first = TrialSpec {
            epochs: 2,
            cycles: vec![4],
            ..whole.clone()
        };
        bed.run(&lab, &first, Some(&to), &mut ()).unwrap();
        let went_on = bed.run(&lab, &whole, Some(&to), &mut ()).unwrap();
        assert_eq!(bits(&went_on), bits(&unbroken));
        // Of another length it is another trial, where the length shows.
        std::fs::remove_file(&to.path).unwrap();
        bed.run(&lab, &first, Some(&to), &mut ()).unwrap();
        let longer = TrialSpec {
            epochs: 3,
            cycles: vec![5],
            ..whole.clone()
        };
        let result = bed.run(&lab, &longer, Some(&to), &mut ());
        std::fs::remove_file(&to.path).unwrap();
        match result {
            Err(error) => {
                assert!(schedule.has_length());
                let said = error.to_string();
                assert!(said.contains("schedule's epochs was 4 and is 5"), "{said}");
            }
            Ok(_) => assert_eq!(schedule, Schedule::Constant),
        }
    }
}

#[test]
fn each_parameter_has_its_own_rate() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    for kind in [OptimizerKind::Sgd, OptimizerKind::Adamw] {
        let mut spec = TrialSpec {
            schedule: Schedule::Constant,
            early_stopping: None,
            epochs: 1,
            // One step.
            batch_size: 20,
            ..bed.spec(kind)
        };
        let step = |spec: &TrialSpec| bed.run(&lab, spec, None, &mut ()).unwrap().parameters;
        let start = TrialSpec {
            epochs: 0,
            ..spec.clone()
        };
        let start = step(&start);
        let whole = step(&spec);
        let rates: Vec<f32> = (0..spec.trainable.len()).map(|i| 0.25 * i as f32).collect();
        spec.rates = rates.clone();
        let scaled = step(&spec);
        for (i, &rate) in rates.iter().enumerate() {
            let mut moved = false;
            for ((&a, &b), &c) in start[i].1.iter().zip(&whole[i].1).zip(&scaled[i].1) {
                assert!((c - a - rate * (b - a)).abs() < 1e-5, "{}", start[i].0);
                moved |= b != a;
            }
            assert!(moved, "{}", start[i].0);
        }
        resumed(
            &bed,
            &TrialSpec {
                epochs: 4,
                batch_size: 8,
                ..spec.clone()
            },
        );
        spec.rates.pop();
        let error = bed.run(&lab, &spec, None, &mut ()).unwrap_err();
        assert!(error.to_string().contains("learning rates"), "{error}");
    }
}

#[test]
fn a_run_has_a_rate_for_the_head_and_one_that_falls_with_the_distance_from_it() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(8);
    let run = |name: &str, flags: &str| {
        let settings = format!("{QUICK} --strategies full {flags}");
        scene.tune(name, &settings).assert().success();
        Model::open(&scene.at(name).join("winners/full.onnx")).unwrap()
    };
    let original = Model::open(&scene.at("model.onnx")).unwrap();
    let graph = |model: &Model| Graph::from_model(model).unwrap();
    let original = graph(&original);
    let moved = |model: &Graph, name: &str| {
        let values = |g: &Graph| g.initializers[name].to_f32().unwrap();
        let (before, after) = (values(&original), values(model));
        let moved = before
            .iter()
            .zip(&after)
            .map(|(a, b)| f64::from((a - b).abs()));
        moved.fold(0.0, f64::max)
    };
    let plain = graph(&run("plain", "--lr 1e-3"));
    let decayed = graph(&run(
        "decayed",
        "--lr 1e-3 --head-lr 1e-2 --layer-decay 0.01",
    ));
    // The last block learns, those before it next to nothing.
    assert!(moved(&plain, "c1.w") > 1e-4, "{}", moved(&plain, "c1.w"));
    assert!(moved(&decayed, "c1.w") < 1e-6);
    assert!(moved(&decayed, "c2.w") < 1e-4);
    assert!(moved(&decayed, "c3.w") > 1e-4);
    let record = json(&scene.at("decayed/run.json"));
    let settings = &record["configuration"];
    assert_eq!(settings["layer_decay"].as_f64(), Some(0.01));
    assert_eq!(settings["head_lr"].as_f64(), Some(0.01));
}

#[test]
fn smoothed_targets_are_those_of_training_alone() {
    let Some(mut bed) = Bed::new() else { return };
    // So small a rate that nothing moves, and no dropout in the way of a plain sum: the evaluation's logits are
    // those of the step.
    bed.network.dropout.clear();
    let still = bed.lab();
    let mut spec = TrialSpec {
        batch_norm: BatchNormMode::Frozen,
        class_weights: ClassWeights::None,
        batch_size: 20,
        ..spec(&bed, 1)
    };
    spec.optimizer.learning_rate = 1e-30.into();
    let plain = bed.run(&still, &spec, None, &mut ()).unwrap();
    spec.label_smoothing = 0.2;
    let smoothed = bed.run(&still, &spec, None, &mut ()).unwrap();
    assert_eq!(plain.epochs[0].validation, smoothed.epochs[0].validation);
    let logits = still.logits(&Rewrite::None, &[], &bed.train).unwrap();
    let log_p: Vec<Vec<f64>> = logits
        .values
        .chunks(3)
        .map(|row| softmax(row).into_iter().map(f64::ln).collect())
        .collect();
    let samples = log_p.iter().zip(&bed.train);
    let expected = samples.map(|(row, &i)| {
        let label = bed.dataset.labels()[i] as usize;
        -0.8 * row[label] - 0.2 / 3.0 * row.iter().sum::<f64>()
    });
    let expected = expected.sum::<f64>() / 20.0;
    let found = smoothed.epochs[0].loss.unwrap();
    assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    assert!(found > plain.epochs[0].loss.unwrap() + 1e-3);
}

#[test]
fn a_step_is_no_longer_than_its_gradient_may_be() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let all: Vec<usize> = (0..30).collect();
    let mut spec = TrialSpec {
        epochs: 1,
        schedule: Schedule::Constant,
        ..bed.spec(OptimizerKind::Sgd)
    };
    (spec.optimizer.momentum, spec.optimizer.weight_decay) = (0.0, 0.0);
    let features = lab.features(spec.trained(), &all, &mut ()).unwrap();
    // Few rows, of which gradients come in factors, and more than that.
    for samples in [8, 20] {
        spec.batch_size = samples;
        let moved = |spec: &TrialSpec| {
            let trained = |epochs| {
                let spec = TrialSpec {
                    epochs,
                    ..spec.clone()
                };
                let train = &bed.train[..samples];
                lab.run(&spec, train, &[], &features, None, &mut ())
                    .unwrap()
            };
            let (before, after) = (trained(0).parameters, trained(1).parameters);
            let all = before.iter().zip(&after).take(spec.trainable.len());
            let moved = all.flat_map(|(b, a)| b.1.iter().zip(&a.1).map(|(b, a)| f64::from(a - b)));
            moved.collect::<Vec<f64>>()
        };
        let norm = |moved: &[f64]| moved.iter().map(|m| m * m).sum::<f64>().sqrt() / 0.1;
        spec.clip_norm = None;
        let free = moved(&spec);
        let length = norm(&free);
        assert!(length > 0.1, "{length}");
        spec.clip_norm = Some(1e3);
        assert_eq!(
            moved(&spec),
            free,
            "a norm within the limit changes nothing"
        );
        let limit = length as f32 / 4.0;
        spec.clip_norm = Some(limit);
        let clipped = moved(&spec);
        assert!((norm(&clipped) / f64::from(limit) - 1.0).abs() < 1e-3);
        for (free, clipped) in free.iter().zip(&clipped) {
            assert!((free / 4.0 - clipped).abs() < 1e-6, "the direction stays");
        }
    }
    resumed(
        &bed,
        &TrialSpec {
            epochs: 4,
            batch_size: 8,
            ..spec
        },
    );
}

/// Scored and written is the average; what is trained goes its own way.
#[test]
fn an_average_is_what_is_scored_and_comes_out() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let spec = TrialSpec {
        ema: Some(0.6),
        ..spec(&bed, 4)
    };
    let outcome = resumed(&bed, &spec);
    // What stands behind each of the first steps, of trials that end there: a step an epoch.
    let all: Vec<usize> = (0..30).collect();
    let features = lab.features(spec.trained(), &all, &mut ()).unwrap();
    let train = &bed.train[..8];
    let run = |epochs: usize, ema: Option<f32>, validation: &[usize]| {
        let spec = TrialSpec {
            epochs,
            ema,
            ..spec.clone()
        };
        lab.run(&spec, train, validation, &features, None, &mut ())
            .unwrap()
    };
    let mut expected: Vec<Vec<f64>> = Vec::new();
    for step in 0..=3usize {
        let here = run(step, None, &[]).parameters;
        let here = here
            .iter()
            .map(|p| p.1.iter().map(|&v| f64::from(v)).collect());
        let here: Vec<Vec<f64>> = here.collect();
        if step == 0 {
            expected = here;
            continue;
        }
        let t = step as f64 - 1.0;
        let d = ((1.0 + t) / (10.0 + t)).min(0.6);
        let pairs = expected.iter_mut().flatten().zip(here.iter().flatten());
        pairs.for_each(|(a, w)| *a = d * *a + (1.0 - d) * w);
    }
    let averaged = run(3, Some(0.6), &[]);
    // Running statistics, too, which stand last.
    assert!(averaged.parameters.len() > spec.trainable.len());
    for ((name, found), expected) in averaged.parameters.iter().zip(&expected) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{name}");
        }
    }
    let plain = run(3, None, &[]);
    assert!(plain.parameters != averaged.parameters);
    // The training loss is that of what is trained, the validation that of the average.
    let watched = run(3, Some(0.6), &bed.validation);
    let unwatched = run(3, None, &bed.validation);
    for (a, b) in watched.epochs.iter().zip(&unwatched.epochs) {
        assert_eq!(a.loss, b.loss);
        assert_ne!(a.validation, b.validation);
    }
    let kept = lab.predict(&watched.parameters, &bed.validation).unwrap();
    let (kept, told) = (kept.score(), watched.validation().unwrap());
    assert_eq!(kept.accuracy, told.accuracy);
    assert!((kept.loss - told.loss).abs() < 1e-5);
    assert_eq!(outcome.epochs.len(), 4);
}

#[test]
fn all_parts_of_a_recipe_together_are_resumed_to_the_same_bits() {
    let Some(bed) = Bed::new() else { return };
    for (kind, early_stopping) in [(OptimizerKind::Sgd, None), (OptimizerKind::Adamw, Some(2))] {
        let spec = bed.spec(kind);
        let rates = (0..spec.trainable.len()).map(|i| 0.5 + i as f32 / 8.0);
        resumed(
            &bed,
            &TrialSpec {
                epochs: 5,
                early_stopping,
                score_start: true,
                schedule: Schedule::OneCycle,
                warmup: 0.5,
                rates: rates.collect(),
                clip_norm: Some(0.5),
                label_smoothing: 0.1,
                mixup: 0.4,
                cutmix: 1.0,
                ema: Some(0.8),
                l2_sp: Some(0.5),
                group_filters: Some(3),
                ..spec
            },
        );
    }
}

/// All flags of a recipe at once: recorded, written, and the same from the command that `config.toml` stands for.
#[test]
fn a_run_has_a_recipe_and_is_made_again_from_its_config() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(8);
    let flags = format!(
        "{QUICK} --strategies head,full --optimizer adamw --lr 1e-3 --head-lr 3e-3 --layer-decay 0.8 --clip-norm 2 \
         --schedule cosine --cosine-floor 0.05 --warmup 0.25 --label-smoothing 0.1 --ema 0.9 \
         --mixup 0.2 --cutmix 1 --l2-sp 0.5 --group-filters 3"
    );
    scene.tune("run", &flags).assert().success();
    let mut again = ftsurgery();
    again.current_dir(scene.path());
    again.args(["tune", "--config", "run/config.toml", "--out", "again"]);
    again.assert().success();
    assert_same_outcome(&scene.at("run"), &scene.at("again"));
}
