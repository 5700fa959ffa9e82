use ftsurgery::graph::Value;
use ftsurgery::runtime::testing::has_runtime;

use crate::support::*;

#[test]
fn a_model_with_one_score_has_no_class_that_is_always_right() {
    if !has_runtime() {
        return;
    }
    let nodes = vec![
        node("GlobalAveragePool", &["x"], "p"),
        node("Flatten", &["p"], "f"),
        node("MatMul", &["f", "w"], "y"),
    ];
    let mut graph = graph(nodes, &[("w", &[3, 1])]);
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
    let nodes = vec![
        node("GlobalAveragePool", &["x"], "p"),
        node("Flatten", &["p"], "f"),
        node("MatMul", &["f", "w"], "y"),
        node("MatMul", &["f", "v"], "other"),
    ];
    let mut graph = graph(nodes, &[("w", &[3, CLASSES]), ("v", &[3, 2])]);
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
