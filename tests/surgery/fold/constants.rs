//! Constants, sizes and copies.

use ftsurgery::onnx::{DataType, Model, Placement, Tensor};
use ftsurgery::transform::{Check, Folding, Writing, fold, place, write};

use super::{folded, plainly};
use crate::models::*;
use crate::support::{given, library};

#[test]
fn constants_sizes_and_copies_are_computed_and_values_keep_their_names() {
    let Some(runtime) = library() else { return };
    let nodes = [
        node("Identity", &["x"], &["same"]),
        node("Dropout", &["same"], &["kept"]),
        node("Shape", &["kept"], &["shape"]),
        constant("at", &Tensor::i64s(&[2])),
        node("Gather", &["shape", "at"], &["width"]),
        constant("minus", &Tensor::i64s(&[-1])),
        node("Concat", &["minus", "width"], &["rows"]).int("axis", 0),
        node("Reshape", &["kept", "rows"], &["flat"]),
        node("Neg", &["bias"], &["negative"]),
        node("Add", &["flat", "negative"], &["sum"]),
        node("Identity", &["sum"], &["y"]),
    ];
    let tensors_of = [("bias", numbers(&[4]))];
    let proto = model(graph(
        &nodes,
        &tensors_of,
        &[floats("x", &[0, 3, 4])],
        &[floats("y", &[0, 4])],
    ));
    let graph = plainly(&runtime, &proto);
    assert_eq!(operators(&graph), ["Reshape", "Add"]);
    assert_eq!(graph.node[0].input, ["x", "rows"]);
    assert_eq!(graph.node[1].output, ["y"]);
    assert_eq!(graph.node[1].name(), "sum/node");
    assert_eq!(tensors(&graph), ["bias", "rows"]);
    // The weight has another value and the name that it had.
    assert_eq!(graph.node[1].input, ["flat", "bias"]);
}

#[test]
fn a_size_that_is_another_for_other_inputs_stays_until_it_is_declared() {
    let Some(runtime) = library() else { return };
    let nodes = [
        node("Slice", &["x", "zero", "ten", "one"], &["begin"]),
        node("Shape", &["begin"], &["shape"]),
        node("ConstantOfShape", &["shape"], &["ones"]).tensor("value", &Tensor::f32(&[1], &[1.0])),
        node("Add", &["begin", "ones"], &["y"]),
    ];
    let number = |n: i64| Tensor::i64s(&[n]);
    let values = [("zero", number(0)), ("ten", number(10)), ("one", number(1))];
    let proto = model(graph(
        &nodes,
        &values,
        &[floats("x", &[5, 0])],
        &[floats("y", &[5, 0])],
    ));
    // What is cut to 10 is shorter where there is less.
    assert_eq!(operators(&plainly(&runtime, &proto)).len(), 4);
    let dim = Folding {
        dims: vec![("N".to_owned(), 3)],
        ..Folding::default()
    };
    let (fixed, _) = folded(&runtime, &proto, &dim);
    assert_eq!(operators(fixed.graph()), ["Slice", "Add"]);
    let shape = Folding {
        shapes: vec![("x".to_owned(), vec![5, 3])],
        ..Folding::default()
    };
    let (same, _) = folded(&runtime, &proto, &shape);
    assert!(fixed.proto == same.proto);
    let declared = ftsurgery::graph::Graph::from_model(&fixed).unwrap();
    let known = [5, 3].map(ftsurgery::graph::Dim::Known);
    assert_eq!(declared.inputs[0].dims.as_deref(), Some(&known[..]));
    assert_eq!(declared.outputs[0].dims.as_deref(), Some(&known[..]));
}

#[test]
fn a_weight_that_something_else_reads_stays_one() {
    let Some(runtime) = library() else { return };
    let both = |second: &str| {
        let nodes = [
            node("Transpose", &["w"], &["turned"]).ints("perm", &[1, 0]),
            node("MatMul", &["x", "turned"], &["h"]),
            node(second, &["h", "w"], &["y"]),
        ];
        model(graph(
            &nodes,
            &[("w", numbers(&[8, 8]))],
            &[floats("x", &[2, 8])],
            &[floats("y", &[2, 8])],
        ))
    };
    let graph = plainly(&runtime, &both("MatMul"));
    assert_eq!(operators(&graph), ["Transpose", "MatMul", "MatMul"]);
    let mut twice = both("MatMul");
    let nodes = &mut twice.graph.as_mut().unwrap().node;
    nodes.insert(
        2,
        node("Transpose", &["w"], &["again"]).ints("perm", &[1, 0]),
    );
    nodes[3].input[1] = "again".to_owned();
    assert_eq!(operators(&plainly(&runtime, &twice)).len(), 4);
}

