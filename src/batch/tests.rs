//! Graphs that were made for one batch size, at others.

use std::collections::HashMap;
use std::path::Path;

use super::free_batch;
use super::values::freed;
use crate::graph::cases::{fixture, graph, sizes};
use crate::graph::{Dim, Graph, Node, Value, infer_shapes, normalise, to_float32};
use crate::onnx::{DataType, Model, Tensor};

fn reshaped(target: &[i64], nodes: Vec<Node>) -> Graph {
    let mut g = graph(21, &[1, 4, 3, 2], nodes);
    g.initializers.insert("t".to_owned(), Tensor::i64s(target));
    g
}

#[test]
fn a_model_of_fixed_batch_runs_at_any_batch_once_freed() {
    for target in [
        &[1, -1][..],
        &[1, 24],
        &[-1, 24],
        &[0, -1],
        &[12, 2],
        &[2, 12],
    ] {
        let node = Node::new("r", "Reshape", &["x", "t"], &["y"]);
        let back = Node::new("b", "Reshape", &["y", "u"], &["z"]);
        let mut g = reshaped(target, vec![node, back]);
        g.initializers
            .insert("u".to_owned(), Tensor::i64s(&[1, 4, 6]));
        let g = freed(&g);
        for batch in [1, 5] {
            let inputs = HashMap::from([("x".to_owned(), vec![batch, 4, 3, 2])]);
            let shapes = infer_shapes(&g, &inputs).unwrap();
            assert_eq!(shapes.dims("z").unwrap(), [batch, 4, 6], "{target:?}");
        }
        let dims = g.outputs[0].dims.as_ref().unwrap();
        assert!(matches!(dims[0], Dim::Symbolic(_)));
    }
}

#[test]
fn targets_that_are_computed_and_expansions_are_freed_and_class_tokens_repeated() {
    let axis = |node: Node, axis: i64| node.with("axis", axis);
    let nodes = vec![
        // As the older exporter writes a target of numbers, unless it folds them.
        axis(Node::new("t", "Concat", &["one", "four", "six"], &["t"]), 0),
        Node::new("r", "Reshape", &["x", "t"], &["r"]),
        Node::new("e", "Expand", &["r", "t"], &["e"]),
        axis(
            Node::new("c", "Concat", &["token", "e", "token"], &["c"]),
            1,
        ),
        Node::new("a", "Add", &["c", "places"], &["y"]),
    ];
    let mut g = graph(21, &[1, 4, 3, 2], nodes);
    for (name, value) in [("one", 1), ("four", 4), ("six", 6)] {
        g.initializers
            .insert(name.to_owned(), Tensor::i64s(&[value]));
    }
    let token: Vec<f32> = (0..6).map(|i| i as f32).collect();
    g.initializers
        .insert("token".to_owned(), Tensor::f32(&[1, 1, 6], &token));
    let places = Tensor::f32(&[1, 6, 6], &[0.5; 36]);
    g.initializers.insert("places".to_owned(), places);
    let g = freed(&g);
    for batch in [1, 5] {
        let inputs = HashMap::from([("x".to_owned(), vec![batch, 4, 3, 2])]);
        let shapes = infer_shapes(&g, &inputs).unwrap();
        assert_eq!(shapes.dims("y").unwrap(), [batch, 6, 6]);
    }
}

#[test]
fn shared_models_fixed_to_one_image_are_freed() {
    let Some(folder) = crate::testing::shared() else {
        return;
    };
    for (path, expected) in fixture("models.json").as_object().unwrap() {
        let model = Model::open(&folder.join(path)).unwrap();
        let mut g = Graph::from_model(&model).unwrap();
        normalise(&mut g).unwrap();
        let dims = g.inputs[0].dims.as_mut().unwrap();
        dims[0] = Dim::Known(1);
        let g = freed(&g);
        let input = g.inputs[0].name.clone();
        let dims = sizes(&expected["inputs"][&input]);
        let shapes = infer_shapes(&g, &HashMap::from([(input, dims)])).unwrap();
        let output = &g.outputs[0].name;
        let expected = sizes(&expected["values"][output][1]);
        assert_eq!(shapes.dims(output).unwrap(), expected, "{path}");
    }
}

#[test]
fn exporters_models_fixed_to_one_image_give_each_image_its_own_values_once_freed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/exporters");
    let index = std::fs::read(folder.join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    for (name, entry) in index.as_object().unwrap() {
        if !entry["refused"].is_null() {
            continue;
        }
        let model = Model::open(&folder.join(format!("{name}.onnx"))).unwrap();
        let mut g = Graph::from_model(&model).unwrap();
        normalise(&mut g).unwrap();
        to_float32(&mut g).unwrap();
        let dims = [vec![1], sizes(&entry["sample"])].concat();
        g.inputs[0] = Value::fixed(&g.inputs[0].name, DataType::Float, &dims);
        eprintln!("{name}");
        freed(&g);
    }
}

