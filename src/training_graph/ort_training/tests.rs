use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;
use ndarray::{Array0, ArrayD, IxDyn};

use super::super::tests::{HASH, array, networks, numbers, of_outputs};
use super::super::{Batch, Role, training_graph};
use super::*;
use crate::autodiff::Targets;
use crate::graph::Dim;
use crate::onnx::messages::GraphProto;
use crate::onnx::{DataType, encode};
use crate::runtime::testing::runtime;
use crate::runtime::{Array, Runtime, Session, SessionOptions};
use crate::task::Task;
use crate::training::{Optimizer, OptimizerKind, Parameters};

/// For all parameters that are chosen by their names, with the others frozen.
fn chosen(
    model: &Model,
    sample: &[usize],
    options: &TrainingOptions,
    is_trained: impl Fn(&str) -> bool,
) -> Result<OrtArtifacts, TrainingGraphError> {
    let all = Parameters::of(model, sample, options.objective)
        .unwrap()
        .trainable;
    let trained: Vec<String> = all
        .iter()
        .filter(|name| is_trained(name))
        .cloned()
        .collect();
    ort_artifacts(model, HASH, (&trained, &all), sample, options)
}

fn of_all(
    model: &Model,
    sample: &[usize],
    options: &TrainingOptions,
) -> Result<OrtArtifacts, TrainingGraphError> {
    chosen(model, sample, options, |_| true)
}

fn options(objective: impl Into<Objective>) -> TrainingOptions {
    let sgd = Optimizer {
        momentum: 0.0,
        ..Optimizer::new(OptimizerKind::Sgd)
    };
    TrainingOptions::new(objective, sgd)
}

fn run(runtime: &Runtime, model: &ModelProto, feed: &[(String, Array)]) -> HashMap<String, Array> {
    let bytes = encode(model).unwrap();
    let mut session = Session::new(runtime, &bytes, &[], &SessionOptions::default()).unwrap();
    let feed: Vec<(&str, &Array)> = feed.iter().map(|(n, array)| (n.as_str(), array)).collect();
    let values = session.run(&feed).unwrap();
    let names = session.outputs().iter().map(|port| port.name.clone());
    names.zip(values).collect()
}

/// What is held against the loss, for so many samples.
fn labels(objective: Objective, batch: usize, outputs: usize) -> Array {
    let classes = match objective {
        Objective::Task(Task::Binary) => 2,
        _ => outputs,
    };
    match objective {
        Objective::Task(Task::MultiLabel) | Objective::SquaredError => {
            let held = numbers(&[batch, outputs], 3).mapv(|v| f32::from(v > 0.0));
            Array::F32(held)
        }
        _ => {
            let each = (0..batch).map(|i| (i % classes) as i64).collect();
            Array::I64(ArrayD::from_shape_vec(IxDyn(&[batch]), each).unwrap())
        }
    }
}

/// Holds the evaluation by a stock runtime against the loss and the output of the graph that trains, for this many samples.
fn is_evaluated_as_trained(
    runtime: &Runtime,
    (name, model, sample): (&str, &Model, &[usize]),
    made: &OrtArtifacts,
    options: &TrainingOptions,
    batch: usize,
) {
    let trained: Vec<String> = made.trained.iter().map(|(name, _)| name.clone()).collect();
    let expected = training_graph(model, HASH, &trained, sample, options).unwrap();
    let dims: Vec<usize> = std::iter::once(batch)
        .chain(sample.iter().copied())
        .collect();
    let outputs = expected
        .contract
        .logits
        .as_ref()
        .unwrap()
        .dims
        .clone()
        .unwrap();
    let outputs = match outputs.get(1) {
        Some(Dim::Known(outputs)) => *outputs,
        _ => panic!("{name}: {outputs:?}"),
    };
    let mut feed = vec![
        (
            made.inputs[0].name.clone(),
            Array::F32(numbers(&dims, batch)),
        ),
        (
            made.inputs[1].name.clone(),
            labels(options.objective, batch, outputs),
        ),
    ];
    let mut whole = feed.clone();
    let rate = Array::F32(Array0::from_elem((), 0.1).into_dyn());
    whole.push((expected.contract.learning_rate.clone(), rate));
    let state = expected.state.tensors().iter();
    whole.extend(state.map(|(role, tensor)| (role.to_string(), array(tensor))));
    let whole = run(runtime, &expected.model, &whole);

    let state = state_of(made);
    let parameters = state.trained().into_iter();
    feed.extend(parameters.map(|(name, tensor)| (name.to_owned(), array(tensor))));
    let evaluated = run(runtime, &made.eval_model, &feed);
    let scalar = |array: &Array| array.as_f32().unwrap()[[]];
    let found = scalar(&evaluated[&made.loss]);
    let loss = scalar(&whole[&expected.contract.loss]);
    assert!(
        (found - loss).abs() < 2e-5 * loss.abs().max(1.0),
        "{name}: {found}, {loss}"
    );
    assert_eq!(evaluated.len(), 2, "{name}");
    let scores = &evaluated[made.scores.as_ref().unwrap()];
    assert_eq!(scores.dims()[..2], [batch, outputs], "{name}");
}

