//! The optimizer in the graph of a step, held against the loop on the host.

use std::time::Duration;

use ftsurgery::autodiff::Operators;
use ftsurgery::choice::Choice;
use ftsurgery::data::{Augment, Preprocess};
use ftsurgery::runtime::Device;
use ftsurgery::surgery::rewrite::{AdaFilter, FilterGate, GateStart, Number, TunedShare};
use ftsurgery::surgery::{HeadKind, HeadSpec, Rewrite, graft};
use ftsurgery::training::{
    BatchNormMode, Checkpointing, Lab, Observer, OptimizerKind, Schedule, TrainingError, TrialSpec,
};

use crate::bed::{Bed, bits, device, features};
use crate::recipe::resumed;
use crate::scene::*;
use crate::support::*;

/// Three steps an epoch, so many epochs, at a low rate, so that rounding does not grow.
fn spec(bed: &Bed, kind: OptimizerKind, epochs: usize) -> TrialSpec {
    let mut spec = TrialSpec {
        epochs,
        early_stopping: None,
        schedule: Schedule::Constant,
        ..bed.spec(kind)
    };
    spec.optimizer.learning_rate = Choice::Given(match kind {
        OptimizerKind::Sgd => 1e-2,
        _ => 1e-3,
    });
    spec
}

fn in_graph(spec: &TrialSpec) -> TrialSpec {
    TrialSpec {
        optimizer_in_graph: true,
        ..spec.clone()
    }
}

/// The losses of a trial's steps.
#[derive(Default)]
struct Losses(Vec<f32>);

impl Observer for Losses {
    fn step(&mut self, _: usize, _: usize, loss: f32) -> Result<(), TrainingError> {
        self.0.push(loss);
        Ok(())
    }
}

/// How far the steps of the graph end from those of the loop, as a share of how far parameters moved.
#[track_caller]
fn assert_same_steps(bed: &Bed, lab: &Lab<'_>, spec: &TrialSpec, what: &str) {
    let ended = |spec: &TrialSpec| {
        let mut losses = Losses::default();
        let outcome = bed.run(lab, spec, None, &mut losses).unwrap();
        (outcome, losses.0)
    };
    let (host, losses) = ended(spec);
    let (graph, own) = ended(&in_graph(spec));
    assert_eq!(losses.len(), own.len());
    // A GPU sums in another order from one session to the next.
    let (same_loss, same_place) = match device() {
        Device::Cpu => (1e-4, 1e-4),
        Device::Cuda(_) => (1e-3, 1e-2),
    };
    for (step, (a, b)) in losses.iter().zip(&own).enumerate() {
        assert!(
            (a - b).abs() < same_loss * a.abs().max(1e-2),
            "{what}, step {step}: {a} and {b}"
        );
    }
    let start = TrialSpec {
        epochs: 0,
        ..spec.clone()
    };
    let first = bed.run(lab, &start, None, &mut ()).unwrap().parameters;
    let all = first.iter().zip(&host.parameters).zip(&graph.parameters);
    for (((name, first), (_, host)), (same, graph)) in all {
        assert_eq!(name, same);
        let norm = |of: &dyn Fn(usize) -> f32| {
            let squares = (0..first.len()).map(|i| f64::from(of(i)).powi(2));
            squares.sum::<f64>().sqrt()
        };
        let moved = norm(&|i| host[i] - first[i]);
        let apart = norm(&|i| host[i] - graph[i]);
        assert!(moved > 0.0, "{what}: {name} has not moved");
        assert!(
            apart <= same_place * moved,
            "{what}, {name}: {apart:e} of {moved:e}"
        );
    }
    assert_eq!(host.best_epoch, graph.best_epoch, "{what}");
}

#[test]
fn a_hundred_steps_of_each_optimizer_end_where_those_of_the_loop_do() {
    let Some(bed) = Bed::new() else { return };
    for operators in [Operators::Kernels, Operators::Standard] {
        let lab = bed.lab_with(Preprocess::UNIT, |options| options.operators = operators);
        for (kind, momentum) in [
            (OptimizerKind::Adam, 0.0),
            (OptimizerKind::Adamw, 0.0),
            (OptimizerKind::Sgd, 0.0),
            (OptimizerKind::Sgd, 0.9),
        ] {
            let mut spec = spec(&bed, kind, 34);
            spec.optimizer.momentum = momentum;
            assert_same_steps(
                &bed,
                &lab,
                &spec,
                &format!("{kind}, {momentum}, {operators:?}"),
            );
        }
    }
}

