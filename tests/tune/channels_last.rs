//! Models as tf2onnx writes Keras networks: images with their channels last, layers in the other
//! order between two transpositions.

use std::fs::File;
use std::path::Path;

use ftsurgery::classifier::Inference;
use ftsurgery::graph::{Attribute, Dim, Graph, Node, Value};
use ftsurgery::onnx::{DataType, Model, Tensor, save};
use ftsurgery::runtime::{Device, Runtime, locate};
use ftsurgery::testing::only_tuned;
use ndarray::{Array1, Array4};
use ndarray_npy::NpzWriter;

use crate::support::*;

const SAMPLES: usize = 18;

/// Three stages of convolution and pooling on images [N, 16, 16, 3], flattened to a shape that is
/// computed from the feature map's; a dense layer of `MatMul` and `Add` with ReLU and a batch
/// normalisation written out as `Mul` and `Add`; another dense layer and the softmax of three
/// classes.
fn save_keras(path: &Path) {
    let value = |name: &str, dims: &[usize]| Value {
        name: name.to_owned(),
        dtype: DataType::Float,
        dims: Some(
            std::iter::once(Dim::Symbolic("unk__1".to_owned()))
                .chain(dims.iter().map(|&d| Dim::Known(d)))
                .collect(),
        ),
    };
    let mut graph = Graph {
        inputs: vec![value("input", &[16, 16, 3])],
        outputs: vec![value("probabilities", &[3])],
        ..Graph::new(13)
    };
    let mut node = |name: &str, op: &str, inputs: &[&str], attributes: &[(&str, Attribute)]| {
        let mut node = Node::new(name, op, inputs, &[name]);
        for (key, value) in attributes {
            node = node.with(key, value.clone());
        }
        graph.nodes.push(node);
        name.to_owned()
    };
    let ints = |values: &[i64]| Attribute::Ints(values.to_vec());
    let mut x = node(
        "first",
        "Transpose",
        &["input"],
        &[("perm", ints(&[0, 3, 1, 2]))],
    );
    let two = [("kernel_shape", ints(&[2, 2])), ("strides", ints(&[2, 2]))];
    for i in 1..=3 {
        let (w, b) = (format!("c{i}.w"), format!("c{i}.b"));
        let pads = [("pads", ints(&[1; 4]))];
        x = node(&format!("conv{i}"), "Conv", &[&x, &w, &b], &pads);
        x = node(&format!("relu{i}"), "Relu", &[&x], &[]);
        x = node(&format!("pool{i}"), "MaxPool", &[&x], &two);
    }
    let back = node("last", "Transpose", &[&x], &[("perm", ints(&[0, 2, 3, 1]))]);
    let shape = node("shape", "Shape", &[&x], &[]);
    let shape = node("ordered", "Gather", &[&shape, "order"], &[]);
    let shape = node("narrow", "Cast", &[&shape], &[("to", 6.into())]);
    let shape = node("batch", "Slice", &[&shape, "zero", "one", "zero"], &[]);
    let shape = node(
        "joined",
        "Concat",
        &[&shape, "width"],
        &[("axis", 0.into())],
    );
    let shape = node("target", "Cast", &[&shape], &[("to", 7.into())]);
    x = node("flat", "Reshape", &[&back, &shape], &[]);
    x = node("fc1", "MatMul", &[&x, "fc1.w"], &[]);
    x = node("fc1/bias", "Add", &[&x, "fc1.b"], &[]);
    x = node("fc1/relu", "Relu", &[&x], &[]);
    x = node("norm/mul", "Mul", &[&x, "norm.scale"], &[]);
    x = node("norm/add", "Add", &[&x, "norm.shift"], &[]);
    x = node("fc2", "MatMul", &[&x, "fc2.w"], &[]);
    x = node("fc2/bias", "Add", &[&x, "fc2.b"], &[]);
    node("probabilities", "Softmax", &[&x], &[]);

    let mut add = |name: &str, tensor: Tensor| {
        graph.initializers.insert(name.to_owned(), tensor);
    };
    for (i, pair) in [3, 6, 8, 8].windows(2).enumerate() {
        let (from, to) = (pair[0], pair[1]);
        let weight = Tensor::f32(&[to, from, 3, 3], &noise(to * from * 9, 0.4));
        add(&format!("c{}.w", i + 1), weight);
        add(&format!("c{}.b", i + 1), Tensor::f32(&[to], &vec![0.1; to]));
    }
    add("fc1.w", Tensor::f32(&[32, 8], &noise(256, 0.3)));
    add("fc1.b", Tensor::f32(&[8], &[0.1; 8]));
    add("norm.scale", Tensor::f32(&[8], &[1.5; 8]));
    add("norm.shift", Tensor::f32(&[8], &[-0.2; 8]));
    add("fc2.w", Tensor::f32(&[8, 3], &noise(24, 0.5)));
    add("fc2.b", Tensor::f32(&[3], &[0.0; 3]));
    add("order", Tensor::i64s(&[0, 2, 3, 1]));
    add("zero", Tensor::i64s(&[0]));
    add("one", Tensor::i64s(&[1]));
    add(
        "width",
        Tensor {
            dtype: DataType::Int32,
            dims: vec![1],
            data: 32i32.to_le_bytes().to_vec().into(),
        },
    );
    save(&graph.to_model(usize::MAX).0, path).unwrap();
}