fn state_of(made: &OrtArtifacts) -> super::super::State {
    checkpoint_state(&Bytes::from(made.checkpoint.clone())).unwrap()
}

/// Whether the evaluation takes one sample, as the file did.
fn takes_one(made: &OrtArtifacts) -> bool {
    let bytes = encode(&made.eval_model).unwrap();
    let model = Model::decode(bytes.into(), Path::new("eval.onnx")).unwrap();
    let graph = Graph::from_model(&model).unwrap();
    graph.inputs[0].dims.as_ref().unwrap()[0] == Dim::Known(1)
}

#[test]
fn networks_are_evaluated_as_they_are_trained_or_refused_by_what_the_api_does_not_take() {
    let Some(runtime) = runtime() else { return };
    let (mut refused, mut of_one) = (Vec::new(), Vec::new());
    for (name, model, sample) in networks() {
        for batch in [Batch::Fixed(3), Batch::Any] {
            let options = options(Task::SingleLabel).batch(batch);
            match of_all(&model, &sample, &options) {
                Ok(made) if takes_one(&made) => of_one.push(name.clone()),
                Ok(made) => {
                    let network = (name.as_str(), &model, sample.as_slice());
                    is_evaluated_as_trained(&runtime, network, &made, &options, 3);
                }
                Err(error) => {
                    let told = error.to_string();
                    assert!(
                        told.contains("onnxruntime's training API"),
                        "{name}: {told}"
                    );
                    refused.push(name.clone());
                }
            }
        }
    }
    refused.dedup();
    // Its file cannot be freed from that.
    of_one.dedup();
    assert_eq!(of_one, ["torch_older_one_image_token"]);
    assert_eq!(refused, ["double", "half", "half_inside"]);
}

#[test]
fn each_loss_is_evaluated_as_it_is_trained() {
    let Some(runtime) = runtime() else { return };
    for (objective, outputs, classes) in [
        (Objective::Task(Task::SingleLabel), 3, 3),
        (Objective::Task(Task::MultiLabel), 3, 3),
        (Objective::Task(Task::Binary), 1, 2),
        (Objective::SquaredError, 3, 0),
    ] {
        let mut options = options(objective).batch(Batch::Any);
        if classes > 0 {
            options = options.targets(Targets {
                class_weights: Some((1..=classes).map(|w| w as f32 / 2.0).collect()),
                smoothing: 0.1,
            });
        }
        let model = of_outputs(outputs);
        let made = of_all(&model, &[2, 4, 4], &options).unwrap();
        for batch in [1, 4] {
            let network = ("", &model, &[2, 4, 4][..]);
            is_evaluated_as_trained(&runtime, network, &made, &options, batch);
        }
    }
}

fn names_of<'a>(
    values: impl Iterator<Item = &'a crate::onnx::messages::ValueInfoProto>,
) -> Vec<&'a str> {
    values.map(|value| value.name()).collect()
}

