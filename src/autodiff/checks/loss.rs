//! Cross-entropy against numbers worked out by hand, and its gradient against finite differences.

use super::case::{array, floats, run, session};
use super::runtime;
use crate::autodiff::cross_entropy;
use crate::graph::{Builder, Graph, Value};
use crate::onnx::{DataType, Tensor};
use crate::runtime::Runtime;

const LOGITS: [f32; 9] = [1.0, 2.0, -0.5, 0.3, 0.0, 0.7, -1.2, 0.4, 2.5];
const LABELS: [i64; 3] = [1, 0, 2];

/// The inputs alone.
fn graph() -> Graph {
    Graph {
        inputs: vec![
            Value::fixed("z", DataType::Float, &[3, 3]),
            Value::fixed("y", DataType::Int64, &[3]),
        ],
        ..Graph::new(21)
    }
}

/// Loss and gradient of three samples of three classes.
fn evaluate(runtime: &Runtime, logits: &[f32], weights: Option<&[f32]>) -> (f64, Vec<f64>) {
    let mut graph = graph();
    let mut builder = Builder::new(&mut graph);
    let loss = cross_entropy(&mut builder, "z", &[3, 3], "y", weights).unwrap();
    graph.outputs = vec![
        Value::fixed(&loss.loss, DataType::Float, &[]),
        Value::fixed(&loss.gradient, DataType::Float, &[3, 3]),
    ];
    let mut session = session(runtime, &graph).unwrap();
    let z = array(&Tensor::f32(&[3, 3], logits), DataType::Float).unwrap();
    let y = array(&Tensor::i64s(&LABELS), DataType::Float).unwrap();
    let out = run(&mut session, &[("z", z), ("y", y)]).unwrap();
    (floats(&out[0]).unwrap()[0], floats(&out[1]).unwrap())
}

/// −log softmax of the label, and softmax, of each sample.
fn by_hand(logits: &[f32]) -> Vec<(f64, Vec<f64>)> {
    let rows = logits.chunks(3).zip(LABELS);
    rows.map(|(row, label)| {
        let exp: Vec<f64> = row.iter().map(|&z| f64::from(z).exp()).collect();
        let sum: f64 = exp.iter().sum();
        let p: Vec<f64> = exp.iter().map(|e| e / sum).collect();
        (-p[label as usize].ln(), p)
    })
    .collect()
}

#[test]
fn weighted_cross_entropy_is_divided_by_the_number_of_samples() {
    let Some(runtime) = runtime() else { return };
    let weights = [0.5, 3.0, 1.25];
    let hand = by_hand(&LOGITS);
    for (given, weights) in [(None, [1.0; 3]), (Some(weights), weights)] {
        let (loss, gradient) = evaluate(&runtime, &LOGITS, given.as_ref().map(|w| &w[..]));
        let of = |label: i64| f64::from(weights[label as usize]);
        let terms = hand.iter().zip(LABELS).map(|((l, _), y)| l * of(y));
        let expected = terms.sum::<f64>() / 3.0;
        assert!((loss - expected).abs() < 1e-6, "{loss} {expected}");
        for (n, ((_, p), label)) in hand.iter().zip(LABELS).enumerate() {
            for (c, p) in p.iter().enumerate() {
                let one = f64::from(u8::from(c as i64 == label));
                let expected = of(label) * (p - one) / 3.0;
                let found = gradient[n * 3 + c];
                assert!(
                    (found - expected).abs() < 1e-6,
                    "{n} {c}: {found} {expected}"
                );
            }
        }
    }
}

#[test]
fn the_gradient_of_weighted_cross_entropy_is_that_of_its_loss() {
    let Some(runtime) = runtime() else { return };
    let weights = [0.5, 3.0, 1.25];
    let (_, gradient) = evaluate(&runtime, &LOGITS, Some(&weights));
    for (i, &found) in gradient.iter().enumerate() {
        let step = 1.0 / 64.0;
        let at = |by: f32| {
            let mut moved = LOGITS;
            moved[i] += by;
            evaluate(&runtime, &moved, Some(&weights)).0
        };
        let difference = (at(step) - at(-step)) / (2.0 * f64::from(step));
        assert!(
            (found - difference).abs() < 1e-4,
            "{i}: {found} {difference}"
        );
    }
}

#[test]
fn there_is_one_weight_per_class() {
    let mut graph = graph();
    let mut builder = Builder::new(&mut graph);
    let error = cross_entropy(&mut builder, "z", &[3, 3], "y", Some(&[1.0; 2])).unwrap_err();
    assert!(error.to_string().contains("3 classes"), "{error}");
}
