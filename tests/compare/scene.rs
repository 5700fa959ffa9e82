//! A small classifier, and the command.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ftsurgery::graph::{Builder, Dim, Graph, Value};
use ftsurgery::onnx::messages::{GraphProto, ModelProto};
use ftsurgery::onnx::{DataType, Model, Tensor, save};
use tempfile::TempDir;

/// A folder with `a.onnx`: image [N, 3, 8, 8] -> conv -> relu -> gap -> flat -> fc -> [N, 5].
pub struct Scene(TempDir);

impl Scene {
    pub fn new() -> Self {
        let scene = Scene(tempfile::tempdir().unwrap());
        save(&classifier().to_model(usize::MAX).0, &scene.at("a.onnx")).unwrap();
        scene
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes the model with a change as `name`.
    pub fn with(&self, name: &str, change: impl FnOnce(&mut ModelProto, &mut GraphProto)) {
        let mut proto = Model::open(&self.at("a.onnx")).unwrap().proto;
        let mut graph = proto.graph.take().unwrap();
        change(&mut proto, &mut graph);
        proto.graph = Some(graph);
        save(&proto, &self.at(name)).unwrap();
    }

    /// Runs the command in the folder.
    pub fn run(&self, arguments: &str) -> Output {
        run(self.0.path(), arguments)
    }
}

pub fn run(folder: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ftsurgery"))
        .current_dir(folder)
        .args(arguments.split(' '))
        .output()
        .unwrap()
}

pub fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Numbers between -0.5 and 0.5 that differ from one to the next.
pub fn numbers(count: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((i * 37) % 101) as f32 / 101.0 - 0.5)
        .collect()
}

fn classifier() -> Graph {
    let value = |name: &str, dims: &[&str]| Value {
        name: name.to_owned(),
        dtype: DataType::Float,
        dims: Some(
            dims.iter()
                .map(|d| {
                    d.parse()
                        .map_or_else(|_| Dim::Symbolic((*d).to_owned()), Dim::Known)
                })
                .collect(),
        ),
    };
    let mut graph = Graph {
        inputs: vec![value("image", &["N", "3", "8", "8"])],
        ..Graph::new(17)
    };
    for (name, dims) in [
        ("conv.w", &[4, 3, 3, 3][..]),
        ("fc.w", &[4, 5]),
        ("fc.b", &[5]),
    ] {
        let values = numbers(dims.iter().product());
        graph
            .initializers
            .insert(name.to_owned(), Tensor::f32(dims, &values));
    }
    let mut b = Builder::new(&mut graph);
    let pads = vec![("pads", vec![1i64; 4].into())];
    let x = b.op("conv", "Conv", &["image", "conv.w"], pads);
    let x = b.op("relu", "Relu", &[&x], vec![]);
    let x = b.op("gap", "GlobalAveragePool", &[&x], vec![]);
    let x = b.op("flat", "Flatten", &[&x], vec![]);
    let x = b.op("fc", "Gemm", &[&x, "fc.w", "fc.b"], vec![]);
    graph.outputs.push(value(&x, &["N", "5"]));
    graph
}