#[test]
fn a_weight_that_is_turned_keeps_its_name_its_notes_and_its_place() {
    let Some(runtime) = library() else { return };
    let nodes = [
        node("Transpose", &["w"], &["turned"]).ints("perm", &[1, 0]),
        node("MatMul", &["x", "turned"], &["y"]),
    ];
    let mut proto = model(graph(
        &nodes,
        &[("w", numbers(&[200, 100]))],
        &[floats("x", &[2, 100])],
        &[floats("y", &[2, 200])],
    ));
    proto.graph.as_mut().unwrap().initializer[0].doc_string = Some("a note".to_owned());
    let graph = plainly(&runtime, &proto);
    assert_eq!(operators(&graph), ["MatMul"]);
    let tensor = &graph.initializer[0];
    assert_eq!(
        (tensor.name(), tensor.dims.as_slice()),
        ("w", &[100, 200][..])
    );
    assert_eq!(tensor.doc_string.as_deref(), Some("a note"));
    // Beside the model, it stays there.
    let folder = tempfile::tempdir().unwrap();
    let given = given(&runtime);
    let inside = opened(folder.path(), "inside.onnx", &proto);
    let beside = folder.path().join("beside.onnx");
    let placed = place(&inside, Placement::Beside { least: 1 }).unwrap();
    write(&placed, &Writing::to(&beside), &given).unwrap();
    let model = Model::open_in_place(&beside).unwrap();
    let made = fold(&model, &Folding::default(), &given).unwrap();
    let out = folder.path().join("out.onnx");
    let written = write(
        &made,
        &Writing::to(&out).check(Some(Check::Numbers)),
        &given,
    )
    .unwrap();
    assert_eq!(written.data.unwrap().1, 80_000);
    let out = Model::open(&out).unwrap();
    assert!(ftsurgery::onnx::is_external(&out.graph().initializer[0]));
}

#[test]
fn what_would_make_the_file_larger_stays() {
    let Some(runtime) = library() else { return };
    let nodes = [
        node("Expand", &["one", "shape"], &["wide"]),
        node("Mul", &["wide", "two"], &["wider"]),
        node("Add", &["x", "wider"], &["h"]),
        node("Cast", &["half"], &["whole"]).int("to", 1),
        node("Mul", &["h", "whole"], &["y"]),
    ];
    let half = Tensor {
        dtype: DataType::Float16,
        dims: vec![300],
        data: vec![0x3c; 600].into(),
    };
    let values = [
        ("one", Tensor::f32(&[1], &[1.0])),
        ("two", Tensor::f32(&[1], &[2.0])),
        ("shape", Tensor::i64s(&[300, 300])),
        ("half", half),
    ];
    let proto = model(graph(
        &nodes,
        &values,
        &[floats("x", &[300, 300])],
        &[floats("y", &[300, 300])],
    ));
    let graph = plainly(&runtime, &proto);
    assert_eq!(operators(&graph), ["Expand", "Mul", "Add", "Cast", "Mul"]);
}

#[test]
fn what_is_drawn_drops_or_is_quantised_stays() {
    let Some(runtime) = library() else { return };
    let truth = Tensor {
        dtype: DataType::Bool,
        dims: vec![],
        data: vec![1].into(),
    };
    let nodes = [
        node("RandomNormalLike", &["w"], &["noise"]),
        node("Mul", &["noise", "zero"], &["nothing"]),
        node("Dropout", &["w", "none", "yes"], &["dropped"]),
        node("DequantizeLinear", &["q", "scale"], &["back"]),
        node("Add", &["x", "nothing"], &["a"]),
        node("Add", &["a", "dropped"], &["b"]),
        node("Add", &["b", "back"], &["y"]),
    ];
    let quantised = Tensor {
        dtype: DataType::Uint8,
        dims: vec![4],
        data: vec![1, 2, 3, 4].into(),
    };
    let values = [
        ("w", numbers(&[4])),
        ("zero", Tensor::f32(&[1], &[0.0])),
        ("none", Tensor::scalar_f32(0.0)),
        ("yes", truth),
        ("q", quantised),
        ("scale", Tensor::scalar_f32(0.5)),
    ];
    let proto = model(graph(
        &nodes,
        &values,
        &[floats("x", &[4])],
        &[floats("y", &[4])],
    ));
    assert_eq!(operators(&plainly(&runtime, &proto)).len(), nodes.len());
}
