use super::*;
use crate::surgery::testing::*;

/// The classifier with `nodes` after its Gemm `fc`, the last of which makes the output.
fn ending(nodes: Vec<Node>, opset: i64, dims: &[usize]) -> Graph {
    let mut graph = classifier();
    graph.opset = opset;
    graph.nodes.truncate(7);
    let output = nodes.last().map_or("fc", |n| &n.outputs[0]).to_owned();
    graph.nodes.extend(nodes);
    graph.outputs = vec![value(&output, dims)];
    graph
}

fn node(name: &str, op: &str, input: &str) -> Node {
    Node::new(name, op, &[input], &[name])
}

fn binary(name: &str, op: &str, inputs: [&str; 2]) -> Node {
    Node::new(name, op, &inputs, &[name])
}

/// As [`ending`] does it, with numbers for `one`, `half`, `low` and `high`, and the last axis in `axis`.
fn ending_with(nodes: Vec<Node>) -> Graph {
    let mut graph = ending(nodes, 17, &[0, 3]);
    let numbers = [
        ("one", 1.0),
        ("half", 0.5),
        ("low", 1e-7),
        ("high", 0.9999999),
    ];
    for (name, value) in numbers {
        let tensor = Tensor::scalar_f32(value);
        graph.initializers.insert(name.to_owned(), tensor);
    }
    let axis = Tensor::i64s(&[-1]);
    graph.initializers.insert("axis".to_owned(), axis);
    let gain = Tensor::f32(&[3], &[0.5, 0.25, 0.125]);
    graph.initializers.insert("gain".to_owned(), gain);
    graph
}

fn scores(graph: &Graph) -> (Scores, String) {
    let ending = super::ending(graph).unwrap();
    (ending.scores, ending.logits)
}

#[test]
fn an_output_without_softmax_or_sigmoid_is_the_logits() {
    let graph = ending(vec![], 17, &[0, 3]);
    assert_eq!(scores(&graph), (Scores::Logits, "fc".to_owned()));
    let relu = ending(vec![node("r", "Relu", "fc")], 17, &[0, 3]);
    assert_eq!(logits(&relu).unwrap(), "r");
    // A gate is no probability of a class.
    let swish = vec![node("s", "Sigmoid", "fc"), binary("y", "Mul", ["fc", "s"])];
    assert_eq!(logits(&ending(swish, 17, &[0, 3])).unwrap(), "y");
}

#[test]
fn a_sigmoid_gives_a_probability_per_class_and_no_logits() {
    let written_out = vec![
        node("n", "Neg", "fc"),
        node("e", "Exp", "n"),
        binary("a", "Add", ["one", "e"]),
    ];
    let divided = [written_out.clone(), vec![binary("y", "Div", ["one", "a"])]].concat();
    let inverted = [written_out, vec![node("y", "Reciprocal", "a")]].concat();
    let of_exp = vec![
        node("e", "Exp", "fc"),
        binary("a", "Add", ["e", "one"]),
        binary("y", "Div", ["e", "a"]),
    ];
    for nodes in [
        vec![node("y", "Sigmoid", "fc")],
        vec![node("y", "HardSigmoid", "fc")],
        divided,
        inverted,
        of_exp,
    ] {
        let graph = ending_with(nodes);
        assert_eq!(scores(&graph).0, Scores::Independent);
        let error = logits(&graph).unwrap_err();
        assert!(error.is_bad_input());
        assert!(error.to_string().contains("`y`"), "{error}");
    }
}

