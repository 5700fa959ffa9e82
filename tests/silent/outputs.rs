use ftsurgery::graph::{Graph, Value};
use ftsurgery::runtime::testing::has_runtime;

use crate::support::*;

/// Products of a pooled image: value, weight and number of scores of each. `y` is an output.
fn classifiers(heads: &[(&str, &str, usize)]) -> Graph {
    let mut nodes = vec![
        node("GlobalAveragePool", &["x"], "p"),
        node("Flatten", &["p"], "f"),
    ];
    let product = |&(value, weight, _): &(&str, &str, _)| node("MatMul", &["f", weight], value);
    nodes.extend(heads.iter().map(product));
    let dims: Vec<[usize; 2]> = heads.iter().map(|&(_, _, scores)| [3, scores]).collect();
    let weights = heads.iter().zip(&dims);
    let weights: Vec<_> = weights
        .map(|((_, weight, _), dims)| (*weight, &dims[..]))
        .collect();
    graph(nodes, &weights)
}

#[test]
fn a_model_with_one_score_has_no_class_that_is_always_right() {
    if !has_runtime() {
        return;
    }
    let mut graph = classifiers(&[("y", "w", 1)]);
    graph.outputs = vec![Value::batched("y", &[1])];
    let output = predict(&graph, &[]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("one score per sample"), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn of_several_outputs_the_one_that_is_taken_is_told() {
    if !has_runtime() {
        return;
    }
    let mut graph = classifiers(&[("y", "w", CLASSES), ("other", "v", 2)]);
    let alone = predict(&graph, &[]);
    assert!(!stderr(&alone).contains("outputs"), "{}", stderr(&alone));
    graph.outputs.push(Value::batched("other", &[2]));
    let output = predict(&graph, &[]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let told =
        "2 outputs: the first, `y`, is taken for the class scores, and `other` is left alone";
    assert!(said.contains(told), "{said}");
    // Below the name of the image.
    let classes = |stdout: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(stdout);
        text.lines().skip(1).map(str::to_owned).collect()
    };
    assert_eq!(classes(&output.stdout), classes(&alone.stdout));
    assert_eq!(classes(&output.stdout).len(), CLASSES);
}
