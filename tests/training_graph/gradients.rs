//! `ftsurgery differentiate` without an optimizer: from Python, and on the command line.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use ftsurgery::graph::{Builder, Graph, Value};
use ftsurgery::onnx::{Model, save};
use ftsurgery::runtime::testing::has_runtime;
use ftsurgery::testing;
use ndarray::{Array1, ArrayD};

use crate::networks::Small;
use crate::scene::{Arrays, ftsurgery, save_samples};

/// A Python with onnx and onnxruntime: `FTSURGERY_PYTHON`, which must have them, or `python3`.
fn python() -> Option<PathBuf> {
    let python = testing::python(&["numpy", "onnx", "onnxruntime"]);
    if python.is_none() {
        assert!(
            std::env::var_os("FTSURGERY_PYTHON").is_none(),
            "FTSURGERY_PYTHON lacks onnx or onnxruntime"
        );
        testing::skip(
            "python",
            "python3 with numpy, onnx and onnxruntime (FTSURGERY_PYTHON)",
        );
    }
    python
}

/// A small classifier whose own names are all in the way: its input is `labels`, its logits `loss`, an inner value `grad/w`,
/// and two nodes have one name.
fn save_awkward(path: &Path) {
    let names = Small {
        input: "labels",
        map: "grad/w",
        output: "loss",
        weights: ["w", "fc"],
    };
    let mut model = names.graph("Sigmoid", 3).to_model(usize::MAX).0;
    let nodes = &mut model.graph.as_mut().unwrap().node;
    let taken = nodes[1].name.clone();
    nodes[2].name = taken;
    save(&model, path).unwrap();
}

/// As [`agrees_on`], for one label per sample.
fn agrees(model: &Path, x: &ArrayD<f32>, y: &[i64]) {
    agrees_on(
        "single-label",
        model,
        x,
        &Array1::from(y.to_vec()).into_dyn(),
    );
}

/// Differentiates and has Python hold the result against `ftsurgery gradients`.
fn agrees_on(task: &str, model: &Path, x: &ArrayD<f32>, y: &ArrayD<i64>) {
    let Some(python) = python().filter(|_| has_runtime()) else {
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    save_samples(&at("batch.npz"), x, y);
    ftsurgery(&["gradients"])
        .arg(model)
        .args(["--operators", "standard", "--task", task])
        .arg("--batch")
        .arg(at("batch.npz"))
        .arg("--out")
        .arg(at("gradients.npz"))
        .assert()
        .success();
    ftsurgery(&["differentiate"])
        .arg(model)
        .args(["--task", task, "--batch-size", &y.shape()[0].to_string()])
        .arg("--out")
        .arg(at("step.onnx"))
        .assert()
        .success();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/training_graph/gradients.py");
    let output = Command::new(python)
        .arg(script)
        .args([at("step.onnx"), at("batch.npz"), at("gradients.npz")])
        .assert()
        .success();
    let said = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    eprintln!("{}: {said}", model.display());
}

#[test]
fn python_runs_the_file_and_finds_the_same_gradients() {
    let Some(shared) = testing::shared() else {
        return;
    };
    for network in ["vgg", "mobilenet_v2", "mobilenet_v3", "resnet_v2"] {
        let folder = shared.join("reference").join(network);
        let arrays = Arrays(folder.join("reference.npz"));
        let (x, y) = (arrays.batches::<f32>("x"), arrays.batches::<i64>("y"));
        let labels: Vec<i64> = y[0].iter().copied().collect();
        agrees(&folder.join("model.onnx"), &x[0], &labels);
    }
}

#[test]
fn names_of_the_model_keep_their_meaning_and_ours_give_way() {
    let work = tempfile::tempdir().unwrap();
    let (model, out) = (
        work.path().join("model.onnx"),
        work.path().join("step.onnx"),
    );
    save_awkward(&model);
    let assert = ftsurgery(&["differentiate"])
        .arg(&model)
        .args(["--batch-size", "3", "--out"])
        .arg(&out)
        .assert()
        .success();
    let said = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    for line in [
        "labels [3, 2, 4, 4]",
        "labels_2 [3]",
        "loss_2 []",
        "loss [3, 3]",
    ] {
        assert!(said.contains(line), "no {line} in {said}");
    }
    let made = Model::open(&out).unwrap();
    let names = |values: &[ftsurgery::onnx::messages::ValueInfoProto]| -> Vec<String> {
        values.iter().filter_map(|v| v.name.clone()).collect()
    };
    assert_eq!(
        names(&made.graph().input),
        ["labels", "w", "fc", "labels_2"]
    );
    assert_eq!(
        names(&made.graph().output),
        ["loss_2", "loss", "grad/w", "grad/fc"]
    );
    let x = ArrayD::from_shape_fn(&[3, 2, 4, 4][..], |i| {
        (i[0] * 7 + i[2] * 3 + i[3]) as f32 / 9.0
    });
    agrees(&model, &x, &[0, 2, 1]);
}

/// A classifier with so many outputs, which end as they are or in sigmoids.
fn save_of_outputs(path: &Path, outputs: usize, ending: Option<&str>) {
    let names = Small {
        input: "x",
        map: "conv",
        output: "scores",
        weights: ["w", "fc"],
    };
    let mut graph = names.graph("Softplus", outputs);
    if let Some(ending) = ending {
        let mut b = Builder::new(&mut graph);
        let ended = b.op("probabilities", ending, &["scores"], vec![]);
        graph.outputs = vec![Value::batched(&ended, &[outputs])];
    }
    save(&graph.to_model(usize::MAX).0, path).unwrap();
}

#[test]
fn each_class_by_itself_and_two_by_one_output_have_the_binary_cross_entropy() {
    let work = tempfile::tempdir().unwrap();
    let model = work.path().join("model.onnx");
    let x = ArrayD::from_shape_fn(&[3, 2, 4, 4][..], |i| {
        (i[0] * 7 + i[2] * 3 + i[3]) as f32 / 9.0 - 1.0
    });
    let labels =
        |dims: &[usize], y: &[i64]| ArrayD::from_shape_vec(dims.to_vec(), y.to_vec()).unwrap();
    for ending in [None, Some("Sigmoid")] {
        save_of_outputs(&model, 4, ending);
        let y = labels(&[3, 4], &[1, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 0]);
        agrees_on("multi-label", &model, &x, &y);
        save_of_outputs(&model, 1, ending);
        agrees_on("binary", &model, &x, &labels(&[3], &[1, 0, 1]));
        agrees_on("binary", &model, &x, &labels(&[3, 1], &[0, 0, 0]));
    }
    // One output tells by itself that it is of two classes, and the logits are its own.
    let out = work.path().join("step.onnx");
    let made = || {
        let mut command = ftsurgery(&["differentiate", "--force"]);
        command.arg(&model).arg("--out").arg(&out);
        command
    };
    let assert = made().assert().success();
    let said = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    for line in ["  labels [1], int64", "  scores [1, 1]", "  loss []"] {
        assert!(said.contains(line), "no {line} in {said}");
    }
    for task in ["single-label", "multi-label"] {
        let assert = made().args(["--task", task]).assert().code(2);
        let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(said.contains("--task binary"), "{said}");
    }
    // Sigmoids of several classes say the way out.
    save_of_outputs(&model, 4, Some("Sigmoid"));
    let assert = made().assert().code(2);
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(said.contains("--task multi-label"), "{said}");
    let assert = made().args(["--task", "multi-label"]).assert().success();
    let said = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    assert!(said.contains("  labels [1, 4], float"), "{said}");
}

#[test]
fn a_float16_model_gives_a_float32_file() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/exporters");
    let x = ArrayD::from_shape_fn(&[3, 3, 8, 8][..], |i| {
        (i[0] * 7 + i[2] * 3 + i[3]) as f32 / 9.0
    });
    for name in ["half.onnx", "half_inside.onnx", "constant_nodes.onnx"] {
        agrees(&fixtures.join(name), &x, &[0, 2, 1]);
    }
}

