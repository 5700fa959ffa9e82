//! BatchNormalization with the statistics of the batch.

use std::collections::HashMap;
use std::path::Path;

use ftsurgery::graph::{Builder, Graph, Value};
use ftsurgery::onnx::{Model, Tensor, save};
use ftsurgery::surgery::{HeadKind, HeadSpec, Rewrite, graft};
use ftsurgery::testing::only_tuned;
use ftsurgery::training::{
    BatchNormMode, ClassWeights, Monitor, Optimizer, OptimizerKind, Schedule, TrialSpec,
    trainable_parameters,
};
use ndarray::{Array1, Array4};
use ndarray_npy::NpzWriter;

use crate::bed::Bed;
use crate::scene::*;
use crate::support::*;

type Tensors = HashMap<String, Vec<f32>>;

fn tensors(model: &Model) -> Tensors {
    let all = model.graph().initializer.iter();
    all.filter_map(|t| Some((t.name.clone()?, model.tensor(t).ok()?.to_f32()?)))
        .collect()
}

fn statistics(blocks: &[usize]) -> Vec<String> {
    let both = |i: &usize| [format!("c{i}.mean"), format!("c{i}.var")];
    blocks.iter().flat_map(both).collect()
}

#[test]
fn the_statistics_of_trained_layers_are_exported_and_no_others() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let at = |name: &str| scene.at(name);
    scene
        .tune("run", &format!("{QUICK} --bn batch"))
        .assert()
        .success();
    let run = json(&at("run/run.json"));
    assert_eq!(run["configuration"]["bn"], "batch");

    let original = Model::open(&at("model.onnx")).unwrap();
    let before = tensors(&original);
    let results = json(&at("run/results.json"));
    for (strategy, norms) in [("head", 0), ("full", 3), ("blocks", 1)] {
        let of = |list: &serde_json::Value| {
            let mut all = list.as_array().unwrap().iter();
            all.find(|s| s["name"] == strategy).unwrap().clone()
        };
        let label = of(&results["strategies"])["candidate"].clone();
        let candidates = of(&run["strategies"])["candidates"].clone();
        let mut all = candidates.as_array().unwrap().iter();
        let candidate = all.find(|c| c["label"] == label).unwrap();
        let mut tuned: Vec<String> =
            serde_json::from_value(candidate["trainable"].clone()).unwrap();
        let trained: Vec<usize> = (1..=3)
            .filter(|i| tuned.contains(&format!("c{i}.scale")))
            .collect();
        assert_eq!(trained.len(), norms, "{strategy}");

        let model = Model::open(&at(&format!("run/winners/{strategy}.onnx"))).unwrap();
        assert_eq!(model.metadata("ftsurgery.bn"), Some("batch"));
        let after = tensors(&model);
        for name in statistics(&trained) {
            assert_ne!(before[&name], after[&name], "{strategy} {name}");
        }
        if !trained.is_empty() {
            only_tuned(&original, &model, &tuned).unwrap_err();
        }
        tuned.extend(statistics(&trained));
        only_tuned(&original, &model, &tuned).unwrap();
    }
}

#[test]
fn with_stored_statistics_these_stay_and_the_model_says_so() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(8);
    let at = |name: &str| scene.at(name);
    scene
        .tune("run", &format!("{QUICK} --strategies full"))
        .assert()
        .success();
    let before = tensors(&Model::open(&at("model.onnx")).unwrap());
    let model = Model::open(&at("run/winners/full.onnx")).unwrap();
    assert_eq!(model.metadata("ftsurgery.bn"), Some("frozen"));
    let after = tensors(&model);
    for name in statistics(&[1, 2, 3]) {
        assert_eq!(before[&name], after[&name]);
    }
}

