//! Tests of grafting.

use std::collections::HashSet;

use crate::graph::{Attribute, Graph, Node, Value, value_to_proto};
use crate::onnx::messages::{ModelProto, ValueInfoProto};
use crate::onnx::{DataType, Model};

use super::testing::*;
use super::{Dropout, Editor, Features, Grafted, HeadKind, HeadSpec, graft, holds};
use crate::testing::only_tuned;

fn map() -> Features {
    features("map", 4, 8, 8)
}

fn grafted(graph: &Graph, features: &Features, kind: HeadKind) -> Grafted {
    let original = model(graph);
    let grafted = graft(&original, Some(features), &HeadSpec::new(kind, 5, 1)).unwrap();
    holds(&original, &grafted.model, &grafted.manifest).unwrap();
    grafted
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
    only_tuned(&original, &grafted.model, &grafted.head_parameters).unwrap();
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
    only_tuned(&model(&graph), &grafted.model, &grafted.head_parameters).unwrap();
}

#[test]
fn a_second_head_replaces_the_first_under_the_same_names() {
    let first = grafted(&classifier(), &map(), HeadKind::Linear);
    let spec = HeadSpec::new(HeadKind::Linear, 7, 1);
    let second = graft(&first.model, Some(&map()), &spec).unwrap();
    assert_eq!(names(&first.model.proto), names(&second.model.proto));
    only_tuned(&first.model, &second.model, &second.head_parameters).unwrap();
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
    only_tuned(&original, &grafted.model, &grafted.head_parameters).unwrap();
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
    // What leads to the other output has no part in the class scores.
    assert_eq!(kept.head_parameters, ["fc.weight", "fc.bias"]);
    assert_eq!(kept.output, "probabilities");
    assert_eq!(kept.model.proto, original.proto);
    let blind = graft(&original, None, &spec).unwrap();
    assert!(blind.head_parameters.is_empty());
}

#[test]
fn the_classes_of_a_convolutional_classifier_are_its_channels() {
    let mut graph = classifier();
    graph.outputs = vec![value("map", &[0, 4, 1, 1])];
    let model = model(&graph);
    for (classes, fits) in [(4, true), (5, false)] {
        let spec = HeadSpec::new(HeadKind::Keep, classes, 1);
        assert_eq!(graft(&model, None, &spec).is_ok(), fits, "{classes}");
    }
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
    assert!(Editor::new(&original).is_err());
}

#[test]
fn shared_models_take_every_head_and_keep_everything_else() {
    for (path, features, size) in shared_models() {
        let original = Model::open(&path).unwrap();
        for kind in [HeadKind::Linear, HeadKind::Paper] {
            let spec = HeadSpec::new(kind, 5, 1);
            let grafted = graft(&original, Some(&features), &spec).unwrap();
            only_tuned(&original, &grafted.model, &grafted.head_parameters).unwrap();
            let Some(size) = size else { continue };
            let x = numbers(2 * 3 * size * size, 1);
            let outputs = run(&grafted.model.proto, &[(&[2, 3, size, size], &x)]);
            let sums: Vec<f32> = outputs[0].chunks(5).map(|row| row.iter().sum()).collect();
            assert_close(&sums, &[1.0, 1.0]);
        }
    }
}

#[test]
fn a_head_that_no_file_could_hold_is_refused_before_it_takes_memory() {
    let model = model(&classifier());
    let wide = features("map", 4, 1 << 40, 8);
    let spec = HeadSpec::new(HeadKind::Paper, 5, 1);
    let error = graft(&model, Some(&wide), &spec).unwrap_err();
    assert!(error.to_string().contains("2 GiB"), "{error}");
}
