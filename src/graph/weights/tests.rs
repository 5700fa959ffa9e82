use super::*;
use crate::graph::{Dim, Value, reaching};
use crate::onnx::DataType;

fn node(op: &str, inputs: &[&str], output: &str) -> Node {
    Node::new(output, op, inputs, &[output])
}

fn of(dims: &[usize]) -> Tensor {
    Tensor::f32(dims, &vec![1.5; dims.iter().product()])
}

fn constant(name: &str, dims: &[usize]) -> Node {
    Node::new(name, "Constant", &[], &[name]).with("value", of(dims))
}

fn graph(nodes: Vec<Node>, initializers: &[(&str, &[usize])]) -> Graph {
    Graph {
        opset: 17,
        domains: vec![],
        nodes,
        inputs: vec![Value {
            name: "x".to_owned(),
            dtype: DataType::Float,
            dims: Some(vec![Dim::Symbolic("N".to_owned())]),
        }],
        outputs: vec![],
        initializers: initializers
            .iter()
            .map(|(name, dims)| ((*name).to_owned(), of(dims)))
            .collect(),
    }
}

fn found(graph: &Graph) -> Vec<(usize, &str)> {
    weights(graph).iter().map(|w| (w.node, w.name)).collect()
}

fn names(graph: &Graph) -> Vec<&str> {
    let mut names: Vec<&str> = weights(graph).iter().map(|w| w.name).collect();
    names.dedup();
    names
}

#[test]
fn statistics_settings_and_numbers_are_no_weights() {
    let nodes = vec![
        constant("number", &[1]),
        constant("shift", &[2, 1, 1]),
        node("Conv", &["x", "w"], "a"),
        node(
            "BatchNormalization",
            &["a", "scale", "bias", "mean", "var"],
            "b",
        ),
        node("Clip", &["b", "low"], "c"),
        node("Mul", &["c", "gain"], "d"),
        node("Mul", &["d", "number"], "e"),
        node("Add", &["shift", "e"], "f"),
        node("Mul", &["f", "one"], "g"),
        node("Identity", &["mean"], "mean2"),
        node("Identity", &["scale"], "scale2"),
        node("Identity", &["scale2"], "scale3"),
        node(
            "BatchNormalization",
            &["g", "scale3", "bias", "mean2", "var"],
            "h",
        ),
        // Fresh scales and variances are equal, and written once.
        node(
            "BatchNormalization",
            &["h", "both", "bias", "mean2", "both"],
            "i",
        ),
        node("Greater", &["i", "threshold"], "mask"),
        node("Where", &["mask", "i", "low"], "j"),
        node("Resize", &["j", "", "scales"], "k"),
        node("Pow", &["k", "exponent"], "l"),
        node("TopK", &["l", "scales"], "m"),
        node("Mod", &["m", "exponent"], "n"),
        node("GridSample", &["n", "grid"], "y"),
    ];
    let graph = graph(
        nodes,
        &[
            ("w", &[2, 2, 1, 1]),
            ("scale", &[2]),
            ("bias", &[2]),
            ("mean", &[2]),
            ("var", &[2]),
            ("one", &[1]),
            ("gain", &[]),
            ("low", &[]),
            ("both", &[2]),
            ("threshold", &[2, 1, 1]),
            ("scales", &[4]),
            ("exponent", &[2, 1, 1]),
            ("grid", &[1, 4, 4, 2]),
        ],
    );
    let expected = [
        (2, "w"),
        (3, "scale"),
        (3, "bias"),
        (7, "shift"),
        (12, "scale"),
        (12, "bias"),
        (13, "bias"),
    ];
    assert_eq!(found(&graph), expected);
}

#[test]
fn what_joins_the_data_behind_a_layer_is_a_weight_in_any_form() {
    let nodes = vec![
        node("Conv", &["x", "w"], "a"),
        node("Expand", &["token", "shape"], "b"),
        node("Concat", &["b", "a"], "c"),
        node("Slice", &["places", "from", "to"], "d"),
        node("Add", &["c", "d"], "e"),
        node("Gather", &["table", "index"], "f"),
        node("Transpose", &["f"], "g"),
        node("Add", &["e", "g"], "h"),
        node("Exp", &["temperature"], "i"),
        node("Mul", &["h", "i"], "j"),
        node("Where", &["mask", "filler", "j"], "k"),
        node("Mul", &["gamma", "k"], "y"),
    ];
    let graph = graph(
        nodes,
        &[
            ("w", &[2, 3, 1, 1]),
            ("token", &[1, 1, 2]),
            ("places", &[1, 9, 2]),
            ("table", &[9, 2]),
            ("temperature", &[2, 1, 1]),
            ("filler", &[2]),
            ("gamma", &[2]),
        ],
    );
    assert_eq!(
        found(&graph),
        [
            (0, "w"),
            (2, "token"),
            (4, "places"),
            (7, "table"),
            (9, "temperature"),
            (10, "filler"),
            (11, "gamma")
        ]
    );
}

