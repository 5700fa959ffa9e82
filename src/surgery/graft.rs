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

/// Where training applies dropout. The emitted model has no node for it.
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
/// from ChaCha8 with the seed; biases are zero.
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

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{export, untouched_is_identical};
    use super::*;
    use crate::graph::Attribute;
    use crate::onnx::messages::ModelProto;

    fn map() -> Features {
        features("map", 4, 8, 8)
    }

    fn grafted(graph: &Graph, features: &Features, kind: HeadKind) -> Grafted {
        graft(&model(graph), Some(features), &HeadSpec::new(kind, 5, 1)).unwrap()
    }

    fn names(proto: &ModelProto) -> Vec<String> {
        let graph = proto.graph.as_ref().unwrap();
        let nodes = graph.node.iter().filter_map(|n| n.name.clone());
        nodes
            .chain(graph.initializer.iter().filter_map(|t| t.name.clone()))
            .collect()
    }

    #[test]
    fn the_old_head_goes_and_everything_else_stays_as_it_was() {
        let original = model(&classifier());
        let grafted = grafted(&classifier(), &map(), HeadKind::Linear);
        assert_eq!(
            names(&grafted.model.proto),
            [
                "conv",
                "bn",
                "map",
                "ftsurgery/head/pool",
                "ftsurgery/head/flatten",
                "ftsurgery/head/logits",
                "ftsurgery/head/softmax",
                "conv.weight",
                "conv.bias",
                "bn.scale",
                "bn.bias",
                "bn.mean",
                "bn.var",
                "ftsurgery/head/logits/weight",
                "ftsurgery/head/logits/bias",
            ]
        );
        let graph = grafted.model.graph();
        assert_eq!(
            graph.output,
            [value_to_proto(&value("probabilities", &[0, 5]))]
        );
        untouched_is_identical(&original, &grafted.model, &grafted.head_parameters).unwrap();
        Graph::from_model(&grafted.model).unwrap();
    }

    #[test]
    fn the_paper_head_has_its_layers_and_its_dropout_after_the_first() {
        let grafted = grafted(&classifier(), &map(), HeadKind::Paper);
        let graph = Graph::from_model(&grafted.model).unwrap();
        let ops: Vec<&str> = graph.nodes[3..]
            .iter()
            .map(|n| n.op_type.as_str())
            .collect();
        assert_eq!(ops, ["Flatten", "Gemm", "Gemm", "Relu", "Gemm", "Softmax"]);
        let dims: Vec<&[usize]> = grafted
            .head_parameters
            .iter()
            .map(|p| graph.initializers[p].dims.as_slice())
            .collect();
        let expected: [&[usize]; 6] = [&[256, 128], &[128], &[128, 64], &[64], &[64, 5], &[5]];
        assert_eq!(dims, expected);
        assert_eq!(
            grafted.dropout,
            [Dropout {
                value: graph.nodes[4].outputs[0].clone(),
                ratio: 0.5,
                width: 128
            }]
        );
    }

    #[test]
    fn first_weights_are_glorot_uniform_and_depend_on_the_seed_alone() {
        let weights = |graph: &Graph, value: &str, seed| {
            let spec = HeadSpec::new(HeadKind::Linear, 5, seed);
            let grafted = graft(&model(graph), Some(&features(value, 4, 8, 8)), &spec).unwrap();
            let graph = Graph::from_model(&grafted.model).unwrap();
            graph.initializers[&grafted.head_parameters[0]]
                .to_f32()
                .unwrap()
        };
        let mut other = classifier();
        other.nodes[3].name = "another".to_owned();
        let first = weights(&classifier(), "map", 1);
        assert_eq!(first, weights(&other, "bn", 1));
        assert_ne!(first, weights(&classifier(), "map", 2));
        let limit = (6.0f32 / 9.0).sqrt();
        assert!(first.iter().all(|w| w.abs() <= limit));
        assert!(first.iter().any(|w| w.abs() > limit / 2.0));
    }

    #[test]
    fn channels_last_features_are_pooled_over_space() {
        let mut graph = classifier();
        graph.nodes.truncate(3);
        graph.nodes.push(
            Node::new("last", "Transpose", &["map"], &["last"])
                .with("perm", Attribute::Ints(vec![0, 2, 3, 1])),
        );
        graph.outputs = vec![value("last", &[0, 8, 8, 4])];
        let x = numbers(2 * 3 * 64, 3);
        let first = grafted(&graph, &map(), HeadKind::Linear);
        let mut last = features("last", 4, 8, 8);
        last.nhwc = true;
        let second = grafted(&graph, &last, HeadKind::Linear);
        let run = |g: &Grafted| run(&g.model.proto, &[(&[2, 3, 8, 8], &x)]).remove(0);
        assert_close(&run(&first), &run(&second));
    }

    #[test]
    fn names_that_are_taken_are_left_alone() {
        let mut graph = classifier();
        graph.replace_uses("conv.weight", "ftsurgery/head/logits");
        let tensor = graph.initializers.shift_remove("conv.weight").unwrap();
        graph
            .initializers
            .insert("ftsurgery/head/logits".into(), tensor);
        graph.nodes[0].outputs[0] = "probabilities".to_owned();
        graph.nodes[1].inputs[0] = "probabilities".to_owned();
        graph.nodes[7].outputs[0] = "p".to_owned();
        graph.outputs[0].name = "p".to_owned();
        let grafted = grafted(&graph, &map(), HeadKind::Linear);
        assert_eq!(grafted.output, "probabilities_2");
        Graph::from_model(&grafted.model).unwrap();
        untouched_is_identical(&model(&graph), &grafted.model, &grafted.head_parameters).unwrap();
    }

    #[test]
    fn a_second_head_replaces_the_first_under_the_same_names() {
        let first = grafted(&classifier(), &map(), HeadKind::Linear);
        let spec = HeadSpec::new(HeadKind::Linear, 7, 1);
        let second = graft(&first.model, Some(&map()), &spec).unwrap();
        assert_eq!(names(&first.model.proto), names(&second.model.proto));
        untouched_is_identical(&first.model, &second.model, &second.head_parameters).unwrap();
    }

    #[test]
    fn before_ir_4_initializers_are_listed_as_inputs() {
        let mut proto = proto(&classifier());
        proto.ir_version = Some(3);
        let graph = proto.graph.as_mut().unwrap();
        let listed: Vec<ValueInfoProto> = classifier()
            .initializers
            .iter()
            .map(|(n, t)| value_to_proto(&Value::fixed(n, t.dtype, &t.dims)))
            .collect();
        graph.input.extend(listed);
        let original = decode(&proto);
        let spec = HeadSpec::new(HeadKind::Linear, 5, 1);
        let grafted = graft(&original, Some(&map()), &spec).unwrap();
        let graph = grafted.model.graph();
        let inputs: Vec<_> = graph.input[1..].iter().map(|v| &v.name).collect();
        let weights: Vec<_> = graph.initializer.iter().map(|t| &t.name).collect();
        assert_eq!(inputs, weights);
        untouched_is_identical(&original, &grafted.model, &grafted.head_parameters).unwrap();
    }

    #[test]
    fn the_head_has_the_element_type_of_the_features() {
        let mut graph = classifier();
        for tensor in graph.initializers.values_mut() {
            let half = crate::onnx::Tensor {
                dtype: DataType::Float16,
                dims: tensor.dims.clone(),
                data: vec![0; 2 * tensor.len()].into(),
            };
            *tensor = half.with_f32_values(&tensor.to_f32().unwrap()).unwrap();
        }
        let grafted = grafted(&graph, &map(), HeadKind::Linear);
        let types: HashSet<Option<i32>> = grafted
            .model
            .graph()
            .initializer
            .iter()
            .map(|t| t.data_type)
            .collect();
        assert_eq!(types, HashSet::from([Some(DataType::Float16 as i32)]));
    }

    #[test]
    fn keep_names_the_weights_after_the_feature_map() {
        let original = model(&classifier());
        let spec = HeadSpec::new(HeadKind::Keep, 3, 1);
        let kept = graft(&original, Some(&map()), &spec).unwrap();
        assert_eq!(
            kept.head_parameters,
            ["side.weight", "fc.weight", "fc.bias"]
        );
        assert_eq!(kept.output, "probabilities");
        assert_eq!(kept.model.proto, original.proto);
        let blind = graft(&original, None, &spec).unwrap();
        assert!(blind.head_parameters.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let original = model(&classifier());
        let fail = |features: Option<&Features>, spec: HeadSpec| {
            graft(&original, features, &spec).unwrap_err().to_string()
        };
        let spec = |kind, classes| HeadSpec::new(kind, classes, 1);
        let keep = fail(None, spec(HeadKind::Keep, 5));
        assert!(
            keep.contains("`probabilities` has 3 classes, the data set 5"),
            "{keep}"
        );
        let nowhere = features("nowhere", 4, 8, 8);
        assert!(fail(Some(&nowhere), spec(HeadKind::Paper, 5)).contains("`nowhere`"));
        assert!(fail(None, spec(HeadKind::Paper, 5)).contains("paper"));
        assert!(fail(Some(&map()), spec(HeadKind::Paper, 1)).contains("1 classes"));
        let mut wet = spec(HeadKind::Paper, 5);
        wet.dropout = 1.0;
        assert!(fail(Some(&map()), wet).contains("dropout 1"));
    }

    #[test]
    fn a_model_newer_than_the_schema_is_refused() {
        let mut bytes = crate::onnx::encode(&proto(&classifier())).unwrap();
        bytes.extend([0xf8, 0x07, 1]); // field 127, varint 1
        let original = Model::decode(bytes.into(), std::path::Path::new("new.onnx")).unwrap();
        let spec = HeadSpec::new(HeadKind::Linear, 5, 1);
        let error = graft(&original, Some(&map()), &spec).unwrap_err();
        assert!(error.to_string().contains("field 127"), "{error}");
        assert!(export(&original, &[], &[]).is_err());
    }

    #[test]
    fn shared_models_take_every_head_and_keep_everything_else() {
        for (path, features, size) in shared_models() {
            let original = Model::open(&path).unwrap();
            for kind in [HeadKind::Linear, HeadKind::Paper] {
                let spec = HeadSpec::new(kind, 5, 1);
                let grafted = graft(&original, Some(&features), &spec).unwrap();
                untouched_is_identical(&original, &grafted.model, &grafted.head_parameters)
                    .unwrap();
                let Some(size) = size else { continue };
                let x = numbers(2 * 3 * size * size, 1);
                let outputs = run(&grafted.model.proto, &[(&[2, 3, size, size], &x)]);
                let sums: Vec<f32> = outputs[0].chunks(5).map(|row| row.iter().sum()).collect();
                assert_close(&sums, &[1.0, 1.0]);
            }
        }
    }
}
