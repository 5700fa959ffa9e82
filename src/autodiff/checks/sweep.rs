//! The sweep over several nodes.

use std::collections::HashMap;

use crate::autodiff::{AutodiffError, Operators, gradients};
use crate::graph::{Builder, Graph, Value, infer_shapes};
use crate::onnx::{DataType, Tensor, encode};
use crate::runtime::testing::runtime;
use crate::runtime::{Session, SessionOptions};

/// A graph of the constant parameters `a` = 2, `b` = 3, `c` = 5, and its output.
fn graph(build: impl FnOnce(&mut Builder) -> String) -> (Graph, String) {
    let parameter = |(name, value): (&str, f32)| (name.to_owned(), Tensor::f32(&[1], &[value]));
    let mut graph = Graph {
        opset: 21,
        domains: vec![],
        nodes: vec![],
        inputs: vec![],
        outputs: vec![],
        initializers: [("a", 2.0), ("b", 3.0), ("c", 5.0)]
            .map(parameter)
            .into_iter()
            .collect(),
    };
    let output = build(&mut Builder::new(&mut graph));
    (graph, output)
}

/// The gradients of the graph's output with respect to `wrt`; nothing without a runtime.
fn derive(
    build: impl FnOnce(&mut Builder) -> String,
    wrt: &[&str],
) -> Result<Option<Vec<f32>>, AutodiffError> {
    let (mut graph, output) = graph(build);
    let shapes = infer_shapes(&graph, &HashMap::new())?;
    let wrt: Vec<String> = wrt.iter().map(|&n| n.to_owned()).collect();
    let mut builder = Builder::new(&mut graph);
    let one = builder.constant(Tensor::f32(&[1], &[1.0]));
    let names = gradients(
        &mut builder,
        &shapes,
        (&output, &one),
        &wrt,
        Operators::Standard,
    )?;
    let result = |n: &String| Value::fixed(n, DataType::Float, &[1]);
    graph.outputs = names.iter().map(result).collect();
    graph.prune();
    let Some(runtime) = runtime() else {
        return Ok(None);
    };
    let bytes = encode(&graph.to_model(usize::MAX).0).unwrap();
    let options = SessionOptions::default();
    let mut session = Session::new(&runtime, &bytes, &[], &options).unwrap();
    let results = session.run(&[]).unwrap();
    let first = |a: &crate::runtime::Array| a.as_f32().unwrap()[0];
    Ok(Some(results.iter().map(first).collect()))
}

fn assert_derives(build: impl FnOnce(&mut Builder) -> String, wrt: &[&str], expected: &[f32]) {
    if let Some(got) = derive(build, wrt).unwrap() {
        assert_eq!(got, expected);
    }
}

#[test]
fn the_gradients_of_all_uses_add_up() {
    // a² b + a b + a
    let build = |g: &mut Builder| {
        let square = g.op("s", "Mul", &["a", "a"], vec![]);
        let first = g.op("f", "Mul", &[&square, "b"], vec![]);
        let second = g.op("t", "Mul", &["a", "b"], vec![]);
        g.op("y", "Sum", &[&first, &second, "a"], vec![])
    };
    assert_derives(build, &["a", "b"], &[16.0, 6.0]);
}

#[test]
fn gradients_that_are_one_value_have_two_names() {
    let build = |g: &mut Builder| g.op("y", "Add", &["a", "b"], vec![]);
    assert_derives(build, &["a", "b"], &[1.0, 1.0]);
}

#[test]
fn an_intermediate_value_has_a_gradient_too() {
    // m = a b, y = m² c: dy/dm = 2 m c, dy/da = 2 m c b
    let build = |g: &mut Builder| {
        let m = g.op("m", "Mul", &["a", "b"], vec![]);
        let square = g.op("s", "Mul", &[&m, &m], vec![]);
        g.op("y", "Mul", &[&square, "c"], vec![])
    };
    assert_derives(build, &["m", "a"], &[60.0, 180.0]);
}

#[test]
fn a_parameter_that_does_not_matter_is_named() {
    let build = |g: &mut Builder| g.op("y", "Mul", &["a", "b"], vec![]);
    let error = derive(build, &["a", "c"]).unwrap_err();
    assert!(matches!(&error, AutodiffError::Unused(name) if name == "c"));
    assert!(error.is_bad_input());
}

#[test]
fn integers_carry_no_gradient() {
    // y = a · (float) ((int) b): the second factor is a constant to a gradient.
    let build = |g: &mut Builder| {
        let integer = g.op("i", "Cast", &["b"], vec![("to", 7.into())]);
        let float = g.op("f", "Cast", &[&integer], vec![("to", 1.into())]);
        g.op("y", "Mul", &["a", &float], vec![])
    };
    assert_derives(build, &["a"], &[3.0]);
    assert!(matches!(
        derive(build, &["b"]),
        Err(AutodiffError::Unused(_))
    ));
}

#[test]
fn a_detour_in_half_precision_is_differentiated_and_computing_in_it_refused() {
    let through = |middle: Option<&'static str>| {
        move |g: &mut Builder| {
            let half = g.op("h", "Cast", &["a"], vec![("to", 10.into())]);
            let inner = match middle {
                Some(op) => g.op("middle", op, &[&half], vec![]),
                None => half,
            };
            let float = g.op("f", "Cast", &[&inner], vec![("to", 1.into())]);
            g.op("y", "Mul", &[&float, "b"], vec![])
        }
    };
    assert_derives(through(None), &["a"], &[3.0]);
    let error = derive(through(Some("Relu")), &["a"])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("Float16") && error.contains("middle"),
        "{error}"
    );
}
