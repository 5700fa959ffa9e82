//! Small classifiers, batches, and the binary.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use ftsurgery::graph::{Graph, Node, Value};
use ftsurgery::onnx::{DataType, Tensor, encode};
use image::{Rgb, RgbImage};
use ndarray::{Array1, Array4, ArrayD, IxDyn, OwnedRepr};
use ndarray_npy::{NpzReader, NpzWriter};

pub const CLASSES: usize = 5;

/// Numbers that look random and are always the same.
pub fn noise(count: usize, scale: f32) -> Vec<f32> {
    let mut state = 777u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1u32 << 23) as f32 - 1.0) * scale
    };
    (0..count).map(|_| next()).collect()
}

pub fn node(op: &str, inputs: &[&str], output: &str) -> Node {
    Node::new(output, op, inputs, &[output])
}

/// A graph of images `x`, [N, 3, 8, 8], with the output `y`, [N, 5], and weights of these names and dimensions.
pub fn graph(nodes: Vec<Node>, weights: &[(&str, &[usize])]) -> Graph {
    let random = |dims: &[usize]| Tensor::f32(dims, &noise(dims.iter().product(), 0.8));
    Graph {
        opset: 17,
        domains: vec![],
        nodes,
        inputs: vec![Value::batched("x", &[3, 8, 8])],
        outputs: vec![Value::batched("y", &[CLASSES])],
        initializers: weights
            .iter()
            .map(|(name, dims)| ((*name).to_owned(), random(dims)))
            .collect(),
    }
}

/// Writes the graph as a model of IR 8 and its own opset.
pub fn save(graph: &Graph, path: &Path) {
    let (mut proto, _) = graph.to_model(usize::MAX);
    proto.ir_version = Some(8);
    std::fs::write(path, encode(&proto).unwrap()).unwrap();
}

/// Writes `x` and `y` of so many samples.
pub fn save_batch(path: &Path, count: usize) {
    let x = Array4::from_shape_vec((count, 3, 8, 8), noise(count * 192, 1.0)).unwrap();
    let y: Array1<i64> = (0..count as i64).map(|i| i % CLASSES as i64).collect();
    let mut npz = NpzWriter::new(File::create(path).unwrap());
    npz.add_array("x", &x).unwrap();
    npz.add_array("y", &y).unwrap();
    npz.finish().unwrap();
}

pub fn ftsurgery() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ftsurgery"))
}

/// What `gradients` prints for a batch of two, and the arrays it writes.
pub fn gradients(graph: &Graph, arguments: &[&str]) -> (Output, BTreeMap<String, ArrayD<f32>>) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    save(graph, &at("model.onnx"));
    save_batch(&at("batch.npz"), 2);
    let mut command = ftsurgery();
    command
        .args(["gradients", "--threads", "1"])
        .arg(at("model.onnx"));
    command
        .arg("--batch")
        .arg(at("batch.npz"))
        .arg("--out")
        .arg(at("out.npz"));
    let output = command.args(arguments).output().unwrap();
    let mut arrays = BTreeMap::new();
    if let Ok(file) = File::open(at("out.npz")) {
        let mut npz = NpzReader::new(file).unwrap();
        for name in npz.names().unwrap() {
            let array = npz.by_name::<OwnedRepr<f32>, IxDyn>(&name).unwrap();
            arrays.insert(name.trim_end_matches(".npy").to_owned(), array);
        }
    }
    (output, arrays)
}

/// What `predict` prints for one image.
pub fn predict(graph: &Graph, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    save(graph, &at("model.onnx"));
    RgbImage::from_fn(8, 8, |x, y| Rgb([20 * x as u8, 30 * y as u8, 90]))
        .save(at("image.png"))
        .unwrap();
    let mut command = ftsurgery();
    command
        .args(["predict", "--preprocess", "unit"])
        .args(arguments);
    let files = [at("model.onnx"), at("image.png")];
    command.args(files).output().unwrap()
}

/// The names of the arrays but for `loss`, without `grad/`.
pub fn names(arrays: &BTreeMap<String, ArrayD<f32>>) -> Vec<&str> {
    arrays
        .keys()
        .filter_map(|n| n.strip_prefix("grad/"))
        .collect()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn f32_type() -> i64 {
    DataType::Float as i64
}
