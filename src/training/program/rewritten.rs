//! Tests of the graphs of rewritten networks.

use std::path::Path;

use crate::autodiff::{AutodiffError, Operators};
use crate::graph::{Graph, Node, Value};
use crate::onnx::{Model, Tensor, encode};
use crate::runtime::testing::runtime;
use crate::runtime::{Buffer, Device};
use crate::surgery::Rewrite;
use crate::surgery::rewrite::{Distribution, Gated, LowRank, Noise, Number};
use crate::training::TrainingError;
use crate::training::bank::scene::{grafted, network, noise};
use crate::training::noise::fill_noise;
use crate::training::sessions::{Bound, SessionMaker};

use super::{Prepared, boundary, step_program};

const BATCH: usize = 3;
const SAMPLE: [usize; 3] = [3, 8, 8];

fn own(names: &[&str]) -> Vec<String> {
    names.iter().map(|&n| n.to_owned()).collect()
}

/// A step with features, labels and noise in place, on parameters of other values than the first.
struct Step {
    bound: Bound,
    parameters: Vec<Buffer>,
}

impl Step {
    fn new(sessions: &SessionMaker<'_>, prepared: &Prepared, trainable: &[String]) -> Self {
        let program = step_program(prepared, trainable, &[], Operators::Standard).unwrap();
        let dims = program.parameters.iter().map(|p| p.dims.clone());
        let values = |dims: Vec<usize>| {
            let count: usize = dims.iter().product();
            Buffer::from_f32(&dims, &noise(count, 0.6)).unwrap()
        };
        let parameters: Vec<Buffer> = dims.map(values).collect();
        let bound = sessions.bind(program, "test", &parameters, 1).unwrap();
        for features in &bound.features {
            let mut values = features.as_f32_mut().unwrap();
            let numbers = noise(values.len(), 1.0);
            values.copy_from_slice(&numbers);
        }
        let labels = bound.labels.as_ref().unwrap();
        labels.as_i64_mut().unwrap().copy_from_slice(&[0, 2, 1]);
        for (of, buffer) in bound.program.noise.iter().zip(&bound.noise) {
            fill_noise(&mut buffer.as_f32_mut().unwrap(), of, 1, 1, &[0, 1, 2]);
        }
        Step { bound, parameters }
    }

    /// Loss with penalties, and gradients.
    fn run(&mut self) -> (f64, Vec<Vec<f32>>) {
        let Bound {
            session, binding, ..
        } = &mut self.bound;
        session.run_bound(binding).unwrap();
        let gradients = self.bound.gradients.iter();
        let gradients = gradients.map(|g| g.read(|values| values.to_vec()).unwrap());
        let loss = f64::from(self.bound.loss().unwrap());
        let penalty = self.bound.penalty().unwrap().map_or(0.0, f64::from);
        (loss + penalty, gradients.collect())
    }
}

