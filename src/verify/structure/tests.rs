//! Faults of every kind are told by name, and what is well-formed passes.

use super::*;
use crate::onnx::messages::{GraphProto, ModelProto, NodeProto};
use crate::surgery::edit::tests::rich::{entry, old, rich};

fn at<'g>(graph: &'g mut GraphProto, output: &str) -> &'g mut NodeProto {
    let mut nodes = graph.node.iter_mut();
    nodes.find(|n| n.output[0] == output).unwrap()
}

fn branch(graph: &mut GraphProto) -> &mut GraphProto {
    at(graph, "chosen").attribute[0].g.as_mut().unwrap()
}

type Edit = fn(&mut ModelProto, &mut GraphProto);

#[rustfmt::skip]
const EDITS: [(Edit, Rule, &str); 19] = [
    (|p, _| p.ir_version = None, Rule::Header, "it has no `ir_version`"),
    (|p, _| p.ir_version = Some(99), Rule::Header, "its `ir_version` 99 is newer than 14"),
    (|p, _| p.metadata_props.push(entry("classes", "x")), Rule::Header, "its metadata have `classes` more than once"),
    (|p, _| drop(p.opset_import.pop()), Rule::Operator, "node `call` (Double) is of the operator set `local`, which is not imported"),
    (|p, _| p.functions[0].node[1].input[0] = "c".into(), Rule::Order, "in function `local:Double`: node `b` (Mul) reads `c`, which is nowhere"),
    (|p, _| p.functions.push(p.functions[0].clone()), Rule::Function, "there is more than one function `local:Double`"),
    (|_, g| g.name = None, Rule::Name, "the graph has no name"),
    (|_, g| g.initializer.push(g.initializer[3].clone()), Rule::Name, "there is more than one initializer `bn.bias`"),
    (|_, g| g.node[0].op_type = Some("Cov".into()), Rule::Operator, "node `conv` (Cov): the operator is not known in version 17"),
    (|_, g| drop(g.node[0].input.drain(1..)), Rule::Arity, "node `conv` (Conv) has 1 inputs; its operator has 2 to 3"),
    (|_, g| g.node[0].attribute[0].name = Some("pad".into()), Rule::Attribute, "node `conv` (Conv) has the attribute `pad`, which its operator does not know"),
    (|_, g| g.node[0].attribute[0].r#type = Some(2), Rule::Attribute, "node `conv` (Conv): its attribute `pads` of type int has a value of type ints"),
    (|_, g| g.input[0].r#type = None, Rule::Type, "the input `x` has no type"),
    (|_, g| g.initializer[1].float_data.truncate(3), Rule::Tensor, "the initializer `conv.bias` has 3 entries of `float_data`, and its dimensions come to 4"),
    (|_, g| g.initializer[0].external_data[2].value = Some("12".into()), Rule::Tensor, "the initializer `conv.weight`: tensor `conv.weight`: dimensions [4, 3, 3, 3] of Float do not fit 12 bytes"),
    (|_, g| g.initializer[0].external_data[0].value = Some("../weights".into()), Rule::Tensor, "the initializer `conv.weight`: tensor `conv.weight` has external data at `../weights`"),
    (|_, g| branch(g).node[0].input[1] = "nowhere".into(), Rule::Order, "in `then_branch` of node `choice` (If): node `then.weight/sum` (Add) reads `nowhere`, which is nowhere"),
    (|_, g| branch(g).output.clear(), Rule::Arity, "node `choice` (If) has 1 outputs, and its branches have 0 and 1"),
    (|_, g| g.sparse_initializer[0].dims.clear(), Rule::Tensor, "the sparse initializer `sparse` has values of dimensions [2] with indices of [2] for dimensions []"),
];

#[test]
fn faults_of_every_kind_are_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let original = rich(folder.path());
    assert_eq!(structure(&original).faults, []);
    assert_eq!(structure(&old()).faults, []);
    for (edit, rule, expected) in EDITS {
        let mut proto = original.proto.clone();
        let mut graph = proto.graph.take().unwrap();
        edit(&mut proto, &mut graph);
        proto.graph = Some(graph);
        let faults = structure(&original.with_proto(proto)).faults;
        let first = faults
            .first()
            .unwrap_or_else(|| panic!("no fault: {expected}"));
        assert!(
            first.to_string().starts_with(expected),
            "{first}\n{expected}"
        );
        assert_eq!(first.rule, rule, "{first}");
    }
}
