//! Every kind of difference is found, and told by name.

use prost::Message;

use super::super::super::testing::*;
use super::super::super::{Manifest, SurgeryError, differences, holds};
use super::rich::{entry, rich};
use crate::onnx::messages::{GraphProto, ModelProto, NodeProto};
use crate::onnx::{Model, set_metadata};

fn at<'g>(graph: &'g mut GraphProto, output: &str) -> &'g mut NodeProto {
    let mut nodes = graph.node.iter_mut();
    nodes.find(|n| n.output[0] == output).unwrap()
}

fn branch(graph: &mut GraphProto) -> &mut GraphProto {
    at(graph, "chosen").attribute[0].g.as_mut().unwrap()
}

type Change = fn(&mut ModelProto, &mut GraphProto);

/// Each change and the sentences that tell it.
#[rustfmt::skip]
const CHANGES: [(Change, &str); 34] = [
    (|_, _| (), ""),
    (|p, _| p.ir_version = Some(8), "field `ir_version` is not what it was"),
    (|p, _| p.producer_name = None, "field `producer_name` is not what it was"),
    (|p, _| p.producer_version = Some("9".into()), "field `producer_version` is not what it was"),
    (|p, _| p.domain = Some("d".into()), "field `domain` is not what it was"),
    (|p, _| p.model_version = Some(2), "field `model_version` is not what it was"),
    (|p, _| p.doc_string = None, "field `doc_string` is not what it was"),
    (|p, _| p.training_info.push(Default::default()), "field `training_info` is not what it was"),
    (|p, _| p.configuration.push(Default::default()), "field `configuration` is not what it was"),
    (|p, _| p.opset_import[0].version = Some(18), "operator set `ai.onnx` is not what it was"),
    (|p, _| drop(p.opset_import.pop()), "operator set `local` is gone"),
    (|p, _| set_metadata(p, "classes", "4"), "metadata property `classes` is not what it was"),
    (|p, _| set_metadata(p, "new", "4"), "metadata property `new` is new"),
    (|p, _| p.metadata_props.reverse(), ""),
    (|p, _| drop(p.functions.pop()), "function `local:Double` is gone"),
    (|p, _| p.functions[0].input.push("c".into()), "function `local:Double` is not what it was"),
    (|p, _| p.functions[0].node[1].op_type = Some("Add".into()), "in function `local:Double`: node `b` is not what it was"),
    (|_, g| g.name = Some("other".into()), "field `graph.name` is not what it was"),
    (|_, g| g.doc_string = None, "field `graph.doc_string` is not what it was"),
    (|_, g| g.metadata_props.push(entry("a", "b")), "in the graph's metadata: metadata property `a` is new"),
    (|_, g| g.input[0].doc_string = Some("x".into()), "input `x` is not what it was"),
    (|_, g| drop(g.output.pop()), "output `side` is gone"),
    (|_, g| g.value_info.swap(0, 1), "noted type of `map` has moved behind `flat`"),
    (|_, g| drop(g.quantization_annotation.pop()), "quantisation annotation of `map` is gone"),
    (|_, g| g.node[0].name = Some("other".into()), "node `conv` is not what it was"),
    (|_, g| at(g, "chosen").metadata_props.clear(), "node `chosen` is not what it was"),
    (|_, g| drop(g.node.pop()), "node `probabilities` is gone"),
    (|_, g| g.node.swap(3, 4), "node `truth` has moved behind `chosen`"),
    (|_, g| g.node.insert(1, g.node[0].clone()), "node `conv #2` is new, behind `conv`"),
    (|_, g| at(g, "half").attribute[0].f = Some(0.75), "tensor `half` has other values"),
    (|_, g| branch(g).initializer[0].dims = vec![1, 1], "in `then_branch` of node `chosen`: tensor `then.weight` is not what it was"),
    (|_, g| branch(g).node[0].input.swap(0, 1), "in `then_branch` of node `chosen`: node `then.weight/sum` is not what it was"),
    (|_, g| g.initializer[1].float_data[0] = 9.0, "tensor `conv.bias` has other values"),
    (|_, g| g.sparse_initializer[0].dims = vec![5], "sparse tensor `sparse` is not what it was"),
];

