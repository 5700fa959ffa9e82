//! Cuts in places where they are hard.

use ftsurgery::onnx::Model;
use ftsurgery::transform::{Check, Numbers, TransformError, Writing, extract, write};

use crate::support::{fixture, given, library};

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

/// Cuts, writes with numbers and reads again.
fn cut(model: &str, inputs: &[&str], outputs: &[&str]) -> Option<Model> {
    let runtime = library()?;
    let runtimes = given(&runtime);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.onnx");
    let original = Model::open_in_place(&fixture(model)).unwrap();
    let part = extract(&original, &names(inputs), &names(outputs), &runtimes).unwrap();
    let writing = Writing::to(&out).check(Some(Check::Numbers));
    let written = write(&part, &writing, &runtimes).unwrap();
    assert!(matches!(written.numbers, Numbers::Equal { .. }));
    Some(Model::open(&out).unwrap())
}

#[test]
fn what_only_an_inner_graph_reads_is_kept() {
    let Some(part) = cut("subgraphs.onnx", &["captured"], &["end"]) else {
        return;
    };
    let kept: Vec<&str> = part.graph().initializer.iter().map(|t| t.name()).collect();
    assert_eq!(kept, ["only.below", "trips", "threshold"]);
    assert_eq!(part.graph().input.len(), 1);
}

#[test]
fn a_cut_inside_of_a_function_writes_its_calls_out() {
    let Some(part) = cut("functions.onnx", &["first/c"], &["second/c"]) else {
        return;
    };
    assert!(part.proto.functions.is_empty());
    let Some(whole) = cut("functions.onnx", &["h1"], &["h2"]) else {
        return;
    };
    assert_eq!(
        whole.proto.functions.len(),
        2,
        "not asked to write them out"
    );
}

#[test]
fn an_initializer_may_be_fed() {
    let Some(part) = cut("ir3.onnx", &["pooled", "dense.weight"], &["logits"]) else {
        return;
    };
    let inputs: Vec<&str> = part.graph().input.iter().map(|v| v.name()).collect();
    // The last stands for an initializer.
    assert_eq!(inputs, ["pooled", "dense.weight", "dense.bias"]);
    assert_eq!(part.graph().initializer.len(), 1);
}

#[test]
fn several_values_may_be_given_in_any_order() {
    let Some(part) = cut("subgraphs.onnx", &[], &["sum", "h"]) else {
        return;
    };
    let outputs: Vec<&str> = part.graph().output.iter().map(|v| v.name()).collect();
    assert_eq!(outputs, ["sum", "h"]);
}

#[test]
fn what_does_not_follow_from_the_inputs_is_refused_by_name() {
    let Some(runtime) = library() else { return };
    let model = Model::open_in_place(&fixture("subgraphs.onnx")).unwrap();
    let fail = |inputs: &[&str], outputs: &[&str]| -> TransformError {
        extract(&model, &names(inputs), &names(outputs), &given(&runtime)).unwrap_err()
    };
    let error = fail(&["sum"], &["end"]);
    assert!(error.is_bad_input(), "{error}");
    assert!(error.to_string().contains("`x`"), "{error}");
    assert!(fail(&["nowhere"], &["y"]).to_string().contains("`nowhere`"));
    assert!(fail(&["h", "h"], &["y"]).to_string().contains("`h`"));
}
