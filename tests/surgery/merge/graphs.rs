//! What is connected, shared and renamed.

use ftsurgery::onnx::Tensor;
use ftsurgery::onnx::messages::ModelProto;
use ftsurgery::transform::Merging;

use super::{dense, merged, names};
use crate::models::*;
use crate::support::library;

#[test]
fn what_both_have_alike_is_one_and_only_what_clashes_has_another_name() {
    let Some(runtime) = library() else { return };
    let front = model(dense("x", "mid", &numbers(&[4, 4])));
    let back = model(dense("mid", "y", &positive(&[4, 4])));
    let (whole, notes) = merged(&runtime, &[&front, &back], &Merging::default());
    let graph = whole.graph();
    assert_eq!(names(&graph.input), ["x"]);
    assert_eq!(names(&graph.output), ["y"]);
    assert_eq!(names(&graph.value_info), ["mid"]);
    assert_eq!(tensors(graph), ["w", "b", "w_2"]);
    let inputs: Vec<&[String]> = graph.node.iter().map(|n| n.input.as_slice()).collect();
    assert_eq!(
        inputs,
        [["x", "w"], ["h", "b"], ["mid", "w_2"], ["h_2", "b"]]
    );
    let nodes: Vec<&str> = graph.node.iter().map(|n| n.name()).collect();
    assert_eq!(nodes, ["h/node", "mid/node", "h/node_2", "y/node"]);
    assert!(
        notes
            .iter()
            .any(|n| n.contains("`w` of") && n.contains("`w_2`")),
        "{notes:?}"
    );
    assert!(!notes.iter().any(|n| n.contains("`b`")), "{notes:?}");
}

#[test]
fn one_output_goes_to_one_input_of_another_name_and_others_as_they_are_told() {
    let Some(runtime) = library() else { return };
    let front = model(dense("x", "features", &numbers(&[4, 4])));
    let back = model(dense("image", "y", &numbers(&[4, 4])));
    let (whole, notes) = merged(&runtime, &[&front, &back], &Merging::default());
    assert_eq!(names(&whole.graph().output), ["y"]);
    assert!(
        notes
            .iter()
            .any(|n| n.contains("`features` goes to the input `image`"))
    );
    // From the middle, the first model's output stays.
    let merging = Merging {
        connect: vec![("h".to_owned(), "image".to_owned())],
        ..Merging::default()
    };
    let (whole, _) = merged(&runtime, &[&front, &back], &merging);
    assert_eq!(names(&whole.graph().output), ["features", "y"]);
    let merging = Merging {
        outputs: vec!["y".to_owned(), "h".to_owned()],
        ..Merging::default()
    };
    let (whole, _) = merged(&runtime, &[&front, &back], &merging);
    assert_eq!(names(&whole.graph().output), ["y", "h"]);
}

#[test]
fn side_by_side_models_share_their_inputs() {
    let Some(runtime) = library() else { return };
    let left = model(dense("x", "left", &numbers(&[4, 4])));
    let right = model(dense("x", "right", &positive(&[4, 4])));
    let join = Merging {
        join: true,
        ..Merging::default()
    };
    let (whole, _) = merged(&runtime, &[&left, &right], &join);
    assert_eq!(names(&whole.graph().input), ["x"]);
    assert_eq!(names(&whole.graph().output), ["left", "right"]);
    let (whole, notes) = merged(&runtime, &[&left, &left.clone()], &join);
    // All of the second is there already.
    assert_eq!(
        whole.graph().node,
        left.graph.as_ref().unwrap().node,
        "{notes:?}"
    );
}

#[test]
fn more_than_two_stand_one_behind_the_other() {
    let Some(runtime) = library() else { return };
    let parts = [("x", "a"), ("a", "b1"), ("b1", "y")];
    let parts = parts.map(|(from, to)| model(dense(from, to, &numbers(&[4, 4]))));
    let parts: Vec<&ModelProto> = parts.iter().collect();
    let (whole, _) = merged(&runtime, &parts, &Merging::default());
    assert_eq!(whole.graph().node.len(), 6);
    assert_eq!(tensors(whole.graph()), ["w", "b"]);
    assert_eq!(names(&whole.graph().output), ["y"]);
}

#[test]
fn what_graphs_inside_of_nodes_read_and_make_is_followed() {
    let Some(runtime) = library() else { return };
    let front = model(dense("x", "mid", &numbers(&[4, 4])));
    let branch = |name: &str, operator: &str| {
        // `h` is made in the graph around it, `w` inside.
        let nodes = [node(operator, &["h", "w"], &[name])];
        graph(
            &nodes,
            &[("w", positive(&[4]))],
            &[],
            &[floats(name, &[0, 4])],
        )
    };
    let nodes = [
        node("Relu", &["mid"], &["h"]),
        node("ReduceSum", &["h"], &["sum"]).int("keepdims", 0),
        node("Greater", &["sum", "zero"], &["more"]),
        node("If", &["more"], &["y"])
            .graph("then_branch", branch("then", "Mul"))
            .graph("else_branch", branch("else", "Add")),
    ];
    let back = model(graph(
        &nodes,
        &[("zero", Tensor::scalar_f32(0.0))],
        &[floats("mid", &[0, 4])],
        &[floats("y", &[0, 4])],
    ));
    let (whole, _) = merged(&runtime, &[&front, &back], &Merging::default());
    let inner = whole.graph().node.last().unwrap().attribute[0]
        .g
        .as_deref()
        .unwrap();
    assert_eq!(inner.node[0].input, ["h_2", "w_2"]);
    assert_eq!(inner.initializer[0].name(), "w_2");
}
