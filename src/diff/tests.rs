//! Every kind of difference is told, and nothing else.

use crate::onnx::messages::{GraphProto, ModelProto, NodeProto};
use crate::onnx::{Model, Tensor, set_metadata};
use crate::surgery::edit::tests::rich::{entry, rich};
use crate::surgery::{Part, What, differences};

use super::*;

fn at<'g>(graph: &'g mut GraphProto, output: &str) -> &'g mut NodeProto {
    let mut nodes = graph.node.iter_mut();
    nodes.find(|n| n.output[0] == output).unwrap()
}

fn branch(graph: &mut GraphProto) -> &mut GraphProto {
    at(graph, "chosen").attribute[0].g.as_mut().unwrap()
}

/// What a difference tells, a line for each.
fn told(diff: &Diff) -> Vec<String> {
    let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let change = |c: &Change| format!("{} {} -> {}", c.field, word(&c.before), word(&c.after));
    let within = |scope: &[String]| scope.iter().map(|s| format!("{s}: ")).collect::<String>();
    let changes = |list: &[Change]| list.iter().map(change).collect::<Vec<_>>().join("; ");
    let fields = diff.fields.iter();
    let fields = fields.map(|f| format!("{}{}", within(&f.scope), change(&f.change)));
    let nodes = diff.nodes.iter().map(|n| {
        let (scope, what) = (within(&n.scope), format!("{:?}", n.what));
        let text = format!(
            "{scope}{what} {} ({}) {}",
            n.name,
            n.op_type,
            changes(&n.changes)
        );
        text.trim_end().to_owned()
    });
    let tensors = diff.tensors.iter().map(|t| {
        let (scope, what) = (within(&t.scope), format!("{:?}", t.what));
        let values = t
            .values
            .as_ref()
            .map(|v| format!("{} of {}", v.changed, v.elements));
        let values = values.unwrap_or_default();
        let text = format!("{scope}{what} {} {}{values}", t.name, changes(&t.changes));
        text.trim_end().to_owned()
    });
    let renamed = diff
        .renamed
        .iter()
        .map(|r| format!("{}{:?} {} => {}", within(&r.scope), r.kind, r.from, r.to));
    fields.chain(nodes).chain(tensors).chain(renamed).collect()
}

type Edit = fn(&mut ModelProto, &mut GraphProto);

fn edited(original: &Model, edit: Edit) -> Model {
    let mut proto = original.proto.clone();
    let mut graph = proto.graph.take().unwrap();
    edit(&mut proto, &mut graph);
    proto.graph = Some(graph);
    original.with_proto(proto)
}

