mod operators;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ndarray::{Array0, ArrayD, IxDyn};

use super::*;
use crate::autodiff::AutodiffError;
use crate::graph::{Builder, Graph, Value};
use crate::onnx::{DataType, Model, Tensor, encode};
use crate::runtime::testing::runtime;
use crate::runtime::{Array, Runtime, Session, SessionOptions};
use crate::task::Task;
use crate::training::{
    BatchNormMode, GradientValues, Moments, Optimizer, OptimizerKind, Parameters,
    Update as HostUpdate,
};

pub(super) const HASH: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const KINDS: [OptimizerKind; 3] = [
    OptimizerKind::Sgd,
    OptimizerKind::Adam,
    OptimizerKind::Adamw,
];

pub(super) fn fixtures(folder: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("fixtures").join(folder)
}

fn convnet() -> Model {
    Model::open(&fixtures("reference/convnet").join("model.onnx")).unwrap()
}

/// A network of the fixtures: its name, the model and the dimensions of a sample.
pub(super) fn networks() -> Vec<(String, Model, Vec<usize>)> {
    let folder = fixtures("exporters");
    let index = std::fs::read(folder.join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    let entries = index.as_object().unwrap().iter();
    let trainable = entries.filter(|(_, entry)| entry["refused"].is_null());
    let mut all: Vec<_> = trainable
        .map(|(name, entry)| {
            let model = Model::open(&folder.join(format!("{name}.onnx"))).unwrap();
            let sample = entry["sample"].as_array().unwrap().iter();
            let sample = sample.map(|n| n.as_u64().unwrap() as usize).collect();
            (name.clone(), model, sample)
        })
        .collect();
    for name in ["convnet", "tokens"] {
        let model = Model::open(&fixtures("reference").join(name).join("model.onnx")).unwrap();
        all.push((name.to_owned(), model, vec![3, 16, 16]));
    }
    all
}

fn made(model: &Model, sample: &[usize], options: &TrainingOptions) -> TrainingGraph {
    let names = Parameters::of(model, sample, options.objective).unwrap();
    training_graph(model, HASH, &names.trainable, sample, options).unwrap()
}

/// A classifier of images of 2 × 4 × 4 with so many outputs.
pub(super) fn of_outputs(outputs: usize) -> Model {
    let mut graph = Graph {
        inputs: vec![Value::batched("x", &[2, 4, 4])],
        ..Graph::new(17)
    };
    for (name, dims) in [("w", &[5, 2, 3, 3][..]), ("fc", &[5, outputs])] {
        let count: usize = dims.iter().product();
        let values: Vec<f32> = (0..count).map(|i| (i as f32 * 0.7).sin()).collect();
        let tensor = Tensor::f32(dims, &values);
        graph.initializers.insert(name.to_owned(), tensor);
    }
    let mut b = Builder::new(&mut graph);
    let x = b.op("conv", "Conv", &["x", "w"], vec![]);
    let x = b.op("relu", "Relu", &[&x], vec![]);
    let x = b.op(
        "mean",
        "ReduceMean",
        &[&x],
        vec![("axes", vec![2i64, 3].into()), ("keepdims", 0.into())],
    );
    let z = b.op("z", "MatMul", &[&x, "fc"], vec![]);
    graph.outputs.push(Value::batched(&z, &[outputs]));
    let bytes = encode(&graph.to_model(usize::MAX).0).unwrap();
    Model::decode(bytes.into(), Path::new("test.onnx")).unwrap()
}

/// Values that look random.
pub(super) fn numbers(dims: &[usize], seed: usize) -> ArrayD<f32> {
    let count = dims.iter().product::<usize>();
    let value = |i: usize| ((i * 37 + seed * 11) % 101) as f32 / 50.0 - 1.0;
    ArrayD::from_shape_vec(IxDyn(dims), (0..count).map(value).collect()).unwrap()
}

/// What a graph gives, by name, for a batch of this size and the state before the first step.
fn outputs(
    runtime: &Runtime,
    graph: &TrainingGraph,
    sample: &[usize],
    batch: usize,
) -> HashMap<String, Array> {
    let bytes = encode(&graph.model).unwrap();
    let mut session = Session::new(runtime, &bytes, &[], &SessionOptions::default()).unwrap();
    let mut dims = vec![batch];
    dims.extend(sample);
    let labels: Vec<i64> = (0..batch as i64).map(|i| i % 2).collect();
    let mut feed = vec![
        (
            graph.contract.inputs[0].name.clone(),
            Array::F32(numbers(&dims, batch)),
        ),
        (
            "labels".to_owned(),
            Array::I64(ArrayD::from_shape_vec(IxDyn(&[batch]), labels).unwrap()),
        ),
        (
            "learning_rate".to_owned(),
            Array::F32(Array0::from_elem((), 0.01).into_dyn()),
        ),
    ];
    feed.extend(
        graph
            .state
            .tensors()
            .iter()
            .map(|(role, t)| (role.to_string(), array(t))),
    );
    let feed: Vec<(&str, &Array)> = feed
        .iter()
        .map(|(name, array)| (name.as_str(), array))
        .collect();
    let values = session.run(&feed).unwrap();
    let names = session.outputs().iter().map(|port| port.name.clone());
    names.zip(values).collect()
}

pub(super) fn array(tensor: &Tensor) -> Array {
    let dims = IxDyn(&tensor.dims);
    match tensor.dtype {
        DataType::Int64 => {
            Array::I64(ArrayD::from_shape_vec(dims, tensor.to_i64().unwrap()).unwrap())
        }
        DataType::Uint8 => Array::U8(ArrayD::from_shape_vec(dims, tensor.data.to_vec()).unwrap()),
        _ => Array::F32(ArrayD::from_shape_vec(dims, tensor.to_f32().unwrap()).unwrap()),
    }
}

#[test]
fn a_graph_for_any_batch_gives_what_one_for_that_batch_gives() {
    let Some(runtime) = runtime() else { return };
    for (name, model, sample) in networks() {
        let options = |batch| {
            TrainingOptions::new(Task::SingleLabel, Optimizer::new(OptimizerKind::Sgd))
                .batch_norm(BatchNormMode::Batch)
                .batch(batch)
        };
        let any = made(&model, &sample, &options(Batch::Any));
        assert!(any.contract.takes_any_batch(), "{name}");
        for batch in [2, 5] {
            let fixed = made(&model, &sample, &options(Batch::Fixed(batch)));
            assert!(!fixed.contract.takes_any_batch());
            assert_eq!(fixed.state, any.state, "{name}");
            let expected = outputs(&runtime, &fixed, &sample, batch);
            let found = outputs(&runtime, &any, &sample, batch);
            assert_eq!(found.len(), expected.len(), "{name}");
            for (value, expected) in &expected {
                let found = &found[value];
                assert_eq!(found.dims(), expected.dims(), "{name}: {value}");
                let (Some(a), Some(b)) = (found.as_f32(), expected.as_f32()) else {
                    assert_eq!(found, expected, "{name}: {value}");
                    continue;
                };
                let largest = b.iter().fold(0.0f32, |m, v| m.max(v.abs()));
                let apart = a
                    .iter()
                    .zip(b)
                    .fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
                assert!(
                    apart <= 2e-5 * largest.max(1e-3),
                    "{name}, {batch}: {value} is {apart} off of {largest}"
                );
            }
        }
    }
}

/// Also far from the first step, where `1 − βᵗ` has other digits.
#[test]
fn a_step_is_that_of_the_host_wherever_it_is() {
    let Some(runtime) = runtime() else { return };
    let (model, sample) = (convnet(), [3, 16, 16]);
    for kind in KINDS {
        let optimizer = Optimizer {
            weight_decay: 0.02,
            ..Optimizer::new(kind)
        };
        let name = "classifier.weight";
        let options = TrainingOptions::new(Task::SingleLabel, optimizer).batch(Batch::Fixed(3));
        let trained = [name.to_owned()];
        let mut graph = training_graph(&model, HASH, &trained, &sample, &options).unwrap();
        let of = |role: fn(String) -> Role| role(name.to_owned());
        let first = graph.state.get(&of(Role::Parameter)).unwrap().clone();
        // From moments of 0 its own mean is a tenth of the gradient.
        let zero = training_graph(
            &model,
            HASH,
            &trained,
            &sample,
            &TrainingOptions {
                optimizer: Optimizer {
                    weight_decay: 0.0,
                    momentum: 0.0,
                    ..Optimizer::new(OptimizerKind::Sgd)
                },
                ..options.clone()
            },
        )
        .unwrap();
        let moved = outputs(&runtime, &zero, &sample, 3);
        let moved = moved["next/param/classifier.weight"]
            .as_f32()
            .unwrap()
            .clone();
        let before = first.to_f32().unwrap();
        let gradient: Vec<f32> = before
            .iter()
            .zip(&moved)
            .map(|(a, b)| (a - b) / 0.01)
            .collect();
        for step in [0i64, 1, 9, 1_000, 1_000_000] {
            graph.state.put(Role::Step, Tensor::scalar_i64(step));
            let mut host = Moments::default();
            let mut p = before.clone();
            let moments = [0.01f32, 0.002];
            let roles = [of(Role::FirstMoment), of(Role::SecondMoment)];
            for ((role, value), own) in roles
                .iter()
                .zip(moments)
                .zip([&mut host.first, &mut host.second])
            {
                if graph.state.get(role).is_some() && step > 0 {
                    *own = vec![value; p.len()];
                    graph.state.put(role.clone(), Tensor::f32(&first.dims, own));
                }
            }
            let at = HostUpdate {
                step: step as u64 + 1,
                learning_rate: 0.01,
                scale: 1.0,
                towards: None,
            };
            optimizer.update(at, &mut p, GradientValues::Whole(&gradient), &mut host, 1);
            let found = outputs(&runtime, &graph, &sample, 3);
            assert_eq!(found["next/step"].as_i64().unwrap()[[]], step + 1);
            let found = found["next/param/classifier.weight"].as_f32().unwrap();
            for ((found, expected), before) in found.iter().zip(&p).zip(&before) {
                let moved = (expected - before).abs();
                let apart = (found - expected).abs();
                assert!(
                    apart <= 2e-4 * moved + 1e-7,
                    "{kind:?}, step {step}: {found} {expected} {before}"
                );
            }
        }
    }
}

#[test]
fn a_state_comes_back_from_its_file_and_what_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainingOptions::new(Task::SingleLabel, Optimizer::new(OptimizerKind::Adam))
        .batch_norm(BatchNormMode::Batch)
        .ema(Some(0.9));
    let options = options.batch(Batch::Fixed(2));
    let state = made(&convnet(), &[3, 16, 16], &options).state;
    let sorted = |state: &State| {
        let mut all = state.tensors().to_vec();
        all.sort_by_key(|(role, _)| role.to_string());
        all
    };
    for name in ["state.npz", "state.safetensors"] {
        let path = folder.path().join(name);
        state.write(&path).unwrap();
        let Ok(TunedFile::State(read)) = TunedFile::read(&path) else {
            panic!("{name} is a state");
        };
        assert_eq!(sorted(&read), sorted(&state), "{name}");
        let bytes = std::fs::read(&path).unwrap();
        for end in [0, 1, 7, 100, bytes.len() - 1] {
            assert!(
                State::decode(bytes[..end].to_vec(), &path).is_err(),
                "{name}: {end}"
            );
        }
    }
    let refused = |role: Role, tensor: Tensor, word: &str| {
        let mut other = state.clone();
        other.put(role, tensor);
        for name in ["other.npz", "other.safetensors"] {
            let path = folder.path().join(name);
            other.write(&path).unwrap();
            let error = State::read(&path).unwrap_err().to_string();
            assert!(error.contains(word), "{name}: {error}");
        }
    };
    refused(Role::Step, Tensor::scalar_f32(1.0), "`step`");
    refused(Role::Backbone, Tensor::f32(&[2], &[0.0; 2]), "`backbone`");
    refused(
        Role::Parameter("stem.weight".into()),
        Tensor::i64s(&[1]),
        "`param/stem.weight`",
    );
    let path = folder.path().join("text");
    std::fs::write(&path, "no state").unwrap();
    for (name, word) in [
        ("text", "is neither an adapter nor a state"),
        ("missing", "cannot read"),
    ] {
        let error = TunedFile::read(&folder.path().join(name)).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn a_state_that_lacks_tensors_or_has_them_of_others_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainingOptions::new(Task::SingleLabel, Optimizer::new(OptimizerKind::Adam))
        .batch_norm(BatchNormMode::Batch)
        .ema(Some(0.9));
    let whole = made(&convnet(), &[3, 16, 16], &options.batch(Batch::Fixed(2))).state;
    let of = |kind: fn(String) -> Role, name: &str| kind(name.to_owned());
    let weight = "stem.weight";
    let running = |(role, _): &&(Role, Tensor)| matches!(role, Role::Running(_));
    let (running, _) = whole.tensors().iter().find(running).unwrap();
    let refused = |gone: &[Role], put: Option<(Role, Tensor)>, word: &str| {
        let mut state = State::default();
        for (role, tensor) in whole.tensors().iter().cloned().chain(put) {
            if !gone.contains(&role) {
                state.put(role, tensor);
            }
        }
        for name in ["state.npz", "state.safetensors"] {
            let path = folder.path().join(name);
            state.write(&path).unwrap();
            let error = State::read(&path).unwrap_err().to_string();
            assert!(error.contains(word), "{name}: {word} is not in {error}");
        }
    };
    refused(&[Role::Step], None, "no `step`");
    for step in [Tensor::scalar_i64(-1), Tensor::i64s(&[1, 2])] {
        refused(&[], Some((Role::Step, step)), "its `step`");
    }
    refused(
        &[of(Role::Average, weight)],
        None,
        "no `average/stem.weight`",
    );
    refused(
        &[of(Role::SecondMoment, weight)],
        None,
        "no `moment2/stem.weight`",
    );
    refused(
        &[of(Role::Parameter, weight)],
        None,
        "but not the tensor that this is of",
    );
    refused(
        std::slice::from_ref(running),
        None,
        "but not the tensor that this is of",
    );
    let one = || Tensor::f32(&[1], &[0.0]);
    let other = of(Role::FirstMoment, "other");
    refused(&[], Some((other, one())), "a `moment1/other`");
    let average = of(Role::Average, weight);
    refused(
        &[],
        Some((average, one())),
        "its `average/stem.weight` is [1]",
    );
}

#[test]
fn an_npz_whose_checksum_is_wrong_is_refused_by_the_name_of_the_array() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.npz");
    let options = TrainingOptions::new(Task::SingleLabel, Optimizer::new(OptimizerKind::Sgd));
    let state = made(&convnet(), &[3, 16, 16], &options).state;
    state.write(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    // A bit of the values of an array, of which nothing tells but its checksum.
    let is_parameter = |(role, _): &&(Role, Tensor)| matches!(role, Role::Parameter(_));
    let (role, last) = state.tensors().iter().rfind(is_parameter).unwrap();
    let values = last.data[last.data.len() - 16..].to_vec();
    let found = whole.windows(16).rposition(|bytes| bytes == values);
    let mut damaged = whole.clone();
    damaged[found.unwrap()] ^= 1;
    let error = State::decode(damaged, &path).unwrap_err().to_string();
    let named = format!("its `{role}` is damaged");
    assert!(
        error.contains(&named) && error.contains("hecksum"),
        "{error}"
    );
    State::decode(whole, &path).unwrap();
}

#[test]
fn what_follows_from_the_batch_size_in_another_way_is_refused_by_its_node() {
    // A sum over all pairs of samples of what they have in common.
    let mut graph = Graph {
        inputs: vec![Value::batched("x", &[4])],
        ..Graph::new(17)
    };
    let weights = Tensor::f32(&[4, 3], &[0.5; 12]);
    graph.initializers.insert("w".to_owned(), weights);
    let mut b = Builder::new(&mut graph);
    let shape = b.op("shape", "Shape", &["x"], vec![]);
    let zero = b.constant(Tensor::scalar_i64(0));
    let size = b.op("size", "Gather", &[&shape, &zero], vec![]);
    let float = b.op("float", "Cast", &[&size], vec![("to", 1.into())]);
    let scaled = b.op("scaled", "Mul", &["x", &float], vec![]);
    b.op("z", "MatMul", &[&scaled, "w"], vec![]);
    graph.outputs.push(Value::batched("z", &[3]));
    let bytes = encode(&graph.to_model(usize::MAX).0).unwrap();
    let model = Model::decode(bytes.into(), Path::new("test.onnx")).unwrap();
    let options = TrainingOptions::new(Task::SingleLabel, Optimizer::new(OptimizerKind::Sgd));
    let names = ["w".to_owned()];
    let any = options.clone().batch(Batch::Any);
    let error = training_graph(&model, HASH, &names, &[4], &any).unwrap_err();
    assert!(
        matches!(error, TrainingGraphError::FixedBatch { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("Mul"), "{error}");
    training_graph(&model, HASH, &names, &[4], &options).unwrap();
    let none = training_graph(&model, HASH, &[], &[4], &options).unwrap_err();
    assert!(matches!(none, TrainingGraphError::Mismatch(_)), "{none}");
    let other = ["v".to_owned()];
    let error = training_graph(&model, HASH, &other, &[4], &options).unwrap_err();
    let TrainingGraphError::Training(crate::training::TrainingError::Autodiff(error)) = error
    else {
        panic!("{error}");
    };
    assert!(matches!(error, AutodiffError::NotAParameter(_)), "{error}");
}
