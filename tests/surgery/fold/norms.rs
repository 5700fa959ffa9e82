//! Normalisations.

use ftsurgery::onnx::messages::ModelProto;
use ftsurgery::transform::Folding;

use super::folded;
use crate::models::*;
use crate::support::library;

/// A layer and a normalisation behind it.
fn normalised(layer: &str, weight: &[usize], channels: usize, with_bias: bool) -> ModelProto {
    let mut inputs = vec!["x", "layer.weight"];
    let mut values = vec![
        ("layer.weight", numbers(weight)),
        ("norm.scale", positive(&[channels])),
        ("norm.bias", numbers(&[channels])),
        ("norm.mean", numbers(&[channels])),
        ("norm.variance", positive(&[channels])),
    ];
    if with_bias {
        inputs.push("layer.bias");
        values.push(("layer.bias", numbers(&[channels])));
    }
    let mut layer_node = node(layer, &inputs, &["h"]);
    if layer == "ConvTranspose" {
        layer_node = layer_node.int("group", 2);
    }
    let norm = ["h", "norm.scale", "norm.bias", "norm.mean", "norm.variance"];
    let nodes = [
        layer_node,
        node("BatchNormalization", &norm, &["n"]).float("epsilon", 1e-3),
        node("Relu", &["n"], &["y"]),
    ];
    let (input, output): (&[usize], &[usize]) = match layer {
        "Gemm" => (&[0, 5], &[0, 6]),
        _ => (&[0, 4, 9, 9], &[]),
    };
    let mut graph = graph(
        &nodes,
        &values,
        &[floats("x", input)],
        &[floats("y", output)],
    );
    if output.is_empty() {
        let rank = [0usize; 4].map(|_| ftsurgery::graph::Dim::Symbolic(String::new()));
        graph.output[0] = ftsurgery::graph::value_to_proto(&ftsurgery::graph::Value {
            dims: Some(rank.to_vec()),
            ..floats("y", &[])
        });
    }
    model(graph)
}

#[test]
fn normalisations_are_folded_when_asked_and_weights_keep_their_names() {
    let Some(runtime) = library() else { return };
    let asked = Folding {
        batch_norm: true,
        ..Folding::default()
    };
    let cases: [(&str, &[usize]); 3] = [
        ("Conv", &[6, 4, 3, 3]),
        ("ConvTranspose", &[4, 3, 3, 3]),
        ("Gemm", &[5, 6]),
    ];
    for (layer, weight) in cases {
        for with_bias in [false, true] {
            let proto = normalised(layer, weight, 6, with_bias);
            let (left, notes) = folded(&runtime, &proto, &Folding::default());
            assert_eq!(left.graph().node.len(), 3, "{layer}");
            assert!(
                notes.iter().any(|n| n.contains("--batch-norm")),
                "{notes:?}"
            );
            let (model, _) = folded(&runtime, &proto, &asked);
            let graph = model.graph();
            assert_eq!(operators(graph), [layer, "Relu"]);
            assert_eq!(graph.node[0].name(), "h/node");
            let bias = if with_bias { "layer.bias" } else { "norm.bias" };
            assert_eq!(graph.node[0].input, ["x", "layer.weight", bias]);
            assert_eq!(graph.initializer.len(), 2);
        }
    }
}

#[test]
fn a_normalisation_stays_where_its_layer_or_its_weight_serves_others() {
    let Some(runtime) = library() else { return };
    let asked = Folding {
        batch_norm: true,
        ..Folding::default()
    };
    let mut of_map = normalised("Conv", &[4, 4, 1, 1], 4, true);
    let graph_of = |proto: &mut ModelProto, inputs: [&str; 2]| {
        let graph = proto.graph.as_mut().unwrap();
        graph.node[2] = node("Add", &inputs, &["y"]);
    };
    graph_of(&mut of_map, ["n", "h"]);
    let mut of_weight = normalised("Conv", &[4, 4, 1, 1], 4, true);
    let graph = of_weight.graph.as_mut().unwrap();
    graph.node[2] = node("Conv", &["n", "layer.weight"], &["y"]);
    let mut training = normalised("Conv", &[4, 4, 1, 1], 4, true);
    let graph = training.graph.as_mut().unwrap();
    graph.node[1] = graph.node[1].clone().int("training_mode", 1);
    graph.node[1]
        .output
        .extend(["m".to_owned(), "v".to_owned()]);
    for proto in [of_map, of_weight, training] {
        let (model, notes) = folded(&runtime, &proto, &asked);
        assert_eq!(model.graph().node.len(), 3, "{notes:?}");
    }
}
