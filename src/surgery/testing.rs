//! What the tests of this room share: small models, the shared models, and tract to run them.

use std::path::{Path, PathBuf};

use tract_onnx::prelude::*;

use crate::graph::{Attribute, Dim, Graph, Node, Value};
use crate::onnx::messages::ModelProto;
use crate::onnx::{DataType, Model, Tensor};

use super::Features;

pub fn features(value: &str, channels: usize, height: usize, width: usize) -> Features {
    Features {
        value: value.to_owned(),
        channels,
        height,
        width,
        nhwc: false,
    }
}

pub fn value(name: &str, dims: &[usize]) -> Value {
    let mut value = Value::fixed(name, DataType::Float, dims);
    if let Some(first) = value.dims.as_mut().and_then(|d| d.first_mut()) {
        *first = Dim::Symbolic("batch".to_owned());
    }
    value
}

/// Small numbers that differ from one another.
pub fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((i * 37 + seed * 11) % 29) as f32 / 29.0 - 0.4)
        .collect()
}

pub fn weight(dims: &[usize], seed: usize) -> Tensor {
    Tensor::f32(dims, &numbers(dims.iter().product(), seed))
}

/// x [batch, 3, 8, 8] → Conv → BatchNormalization → Relu `map` [batch, 4, 8, 8] → pooling → Gemm →
/// Softmax `probabilities` [batch, 3], with a side branch from the convolution to a second output
/// `side`.
pub fn classifier() -> Graph {
    let node = |name: &str, op: &str, inputs: &[&str]| Node::new(name, op, inputs, &[name]);
    let ints = |v: &[i64]| Attribute::Ints(v.to_vec());
    let positive = Tensor::f32(&[4], &[0.5, 1.0, 2.0, 1.5]);
    let initializers = [
        ("conv.weight", weight(&[4, 3, 3, 3], 1)),
        ("conv.bias", weight(&[4], 2)),
        ("bn.scale", weight(&[4], 3)),
        ("bn.bias", weight(&[4], 4)),
        ("bn.mean", weight(&[4], 5)),
        ("bn.var", positive),
        ("fc.weight", weight(&[4, 3], 6)),
        ("fc.bias", weight(&[3], 7)),
        ("side.weight", weight(&[2, 4, 1, 1], 8)),
    ];
    Graph {
        opset: 17,
        domains: Vec::new(),
        nodes: vec![
            node("conv", "Conv", &["x", "conv.weight", "conv.bias"])
                .with("pads", ints(&[1, 1, 1, 1])),
            node(
                "bn",
                "BatchNormalization",
                &["conv", "bn.scale", "bn.bias", "bn.mean", "bn.var"],
            ),
            node("map", "Relu", &["bn"]),
            node("side", "Conv", &["map", "side.weight"]),
            node("pool", "GlobalAveragePool", &["map"]),
            node("flat", "Flatten", &["pool"]),
            node("fc", "Gemm", &["flat", "fc.weight", "fc.bias"]),
            node("probabilities", "Softmax", &["fc"]),
        ],
        inputs: vec![value("x", &[0, 3, 8, 8])],
        outputs: vec![
            value("probabilities", &[0, 3]),
            value("side", &[0, 2, 8, 8]),
        ],
        initializers: initializers
            .into_iter()
            .map(|(n, t)| (n.to_owned(), t))
            .collect(),
    }
}

pub fn proto(graph: &Graph) -> ModelProto {
    graph.to_model(usize::MAX).0
}

pub fn decode(proto: &ModelProto) -> Model {
    let bytes = crate::onnx::encode(proto).unwrap();
    Model::decode(bytes.into(), Path::new("test.onnx")).unwrap()
}

pub fn model(graph: &Graph) -> Model {
    decode(&proto(graph))
}

/// Model, feature map, its channels, height and width, and the size of the model's images; `-` where
/// tract takes too long for a test, or cannot read the model (the `Pad` of `conv_zoo`).
const SHARED: &str = "\
    models/mobilenet_v1.onnx Conv2d_13_pointwise/relu6 1024 7 7 -
    models/mobilenet_v2.onnx out_relu 1280 5 5 -
    models/efficientnet_lite0.onnx head/relu6 1280 7 7 -
    reference/conv_zoo/model.onnx /Elu_output_0 6 5 9 -
    reference/mobilenet_v1/model.onnx /f/f.4/f.4.2/Clip_output_0 24 8 8 32
    reference/mobilenet_v2/model.onnx /f/f.3/Add_output_0 12 8 8 32
    reference/mobilenet_v3/model.onnx /f/f.4/f.4.2/HardSwish_output_0 32 8 8 32
    reference/resnet_v2/model.onnx /Relu_output_0 24 4 4 32
    reference/vgg/model.onnx /f/f.7/MaxPool_output_0 16 8 8 32";

/// The models of the shared folder with their feature maps and the sizes to run them at; none where the folder
/// is not.
pub fn shared_models() -> Vec<(PathBuf, Features, Option<usize>)> {
    let Some(folder) = crate::testing::shared() else {
        return Vec::new();
    };
    SHARED
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [c, h, w] = [2, 3, 4].map(|i| words[i].parse().unwrap());
            let size = words[5].parse().ok();
            (folder.join(words[0]), features(words[1], c, h, w), size)
        })
        .collect()
}

/// Runs a model with tract.
pub fn run(model: &ModelProto, inputs: &[(&[usize], &[f32])]) -> Vec<Vec<f32>> {
    let bytes = crate::onnx::encode(model).unwrap();
    let mut tract = tract_onnx::onnx()
        .model_for_read(&mut bytes.as_slice())
        .unwrap();
    for (i, (dims, _)) in inputs.iter().enumerate() {
        tract = tract.with_input_fact(i, f32::fact(*dims).into()).unwrap();
    }
    let runnable = tract.into_optimized().unwrap().into_runnable().unwrap();
    let inputs = inputs
        .iter()
        .map(|(dims, values)| {
            tract_onnx::prelude::Tensor::from_shape(dims, values)
                .unwrap()
                .into()
        })
        .collect();
    let outputs = runnable.run(inputs).unwrap();
    outputs
        .iter()
        .map(|o| o.as_slice::<f32>().unwrap().to_vec())
        .collect()
}

pub fn assert_close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() <= 1e-4 * (1.0 + y.abs()), "{x} is not {y}");
    }
}