#[test]
fn a_softmax_that_is_written_out_is_looked_through() {
    let sum = |e: &str| binary("s", "ReduceSum", [e, "axis"]);
    let plain = vec![
        node("e", "Exp", "fc"),
        sum("e"),
        binary("y", "Div", ["e", "s"]),
    ];
    let shifted = vec![
        node("m", "ReduceMax", "fc").with("axes", vec![1i64]),
        binary("d", "Sub", ["fc", "m"]),
        node("e", "Exp", "d"),
        sum("e"),
        node("r", "Reciprocal", "s"),
        binary("y", "Mul", ["e", "r"]),
    ];
    let exp_of_log = vec![node("l", "LogSoftmax", "fc"), node("y", "Exp", "l")];
    let by_log_sum = vec![
        node("m", "ReduceLogSumExp", "fc").with("axes", vec![-1i64]),
        binary("d", "Sub", ["fc", "m"]),
        node("y", "Exp", "d"),
    ];
    for nodes in [plain.clone(), shifted, exp_of_log, by_log_sum] {
        let expected = (Scores::Probabilities, "fc".to_owned());
        assert_eq!(scores(&ending_with(nodes)), expected);
    }
    let log = [plain.clone(), vec![node("l", "Log", "y")]].concat();
    let expected = (Scores::LogProbabilities, "fc".to_owned());
    assert_eq!(scores(&ending_with(log)), expected);
    // Over the batch it is none.
    let mut over_batch = ending_with(plain);
    over_batch.initializers["axis"] = Tensor::i64s(&[0]);
    assert!(logits(&over_batch).is_err());
}

#[test]
fn probabilities_that_are_computed_with_are_refused_by_name() {
    let softmax = node("p", "Softmax", "fc");
    for last in [
        binary("y", "Mul", ["p", "half"]),
        binary("y", "Add", ["one", "p"]),
        binary("y", "Div", ["p", "half"]),
        Node::new("y", "Clip", &["p", "half", "high"], &["y"]),
        node("y", "Neg", "p"),
    ] {
        let error = logits(&ending_with(vec![softmax.clone(), last])).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("`p` (Softmax)") && text.contains("`y`"),
            "{text}"
        );
    }
    let sigmoid = vec![node("p", "Sigmoid", "fc"), node("y", "Log", "p")];
    assert!(logits(&ending_with(sigmoid)).is_err());
    // This keeps what is behind the comma.
    let clip = Node::new("y", "Clip", &["p", "low", "high"], &["y"]);
    let expected = (Scores::Probabilities, "fc".to_owned());
    assert_eq!(scores(&ending_with(vec![softmax, clip])), expected);
}

#[test]
fn rows_that_sum_to_1_between_0_and_1_are_probabilities_whatever_made_them() {
    let of = |values: &[f32]| Scores::Logits.of_values(values, 2);
    assert_eq!(of(&[0.25, 0.75, 1.0, 0.0]), Scores::Probabilities);
    assert_eq!(of(&[0.25, 0.75, 1.5, -0.5]), Scores::Logits);
    assert_eq!(of(&[0.25, 0.75, 0.5, 0.4]), Scores::Logits);
    assert_eq!(of(&[]), Scores::Logits);
}

#[test]
fn a_softmax_over_the_last_axis_is_looked_through() {
    for (softmax, opset) in [
        (node("p", "Softmax", "fc"), 17),
        (node("p", "LogSoftmax", "fc").with("axis", 1), 17),
        (node("p", "Softmax", "fc"), 9),
    ] {
        let alias = node("q", "Identity", "p");
        let cast = node("r", "Cast", "q").with("to", 1);
        let flat = node("s", "Flatten", "r");
        let graph = ending(vec![softmax, alias, cast, flat], opset, &[0, 3]);
        assert_eq!(logits(&graph).unwrap(), "fc");
    }
}

#[test]
fn a_softmax_over_another_axis_is_refused() {
    let graph = ending(
        vec![node("p", "Softmax", "fc").with("axis", 0)],
        17,
        &[0, 3],
    );
    assert!(
        logits(&graph)
            .unwrap_err()
            .to_string()
            .contains("`p` (Softmax)")
    );
    let wide = node("p", "Softmax", "map").with("axis", 1);
    assert!(logits(&ending(vec![wide.clone()], 17, &[0, 4, 8, 8])).is_err());
    let pooled = node("p", "Softmax", "pool").with("axis", 1);
    let flat = node("q", "Flatten", "p");
    assert!(logits(&ending(vec![pooled, flat], 17, &[0, 4])).is_err());
}