#[test]
fn every_kind_of_difference_is_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let original = rich(folder.path());
    for (change, sentence) in CHANGES {
        let mut proto = original.proto.clone();
        let mut graph = proto.graph.take().unwrap();
        change(&mut proto, &mut graph);
        proto.graph = Some(graph);
        let changed = original.with_proto(proto);
        let found = differences(&original, &changed).unwrap();
        let told: Vec<String> = found.iter().map(|d| d.to_string()).collect();
        assert_eq!(told.join("; "), sentence);
        // Nothing of it is in an empty manifest, all of it is in its own, and not in the original.
        let own = Manifest { changes: found };
        let unheld = holds(&original, &changed, &Manifest::default());
        assert_eq!(unheld.is_ok(), sentence.is_empty());
        holds(&original, &changed, &own).unwrap();
        match holds(&original, &original, &own) {
            Ok(()) => assert!(own.changes.is_empty()),
            Err(SurgeryError::NotAsClaimed {
                unexplained,
                missing,
            }) => {
                assert!(unexplained.is_empty());
                assert_eq!(missing, own.changes);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn floats_are_told_apart_by_their_bits() {
    let folder = tempfile::tempdir().unwrap();
    let original = rich(folder.path());
    let with = |value: f32| {
        let mut proto = original.proto.clone();
        at(proto.graph.as_mut().unwrap(), "half").attribute[0].f = Some(value);
        original.with_proto(proto)
    };
    let differ = |a: &Model, b: &Model| !differences(a, b).unwrap().is_empty();
    assert!(differ(&with(0.0), &with(-0.0)));
    assert!(!differ(&with(f32::NAN), &with(f32::NAN)));
}

#[test]
fn a_manifest_is_the_same_when_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let original = rich(folder.path());
    let mut editor = super::super::Editor::new(&original).unwrap();
    editor.rename("map", "features").unwrap();
    editor.keep(&["features"]).unwrap();
    editor.take_in().unwrap();
    editor.set_metadata("a", "b");
    let edited = editor.finish().unwrap();
    let json = serde_json::to_string_pretty(&edited.manifest).unwrap();
    assert!(json.contains(r#""what": "renamed""#), "{json}");
    let read: Manifest = serde_json::from_str(&json).unwrap();
    assert_eq!(read, edited.manifest);
    let bytes = edited.proto.encode_to_vec();
    let model = Model::decode(bytes.into(), original.path()).unwrap();
    holds(&original, &model, &read).unwrap();
}

#[test]
fn what_is_not_as_claimed_is_counted() {
    let original = model(&classifier());
    let mut proto = original.proto.clone();
    for tensor in &mut proto.graph.as_mut().unwrap().initializer {
        tensor.doc_string = Some("changed".to_owned());
    }
    let error = holds(&original, &decode(&proto), &Manifest::default()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("tensor `conv.weight`") && text.contains("and 6 more"),
        "{text}"
    );
    assert!(!error.is_bad_input());
}

#[test]
fn an_order_is_not_held_by_the_manifest_of_another() {
    let original = model(&classifier());
    let ordered = |order: [usize; 3]| {
        let mut proto = original.proto.clone();
        let tensors = &mut proto.graph.as_mut().unwrap().initializer;
        let first: Vec<_> = order.iter().map(|&i| tensors[i].clone()).collect();
        tensors.splice(..3, first);
        decode(&proto)
    };
    let (one, other) = (ordered([2, 0, 1]), ordered([2, 1, 0]));
    let manifest = Manifest {
        changes: differences(&original, &one).unwrap(),
    };
    assert_eq!(manifest.changes.len(), 2);
    holds(&original, &one, &manifest).unwrap();
    assert!(holds(&original, &other, &manifest).is_err());
}
