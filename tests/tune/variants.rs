//! Trials in rewritten networks: updates of low rank, choices with noise, and gates with a penalty.

use std::path::PathBuf;
use std::time::Duration;

use ftsurgery::classifier::{Inference, InputSpec, softmax};
use ftsurgery::data::{Layout, Preprocess};
use ftsurgery::onnx::{Model, save};
use ftsurgery::runtime::Device;
use ftsurgery::surgery::rewrite::{
    AdaFilter, FilterGate, GateStart, LowRank, Merged, Number, Policy, SpotTune, TunedShare,
};
use ftsurgery::surgery::{
    Edited, Editor, Grafted, HeadKind, HeadSpec, Rewrite, export, graft, holds,
};
use ftsurgery::testing::only_tuned;
use ftsurgery::training::{
    BatchNormMode, Checkpointing, ClassWeights, EpochMetrics, Lab, LabOptions, Observer, Optimizer,
    OptimizerKind, Schedule, Start, Trained, TrainingError, TrialOutcome, TrialSpec,
};

use crate::bed::{Bed, bits};

const DENSE: &str = "ftsurgery/head/dense_1/weight";

fn low_rank(weights: &[&str], rank: usize, alpha: usize) -> Rewrite {
    Rewrite::LowRank(LowRank {
        weights: weights.iter().map(|&w| w.to_owned()).collect(),
        rank,
        alpha,
        seed: 5,
    })
}

/// Choices of the second and the third convolution, by what the second reads.
pub fn spottune(bed: &Bed, width: usize) -> Rewrite {
    let blocks = [["conv2", "norm2"], ["conv3", "norm3"]].map(|b| b.map(str::to_owned).to_vec());
    let blocks = SpotTune::gateable(&bed.network.model, &blocks).unwrap();
    assert_eq!(blocks.len(), 2);
    Rewrite::SpotTune(SpotTune {
        blocks: ["c2", "c3"]
            .iter()
            .zip(&blocks)
            .map(|(name, block)| block.gated(name))
            .collect(),
        policy: Policy::Features,
        reads: blocks[0].from.clone(),
        width,
        start: GateStart::Half,
        seed: 5,
    })
}

/// Gates of these convolutions' filters, of which half are to be open.
fn adafilter(share: f32) -> Rewrite {
    Rewrite::AdaFilter(AdaFilter {
        weights: ["c2.w", "c3.w"].map(str::to_owned).to_vec(),
        gate: FilterGate::Learned,
        start: GateStart::Half,
        width: 4,
        share: Some(TunedShare {
            target: Number(share),
            weight: Number(1.0),
        }),
        seed: 5,
        dependent: None,
    })
}

const INPUT: InputSpec = InputSpec {
    preprocess: Preprocess::UNIT,
    layout: Layout::Nchw,
};

pub fn lab<'l>(bed: &'l Bed, network: &'l Grafted) -> Lab<'l> {
    let options = LabOptions::default()
        .threads(1)
        .memory_budget(1 << 24)
        .spill_dir(bed.folder.path().to_owned());
    Lab::new(&bed.runtime, network, &bed.dataset, INPUT, options).unwrap()
}

/// A trial of all that a rewrite adds, and of the head.
pub fn spec(bed: &Bed, rewrite: &Rewrite, kind: OptimizerKind) -> TrialSpec {
    let added = rewrite.apply(&bed.network).unwrap().parameters;
    let head = bed.network.head_parameters.iter().cloned();
    TrialSpec {
        trainable: added.into_iter().chain(head).collect(),
        rewrite: rewrite.clone(),
        batch_norm: BatchNormMode::Frozen,
        early_stopping: None,
        ..bed.spec(kind)
    }
}

fn original(bed: &Bed) -> Model {
    Model::open(&bed.folder.path().join("model.onnx")).unwrap()
}

/// The tuned model as it leaves, written, read again and held against its manifest.
fn emit(bed: &Bed, original: &Model, rewrite: &Rewrite, outcome: &TrialOutcome) -> Model {
    let mut editor = bed.network.editor(original).unwrap();
    let tuned = &outcome.parameters;
    let Merged { rewrite, values } = rewrite.merge(&bed.network, tuned).unwrap();
    rewrite.emit(&bed.network, &mut editor).unwrap();
    let Edited { proto, manifest } = export(editor, &values, &[]).unwrap();
    let path = bed.folder.path().join("tuned.onnx");
    save(&proto, &path).unwrap();
    let written = Model::open(&path).unwrap();
    holds(original, &written, &manifest).unwrap();
    written
}

