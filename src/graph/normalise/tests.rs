use std::collections::HashMap;

use super::*;
use crate::graph::cases::graph;
use crate::graph::{Attribute, Node, Value, infer_shapes};
use crate::onnx::{DataType, Tensor};

fn names(graph: &Graph) -> Vec<&str> {
    graph.nodes.iter().map(|n| n.op_type.as_str()).collect()
}

fn refused(mut graph: Graph) -> String {
    normalise(&mut graph).unwrap_err().to_string()
}

#[test]
fn constants_become_initializers_under_their_own_names() {
    let constant = |name: &str| Node::new(name, "Constant", &[], &[name]);
    let mut g = graph(
        13,
        &[2],
        vec![
            constant("w").with("value", Tensor::f32(&[2], &[1.0, 2.0])),
            constant("f").with("value_float", 0.5f32),
            constant("fs").with("value_floats", Attribute::Floats(vec![1.0, 2.0])),
            constant("i").with("value_int", 3),
            constant("is").with("value_ints", vec![3, 4]),
            Node::new("s", "Sum", &["x", "w", "f", "fs"], &["s"]),
            Node::new("y", "Add", &["s", "w"], &["y"]),
        ],
    );
    normalise(&mut g).unwrap();
    assert_eq!(names(&g), ["Sum", "Add"]);
    assert_eq!(g.initializers["w"], Tensor::f32(&[2], &[1.0, 2.0]));
    assert_eq!(g.initializers["f"], Tensor::scalar_f32(0.5));
    assert_eq!(g.initializers["i"], Tensor::scalar_i64(3));
    assert_eq!(g.initializers["is"], Tensor::i64s(&[3, 4]));
    let string = constant("t").with("value_string", "a");
    let mut g = graph(13, &[2], vec![string]);
    let before = g.clone();
    let error = normalise(&mut g).unwrap_err().to_string();
    assert!(error.contains("`t` (Constant)"), "{error}");
    assert_eq!(g, before);
}

#[test]
fn identities_and_dropouts_go_and_names_of_outputs_stay() {
    let mut g = graph(
        12,
        &[2],
        vec![
            Node::new("a", "Identity", &["w"], &["alias"]),
            Node::new("b", "Add", &["x", "alias"], &["sum"]),
            Node::new(
                "c",
                "Dropout",
                &["sum", "", "training"],
                &["dropped", "mask"],
            ),
            Node::new("d", "Relu", &["dropped"], &["relu"]),
            Node::new("f", "Neg", &["relu"], &["side"]),
            Node::new("e", "Identity", &["relu"], &["y"]),
        ],
    );
    g.initializers.insert("training".to_owned(), flag(false));
    g.initializers
        .insert("w".to_owned(), Tensor::f32(&[2], &[1.0, 2.0]));
    g.outputs.push(g.outputs[0].clone());
    g.outputs[1].name = "side".to_owned();
    normalise(&mut g).unwrap();
    assert_eq!(names(&g), ["Add", "Relu", "Neg"]);
    assert_eq!(g.nodes[0].inputs, ["x", "w"]);
    assert_eq!(g.nodes[1].outputs, ["y"]);
    assert_eq!(g.nodes[2].inputs, ["y"]);
    assert_eq!(g.outputs[0].name, "y");
}

fn flag(value: bool) -> Tensor {
    Tensor {
        dtype: DataType::Bool,
        dims: vec![],
        data: vec![u8::from(value)].into(),
    }
}

#[test]
fn a_dropout_that_drops_at_inference_is_refused() {
    let drop = |inputs: &[&str]| {
        let mut g = graph(13, &[2], vec![Node::new("d", "Dropout", inputs, &["y"])]);
        g.initializers.insert("yes".to_owned(), flag(true));
        g.initializers.insert("no".to_owned(), flag(false));
        let share = |v| Tensor::scalar_f32(v);
        g.initializers.insert("none".to_owned(), share(0.0));
        g.initializers.insert("some".to_owned(), share(0.1));
        g.inputs.push(Value::fixed("asked", DataType::Bool, &[]));
        g
    };
    for inputs in [
        &["x", "", "yes"][..],
        &["x", "some", "yes"],
        &["x", "", "asked"],
    ] {
        let error = refused(drop(inputs));
        assert!(error.contains("`d` (Dropout)"), "{error}");
        assert!(error.contains("training mode"), "{error}");
    }
    for inputs in [
        &["x"][..],
        &["x", "some"],
        &["x", "some", "no"],
        &["x", "none", "yes"],
    ] {
        normalise(&mut drop(inputs)).unwrap();
    }
}

