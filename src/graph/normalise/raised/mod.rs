//! Raised nodes compute what the originals compute, in onnxruntime.

pub(crate) mod forms;
pub(crate) mod windows;

use ndarray::ArrayD;

use super::*;
use crate::graph::Dim;
use crate::graph::cases::{case_graph, fixture, sizes};
use crate::onnx::messages::ModelProto;
use crate::runtime::testing::runtime;
use crate::runtime::{Array, Runtime, Session, SessionOptions};
use forms::{FORMS, form};
use windows::WINDOWS;

/// Outputs of a graph on inputs that depend on their size alone, as float64.
fn outputs(runtime: &Runtime, graph: &Graph) -> Result<Vec<Vec<f64>>, String> {
    let (model, _) = graph.to_model(usize::MAX);
    outputs_of(runtime, &model, graph)
}

/// Those of a model with the inputs of `graph`.
pub(crate) fn outputs_of(
    runtime: &Runtime,
    model: &ModelProto,
    graph: &Graph,
) -> Result<Vec<Vec<f64>>, String> {
    let bytes = crate::onnx::encode(model).unwrap();
    let options = SessionOptions {
        threads: 1,
        ..SessionOptions::default()
    };
    let mut session = Session::new(runtime, &bytes, &[], &options).map_err(|e| e.to_string())?;
    let arrays: Vec<(&str, Array)> = graph
        .inputs
        .iter()
        .map(|input| {
            let dims = input.dims.as_ref().unwrap().iter().map(|d| match d {
                Dim::Known(d) => *d,
                Dim::Symbolic(_) => 1,
            });
            let dims: Vec<usize> = dims.collect();
            let count = dims.iter().product::<usize>();
            let values: Vec<f32> = (0..count)
                .map(|i| (i * 37 % 101) as f32 / 25.0 - 1.0)
                .collect();
            let array = ArrayD::from_shape_vec(dims, values).unwrap();
            (input.name.as_str(), Array::from(array))
        })
        .collect();
    let inputs: Vec<(&str, &Array)> = arrays.iter().map(|(name, a)| (*name, a)).collect();
    let results = session.run(&inputs).map_err(|e| e.to_string())?;
    let numbers = results.iter().map(|value| match value {
        Array::F32(v) => Ok(v.iter().map(|&v| v.into()).collect()),
        Array::Bool(v) => Ok(v.iter().map(|&v| v.into()).collect()),
        Array::I64(v) => Ok(v.iter().map(|&v| v as f64).collect()),
        other => Err(format!("an output of type {}", other.dtype())),
    });
    numbers.collect()
}

/// Compares a graph with its normal form; false where onnxruntime does not run the original.
fn hold(runtime: &Runtime, original: &Graph, what: &str) -> bool {
    let Ok(expected) = outputs(runtime, original) else {
        return false;
    };
    let mut raised = original.clone();
    normalise(&mut raised).unwrap_or_else(|e| panic!("{what}: {e}"));
    let got = outputs(runtime, &raised).unwrap_or_else(|e| panic!("{what}: {e}"));
    for (value, (a, b)) in expected.into_iter().zip(got).enumerate() {
        assert_eq!(a.len(), b.len(), "{what}");
        let close = |(a, b): (&f64, &f64)| {
            (a - b).abs() <= 1e-5 * (1.0 + a.abs()) || a == b || (a.is_nan() && b.is_nan())
        };
        assert!(
            a.iter().zip(&b).all(close),
            "{what}\n    output {value}: {a:?}\n    {b:?}"
        );
    }
    true
}

#[test]
fn raised_nodes_compute_what_the_originals_compute() {
    let Some(runtime) = runtime() else { return };
    let cases = fixture("cases.json");
    // Empty tensors need no comparison of values. A node that stands as it is may mean something else
    // in the new opset.
    let old = cases
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| case["opset"] != OPSET && !sizes(&case["outputs"][0][1]).contains(&0));
    let (mut compared, mut left) = (0, 0);
    for case in old {
        match hold(&runtime, &case_graph(case), &case.to_string()) {
            true => compared += 1,
            false => left += 1,
        }
    }
    assert!(compared > 600, "only {compared} cases, {left} are not run");
}

#[test]
fn old_forms_mean_in_the_new_opset_what_they_meant_or_are_refused() {
    let Some(runtime) = runtime() else { return };
    let mut compared = 0;
    for entry in FORMS.iter().chain(WINDOWS) {
        let [first, last] = entry.0;
        for opset in first..=last {
            let original = form(opset, entry);
            if let Err(error) = normalise(&mut original.clone()) {
                assert!(error.to_string().contains("`n` ("), "{error}");
                continue;
            }
            let what = format!("opset {opset}: {entry:?}");
            compared += usize::from(hold(&runtime, &original, &what));
        }
    }
    assert!(compared > 500, "{compared}");
}
