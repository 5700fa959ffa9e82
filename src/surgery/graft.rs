//! Replacing what follows the feature map by a new head.

use std::collections::HashSet;

use crate::graph::{Dim, Graph, Node, Value, value_to_proto};
use crate::onnx::messages::{AttributeProto, GraphProto, NodeProto, TypeValue, ValueInfoProto};
use crate::onnx::{DataType, Model};

use super::head::{self, HeadKind, HeadSpec};
use super::{SurgeryError, keep};

/// The backbone's last feature map, of which a head makes its decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// Name of the value in the model: [N, channels, height, width], or [N, height, width,
    /// channels], or with one pixel also [N, channels].
    pub value: String,
    /// Number of channels.
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Whether the channels come last.
    pub nhwc: bool,
}

/// Where training applies dropout. The emitted model has no node for that of a new head.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropout {
    /// The value of the grafted graph to apply it to, [N, width].
    pub value: String,
    /// Share of the values that is dropped, in (0, 1).
    pub ratio: f32,
    /// Width of the value.
    pub width: usize,
}

/// A model with its head in place.
#[derive(Debug)]
pub struct Grafted {
    /// The model; what training does not change in it is what will be emitted.
    pub model: Model,
    /// Initializers (or constants, by their output) of the head that are to be trained, in the
    /// order of its layers.
    pub head_parameters: Vec<String>,
    /// Where training applies dropout.
    pub dropout: Vec<Dropout>,
    /// The output with one value per class, [N, classes].
    pub output: String,
}

/// Replaces everything after the feature map by a new head, or with [`HeadKind::Keep`] names the
/// parameters of the head that is there.
///
/// Nodes, initializers, graph inputs of initializers (IR 3) and value infos that no longer serve
/// the output are removed; all others stay as they are, in the same order, and the head's nodes
/// and initializers come last. The grafted model has one output: `probabilities`, [N, classes], in
/// the element type of the features. Weights of the head are [inputs, outputs], drawn Glorot-uniform
/// from a [stream](crate::random) of the seed; biases are zero.
///
/// # Errors
/// When the model has fields that would be lost on writing, or the feature map, head or number of
/// classes does not fit it.
pub fn graft(
    model: &Model,
    features: Option<&Features>,
    spec: &HeadSpec,
) -> Result<Grafted, SurgeryError> {
    // The changed copy no longer knows the original's bytes, so this is the moment to ask.
    model.ensure_fully_known()?;
    spec.check()?;
    if spec.kind == HeadKind::Keep {
        return keep::keep(model, features, spec.classes);
    }
    let Some(features) = features else {
        return Err(SurgeryError::Spec(format!(
            "a new head (`{}`) needs a feature map, and none was found",
            spec.kind
        )));
    };
    if model.opset() < 7 {
        return Err(SurgeryError::Opset(model.opset()));
    }

    let graph = Graph::from_model(model)?;
    let dtype = float_type(&graph, model.graph(), features)?;
    let backbone = backbone(graph, &features.value)?;
    let batch = batch(&backbone.inputs);

    let mut proto = model.proto.clone();
    let Some(graph) = proto.graph.as_mut() else {
        return Err(SurgeryError::NoOutput);
    };
    remove_dead(graph, &backbone);
    graph.output.clear();
    let mut taken = HashSet::new();
    collect_names(graph, &mut taken, 0);
    let head = head::build(features, spec, dtype, taken)?;

    let head_parameters = head.parameters.iter().map(|(n, _)| n.clone()).collect();
    // Before IR 4 every initializer is a graph input, too.
    let listed = proto.ir_version.unwrap_or(0) < 4;
    for (name, tensor) in &head.parameters {
        graph.initializer.push(tensor.to_proto(name));
        if listed {
            let value = Value::fixed(name, tensor.dtype, &tensor.dims);
            graph.input.push(value_to_proto(&value));
        }
    }
    graph.node.extend(head.nodes.iter().map(Node::to_proto));
    graph.output.push(value_to_proto(&Value {
        name: head.output.clone(),
        dtype,
        dims: Some(vec![batch, Dim::Known(spec.classes)]),
    }));
    Ok(Grafted {
        model: model.with_proto(proto),
        head_parameters,
        dropout: head.dropout,
        output: head.output,
    })
}

