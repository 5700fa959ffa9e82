//! Nodes that come behind a value.

use super::super::super::testing::*;
use super::super::super::{Difference, Editor, Part, What};
use super::operations::done;
use super::rich::rich;
use crate::graph::{Graph, Node};
use crate::onnx::messages::NodeProto;

fn nodes(list: &[(&str, &str, &[&str])]) -> Vec<NodeProto> {
    let node = |(output, op, inputs): &(&str, &str, &[&str])| {
        Node::new(output, op, inputs, &[output]).to_proto()
    };
    list.iter().map(node).collect()
}

#[test]
fn readers_of_a_value_read_what_the_added_nodes_make_of_it() {
    let original = model(&classifier());
    let mut editor = Editor::new(&original).unwrap();
    editor.add_tensor("two", &weight(&[1, 4, 1, 1], 2)).unwrap();
    let added = nodes(&[
        ("double", "Mul", &["map", "two"]),
        ("sum", "Add", &["map", "double"]),
    ]);
    editor.splice("map", added, "sum").unwrap();
    let (edited, changes) = done(editor, &original);
    let graph = Graph::from_model(&edited).unwrap();
    let inputs = |name: &str| {
        let node = graph.nodes.iter().find(|n| n.name == name).unwrap();
        node.inputs.clone()
    };
    assert_eq!(inputs("sum"), ["map", "double"]);
    assert_eq!(inputs("pool"), ["sum"]);
    assert_eq!(inputs("side"), ["sum", "side.weight"]);
    // They stand where they are made, as ONNX asks for.
    let order: Vec<&str> = edited.graph().node.iter().map(|n| n.name()).collect();
    assert_eq!(order[2..6], ["map", "double", "sum", "side"]);
    let of = |part: Part| -> Vec<(&str, bool)> {
        let found = changes.iter().filter(|d: &&Difference| d.part == part);
        found
            .map(|d| (d.name.as_str(), matches!(d.what, What::Added { .. })))
            .collect()
    };
    let expected = [
        ("double", true),
        ("sum", true),
        ("side", false),
        ("pool", false),
    ];
    assert_eq!(of(Part::Node), expected);
    assert_eq!(of(Part::Tensor), [("two", true)]);
    assert_eq!(changes.len(), 5);

    let x = numbers(3 * 64, 5);
    let image: (&[usize], &[f32]) = (&[1, 3, 8, 8], &x);
    let mut plain = classifier();
    plain.outputs = vec![value("map", &[0, 4, 8, 8])];
    let map = run(&proto(&plain), &[image]).remove(0);
    let mut spliced = graph.clone();
    spliced.outputs = vec![value("sum", &[0, 4, 8, 8])];
    let sum = run(&proto(&spliced), &[image]).remove(0);
    let two = weight(&[4], 2).to_f32().unwrap();
    let wanted: Vec<f32> = map
        .iter()
        .enumerate()
        .map(|(i, m)| m + m * two[i / 64])
        .collect();
    assert_close(&sum, &wanted);
}

#[test]
fn nodes_behind_an_input_come_first() {
    let original = model(&classifier());
    let mut editor = Editor::new(&original).unwrap();
    let added = nodes(&[("turned", "Neg", &["x"])]);
    editor.splice("x", added, "turned").unwrap();
    let (edited, _) = done(editor, &original);
    let first = &edited.graph().node[..2];
    assert_eq!([first[0].name(), &first[1].input[0]], ["turned", "turned"]);
}

#[test]
fn a_splice_that_does_not_fit_is_refused_and_changes_nothing() {
    let original = model(&classifier());
    let mut editor = Editor::new(&original).unwrap();
    let relu = |reads| nodes(&[("new", "Relu", &[reads])]);
    let mut refused = |value: &str, added: Vec<NodeProto>, instead: &str| {
        let error = editor.splice(value, added, instead).unwrap_err();
        error.to_string()
    };
    assert!(refused("nothing", relu("map"), "new").contains("no value `nothing`"));
    assert!(refused("map", relu("map"), "other").contains("no value `other`"));
    let output = refused("probabilities", relu("map"), "new");
    assert!(output.contains("an output of the graph"), "{output}");
    assert!(
        refused("map", relu("pool"), "new").contains("`pool`"),
        "made later"
    );
    assert!(refused("map", relu("nowhere"), "new").contains("`nowhere`"));
    let circle = nodes(&[("a", "Relu", &["new"]), ("new", "Relu", &["a"])]);
    assert!(refused("map", circle, "new").contains("reads `new`"));
    let twice = nodes(&[("new", "Relu", &["map"]), ("new", "Relu", &["map"])]);
    assert!(refused("map", twice, "new").contains("`new` is taken"));
    let taken = nodes(&[("flat", "Relu", &["map"])]);
    assert!(refused("map", taken, "flat").contains("`flat` is taken"));
    assert_eq!(done(editor, &original).1, []);

    // Where a branch reads it by its name.
    let folder = tempfile::tempdir().unwrap();
    let original = rich(folder.path());
    let inner = original.graph().node.iter().flat_map(|n| &n.attribute);
    let inner = inner.filter_map(|a| a.g.as_deref()).flat_map(|g| &g.node);
    let inputs: Vec<&String> = inner.flat_map(|n| &n.input).collect();
    assert!(inputs.iter().any(|i| *i == "map"), "{inputs:?}");
    let mut editor = Editor::new(&original).unwrap();
    let error = editor.splice("map", relu("map"), "new").unwrap_err();
    assert!(error.to_string().contains("inside of a node"), "{error}");
}
