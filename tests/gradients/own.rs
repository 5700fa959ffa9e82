//! Models of one's own, and what is refused of them.

use std::path::Path;

use assert_cmd::Command;
use ftsurgery::graph::{Builder, Graph, Value};
use ftsurgery::onnx::{DataType, Tensor, save};
use ftsurgery::runtime::testing::has_runtime;
use ndarray::ArrayD;

use super::{gradient_names, gradients, open, read, save_arrays, save_batch};

/// A convolution `conv.w` of 2 channels, then `middle`, a pooling and the classifier `fc.w` of 3
/// classes, over images of 2 × 4 × 4.
fn save_model(path: &Path, middle: &str) {
    let mut graph = Graph {
        inputs: vec![Value::batched("image", &[2, 4, 4])],
        ..Graph::new(17)
    };
    let ramp = |dims: &[usize]| {
        let count: usize = dims.iter().product();
        let values: Vec<f32> = (0..count).map(|i| (i as f32 * 0.7).sin()).collect();
        Tensor::f32(dims, &values)
    };
    for (name, dims) in [("conv.w", &[2, 2, 3, 3][..]), ("fc.w", &[2, 3])] {
        graph.initializers.insert(name.to_owned(), ramp(dims));
    }
    let mut b = Builder::new(&mut graph);
    let x = b.op("conv", "Conv", &["image", "conv.w"], vec![]);
    let x = b.op("middle", middle, &[&x], vec![]);
    let x = b.op("pool", "GlobalAveragePool", &[&x], vec![]);
    let x = b.op("flat", "Flatten", &[&x], vec![]);
    let x = b.op("fc", "Gemm", &[&x, "fc.w"], vec![]);
    graph.outputs.push(Value::batched(&x, &[3]));
    save(&graph.to_model(usize::MAX).0, path).unwrap();
}

