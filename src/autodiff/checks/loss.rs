//! Cross-entropy against numbers worked out by hand, and its gradient against finite differences.

use super::case::{array, floats, run, session};
use super::runtime;
use crate::autodiff::{Labels, Targets, binary_cross_entropy, cross_entropy};
use crate::graph::{Builder, Graph, Value};
use crate::onnx::{DataType, Tensor};
use crate::runtime::Runtime;

const LOGITS: [f32; 9] = [1.0, 2.0, -0.5, 0.3, 0.0, 0.7, -1.2, 0.4, 2.5];
const LABELS: [i64; 3] = [1, 0, 2];
const OTHERS: [i64; 3] = [0, 0, 1];
const SHARES: [f32; 3] = [0.25, 0.5, 1.0];

/// The inputs alone.
fn graph() -> Graph {
    Graph {
        inputs: vec![
            Value::fixed("z", DataType::Float, &[3, 3]),
            Value::fixed("y", DataType::Int64, &[3]),
            Value::fixed("other", DataType::Int64, &[3]),
            Value::fixed("share", DataType::Float, &[3, 1]),
        ],
        ..Graph::new(21)
    }
}

/// Loss and gradient of three samples of three classes, each mixed with another or not.
fn evaluate(
    runtime: &Runtime,
    logits: &[f32],
    (mixed, targets): &(bool, Targets),
) -> (f64, Vec<f64>) {
    let mut graph = graph();
    let labels = match mixed {
        false => Labels::One("y"),
        true => Labels::Two {
            labels: ["y", "other"],
            share: "share",
        },
    };
    let mut builder = Builder::new(&mut graph);
    let loss = cross_entropy(&mut builder, "z", &[3, 3], labels, targets).unwrap();
    graph.outputs = vec![
        Value::fixed(&loss.loss, DataType::Float, &[]),
        Value::fixed(&loss.gradient, DataType::Float, &[3, 3]),
    ];
    let mut session = session(runtime, &graph).unwrap();
    let z = array(&Tensor::f32(&[3, 3], logits), DataType::Float).unwrap();
    let [y, other] = [LABELS, OTHERS].map(|l| array(&Tensor::i64s(&l), DataType::Float).unwrap());
    let share = array(&Tensor::f32(&[3, 1], &SHARES), DataType::Float).unwrap();
    let inputs = [("z", z), ("y", y), ("other", other), ("share", share)];
    let out = run(&mut session, &inputs).unwrap();
    (floats(&out[0]).unwrap()[0], floats(&out[1]).unwrap())
}

/// Softmax of each sample.
fn by_hand(logits: &[f32]) -> Vec<Vec<f64>> {
    let rows = logits.chunks(3).map(|row| {
        let exp: Vec<f64> = row.iter().map(|&z| f64::from(z).exp()).collect();
        let sum: f64 = exp.iter().sum();
        exp.iter().map(|e| e / sum).collect()
    });
    rows.collect()
}

/// With weights and smoothing or without, of one label or two.
fn cases() -> Vec<(bool, Targets)> {
    let weights = || Some(vec![0.5, 3.0, 1.25]);
    let all = [(None, 0.0), (weights(), 0.0), (None, 0.1), (weights(), 0.3)];
    let of = |mixed: bool| {
        let all = all.clone().into_iter();
        all.map(move |(class_weights, smoothing)| {
            let targets = Targets {
                class_weights,
                smoothing,
            };
            (mixed, targets)
        })
    };
    of(false).chain(of(true)).collect()
}

/// The formula of `torch.nn.CrossEntropyLoss` for a label y,
/// `−(1 − ε) w_y log p_y − ε/C Σ_c w_c log p_c`, here divided by the number of samples; of two labels that of each by
/// its share, as in the authors' code of mixup.
#[test]
fn cross_entropy_is_that_of_pytorch_divided_by_the_number_of_samples() {
    let Some(runtime) = runtime() else { return };
    for case in cases() {
        let (mixed, targets) = &case;
        let weights = targets.class_weights.clone().unwrap_or(vec![1.0; 3]);
        let weights: Vec<f64> = weights.into_iter().map(f64::from).collect();
        let smoothing = f64::from(targets.smoothing);
        let (loss, gradient) = evaluate(&runtime, &LOGITS, &case);
        let mut expected_loss = 0.0;
        for (n, p) in by_hand(&LOGITS).iter().enumerate() {
            let mut expected = [0.0; 3];
            let share = if *mixed { f64::from(SHARES[n]) } else { 1.0 };
            for (label, share) in [(LABELS[n], share), (OTHERS[n], 1.0 - share)] {
                let label = label as usize;
                let spread = (0..3).map(|c| weights[c] * p[c].ln()).sum::<f64>() * smoothing / 3.0;
                let plain = (1.0 - smoothing) * weights[label] * p[label].ln();
                expected_loss -= share * (plain + spread) / 3.0;
                for (c, expected) in expected.iter_mut().enumerate() {
                    // The derivative of −log p_k with respect to z_c is p_c, less 1 for c = k.
                    let of = |k: usize| p[c] - f64::from(u8::from(c == k));
                    let spread = (0..3).map(|k| weights[k] * of(k)).sum::<f64>() * smoothing / 3.0;
                    let plain = (1.0 - smoothing) * weights[label] * of(label);
                    *expected += share * (plain + spread) / 3.0;
                }
            }
            for (c, expected) in expected.into_iter().enumerate() {
                let found = gradient[n * 3 + c];
                assert!(
                    (found - expected).abs() < 1e-6,
                    "{case:?} {n} {c}: {found} {expected}"
                );
            }
        }
        assert!((loss - expected_loss).abs() < 1e-6, "{case:?}: {loss}");
    }
}