#[test]
fn the_files_have_the_names_and_the_order_that_onnxruntime_asks_for() {
    let model = Model::open(&super::super::tests::fixtures(
        "reference/convnet/model.onnx",
    ))
    .unwrap();
    let adamw = TrainingOptions::new(Task::SingleLabel, Optimizer::new(OptimizerKind::Adamw))
        .batch(Batch::Fixed(4))
        .clip_norm(Some(1.0));
    let made = chosen(&model, &[3, 16, 16], &adamw, |n| {
        n.starts_with("classifier")
    })
    .unwrap();
    let trained: Vec<&str> = made.trained.iter().map(|(name, _)| name.as_str()).collect();
    let frozen: Vec<&str> = made.frozen.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((trained.len(), frozen.len()), (2, 12));
    let graph = |model: &ModelProto| -> GraphProto { model.graph.clone().unwrap() };
    let [training, eval, optimizer] = [
        &made.training_model,
        &made.eval_model,
        &made.optimizer_model,
    ]
    .map(graph);

    let with = |end: &str| -> Vec<String> {
        let names = trained.iter();
        let names = names.map(|name| format!("{name}_grad.accumulation.{end}"));
        names.collect()
    };
    let own = ["image", "labels"]
        .into_iter()
        .chain(trained.iter().chain(&frozen).copied());
    let own: Vec<String> = own.map(str::to_owned).collect();
    let mut inputs = own.clone();
    inputs.extend(with("buffer"));
    inputs.push("lazy_reset_grad".to_owned());
    assert_eq!(names_of(training.input.iter()), inputs);
    let mut outputs = vec!["loss".to_owned()];
    outputs.extend(with("out"));
    assert_eq!(names_of(training.output.iter()), outputs);
    let gathering = training.node.iter().filter(|n| n.domain() == MICROSOFT);
    let gathering: Vec<_> = gathering
        .map(|n| (n.op_type(), n.input[2].as_str()))
        .collect();
    assert_eq!(gathering, [("InPlaceAccumulatorV2", "lazy_reset_grad"); 2]);
    assert!(
        training
            .node
            .iter()
            .all(|n| matches!(n.domain(), "" | MICROSOFT))
    );

    assert_eq!(names_of(eval.input.iter()), own);
    assert_eq!(
        names_of(eval.output.iter()),
        ["loss", made.scores.as_ref().unwrap()]
    );
    let original = model.graph();
    for tensor in &original.initializer {
        let is_parameter = own.iter().any(|name| name == tensor.name());
        let kept = eval.initializer.iter().find(|t| t.name() == tensor.name());
        assert_eq!(kept, (!is_parameter).then_some(tensor), "{}", tensor.name());
    }
    assert_eq!(eval.node[..original.node.len()], original.node);

    let lists = [
        "params",
        "gradients",
        "first_order_moments",
        "second_order_moments",
    ];
    let asked: Vec<&str> = ["learning_rate", "step"].into_iter().chain(lists).collect();
    assert_eq!(names_of(optimizer.input.iter()), asked);
    let nodes: Vec<&str> = optimizer.node.iter().map(|n| n.op_type()).collect();
    assert_eq!(nodes, ["InplaceClipGradNorm", "AdamWOptimizer"]);

    let state = state_of(&made);
    let roles: Vec<&Role> = state.tensors().iter().map(|(role, _)| role).collect();
    let trained = trained.iter().map(|&name| Role::Parameter(name.to_owned()));
    assert_eq!(
        roles,
        trained
            .chain([Role::Backbone])
            .collect::<Vec<_>>()
            .iter()
            .collect::<Vec<_>>()
    );
    // And `apply` finds what it is of.
    let read = super::super::State::decode(made.checkpoint.clone(), Path::new("checkpoint"));
    assert_eq!(read.unwrap(), state);
}

