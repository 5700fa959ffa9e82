//! For tests: values of freed graphs, and graphs of rows of pixels.

use ndarray::{ArrayD, IxDyn};

use super::free_batch;
use crate::graph::{Dim, Graph, Node, Value, cases};
use crate::onnx::{DataType, Tensor, encode};
use crate::runtime::testing::runtime;
use crate::runtime::{Array, Runtime, Session, SessionOptions};

/// Samples that are run together.
const SAMPLES: usize = 3;

/// `graph`, made for one sample, freed; where there is onnxruntime, it gives three samples what the
/// original gives each.
///
/// # Panics
/// When it is refused or gives something else.
pub fn freed(graph: &Graph) -> Graph {
    let mut freed = graph.clone();
    free_batch(&mut freed).unwrap();
    if let Some(runtime) = runtime() {
        let dims = freed.inputs[0].dims.clone().unwrap();
        let rest = dims[1..].iter().map(|d| match d {
            Dim::Known(d) => *d,
            Dim::Symbolic(_) => panic!("{dims:?}"),
        });
        hold(&runtime, [graph, &freed], &rest.collect::<Vec<_>>());
    }
    freed
}

/// Compares a graph for one sample of dimensions `sample` with what it became, in all outputs.
fn hold(runtime: &Runtime, [original, freed]: [&Graph; 2], sample: &[usize]) {
    let size: usize = sample.iter().product();
    let x: Vec<f32> = (0..SAMPLES * size)
        .map(|i| ((i as f32 * 12.9898).sin() * 43.7585).fract() * 2.0)
        .collect();
    let together = run(runtime, freed, sample, &x);
    for (index, x) in x.chunks(size).enumerate() {
        let alone = run(runtime, original, sample, x);
        for (all, one) in together.iter().zip(alone) {
            let part = &all[index * one.len()..(index + 1) * one.len()];
            let scale = one.iter().fold(1e-3f32, |top, v| top.max(v.abs()));
            for (a, b) in part.iter().zip(&one) {
                assert!(
                    (a - b).abs() <= 1e-4 * scale,
                    "sample {index}: {part:?} is not {one:?}"
                );
            }
        }
    }
}

/// The outputs for as many samples as there are numbers for.
fn run(runtime: &Runtime, graph: &Graph, sample: &[usize], x: &[f32]) -> Vec<Vec<f32>> {
    let mut graph = graph.clone();
    let count = x.len() / sample.iter().product::<usize>();
    let dims = [&[count], sample].concat();
    let input = graph.inputs[0].name.clone();
    graph.inputs[0] = Value::fixed(&input, DataType::Float, &dims);
    let model = encode(&graph.to_model(usize::MAX).0).unwrap();
    let options = SessionOptions {
        threads: 1,
        ..SessionOptions::default()
    };
    let mut session = Session::new(runtime, &model, &[], &options).unwrap();
    let x: Array = ArrayD::from_shape_vec(IxDyn(&dims), x.to_vec())
        .unwrap()
        .into();
    let outputs = session.run(&[(input.as_str(), &x)]).unwrap();
    let floats = |y: &Array| y.as_f32().unwrap().iter().copied().collect();
    outputs.iter().map(floats).collect()
}

/// A graph for one image `x` `[1, 4, 3, 2]`, whose six pixels are the rows of `r` `[6, 4]`. What is
/// made of them becomes the output `y` `[1, …]`.
pub struct Rows {
    graph: Graph,
}

impl Rows {
    pub fn new() -> Self {
        let mut net = Rows {
            graph: cases::graph(21, &[1, 4, 3, 2], vec![Node::new("", "", &[], &[""])]),
        };
        net.graph.nodes.clear();
        net.ints("to_rows", &[6, 4]);
        net.ints("to_samples", &[1, -1]);
        for (name, dims) in [
            ("w44", &[4, 4][..]),
            ("w4", &[4]),
            ("ones", &[4]),
            ("table", &[5, 3]),
        ] {
            let count: usize = dims.iter().product();
            let values = (0..count).map(|i| match name {
                "ones" => 1.0,
                _ => (i as f32 * 0.7 + 0.3).sin(),
            });
            net.tensor(name, Tensor::f32(dims, &values.collect::<Vec<_>>()));
        }
        let turned = Node::new("turned", "Transpose", &["x"], &["turned"]);
        net.node(turned.with("perm", vec![0, 2, 3, 1]));
        net.op("r", "Reshape", "turned to_rows");
        net
    }

    pub fn tensor(&mut self, name: &str, tensor: Tensor) {
        self.graph.initializers.insert(name.to_owned(), tensor);
    }

    pub fn ints(&mut self, name: &str, values: &[i64]) {
        self.tensor(name, Tensor::i64s(values));
    }

    pub fn node(&mut self, node: Node) {
        self.graph.nodes.push(node);
    }

    /// A node with outputs `name`, separated by commas, and inputs by name, `-` for an absent one.
    pub fn op(&mut self, name: &str, op: &str, inputs: &str) -> &mut Node {
        let inputs: Vec<&str> = inputs
            .split_whitespace()
            .map(|i| i.trim_matches('-'))
            .collect();
        let outputs: Vec<&str> = name.split(',').collect();
        self.node(Node::new(outputs[0], op, &inputs, &outputs));
        self.graph.nodes.last_mut().unwrap()
    }

    /// The graph, with all of `value` in one row.
    pub fn done(mut self, value: &str) -> Graph {
        self.op("y", "Reshape", &format!("{value} to_samples"));
        self.graph.outputs[0].name = "y".to_owned();
        self.graph
    }
}

/// Sets an attribute of a node in place.
pub fn set(node: &mut Node, name: &str, value: impl Into<crate::graph::Attribute>) {
    node.attributes.insert(name.to_owned(), value.into());
}
