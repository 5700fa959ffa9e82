//! Nodes of opsets 1 to 6 are brought to opset 7: attributes that only told writers what is written where go,
//! and how the second operand of an addition meets the first is said by its dimensions.
//!
//! onnxruntime has few operators of these opsets; what else a model has of them it refuses when it is loaded.
//! Source: <https://github.com/onnx/onnx/blob/main/docs/Changelog.md>.

use std::collections::HashMap;

use crate::graph::operators::{Data, Elements, Mixing};
use crate::graph::{Attribute, Builder, Graph, GraphError, Node};
use crate::onnx::DataType;

use super::OLDEST;

/// Brings all nodes of an older graph to opset 7.
pub(super) fn raise(graph: &mut Graph) -> Result<(), GraphError> {
    let from = graph.opset;
    if !(OLDEST..7).contains(&from) {
        return Ok(());
    }
    let ranks = ranks(graph);
    let mut builder = Builder::new(graph);
    let nodes = std::mem::take(&mut builder.graph_mut().nodes);
    for mut node in nodes {
        if node.domain.is_empty() {
            adapt(&mut node, from, &ranks, &mut builder)?;
        }
        builder.graph_mut().nodes.push(node);
    }
    graph.opset = 7;
    Ok(())
}

fn adapt(
    node: &mut Node,
    from: i64,
    ranks: &HashMap<String, usize>,
    b: &mut Builder,
) -> Result<(), GraphError> {
    // Which input the output may overwrite.
    node.attributes.remove("consumed_inputs");
    if node.attributes.contains_key("broadcast") {
        broadcast(node, ranks, b)?;
    }
    match node.op_type.as_str() {
        "Concat" if from < 4 && !node.attributes.contains_key("axis") => {
            node.attributes.insert("axis".to_owned(), 1.into());
        }
        "Reshape" if from < 5 => {
            if let Some(shape) = node.ints("shape")? {
                let shape = b.ints(shape);
                node.inputs.truncate(1);
                node.inputs.push(shape);
                node.attributes.remove("shape");
            }
        }
        "Cast" if from < 6 => {
            let name = node.string("to", "")?;
            let mut types = (1..=16).filter_map(DataType::from_number);
            let dtype = types
                .find(|dtype| format!("{dtype:?}").eq_ignore_ascii_case(name))
                .ok_or_else(|| node.error(format!("its type `{name}` is not known")))?;
            node.attributes
                .insert("to".to_owned(), (dtype as i64).into());
        }
        "Pad" if from < 2 => {
            if let Some(pads) = node.attributes.remove("paddings") {
                node.attributes.insert("pads".to_owned(), pads);
            }
        }
        "Upsample" | "Tile" => {
            return Err(node.error(format!(
                "it cannot be raised from opset {from}; convert the model with onnx.version_converter"
            )));
        }
        _ if node.elements() == Elements::Dropped => {
            node.attributes.remove("is_test");
        }
        _ => {}
    }
    Ok(())
}

/// With `broadcast` the second operand met the axes of the first from `axis` on, or without it the last.
fn broadcast(
    node: &mut Node,
    ranks: &HashMap<String, usize>,
    b: &mut Builder,
) -> Result<(), GraphError> {
    let is_on = node.int("broadcast", 0)? != 0;
    let axis = node.int("axis", -1)?;
    let is_given = node.attributes.contains_key("axis");
    let elementwise = node
        .operator()
        .is_some_and(|o| o.mixing == Mixing::Elementwise);
    node.attributes.remove("broadcast");
    if !elementwise {
        return Ok(());
    }
    node.attributes.remove("axis");
    if !is_on || !is_given {
        return Ok(());
    }
    let rank = |index: usize| node.input(index).and_then(|name| ranks.get(name)).copied();
    let (Some(first), Some(second)) = (rank(0), rank(1)) else {
        return Err(node.error(
            "how its operands meet (`broadcast`, `axis`) cannot be told; convert the model with \
             onnx.version_converter",
        ));
    };
    let axis = if axis < 0 { axis + first as i64 } else { axis };
    let behind = first as i64 - axis - second as i64;
    if axis < 0 || behind < 0 {
        return Err(node.error(format!(
            "operands of {first} and {second} dimensions do not meet at axis {axis}"
        )));
    }
    if behind == 0 {
        return Ok(());
    }
    let axes: Vec<i64> = (second as i64..second as i64 + behind).collect();
    let operand = node.inputs[1].clone();
    let hint = format!("{}/operand", node.output(0).unwrap_or_default());
    let axes: Vec<(&str, Attribute)> = vec![("axes", axes.into())];
    node.inputs[1] = b.op(&hint, "Unsqueeze", &[&operand], axes);
    Ok(())
}

/// Ranks, as far as operators keep them.
fn ranks(graph: &Graph) -> HashMap<String, usize> {
    let inputs = graph.inputs.iter();
    let inputs = inputs.filter_map(|v| Some((v.name.clone(), v.dims.as_ref()?.len())));
    let tensors = graph.initializers.iter();
    let tensors = tensors.map(|(name, tensor)| (name.clone(), tensor.dims.len()));
    let mut ranks: HashMap<String, usize> = inputs.chain(tensors).collect();
    for node in &graph.nodes {
        let of = |name: &str| ranks.get(name).copied();
        let first = node.input(0).and_then(of);
        let rank = match node.operator() {
            _ if node.is("Gemm") || node.is("Flatten") => Some(2),
            Some(o) if o.data != Data::Any => first,
            Some(o) if o.mixing == Mixing::Elementwise || o.elements.is_copy() => first,
            Some(o) if o.name == "Concat" => first,
            _ => None,
        };
        if let Some(rank) = rank {
            ranks.extend(node.present_outputs().map(|o| (o.to_owned(), rank)));
        }
    }
    ranks
}