#[test]
fn an_identity_between_an_input_and_an_output_stays() {
    let mut g = graph(13, &[2], vec![Node::new("d", "Dropout", &["x"], &["y"])]);
    normalise(&mut g).unwrap();
    assert_eq!(names(&g), ["Identity"]);
    // Two outputs of one value cannot both be its name.
    let nodes = vec![
        Node::new("r", "Relu", &["x"], &["r"]),
        Node::new("a", "Identity", &["r"], &["a"]),
        Node::new("b", "Identity", &["r"], &["b"]),
    ];
    let mut g = graph(13, &[2], nodes);
    g.outputs.push(g.outputs[0].clone());
    g.outputs[1].name = "a".to_owned();
    normalise(&mut g).unwrap();
    assert_eq!(names(&g), ["Relu", "Identity"]);
}

#[test]
fn a_used_dropout_mask_is_refused() {
    let nodes = vec![
        Node::new("d", "Dropout", &["x"], &["dropped", "mask"]),
        Node::new("n", "Not", &["mask"], &["y"]),
    ];
    assert!(refused(graph(13, &[2], nodes)).contains("`d` (Dropout)"));
}

#[test]
fn opsets_out_of_range_and_unknown_newer_operators_are_refused_by_name() {
    let relu = || vec![Node::new("n", "Relu", &["x"], &["y"])];
    assert!(refused(graph(0, &[2], relu())).contains("opset 0"));
    assert!(refused(graph(99, &[2], relu())).contains("opset 99"));
    let mut g = graph(23, &[2], relu());
    normalise(&mut g).unwrap();
    assert_eq!(g.opset, 21);
    let attention = vec![Node::new("n", "Attention", &["x"], &["y"])];
    assert!(refused(graph(23, &[2], attention)).contains("`n` (Attention)"));
}

#[test]
fn batch_norm_in_training_mode_is_refused_in_every_opset() {
    let inputs = ["x", "s", "b", "m", "v"];
    let node = |outputs: &[&str]| Node::new("n", "BatchNormalization", &inputs, outputs);
    let with_weights = |opset, node| {
        let mut g = graph(opset, &[1, 2, 3, 3], vec![node]);
        for name in &inputs[1..] {
            let tensor = Tensor::f32(&[2], &[1.0, 1.0]);
            g.initializers.insert((*name).to_owned(), tensor);
        }
        g
    };
    let five: &[&str] = &["y", "m2", "v2", "m3", "v3"];
    for (opset, outputs, mode) in [
        (9, five, None),
        (11, five, None),
        (13, &five[..3], None),
        (14, &five[..3], Some(1)),
        (15, &five[..1], Some(1)),
    ] {
        let mut training = node(outputs);
        if let Some(mode) = mode {
            training = training.with("training_mode", mode);
        }
        let error = refused(with_weights(opset, training));
        assert!(error.contains("`n` (BatchNormalization)"), "{error}");
        assert!(error.contains("it is in training mode"), "{error}");
    }
    for (opset, outputs) in [(9, &["y"][..]), (13, &["y", "", ""]), (15, &["y"])] {
        let mut stored = with_weights(opset, node(outputs));
        normalise(&mut stored).unwrap();
        assert_eq!(stored.nodes[0].outputs, ["y"]);
    }
    for name in ["is_test", "spatial"] {
        let of_channels = with_weights(9, node(&["y"]).with(name, 0));
        assert!(refused(of_channels).contains(name));
        let mut plain = with_weights(9, node(&["y"]).with(name, 1));
        normalise(&mut plain).unwrap();
        assert!(plain.nodes[0].attributes.is_empty());
    }
}