#[test]
fn validation_takes_the_running_statistics_of_the_epoch_that_is_kept() {
    let keep = HeadSpec::new(HeadKind::Keep, 3, 0);
    let Some(bed) = Bed::of(|model| graft(model, None, &keep).unwrap()) else {
        return;
    };
    let lab = bed.lab();
    let model = Model::open(&bed.folder.path().join("model.onnx")).unwrap();
    let (train, validation): (Vec<usize>, Vec<usize>) = (0..30).partition(|i| i % 3 > 0);
    let mut spec = TrialSpec {
        trainable: trainable_parameters(&model, &[3, 16, 16]).unwrap(),
        rewrite: Rewrite::None,
        batch_norm: BatchNormMode::Batch,
        epochs: 4,
        batch_size: 4,
        optimizer: Optimizer {
            kind: OptimizerKind::Sgd,
            learning_rate: 0.5.into(),
            weight_decay: 0.0,
            momentum: 0.9,
        },
        schedule: Schedule::Constant,
        monitor: Monitor::Accuracy,
        early_stopping: None,
        class_weights: ClassWeights::None,
        seed: 1,
        shuffle: true,
        threads: 1,
        ..TrialSpec::default()
    };
    let run = |spec: &TrialSpec| {
        let all: Vec<usize> = (0..30).collect();
        let features = lab.features(spec.trained(), &all, &mut ()).unwrap();
        lab.run(spec, &train, &validation, &features, None, &mut ())
            .unwrap()
    };
    let outcome = run(&spec);
    let (best, last) = (outcome.best_epoch, spec.epochs);
    assert!(best < last, "not the last: {:?}", outcome.epochs);

    // Behind a frozen convolution, too.
    spec.trainable = ["c2.scale", "c2.bias", "fc.w"].map(str::to_owned).to_vec();
    let partly = run(&spec);
    for (outcome, norms) in [(outcome, 3), (partly, 1)] {
        let kept = lab.predict(&outcome.parameters, &validation).unwrap();
        let (kept, watched) = (kept.score(), outcome.validation().unwrap());
        assert_eq!(kept.accuracy, watched.accuracy);
        assert!((kept.loss - watched.loss).abs() < 1e-4 * watched.loss.max(1.0));

        let trained = outcome.parameters.len() - 2 * norms;
        let trained = &outcome.parameters[..trained];
        let stored = lab.predict(trained, &validation).unwrap().score();
        assert!((stored.loss - kept.loss).abs() > 1e-2, "statistics matter");
        let count: usize = trained.iter().map(|(_, values)| values.len()).sum();
        assert_eq!(outcome.trained_parameters, count, "they do not count");
    }
}

/// Images 3 × 4 × 4, convolved twice, to one pixel of two channels; with or without BatchNormalization.
fn save_small(path: &Path, with_norm: bool) {
    let mut graph = Graph {
        inputs: vec![Value::batched("image", &[3, 4, 4])],
        ..Graph::new(17)
    };
    let mut add = |name: &str, dims: &[usize], values: Vec<f32>| {
        let tensor = Tensor::f32(dims, &values);
        graph.initializers.insert(name.to_owned(), tensor);
    };
    add("first.w", &[3, 3, 1, 1], noise(9, 0.8));
    add("conv.w", &[2, 3, 4, 4], noise(96, 0.4));
    add("fc.w", &[2, 2], noise(4, 0.4));
    if with_norm {
        for (name, value) in [("scale", 1.0), ("bias", 0.1), ("mean", 0.0), ("var", 1.0)] {
            add(name, &[2], vec![value; 2]);
        }
    }
    let mut b = Builder::new(&mut graph);
    let x = b.op("first", "Conv", &["image", "first.w"], vec![]);
    let mut x = b.op("conv", "Conv", &[&x, "conv.w"], vec![]);
    if with_norm {
        let inputs = [x.as_str(), "scale", "bias", "mean", "var"];
        x = b.op("norm", "BatchNormalization", &inputs, vec![]);
    }
    let x = b.op("flat", "Flatten", &[&x], vec![]);
    let x = b.op("scores", "Gemm", &[&x, "fc.w"], vec![]);
    graph.outputs.push(Value::batched(&x, &[2]));
    save(&graph.to_model(usize::MAX).0, path).unwrap();
}

