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
fn a_model_with_one_score_tells_two_classes_apart() {
    if !has_runtime() {
        return;
    }
    let mut graph = classifiers(&[("y", "w", 1)]);
    graph.outputs = vec![Value::batched("y", &[1])];
    let probabilities = |graph: &Graph| -> Vec<f64> {
        let output = predict(graph, &["--quiet", "--json"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let classes = json[0]["classes"].as_array().unwrap().clone();
        let mut found = vec![0.0; classes.len()];
        for class in classes {
            let place: usize = class["name"].as_str().unwrap().parse().unwrap();
            found[place] = class["probability"].as_f64().unwrap();
        }
        found
    };
    let logit = probabilities(&graph);
    assert_eq!(logit.len(), 2);
    assert!((logit.iter().sum::<f64>() - 1.0).abs() < 1e-9 && logit[1] < 0.999);
    // The sigmoid in the file says the same.
    graph.nodes.push(node("Sigmoid", &["y"], "chance"));
    graph.outputs = vec![Value::batched("chance", &[1])];
    for (of_sigmoid, of_logit) in probabilities(&graph).iter().zip(&logit) {
        assert!((of_sigmoid - of_logit).abs() < 1e-6);
    }
    // A softmax of one score says nothing.
    graph.nodes.pop();
    graph
        .nodes
        .push(node("Softmax", &["y"], "chance").with("axis", 1));
    let output = predict(&graph, &[]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("softmax of one score"), "{said}");
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
    let told = "2 outputs: `y` is taken for the class scores, and `other` is left alone";
    assert!(said.contains(told), "{said}");
    // Below the name of the image.
    let classes = |stdout: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(stdout);
        text.lines().skip(1).map(str::to_owned).collect()
    };
    assert_eq!(classes(&output.stdout), classes(&alone.stdout));
    assert_eq!(classes(&output.stdout).len(), CLASSES);
}
