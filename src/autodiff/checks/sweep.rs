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
    derive_sum(build, &[], wrt, &[])
}

/// The gradients of the graph's output and, with these weights, of further values of one element, where
/// `constants` count as such.
fn derive_sum(
    build: impl FnOnce(&mut Builder) -> String,
    further: &[(&str, f32)],
    wrt: &[&str],
    constants: &[&str],
) -> Result<Option<Vec<f32>>, AutodiffError> {
    let (mut graph, output) = graph(build);
    let shapes = infer_shapes(&graph, &HashMap::new())?;
    let own = |names: &[&str]| -> Vec<String> { names.iter().map(|&n| n.to_owned()).collect() };
    let (wrt, constants) = (own(wrt), own(constants));
    let mut builder = Builder::new(&mut graph);
    let mut seed = |weight| builder.constant(Tensor::f32(&[1], &[weight]));
    let mut weighted = vec![(output.as_str(), seed(1.0))];
    weighted.extend(further.iter().map(|&(value, weight)| (value, seed(weight))));
    let seeds: Vec<(&str, &str)> = weighted.iter().map(|(v, s)| (*v, s.as_str())).collect();
    let operators = Operators::Standard;
    let names = gradients(&mut builder, &shapes, &seeds, &wrt, &constants, operators)?;
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

#[test]
fn a_constant_has_the_gradients_of_the_graph_with_its_number_in_its_place() {
    // m = a b = 6 is read through a product, a sum and by a chain behind it; y = m a + (m + c)² b + m.
    let build = |stopped: bool| {
        move |g: &mut Builder| {
            let m = match stopped {
                true => g.op("m", "Mul", &["a", "b"], vec![]),
                false => g.constant(Tensor::f32(&[1], &[6.0])),
            };
            let first = g.op("first", "Mul", &[&m, "a"], vec![]);
            let sum = g.op("sum", "Add", &[&m, "c"], vec![]);
            let square = g.op("square", "Mul", &[&sum, &sum], vec![]);
            let second = g.op("second", "Mul", &[&square, "b"], vec![]);
            g.op("y", "Sum", &[&first, &second, &m], vec![])
        }
    };
    let wrt = ["a", "b", "c"];
    let stopped = derive_sum(build(true), &[], &wrt, &["m"]).unwrap();
    let number = derive(build(false), &wrt).unwrap();
    assert_eq!(stopped, number);
    if let Some(got) = stopped {
        assert_eq!(got, [6.0, 121.0, 66.0]);
        assert_ne!(derive(build(true), &wrt).unwrap(), Some(got));
    }
}

#[test]
fn a_parameter_behind_constants_alone_does_not_matter() {
    let build = |g: &mut Builder| {
        let m = g.op("m", "Mul", &["b", "b"], vec![]);
        let further = g.op("further", "Mul", &[&m, "b"], vec![]);
        g.op("y", "Mul", &["a", &further], vec![])
    };
    // b reaches the output through `further` as well, and no longer where that is constant, too.
    assert!(derive_sum(build, &[], &["b"], &["m"]).is_ok());
    let error = derive_sum(build, &[], &["a", "b"], &["further"]).unwrap_err();
    assert!(matches!(&error, AutodiffError::Unused(name) if name == "b"));
}

#[test]
fn no_rule_is_asked_for_behind_a_constant() {
    let build = |g: &mut Builder| {
        let odd = g.op("odd", "Unheard", &["a"], vec![]);
        g.op("y", "Mul", &["a", &odd], vec![])
    };
    let (mut graph, output) = graph(build);
    let mut shapes = infer_shapes(&graph, &HashMap::new()).unwrap_or_default();
    for value in ["a", "odd", "y"] {
        shapes.insert(value, DataType::Float, &[1]);
    }
    let mut builder = Builder::new(&mut graph);
    let seeds = [(output.as_str(), "b")];
    let wrt = ["a".to_owned()];
    let mut ask = |constants: &[String]| {
        let operators = Operators::Standard;
        gradients(&mut builder, &shapes, &seeds, &wrt, constants, operators)
    };
    assert!(matches!(ask(&[]), Err(AutodiffError::NoRule { .. })));
    assert!(ask(&["odd".to_owned()]).is_ok());
}

#[test]
fn a_threshold_passes_the_gradient_of_what_it_is_taken_of() {
    // s = sigmoid(a), y = c step(s): forward 1, backward the slope of s.
    let build = |g: &mut Builder| {
        let s = g.op("s", "Sigmoid", &["a"], vec![]);
        let half = g.scalar(0.5);
        let open = g.op("open", "Greater", &[&s, &half], vec![]);
        let step = g.op("step", "Cast", &[&open], vec![("to", 1.into())]);
        let jump = g.op("jump", "Sub", &[&step, &s], vec![]);
        let gate = g.op("gate", "Add", &[&s, &jump], vec![]);
        g.op("y", "Mul", &[&gate, "c"], vec![])
    };
    let Some(got) = derive_sum(build, &[], &["a", "c"], &["jump"]).unwrap() else {
        return;
    };
    let s = 1.0 / (1.0 + (-2f32).exp());
    assert!((got[0] - 5.0 * s * (1.0 - s)).abs() < 1e-6, "{got:?}");
    assert_eq!(got[1], 1.0);
}

#[test]
fn several_values_are_differentiated_by_their_weights() {
    // y + 0.5 m + 2 a, with y = m c and m = a b.
    let build = |g: &mut Builder| {
        let m = g.op("m", "Mul", &["a", "b"], vec![]);
        g.op("y", "Mul", &[&m, "c"], vec![])
    };
    let further = [("m", 0.5), ("a", 2.0)];
    if let Some(got) = derive_sum(build, &further, &["a", "b"], &[]).unwrap() {
        assert_eq!(got, [5.5 * 3.0 + 2.0, 5.5 * 2.0]);
    }
}
