//! What a model has around its graph.

use ftsurgery::onnx::messages::StringStringEntryProto;
use ftsurgery::transform::{Merging, Parts, merge};

use super::{dense, merged, names};
use crate::models::*;
use crate::support::{given, library};

#[test]
fn functions_that_are_equal_are_one_and_others_have_another_name() {
    let Some(runtime) = library() else { return };
    let with = |from: &str, to: &str, bodies: &[(&str, &str)]| {
        let calls: Vec<_> = bodies
            .iter()
            .enumerate()
            .map(|(at, (name, _))| {
                let between = |at: usize| format!("{from}{at}");
                let (a, b) = (between(at), between(at + 1));
                let a = if at == 0 { from } else { &a };
                let b = if at + 1 == bodies.len() { to } else { &b };
                node(name, &[a], &[b]).domain("own")
            })
            .collect();
        let mut proto = model(graph(
            &calls,
            &[],
            &[floats(from, &[0, 4])],
            &[floats(to, &[0, 4])],
        ));
        proto.opset_import.push(opset("own", 1));
        proto.functions = bodies
            .iter()
            .map(|(name, operator)| function(name, &[node(operator, &["x"], &["y"])]))
            .collect();
        proto
    };
    let front = with("x", "mid", &[("Same", "Relu"), ("Other", "Neg")]);
    let back = with("mid", "y", &[("Same", "Relu"), ("Other", "Abs")]);
    let (whole, notes) = merged(&runtime, &[&front, &back], &Merging::default());
    let functions: Vec<&str> = whole.proto.functions.iter().map(|f| f.name()).collect();
    assert_eq!(functions, ["Same", "Other", "Other_2"]);
    assert_eq!(
        operators(whole.graph()),
        ["Same", "Other", "Same", "Other_2"]
    );
    assert!(notes.iter().any(|n| n.contains("Other_2")), "{notes:?}");
    // What one model takes for an operator of some runtime is no function of the other.
    let mut foreign = back.clone();
    foreign.functions.remove(1);
    let folder = tempfile::tempdir().unwrap();
    let models = [&front, &foreign].map(|p| p.clone());
    let models = models.iter().enumerate();
    let models = models.map(|(at, p)| opened(folder.path(), &format!("{at}.onnx"), p));
    let parts = Parts::new(models.collect()).unwrap();
    let error = merge(&parts, &Merging::default(), &given(&runtime)).unwrap_err();
    assert!(error.to_string().contains("`own:Other`"), "{error}");
    assert!(error.is_bad_input());
}

#[test]
fn operator_sets_are_the_higher_where_all_nodes_mean_the_same_in_it() {
    let Some(runtime) = library() else { return };
    let mut front = model(dense("x", "mid", &numbers(&[4, 4])));
    front.opset_import = vec![opset("", 13)];
    front.ir_version = Some(7);
    let mut back = model(dense("mid", "y", &numbers(&[4, 4])));
    back.opset_import = vec![opset("", 18), opset("other", 2)];
    let (whole, notes) = merged(&runtime, &[&front, &back], &Merging::default());
    assert_eq!(whole.opset(), 18);
    assert_eq!(whole.proto.ir_version, Some(8));
    assert_eq!(whole.proto.opset_import.len(), 2);
    assert!(notes.iter().any(|n| n.contains("version 18")), "{notes:?}");
    let (whole, _) = merged(
        &runtime,
        &[&back, &{
            let mut low = model(dense("y", "z", &numbers(&[4, 4])));
            low.opset_import = vec![opset("", 13)];
            low
        }],
        &Merging::default(),
    );
    assert_eq!(whole.opset(), 18);
    // ReduceMean has its axes elsewhere since 18.
    let mean = node("ReduceMean", &["x"], &["mid"])
        .ints("axes", &[2])
        .int("keepdims", 0);
    let mut low = model(graph(
        &[mean],
        &[],
        &[floats("x", &[0, 4, 3])],
        &[floats("mid", &[0, 4])],
    ));
    low.opset_import = vec![opset("", 13)];
    let (whole, notes) = merged(&runtime, &[&low, &back], &Merging::default());
    assert_eq!(whole.opset(), 18);
    let mean = whole
        .graph()
        .node
        .iter()
        .find(|n| n.op_type() == "ReduceMean");
    assert_eq!(mean.unwrap().input.len(), 2);
    assert!(
        notes
            .iter()
            .any(|n| n.contains("are written in version 18")),
        "{notes:?}"
    );
    // What others have changed in theirs is not known.
    let foreign = |version, from: &str, to: &str| {
        let gelu = node("Gelu", &[from], &[to]).domain("com.microsoft");
        let mut proto = model(graph(
            &[gelu],
            &[],
            &[floats(from, &[0, 4])],
            &[floats(to, &[0, 4])],
        ));
        proto.opset_import.push(opset("com.microsoft", version));
        proto
    };
    let folder = tempfile::tempdir().unwrap();
    let models = [foreign(1, "x", "mid"), foreign(2, "mid", "y")];
    let models = models.iter().enumerate();
    let models = models.map(|(at, p)| opened(folder.path(), &format!("{at}.onnx"), p));
    let parts = Parts::new(models.collect()).unwrap();
    let error = merge(&parts, &Merging::default(), &given(&runtime)).unwrap_err();
    assert!(error.to_string().contains("node `mid` (Gelu)"), "{error}");
}