#[test]
fn what_the_api_does_not_have_is_refused() {
    let model = of_outputs(3);
    let plain = || options(Task::SingleLabel);
    let of = |kind, weight_decay, momentum| {
        let optimizer = Optimizer {
            weight_decay,
            momentum,
            ..Optimizer::new(kind)
        };
        TrainingOptions::new(Task::SingleLabel, optimizer)
    };
    for (options, word) in [
        (plain().ema(Some(0.9)), "no average"),
        (
            plain().batch_norm(BatchNormMode::Batch),
            "no running statistics",
        ),
        (of(OptimizerKind::Sgd, 0.0, 0.9), "no SGD with momentum"),
        (of(OptimizerKind::Sgd, 0.1, 0.0), "no SGD with weight decay"),
        (
            of(OptimizerKind::Adam, 0.1, 0.0),
            "no Adam with weight decay",
        ),
    ] {
        let error = of_all(&model, &[2, 4, 4], &options).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
    let error = chosen(&model, &[2, 4, 4], &plain(), |_| false).unwrap_err();
    assert!(error.to_string().contains("no parameter"), "{error}");

    let renamed = |from: &str, to: &str| {
        let mut graph = Graph::from_model(&model).unwrap();
        for input in &mut graph.inputs {
            if input.name == from {
                to.clone_into(&mut input.name);
            }
        }
        if let Some(tensor) = graph.initializers.shift_remove(from) {
            graph.initializers.insert(to.to_owned(), tensor);
        }
        graph.replace_uses(from, to);
        let bytes = encode(&graph.to_model(usize::MAX).0).unwrap();
        Model::decode(bytes.into(), Path::new("test.onnx")).unwrap()
    };
    for (from, to) in [
        ("x", "x_grad"),
        ("x", "lazy_reset_grad"),
        ("w", "fc_grad.accumulation.buffer"),
    ] {
        let error = of_all(&renamed(from, to), &[2, 4, 4], &plain()).unwrap_err();
        assert!(error.to_string().contains(to), "{error}");
    }
    let made = of_all(&renamed("x", "labels"), &[2, 4, 4], &plain()).unwrap();
    let names: Vec<&str> = made
        .inputs
        .iter()
        .map(|input| input.name.as_str())
        .collect();
    assert_eq!(names, ["labels", "labels_2"]);

    let mut older = model.proto.clone();
    older.opset_import[0].version = Some(8);
    let error = of_all(&model.with_proto(older), &[2, 4, 4], &plain()).unwrap_err();
    assert!(error.to_string().contains("opset 8"), "{error}");
}

/// A loss that the model makes itself, of two inputs.
#[test]
fn a_value_of_the_model_is_the_loss() {
    let Some(runtime) = runtime() else { return };
    let mut graph = Graph {
        inputs: ["x", "t"].map(|name| Value::batched(name, &[4])).to_vec(),
        ..Graph::new(17)
    };
    let w = Tensor::f32(&[4, 4], &[0.25; 16]);
    graph.initializers.insert("w".to_owned(), w);
    let mut b = crate::graph::Builder::new(&mut graph);
    let y = b.op("y", "MatMul", &["x", "w"], vec![]);
    let apart = b.op("apart", "Sub", &[&y, "t"], vec![]);
    let square = b.op("square", "Mul", &[&apart, &apart], vec![]);
    let mean = b.op(
        "mean",
        "ReduceMean",
        &[&square],
        vec![("keepdims", 0.into())],
    );
    graph
        .outputs
        .push(Value::fixed(&mean, DataType::Float, &[]));
    let bytes = encode(&graph.to_model(usize::MAX).0).unwrap();
    let model = Model::decode(bytes.into(), Path::new("test.onnx")).unwrap();
    let options = options(Objective::Output).batch(Batch::Fixed(2));
    let made = of_all(&model, &[4], &options).unwrap();
    assert_eq!((made.inputs.len(), made.scores.as_ref()), (2, None));
    let ones = |dims: &[usize]| Array::F32(ArrayD::from_elem(IxDyn(dims), 1.0));
    let feed = [
        ("x", ones(&[2, 4])),
        ("t", Array::F32(ArrayD::zeros(IxDyn(&[2, 4])))),
    ];
    let mut feed: Vec<_> = feed.map(|(name, array)| (name.to_owned(), array)).to_vec();
    feed.push((
        "w".to_owned(),
        Array::F32(ArrayD::from_elem(IxDyn(&[4, 4]), 0.25)),
    ));
    let evaluated = run(&runtime, &made.eval_model, &feed);
    assert_eq!(evaluated.len(), 1);
    assert_eq!(evaluated[&made.loss].as_f32().unwrap()[[]], 1.0);
}
