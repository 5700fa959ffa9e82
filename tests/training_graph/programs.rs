//! The programs of `docs/training-graph.md`, as they stand there.

use std::collections::HashMap;
use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ftsurgery::runtime::Array;
use ftsurgery::runtime::locate::locate;
use ftsurgery::runtime::testing::runtime;
use ftsurgery::testing::{python, skip};
use ftsurgery::training_graph::State;
use ort::environment::Environment;
use ort::session::Session;
use ort::value::{DynValue, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::chromium::node_modules;
use crate::scene::{Arrays, Made, apart, fixture, ftsurgery};

const DOCS: &str = include_str!("../../docs/training-graph.md");
const TOLERANCE: f64 = 1e-5;

/// The block of the docs in a language.
fn block(language: &str) -> &'static str {
    let (_, rest) = DOCS.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

/// A folder with the step and its state, and what it comes to: losses, and the state in the end.
struct Lesson {
    folder: tempfile::TempDir,
    losses: Vec<f32>,
    expected: Made,
}

const FLAGS: &str = "--optimizer adamw --clip 1 --bn batch --ema 0.9 --batch-size free";

impl Lesson {
    /// None where there is no onnxruntime.
    fn of(state: &str) -> Option<Self> {
        let runtime = runtime()?;
        let folder = tempfile::tempdir().unwrap();
        let model = fixture("convnet").join("model.onnx");
        ftsurgery(&["differentiate"])
            .current_dir(folder.path())
            .arg(&model)
            .args(FLAGS.split(' '))
            .args(["--out", "step.onnx", "--state", state])
            .assert()
            .success();
        let mut expected = Made::of(&runtime, &model, FLAGS);
        let losses = batches().into_iter().map(|(x, y)| {
            let inputs = [("image", Array::F32(x)), ("labels", Array::I64(y))];
            expected.step(&inputs, 1e-3)
        });
        let losses = losses.collect();
        Some(Lesson {
            folder,
            losses,
            expected,
        })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a program in the folder; what it prints are the losses.
    fn runs(&self, program: impl AsRef<OsStr>, script: &str) {
        let ran = Command::new(program)
            .current_dir(self.folder.path())
            .arg(script)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{told}");
        self.lost(&String::from_utf8_lossy(&ran.stdout));
    }

    /// Runs a program of Python's that has the `batches` of the fixture, and writes `trained.npz`.
    fn runs_python(&self, python: &Path, program: &str) {
        let data = fixture("convnet").join("reference.npz");
        let batches = format!(
            "import numpy\nreference = numpy.load({:?})\nbatches = zip(reference['x'], reference['y'])\n",
            data.to_str().unwrap()
        );
        fs::write(self.at("train.py"), batches + program).unwrap();
        self.runs(python, "train.py");
        self.ends_with("trained.npz");
    }

    /// Holds the losses of a program, one a line, against what is expected.
    fn lost(&self, lines: &str) {
        let losses: Vec<f32> = lines.lines().map(|line| line.parse().unwrap()).collect();
        assert!(apart(&losses, &self.losses) < TOLERANCE, "{losses:?}");
    }

    /// Holds a trained state against what is expected, and applies it.
    fn ends_with(&self, file: &str) {
        let state = State::read(&self.at(file)).unwrap();
        assert_eq!(state.tensors().len(), self.expected.state.len());
        assert_eq!(state.steps(), Some(5));
        for (role, tensor) in state.tensors() {
            let Some(values) = tensor.to_f32() else {
                continue;
            };
            let off = apart(&values, &self.expected.floats(&role.to_string()));
            assert!(off < TOLERANCE, "{role}: {off:.1e}");
        }
        ftsurgery(&["apply"])
            .current_dir(self.folder.path())
            .arg(file)
            .arg(fixture("convnet").join("model.onnx"))
            .args(["--out", "tuned.onnx"])
            .assert()
            .success();
    }
}

type Batch = (ndarray::ArrayD<f32>, ndarray::ArrayD<i64>);

fn batches() -> Vec<Batch> {
    let arrays = Arrays(fixture("convnet").join("reference.npz"));
    let (x, y) = (arrays.batches::<f32>("x"), arrays.batches::<i64>("y"));
    x.into_iter().zip(y).collect()
}

#[test]
fn the_python_of_the_docs_trains() {
    let Some(python) = python(&["numpy", "onnxruntime"]) else {
        return skip(
            "python",
            "python3 with numpy and onnxruntime (FTSURGERY_PYTHON)",
        );
    };
    let Some(lesson) = Lesson::of("step.npz") else {
        return;
    };
    lesson.runs_python(&python, block("python"));
}

/// The same step by another runtime.
const OPENVINO: &str = r#"
import numpy as np
import openvino

step = openvino.compile_model("step.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
state = dict(np.load("step.npz"))
for images, labels in batches:
    made = step({"image": images, "labels": labels, "learning_rate": np.array(1e-3, np.float32), **state})
    out = {name: value for port, value in made.items() for name in port.get_names()}
    state = {name: np.array(out["next/" + name]) for name in state}
    print(out["loss"])
np.savez("trained.npz", **state)
"#;

#[test]
fn another_runtime_comes_to_the_same() {
    let Some(python) = python(&["numpy", "openvino"]) else {
        return skip("openvino", "a Python that imports it (FTSURGERY_PYTHON)");
    };
    if let Some(lesson) = Lesson::of("step.npz") {
        lesson.runs_python(&python, OPENVINO);
    }
}

/// For Node, and for a page: that runs in Node, too, but does not read files by itself.
#[cfg(unix)]
#[test]
fn the_javascript_of_the_docs_trains() {
    for package in ["onnxruntime-node", "onnxruntime-web"] {
        let Some(modules) = node_modules(package) else {
            skip("node", format_args!("node with {package} (NODE_PATH)"));
            continue;
        };
        let Some(lesson) = Lesson::of("step.safetensors") else {
            return;
        };
        // Modules are not looked up in NODE_PATH.
        std::os::unix::fs::symlink(modules, lesson.at("node_modules")).unwrap();
        let arrays = batches().into_iter().map(|(x, y)| {
            let list = |values: Vec<String>| values.join(",");
            let images = list(x.iter().map(f32::to_string).collect());
            let labels = list(y.iter().map(|label| format!("{label}n")).collect());
            format!(
                "[new ort.Tensor('float32', [{images}], {:?}), new ort.Tensor('int64', [{labels}], {:?})]",
                x.shape(),
                y.shape()
            )
        });
        let arrays: Vec<String> = arrays.collect();
        let mut program = block("js").to_owned();
        if package == "onnxruntime-web" {
            program = program.replace("onnxruntime-node", package);
            program = program.replace("create('step.onnx')", "create(readFileSync('step.onnx'))");
        }
        let (imports, rest) = program.split_once("\n\n").unwrap();
        let batches = format!("const batches = [{}];", arrays.join(",\n"));
        let script = format!("{imports}\n{batches}\n{rest}");
        fs::write(lesson.at("train.mjs"), script).unwrap();
        lesson.runs("node", "train.mjs");
        lesson.ends_with("trained.safetensors");
    }
}

/// Names the folder to the process in which the Rust of the docs runs.
const FOLDER: &str = "FTSURGERY_TEST_FOLDER";

/// In a process of its own, as there is one environment of onnxruntime in each.
#[test]
fn the_rust_of_the_docs_trains() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let library = locate(None).unwrap().located.path;
        let environment = ort::init_from(library).unwrap().build().unwrap();
        let batches = batches().into_iter().map(|(x, y)| {
            let images = Tensor::from_array(x).unwrap().into_dyn();
            [images, Tensor::from_array(y).unwrap().into_dyn()]
        });
        let folder = Path::new(&folder);
        let losses = train(&environment, folder, batches.collect()).unwrap();
        let losses: Vec<String> = losses.iter().map(f32::to_string).collect();
        return fs::write(folder.join("losses"), losses.join("\n")).unwrap();
    }
    let (_, own) = include_str!("programs.rs").rsplit_once(START).unwrap();
    assert_eq!(own, block("rust"), "what is run is not what the docs show");
    let Some(lesson) = Lesson::of("step.safetensors") else {
        return;
    };
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "programs::the_rust_of_the_docs_trains"])
        .env(FOLDER, lesson.folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{told}");
    lesson.lost(&fs::read_to_string(lesson.at("losses")).unwrap());
    lesson.ends_with("trained.safetensors");
}