/// The part of the graph that computes `value`.
fn backbone(mut graph: Graph, value: &str) -> Result<Graph, SurgeryError> {
    let exists = graph.producers().contains_key(value)
        || graph.inputs.iter().any(|i| i.name == value)
        || graph.initializers.contains_key(value);
    if !exists {
        return Err(SurgeryError::NoFeatures {
            value: value.to_owned(),
        });
    }
    graph.outputs = vec![Value {
        name: value.to_owned(),
        dtype: DataType::Float,
        dims: None,
    }];
    graph.prune();
    Ok(graph)
}

/// Removes from `graph` what is not in `backbone`. Inputs that are no initializers stay.
fn remove_dead(graph: &mut GraphProto, backbone: &Graph) {
    let alive: HashSet<&str> = backbone
        .nodes
        .iter()
        .flat_map(Node::present_outputs)
        .collect();
    let lives = |n: &NodeProto| n.output.iter().any(|o| alive.contains(o.as_str()));
    let mut dead: HashSet<String> = HashSet::new();
    for node in graph.node.iter().filter(|n| !lives(n)) {
        dead.extend(node.output.iter().cloned());
    }
    let named = |name: &Option<String>| name.clone().unwrap_or_default();
    for tensor in &graph.initializer {
        if !backbone.initializers.contains_key(&named(&tensor.name)) {
            dead.insert(named(&tensor.name));
        }
    }
    graph.node.retain(lives);
    graph
        .initializer
        .retain(|t| !dead.contains(&named(&t.name)));
    graph.input.retain(|v| !dead.contains(&named(&v.name)));
    graph.value_info.retain(|v| !dead.contains(&named(&v.name)));
    graph
        .quantization_annotation
        .retain(|a| !dead.contains(&named(&a.tensor_name)));
}

/// Every name that a new value could clash with, those of inner graphs and of nodes included.
fn collect_names(graph: &GraphProto, into: &mut HashSet<String>, depth: usize) {
    if depth > 32 {
        return;
    }
    let infos = graph
        .input
        .iter()
        .chain(&graph.output)
        .chain(&graph.value_info);
    into.extend(infos.filter_map(|v| v.name.clone()));
    into.extend(graph.initializer.iter().filter_map(|t| t.name.clone()));
    for node in &graph.node {
        into.extend(node.name.clone());
        into.extend(node.output.iter().cloned());
        for AttributeProto { g, graphs, .. } in &node.attribute {
            for inner in g.iter().map(|g| &**g).chain(graphs) {
                collect_names(inner, into, depth + 1);
            }
        }
    }
}

/// The first dimension of the first input of four dimensions, or else of the first input.
fn batch(inputs: &[Value]) -> Dim {
    let dims = |v: &Value| v.dims.clone().unwrap_or_default();
    inputs
        .iter()
        .map(dims)
        .find(|d| d.len() == 4)
        .or_else(|| inputs.first().map(dims))
        .and_then(|d| d.into_iter().next())
        .unwrap_or(Dim::Symbolic(String::new()))
}

/// The element type of the features: as declared, or else as that of the weights before them.
fn float_type(
    graph: &Graph,
    declared: &GraphProto,
    features: &Features,
) -> Result<DataType, SurgeryError> {
    let producers = graph.producers();
    let mut value = features.value.as_str();
    let mut found = DataType::Float;
    // Every step goes to an earlier node.
    for _ in 0..=graph.nodes.len() {
        if let Some(dtype) = declared_type(declared, value) {
            found = dtype;
            break;
        }
        let Some(node) = producers.get(value).map(|&i| &graph.nodes[i]) else {
            break;
        };
        if node.is("Cast") {
            let number = i32::try_from(node.int("to", 1)?).unwrap_or(0);
            found = DataType::from_number(number).unwrap_or(found);
            break;
        }
        let weight = node
            .present_inputs()
            .filter_map(|i| graph.initializers.get(i))
            .find(|t| t.dtype.is_float());
        if let Some(tensor) = weight {
            found = tensor.dtype;
            break;
        }
        match node.present_inputs().next() {
            Some(input) => value = input,
            None => break,
        }
    }
    if !found.is_float() {
        return Err(SurgeryError::FeatureType {
            value: features.value.clone(),
            dtype: found,
        });
    }
    Ok(found)
}

fn declared_type(graph: &GraphProto, value: &str) -> Option<DataType> {
    let is_it = |v: &&ValueInfoProto| v.name.as_deref() == Some(value);
    let info = graph
        .value_info
        .iter()
        .chain(&graph.input)
        .chain(&graph.output)
        .find(is_it)?;
    match info.r#type.as_ref()?.value.as_ref()? {
        TypeValue::Tensor(t) => DataType::from_number(t.elem_type?),
        _ => None,
    }
}