/// Tails that make `y` of the logits `fc`, with a second classifier's in `other`.
fn bounded() -> Vec<Vec<Node>> {
    let axis = |node: Node| node.with("axis", 1i64);
    let softmax = |of: &str, name: &str| axis(node(name, "Softmax", of));
    vec![
        // Sigmoids, written out.
        vec![
            binary("h", "Mul", ["fc", "half"]),
            node("t", "Tanh", "h"),
            binary("u", "Add", ["t", "one"]),
            binary("y", "Mul", ["u", "half"]),
        ],
        vec![
            node("n", "Neg", "fc"),
            node("e", "Exp", "n"),
            binary("u", "Add", ["e", "one"]),
            binary("y", "Pow", ["u", "minus"]),
        ],
        vec![
            node("n", "Neg", "fc"),
            node("s", "Softplus", "n"),
            node("m", "Neg", "s"),
            node("y", "Exp", "m"),
        ],
        vec![
            binary("a", "Add", ["fc", "half"]),
            Node::new("y", "Clip", &["a", "zero", "one"], &["y"]),
        ],
        // Means of two networks.
        vec![
            node("a", "Sigmoid", "fc"),
            node("b", "Sigmoid", "other"),
            binary("y", "Mean", ["a", "b"]),
        ],
        vec![
            softmax("fc", "a"),
            softmax("other", "b"),
            binary("c", "Add", ["a", "b"]),
            binary("y", "Mul", ["c", "half"]),
        ],
        // Some classes, a class and the rest, and two softmaxes side by side.
        vec![
            softmax("fc", "a"),
            Node::new("y", "Slice", &["a", "from", "to", "axis"], &["y"]),
        ],
        vec![
            node("a", "Sigmoid", "fc"),
            binary("b", "Sub", ["one", "a"]),
            axis(binary("y", "Concat", ["a", "b"])),
        ],
        vec![
            softmax("fc", "a"),
            softmax("other", "b"),
            axis(binary("y", "Concat", ["a", "b"])),
        ],
    ]
}

#[test]
fn what_lies_between_0_and_1_whatever_the_weights_are_is_no_logits() {
    for tail in bounded() {
        let mut graph = ending_with(tail.clone());
        for (name, value) in [("zero", 0.0), ("minus", -1.0)] {
            let tensor = Tensor::scalar_f32(value);
            graph.initializers.insert(name.to_owned(), tensor);
        }
        for (name, value) in [("from", 1), ("to", 3)] {
            let tensor = Tensor::i64s(&[value]);
            graph.initializers.insert(name.to_owned(), tensor);
        }
        let ending = super::ending(&graph).unwrap();
        assert_eq!(ending.scores, Scores::Bounded, "{tail:?}");
        let error = logits(&graph).unwrap_err().to_string();
        let last = format!("`y` ({})", tail.last().unwrap().op_type);
        assert!(
            error.contains(&last) && error.contains("--head linear"),
            "{error}"
        );
    }
    let of_values = |values: &[f32]| Scores::Bounded.of_values(values, 2);
    assert_eq!(of_values(&[0.25, 0.75, 1.0, 0.0]), Scores::Probabilities);
    assert_eq!(of_values(&[0.25, 0.75, 1.0, 0.5]), Scores::Independent);
}

#[test]
fn what_may_leave_0_to_1_is_the_logits() {
    for tail in [
        vec![node("y", "Tanh", "fc")],
        vec![node("y", "Relu", "fc")],
        vec![node("y", "Softplus", "fc")],
        vec![Node::new("y", "Clip", &["fc", "low"], &["y"])],
        vec![node("a", "Tanh", "fc"), binary("y", "Add", ["a", "one"])],
        // By a weight of several numbers, which may be trained.
        vec![
            node("a", "Tanh", "fc"),
            binary("b", "Mul", ["a", "gain"]),
            binary("y", "Add", ["b", "half"]),
        ],
        vec![
            node("a", "Sigmoid", "other"),
            binary("y", "Mul", ["fc", "a"]),
        ],
    ] {
        assert_eq!(scores(&ending_with(tail)), (Scores::Logits, "y".to_owned()));
    }
}
