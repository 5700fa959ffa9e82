//! What no output needs, wherever it is.

use ftsurgery::graph::{Dim, Value};
use ftsurgery::onnx::messages::{GraphProto, ModelProto, NodeProto};
use ftsurgery::onnx::{DataType, Tensor};
use ftsurgery::surgery::Part;
use ftsurgery::transform::{Check, Numbers, Writing, prune, write};

use crate::models::*;
use crate::support::{given, library};

fn scalar(name: &str, dtype: DataType) -> Value {
    typed(name, dtype, &[])
}

/// A constant, and a node that reads it and a value of the graph around, for nothing.
fn dead(of: &str, around: &str) -> Vec<NodeProto> {
    let (unread, sum) = (format!("{of}/dead"), format!("{of}/dead sum"));
    vec![
        constant(&unread, &Tensor::f32(&[1], &[2.0])),
        node("Add", &[&unread, around], &[&sum]),
    ]
}

/// A Loop whose body has an If in it; dead nodes, tensors and noted types at each depth. `only dead` is read by dead nodes alone,
/// the state `spare` of the body by nothing, and nothing reads what comes of it.
fn looped() -> ModelProto {
    let state = |name: &str| floats(name, &[3]);
    let branch = |name: &str, operator: &str| {
        let out = format!("{name}/out");
        let mut nodes = dead(name, "only dead");
        nodes.push(node(operator, &["state", "h"], &[&out]));
        let unread = [(&*format!("{name}/unread"), numbers(&[30]))];
        let mut branch = graph(&nodes, &unread, &[], &[state(&out)]);
        let noted = value(&format!("{name}/dead sum"));
        branch.value_info.push(noted);
        branch
    };
    let choice = node("If", &["going"], &["chosen"])
        .graph("then_branch", branch("then", "Add"))
        .graph("else_branch", branch("else", "Sub"));
    let mut nodes = dead("body", "only dead");
    nodes.extend([
        choice,
        node("Identity", &["going"], &["go on"]),
        node("Neg", &["spare"], &["spare on"]),
        node("Mul", &["chosen", "two"], &["each"]),
    ]);
    let body = graph(
        &nodes,
        &[("two", numbers(&[3])), ("unread", numbers(&[40]))],
        &[
            scalar("step", DataType::Int64),
            scalar("going", DataType::Bool),
            state("state"),
            state("spare"),
        ],
        &[
            scalar("go on", DataType::Bool),
            state("chosen"),
            state("spare on"),
            state("each"),
        ],
    );
    let nodes = [
        node("Neg", &["x"], &["h"]),
        node("Neg", &["w"], &["only dead"]),
        node("Loop", &["trips", "", "h", "x"], &["y", "unused", "all"]).graph("body", body),
    ];
    let each = Value {
        name: "all".to_owned(),
        dtype: DataType::Float,
        dims: Some(vec![Dim::Symbolic("T".to_owned()), Dim::Known(3)]),
    };
    model(graph(
        &nodes,
        &[("w", numbers(&[3])), ("trips", Tensor::scalar_i64(3))],
        &[state("x")],
        &[state("y"), each],
    ))
}

fn value(name: &str) -> ftsurgery::onnx::messages::ValueInfoProto {
    ftsurgery::graph::value_to_proto(&floats(name, &[3]))
}

fn body(graph: &GraphProto) -> &GraphProto {
    let looped = graph.node.iter().find(|n| n.op_type() == "Loop").unwrap();
    looped.attribute[0].g.as_deref().unwrap()
}

#[test]
fn in_graphs_inside_of_nodes_what_their_outputs_do_not_need_goes_and_what_they_declare_stays() {
    let Some(runtime) = library() else { return };
    let given = given(&runtime);
    let folder = tempfile::tempdir().unwrap();
    let model = opened(folder.path(), "model.onnx", &looped());
    let made = prune(&model).unwrap();
    let out = folder.path().join("out.onnx");
    let writing = Writing::to(&out).check(Some(Check::Numbers));
    let written = write(&made, &writing, &given).unwrap();
    assert_eq!(
        written.numbers,
        Numbers::Equal {
            values: 2,
            off: 0.0
        }
    );
    let graph = made.proto.graph.as_ref().unwrap();
    assert_eq!(operators(graph), ["Neg", "Loop"]);
    assert_eq!(tensors(graph), ["trips"]);
    let inner = body(graph);
    assert_eq!(operators(inner), ["If", "Identity", "Neg", "Mul"]);
    assert_eq!(tensors(inner), ["two"]);
    let was = model.graph();
    assert_eq!(inner.input, body(was).input);
    assert_eq!(inner.output, body(was).output);
    for branch in inner.node[0].attribute.iter().flat_map(|a| &a.g) {
        assert_eq!(branch.node.len(), 1);
        assert!(branch.initializer.is_empty() && branch.value_info.is_empty());
    }
    let told = made.manifest.to_string();
    let inside =
        "in `body` of node `y`: in `then_branch` of node `chosen`: node `then/dead sum` is gone";
    assert!(told.contains(inside), "{told}");
}

#[test]
fn in_functions_as_well() {
    let Some(runtime) = library() else { return };
    let given = given(&runtime);
    let nodes = [
        node("Neg", &["x"], &["n"]),
        constant("two", &Tensor::f32(&[1], &[2.0])),
        node("Mul", &["x", "two"], &["dead"]),
        node("Exp", &["n"], &["y"]),
    ];
    let mut proto = model(graph(
        &[node("Own", &["x"], &["y"]).domain("own")],
        &[],
        &[floats("x", &[0, 4])],
        &[floats("y", &[0, 4])],
    ));
    proto.opset_import.push(opset("own", 1));
    let mut own = function("Own", &nodes);
    own.value_info = vec![value("dead"), value("n")];
    proto.functions = vec![own, function("Uncalled", &nodes)];
    let folder = tempfile::tempdir().unwrap();
    let model = opened(folder.path(), "model.onnx", &proto);
    let made = prune(&model).unwrap();
    let out = folder.path().join("out.onnx");
    let writing = Writing::to(&out).check(Some(Check::Numbers));
    write(&made, &writing, &given).unwrap();
    let [own] = made.proto.functions.as_slice() else {
        panic!("{:?}", made.proto.functions);
    };
    let left: Vec<&str> = own.node.iter().map(|n| n.op_type()).collect();
    assert_eq!(left, ["Neg", "Exp"]);
    assert_eq!(own.value_info, [value("n")]);
    let gone = |c: &&ftsurgery::surgery::Difference| c.part == Part::Function;
    assert_eq!(made.manifest.changes.iter().filter(gone).count(), 1);
}