#[test]
fn gradients_through_a_gate_are_those_of_the_graph_with_the_jumps_numbers_in_place() {
    let Some(runtime) = runtime() else { return };
    let sessions = SessionMaker::new(&runtime, Device::Cpu, Operators::Standard);
    let rewrite = Rewrite::Gated(Gated {
        weights: own(&["c2.w"]),
        penalty: Number(0.75),
    });
    let rewritten = rewrite.apply(&grafted(network())).unwrap();
    let prepared = Prepared::rewritten(&rewritten, BATCH, &SAMPLE, Default::default()).unwrap();
    let name = |part: &str| format!("ftsurgery/gated/c2.w/{part}");
    let trainable = [name("logits"), name("weight"), "c1.w".to_owned()];
    let mut step = Step::new(&sessions, &prepared, &trainable);
    let (loss, gradients) = step.run();

    // The jump of each gate, from its logit and noise.
    let logits = step.parameters[0].as_f32().unwrap().to_vec();
    let drawn = step.bound.noise[0].as_f32().unwrap().to_vec();
    let soft: Vec<f32> = drawn
        .iter()
        .enumerate()
        .map(|(at, n)| 1.0 / (1.0 + (-(logits[at % 4] + n)).exp()))
        .collect();
    let jumps = soft.iter().map(|&s| f32::from(u8::from(s > 0.5)) - s);
    let jumps: Vec<f32> = jumps.collect();
    let open = soft.iter().filter(|&&s| s > 0.5).count();
    assert!(open > 2 && open < 10, "{open} of 12");
    let mut smooth = prepared.clone();
    let jump = name("jump");
    smooth.graph.nodes.retain(|n: &Node| n.outputs[0] != jump);
    let tensor = Tensor::f32(&[BATCH, 4, 1, 1], &jumps);
    smooth.graph.initializers.insert(jump, tensor);
    smooth.constants.clear();
    let mut smooth = Step::new(&sessions, &smooth, &trainable);
    let (same, expected) = smooth.run();
    assert!((same - loss).abs() < 1e-6);
    for (found, expected) in gradients.iter().zip(&expected) {
        let size = expected.iter().fold(0.0, |top: f32, v| top.max(v.abs()));
        assert!(size > 1e-4);
        let apart = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
        assert!(apart.fold(0.0, f32::max) < 1e-5 * size.max(0.1));
    }
    // And by finite differences of the logits, where the loss is smooth in them.
    for at in 0..4 {
        let mut loss_at = |by: f32| {
            smooth.parameters[0].as_f32_mut().unwrap()[at] = logits[at] + by;
            let loss = smooth.run().0;
            smooth.parameters[0].as_f32_mut().unwrap()[at] = logits[at];
            loss
        };
        let by = 0.01;
        let slope = (loss_at(by) - loss_at(-by)) / f64::from(2.0 * by);
        let found = f64::from(gradients[0][at]);
        assert!(
            (slope - found).abs() < 2e-4 + 0.01 * found.abs(),
            "{slope} {found}"
        );
    }
}

#[test]
fn gradients_of_an_update_of_low_rank_are_those_of_finite_differences() {
    let Some(runtime) = runtime() else { return };
    // Of 3 × 3 behind batch normalisation, of 1 × 1, and dense.
    let weights = own(&["c2.w", "c4.w", "fc.w"]);
    let trainable: Vec<String> = weights
        .iter()
        .flat_map(|weight| LowRank::parameters_of(weight))
        .collect();
    let rewrite = Rewrite::LowRank(LowRank {
        weights,
        rank: 2,
        alpha: 3,
        seed: 1,
    });
    // A dense layer that makes the output itself could not be rewritten.
    let mut graph = Graph::from_model(&network()).unwrap();
    graph
        .nodes
        .push(Node::new("softmax", "Softmax", &["scores"], &["shares"]));
    graph.outputs = vec![Value::batched("shares", &[3])];
    let bytes = encode(&graph.to_model(usize::MAX).0).unwrap();
    let model = Model::decode(bytes.into(), Path::new("test.onnx")).unwrap();
    let rewritten = rewrite.apply(&grafted(model)).unwrap();
    let prepared = Prepared::rewritten(&rewritten, BATCH, &SAMPLE, Default::default()).unwrap();
    let sessions = SessionMaker::new(&runtime, Device::Cpu, Operators::Standard);
    let mut step = Step::new(&sessions, &prepared, &trainable);
    let gradients = step.run().1;
    for (place, (name, gradient)) in trainable.iter().zip(&gradients).enumerate() {
        // Along the gradient itself, where the loss changes most.
        let length = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
        let length = length.sqrt();
        assert!(length > 1e-3, "{name}: {length}");
        let start = step.parameters[place].as_f32().unwrap().to_vec();
        let mut loss_at = |by: f64| {
            let moved = start.iter().zip(gradient);
            let moved = moved.map(|(&s, &g)| (f64::from(s) + by * f64::from(g) / length) as f32);
            let moved: Vec<f32> = moved.collect();
            let put = |step: &Step, values: &[f32]| {
                step.parameters[place]
                    .as_f32_mut()
                    .unwrap()
                    .copy_from_slice(values);
            };
            put(&step, &moved);
            let loss = step.run().0;
            put(&step, &start);
            loss
        };
        let by = 3e-3;
        let slope = (loss_at(by) - loss_at(-by)) / (2.0 * by);
        assert!(
            (slope - length).abs() < 1e-4 + 0.01 * length,
            "{name}: {slope} {length}"
        );
    }
}

