//! What becomes of nodes and tensors, and what stays.

use std::path::Path;

use crate::graph::cases::graph;
use crate::graph::{Graph, Node};
use crate::onnx::messages::{FunctionProto, ModelProto, OperatorSetIdProto};
use crate::onnx::{Model, Tensor, encode};
use crate::runtime::testing::runtime;

use super::super::{NoRuntime, Numbers, Writing, write};
use super::*;

fn model(proto: &ModelProto) -> Model {
    Model::decode(encode(proto).unwrap().into(), Path::new("n.onnx")).unwrap()
}

fn of(graph: &Graph) -> Model {
    model(&graph.to_model(usize::MAX).0)
}

fn half(keep: &[&str]) -> Precision {
    Precision {
        to: DataType::Float16,
        io: false,
        keep: keep.iter().map(|&k| k.to_owned()).collect(),
    }
}

/// A node's operator, inputs and outputs.
fn lines(transformed: &Transformed<'_>) -> Vec<String> {
    let nodes = &transformed.proto.graph.as_ref().unwrap().node;
    let line = |n: &NodeProto| {
        let operator = n.op_type.as_deref().unwrap_or_default();
        format!("{operator} {} -> {}", n.input.join(" "), n.output.join(" "))
    };
    nodes.iter().map(line).collect()
}

fn types(transformed: &Transformed<'_>) -> Vec<(String, i32)> {
    let tensors = &transformed.proto.graph.as_ref().unwrap().initializer;
    tensors
        .iter()
        .map(|t| (t.name().to_owned(), t.data_type.unwrap()))
        .collect()
}

fn two_products() -> Graph {
    let nodes = vec![
        Node::new("first", "Mul", &["x", "w"], &["h"]),
        Node::new("second", "Mul", &["h", "w"], &["y"]),
    ];
    let mut graph = graph(17, &[2, 2], nodes);
    graph
        .initializers
        .insert("w".to_owned(), Tensor::f32(&[2], &[0.1, 3.0]));
    graph
}

#[test]
fn casts_stand_at_the_borders_alone() {
    let model = of(&two_products());
    let made = precision(&model, &half(&[]), &NoRuntime).unwrap();
    assert_eq!(
        lines(&made),
        [
            "Cast x -> x/float16",
            "Mul x/float16 w -> h",
            "Mul h w -> y/float16",
            "Cast y/float16 -> y",
        ]
    );
    assert_eq!(types(&made), [("w".to_owned(), 10)]);
    let io = Precision {
        io: true,
        ..half(&[])
    };
    let made = precision(&model, &io, &NoRuntime).unwrap();
    assert_eq!(lines(&made), ["Mul x w -> h", "Mul h w -> y"]);
}

#[test]
fn what_is_kept_reads_and_makes_what_it_did() {
    let model = of(&two_products());
    let made = precision(&model, &half(&["second"]), &NoRuntime).unwrap();
    // Of a tensor that both read there is one, as the kept node has it.
    assert_eq!(
        lines(&made),
        [
            "Cast x -> x/float16",
            "Cast w -> w/float16",
            "Mul x/float16 w/float16 -> h",
            "Cast h -> h/float32",
            "Mul h/float32 w -> y",
        ]
        .iter()
        .map(|l| (*l).to_owned())
        .collect::<Vec<_>>()
    );
    assert_eq!(types(&made), [("w".to_owned(), 1)]);
    let error = precision(&model, &half(&["third"]), &NoRuntime).unwrap_err();
    assert!(error.to_string().contains("`third`"), "{error}");
}

#[test]
fn tensors_that_half_the_width_has_not_stay_and_are_named() {
    for (value, why) in [
        (1e6, "beyond the range of float16"),
        (1e-12, "would be 0 in float16"),
    ] {
        let mut graph = two_products();
        graph
            .initializers
            .insert("w".to_owned(), Tensor::f32(&[1], &[value]));
        let model = of(&graph);
        let made = precision(&model, &half(&[]), &NoRuntime).unwrap();
        assert_eq!(types(&made), [("w".to_owned(), 1)]);
        assert_eq!(lines(&made), ["Mul x w -> h", "Mul h w -> y"]);
        let [note] = &made.notes[..] else {
            panic!("{:?}", made.notes)
        };
        assert!(note.contains("`w`") && note.contains(why), "{note}");
    }
}

