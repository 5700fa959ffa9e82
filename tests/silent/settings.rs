use ftsurgery::graph::{Graph, Node};
use ftsurgery::onnx::Tensor;
use ftsurgery::runtime::testing::has_runtime;

use crate::support::*;

/// A convolution, `middle` from `a` to `m`, and a classifier.
fn network(middle: Vec<Node>, opset: i64) -> Graph {
    let first = vec![node("Conv", &["x", "cw", "cb"], "a").with("pads", vec![1i64; 4])];
    let last = vec![
        node("GlobalAveragePool", &["m"], "p"),
        node("Flatten", &["p"], "f"),
        node("Gemm", &["f", "w", "b"], "y"),
    ];
    let weights: [(&str, &[usize]); 4] = [
        ("cw", &[4, 3, 3, 3]),
        ("cb", &[4]),
        ("w", &[4, 5]),
        ("b", &[5]),
    ];
    let mut graph = graph([first, middle, last].concat(), &weights);
    graph.opset = opset;
    for (name, dims, values) in [
        ("scales", vec![4], vec![1.0, 1.0, 2.0, 2.0]),
        ("threshold", vec![4, 1, 1], vec![0.1, -0.1, 0.0, 0.2]),
        ("low", vec![], vec![-1.0]),
        ("exponent", vec![1], vec![2.0]),
    ] {
        graph
            .initializers
            .insert(name.to_owned(), Tensor::f32(&dims, &values));
    }
    graph
}

#[test]
fn scales_thresholds_and_exponents_are_no_weights() {
    if !has_runtime() {
        return;
    }
    let upsample = node("Upsample", &["a", "scales"], "m").with("mode", nearest());
    let resize = node("Resize", &["a", "", "scales"], "m").with("mode", nearest());
    let mask = vec![
        node("Greater", &["a", "threshold"], "g"),
        node("Where", &["g", "a", "low"], "m"),
    ];
    let power = vec![node("Pow", &["a", "exponent"], "m")];
    for (middle, opset) in [
        (vec![upsample], 9),
        (vec![resize], 17),
        (mask, 17),
        (power, 17),
    ] {
        let graph = network(middle.clone(), opset);
        for pattern in ["**", "*"] {
            let (output, arrays) = gradients(&graph, &["--wrt", pattern]);
            assert!(output.status.success(), "{middle:?}: {}", stderr(&output));
            assert_eq!(names(&arrays), ["b", "cb", "cw", "w"], "{middle:?}");
        }
    }
}

fn nearest() -> ftsurgery::graph::Attribute {
    "nearest".into()
}
