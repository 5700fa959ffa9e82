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
    let Some(part) = cut("sub.onnx", &["h"], &["chosen"]) else {
        return;
    };
    let kept: Vec<&str> = part.graph().initializer.iter().map(|t| t.name()).collect();
    assert_eq!(kept, ["bias", "only_inside", "zero"]);
    assert_eq!(part.graph().input.len(), 1);
}

#[test]
fn a_cut_inside_of_a_function_writes_its_calls_out() {
    let Some(part) = cut("func.onnx", &["first/call/y"], &["first/a"]) else {
        return;
    };
    assert!(part.proto.functions.is_empty());
    let Some(whole) = cut("func.onnx", &["h1"], &["h3"]) else {
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
    let Some(part) = cut("ir3.onnx", &["p1", "w2"], &["y"]) else {
        return;
    };
    let inputs: Vec<&str> = part.graph().input.iter().map(|v| v.name()).collect();
    assert_eq!(inputs, ["p1", "w2", "b2"], "that stands for an initializer");
    assert_eq!(part.graph().initializer.len(), 1);
}

#[test]
fn several_values_may_be_given_in_any_order() {
    let Some(part) = cut("sub.onnx", &[], &["sum", "h"]) else {
        return;
    };
    let outputs: Vec<&str> = part.graph().output.iter().map(|v| v.name()).collect();
    assert_eq!(outputs, ["sum", "h"]);
}

#[test]
fn what_does_not_follow_from_the_inputs_is_refused_by_name() {
    let Some(runtime) = library() else { return };
    let model = Model::open_in_place(&fixture("sub.onnx")).unwrap();
    let fail = |inputs: &[&str], outputs: &[&str]| -> TransformError {
        extract(&model, &names(inputs), &names(outputs), &given(&runtime)).unwrap_err()
    };
    let error = fail(&["sum"], &["chosen"]);
    assert!(error.is_bad_input(), "{error}");
    assert!(error.to_string().contains("`x`"), "{error}");
    assert!(fail(&["nowhere"], &["y"]).to_string().contains("`nowhere`"));
    assert!(fail(&["h", "h"], &["y"]).to_string().contains("`h`"));
}