#[test]
fn standardised_weights_become_instance_normalisation() {
    let nodes = vec![
        Node::new("r", "Reshape", &["w", "row"], &["r"]),
        Node::new(
            "n",
            "BatchNormalization",
            &["r", "s", "b", "m", "v"],
            &["n", "m2", "v2"],
        )
        .with("training_mode", 1),
        Node::new("k", "Reshape", &["n", "kernel"], &["k"]),
        Node::new("y", "Conv", &["x", "k"], &["y"]),
    ];
    let mut g = graph(17, &[1, 2, 3, 3], nodes);
    let weight: Vec<f32> = (0..12).map(|i| (i * i % 7) as f32).collect();
    g.initializers
        .insert("w".to_owned(), Tensor::f32(&[3, 2, 2, 1], &weight));
    for name in ["s", "b", "m", "v"] {
        g.initializers
            .insert(name.to_owned(), Tensor::f32(&[3], &[1.0, 2.0, 0.5]));
    }
    g.initializers
        .insert("row".to_owned(), Tensor::i64s(&[1, 3, -1]));
    g.initializers
        .insert("kernel".to_owned(), Tensor::i64s(&[3, 2, 2, 1]));
    normalise(&mut g).unwrap();
    assert_eq!(
        names(&g),
        ["Reshape", "InstanceNormalization", "Reshape", "Conv"]
    );
    assert_eq!(g.nodes[1].inputs, ["r", "s", "b"]);
}

#[test]
fn a_softmax_over_the_last_axis_stays_one_node() {
    let flat = || Node::new("f", "Flatten", &["x"], &["f"]);
    let softmax = |from| Node::new("s", "Softmax", &[from], &["y"]);
    let mut g = graph(11, &[2, 3, 4], vec![flat(), softmax("f")]);
    normalise(&mut g).unwrap();
    assert_eq!(names(&g), ["Flatten", "Softmax"]);
    assert_eq!(g.nodes[1].int("axis", 0).unwrap(), -1);
    let mut g = graph(11, &[2, 3, 4], vec![softmax("x")]);
    normalise(&mut g).unwrap();
    assert_eq!(names(&g), ["Shape", "Flatten", "Softmax", "Reshape"]);
    assert_eq!(g.outputs[0].name, "y");
}

#[test]
fn attributes_of_float16_models_become_float16_inputs() {
    let clip = Node::new("c", "Clip", &["h"], &["y"]).with("max", 6.0f32);
    let mut g = graph(
        9,
        &[2],
        vec![Node::new("a", "Add", &["x", "w"], &["h"]), clip],
    );
    let half = Tensor {
        dtype: DataType::Float16,
        dims: vec![1],
        data: vec![0, 0x3c].into(),
    };
    g.initializers.insert("w".to_owned(), half);
    normalise(&mut g).unwrap();
    let clip = &g.nodes[1];
    assert_eq!(clip.input(1), None);
    assert_eq!(g.initializers[&clip.inputs[2]].dtype, DataType::Float16);
}

#[test]
fn what_cannot_be_trained_is_refused_by_name() {
    for op in [
        "Loop",
        "QuantizeLinear",
        "ConvInteger",
        "QLinearConv",
        "SequenceAt",
    ] {
        let g = graph(21, &[2], vec![Node::new("n", op, &["x"], &["y"])]);
        let error = refuse_untrainable(&g).unwrap_err().to_string();
        assert!(error.contains(&format!("`n` ({op})")), "{error}");
    }
    let mut g = graph(21, &[2], vec![Node::new("n", "Relu", &["x"], &["y"])]);
    refuse_untrainable(&g).unwrap();
    g.nodes[0].domain = "com.microsoft".to_owned();
    assert!(refuse_untrainable(&g).is_err());
}

