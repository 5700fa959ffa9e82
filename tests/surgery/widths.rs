//! Other versions of the operators, and other widths of floats, of every model.

use std::collections::HashSet;
use std::error::Error;
use std::path::Path;

use ftsurgery::onnx::messages::{GraphProto, TypeValue, ValueInfoProto};
use ftsurgery::onnx::{DataType, Model};
use ftsurgery::transform::{
    Check, Numbers, Precision, Runtimes, TransformError, Transformed, Writing, opset, precision,
    write,
};

use crate::support::{corpus, fixture, ftsurgery, given, library};

/// Writes with numbers; how far these are off, or what is wrong, in words.
fn off(made: &Transformed<'_>, out: &Path, runtimes: &dyn Runtimes) -> Result<f64, String> {
    let writing = Writing::to(out).overwrite(true).check(Some(Check::Numbers));
    match write(made, &writing, runtimes) {
        Ok(written) => match written.numbers {
            Numbers::Equal { off, .. } => Ok(off),
            other => Err(format!("{other:?}")),
        },
        Err(error) => {
            let cause = error.source().map(ToString::to_string);
            Err(format!("{error}: {}", cause.unwrap_or_default()))
        }
    }
}

/// Everything but the operators of a model.
fn rest(model: &Model) -> impl PartialEq + std::fmt::Debug {
    let mut proto = model.proto.clone();
    proto
        .opset_import
        .retain(|o| !o.domain.as_deref().unwrap_or_default().is_empty());
    for function in &mut proto.functions {
        function.node.clear();
        function.value_info.clear();
        function.opset_import.clear();
    }
    let graph = proto.graph.as_mut().unwrap();
    graph.node.clear();
    graph.initializer.clear();
    proto
}

#[test]
fn every_model_computes_the_same_in_other_versions_or_is_refused_by_name() {
    let Some(runtime) = library() else { return };
    let runtimes = given(&runtime);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.onnx");
    let (mut raised, mut lowered, mut faults) = (0, 0, Vec::new());
    for (name, path) in corpus() {
        let model = Model::open_in_place(&path).unwrap();
        for to in [21, 13] {
            let fault = |what: String| format!("{name} to opset {to}: {what}");
            let made = match opset(&model, to, &runtimes) {
                Ok(made) => made,
                Err(error) => {
                    let text = error.to_string();
                    if to > model.opset() || !text.starts_with("node `") {
                        faults.push(fault(text));
                    }
                    continue;
                }
            };
            match off(&made, &out, &runtimes) {
                Err(what) => faults.push(fault(what)),
                Ok(_) if to > model.opset() => raised += 1,
                Ok(_) => lowered += 1,
            }
            let new = Model::open(&out).unwrap();
            assert_eq!(new.opset(), to, "{name}");
            assert!(
                name.contains("external/") || rest(&model) == rest(&new),
                "{name}"
            );
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(raised > 15 && lowered > 10, "{raised} {lowered}");
}

fn element(value: &ValueInfoProto) -> Option<i32> {
    match value.r#type.as_ref()?.value.as_ref()? {
        TypeValue::Tensor(tensor) => tensor.elem_type,
        _ => None,
    }
}

fn ends(graph: &GraphProto) -> Vec<(String, Option<i32>)> {
    let stored: HashSet<&str> = graph.initializer.iter().map(|t| t.name()).collect();
    let ends = graph
        .input
        .iter()
        .filter(|i| !stored.contains(i.name()))
        .chain(&graph.output);
    ends.map(|v| (v.name().to_owned(), element(v))).collect()
}

fn to(dtype: DataType) -> Precision {
    Precision {
        to: dtype,
        io: false,
        keep: Vec::new(),
    }
}

#[test]
fn every_model_computes_in_half_the_width_and_back_in_the_whole_it_has_its_nodes() {
    let Some(runtime) = library() else { return };
    let runtimes = given(&runtime);
    let folder = tempfile::tempdir().unwrap();
    let (half, back) = (
        folder.path().join("half.onnx"),
        folder.path().join("back.onnx"),
    );
    let (mut halved, mut faults) = (0, Vec::new());
    for (name, path) in corpus() {
        let model = Model::open_in_place(&path).unwrap();
        let mut run = || -> Result<(), String> {
            let told = |error: TransformError| error.to_string();
            let made = precision(&model, &to(DataType::Float16), &runtimes).map_err(told)?;
            off(&made, &half, &runtimes)?;
            let new = Model::open_in_place(&half).unwrap();
            assert_eq!(ends(model.graph()), ends(new.graph()), "{name}");
            let casts = new
                .graph()
                .node
                .iter()
                .filter(|n| n.op_type.as_deref() == Some("Cast"));
            let mut seen = HashSet::new();
            for cast in casts {
                let what = (cast.input.clone(), cast.attribute[0].i);
                assert!(seen.insert(what), "{name}: {cast:?} is doubled");
            }
            let floats = |model: &Model| {
                let tensors = model.graph().initializer.iter();
                tensors.filter(|t| t.data_type == Some(1)).count()
            };
            halved += usize::from(floats(&new) < floats(&model));
            let whole = precision(&new, &to(DataType::Float), &runtimes).map_err(told)?;
            off(&whole, &back, &runtimes)?;
            let original: Vec<_> = model
                .graph()
                .node
                .iter()
                .map(|n| (&n.input, &n.output))
                .collect();
            let whole = Model::open(&back).unwrap();
            let again: Vec<_> = whole
                .graph()
                .node
                .iter()
                .map(|n| (&n.input, &n.output))
                .collect();
            // One that has both widths does not come back to them.
            let has_half = model
                .graph()
                .initializer
                .iter()
                .any(|t| matches!(t.data_type, Some(10 | 16)));
            if !has_half && model.nodes_of("Cast").is_empty() {
                assert_eq!(original, again, "{name}");
            }
            Ok(())
        };
        if let Err(what) = run() {
            faults.push(format!("{name}: {what}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(halved > 25, "{halved}");
}

#[test]
fn what_cannot_be_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (fixture("functions.onnx"), folder.path().join("out.onnx"));
    let words = |operation: &str, more: &[&str]| {
        let all = [
            &[
                operation,
                model.to_str().unwrap(),
                "--out",
                out.to_str().unwrap(),
            ],
            more,
        ];
        ftsurgery(&all.concat())
    };
    words("opset", &["--to", "5"]).refused(&["opset 5 is not written here"]);
    words("opset", &["--to", "99"]).refused(&["opset 99"]);
    words("precision", &["--to", "f16", "--keep", "no/such*"]).refused(&["`no/such*`"]);
    words("precision", &["--to", "f8"]).refused(&["f8"]);
    assert!(!out.exists());
}