#[test]
fn types_that_an_operator_fixes_and_what_is_computed_of_sizes_stay() {
    let nodes = vec![
        Node::new("shape", "Shape", &["x"], &["s"]),
        Node::new("size", "Cast", &["s"], &["f"]).with("to", 1),
        Node::new("root", "Sqrt", &["f"], &["r"]),
        Node::new("grown", "Resize", &["x", "", "scales"], &["g"]),
        Node::new("last", "Gather", &["r", "at"], &["d"]),
        Node::new("scaled", "Div", &["g", "d"], &["y"]),
    ];
    let mut graph = graph(17, &[1, 1, 2, 2], nodes);
    graph.initializers.insert(
        "scales".to_owned(),
        Tensor::f32(&[4], &[1.0, 1.0, 2.0, 2.0]),
    );
    graph
        .initializers
        .insert("at".to_owned(), Tensor::scalar_i64(3));
    let model = of(&graph);
    let made = precision(&model, &half(&[]), &NoRuntime).unwrap();
    assert_eq!(
        lines(&made),
        [
            "Cast x -> x/float16",
            "Shape x -> s",
            "Cast s -> f",
            "Sqrt f -> r",
            "Resize x/float16  scales -> g",
            "Gather r at -> d",
            "Cast d -> d/float16",
            "Div g d/float16 -> y/float16",
            "Cast y/float16 -> y",
        ]
    );
    assert_eq!(types(&made)[0], ("scales".to_owned(), 1));
}

#[test]
fn what_the_operator_set_has_no_half_for_stays() {
    let nodes = vec![
        Node::new("first", "Celu", &["x"], &["h"]),
        Node::new("second", "Relu", &["h"], &["y"]),
    ];
    let model = of(&graph(17, &[2], nodes));
    let made = precision(&model, &half(&[]), &NoRuntime).unwrap();
    assert_eq!(
        lines(&made),
        [
            "Celu x -> h",
            "Cast h -> h/float16",
            "Relu h/float16 -> y/float16",
            "Cast y/float16 -> y"
        ]
    );
}

/// A call for floats and one for doubles, of a function with a constant of its own.
fn called_twice() -> ModelProto {
    let mut graph = graph(18, &[2], vec![Node::new("n", "Relu", &["x"], &["y"])]);
    graph.nodes = vec![
        Node {
            domain: "own".to_owned(),
            ..Node::new("one", "Twice", &["x"], &["a"])
        },
        Node::new("wide", "Cast", &["a"], &["b"]).with("to", 11),
        Node {
            domain: "own".to_owned(),
            ..Node::new("two", "Twice", &["b"], &["c"])
        },
        Node::new("narrow", "Cast", &["c"], &["y"]).with("to", 1),
    ];
    let (mut proto, _) = graph.to_model(usize::MAX);
    let import = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    };
    proto.ir_version = Some(8);
    proto.opset_import = vec![import("", 18), import("own", 1)];
    let one = Node::new("one", "Constant", &[], &["one"]).with("value", Tensor::scalar_f32(1.5));
    let nodes = [
        one,
        Node::new("like", "CastLike", &["one", "v"], &["l"]),
        Node::new("sum", "Add", &["v", "l"], &["w"]),
    ];
    proto.functions = vec![FunctionProto {
        name: Some("Twice".to_owned()),
        domain: Some("own".to_owned()),
        input: vec!["v".to_owned()],
        output: vec!["w".to_owned()],
        node: nodes.iter().map(Node::to_proto).collect(),
        opset_import: vec![import("", 18)],
        ..FunctionProto::default()
    }];
    proto
}

#[test]
fn a_function_that_is_called_for_two_types_has_a_copy_for_each() {
    let model = model(&called_twice());
    let made = precision(&model, &half(&[]), &NoRuntime).unwrap();
    let names: Vec<&str> = made
        .proto
        .functions
        .iter()
        .map(|f| f.name.as_deref().unwrap())
        .collect();
    assert_eq!(names, ["Twice", "Twice_float16"]);
    let Some(runtime) = runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.onnx");
    let written = write(&made, &Writing::to(&out), &|| Ok(runtime.clone())).unwrap();
    assert!(matches!(written.numbers, Numbers::Equal { off, .. } if off > 0.0));
}

#[test]
fn bfloat16_stays_out_of_operators_that_came_to_it_later() {
    for (opset, within) in [(17, false), (22, true)] {
        let nodes = vec![Node::new("n", "GlobalAveragePool", &["x"], &["y"])];
        let model = of(&graph(opset, &[1, 2, 3, 3], nodes));
        let to = Precision {
            to: DataType::Bfloat16,
            ..half(&[])
        };
        let made = precision(&model, &to, &NoRuntime).unwrap();
        assert_eq!(lines(&made).len(), if within { 3 } else { 1 });
    }
}
