//! Values of tensors: set in every form that they have, and taken in.

use prost::Message;

use super::super::super::testing::*;
use super::super::super::{Difference, Edited, Editor, Part, SurgeryError, What, holds};
use super::operations::{done, tensor};
use super::rich::rich;
use crate::onnx::{Model, Tensor};

#[test]
fn a_tensor_is_set_in_every_form_and_restored_to_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let original = rich(folder.path());
    let ints = |values: &[i64]| Tensor::i64s(values);
    let scalar = Tensor::scalar_i64(9);
    for (name, new) in [
        ("conv.weight", weight(&[4, 3, 3, 3], 8)),
        ("conv.bias", weight(&[4], 8)),
        ("shift", weight(&[4, 1, 1], 9)),
        ("half", Tensor::scalar_f32(0.25)),
        ("list", Tensor::f32(&[2], &[3.0, 4.0])),
        ("number", scalar),
        ("numbers", ints(&[5, 6])),
    ] {
        let mut editor = Editor::new(&original).unwrap();
        editor.set_tensor(name, &new).unwrap();
        let Edited { proto, manifest } = editor.finish().unwrap();
        let [
            Difference {
                part: Part::Tensor,
                name: set,
                what: What::Set { .. },
                ..
            },
        ] = &manifest.changes[..]
        else {
            panic!("{name}: {manifest}");
        };
        assert_eq!(set, name);
        let edited = original.with_proto(proto);
        holds(&original, &edited, &manifest).unwrap();

        // Back to what it was: the message in its own form, external data and all.
        let old = Editor::new(&original).unwrap();
        let old = super::super::tensors::tensor_of(&old, name).unwrap();
        let mut editor = Editor::resume(&original, &edited, &manifest).unwrap();
        editor.set_tensor(name, &old).unwrap();
        let (back, changes) = done(editor, &original);
        assert_eq!(changes, []);
        assert_eq!(back.proto.encode_to_vec(), original.proto.encode_to_vec());
    }
}

#[test]
fn values_that_do_not_fit_are_refused_by_name() {
    let original = model(&classifier());
    let mut editor = Editor::new(&original).unwrap();
    let mut fail = |tensor: Tensor| editor.set_tensor("fc.bias", &tensor).unwrap_err();
    let other = fail(weight(&[4], 1)).to_string();
    assert!(
        other.contains("`fc.bias` is Float [3]") && other.contains("Float [4]"),
        "{other}"
    );
    assert!(
        fail(Tensor::i64s(&[1, 2, 3]))
            .to_string()
            .contains("Int64 [3]")
    );
    let infinite = fail(Tensor::f32(&[3], &[0.0, f32::INFINITY, 0.0]));
    assert!(infinite.to_string().contains("element 1"), "{infinite}");
    let missing = editor.set_tensor("fc", &weight(&[3], 1)).unwrap_err();
    assert!(matches!(missing, SurgeryError::NoTensor { tensor } if tensor == "fc"));
    assert_eq!(done(editor, &original).1, []);
}

#[test]
fn all_external_data_is_taken_in_and_each_place_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let original = rich(folder.path());
    let mut editor = Editor::new(&original).unwrap();
    editor.take_in().unwrap();
    let Edited { proto, manifest } = editor.finish().unwrap();
    assert!(!format!("{proto:?}").contains("location\""));
    let moved = manifest.to_string();
    for line in [
        "tensor `conv.weight` has its values inside instead of beside the model",
        "sparse tensor `sparse` has its values inside",
        "in `then_branch` of node `chosen`: tensor `then.weight` has its",
        "in `else_branch` of node `chosen`: tensor `else.weight` has its",
        "in function `local:Double`: tensor `two` has its",
    ] {
        assert!(moved.contains(line), "{line}: {moved}");
    }
    assert_eq!(manifest.changes.len(), 5, "{moved}");
    // It stands alone.
    let alone = decode(&proto);
    holds(&original, &alone, &manifest).unwrap();
    assert_eq!(
        tensor(&alone, "conv.weight"),
        tensor(&original, "conv.weight")
    );
    std::fs::remove_file(folder.path().join("weights")).unwrap();
    let again = Model::open(original.path()).unwrap();
    assert!(Editor::new(&again).unwrap().take_in().is_err());
}
