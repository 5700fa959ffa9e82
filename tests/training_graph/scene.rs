//! Making training graphs by the command and running them.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use ftsurgery::onnx::{DataType, Model, Tensor};
use ftsurgery::runtime::{Array, Runtime, Session, SessionOptions};
use ftsurgery::training_graph::State;
use ndarray::{Array0, ArrayD, Axis, IxDyn, OwnedRepr};
use ndarray_npy::{NpzReader, NpzWriter, ReadableElement};

/// The binary.
pub fn ftsurgery(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    command.arg("--quiet").args(arguments);
    command
}

/// A network of `fixtures/reference`.
pub fn fixture(network: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("fixtures/reference").join(network)
}

/// Writes samples, `x`, and their labels, `y`, as a file of NumPy's.
pub fn save_samples(path: &Path, x: &ArrayD<f32>, y: &ArrayD<i64>) {
    let mut npz = NpzWriter::new(File::create(path).unwrap());
    npz.add_array("x", x).unwrap();
    npz.add_array("y", y).unwrap();
    npz.finish().unwrap();
}

/// Arrays of a file of NumPy's, opened anew for each.
pub struct Arrays(pub PathBuf);

impl Arrays {
    fn reader(&self) -> NpzReader<File> {
        NpzReader::new(File::open(&self.0).unwrap()).unwrap()
    }

    pub fn get<T: ReadableElement>(&self, name: &str) -> ArrayD<T> {
        let read = self
            .reader()
            .by_name::<OwnedRepr<T>, IxDyn>(&format!("{name}.npy"));
        read.unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Names under a prefix, without it.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let all = self.reader().names().unwrap();
        let inner = |n: &String| {
            let name = n.strip_suffix(".npy").unwrap_or(n);
            name.strip_prefix(prefix).map(str::to_owned)
        };
        all.iter().filter_map(inner).collect()
    }

    /// The batches of an array, along its first axis.
    pub fn batches<T: ReadableElement + Clone>(&self, name: &str) -> Vec<ArrayD<T>> {
        let all = self.get::<T>(name);
        all.axis_iter(Axis(0))
            .map(|batch| batch.to_owned())
            .collect()
    }
}

/// A training graph with its state, as they were written.
pub struct Made {
    pub folder: tempfile::TempDir,
    pub model: Model,
    session: Session,
    /// By the names of the inputs.
    pub state: HashMap<String, Array>,
}

impl Made {
    /// Of `model`, by `differentiate` with these flags.
    pub fn of(runtime: &Runtime, model: &Path, flags: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("step.onnx");
        ftsurgery(&["differentiate"])
            .arg(model)
            .args(flags.split_whitespace())
            .arg("--out")
            .arg(&out)
            .assert()
            .success();
        let made = Model::open(&out).unwrap();
        let options = SessionOptions::default();
        let session = Session::new(runtime, made.file_bytes(), &[], &options).unwrap();
        let state = State::read(&out.with_extension("safetensors")).unwrap();
        let state = state.tensors().iter();
        Made {
            state: state
                .map(|(role, t)| (role.to_string(), array(t)))
                .collect(),
            folder,
            model: made,
            session,
        }
    }

    /// A step with these inputs beside the state and the rate; its loss.
    pub fn step(&mut self, inputs: &[(&str, Array)], rate: f32) -> f32 {
        self.step_of(inputs, rate, "loss")
    }

    /// As [`Made::step`], where the loss has this name.
    pub fn step_of(&mut self, inputs: &[(&str, Array)], rate: f32, loss: &str) -> f32 {
        let rate = Array::F32(Array0::from_elem((), rate).into_dyn());
        let mut feed: Vec<(&str, &Array)> = vec![("learning_rate", &rate)];
        feed.extend(inputs.iter().map(|(name, array)| (*name, array)));
        feed.extend(
            self.state
                .iter()
                .map(|(name, array)| (name.as_str(), array)),
        );
        let values = self.session.run(&feed).unwrap();
        let names = self.session.outputs().iter().map(|port| port.name.clone());
        let mut outputs: HashMap<String, Array> = names.zip(values).collect();
        for (name, value) in &mut self.state {
            *value = outputs.remove(&format!("next/{name}")).unwrap();
        }
        outputs[loss].as_f32().unwrap()[[]]
    }

    pub fn floats(&self, name: &str) -> Vec<f32> {
        let array = &self.state[name];
        array.as_f32().unwrap().iter().copied().collect()
    }

    /// The state as a file.
    pub fn save(&self, path: &Path) {
        let mut state = State::default();
        for (name, array) in &self.state {
            let role = ftsurgery::training_graph::Role::of(name).unwrap();
            state.put(role, tensor(array));
        }
        state.write(path).unwrap();
    }
}

fn array(tensor: &Tensor) -> Array {
    let dims = IxDyn(&tensor.dims);
    match tensor.dtype {
        DataType::Int64 => {
            Array::I64(ArrayD::from_shape_vec(dims, tensor.to_i64().unwrap()).unwrap())
        }
        DataType::Uint8 => Array::U8(ArrayD::from_shape_vec(dims, tensor.data.to_vec()).unwrap()),
        _ => Array::F32(ArrayD::from_shape_vec(dims, tensor.to_f32().unwrap()).unwrap()),
    }
}

fn tensor(array: &Array) -> Tensor {
    let dims = array.dims().to_vec();
    match array {
        Array::I64(values) => Tensor {
            dims,
            ..Tensor::i64s(&values.iter().copied().collect::<Vec<_>>())
        },
        Array::U8(values) => Tensor {
            dtype: DataType::Uint8,
            dims,
            data: values.iter().copied().collect::<Vec<u8>>().into(),
        },
        other => {
            let values: Vec<f32> = other.as_f32().unwrap().iter().copied().collect();
            Tensor::f32(&dims, &values)
        }
    }
}

/// Norm of the difference over the norm of what is expected.
pub fn apart(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |v: f32| f64::from(v).powi(2);
    let pairs = found.iter().zip(expected);
    let apart: f64 = pairs.map(|(a, b)| square(a - b)).sum();
    let size: f64 = expected.iter().map(|b| square(*b)).sum();
    (apart / size.max(1e-30)).sqrt()
}