/// Holds what a written model gives for all samples against the logits of the lab.
fn assert_gives(bed: &Bed, written: &Model, logits: &[f32], classes: usize) {
    let all: Vec<usize> = (0..bed.dataset.len()).collect();
    let mut inference = Inference::new(&bed.runtime, written, Device::Cpu, 1).unwrap();
    let outputs = inference.run_dataset(&bed.dataset, &all, &INPUT);
    let expected: Vec<f64> = logits.chunks(classes).flat_map(softmax).collect();
    let given = outputs.unwrap().values;
    assert_eq!(given.len(), expected.len());
    for (given, expected) in given.iter().zip(&expected) {
        assert!((f64::from(*given) - expected).abs() < 1e-5);
    }
}

#[test]
fn an_update_of_low_rank_begins_as_the_network_that_it_is_made_for() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let all: Vec<usize> = (0..30).collect();
    let plain = lab.logits(&Rewrite::None, &[], &all).unwrap();
    let of = |weights: &[&str]| {
        let rewrite = low_rank(weights, 3, 6);
        lab.logits(&rewrite, &[], &all).unwrap().values
    };
    assert_eq!(of(&[DENSE]), plain.values, "to the bit");
    // Behind an update batch normalisation is no longer folded into the convolution.
    for (a, b) in of(&["c1.w", "c2.w", "c3.w"]).iter().zip(&plain.values) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn a_and_b_move_by_the_gradient_of_the_weight_that_they_stand_for() {
    let keep = HeadSpec::new(HeadKind::Keep, 3, 0);
    let Some(bed) = Bed::of(|model| graft(model, None, &keep).unwrap()) else {
        return;
    };
    let (rank, alpha, rate) = (2, 3, 0.5);
    let train: Vec<usize> = (0..30).step_by(2).collect();
    for (weight, outputs, inputs) in [("c2.w", 8, 54), ("c3.w", 8, 72)] {
        let rewrite = low_rank(&[weight], rank, alpha);
        let parameters = LowRank::parameters_of(weight).to_vec();
        let spec = TrialSpec {
            trainable: parameters.clone(),
            epochs: 4,
            batch_size: train.len(),
            optimizer: Optimizer {
                kind: OptimizerKind::Sgd,
                learning_rate: rate.into(),
                weight_decay: 0.0,
                momentum: 0.0,
            },
            schedule: Schedule::Constant,
            class_weights: ClassWeights::None,
            ..spec(&bed, &rewrite, OptimizerKind::Sgd)
        };
        let lab = lab(&bed, &bed.network);
        let features = lab.features(spec.trained(), &train, &mut ()).unwrap();
        let outcome = lab
            .run(&spec, &train, &[], &features, None, &mut ())
            .unwrap();

        let values = |model: &Model, name: &str| {
            let graph = ftsurgery::graph::Graph::from_model(model).unwrap();
            graph.initializers[name].to_f32().unwrap()
        };
        let rewritten = rewrite.apply(&bed.network).unwrap().model;
        let [mut a, mut b] = [0, 1].map(|i| values(&rewritten, &parameters[i]));
        let first = a.clone();
        let mut losses = Vec::new();
        for _ in 0..spec.epochs {
            let tuned = [
                (parameters[0].clone(), a.clone()),
                (parameters[1].clone(), b.clone()),
            ];
            let editor = Editor::new(&bed.network.model).unwrap();
            let merged = rewrite.merge(&bed.network, &tuned).unwrap();
            let proto = export(editor, &merged.values, &[]).unwrap().proto;
            let network = Grafted {
                model: bed.network.model.with_proto(proto),
                manifest: Default::default(),
                head_parameters: Vec::new(),
                dropout: Vec::new(),
                output: bed.network.output.clone(),
                task: Default::default(),
            };
            let of_weight = Trained {
                parameters: &[weight.to_owned()],
                batch_norm: BatchNormMode::Frozen,
                rewrite: &Rewrite::None,
            };
            let (loss, gradients) = self::lab(&bed, &network)
                .gradients(of_weight, &Start::default(), &train)
                .unwrap();
            losses.push(f64::from(loss));
            let of = &gradients[0].values;
            let scale = alpha as f32 / rank as f32;
            let (old_a, old_b) = (a.clone(), b.clone());
            for r in 0..rank {
                for o in 0..outputs {
                    for i in 0..inputs {
                        let step = rate * scale * of[o * inputs + i];
                        a[r * inputs + i] -= step * old_b[o * rank + r];
                        b[o * rank + r] -= step * old_a[r * inputs + i];
                    }
                }
            }
        }
        let moved = |new: &[f32], old: &[f32]| {
            new.iter()
                .zip(old)
                .map(|(n, o)| (n - o).abs())
                .fold(0.0, f32::max)
        };
        assert!(moved(&a, &first) > 1e-3, "A moves, too");
        for (found, expected) in [(0, &a), (1, &b)] {
            let (name, found) = &outcome.parameters[found];
            let largest = moved(expected, &vec![0.0; expected.len()]);
            assert!(moved(found, expected) < 1e-4 * largest, "{weight} {name}");
        }
        for (epoch, loss) in outcome.epochs.iter().zip(&losses) {
            assert!((epoch.loss.unwrap() - loss).abs() < 1e-5);
            assert_eq!(epoch.penalty, None);
        }
        assert!(losses[3] < losses[0]);
    }
}