#[test]
fn scales_joined_of_constants_become_one() {
    let nodes = vec![
        Node::new("s", "Concat", &["ones", "twos"], &["s"]).with("axis", 0),
        Node::new("y", "Resize", &["x", "", "s"], &["y"]),
    ];
    let mut g = graph(17, &[1, 1, 2, 2], nodes);
    for (name, value) in [("ones", 1.0), ("twos", 2.0)] {
        g.initializers
            .insert(name.to_owned(), Tensor::f32(&[2], &[value; 2]));
    }
    normalise(&mut g).unwrap();
    let shapes = infer_shapes(&g, &HashMap::new()).unwrap();
    assert_eq!(shapes.dims("y").unwrap(), [1, 1, 4, 4]);
}

#[test]
fn a_cast_loses_the_rounding_that_opset_24_brought() {
    let cast = Node::new("c", "Cast", &["x"], &["y"]).with("to", 1);
    let mut g = graph(25, &[2], vec![cast.clone().with("round_mode", "up")]);
    normalise(&mut g).unwrap();
    assert_eq!(g.nodes, [cast]);
}

#[test]
fn swish_becomes_its_formula_under_its_own_names() {
    let nodes = vec![
        Node::new("s", "Swish", &["x"], &["h"]).with("alpha", 2.0f32),
        Node::new("t", "Swish", &["h"], &["y"]),
    ];
    let mut g = graph(24, &[2], nodes);
    normalise(&mut g).unwrap();
    assert_eq!(names(&g), ["Mul", "Sigmoid", "Mul", "Sigmoid", "Mul"]);
    assert_eq!(
        (g.nodes[2].name.as_str(), &g.nodes[2].outputs[0][..]),
        ("s", "h")
    );
    assert_eq!(
        (g.nodes[4].name.as_str(), &g.nodes[4].outputs[0][..]),
        ("t", "y")
    );
}

#[test]
fn an_rms_normalisation_from_an_axis_needs_the_rank() {
    let norm = |from| Node::new("n", "RMSNormalization", &[from, "g"], &["y"]).with("axis", 1);
    let with_scale = |input: &[usize], nodes| {
        let mut g = graph(23, input, nodes);
        g.initializers
            .insert("g".to_owned(), Tensor::f32(&[3, 4], &[1.0; 12]));
        g
    };
    let mut g = with_scale(&[2, 3, 4], vec![norm("x")]);
    normalise(&mut g).unwrap();
    let mean = g.nodes.iter().find(|n| n.is("ReduceMean")).unwrap();
    assert_eq!(g.initializers[&mean.inputs[1]].to_i64().unwrap(), [1, 2]);
    assert!(refused(with_scale(&[2], vec![norm("x")])).contains("`n` (RMSNormalization)"));
    let hidden = vec![Node::new("e", "Exp", &["x"], &["h"]), norm("h")];
    assert!(refused(with_scale(&[2, 3, 4], hidden)).contains("unknown rank"));
}

#[test]
fn old_resizes_round_up_where_they_shrink_and_down_where_they_grow() {
    let resize = |scales: &[f32]| {
        let mut g = graph(
            10,
            &[1, 1, 6, 6],
            vec![Node::new("r", "Resize", &["x", "s"], &["y"])],
        );
        g.initializers
            .insert("s".to_owned(), Tensor::f32(&[scales.len()], scales));
        normalise(&mut g).unwrap();
        let modes = g
            .nodes
            .iter()
            .map(|n| n.string("nearest_mode", "").unwrap().to_owned());
        modes.collect::<Vec<_>>()
    };
    assert_eq!(resize(&[1.0, 1.0, 2.0, 1.0]), ["floor"]);
    assert_eq!(resize(&[1.0, 1.0, 0.7, 1.0]), ["ceil"]);
    assert_eq!(resize(&[1.0, 1.0, 2.0, 0.7]), ["floor", "ceil"]);
    let nodes = vec![
        Node::new("e", "Exp", &["s"], &["e"]),
        Node::new("r", "Resize", &["x", "e"], &["y"]),
    ];
    let mut computed = graph(10, &[1, 1, 6, 6], nodes);
    computed
        .initializers
        .insert("s".to_owned(), Tensor::f32(&[4], &[0.0; 4]));
    assert!(refused(computed).contains("`r` (Resize)"));
}