#[test]
fn frozen_weights_are_inside_and_only_the_chosen_are_inputs() {
    let work = tempfile::tempdir().unwrap();
    let (model, out) = (
        work.path().join("model.onnx"),
        work.path().join("step.onnx"),
    );
    save_awkward(&model);
    ftsurgery(&["differentiate"])
        .arg(&model)
        .args(["--trainable", "f*", "--out"])
        .arg(&out)
        .assert()
        .success();
    let made = Model::open(&out).unwrap();
    let graph = Graph::from_model(&made).unwrap();
    let open: Vec<&str> = graph.inputs.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(open, ["labels", "labels_2"]);
    assert!(graph.initializers.contains_key("w") && graph.initializers.contains_key("fc"));
    let declared = |name: &str| {
        let mut inputs = made.graph().input.iter();
        inputs.any(|i| i.name.as_deref() == Some(name))
    };
    assert!(declared("fc") && !declared("w"));
    let outputs = made.graph().output.iter();
    let outputs: Vec<&str> = outputs.filter_map(|o| o.name.as_deref()).collect();
    assert_eq!(outputs, ["loss_2", "loss", "grad/fc"]);
}

#[test]
fn what_cannot_be_done_is_refused_and_nothing_is_overwritten() {
    let work = tempfile::tempdir().unwrap();
    let (model, out) = (
        work.path().join("model.onnx"),
        work.path().join("step.onnx"),
    );
    save_awkward(&model);
    let refused = |arguments: &[&str], word: &str| {
        let assert = ftsurgery(&["differentiate"])
            .arg(&model)
            .args(arguments)
            .arg("--out")
            .arg(&out)
            .assert()
            .code(2)
            .stdout("");
        let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(said.contains(word), "no {word} in {said}");
    };
    refused(&["--trainable", "head.*"], "`head.*`");
    refused(&["--task", "hinge"], "hinge");
    refused(&["--task", "binary"], "3 outputs");
    refused(&["--batch-size", "0"], "--batch-size");
    let mut graph = Graph::from_model(&Model::open(&model).unwrap()).unwrap();
    let soft = graph.nodes.iter_mut().find(|n| n.name == "soft").unwrap();
    soft.op_type = "Hardmax".to_owned();
    save(&graph.to_model(usize::MAX).0, &model).unwrap();
    refused(
        &[],
        "Hardmax (node `soft`), which lies between the parameter `w`",
    );
    refused(&[], "--trainable: fc");
    save_awkward(&model);
    assert!(!out.exists());
    std::fs::write(&out, "mine").unwrap();
    refused(&[], "--force");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "mine");
    ftsurgery(&["differentiate"])
        .arg(&model)
        .arg("--force")
        .arg("--out")
        .arg(&out)
        .assert()
        .success();
    Model::open(&out).unwrap();
}