/// The rows of probabilities that a model gives for `samples` images [N, 16, 16, 3].
fn probabilities(model: &Model, samples: usize, pixel: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let runtime = Runtime::load(&locate::locate(None).unwrap().located).unwrap();
    let mut inference = Inference::new(&runtime, model, Device::Cpu, 1).unwrap();
    let fill = &mut |range: std::ops::Range<usize>, values: &mut [f32]| {
        for (sample, image) in range.zip(values.chunks_mut(768)) {
            for (i, value) in image.iter_mut().enumerate() {
                *value = pixel(sample, i);
            }
        }
        Ok(())
    };
    inference.run(&[16, 16, 3], samples, fill).unwrap().values
}

#[test]
fn a_channels_last_model_is_tuned_and_keeps_its_input() {
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    save_keras(&at("model.onnx"));
    save_photos(&at("photos"), 12);
    let mut arguments: Vec<&str> = QUICK.split(' ').collect();
    arguments.extend(["--strategies", "head,blocks"]);
    tune(&at("model.onnx"), &at("photos"), &at("run"), &arguments)
        .assert()
        .success();

    let original = Model::open(&at("model.onnx")).unwrap();
    let run = json(&at("run/run.json"));
    let results = json(&at("run/results.json"));
    let strategies = results["strategies"].as_array().unwrap();
    assert_eq!(strategies.len(), 2);
    let plans = run["strategies"].as_array().unwrap();
    assert_eq!(plans[1]["candidates"].as_array().unwrap().len(), 3);
    for (strategy, plan) in strategies.iter().zip(plans) {
        let candidates = plan["candidates"].as_array().unwrap();
        let mut labels = candidates.iter();
        let candidate = labels.find(|c| c["label"] == strategy["candidate"]);
        let tuned: Vec<String> =
            serde_json::from_value(candidate.unwrap()["trainable"].clone()).unwrap();
        let path = at("run").join(strategy["model"].as_str().unwrap());
        let model = Model::open(&path).unwrap();
        only_tuned(&original, &model, &tuned).unwrap();
        assert_eq!(model.graph().input, original.graph().input);
        let rows = probabilities(&model, 2, |s, i| ((s + i) as f32 * 0.37).sin());
        for row in rows.chunks(3) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{rows:?}");
        }

        let mut command = ftsurgery();
        command.arg("evaluate").arg(&path).arg("--json");
        command.arg("--data").arg(at("photos"));
        command.arg("--split").arg(at("run/split.json"));
        let output = command.args(["--part", "held_out"]).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["accuracy"], strategy["held_out_accuracy"]);
    }
}

#[test]
fn the_loss_of_a_kept_head_is_taken_before_its_softmax() {
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    save_keras(&at("model.onnx"));
    let x = Array4::from_shape_vec([SAMPLES, 3, 16, 16], noise(SAMPLES * 768, 1.0)).unwrap();
    let y = Array1::from_shape_fn(SAMPLES, |i| (i % 3) as i64);
    let mut writer = NpzWriter::new(File::create(at("data.npz")).unwrap());
    writer.add_array("x", &x).unwrap();
    writer.add_array("y", &y).unwrap();
    writer.finish().unwrap();
    let settings = "--head keep --strategies head --search-fraction 0 --train-fraction 1 \
                    --no-shuffle --batch-size 18 --epochs 2 --lr 1e-2 --log-steps";
    let arguments: Vec<&str> = settings.split_whitespace().collect();
    tune(&at("model.onnx"), &at("data.npz"), &at("run"), &arguments)
        .assert()
        .success();

    let original = Model::open(&at("model.onnx")).unwrap();
    let rows = probabilities(&original, SAMPLES, |s, i| {
        let (pixel, channel) = (i / 3, i % 3);
        x[[s, channel, pixel / 16, pixel % 16]]
    });
    let losses = rows
        .chunks(3)
        .zip(&y)
        .map(|(row, &l)| -row[l as usize].ln());
    let expected = f64::from(losses.sum::<f32>()) / SAMPLES as f64;
    let steps: Vec<f64> = lines(&at("run/trials/head-train/metrics.jsonl"))
        .iter()
        .filter(|l| l.get("step").is_some())
        .map(|l| l["loss"].as_f64().unwrap())
        .collect();
    assert!((steps[0] - expected).abs() < 1e-4, "{steps:?} {expected}");
    assert!(steps[1] < steps[0], "{steps:?}");

    let tuned = Model::open(&at("run/winners/head.onnx")).unwrap();
    let classifier = [
        "fc1.w",
        "fc1.b",
        "norm.scale",
        "norm.shift",
        "fc2.w",
        "fc2.b",
    ];
    only_tuned(&original, &tuned, &classifier.map(str::to_owned)).unwrap();
    assert_eq!(tuned.graph().node, original.graph().node);
    for (before, after) in original
        .graph()
        .initializer
        .iter()
        .zip(&tuned.graph().initializer)
    {
        let name = before.name.as_deref().unwrap();
        let changed = original.tensor(before).unwrap() != tuned.tensor(after).unwrap();
        assert_eq!(changed, classifier.contains(&name), "{name}");
    }
}
