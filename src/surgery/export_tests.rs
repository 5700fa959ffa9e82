//! Tests of exporting.

use std::collections::HashMap;

use prost::Message;

use super::testing::*;
use super::{Editor, HeadKind, HeadSpec, SurgeryError, graft, holds};
use crate::graph::Node;
use crate::onnx::messages::{ModelProto, StringStringEntryProto, TensorProto};
use crate::onnx::{DataType, Model, Tensor, encode, is_external};
use crate::testing::only_tuned;

fn tensor(model: &ModelProto, name: &str) -> Tensor {
    let graph = model.graph.as_ref().unwrap();
    let is_it = |t: &&TensorProto| t.name.as_deref() == Some(name);
    Tensor::from_proto(graph.initializer.iter().find(is_it).unwrap()).unwrap()
}

/// The model that leaves, held against its manifest.
fn export(
    original: &Model,
    tuned: &[(String, Vec<f32>)],
    metadata: &[(&str, String)],
) -> Result<ModelProto, SurgeryError> {
    let edited = super::export(Editor::new(original)?, tuned, metadata)?;
    holds(original, &decode(&edited.proto), &edited.manifest)?;
    Ok(edited.proto)
}

fn one(name: &str, values: Vec<f32>) -> Vec<(String, Vec<f32>)> {
    vec![(name.to_owned(), values)]
}

#[test]
fn a_model_with_nothing_tuned_is_the_file_again() {
    for (path, _, _) in shared_models() {
        let original = Model::open(&path).unwrap();
        let emitted = encode(&export(&original, &[], &[]).unwrap()).unwrap();
        assert!(emitted == *original.file_bytes(), "{}", path.display());
    }
}

#[test]
fn untouched_initializers_stay_byte_identical() {
    for (path, features, _) in shared_models() {
        let original = Model::open(&path).unwrap();
        let spec = HeadSpec::new(HeadKind::Linear, 5, 1);
        let grafted = graft(&original, Some(&features), &spec).unwrap();
        let mut tuned = Vec::new();
        for name in [
            &original.graph().initializer[0].name,
            &grafted.head_parameters.first().cloned(),
        ] {
            let name = name.clone().unwrap();
            let values = vec![0.25; tensor(&grafted.model.proto, &name).len()];
            tuned.push((name, values));
        }
        let editor = grafted.editor(&original).unwrap();
        let edited = super::export(editor, &tuned, &[("strategy", "layers".into())]).unwrap();
        let emitted = edited.proto;
        let old: HashMap<_, _> = original
            .graph()
            .initializer
            .iter()
            .map(|t| (t.name.clone(), t.encode_to_vec()))
            .collect();
        let new = &emitted.graph.as_ref().unwrap().initializer;
        for t in new.iter().skip(1).take(new.len() - 3) {
            assert_eq!(old[&t.name], t.encode_to_vec());
        }
        for (name, values) in &tuned {
            assert_eq!(&tensor(&emitted, name).to_f32().unwrap(), values);
        }
        let emitted = decode(&emitted);
        assert_eq!(emitted.metadata("ftsurgery.strategy"), Some("layers"));
        holds(&original, &emitted, &edited.manifest).unwrap();
        let mut names = grafted.head_parameters.clone();
        assert!(only_tuned(&original, &emitted, &names).is_err());
        names.push(tuned[0].0.clone());
        only_tuned(&original, &emitted, &names).unwrap();
    }
}

#[test]
fn values_are_written_in_the_tensors_own_type() {
    for dtype in [DataType::Float16, DataType::Bfloat16, DataType::Double] {
        let mut graph = classifier();
        let own = Tensor {
            dtype,
            dims: vec![3],
            data: vec![0; 3 * dtype.size()].into(),
        };
        graph.initializers.insert("fc.bias".into(), own);
        let tuned = one("fc.bias", vec![1.0, -2.0, 0.5]);
        let emitted = export(&model(&graph), &tuned, &[]).unwrap();
        let written = tensor(&emitted, "fc.bias");
        assert_eq!(written.dtype, dtype);
        assert_eq!(written.to_f32().unwrap(), tuned[0].1);
    }
}

#[test]
fn a_weight_in_a_constant_node_is_tuned_there() {
    let mut graph = classifier();
    let tensor = graph.initializers.shift_remove("fc.bias").unwrap();
    let node = Node::new("bias", "Constant", &[], &["fc.bias"]).with("value", tensor);
    graph.nodes.insert(0, node);
    let original = model(&graph);
    let emitted = export(&original, &one("fc.bias", vec![1.0, 2.0, 3.0]), &[]).unwrap();
    let t = emitted.graph.as_ref().unwrap().node[0].attribute[0]
        .t
        .as_ref();
    let values = Tensor::from_proto(t.unwrap()).unwrap().to_f32().unwrap();
    assert_eq!(values, [1.0, 2.0, 3.0]);
    let emitted = decode(&emitted);
    only_tuned(&original, &emitted, &["fc.bias".to_owned()]).unwrap();
    assert!(only_tuned(&original, &emitted, &[]).is_err());
}

#[test]
fn external_data_is_taken_into_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let mut proto = proto(&classifier());
    let graph = proto.graph.as_mut().unwrap();
    let weight = &mut graph.initializer[0];
    let data = weight.raw_data.take().unwrap();
    std::fs::write(folder.path().join("weights"), &data).unwrap();
    weight.data_location = Some(1);
    weight.external_data = vec![StringStringEntryProto {
        key: Some("location".to_owned()),
        value: Some("weights".to_owned()),
    }];
    let path = folder.path().join("model.onnx");
    crate::onnx::save(&proto, &path).unwrap();
    let original = Model::open(&path).unwrap();
    let emitted = export(&original, &[], &[]).unwrap();
    let weight = &emitted.graph.as_ref().unwrap().initializer[0];
    assert_eq!(weight.raw_data.as_ref(), Some(&data));
    assert!(!is_external(weight) && weight.external_data.is_empty());
    only_tuned(&original, &decode(&emitted), &[]).unwrap();
}

#[test]
fn what_cannot_be_written_is_refused_by_name() {
    let original = model(&classifier());
    let fail = |name: &str, values: Vec<f32>| {
        let error = export(&original, &one(name, values), &[]).unwrap_err();
        assert!(!error.is_bad_input());
        error.to_string()
    };
    let error = fail("fc.bias", vec![0.0, f32::NAN, 0.0]);
    assert!(
        error.contains("`fc.bias`") && error.contains("element 1"),
        "{error}"
    );
    assert!(fail("fc.bias", vec![f32::INFINITY; 3]).contains("`fc.bias`"));
    assert!(fail("fc.bias", vec![0.0; 4]).contains("has 3 elements"));
    assert!(fail("nothing", vec![0.0]).contains("`nothing`"));

    let mut graph = classifier();
    let half = Tensor {
        dtype: DataType::Float16,
        dims: vec![1],
        data: vec![0; 2].into(),
    };
    graph.initializers.insert("half".into(), half);
    assert!(export(&model(&graph), &one("half", vec![70000.0]), &[]).is_err());
}