#[test]
fn a_weight_may_be_computed_with_before_it_meets_the_data() {
    let nodes = vec![
        node("ReduceMean", &["w"], "mean"),
        node("Sub", &["w", "mean"], "centred"),
        node("Mul", &["centred", "centred"], "squared"),
        node("ReduceMean", &["squared"], "spread"),
        node("Add", &["spread", "epsilon"], "above"),
        node("Sqrt", &["above"], "deviation"),
        node("Div", &["centred", "deviation"], "standard"),
        node("Mul", &["standard", "gain"], "scaled"),
        node("Mul", &["scaled", "number"], "last"),
        node("Conv", &["x", "last", "half"], "a"),
        node("Cast", &["b16"], "b").with("to", 1),
        node("MatMul", &["a", "b"], "y"),
    ];
    let graph = graph(
        nodes,
        &[
            ("w", &[2, 3, 1, 1]),
            ("epsilon", &[1]),
            ("gain", &[2, 1, 1, 1]),
            ("number", &[1]),
            ("half", &[2]),
            ("b16", &[2, 5]),
        ],
    );
    assert_eq!(
        found(&graph),
        [(9, "w"), (9, "gain"), (9, "half"), (11, "b16")]
    );
}

#[test]
fn the_statistics_of_a_written_out_normalisation_are_no_weights() {
    let middle = |nodes: Vec<Node>| {
        let conv = vec![node("Conv", &["x", "w"], "a")];
        let tensors: [(&str, &[usize]); 6] = [
            ("w", &[2, 3, 1, 1]),
            ("mean", &[2]),
            ("var", &[2]),
            ("scale", &[2]),
            ("shift", &[2]),
            ("eps", &[]),
        ];
        graph([conv, nodes].concat(), &tensors)
    };
    let plain = middle(vec![
        node("Sub", &["a", "mean"], "b"),
        node("Add", &["var", "eps"], "c"),
        node("Sqrt", &["c"], "d"),
        node("Div", &["b", "d"], "e"),
        node("Mul", &["e", "scale"], "f"),
        node("Add", &["f", "shift"], "y"),
    ]);
    assert_eq!(names(&plain), ["w", "scale", "shift"]);
    let folded = middle(vec![
        node("Add", &["var", "eps"], "c"),
        node("Sqrt", &["c"], "d"),
        node("Reciprocal", &["d"], "e"),
        node("Mul", &["e", "scale"], "r"),
        node("Mul", &["a", "r"], "f"),
        node("Mul", &["mean", "r"], "g"),
        node("Sub", &["shift", "g"], "h"),
        node("Add", &["f", "h"], "y"),
    ]);
    let mut left = names(&folded);
    left.sort_unstable();
    left.dedup();
    assert_eq!(left, ["scale", "shift", "w"]);
}

#[test]
fn pixels_scaled_before_the_first_layer_and_masks_are_no_weights() {
    let mut graph = graph(
        vec![
            node("Sub", &["x", "pixel.mean"], "a"),
            node("Div", &["a", "pixel.std"], "b"),
            node("Conv", &["b", "w"], "c"),
            node("Add", &["c", "mask"], "d"),
            node("Mul", &["d", "holes"], "e"),
            node("Add", &["e", "learned"], "y"),
        ],
        &[
            ("pixel.mean", &[3, 1, 1]),
            ("pixel.std", &[3, 1, 1]),
            ("w", &[2, 3, 1, 1]),
            ("learned", &[2, 2]),
        ],
    );
    let mut mask = |name: &str, values: [f32; 4]| {
        let tensor = Tensor::f32(&[2, 2], &values);
        graph.initializers.insert(name.to_owned(), tensor);
    };
    mask("mask", [0.0, -100.0, f32::NEG_INFINITY, 0.0]);
    mask("holes", [1.0, 0.0, 1.0, 1.0]);
    assert_eq!(names(&graph), ["w", "learned"]);
}

