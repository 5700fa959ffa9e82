//! Each operation: what it changes, and what it refuses.

use prost::Message;

use super::super::super::testing::*;
use super::super::super::{Difference, Edited, Editor, Part, SurgeryError, holds};
use super::rich::{old, rich};
use crate::graph::{Graph, Node, Value, value_to_proto};
use crate::onnx::messages::{GraphProto, ModelProto, NodeProto};
use crate::onnx::{DataType, Model, Tensor, encode, set_metadata};

/// The result of some edits, written, read again and held against its manifest.
pub fn done(editor: Editor<'_>, original: &Model) -> (Model, Vec<Difference>) {
    let Edited { proto, manifest } = editor.finish().unwrap();
    let bytes = encode(&proto).unwrap();
    let read = Model::decode(bytes.into(), original.path()).unwrap();
    holds(original, &read, &manifest).unwrap();
    (read, manifest.changes)
}

fn told(changes: &[Difference]) -> Vec<String> {
    changes.iter().map(Difference::to_string).collect()
}

fn outputs(model: &Model) -> Vec<&str> {
    let nodes = model.graph().node.iter();
    nodes.flat_map(|n| &n.output).map(String::as_str).collect()
}

pub fn tensor(model: &Model, name: &str) -> Tensor {
    let mut all = model.graph().initializer.iter();
    model
        .tensor(all.find(|t| t.name() == name).unwrap())
        .unwrap()
}

fn node<'m>(model: &'m ModelProto, output: &str) -> &'m NodeProto {
    let mut nodes = model.graph.as_ref().unwrap().node.iter();
    nodes.find(|n| n.output[0] == output).unwrap()
}

#[test]
fn without_edits_a_model_is_the_file_again() {
    let folder = tempfile::tempdir().unwrap();
    for original in [rich(folder.path()), old(), model(&classifier())] {
        let (read, changes) = done(Editor::new(&original).unwrap(), &original);
        assert_eq!(changes, []);
        assert_eq!(read.file_bytes(), original.file_bytes());
    }
}

#[test]
fn what_has_a_name_twice_is_removed_and_set_by_it() {
    let mut proto = model(&classifier()).proto;
    set_metadata(&mut proto, "author", "one");
    proto.metadata_props.push(proto.metadata_props[0].clone());
    let graph = proto.graph.as_mut().unwrap();
    let noted = ["side", "map", "side"];
    graph.value_info = noted
        .map(|name| value_to_proto(&value(name, &[0, 4])))
        .to_vec();
    let original = decode(&proto);
    let mut editor = Editor::new(&original).unwrap();
    editor.keep(&["probabilities"]).unwrap();
    editor.set_metadata("author", "another");
    let (kept, changes) = done(editor, &original);
    let noted = kept.graph().value_info.iter();
    assert_eq!(noted.map(|v| v.name()).collect::<Vec<_>>(), ["map"]);
    let gone = told(&changes);
    for name in ["side", "side #2"] {
        assert!(
            gone.contains(&format!("noted type of `{name}` is gone")),
            "{gone:?}"
        );
    }
    assert_eq!(kept.proto.metadata_props.len(), 1);
}

