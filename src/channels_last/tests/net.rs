//! A network that is built node by node, differentiated and compared.

use std::collections::HashMap;

use ndarray::{ArrayD, IxDyn};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::*;
use crate::autodiff::{Operators, gradients};
use crate::graph::{Builder, Dim, Node, Value, infer_shapes};
use crate::onnx::{DataType, Tensor, encode};
use crate::runtime::{Array, Runtime, Session, SessionOptions};

/// A network under construction; its input is `x`.
pub struct Net {
    pub graph: Graph,
    random: ChaCha8Rng,
    trained: Vec<String>,
}

impl Net {
    pub fn new(x: &[usize]) -> Self {
        let graph = Graph {
            inputs: vec![Value::fixed("x", DataType::Float, x)],
            ..Graph::new(21)
        };
        Net {
            graph,
            random: ChaCha8Rng::seed_from_u64(7),
            trained: vec![],
        }
    }

    pub fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| self.random.random_range(-1.0..1.0))
            .collect()
    }

    pub fn parameter(&mut self, name: &str, dims: &[usize]) {
        let values = self.numbers(dims.iter().product());
        let tensor = Tensor::f32(dims, &values);
        self.graph.initializers.insert(name.to_owned(), tensor);
        self.trained.push(name.to_owned());
    }

    pub fn constant(&mut self, name: &str, tensor: Tensor) {
        self.graph.initializers.insert(name.to_owned(), tensor);
    }

    pub fn op(&mut self, name: &str, op: &str, inputs: &[&str]) -> &mut Node {
        let node = Node::new(name, op, inputs, &[name]);
        self.graph.nodes.push(node);
        self.graph.nodes.last_mut().unwrap()
    }

    /// A convolution with a bias; `sizes` are output channels, input channels per group, kernel,
    /// stride, pad and groups.
    pub fn conv(&mut self, name: &str, x: &str, [o, i, k, s, p, g]: [usize; 6]) {
        let (w, b) = (format!("{name}.w"), format!("{name}.b"));
        self.parameter(&w, &[o, i, k, k]);
        self.parameter(&b, &[o]);
        let list = |v: usize, n: usize| vec![v as i64; n];
        let node = self.op(name, "Conv", &[x, &w, &b]);
        *node = node
            .clone()
            .with("strides", list(s, 2))
            .with("pads", list(p, 4))
            .with("group", g as i64);
    }

    pub fn relu6(&mut self, name: &str, x: &str) {
        self.constant("low", Tensor::scalar_f32(0.0));
        self.constant("high", Tensor::scalar_f32(1.5));
        self.op(name, "Clip", &[x, "low", "high"]);
    }

    /// The output and its gradients, weighted by random numbers, as a graph.
    fn differentiated(&self, output: &str, operators: Operators) -> Graph {
        let mut graph = self.graph.clone();
        let shapes = infer_shapes(&graph, &HashMap::new()).unwrap();
        let dims = shapes.dims(output).unwrap().to_vec();
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let seed: Vec<f32> = (0..dims.iter().product())
            .map(|_| random.random_range(-1.0..1.0))
            .collect();
        let mut wrt = self.trained.clone();
        wrt.push("x".to_owned());
        let mut builder = Builder::new(&mut graph);
        let seed = builder.constant(Tensor::f32(&dims, &seed));
        let seeds = [(output, seed.as_str())];
        let names = gradients(&mut builder, &shapes, &seeds, &wrt, &[], operators).unwrap();
        graph.outputs = vec![Value::fixed(output, DataType::Float, &dims)];
        for (name, of) in names.iter().zip(&wrt) {
            let dims = shapes.dims(of).unwrap();
            graph
                .outputs
                .push(Value::fixed(name, DataType::Float, dims));
        }
        graph.prune();
        if operators == Operators::Kernels {
            channels_last(&mut graph).unwrap();
        }
        graph
    }

    /// Checks the kernels' results and returns the rewritten graph.
    pub fn check(&mut self, runtime: &Runtime, output: &str) -> Graph {
        let dims: Vec<usize> = match &self.graph.inputs[0].dims {
            Some(dims) => dims.iter().map(known).collect(),
            None => vec![],
        };
        let x = self.numbers(dims.iter().product());
        let x: Array = ArrayD::from_shape_vec(IxDyn(&dims), x).unwrap().into();
        let [standard, kernels] = [Operators::Standard, Operators::Kernels].map(|operators| {
            let graph = self.differentiated(output, operators);
            let options = SessionOptions {
                threads: 2,
                kernels: true,
                ..SessionOptions::default()
            };
            let model = encode(&graph.to_model(usize::MAX).0).unwrap();
            let mut session = Session::new(runtime, &model, &[], &options).unwrap();
            (session.run(&[("x", &x)]).unwrap(), graph)
        });
        for (index, (a, b)) in standard.0.iter().zip(&kernels.0).enumerate() {
            let (Array::F32(a), Array::F32(b)) = (a, b) else {
                panic!("output {index} is not float32");
            };
            assert_eq!(a.shape(), b.shape());
            let scale = a.iter().fold(1.0f32, |m, v| m.max(v.abs()));
            for (a, b) in a.iter().zip(b) {
                assert!(
                    (a - b).abs() <= 2e-5 * scale,
                    "output {index}: {b} is not {a}"
                );
            }
        }
        for node in kernels
            .1
            .nodes
            .iter()
            .filter(|n| n.kernel_operator().is_some())
        {
            assert!(
                !node.inputs.contains(&String::new()),
                "{node} lacks an input"
            );
        }
        kernels.1
    }
}

fn known(dim: &Dim) -> usize {
    match dim {
        Dim::Known(d) => *d,
        Dim::Symbolic(_) => 0,
    }
}

pub fn count(graph: &Graph, op_type: &str) -> usize {
    graph.nodes.iter().filter(|n| n.op_type == op_type).count()
}