#[test]
fn updates_of_low_rank_are_merged_into_the_nodes_of_the_original() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let rewrite = low_rank(&["c2.w", "c3.w", DENSE], 2, 4);
    let mut spec = spec(&bed, &rewrite, OptimizerKind::Adam);
    spec.trainable.retain(|name| name != DENSE);
    let outcome = bed.run(&lab, &spec, None, &mut ()).unwrap();
    assert!(outcome.best_epoch > 0);
    let original = original(&bed);
    let written = emit(&bed, &original, &rewrite, &outcome);
    let tuned = ["c2.w", "c3.w"].map(str::to_owned).into_iter();
    let tuned: Vec<String> = tuned.chain(bed.network.head_parameters.clone()).collect();
    only_tuned(&original, &written, &tuned).unwrap();
    let nodes = |model: &Model| model.graph().node.clone();
    assert_eq!(nodes(&written), nodes(&bed.network.model));
    let all: Vec<usize> = (0..30).collect();
    let trained = lab.logits(&rewrite, &outcome.parameters, &all).unwrap();
    let plain = lab.logits(&Rewrite::None, &[], &all).unwrap();
    assert_ne!(trained.values, plain.values);
    assert_gives(&bed, &written, &trained.values, trained.classes);
}

/// Stops after a step.
#[derive(Default)]
struct Stop {
    after: Option<usize>,
    penalties: Vec<f64>,
}

impl Observer for Stop {
    fn step(&mut self, step: usize, _: usize, _: f32) -> Result<(), TrainingError> {
        match self.after {
            Some(last) if step >= last => Err(TrainingError::Stopped),
            _ => Ok(()),
        }
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<(), TrainingError> {
        self.penalties.extend(metrics.penalty);
        Ok(())
    }
}

fn checkpoint(path: PathBuf) -> Checkpointing {
    Checkpointing {
        path,
        every: Duration::MAX,
        at_end: false,
    }
}

#[test]
fn what_is_chosen_for_each_sample_is_trained_resumed_and_written() {
    let Some(bed) = Bed::new() else { return };
    for (rewrite, has_penalty) in [(spottune(&bed, 8), false), (adafilter(0.1), true)] {
        let lab = bed.lab();
        let mut spec = spec(&bed, &rewrite, OptimizerKind::Adam);
        spec.epochs = 5;
        spec.optimizer.learning_rate = 0.1.into();
        spec.schedule = Schedule::Constant;
        let mut whole = Stop::default();
        let unbroken = bed.run(&lab, &spec, None, &mut whole).unwrap();
        assert_eq!(
            bits(&bed.run(&lab, &spec, None, &mut ()).unwrap()),
            bits(&unbroken)
        );
        let expected = if has_penalty { 5 } else { 0 };
        assert_eq!(whole.penalties.len(), expected);
        assert!(whole.penalties.iter().all(|&p| p > 0.0 && p < 1.0));
        let to = checkpoint(bed.folder.path().join("checkpoint.safetensors"));
        for step in [1, 4, 6, 8] {
            let mut first = Stop {
                after: Some(step),
                ..Stop::default()
            };
            let result = bed.run(&lab, &spec, Some(&to), &mut first);
            assert!(matches!(result, Err(TrainingError::Stopped)));
            let mut rest = Stop::default();
            let resumed = bed.run(&lab, &spec, Some(&to), &mut rest).unwrap();
            std::fs::remove_file(&to.path).unwrap();
            assert_eq!(bits(&resumed), bits(&unbroken), "step {step}");
            let penalties = [first.penalties, rest.penalties].concat();
            let bits = |list: &[f64]| list.iter().map(|p| p.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&penalties), bits(&whole.penalties), "step {step}");
        }
        // Another order and other noise, another trial.
        let other = TrialSpec {
            seed: 4,
            ..spec.clone()
        };
        assert_ne!(
            bits(&bed.run(&lab, &other, None, &mut ()).unwrap()),
            bits(&unbroken)
        );

        let original = original(&bed);
        let written = emit(&bed, &original, &rewrite, &unbroken);
        let all: Vec<usize> = (0..30).collect();
        let parameters = &unbroken.parameters;
        let trained = lab.logits(&rewrite, parameters, &all).unwrap();
        assert_gives(&bed, &written, &trained.values, trained.classes);
        let inputs: Vec<&str> = written.graph().input.iter().map(|v| v.name()).collect();
        assert_eq!(inputs, ["image"]);
        let has = |op: &str| written.nodes_of(op).len();
        assert_eq!([has("Where"), has("ReduceMean")], [2, 0]);
    }
}

