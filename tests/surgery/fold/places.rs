//! Graphs inside of nodes, initializers that are inputs.

use ftsurgery::onnx::Tensor;

use super::plainly;
use crate::models::*;
use crate::support::library;

#[test]
fn in_graphs_inside_of_nodes_it_is_the_same() {
    let Some(runtime) = library() else { return };
    let branch = |name: &str, operator: &str| {
        let nodes = [
            constant(&format!("{name}/two"), &Tensor::f32(&[1], &[2.0])),
            // One constant of its own, one of the graph around it.
            node(
                "Mul",
                &[&format!("{name}/two"), "outer"],
                &[&format!("{name}/scale")],
            ),
            node("Identity", &["h"], &[&format!("{name}/h")]),
            node(
                operator,
                &[&format!("{name}/h"), &format!("{name}/scale")],
                &[&format!("{name}/out")],
            ),
        ];
        graph(&nodes, &[], &[], &[floats(&format!("{name}/out"), &[3])])
    };
    let nodes = [
        node("Identity", &["x"], &["h"]),
        node("ReduceSum", &["h"], &["sum"]).int("keepdims", 0),
        node("Greater", &["sum", "zero"], &["more"]),
        node("If", &["more"], &["y"])
            .graph("then_branch", branch("then", "Mul"))
            .graph("else_branch", branch("else", "Add")),
    ];
    let values = [
        ("outer", Tensor::f32(&[1], &[3.0])),
        ("zero", Tensor::scalar_f32(0.0)),
    ];
    let proto = model(graph(
        &nodes,
        &values,
        &[floats("x", &[3])],
        &[floats("y", &[3])],
    ));
    let graph = plainly(&runtime, &proto);
    assert_eq!(operators(&graph), ["ReduceSum", "Greater", "If"]);
    assert_eq!(tensors(&graph), ["zero"]);
    for branch in graph.node[2]
        .attribute
        .iter()
        .filter_map(|a| a.g.as_deref())
    {
        assert_eq!(branch.node.len(), 1);
        assert_eq!(branch.node[0].input[0], "x");
        assert_eq!(branch.initializer.len(), 1);
    }
}

#[test]
fn before_ir_4_constants_are_nodes_and_no_input_is_new() {
    let Some(runtime) = library() else { return };
    let nodes = [
        node("Unsqueeze", &["w"], &["wide"]).ints("axes", &[1, 2]),
        node("Mul", &["x", "wide"], &["h"]),
        node("Add", &["one", "two"], &["three"]),
        node("Add", &["h", "three"], &["y"]),
    ];
    let values = [
        ("w", numbers(&[50])),
        ("one", Tensor::scalar_f32(1.0)),
        ("two", Tensor::scalar_f32(2.0)),
    ];
    let inputs = [
        floats("x", &[1, 50, 2, 2]),
        floats("w", &[50]),
        floats("one", &[]),
        floats("two", &[]),
    ];
    let mut proto = model(graph(
        &nodes,
        &values,
        &inputs,
        &[floats("y", &[1, 50, 2, 2])],
    ));
    proto.ir_version = Some(3);
    proto.opset_import = vec![opset("", 9)];
    let graph = plainly(&runtime, &proto);
    assert_eq!(operators(&graph), ["Mul", "Constant", "Add"]);
    let inputs: Vec<&str> = graph.input.iter().map(|i| i.name()).collect();
    assert_eq!(inputs, ["x", "w"]);
    assert_eq!(tensors(&graph), ["w"]);
    assert_eq!(graph.initializer[0].dims, [50, 1, 1]);
}

#[test]
fn an_initializer_that_may_be_given_is_no_constant() {
    let Some(runtime) = library() else { return };
    let nodes = [
        node("Neg", &["w"], &["negative"]),
        node("Add", &["x", "negative"], &["y"]),
    ];
    let proto = model(graph(
        &nodes,
        &[("w", numbers(&[4]))],
        &[floats("x", &[4]), floats("w", &[4])],
        &[floats("y", &[4])],
    ));
    assert_eq!(operators(&plainly(&runtime, &proto)), ["Neg", "Add"]);
}

#[test]
fn an_if_whose_condition_is_known_is_its_branch() {
    let Some(runtime) = library() else { return };
    let branch = |nodes: &[ftsurgery::onnx::messages::NodeProto], output: &str| {
        // Both branches, and the graph around the other If, have names alike.
        graph(
            nodes,
            &[("inner", positive(&[4]))],
            &[],
            &[floats(output, &[0, 4])],
        )
    };
    let then = [node("Mul", &["h", "inner"], &["out"])];
    let other = [node("Add", &["h", "inner"], &["out"])];
    let both = |name: &str, condition: &str| {
        node("If", &[condition], &[name])
            .graph("then_branch", branch(&then, "out"))
            .graph("else_branch", branch(&other, "out"))
    };
    let nodes = [
        node("Relu", &["x"], &["h"]),
        node("Shape", &["h"], &["shape"]),
        node("Gather", &["shape", "one"], &["width"]),
        node("Equal", &["width", "four"], &["is four"]),
        both("a", "is four"),
        node("ReduceSum", &["a"], &["sum"]).int("keepdims", 0),
        node("Greater", &["sum", "zero"], &["more"]),
        both("b", "more"),
        node("Add", &["a", "b"], &["y"]),
    ];
    let values = [
        ("one", Tensor::scalar_i64(1)),
        ("four", Tensor::scalar_i64(4)),
        ("zero", Tensor::scalar_f32(0.0)),
    ];
    let proto = model(graph(
        &nodes,
        &values,
        &[floats("x", &[0, 4])],
        &[floats("y", &[0, 4])],
    ));
    let graph = plainly(&runtime, &proto);
    assert_eq!(
        operators(&graph),
        ["Relu", "Mul", "ReduceSum", "Greater", "If", "Add"]
    );
    assert_eq!(graph.node[1].output, ["a"]);
    // The name is that of a tensor of the other If's branches.
    assert_eq!(graph.node[1].input, ["h", "inner_2"]);
}