/// Changes one thing of a recipe.
type Change = fn(&mut TrialSpec);

#[test]
fn all_of_a_recipe_is_in_the_graph() {
    let Some(bed) = Bed::new() else { return };
    let changes: [(&str, Change); 9] = [
        ("no decay", |s| s.optimizer.weight_decay = 0.0),
        ("clipping", |s| s.clip_norm = Some(0.05)),
        ("average", |s| s.ema = Some(0.9)),
        ("l2-sp", |s| s.l2_sp = Some(0.7)),
        ("rates", |s| {
            s.rates = (0..s.trainable.len())
                .map(|i| 0.5 + (i % 3) as f32)
                .collect();
        }),
        ("stored statistics", |s| {
            s.batch_norm = BatchNormMode::Frozen
        }),
        ("mixup", |s| s.mixup = 0.4),
        ("smoothing", |s| s.label_smoothing = 0.1),
        ("a schedule", |s| {
            (s.schedule, s.warmup) = (Schedule::OneCycle, 1.0)
        }),
    ];
    let lab = bed.lab();
    for kind in [
        OptimizerKind::Adam,
        OptimizerKind::Adamw,
        OptimizerKind::Sgd,
    ] {
        let mut all = spec(&bed, kind, 4);
        for (what, change) in changes {
            let mut spec = spec(&bed, kind, 4);
            change(&mut spec);
            change(&mut all);
            assert_same_steps(&bed, &lab, &spec, &format!("{kind}, {what}"));
        }
        assert_same_steps(&bed, &lab, &all, &format!("{kind}, all"));
    }
    // Photos that change in every epoch are made ready while the step before runs.
    let augmented = bed.lab_with(Preprocess::UNIT, |options| options.augment = Augment::Flip);
    let mut whole = spec(&bed, OptimizerKind::Adamw, 4);
    whole.trainable.extend(["c1.w", "c2.w"].map(str::to_owned));
    assert_same_steps(&bed, &augmented, &whole, "augmented");
}

#[test]
fn stopped_anywhere_a_trial_goes_on_to_the_same_bits() {
    let Some(bed) = Bed::new() else { return };
    for kind in [
        OptimizerKind::Adam,
        OptimizerKind::Adamw,
        OptimizerKind::Sgd,
    ] {
        let plain = in_graph(&bed.spec(kind));
        let whole = resumed(&bed, &plain);
        let averaged = TrialSpec {
            ema: Some(0.9),
            clip_norm: Some(0.5),
            l2_sp: Some(0.1),
            mixup: 0.4,
            ..plain
        };
        assert_ne!(bits(&resumed(&bed, &averaged)), bits(&whole));
    }
}

#[test]
fn a_rate_is_found_and_training_begins_behind_it_as_if_it_had_been_given() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let mut spec = in_graph(&bed.spec(OptimizerKind::Adamw));
    (spec.epochs, spec.early_stopping, spec.ema) = (3, None, Some(0.9));
    spec.optimizer.learning_rate = Choice::Auto;
    let found = bed.run(&lab, &spec, None, &mut ()).unwrap();
    assert!(found.tried_rates.len() >= 3);
    spec.optimizer.learning_rate = found.found_rate.unwrap().into();
    let given = bed.run(&lab, &spec, None, &mut ()).unwrap();
    assert_eq!(bits(&found), bits(&given));
}

/// AdaFilter draws noise, adds a penalty, and holds what chooses while a rate is found.
#[test]
fn gates_with_noise_and_a_penalty_train_in_the_graph() {
    let head = HeadSpec::new(HeadKind::Linear, 3, 7);
    let Some(bed) = Bed::of(|model| graft(model, Some(&features()), &head).unwrap()) else {
        return;
    };
    let lab = bed.lab();
    let rewrite = Rewrite::AdaFilter(AdaFilter {
        weights: vec!["c2.w".to_owned()],
        gate: FilterGate::Learned,
        start: GateStart::Half,
        width: 2,
        share: Some(TunedShare {
            target: Number(0.5),
            weight: Number(1.0),
        }),
        seed: 1,
        dependent: None,
    });
    let rewritten = rewrite.apply(&bed.network).unwrap();
    let mut trainable = rewritten.parameters.clone();
    trainable.extend(bed.network.head_parameters.iter().cloned());
    let gated = TrialSpec {
        rewrite,
        trainable,
        batch_norm: BatchNormMode::Frozen,
        ..spec(&bed, OptimizerKind::Adamw, 3)
    };
    assert_same_steps(&bed, &lab, &gated, "gates");
    let mut seeking = gated;
    seeking.optimizer.learning_rate = Choice::Auto;
    let host = bed.run(&lab, &seeking, None, &mut ()).unwrap();
    let graph = bed.run(&lab, &in_graph(&seeking), None, &mut ()).unwrap();
    assert_eq!(host.found_rate, graph.found_rate);
}