#[rustfmt::skip]
const EDITS: [(Edit, &[&str]); 36] = [
    (|_, _| (), &[]),
    (|p, _| p.metadata_props.reverse(), &[]),
    (|p, _| p.ir_version = Some(8), &["ir_version 9 -> 8"]),
    (|p, _| p.producer_name = None, &["producer_name ftsurgery -> -"]),
    (|p, _| p.domain = Some("d".into()), &["domain - -> d"]),
    (|p, _| p.model_version = Some(2), &["model_version - -> 2"]),
    (|p, _| p.doc_string = None, &["doc_string all there is -> -"]),
    (|p, _| p.training_info.push(Default::default()), &["training_info - -> 1"]),
    (|p, _| p.opset_import[0].version = Some(18), &["opset `ai.onnx` 17 -> 18"]),
    (|p, _| drop(p.opset_import.pop()), &["opset `local` 1 -> -"]),
    (|p, _| set_metadata(p, "classes", "4"), &["metadata `classes` 3 -> 4"]),
    (|p, _| set_metadata(p, "new", "4"), &["metadata `new` - -> 4"]),
    (|p, _| drop(p.functions.pop()), &["function `local:Double` 0 nodes -> -"]),
    (|p, _| p.functions[0].node[1].op_type = Some("Add".into()), &["function `local:Double`: Changed b (Mul) operator Mul -> Add"]),
    (|_, g| g.name = Some("other".into()), &["graph.name ftsurgery -> other"]),
    (|_, g| g.metadata_props.push(entry("a", "b")), &["graph metadata `a` - -> b"]),
    (|_, g| drop(g.output.pop()), &["output `side` float32[batch, 2, 8, 8] -> -"]),
    (|_, g| g.value_info.swap(0, 1), &["order: noted type of map, flat -> flat, map"]),
    (|_, g| drop(g.quantization_annotation.pop()), &["quantisation annotation of `map` `SCALE_TENSOR`: `bn.scale` -> -"]),
    (|_, g| g.node[0].name = Some("other".into()), &["Node conv => other"]),
    (|_, g| at(g, "chosen").metadata_props.clear(), &["Changed choice (If) metadata `namespace` gate -> -"]),
    (|_, g| drop(g.node.pop()), &["Removed probabilities (Softmax)"]),
    (|_, g| g.node.insert(1, g.node[0].clone()), &["Added conv (Conv)"]),
    (|_, g| g.node.swap(8, 9), &[]),
    (|_, g| at(g, "half").attribute[0].f = Some(0.75), &["Changed half 1 of 1"]),
    (|_, g| branch(g).initializer[0].dims = vec![1, 1], &["`then_branch` of node `choice`: Changed then.weight dimensions [1] -> [1, 1]"]),
    (|_, g| branch(g).node[0].input.swap(0, 1), &["`then_branch` of node `choice`: Changed then.weight/sum (Add) input 0 map -> then.weight; input 1 then.weight -> map"]),
    (|_, g| g.initializer[1].float_data[0] = 9.0, &["Changed conv.bias 1 of 4"]),
    (|_, g| g.initializer[1].float_data[0] = f32::NAN, &["Changed conv.bias 1 of 4"]),
    (|_, g| g.sparse_initializer[0].dims = vec![5], &["Changed sparse dimensions [4] -> [5]"]),
    (|_, g| { let pool = g.node.iter_mut().find(|n| n.op_type() == "GlobalAveragePool"); pool.unwrap().op_type = Some("GlobalMaxPool".into()) }, &["Changed pool (GlobalAveragePool) operator GlobalAveragePool -> GlobalMaxPool"]),
    (|_, g| g.node[0].attribute[0].ints = vec![2, 2], &["Changed conv (Conv) attribute `pads` [1, 1, 1, 1] -> [2, 2]"]),
    (|_, g| g.initializer[0].doc_string = Some("a".into()), &["Changed conv.weight doc_string - -> a"]),
    (|_, g| { let node = at(g, "half"); node.attribute[0] = crate::graph::Node::new("", "Constant", &[], &["half"]).with("value", Tensor::scalar_f32(0.5)).to_proto().attribute[0].clone(); }, &["Changed half kind `value_float` of a Constant -> `value` of a Constant"]),
    (|_, g| { g.node.retain(|n| n.output[0] != "half"); g.initializer.push(Tensor::scalar_f32(0.5).to_proto("half")); }, &["Changed half kind `value_float` of a Constant -> initializer"]),
    (|_, g| g.initializer.swap(2, 3), &["order: initializers"]),
];

#[test]
fn every_kind_of_difference_is_told_by_what_it_was_and_is() {
    let folder = tempfile::tempdir().unwrap();
    let original = rich(folder.path());
    let mut wrong = Vec::new();
    for (edit, expected) in EDITS {
        let other = edited(&original, edit);
        let lines = told(&diff(&original, &other).unwrap());
        let pairs = lines.iter().zip(expected);
        let same =
            lines.len() == expected.len() && pairs.into_iter().all(|(a, b)| a.starts_with(b));
        if !same {
            wrong.push(format!("{lines:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_manifest_of_an_edit_would_tell_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let original = rich(folder.path());
    for (edit, expected) in EDITS {
        let other = edited(&original, edit);
        let of_order = |part: Part, what: &What| {
            // Constants have no place among the nodes here.
            part == Part::Node && matches!(what, What::Moved { .. })
        };
        let mut found = differences(&original, &other).unwrap();
        found.retain(|d| !of_order(d.part, &d.what));
        assert_eq!(
            found.is_empty(),
            expected.is_empty(),
            "{expected:?} {found:?}"
        );
    }
}