#[test]
fn what_counts_as_constant_is_not_frozen() {
    let plain = Prepared::new(&network(), BATCH, &SAMPLE).unwrap();
    let mut stopped = plain.clone();
    stopped.constants = own(&["second"]);
    // c2 comes before `second`, c3 behind it.
    let both = own(&["c2.w", "c3.w"]);
    assert_eq!(
        boundary(&stopped, &both).unwrap(),
        boundary(&plain, &both).unwrap()
    );
    let step = |prepared: &Prepared, names: &[String]| {
        step_program(prepared, names, &[], Operators::Standard)
    };
    let error = step(&stopped, &both).unwrap_err();
    let unused = matches!(&error, TrainingError::Autodiff(AutodiffError::Unused(n)) if n == "c2.w");
    assert!(unused, "{error}");
    // c1 reaches the loss around it.
    let around = step(&stopped, &own(&["c1.w", "c3.w"])).unwrap();
    let features: Vec<&str> = around.features.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(features, ["x", "colour"]);
    let nodes = |program: super::Program| program.graph.nodes.len();
    let all = step(&plain, &own(&["c1.w", "c3.w"])).unwrap();
    assert!(nodes(around) < nodes(all), "no gradient goes on behind it");
}

#[test]
fn noise_and_what_follows_from_it_is_not_frozen_and_is_at_rest_in_an_evaluation() {
    let rewrite = Rewrite::Gated(Gated {
        weights: own(&["c2.w"]),
        penalty: Number(0.0),
    });
    let rewritten = rewrite.apply(&grafted(network())).unwrap();
    let prepared = Prepared::rewritten(&rewritten, BATCH, &SAMPLE, Default::default()).unwrap();
    // What is trained lies behind the gate, what is kept before it.
    let trainable = own(&["fc.w"]);
    let names =
        |ports: &[super::Port]| -> Vec<String> { ports.iter().map(|p| p.name.clone()).collect() };
    let found = names(&boundary(&prepared, &trainable).unwrap());
    assert_eq!(found, ["first", "c2", "colour"]);
    let step = step_program(&prepared, &trainable, &[], Operators::Standard).unwrap();
    let evaluation = super::evaluation_program(&prepared, &trainable, Operators::Standard).unwrap();
    assert_eq!(names(&step.features), found);
    assert_eq!(names(&evaluation.features), found);
    let name = "ftsurgery/gated/c2.w/noise";
    assert_eq!(step.noise[0].name, name);
    assert!(step.graph.inputs.iter().any(|v| v.name == name));
    assert!(evaluation.noise.is_empty() && evaluation.penalty.is_none());
    let rest = evaluation.graph.initializers[name].to_f32().unwrap();
    assert_eq!(rest, [0.0; 4]);
    assert_eq!(evaluation.graph.outputs.len(), 1);
}

#[test]
fn what_training_is_to_know_of_must_be_in_the_normal_form() {
    let rewrite = Rewrite::Gated(Gated {
        weights: own(&["c2.w"]),
        penalty: Number(0.0),
    });
    let of = || rewrite.apply(&grafted(network())).unwrap();
    let refused = |rewritten: &crate::surgery::Rewritten| {
        let error = Prepared::rewritten(rewritten, BATCH, &SAMPLE, Default::default()).unwrap_err();
        error.to_string()
    };
    let mut constant = of();
    constant.constants.push("nowhere".to_owned());
    assert!(refused(&constant).contains("no node computes `nowhere`"));
    let mut unread = of();
    unread.noise.push(Noise {
        name: "nowhere".to_owned(),
        dims: vec![1],
        distribution: Distribution::Uniform,
        rest: 0.5,
    });
    assert!(refused(&unread).contains("does not depend on the added `nowhere`"));
    let mut wide = of();
    wide.penalties[0].value = "ftsurgery/gated/c2.w/gate".to_owned();
    assert!(refused(&wide).contains("it must be one float"));
}