/// From the command to what is recorded: the same choices as by the loop, and weights that are next to the same.
#[test]
fn a_run_in_the_graph_comes_to_what_one_on_the_host_does() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(20);
    let settings = "--preprocess signed --search-fraction 0 --train-fraction 0.5 --validation-fraction 0.2 --epochs 4 \
                    --strategies head,full,last1 --head linear --threads 1 --seed 3";
    scene.whole(settings);
    let run = "in_graph";
    succeeds(scene.start(run, &format!("{settings} --optimizer-in-graph")));
    let of = |run: &str, file: &str| json(&scene.at(run).join(file));
    assert_eq!(
        of("whole", "run.json")["configuration"]["optimizer_in_graph"],
        false
    );
    assert_eq!(
        of(run, "run.json")["configuration"]["optimizer_in_graph"],
        true
    );
    let config = std::fs::read_to_string(scene.at(run).join("config.toml")).unwrap();
    assert!(config.contains("optimizer-in-graph = \"on\""), "{config}");
    let both = ["whole", run].map(|run| of(run, "results.json")["strategies"].clone());
    let [host, graph] = both.each_ref().map(|all| all.as_array().unwrap());
    for (host, graph) in host.iter().zip(graph) {
        let name = &host["name"];
        assert_eq!(name, &graph["name"]);
        for figure in ["held_out_accuracy", "validation_accuracy"] {
            let [a, b] = [host, graph].map(|of| of[figure].as_f64().unwrap());
            assert!((a - b).abs() < 0.05, "{name}: {figure} {a} and {b}");
        }
    }
    let [host, graph] = ["whole", run].map(|run| trials(&scene.at(run)));
    assert!(host.keys().eq(graph.keys()) && !host.is_empty());
    for (id, host) in &host {
        let [a, b] = [host, &graph[id]].map(|of| of["validation"]["loss"].as_f64().unwrap());
        assert!((a - b).abs() < 1e-3 * a, "{id}: losses {a} and {b}");
    }
    // It goes on as it began, and not otherwise.
    let mut command = ftsurgery();
    command.args(["tune", "--resume"]).arg(scene.at(run));
    command.arg("--optimizer-in-graph=off").assert().code(2);
}

#[test]
fn what_diverges_is_told_at_the_step_at_which_the_loop_tells_it() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let mut spec = spec(&bed, OptimizerKind::Sgd, 9);
    spec.optimizer.learning_rate = 1e20.into();
    let told = |spec: &TrialSpec| match bed.run(&lab, spec, None, &mut ()) {
        Err(TrainingError::Diverged { step, epoch, .. }) => (step, epoch),
        other => panic!("{other:?}"),
    };
    assert_eq!(told(&spec), told(&in_graph(&spec)));
}

#[test]
fn a_checkpoint_of_the_loop_is_of_another_trial_and_groups_have_no_graph() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let to = Checkpointing {
        path: bed.folder.path().join("checkpoint.safetensors"),
        every: Duration::ZERO,
        at_end: true,
    };
    let spec = spec(&bed, OptimizerKind::Adamw, 1);
    bed.run(&lab, &spec, Some(&to), &mut ()).unwrap();
    let error = bed
        .run(&lab, &in_graph(&spec), Some(&to), &mut ())
        .unwrap_err();
    assert!(error.to_string().contains("optimizer_in_graph"), "{error}");
    let grouped = TrialSpec {
        group_filters: Some(3),
        ..in_graph(&spec)
    };
    let error = bed.run(&lab, &grouped, None, &mut ()).unwrap_err();
    assert!(error.to_string().contains("move together"), "{error}");
}
