//! Tests of the graphs of rewritten networks.

use std::path::Path;

use crate::autodiff::{AutodiffError, Operators};
use crate::graph::{Graph, Node, Value};
use crate::onnx::{Model, Tensor, encode};
use crate::runtime::testing::runtime;
use crate::runtime::{Buffer, Device};
use crate::surgery::Rewrite;
use crate::surgery::rewrite::{
    AdaFilter, Distribution, FilterGate, GateStart, GatedBlock, LowRank, Noise, Number, Policy,
    PolicyInput, SpotTune, TunedShare,
};
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
        for features in &bound.inputs.features {
            let mut values = features.as_f32_mut().unwrap();
            let numbers = noise(values.len(), 1.0);
            values.copy_from_slice(&numbers);
        }
        let labels = bound.inputs.labels.as_ref().unwrap();
        labels.as_i64_mut().unwrap().copy_from_slice(&[0, 2, 1]);
        for (of, buffer) in bound.program.noise.iter().zip(&bound.inputs.noise) {
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

/// A choice of the residual block and of the last convolution.
fn spottune() -> Rewrite {
    let block = |name: &str, from: &str, to: &str| GatedBlock {
        name: name.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        rank: 4,
    };
    Rewrite::SpotTune(SpotTune {
        blocks: vec![
            block("residual", "first", "c3/norm"),
            block("last", "wide", "c5"),
        ],
        policy: Policy::Features,
        reads: PolicyInput {
            value: "first".to_owned(),
            rank: 4,
            channels: 4,
            channels_last: false,
        },
        width: 3,
        start: GateStart::Half,
        seed: 0,
    })
}

#[test]
fn gradients_through_a_gate_are_those_of_the_graph_with_the_jumps_numbers_in_place() {
    let Some(runtime) = runtime() else { return };
    let sessions = SessionMaker::new(&runtime, Device::Cpu, Operators::Standard);
    let rewritten = spottune().apply(&grafted(network())).unwrap();
    let mut prepared = Prepared::rewritten(&rewritten, BATCH, &SAMPLE, Default::default()).unwrap();
    let name = |part: &str| format!("ftsurgery/spottune/policy/{part}");
    let logits = ["tuned", "frozen"];
    for part in logits.map(|part| name(&format!("{part}/weight"))) {
        // The logits are their biases.
        let tensor = prepared.graph.initializers.get_mut(&part).unwrap();
        *tensor = Tensor::f32(&tensor.dims.clone(), &[0.0; 6]);
    }
    let copy = |to: &str, weight: &str| format!("ftsurgery/spottune/{to}/copy/{weight}");
    let trainable = [
        name("tuned/bias"),
        name("frozen/bias"),
        copy("c3/norm", "c2.w"),
        copy("c3/norm", "c3.scale"),
        copy("c5", "c5.w"),
        "c1.w".to_owned(),
    ];
    let mut step = Step::new(&sessions, &prepared, &trainable);
    // Trained parameters have the values that the step's have.
    let biases = [[0.7, -0.2], [0.1, 0.3]];
    for (place, values) in biases.iter().enumerate() {
        let mut bias = step.parameters[place].as_f32_mut().unwrap();
        bias.copy_from_slice(values);
    }
    let (loss, gradients) = step.run();

    // The jump of each gate, from its logits and noise.
    let noise = &step.bound.program.noise;
    let drawn = logits.map(|part| {
        let own = |n: &Noise| n.name == name(&format!("{part}/noise"));
        let place = noise.iter().position(own).unwrap();
        step.bound.inputs.noise[place].as_f32().unwrap().to_vec()
    });
    let ahead = |at: usize| {
        let [tuned, frozen] = [0, 1].map(|i| biases[i][at % 2] + drawn[i][at]);
        (tuned - frozen) / 5.0
    };
    let soft: Vec<f32> = (0..2 * BATCH)
        .map(|at| 1.0 / (1.0 + (-ahead(at)).exp()))
        .collect();
    let jumps = soft.iter().map(|&s| f32::from(u8::from(s > 0.5)) - s);
    let jumps: Vec<f32> = jumps.collect();
    let open = soft.iter().filter(|&&s| s > 0.5).count();
    assert!(open > 1 && open < 5, "{open} of 6");
    let mut smooth = prepared.clone();
    for (block, to) in ["c3/norm", "c5"].iter().enumerate() {
        let jump = format!("ftsurgery/spottune/{to}/jump");
        smooth.graph.nodes.retain(|n: &Node| n.outputs[0] != jump);
        let own: Vec<f32> = jumps.iter().skip(block).step_by(2).copied().collect();
        let tensor = Tensor::f32(&[BATCH, 1], &own);
        smooth.graph.initializers.insert(jump, tensor);
    }
    smooth.constants.clear();
    let mut smooth = Step::new(&sessions, &smooth, &trainable);
    for (place, values) in biases.iter().enumerate() {
        let mut bias = smooth.parameters[place].as_f32_mut().unwrap();
        bias.copy_from_slice(values);
    }
    let (same, expected) = smooth.run();
    assert!((same - loss).abs() < 1e-6);
    for (found, expected) in gradients.iter().zip(&expected) {
        let size = expected.iter().fold(0.0, |top: f32, v| top.max(v.abs()));
        assert!(size > 1e-4);
        let apart = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
        assert!(apart.fold(0.0, f32::max) < 1e-5 * size.max(0.1));
    }
    // And by finite differences of the logits, where the loss is smooth in them.
    for at in 0..2 {
        let mut loss_at = |by: f32| {
            smooth.parameters[0].as_f32_mut().unwrap()[at] = biases[0][at] + by;
            let loss = smooth.run().0;
            smooth.parameters[0].as_f32_mut().unwrap()[at] = biases[0][at];
            loss
        };
        let by = 0.05;
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
    let rewritten = spottune().apply(&grafted(network())).unwrap();
    let prepared = Prepared::rewritten(&rewritten, BATCH, &SAMPLE, Default::default()).unwrap();
    // What is trained lies behind the gates, what is kept before them.
    let trainable = own(&["fc.w"]);
    let names =
        |ports: &[super::Port]| -> Vec<String> { ports.iter().map(|p| p.name.clone()).collect() };
    let found = names(&boundary(&prepared, &trainable).unwrap());
    assert_eq!(found, ["first", "c3/norm", "colour"]);
    let step = step_program(&prepared, &trainable, &[], Operators::Standard).unwrap();
    let evaluation = super::evaluation_program(&prepared, &trainable, Operators::Standard).unwrap();
    assert_eq!(names(&step.features), found);
    assert_eq!(names(&evaluation.features), found);
    let name = "ftsurgery/spottune/policy/frozen/noise";
    assert_eq!(step.noise[0].name, name);
    assert_eq!(step.noise.len(), 2);
    assert!(step.graph.inputs.iter().any(|v| v.name == name));
    assert!(evaluation.noise.is_empty() && evaluation.penalty.is_none());
    let rest = evaluation.graph.initializers[name].to_f32().unwrap();
    assert_eq!(rest, [0.0; 2]);
    assert_eq!(evaluation.graph.outputs.len(), 1);
}

#[test]
fn what_training_is_to_know_of_must_be_in_the_normal_form() {
    let of = || spottune().apply(&grafted(network())).unwrap();
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
    let share = Rewrite::AdaFilter(AdaFilter {
        weights: own(&["c2.w"]),
        gate: FilterGate::Learned,
        start: GateStart::Half,
        width: 2,
        share: Some(TunedShare {
            target: Number(0.5),
            weight: Number(1.0),
        }),
        seed: 0,
        dependent: None,
    });
    let mut wide = share.apply(&grafted(network())).unwrap();
    wide.penalties[0].value = "ftsurgery/adafilter/c2.w/gate".to_owned();
    assert!(refused(&wide).contains("it must be one float"));
}