#[test]
fn a_batch_hidden_behind_other_axes_is_refused_and_the_graph_left_alone() {
    let nodes = vec![
        Node::new("p", "Transpose", &["x"], &["p"]).with("perm", vec![1, 0, 2, 3]),
        Node::new("r", "Reshape", &["p", "t"], &["y"]),
    ];
    let mut g = reshaped(&[4, 6], nodes);
    let before = g.clone();
    let error = free_batch(&mut g).unwrap_err().to_string();
    assert!(error.contains("`r` (Reshape)"), "{error}");
    assert_eq!(g, before);
}

#[test]
fn a_batch_that_is_squeezed_away_is_an_error() {
    let nodes = vec![
        Node::new("s", "Squeeze", &["x"], &["s"]),
        Node::new("e", "Expand", &["s", "nothing"], &["y"]),
    ];
    let mut g = graph(21, &[1], nodes);
    g.initializers
        .insert("nothing".to_owned(), Tensor::i64s(&[]));
    assert!(free_batch(&mut g).is_err());
}

#[test]
fn a_batch_behind_the_words_is_freed_and_one_in_their_midst_refused() {
    // Attention as PyTorch lays it out: words, batch · heads, channels.
    let nodes = |target| {
        vec![
            Node::new("p", "Transpose", &["x"], &["p"]).with("perm", vec![1, 0, 2, 3]),
            Node::new("r", "Reshape", &["p", "t"], &["r"]),
            Node::new("q", "Transpose", &["r"], &["q"]).with("perm", vec![1, 0, 2]),
            Node::new("s", "Reshape", &["q", target], &["y"]),
        ]
    };
    let mut g = reshaped(&[4, 3, 2], nodes("whole"));
    g.initializers
        .insert("whole".to_owned(), Tensor::i64s(&[1, 24]));
    let g = freed(&g);
    for batch in [1, 5] {
        let inputs = HashMap::from([("x".to_owned(), vec![batch, 4, 3, 2])]);
        let shapes = infer_shapes(&g, &inputs).unwrap();
        assert_eq!(shapes.dims("r").unwrap(), [4, 3 * batch, 2]);
        assert_eq!(shapes.dims("y").unwrap(), [batch, 24]);
    }
    // With the words in front of it to the end, the batch is among the classes.
    let mut g = reshaped(&[2, 12], nodes("whole"));
    g.nodes[2] = Node::new("q", "Relu", &["r"], &["q"]);
    g.initializers
        .insert("whole".to_owned(), Tensor::i64s(&[1, 24]));
    g.nodes[3] = Node::new("s", "Reshape", &["q", "whole"], &["y"]);
    let before = g.clone();
    assert!(free_batch(&mut g).is_err());
    assert_eq!(g, before);
}

#[test]
fn a_batch_among_the_words_is_found_by_what_fits_behind_it() {
    // [words, batch, channels] as [words · batch, channels] or [words, batch · channels]: only the first
    // can be multiplied. PyTorch's attention, exported for one image.
    let nodes = vec![
        Node::new("p", "Transpose", &["x"], &["p"]).with("perm", vec![1, 0, 2, 3]),
        Node::new("r", "Reshape", &["p", "rows"], &["r"]),
        Node::new("m", "MatMul", &["r", "w"], &["m"]),
        Node::new("b", "Reshape", &["m", "apart"], &["b"]),
        Node::new("q", "Transpose", &["b"], &["y"]).with("perm", vec![1, 0, 2]),
    ];
    let mut g = graph(21, &[1, 4, 3, 2], nodes);
    g.initializers
        .insert("rows".to_owned(), Tensor::i64s(&[4, 6]));
    g.initializers
        .insert("apart".to_owned(), Tensor::i64s(&[4, 1, 5]));
    g.initializers
        .insert("w".to_owned(), Tensor::f32(&[6, 5], &[0.5; 30]));
    let g = freed(&g);
    for batch in [1, 5] {
        let inputs = HashMap::from([("x".to_owned(), vec![batch, 4, 3, 2])]);
        let shapes = infer_shapes(&g, &inputs).unwrap();
        assert_eq!(shapes.dims("r").unwrap(), [4 * batch, 6]);
        assert_eq!(shapes.dims("y").unwrap(), [batch, 4, 5]);
    }
}

#[test]
fn a_strided_view_is_taken_of_each_image_and_refused_where_it_counts_through_several() {
    // PyTorch's newer exporter writes `as_strided` so.
    let nodes = vec![
        Node::new("flat", "Reshape", &["x", "t"], &["f"]),
        Node::new("strided", "Gather", &["f", "every"], &["g"]),
        Node::new("r", "Relu", &["g"], &["y"]),
    ];
    let strided = |batch: usize| {
        let mut g = graph(21, &[batch, 4, 3, 2], nodes.clone());
        let every: Vec<i64> = (0..4 * batch as i64).map(|i| i * 5).collect();
        let every = Tensor {
            dims: vec![batch, 4],
            ..Tensor::i64s(&every)
        };
        g.initializers.insert("every".to_owned(), every);
        g.initializers.insert("t".to_owned(), Tensor::i64s(&[-1]));
        g
    };
    freed(&strided(1));
    let error = free_batch(&mut strided(2)).unwrap_err().to_string();
    assert!(error.contains("`strided` (Gather)"), "{error}");
}
