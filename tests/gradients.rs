//! `ftsurgery gradients` as its users see it.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use ftsurgery::graph::{Builder, Graph, Value};
use ftsurgery::onnx::{DataType, Tensor, save};
use ftsurgery::runtime::testing::has_runtime;
use ftsurgery::testing;
use ndarray::{Array, ArrayD, Axis, Dimension, Ix1, IxDyn, OwnedRepr};
use ndarray_npy::{NpzReader, NpzWriter, ReadableElement};

/// Largest difference to a reference, relative to its norm.
const TOLERANCE: f64 = 1e-4;
/// In `mobilenet_v2_bn_train`, the gradient of a bias of which the BatchNormalization behind it takes
/// the shift away again: 0 but for rounding, which is compared with this norm instead of its own.
const ZERO: (&str, f64) = ("grad/f.1.c.1.bias", 1e-2);

/// The folder of PyTorch's reference values for a network: a fixture, or in the shared folder, if that
/// is there.
fn reference(network: &str) -> Option<PathBuf> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/reference");
    if fixture.join(network).is_dir() {
        return Some(fixture.join(network));
    }
    Some(testing::shared()?.join("reference").join(network))
}

fn read<T: ReadableElement>(npz: &mut NpzReader<File>, name: &str) -> ArrayD<T> {
    npz.by_name::<OwnedRepr<T>, IxDyn>(name).unwrap()
}

fn open(path: &Path) -> NpzReader<File> {
    NpzReader::new(File::open(path).unwrap()).unwrap()
}

fn gradient_names(npz: &mut NpzReader<File>) -> BTreeSet<String> {
    let names = npz.names().unwrap().into_iter();
    names
        .map(|n| n.trim_end_matches(".npy").to_owned())
        .filter(|n| n.starts_with("grad/"))
        .collect()
}

fn save_batch<D: Dimension>(path: &Path, x: &Array<f32, D>, y: &[i64]) {
    let mut npz = NpzWriter::new(File::create(path).unwrap());
    npz.add_array("x", x).unwrap();
    npz.add_array("y", &Array::<i64, Ix1>::from(y.to_vec()))
        .unwrap();
    npz.finish().unwrap();
}

/// Saves the first batch of a reference at `path`.
fn first_batch(folder: &Path, path: &Path) {
    let mut npz = open(&folder.join("reference.npz"));
    let x: ArrayD<f32> = read(&mut npz, "x");
    let y: ArrayD<i64> = read(&mut npz, "y");
    let labels: Vec<i64> = y.index_axis(Axis(0), 0).iter().copied().collect();
    save_batch(path, &x.index_axis(Axis(0), 0).to_owned(), &labels);
}

fn gradients(model: &Path, batch: &Path, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    command.args(["--quiet", "gradients"]).arg(model);
    command.arg("--batch").arg(batch).arg("--out").arg(out);
    command
}

/// Norm of the difference over the norm of `expected`.
fn distance(got: &ArrayD<f32>, expected: &ArrayD<f32>) -> f64 {
    let (difference, norm) = norms(got, expected);
    difference / norm
}

/// The same for the array `name`, of which [`ZERO`] may say something.
fn distance_of(name: &str, got: &ArrayD<f32>, expected: &ArrayD<f32>) -> f64 {
    let (difference, norm) = norms(got, expected);
    let (zero, least) = ZERO;
    difference
        / if name == zero && norm < 1e-6 {
            least
        } else {
            norm
        }
}

/// Norms of the difference and of `expected`.
fn norms(got: &ArrayD<f32>, expected: &ArrayD<f32>) -> (f64, f64) {
    assert_eq!(got.shape(), expected.shape());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(
        &mut got
            .iter()
            .zip(expected)
            .map(|(g, e)| f64::from(*g) - f64::from(*e)),
    );
    let size = norm(&mut expected.iter().map(|&e| f64::from(e)));
    (difference, size)
}

fn agrees_with_reference(network: &str, arguments: &[&str]) {
    for operators in ["kernels", "standard"] {
        agrees_with(network, &[arguments, &["--operators", operators]].concat());
    }
}