fn save_array(path: &Path, samples: usize) {
    let pixels = noise(samples * 48, 1.0);
    let mut npz = NpzWriter::new(std::fs::File::create(path).unwrap());
    let x = Array4::from_shape_vec((samples, 3, 4, 4), pixels).unwrap();
    npz.add_array("x", &x).unwrap();
    let y: Array1<i64> = (0..samples as i64).map(|i| i % 2).collect();
    npz.add_array("y", &y).unwrap();
    npz.finish().unwrap();
}

#[test]
fn a_batch_with_one_value_per_channel_is_bad_input_before_anything_is_trained() {
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    save_small(&at("model.onnx"), true);
    save_array(&at("three.npz"), 3);
    save_array(&at("one.npz"), 1);
    let arguments = "--head keep --strategies full --search-fraction 0 --train-fraction 1 \
                     --bn batch --batch-size";
    let run = |name: &str, batch: &str| {
        let mut arguments: Vec<&str> = arguments.split_whitespace().collect();
        arguments.extend([batch, "--epochs", "1"]);
        tune(&at("model.onnx"), &at("three.npz"), &at(name), &arguments).assert()
    };
    let told = |output: &std::process::Output| {
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            message.contains("one value per channel") && message.contains("`norm`"),
            "{message}"
        );
    };
    run("whole", "3").success();
    told(run("rest", "2").code(2).get_output());
    assert!(!at("rest").exists(), "no run was begun");
    // Also where it is only the search that has a sample left over.
    save_array(&at("three.npz"), 24);
    let mut command = ftsurgery();
    command.arg("tune").arg(at("model.onnx"));
    command.arg("--data").arg(at("three.npz"));
    command.arg("--out").arg(at("search"));
    let arguments = "--head keep --strategies full,layers --search-fraction 0.25 \
                     --train-fraction 0.5 --bn batch --epochs 1 --search-epochs 1 --batch-size";
    command.args(arguments.split_whitespace());
    let parts = |size: &str| {
        let mut again = assert_cmd::Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
        again.args(command.get_args()).arg(size).output().unwrap()
    };
    // Of 4 samples in the search 3 and 1, while 12 for a winner are four batches of 3.
    let output = parts("3");
    assert!(!at("search").exists(), "no run was begun");
    assert_eq!(output.status.code(), Some(2));
    told(&output);

    let mut command = ftsurgery();
    command.arg("gradients").arg(at("model.onnx"));
    command.arg("--batch").arg(at("one.npz"));
    command.arg("--out").arg(at("out.npz"));
    command.assert().success();
    told(
        command
            .args(["--bn", "batch"])
            .assert()
            .code(2)
            .get_output(),
    );
}

#[test]
fn it_is_said_when_no_batch_normalization_is_trained() {
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    save_array(&at("data.npz"), 4);
    let arguments = "--head keep --strategies full --search-fraction 0 --train-fraction 1 \
                     --epochs 1";
    for (model, bn, said) in [
        ("without", "batch", true),
        ("without", "frozen", false),
        ("with", "batch", false),
    ] {
        save_small(&at("model.onnx"), model == "with");
        let mut commands =
            [(); 2].map(|()| assert_cmd::Command::new(env!("CARGO_BIN_EXE_ftsurgery")));
        let [tune, gradients] = &mut commands;
        tune.arg("tune").arg(at("model.onnx")).args(["--bn", bn]);
        tune.args(arguments.split_whitespace()).arg("--force");
        tune.arg("--data")
            .arg(at("data.npz"))
            .arg("--out")
            .arg(at("run"));
        gradients
            .arg("gradients")
            .arg(at("model.onnx"))
            .args(["--bn", bn]);
        gradients
            .arg("--batch")
            .arg(at("data.npz"))
            .arg("--out")
            .arg(at("g.npz"));
        for command in &mut commands {
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let message = String::from_utf8_lossy(&output.stderr);
            let found = message.contains("no BatchNormalization is trained");
            assert_eq!(found, said, "{model} {bn}: {message}");
        }
    }
}