#[test]
fn what_is_kept_is_what_serves_a_value_by_inner_graphs_too() {
    let folder = tempfile::tempdir().unwrap();
    let original = rich(folder.path());
    let mut editor = Editor::new(&original).unwrap();
    editor.keep(&["chosen"]).unwrap();
    let (kept, changes) = done(editor, &original);
    assert_eq!(outputs(&kept), ["conv", "bn", "map", "truth", "chosen"]);
    let graph = kept.graph();
    assert_eq!(graph.initializer.len(), 6);
    assert_eq!(graph.sparse_initializer, []);
    assert_eq!(graph.output, []);
    assert_eq!(graph.quantization_annotation.len(), 1);
    assert_eq!(graph.value_info.len(), 1);
    let sentences = told(&changes);
    for sentence in [
        "node `fc` is gone",
        "tensor `fc.weight` is gone",
        "sparse tensor `sparse` is gone",
        "output `probabilities` is gone",
        "noted type of `flat` is gone",
    ] {
        assert!(
            sentences.iter().any(|s| s == sentence),
            "{sentence}: {sentences:?}"
        );
    }
    // What stays is encoded as it was.
    for node in &graph.node {
        let old = self::node(&original.proto, &node.output[0]);
        assert_eq!(old.encode_to_vec(), node.encode_to_vec());
    }

    let original = old();
    let mut editor = Editor::new(&original).unwrap();
    editor.keep(&["map"]).unwrap();
    let (kept, _) = done(editor, &original);
    assert_eq!(kept.graph().input.len(), 7, "x and six initializers");

    let mut editor = Editor::new(&original).unwrap();
    let error = editor.keep(&["map", "nothing"]).unwrap_err();
    assert!(matches!(&error, SurgeryError::NoValue { value } if value == "nothing"));
    assert!(error.is_bad_input());
}

#[test]
fn nodes_and_tensors_are_added_behind_all_others() {
    for (original, inputs) in [(old(), 11), (model(&classifier()), 1)] {
        let mut editor = Editor::new(&original).unwrap();
        editor.add_tensor("bias", &weight(&[3], 9)).unwrap();
        let sum = Node::new("sum", "Add", &["fc", "bias"], &["sum"]);
        editor.add_node(sum.to_proto()).unwrap();
        editor.set_outputs(&[value("sum", &[0, 3])]).unwrap();
        let (edited, changes) = done(editor, &original);
        assert_eq!(outputs(&edited).last(), Some(&"sum"));
        assert_eq!(edited.graph().input.len(), inputs);
        assert_eq!(edited.graph().output.len(), 1);
        let sentences = told(&changes);
        assert!(sentences.contains(&"node `sum` is new, behind `probabilities`".to_owned()));
        assert!(sentences.contains(&"output `side` is gone".to_owned()));
        Graph::from_model(&edited).unwrap();
    }
}

#[test]
fn what_cannot_be_added_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let original = rich(folder.path());
    let mut editor = Editor::new(&original).unwrap();
    let mut add = |name: &str, op: &str, input: &str, output: &str| {
        let node = Node::new(name, op, &[input], &[output]).to_proto();
        editor.add_node(node).unwrap_err().to_string()
    };
    assert!(add("new", "Relu", "map", "fc").contains("`fc` is taken"));
    // A name inside of a branch would be shadowed there.
    assert!(add("new", "Relu", "map", "then.weight").contains("`then.weight` is taken"));
    assert!(add("conv", "Relu", "map", "new").contains("`conv` is taken"));
    assert!(add("new", "Relu", "nothing", "new").contains("reads `nothing`"));
    assert!(add("new", "Relu", "map", "").contains("`new` (Relu): it has no output"));
    assert!(add("new", "", "map", "new").contains("no operator"));
    assert!(add("new", "Relu", "map", "a\0b").contains("NUL"));
    let twice = editor.add_tensor("fc.bias", &weight(&[3], 1)).unwrap_err();
    assert!(twice.to_string().contains("`fc.bias` is taken"));
    assert!(editor.add_tensor("", &weight(&[3], 1)).is_err());
    let outputs = |editor: &mut Editor<'_>, names: &[&str]| {
        let values: Vec<Value> = names.iter().map(|n| value(n, &[0, 3])).collect();
        editor.set_outputs(&values).unwrap_err().to_string()
    };
    assert!(outputs(&mut editor, &["nothing"]).contains("no value `nothing`"));
    assert!(outputs(&mut editor, &["fc", "fc"]).contains("`fc` is taken"));
    assert!(outputs(&mut editor, &[]).contains("no output"));
    assert_eq!(
        done(editor, &original).1,
        [],
        "what is refused changes nothing"
    );
}