fn agrees_with(network: &str, arguments: &[&str]) {
    let Some(folder) = reference(network).filter(|_| has_runtime()) else {
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let (batch, out) = (work.path().join("batch.npz"), work.path().join("out.npz"));
    first_batch(&folder, &batch);
    gradients(&folder.join("model.onnx"), &batch, &out)
        .args(arguments)
        .assert()
        .success();
    let (mut got, mut expected) = (open(&out), open(&folder.join("reference.npz")));
    let names = gradient_names(&mut expected);
    assert!(!names.is_empty());
    assert_eq!(gradient_names(&mut got), names);
    let loss = read::<f32>(&mut got, "loss");
    let expected_loss = read::<f32>(&mut expected, "loss0");
    assert!(distance(&loss, &expected_loss) <= TOLERANCE);
    let mut worst = (0.0, String::new());
    for name in names {
        let far = distance_of(&name, &read(&mut got, &name), &read(&mut expected, &name));
        assert!(
            far <= TOLERANCE,
            "{network} {arguments:?}: {name} is off by {far}"
        );
        if far > worst.0 {
            worst = (far, name);
        }
    }
    println!(
        "{network} {arguments:?}: at most {:.1e}, at {}",
        worst.0, worst.1
    );
}

#[test]
fn the_fixtures_have_the_gradients_of_pytorch() {
    agrees_with_reference("convnet", &[]);
    agrees_with_reference("tokens", &[]);
}

#[test]
fn vgg_has_the_gradients_of_pytorch() {
    agrees_with_reference("vgg", &[]);
}

#[test]
fn mobilenet_v1_has_the_gradients_of_pytorch() {
    agrees_with_reference("mobilenet_v1", &[]);
}

#[test]
fn mobilenet_v2_has_the_gradients_of_pytorch() {
    agrees_with_reference("mobilenet_v2", &[]);
}

#[test]
fn mobilenet_v3_has_the_gradients_of_pytorch() {
    agrees_with_reference("mobilenet_v3", &[]);
}

#[test]
fn resnet_v2_has_the_gradients_of_pytorch() {
    agrees_with_reference("resnet_v2", &[]);
}

#[test]
fn odd_convolutions_have_the_gradients_of_pytorch() {
    agrees_with_reference("conv_zoo", &[]);
}

#[test]
fn batch_statistics_have_the_gradients_of_pytorch() {
    agrees_with_reference("mobilenet_v2_bn_train", &["--bn", "batch"]);
}

#[test]
fn batch_statistics_behind_a_frozen_convolution_have_the_gradients_of_pytorch() {
    let network = "mobilenet_v2_bn_train";
    let Some(folder) = reference(network).filter(|_| has_runtime()) else {
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let (batch, out) = (work.path().join("batch.npz"), work.path().join("out.npz"));
    first_batch(&folder, &batch);
    let norms = ["--wrt", "f.0.1.*", "--wrt", "f.?.?.1.*", "--bn", "batch"];
    gradients(&folder.join("model.onnx"), &batch, &out)
        .args(norms)
        .assert()
        .success();
    let (mut got, mut expected) = (open(&out), open(&folder.join("reference.npz")));
    let names = gradient_names(&mut got);
    assert_eq!(names.len(), 20);
    for name in names {
        let far = distance_of(&name, &read(&mut got, &name), &read(&mut expected, &name));
        assert!(far <= TOLERANCE, "{name} is off by {far}");
    }
}

#[test]
fn patterns_choose_initializers_and_leave_their_gradients_the_same() {
    let Some(folder) = reference("resnet_v2").filter(|_| has_runtime()) else {
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let (batch, out) = (work.path().join("batch.npz"), work.path().join("out.npz"));
    first_batch(&folder, &batch);
    gradients(&folder.join("model.onnx"), &batch, &out)
        .args(["--wrt", "b.1.n?.weight", "--wrt", "*.bias"])
        .assert()
        .success();
    let (mut got, mut expected) = (open(&out), open(&folder.join("reference.npz")));
    let chosen: BTreeSet<String> = gradient_names(&mut expected)
        .into_iter()
        .filter(|n| n.ends_with(".bias") || n.starts_with("grad/b.1.n") && n.ends_with(".weight"))
        .collect();
    assert!(chosen.contains("grad/b.1.n1.weight"));
    assert_eq!(gradient_names(&mut got), chosen);
    for name in chosen {
        let far = distance(&read(&mut got, &name), &read(&mut expected, &name));
        assert!(far <= TOLERANCE, "{name} is off by {far}");
    }
}

/// A convolution `conv.w` of 2 channels, then `middle`, a pooling and the classifier `fc.w` of 3
/// classes, over images of 2 × 4 × 4.
fn save_model(path: &Path, middle: &str) {
    let mut graph = Graph {
        opset: 17,
        domains: vec![],
        nodes: vec![],
        inputs: vec![Value::batched("image", &[2, 4, 4])],
        outputs: vec![],
        initializers: Default::default(),
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
    let words = ["Sinh", "`middle`", "`conv.w`", "--wrt: fc.w"];
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
        opset: 17,
        domains: vec![],
        nodes: vec![],
        inputs: vec![Value::fixed("image", DataType::Float, &[1, 2, 4, 4])],
        outputs: vec![],
        initializers: Default::default(),
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
