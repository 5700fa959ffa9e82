//! A folder with models, the command, and what it says.

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use ftsurgery::graph::Graph;
use ftsurgery::onnx::{DataType, Model, Tensor, encode};
use serde_json::Value as Json;

pub struct Scene(tempfile::TempDir);

/// The pictures of digits that the project has.
pub fn digits() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/digits")
}

impl Scene {
    /// With `model.onnx`, which is a changed form of `original.onnx`.
    pub fn new(model: &Graph, original: &Graph) -> Self {
        let scene = Scene(tempfile::tempdir().unwrap());
        scene.put("model.onnx", model);
        scene.put("original.onnx", original);
        scene
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn put(&self, name: &str, graph: &Graph) {
        let (mut proto, _) = graph.to_model(usize::MAX);
        proto.ir_version = Some(8);
        std::fs::write(self.at(name), encode(&proto).unwrap()).unwrap();
    }

    pub fn open(&self, name: &str) -> Model {
        Model::open(&self.at(name)).unwrap()
    }

    /// A tensor of a model.
    pub fn tensor(&self, model: &str, name: &str) -> Tensor {
        let graph = Graph::from_model(&self.open(model)).unwrap();
        graph.initializers[name].clone()
    }

    /// Runs the command in this folder.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
        command.current_dir(self.0.path());
        command.args(arguments).output().unwrap()
    }

    fn distil_on(&self, data: &Path, flags: &str) -> Output {
        let data = data.to_str().unwrap();
        let mut arguments = vec![
            "distil",
            "model.onnx",
            "--against",
            "original.onnx",
            "--data",
            data,
        ];
        arguments.extend(["--preprocess", "unit", "--threads", "1", "--json"]);
        arguments.extend(flags.split_whitespace());
        if !flags.contains("--out") {
            arguments.extend(["--out", "out.onnx"]);
        }
        self.run(&arguments)
    }

    /// Repairs the model on 120 digits into `out.onnx`; its figures.
    pub fn distil(&self, flags: &str) -> Json {
        let output = self.distil_on(&digits(), &format!("--pictures 120 {flags}"));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// As [`Scene::distil`], as it is told to people.
    pub fn told(&self, flags: &str) -> String {
        let data = digits();
        let arguments = "distil model.onnx --against original.onnx --out out.onnx --preprocess unit --threads 1";
        let mut arguments: Vec<&str> = arguments.split(' ').collect();
        arguments.extend(["--pictures", "120", "--data", data.to_str().unwrap()]);
        arguments.extend(flags.split_whitespace());
        let output = self.run(&arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What is said where the repair is refused, with exit code 2 and without a file.
    pub fn refused(&self, data: &Path, flags: &str) -> String {
        let output = self.distil_on(data, flags);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(!self.at("out.onnx").exists());
        error
    }
}

/// The two numbers, before and after, of a figure of the outputs.
pub fn outputs(figures: &Json, name: &str) -> [f64; 2] {
    let pair = figures["outputs"][name].as_array().unwrap();
    [0, 1].map(|at| pair[at].as_f64().unwrap())
}

/// The float tensors of a model.
pub fn floats(model: &Model) -> Vec<String> {
    let graph = Graph::from_model(model).unwrap();
    let tensors = graph.initializers.into_iter();
    let floats = tensors.filter(|(_, t)| matches!(t.dtype, DataType::Float | DataType::Float16));
    floats.map(|(name, _)| name).collect()
}