#[test]
fn a_tuned_copy_has_batch_statistics_of_its_own() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let rewrite = spottune(&bed, 8);
    let spec = TrialSpec {
        batch_norm: BatchNormMode::Batch,
        epochs: 2,
        ..spec(&bed, &rewrite, OptimizerKind::Adam)
    };
    let outcome = bed.run(&lab, &spec, None, &mut ()).unwrap();
    let moved = |of: &str| outcome.parameters.iter().any(|(name, _)| name == of);
    assert!(moved("ftsurgery/spottune/norm2/copy/c2.mean"));
    assert!(!moved("c2.mean"));
    let original = original(&bed);
    let written = emit(&bed, &original, &rewrite, &outcome);
    let all: Vec<usize> = (0..30).collect();
    let trained = lab.logits(&rewrite, &outcome.parameters, &all).unwrap();
    assert_gives(&bed, &written, &trained.values, trained.classes);
}

#[test]
fn a_checkpoint_of_another_rewrite_is_refused() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let to = checkpoint(bed.folder.path().join("checkpoint.safetensors"));
    let run = |rewrite: &Rewrite, after: Option<usize>| {
        let spec = spec(&bed, rewrite, OptimizerKind::Sgd);
        let mut stop = Stop {
            after,
            ..Stop::default()
        };
        bed.run(&lab, &spec, Some(&to), &mut stop)
    };
    // The parameters of the two have the same names, and the same first values but for a rank.
    for (first, second, word) in [
        (adafilter(0.25), adafilter(0.5), "0.5"),
        (spottune(&bed, 8), spottune(&bed, 9), "\"width\":9"),
        (
            low_rank(&["c2.w"], 2, 2),
            low_rank(&["c2.w"], 4, 4),
            "\"rank\":4",
        ),
        (
            low_rank(&["c2.w"], 2, 2),
            low_rank(&["c2.w"], 2, 4),
            "\"alpha\":4",
        ),
    ] {
        assert!(matches!(run(&first, Some(2)), Err(TrainingError::Stopped)));
        let refused = run(&second, None).unwrap_err().to_string();
        assert!(
            refused.contains("rewrite was") && refused.contains(word),
            "{refused}"
        );
        assert!(run(&first, None).is_ok());
        std::fs::remove_file(&to.path).unwrap();
    }
}

#[test]
fn a_parameter_that_the_rewrite_does_not_add_is_an_obstacle_and_the_others_are_none() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let low_rank = low_rank(&["c2.w"], 1, 1);
    let sets = [
        (spottune(&bed, 8), vec!["c1.w".to_owned()]),
        (low_rank.clone(), LowRank::parameters_of("c2.w").to_vec()),
        (Rewrite::None, LowRank::parameters_of("c2.w").to_vec()),
        (low_rank, LowRank::parameters_of("c3.w").to_vec()),
    ];
    let trained = sets.iter().map(|(rewrite, parameters)| Trained {
        parameters,
        batch_norm: BatchNormMode::Frozen,
        rewrite,
    });
    let trained: Vec<Trained<'_>> = trained.collect();
    let found = lab.obstacles(&[8, 4], &trained, &|| Ok(())).unwrap();
    let is_one: Vec<bool> = found.iter().map(Option::is_some).collect();
    assert_eq!(is_one, [false, false, true, true]);
}