/// Runs on a model with `middle`, images of the given dimensions and labels; expects exit code 2,
/// nothing on stdout, no output file, and each of `words` in the message.
fn fails(middle: &str, dims: &[usize], labels: &[i64], arguments: &[&str], words: &[&str]) {
    if !has_runtime() {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name);
    let (model, batch, out) = (path("model.onnx"), path("batch.npz"), path("out.npz"));
    save_model(&model, middle);
    save_batch(&batch, &ArrayD::<f32>::ones(dims), labels);
    let assert = gradients(&model, &batch, &out)
        .args(arguments)
        .assert()
        .code(2)
        .stdout("");
    let message = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    for word in words {
        assert!(message.contains(word), "no {word} in: {message}");
    }
    let left: Vec<_> = std::fs::read_dir(work.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_model_of_ones_own_works() {
    if !has_runtime() {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name);
    let (model, batch, out) = (path("model.onnx"), path("batch.npz"), path("out.npz"));
    save_model(&model, "Mish");
    save_batch(&batch, &ArrayD::<f32>::ones(&[2, 2, 4, 4][..]), &[0, 2]);
    gradients(&model, &batch, &out).assert().success();
    let names = gradient_names(&mut open(&out));
    assert_eq!(
        names.into_iter().collect::<Vec<_>>(),
        ["grad/conv.w", "grad/fc.w"]
    );
}

#[test]
fn a_pattern_that_matches_nothing_is_bad_input() {
    let arguments = ["--wrt", "head.*"];
    fails(
        "Relu",
        &[2, 2, 4, 4],
        &[0, 1],
        &arguments,
        &["head.*", "conv.w, fc.w"],
    );
}

#[test]
fn each_of_several_patterns_must_match() {
    let arguments = ["--wrt", "conv.*", "--wrt", "head.*"];
    fails(
        "Relu",
        &[2, 2, 4, 4],
        &[0, 1],
        &arguments,
        &["head.*", "conv.w, fc.w"],
    );
}

#[test]
fn a_label_beyond_the_classes_is_bad_input() {
    fails(
        "Relu",
        &[2, 2, 4, 4],
        &[0, 3],
        &[],
        &["label 3", "3 classes"],
    );
    fails("Relu", &[2, 2, 4, 4], &[0, -1], &[], &["-1"]);
}

#[test]
fn images_of_another_shape_are_bad_input() {
    fails("Relu", &[2, 3, 4, 4], &[0, 1], &[], &["3", "2"]);
    fails("Relu", &[2, 2, 5, 4], &[0, 1], &[], &["5"]);
    fails("Relu", &[2, 2, 4], &[0, 1], &[], &["x"]);
}

#[test]
fn an_operator_without_a_rule_is_named_with_its_node_and_the_parameter() {
    // The last: what one can do instead.
    let words = ["Sinh", "`middle`", "`conv.w`", "--trainable: fc.w"];
    fails("Sinh", &[2, 2, 4, 4], &[0, 1], &[], &words);
}

#[test]
fn an_operator_without_a_rule_is_no_obstacle_before_the_trained_part() {
    if !has_runtime() {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name);
    let (model, batch, out) = (path("model.onnx"), path("batch.npz"), path("out.npz"));
    save_model(&model, "Sinh");
    save_batch(&batch, &ArrayD::<f32>::ones(&[2, 2, 4, 4][..]), &[0, 2]);
    gradients(&model, &batch, &out)
        .args(["--wrt", "fc.*"])
        .assert()
        .success();
}

/// A model made for one image of 2 × 4 × 4, whose pixels attend to each other as rows, which a batch
/// would lengthen.
fn save_attention(path: &Path) {
    let mut graph = Graph {
        inputs: vec![Value::fixed("image", DataType::Float, &[1, 2, 4, 4])],
        ..Graph::new(17)
    };
    for (name, dims) in [("q.w", [2, 2]), ("fc.w", [2, 3])] {
        let values: Vec<f32> = (0..dims[0] * dims[1]).map(|i| (i as f32).sin()).collect();
        let tensor = Tensor::f32(&dims, &values);
        graph.initializers.insert(name.to_owned(), tensor);
    }
    let mut b = Builder::new(&mut graph);
    let perm = vec![("perm", vec![0i64, 2, 3, 1].into())];
    let (rows, back) = (b.ints(&[16, 2]), b.ints(&[1, 16, 2]));
    let x = b.op("last", "Transpose", &["image"], perm);
    let x = b.op("rows", "Reshape", &[&x, &rows], vec![]);
    let q = b.op("queries", "MatMul", &[&x, "q.w"], vec![]);
    let keys = b.op("keys", "Transpose", &[&x], vec![]);
    let scores = b.op("scores", "MatMul", &[&q, &keys], vec![]);
    let shares = b.op("shares", "Softmax", &[&scores], vec![]);
    let x = b.op("attended", "MatMul", &[&shares, &x], vec![]);
    let x = b.op("back", "Reshape", &[&x, &back], vec![]);
    let axes = vec![("axes", vec![1i64].into()), ("keepdims", 0.into())];
    let x = b.op("mean", "ReduceMean", &[&x], axes);
    let y = b.op("fc", "Gemm", &[&x, "fc.w"], vec![]);
    graph
        .outputs
        .push(Value::fixed(&y, DataType::Float, &[1, 3]));
    save(&graph.to_model(usize::MAX).0, path).unwrap();
}

#[test]
fn a_model_that_would_mix_the_images_of_a_batch_is_bad_input_everywhere() {
    if !has_runtime() {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name);
    let (model, batch, out) = (path("model.onnx"), path("batch.npz"), path("out.npz"));
    save_attention(&model);
    let images = |n: usize| ArrayD::<f32>::from_elem(vec![n, 2, 4, 4], 0.5);
    save_batch(&batch, &images(1), &[1]);
    gradients(&model, &batch, &out).assert().success();
    std::fs::remove_file(&out).unwrap();
    save_batch(&batch, &images(3), &[0, 1, 2]);
    let mut commands = vec![gradients(&model, &batch, &out)];
    for name in ["differentiate", "bench"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
        command.args(["--quiet", name]).arg(&model);
        command.args(["--batch-size", "3"]);
        if name == "differentiate" {
            command.arg("--out").arg(&out);
        }
        commands.push(command);
    }
    for mut command in commands {
        let assert = command.assert().code(2);
        let message = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        assert!(message.contains("`scores` (MatMul)"), "{message}");
        assert!(message.contains("the samples of a batch"), "{message}");
    }
    assert!(!out.exists());
}

/// The outputs `x · w` of images of 1 × 1 × 2, as they are or with sigmoids behind them; `w` is `fc.w` plus `moved`.
fn save_linear(path: &Path, outputs: usize, ending: Option<&str>, moved: &[f32]) {
    let mut graph = Graph {
        inputs: vec![Value::batched("image", &[1, 1, 2])],
        ..Graph::new(17)
    };
    let ramp = (0..2 * outputs).map(|i| (i as f32 * 0.7).sin());
    let moved = moved.iter().chain(std::iter::repeat(&0.0));
    let values: Vec<f32> = ramp.zip(moved).map(|(w, by)| w + by).collect();
    let tensor = Tensor::f32(&[2, outputs], &values);
    graph.initializers.insert("fc.w".to_owned(), tensor);
    let mut b = Builder::new(&mut graph);
    let x = b.op("flat", "Flatten", &["image"], vec![]);
    let mut z = b.op("fc", "Gemm", &[&x, "fc.w"], vec![]);
    if let Some(ending) = ending {
        z = b.op("probabilities", ending, &[&z], vec![]);
    }
    graph.outputs.push(Value::batched(&z, &[outputs]));
    save(&graph.to_model(usize::MAX).0, path).unwrap();
}

/// By `torch.nn.BCEWithLogitsLoss` of PyTorch 2.15, and by the difference of the losses of models that are moved along
/// the gradient.
#[test]
fn each_class_by_itself_and_two_by_one_output_have_pytorchs_gradients() {
    if !has_runtime() {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name);
    let (model, batch, out) = (path("model.onnx"), path("batch.npz"), path("out.npz"));
    let x = [0.5, -1.0, 2.0, 0.25, -0.75, 1.5];
    let x = ArrayD::from_shape_vec(vec![3, 1, 1, 2], x.to_vec()).unwrap();
    let several = (vec![3, 3], vec![1, 0, 1, 0, 0, 0, 0, 1, 1]);
    let two = (vec![3], vec![1, 0, 1]);
    let column = (vec![3, 1], vec![1, 0, 1]);
    let several_by = [
        0.018_566_48,
        0.246_137,
        0.241_167_46,
        0.224_356_4,
        -0.115_566_97,
        -0.072_456_08,
    ];
    let two_by = [0.319_736_84, 0.125_776_83];
    let cases = [
        ("multi-label", 3, several, 1.158_197_4, &several_by[..]),
        ("binary", 1, two, 0.721_867_7, &two_by[..]),
        ("binary", 1, column, 0.721_867_7, &two_by[..]),
    ];
    for (task, outputs, (dims, labels), loss, gradient) in cases {
        let y = ArrayD::<i64>::from_shape_vec(dims, labels).unwrap();
        save_arrays(&batch, &x, &y);
        let run = |moved: &[f32], ending, arguments: &[&str]| {
            save_linear(&model, outputs, ending, moved);
            let mut command = gradients(&model, &batch, &out);
            command.args(arguments).assert().success();
            let mut npz = open(&out);
            let read = |npz: &mut _, name| read::<f32>(npz, name).into_iter().collect::<Vec<_>>();
            (read(&mut npz, "loss")[0], read(&mut npz, "grad/fc.w"))
        };
        for ending in [None, Some("Sigmoid")] {
            for operators in ["kernels", "standard"] {
                let arguments = ["--task", task, "--operators", operators];
                let (found, of) = run(&[], ending, &arguments);
                assert!((found - loss).abs() < 1e-6, "{task}: {found}");
                for (found, expected) in of.iter().zip(gradient) {
                    assert!((found - expected).abs() < 1e-6, "{task}: {of:?}");
                }
            }
        }
        let along = |by: f32| gradient.iter().map(|g| g * by).collect::<Vec<_>>();
        let [ahead, behind] = [0.05, -0.05].map(|by| run(&along(by), None, &["--task", task]).0);
        let square: f32 = gradient.iter().map(|g| g * g).sum();
        let slope = (ahead - behind) / 0.1;
        assert!(
            (slope - square).abs() < 1e-3 * square,
            "{task}: {slope} {square}"
        );
    }
}

#[test]
fn labels_that_do_not_fit_the_task_are_bad_input() {
    if !has_runtime() {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name);
    let (model, batch, out) = (path("model.onnx"), path("batch.npz"), path("out.npz"));
    let x = ArrayD::<f32>::ones(&[2, 1, 1, 2][..]);
    for (outputs, dims, labels, task, words) in [
        (3, &[2, 2][..], &[0, 1, 1, 0][..], None, "the model has 3"),
        (3, &[2, 3], &[0, 1, 2, 0, 0, 0], None, "not 0 or 1"),
        (
            3,
            &[2, 3],
            &[0, 1, 1, 0, 0, 0],
            Some("single-label"),
            "one label",
        ),
        (3, &[2], &[0, 1], Some("binary"), "3 outputs"),
        (1, &[2, 2], &[0, 1, 1, 1], None, "one label"),
        (1, &[2], &[0, 2], None, "two classes"),
        (1, &[2], &[0, 1], Some("single-label"), "--task binary"),
    ] {
        save_linear(&model, outputs, None, &[]);
        let y = ArrayD::<i64>::from_shape_vec(dims.to_vec(), labels.to_vec()).unwrap();
        save_arrays(&batch, &x, &y);
        let mut command = gradients(&model, &batch, &out);
        command.args(task.iter().flat_map(|task| ["--task", task]));
        let assert = command.assert().code(2).stdout("");
        let message = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        assert!(message.contains(words), "no {words} in: {message}");
    }
}