#[test]
fn the_gradient_of_cross_entropy_is_that_of_its_loss() {
    let Some(runtime) = runtime() else { return };
    for case in cases() {
        let (_, gradient) = evaluate(&runtime, &LOGITS, &case);
        for (i, &found) in gradient.iter().enumerate() {
            let step = 1.0 / 64.0;
            let at = |by: f32| {
                let mut moved = LOGITS;
                moved[i] += by;
                evaluate(&runtime, &moved, &case).0
            };
            let difference = (at(step) - at(-step)) / (2.0 * f64::from(step));
            assert!(
                (found - difference).abs() < 1e-4,
                "{case:?} {i}: {found} {difference}"
            );
        }
    }
}

#[test]
fn there_is_one_weight_per_class() {
    let mut graph = graph();
    let mut builder = Builder::new(&mut graph);
    let targets = Targets {
        class_weights: Some(vec![1.0; 2]),
        ..Targets::default()
    };
    let labels = Labels::One("y");
    let error = cross_entropy(&mut builder, "z", &[3, 3], labels, &targets).unwrap_err();
    assert!(error.to_string().contains("3 classes"), "{error}");
}

const SOFT: [f32; 9] = [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.25, 1.0];

/// Loss and gradient of three samples that may be of each of three classes; the logits `[3, 3]`, or `[3, 3, 1, 1]`.
fn evaluate_binary(
    runtime: &Runtime,
    logits: &[f32],
    dims: &[usize],
    targets: &Targets,
) -> (f64, Vec<f64>) {
    let mut graph = Graph {
        inputs: vec![
            Value::fixed("z", DataType::Float, dims),
            Value::fixed("t", DataType::Float, &[3, 3]),
        ],
        ..Graph::new(21)
    };
    let mut builder = Builder::new(&mut graph);
    let loss = binary_cross_entropy(&mut builder, "z", dims, "t", targets).unwrap();
    graph.outputs = vec![
        Value::fixed(&loss.loss, DataType::Float, &[]),
        Value::fixed(&loss.gradient, DataType::Float, dims),
    ];
    let mut session = session(runtime, &graph).unwrap();
    let z = array(&Tensor::f32(dims, logits), DataType::Float).unwrap();
    let t = array(&Tensor::f32(&[3, 3], &SOFT), DataType::Float).unwrap();
    let out = run(&mut session, &[("z", z), ("t", t)]).unwrap();
    (floats(&out[0]).unwrap()[0], floats(&out[1]).unwrap())
}

/// Made by `torch.nn.BCEWithLogitsLoss(pos_weight=…)` of PyTorch 2 and its gradient.
#[test]
fn binary_cross_entropy_is_that_of_pytorch() {
    let Some(runtime) = runtime() else { return };
    let weights = Some(vec![0.5, 3.0, 1.25]);
    let plain = [
        0.0812287, -0.0132448, -0.0691621, 0.0638269, 0.0555556, 0.0742431, -0.0853916, 0.0387431,
        -0.0084287,
    ];
    let weighted = [
        0.0812287, -0.0397343, -0.0864527, 0.0638269, 0.0555556, 0.0742431, -0.0426958, 0.0164479,
        -0.0105359,
    ];
    for (class_weights, expected, gradient) in [
        (None, 0.824_460_33, plain),
        (weights, 0.829_123_02, weighted),
    ] {
        let targets = Targets {
            class_weights,
            smoothing: 0.0,
        };
        for dims in [&[3, 3][..], &[3, 3, 1, 1]] {
            let (loss, found) = evaluate_binary(&runtime, &LOGITS, dims, &targets);
            assert!((loss - expected).abs() < 1e-6, "{loss}");
            for (found, expected) in found.iter().zip(gradient) {
                assert!((found - expected).abs() < 1e-6, "{found} {expected}");
            }
        }
    }
}

#[test]
fn the_gradient_of_binary_cross_entropy_is_that_of_its_loss() {
    let Some(runtime) = runtime() else { return };
    for (_, targets) in cases().into_iter().take(4) {
        let of = |logits: &[f32]| evaluate_binary(&runtime, logits, &[3, 3], &targets);
        let (_, gradient) = of(&LOGITS);
        for (i, &found) in gradient.iter().enumerate() {
            let step = 1.0 / 64.0;
            let at = |by: f32| {
                let mut moved = LOGITS;
                moved[i] += by;
                of(&moved).0
            };
            let difference = (at(step) - at(-step)) / (2.0 * f64::from(step));
            assert!((found - difference).abs() < 1e-4, "{targets:?} {i}");
        }
    }
    // Half of the smoothing is for the class, half for its absence.
    let smoothed = Targets {
        smoothing: 0.2,
        ..Targets::default()
    };
    let all = evaluate_binary(&runtime, &[0.0; 9], &[3, 3], &smoothed).1;
    for (found, t) in all.iter().zip(SOFT) {
        let expected = (0.5 - (0.8 * f64::from(t) + 0.1)) / 9.0;
        assert!((found - expected).abs() < 1e-7, "{found} {expected}");
    }
    // Neither end overflows.
    let far = evaluate_binary(&runtime, &[1e4; 9], &[3, 3], &Targets::default());
    assert!(far.0.is_finite() && far.1.iter().all(|g| g.is_finite()));
}