#[test]
fn a_value_is_renamed_wherever_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let original = rich(folder.path());
    let mut editor = Editor::new(&original).unwrap();
    for (from, to) in [
        ("map", "features"),
        ("x", "image"),
        ("bn.scale", "gamma"),
        ("sparse", "thin"),
        ("side", "other"),
    ] {
        editor.rename(from, to).unwrap();
    }
    editor.rename_node("conv", "first").unwrap();
    let (renamed, changes) = done(editor, &original);
    let renames = changes.iter().map(|c| (c.part, &c.what));
    let names = renames.clone().filter(|(p, _)| *p == Part::Value).count();
    assert_eq!((changes.len(), names), (6, 5));
    let mut nameless = renamed.proto.clone();
    for node in &mut nameless.graph.as_mut().unwrap().node {
        node.name = None;
    }
    let text = format!("{nameless:?}");
    for name in ["map", "x", "bn.scale", "sparse"] {
        assert!(
            !text.contains(&format!("{name:?}")),
            "{name} is still there"
        );
    }
    let branch: &GraphProto = node(&renamed.proto, "chosen").attribute[0]
        .g
        .as_ref()
        .unwrap();
    assert_eq!(branch.node[0].input[0], "features");
    let annotation = &renamed.graph().quantization_annotation[0];
    assert_eq!(annotation.tensor_name(), "features");
    assert_eq!(annotation.quant_parameter_tensor_names[0].value(), "gamma");
    assert_eq!(renamed.graph().node[0].name(), "first");
    assert_eq!(renamed.graph().output[1].name(), "other");
}

#[test]
fn a_rename_that_would_change_what_is_meant_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let original = rich(folder.path());
    let mut editor = Editor::new(&original).unwrap();
    let mut fail = |from: &str, to: &str| editor.rename(from, to).unwrap_err().to_string();
    assert!(fail("nothing", "new").contains("no value `nothing`"));
    assert!(fail("map", "fc").contains("`fc` is taken"));
    // Inside of a branch, `then.weight` is another value: `map` would be captured there.
    let captured = fail("map", "then.weight");
    assert!(
        captured.contains("`map`") && captured.contains("`chosen`"),
        "{captured}"
    );
    assert!(fail("then.weight", "new").contains("no value `then.weight`"));
    assert!(fail("map", "").contains("empty"));
    let mut fail = |from: &str, to: &str| editor.rename_node(from, to).unwrap_err().to_string();
    assert!(fail("nothing", "new").contains("no node `nothing`"));
    assert!(fail("conv", "bn").contains("`bn` is taken"));
    assert_eq!(done(editor, &original).1, []);

    let mut twins = proto(&classifier());
    twins.graph.as_mut().unwrap().node[1].name = Some("conv".to_owned());
    twins.training_info.push(Default::default());
    // A file's nodes are told apart when it is read.
    let original = decode(&twins).with_proto(twins);
    let mut editor = Editor::new(&original).unwrap();
    let several = editor.rename_node("conv", "new").unwrap_err();
    assert!(
        several
            .to_string()
            .contains("several nodes are named `conv`")
    );
    let training = editor.rename("map", "new").unwrap_err();
    assert!(training.to_string().contains("training graphs"));
}

#[test]
fn metadata_are_set_whatever_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let original = rich(folder.path());
    let mut editor = Editor::new(&original).unwrap();
    editor.set_metadata("author", "another");
    editor.set_metadata("licence", "none");
    editor.set_metadata("classes", "3");
    let (edited, changes) = done(editor, &original);
    assert_eq!(edited.metadata("author"), Some("another"));
    let sentences = told(&changes);
    assert_eq!(
        sentences,
        [
            "metadata property `author` is not what it was",
            "metadata property `licence` is new"
        ]
    );
}

