//! Quantised models, what onnxruntime's optimiser writes, and operators without a gradient.

use ftsurgery::graph::{Attribute, Graph};
use ftsurgery::onnx::{DataType, Tensor};
use ftsurgery::runtime::testing::has_runtime;

use crate::models::*;

fn ints(dtype: DataType, dims: &[usize], values: Vec<u8>) -> Tensor {
    Tensor {
        dtype,
        dims: dims.to_vec(),
        data: values.into(),
    }
}

/// The classifier with the weight of its second convolution in 8 bits, and the data before and behind it, in
/// place of whose ReLU the bounds of the numbers stand.
fn in_pairs() -> Graph {
    let mut graph = classifier();
    let stored: Vec<u8> = (0..8 * 8 * 9).map(|i| (i * 37 % 251) as u8).collect();
    let scales: Vec<f32> = (1..9).map(|i| 0.001 * i as f32).collect();
    for (name, tensor) in [
        ("q.w2", ints(DataType::Int8, &[8, 8, 3, 3], stored)),
        ("q.w2.scale", Tensor::f32(&[8], &scales)),
        ("q.w2.zero", ints(DataType::Int8, &[8], vec![0; 8])),
        ("q.scale", Tensor::scalar_f32(0.02)),
        ("q.zero", ints(DataType::Uint8, &[], vec![0])),
    ] {
        graph.initializers.insert(name.to_owned(), tensor);
    }
    graph.initializers.shift_remove("w2");
    let of_data = |from: &str, to: &str| {
        let between = format!("{to}.q");
        [
            node("QuantizeLinear", &[from, "q.scale", "q.zero"], &between),
            node("DequantizeLinear", &[&between, "q.scale", "q.zero"], to),
        ]
    };
    let weight = node(
        "DequantizeLinear",
        &["q.w2", "q.w2.scale", "q.w2.zero"],
        "w2",
    )
    .with("axis", Attribute::Int(0));
    graph.nodes.splice(3..4, of_data("c2", "r2"));
    graph.nodes[2].inputs[0] = "r1.held".to_owned();
    graph
        .nodes
        .splice(2..2, of_data("r1", "r1.held").into_iter().chain([weight]));
    graph
}

#[test]
fn a_model_of_quantising_pairs_is_refused_with_the_way_out_which_trains_it_in_float() {
    if !has_runtime() {
        return;
    }
    let place = Place::new(&proto(&in_pairs()));
    place
        .tune("")
        .refused(&["QuantizeLinear", "--dequantise", "float model"]);
    let quantised = place.predicted("model.onnx", "");
    // A rate of almost nothing leaves the model as it was, but for its rounding.
    let said = place.tune("--head keep --dequantise --lr 1e-12").well();
    assert!(
        said.contains("1 tensors are dequantised, and 2 pairs"),
        "{said}"
    );
    let model = place.winner();
    assert!(
        operators(&model)
            .iter()
            .all(|op| !op.contains("quantize") && !op.contains("Quantize"))
    );
    assert_eq!(
        operators(&model).iter().filter(|op| **op == "Clip").count(),
        2
    );
    let floats_of = place.predicted("run/winners/full.onnx", "");
    for ((_, a), (_, b)) in quantised.iter().zip(&floats_of) {
        assert!((a - b).abs() < 0.03, "{quantised:?} {floats_of:?}");
    }
    std::fs::remove_dir_all(place.at("run")).unwrap();
    place.tune("--dequantise").well();
    let stored: Vec<f32> = (0..8 * 8 * 9)
        .map(|i| f32::from((i * 37 % 251) as u8 as i8) * 0.001 * (i / 72 + 1) as f32)
        .collect();
    let trained = floats(&place.winner(), "w2");
    let moved = trained.iter().zip(&stored).map(|(a, b)| (a - b).abs());
    let most = moved.fold(0.0, f32::max);
    assert!(most > 0.0 && most < 0.5, "{most}");
}

#[test]
fn fused_and_quantised_operators_are_refused_with_the_way_out() {
    if !has_runtime() {
        return;
    }
    let mut fused = classifier();
    fused.nodes[0].op_type = "FusedConv".to_owned();
    fused.nodes[0].domain = "com.microsoft".to_owned();
    let mut proto_ = proto(&fused);
    import(&mut proto_, "com.microsoft", 1);
    for head in ["keep", "linear"] {
        let place = Place::new(&proto_);
        place.tune(&format!("--head {head}")).refused(&[
            "`c1` (FusedConv)",
            "`com.microsoft`",
            "before they made this one",
        ]);
    }
    let mut integers = classifier();
    integers.nodes[2].op_type = "QLinearConv".to_owned();
    let place = Place::new(&proto(&integers));
    place
        .tune("")
        .refused(&["QLinearConv", "float model of which it was made"]);
    // Before such a node numbers are quantised, which dequantising does not help.
    let before = node("QuantizeLinear", &["x", "s", "z"], "q");
    integers.nodes[0].inputs[0] = "q".to_owned();
    integers.nodes.insert(0, before);
    let step = Tensor::scalar_f32(0.1);
    integers.initializers.insert("s".to_owned(), step);
    let zero = ints(DataType::Uint8, &[], vec![0]);
    integers.initializers.insert("z".to_owned(), zero);
    let place = Place::new(&proto(&integers));
    let said = place.tune("");
    said.refused(&["`q` (QuantizeLinear)", "float model of which it was made"]);
    assert!(!said.text().contains("--dequantise"), "{}", said.text());
}

#[test]
fn where_an_operator_has_no_gradient_the_layers_that_can_still_be_trained_are_named() {
    if !has_runtime() {
        return;
    }
    let mut graph = classifier();
    graph.nodes[1] = node("Shrink", &["c1"], "r1");
    let place = Place::new(&proto(&graph));
    let said = place.tune("--head keep --strategies full");
    said.refused(&[
        "Shrink",
        "strategies that can",
        "layers that can still be trained: `c2`",
    ]);
    let text = said.text();
    assert!(
        !text.contains("`c1`,") && !text.contains("head: `c1`"),
        "{text}"
    );
}
