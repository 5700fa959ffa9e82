//! A model that was exported as it trains, as one that infers.
//!
//! Sources: <https://onnx.ai/onnx/operators/onnx__BatchNormalization.html>,
//! <https://onnx.ai/onnx/operators/onnx__Dropout.html>, and their older versions.

use std::collections::HashSet;

use crate::onnx::Model;
use crate::onnx::messages::{AttributeProto, GraphProto, NodeProto};

use super::SurgeryError;

/// The model with every BatchNormalization of data that takes the statistics of its batch taking those that it stores,
/// and with no Dropout that drops; and how many nodes that changed. What normalises weights (weight standardisation)
/// stays, as it stores nothing. A statistic or mask that another node reads stays as well, to be refused by name.
///
/// # Errors
/// When the file has fields that would be lost.
pub fn in_inference_mode(model: &Model) -> Result<(Model, usize), SurgeryError> {
    model.ensure_fully_known()?;
    let mut proto = model.proto.clone();
    let opset = model.opset();
    let graph = proto.graph.get_or_insert_default();
    let of_data = values_of_data(graph);
    let read: HashSet<String> = graph
        .node
        .iter()
        .flat_map(|node| node.input.iter().cloned())
        .chain(graph.output.iter().filter_map(|o| o.name.clone()))
        .collect();
    let mut changed = 0;
    for node in &mut graph.node {
        let is_of_data = node.input.first().is_some_and(|x| of_data.contains(x));
        let is_read = node.output.iter().skip(1).any(|o| read.contains(o));
        if is_of_data && !is_read && trains(node, opset) {
            infers(node, opset);
            changed += 1;
        }
    }
    Ok((model.with_proto(proto), changed))
}

/// The values that depend on an input of the graph which no initializer gives a value.
fn values_of_data(graph: &GraphProto) -> HashSet<String> {
    let weights: HashSet<&str> = graph.initializer.iter().map(|t| t.name()).collect();
    let inputs = graph.input.iter().filter_map(|input| input.name.clone());
    let mut of_data: HashSet<String> = inputs.filter(|n| !weights.contains(n.as_str())).collect();
    // Nodes may stand in any order.
    loop {
        let before = of_data.len();
        for node in &graph.node {
            if node.input.iter().any(|name| of_data.contains(name)) {
                of_data.extend(node.output.iter().filter(|o| !o.is_empty()).cloned());
            }
        }
        if of_data.len() == before {
            return of_data;
        }
    }
}

fn trains(node: &NodeProto, opset: i64) -> bool {
    match (node.op_type(), opset) {
        ("BatchNormalization", 14..) => attribute(node, "training_mode") == Some(1),
        ("BatchNormalization", 7..) => node.output.iter().filter(|o| !o.is_empty()).count() > 1,
        ("Dropout", 12..) => node.input.get(2).is_some_and(|name| !name.is_empty()),
        ("BatchNormalization" | "Dropout", ..7) => attribute(node, "is_test") != Some(1),
        _ => false,
    }
}

/// Makes a node that trains one that infers.
fn infers(node: &mut NodeProto, opset: i64) {
    let keep = |node: &mut NodeProto, name: &str| {
        node.attribute.retain(|a| a.name.as_deref() != Some(name));
    };
    keep(node, "training_mode");
    if node.op_type() == "Dropout" && opset >= 12 {
        // Without it a Dropout does nothing.
        node.input.truncate(2);
    }
    if opset < 7 {
        keep(node, "is_test");
        node.attribute.push(AttributeProto {
            name: Some("is_test".to_owned()),
            r#type: Some(2),
            i: Some(1),
            ..AttributeProto::default()
        });
    }
    node.output.truncate(1);
}

fn attribute(node: &NodeProto, name: &str) -> Option<i64> {
    let mut all = node.attribute.iter();
    all.find(|a| a.name.as_deref() == Some(name))?.i
}