#[test]
fn metadata_and_documentation_are_those_of_both() {
    let Some(runtime) = library() else { return };
    let entry = |key: &str, value: &str| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    };
    let mut front = model(dense("x", "mid", &numbers(&[4, 4])));
    let mut back = model(dense("mid", "y", &numbers(&[4, 4])));
    front.metadata_props = vec![entry("author", "a"), entry("same", "s")];
    back.metadata_props = vec![entry("author", "b"), entry("same", "s"), entry("own", "o")];
    back.doc_string = Some("what it is".to_owned());
    back.graph.as_mut().unwrap().metadata_props = vec![entry("of the graph", "g")];
    let (whole, notes) = merged(&runtime, &[&front, &back], &Merging::default());
    assert_eq!(whole.metadata("author"), Some("a"));
    assert_eq!(whole.metadata("own"), Some("o"));
    assert_eq!(whole.proto.doc_string.as_deref(), Some("what it is"));
    assert_eq!(whole.graph().metadata_props, [entry("of the graph", "g")]);
    assert!(notes.iter().any(|n| n.contains("`author`")), "{notes:?}");
    assert!(!notes.iter().any(|n| n.contains("`same`")), "{notes:?}");
}

#[test]
fn a_model_of_ir_3_and_a_newer_one_keep_their_weights() {
    let Some(runtime) = library() else { return };
    let old = |from: &str, to: &str| {
        let mut proto = model(dense(from, to, &positive(&[4, 4])));
        proto.ir_version = Some(3);
        proto.opset_import = vec![opset("", 9)];
        let graph = proto.graph.as_mut().unwrap();
        for tensor in &graph.initializer {
            let dims: Vec<usize> = tensor.dims.iter().map(|&d| d as usize).collect();
            let value = floats(tensor.name(), &dims);
            graph.input.push(ftsurgery::graph::value_to_proto(&value));
        }
        proto
    };
    let (whole, _) = merged(
        &runtime,
        &[&old("x", "mid"), &old("mid", "y")],
        &Merging::default(),
    );
    assert_eq!(names(&whole.graph().input), ["x", "w", "b"]);
    let mut new = model(dense("mid", "y", &numbers(&[4, 4])));
    new.opset_import = vec![opset("", 9)];
    let (whole, _) = merged(&runtime, &[&old("x", "mid"), &new], &Merging::default());
    assert_eq!(whole.proto.ir_version, Some(8));
    let fed = names(&whole.graph().input);
    assert!(
        fed.iter()
            .all(|name| *name == "x" || tensors(whole.graph()).contains(name)),
        "{fed:?}"
    );
}