#[test]
fn a_single_number_is_a_weight_where_a_layer_has_one_feature_or_a_module_has_that_member() {
    let graph = graph(
        vec![
            node("Conv", &["x", "w", "b"], "a"),
            node("PRelu", &["a", "slope"], "c"),
            node("Mul", &["c", "blocks.0.gain"], "d"),
            node("Mul", &["d", "half"], "e"),
            node("Mul", &["e", "act.twice"], "f"),
            node("Mul", &["f", "act.twice"], "g"),
            node("Gemm", &["g", "many", "zero"], "h"),
            node("MatMul", &["h", "column"], "i"),
            node("Add", &["i", "bias"], "j"),
            node("Gemm", &["j", "many", "zero"], "k"),
            node("Cast", &["half column"], "half column/cast").with("to", 1),
            node("Cast", &["half bias"], "half bias/cast").with("to", 1),
            node("Gemm", &["k", "half column/cast", "half bias/cast"], "y"),
        ],
        &[
            ("w", &[1, 3, 1, 1]),
            ("b", &[1]),
            ("slope", &[1]),
            ("blocks.0.gain", &[1]),
            ("half", &[1]),
            ("act.twice", &[1]),
            ("many", &[1, 4]),
            ("zero", &[1]),
            ("column", &[4, 1]),
            ("bias", &[1]),
            ("half column", &[4, 1]),
            ("half bias", &[1]),
        ],
    );
    assert_eq!(
        names(&graph),
        [
            "w",
            "b",
            "slope",
            "blocks.0.gain",
            "many",
            "column",
            "bias",
            "many",
            "half column",
            "half bias"
        ]
    );
}

#[test]
fn what_an_output_depends_on_ends_at_integers() {
    let graph = graph(
        vec![
            node("Conv", &["x", "w"], "a"),
            node("ArgMax", &["a"], "b"),
            node("Cast", &["b"], "c").with("to", 1),
            node("Gemm", &["x", "v"], "d"),
            node("Mul", &["c", "d"], "y"),
        ],
        &[("w", &[2, 3, 1, 1]), ("v", &[3, 2])],
    );
    let reached = reaching(&graph, &["y"]);
    assert!(reached.contains("v") && reached.contains("c"));
    assert!(!reached.contains("w") && !reached.contains("a"));
}

#[test]
fn a_number_is_the_bias_of_a_layer_with_one_output_only_where_nothing_else_reads_that() {
    let hard_swish = |bias: bool| {
        let inputs: &[&str] = if bias { &["x", "w", "b"] } else { &["x", "w"] };
        vec![
            node("Conv", inputs, "a"),
            node("Add", &["a", "three"], "c"),
            node("Clip", &["c", "zero", "six"], "d"),
            node("Mul", &["a", "d"], "e"),
        ]
    };
    let mut hard_sigmoid = hard_swish(true);
    hard_sigmoid.truncate(3);
    let mut bias = hard_swish(false);
    bias.truncate(2);
    for (nodes, expected) in [
        (hard_swish(true), &["w", "b"][..]),
        (hard_swish(false), &["w"]),
        (hard_sigmoid, &["w", "b"]),
        (bias, &["w", "three"]),
    ] {
        let initializers: &[(&str, &[usize])] =
            &[("w", &[1, 3, 1, 1]), ("b", &[1]), ("three", &[1])];
        assert_eq!(names(&graph(nodes, initializers)), expected);
    }
}

#[test]
fn ones_and_zeros_in_place_of_parameters_that_a_normalisation_has_not_are_no_weights() {
    let filled = |name: &str, value: f32| {
        let tensor = Tensor::f32(&[2], &[value; 2]);
        Node::new(name, "Constant", &[], &[name]).with("value", tensor)
    };
    let norm = |x: &str, scale: &str, shift: &str, y: &str| {
        node("InstanceNormalization", &[x, scale, shift], y)
    };
    let mut graph = graph(
        vec![
            filled("/norm/Constant_output_0", 1.0),
            filled("/norm/Constant_1_output_0", 0.0),
            filled("learned", 0.5),
            node("Conv", &["x", "w"], "a"),
            norm(
                "a",
                "/norm/Constant_output_0",
                "/norm/Constant_1_output_0",
                "b",
            ),
            // Each is looked at for itself: a LayerNorm may have a scale and no bias.
            norm("b", "learned", "/norm/Constant_1_output_0", "c"),
            norm("c", "val_12", "onnx::InstanceNormalization_7", "d"),
            // Zeros as a scale, or ones as a shift, are nobody's filler.
            norm("d", "onnx::InstanceNormalization_7", "val_12", "e"),
            // A fresh module's own.
            norm("e", "norm.weight", "norm.bias", "f"),
            node("Mul", &["f", "val_12"], "y"),
        ],
        &[("w", &[2, 3, 1, 1])],
    );
    for (name, value) in [
        ("val_12", 1.0),
        ("onnx::InstanceNormalization_7", 0.0),
        ("norm.weight", 1.0),
        ("norm.bias", 0.0),
    ] {
        let tensor = Tensor::f32(&[2], &[value; 2]);
        graph.initializers.insert(name.to_owned(), tensor);
    }
    assert_eq!(
        found(&graph),
        [
            (3, "w"),
            (5, "learned"),
            (7, "onnx::InstanceNormalization_7"),
            (7, "val_12"),
            (8, "norm.weight"),
            (8, "norm.bias"),
            (9, "val_12"),
        ]
    );
}