/// What stands before the Rust of the docs in this file.
const START: &str = "// The Rust of the docs, from here to the end.\n\n";

// The Rust of the docs, from here to the end.

fn train(
    environment: &Environment, // ort::init_from("libonnxruntime.so")?.build()?
    folder: &Path,
    batches: Vec<[DynValue; 2]>,
) -> Result<Vec<f32>, Box<dyn Error>> {
    let mut step = Session::builder(environment)?.commit_from_file(folder.join("step.onnx"))?;
    let mut state = read(&fs::read(folder.join("step.safetensors"))?)?;
    let mut losses = Vec::new();
    for [images, labels] in batches {
        let names: Vec<String> = state.keys().cloned().collect();
        let rate = Tensor::from_array(((), vec![1e-3f32]))?.into_dyn();
        let own = [
            ("image", images),
            ("labels", labels),
            ("learning_rate", rate),
        ];
        state.extend(own.map(|(name, value)| (name.to_owned(), value)));
        let mut out = step.run(state)?;
        losses.push(out["loss"].try_extract_tensor::<f32>()?.1[0]);
        let next = |name: String| {
            out.remove(format!("next/{name}"))
                .map(|value| (name, value))
        };
        state = names.into_iter().filter_map(next).collect();
    }
    fs::write(folder.join("trained.safetensors"), write(&state)?)?;
    Ok(losses)
}