#[test]
fn what_was_added_is_renamed_and_set_as_if_it_had_been_added_so() {
    let original = model(&classifier());
    let mut editor = Editor::new(&original).unwrap();
    editor.keep(&["map"]).unwrap();
    // A name that a removed node had.
    let pool = Node::new("pool", "GlobalMaxPool", &["map"], &["pool"]);
    editor.add_node(pool.to_proto()).unwrap();
    editor.add_tensor("w", &weight(&[2], 1)).unwrap();
    editor.set_values("w", &[1.0, 2.0]).unwrap();
    editor.rename("w", "v").unwrap();
    editor.rename("pool", "pooled").unwrap();
    editor.rename_node("pool", "pooling").unwrap();
    editor.rename("map", "features").unwrap();
    let Edited { proto, manifest } = editor.finish().unwrap();
    let edited = decode(&proto);
    holds(&original, &edited, &manifest).unwrap();
    assert_eq!(manifest.renames().count(), 1);
    assert_eq!(tensor(&edited, "v").to_f32().unwrap(), [1.0, 2.0]);
    assert_eq!(outputs(&edited), ["conv", "bn", "features", "pooled"]);

    // Another editor goes on, and its manifest is that of both.
    let mut editor = Editor::resume(&original, &edited, &manifest).unwrap();
    editor.set_values("v", &[3.0, 4.0]).unwrap();
    editor
        .set_outputs(&[Value::batched("pooled", &[4, 1, 1])])
        .unwrap();
    let (last, _) = done(editor, &original);
    assert_eq!(tensor(&last, "v").to_f32().unwrap(), [3.0, 4.0]);
    let other = decode(&proto_of_half());
    assert!(Editor::resume(&other, &edited, &manifest).is_err());
}

/// Another model, without the values of the classifier.
fn proto_of_half() -> ModelProto {
    let mut graph = Graph::new(17);
    graph.inputs = vec![value("y", &[0, 3])];
    graph.nodes = vec![Node::new("z", "Relu", &["y"], &["z"])];
    graph.outputs = vec![Value::fixed("z", DataType::Float, &[1, 3])];
    proto(&graph)
}

#[test]
fn an_input_declares_another_size_and_what_was_noted_of_the_old_one_goes() {
    let folder = tempfile::tempdir().unwrap();
    let original = rich(folder.path());
    let mut editor = Editor::new(&original).unwrap();
    assert!(editor.set_input_size("x", &[(2, 16), (3, 8)]).unwrap());
    let (read, changes) = done(editor, &original);
    assert_eq!(
        told(&changes),
        [
            "input `x` is not what it was",
            "noted type of `map` is gone",
            "noted type of `flat` is gone",
        ]
    );
    let expected = value_to_proto(&value("x", &[0, 3, 16, 8]));
    assert_eq!(read.graph().input, [expected]);

    // What is so already, or left open, stays; and then the notes are true.
    let mut editor = Editor::new(&original).unwrap();
    assert!(!editor.set_input_size("x", &[(0, 5), (2, 8)]).unwrap());
    assert_eq!(done(editor, &original).1, []);
    let mut editor = Editor::new(&original).unwrap();
    let error = editor.set_input_size("map", &[(2, 16)]).unwrap_err();
    assert!(matches!(error, SurgeryError::NoValue { value } if value == "map"));
}

#[test]
fn functions_are_written_out_and_nothing_else_changes() {
    let folder = tempfile::tempdir().unwrap();
    let original = rich(folder.path());
    let mut editor = Editor::new(&original).unwrap();
    editor.inline().unwrap();
    // A value that came can be renamed like any other.
    editor.rename("call/two", "two").unwrap();
    let (read, changes) = done(editor, &original);
    let told = told(&changes);
    assert_eq!(read.proto.functions, []);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told[0].starts_with("node `two` is new, behind `"),
        "{told:?}"
    );
    assert_eq!(
        told[1..],
        [
            "node `doubled` is not what it was",
            "function `local:Double` is gone"
        ]
    );
    assert_eq!(node(&read.proto, "doubled").input, ["chosen", "two"]);
}