fn read(file: &[u8]) -> Result<HashMap<String, DynValue>, Box<dyn Error>> {
    let mut state = HashMap::new();
    for (name, tensor) in SafeTensors::deserialize(file)?.tensors() {
        let (shape, bytes) = (tensor.shape().to_vec(), tensor.data());
        let (floats, longs) = (bytes.as_chunks().0, bytes.as_chunks().0);
        let floats = || {
            floats
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect::<Vec<_>>()
        };
        let longs = || {
            longs
                .iter()
                .map(|b| i64::from_le_bytes(*b))
                .collect::<Vec<_>>()
        };
        let value = match tensor.dtype() {
            Dtype::F32 => Tensor::from_array((shape, floats()))?.into_dyn(),
            Dtype::I64 => Tensor::from_array((shape, longs()))?.into_dyn(),
            _ => Tensor::from_array((shape, bytes.to_vec()))?.into_dyn(),
        };
        state.insert(name, value);
    }
    Ok(state)
}

fn write(state: &HashMap<String, DynValue>) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut tensors = Vec::new();
    for (name, value) in state {
        let (dtype, bytes): (_, Vec<u8>) = if let Ok((_, v)) = value.try_extract_tensor::<f32>() {
            (Dtype::F32, v.iter().flat_map(|v| v.to_le_bytes()).collect())
        } else if let Ok((_, v)) = value.try_extract_tensor::<i64>() {
            (Dtype::I64, v.iter().flat_map(|v| v.to_le_bytes()).collect())
        } else {
            (Dtype::U8, value.try_extract_tensor::<u8>()?.1.to_vec())
        };
        let shape: Vec<usize> = value.shape().iter().map(|&d| d as usize).collect();
        tensors.push((name, dtype, shape, bytes));
    }
    let mut views = Vec::new();
    for (name, dtype, shape, bytes) in &tensors {
        views.push((name, TensorView::new(*dtype, shape.clone(), bytes)?));
    }
    Ok(safetensors::serialize(views, None)?)
}
