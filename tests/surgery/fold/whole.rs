//! Whole models, and what is refused.

use ftsurgery::onnx::{Model, Tensor};
use ftsurgery::transform::{Check, Folding, NoRuntime, Writing, fold, write};

use crate::models::*;
use crate::support::{corpus, fixture, ftsurgery, given, library};

#[test]
fn every_model_folds_to_the_numbers_that_it_had_and_is_not_larger() {
    let Some(runtime) = library() else { return };
    let given = given(&runtime);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.onnx");
    let mut faults = Vec::new();
    for (name, path) in corpus() {
        let model = Model::open_in_place(&path).unwrap();
        let beside = || -> u64 {
            let home = path.parent().unwrap();
            let files = model.external_locations();
            let bytes = |file: &String| std::fs::metadata(home.join(file)).unwrap().len();
            files.iter().map(bytes).sum()
        };
        for (batch_norm, inline) in [(false, false), (true, false), (true, true)] {
            let folding = Folding {
                batch_norm,
                inline,
                ..Folding::default()
            };
            let made = fold(&model, &folding, &given).unwrap();
            let writing = Writing::to(&out)
                .overwrite(true)
                .check(Some(Check::Numbers));
            match write(&made, &writing, &given) {
                Err(error) => faults.push(format!("{name}: {error}")),
                Ok(written) => {
                    let before = std::fs::metadata(&path).unwrap().len() + beside();
                    // Large values beside a model begin at multiples of a size, and its file tells where.
                    let tensors = made.proto.graph.as_ref().unwrap().initializer.len() as u64;
                    let (now, spare) = match &written.data {
                        None => (written.bytes, 0),
                        Some((_, data)) => (written.bytes + data, tensors * ((64 << 10) + 32)),
                    };
                    // Functions that are called twice are there twice.
                    if now > before + spare && !inline {
                        faults.push(format!("{name}: {before} to {now}"));
                    }
                }
            }
            if made.proto.metadata_props != model.proto.metadata_props {
                faults.push(format!("{name}: metadata"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn folded_again_nothing_changes() {
    let Some(runtime) = library() else { return };
    let given = given(&runtime);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.onnx");
    for (name, path) in corpus() {
        let model = Model::open_in_place(&path).unwrap();
        let made = fold(&model, &Folding::default(), &given).unwrap();
        let writing = Writing::to(&out).overwrite(true).check(Some(Check::Off));
        write(&made, &writing, &given).unwrap();
        let again = Model::open_in_place(&out).unwrap();
        let made = fold(&again, &Folding::default(), &given).unwrap();
        assert!(
            made.manifest.changes.is_empty(),
            "{name}: {}",
            made.manifest
        );
    }
}

#[test]
fn what_would_be_huge_is_not_computed() {
    let Some(runtime) = library() else { return };
    let nodes = [
        node("ConstantOfShape", &["shape"], &["all"]),
        node("Range", &["zero", "many", "one"], &["long"]),
        node("ReduceSum", &["all"], &["sum"]).int("keepdims", 0),
        node("ReduceMax", &["long"], &["most"]).int("keepdims", 0),
        node("Cast", &["most"], &["float"]).int("to", 1),
        node("Add", &["x", "sum"], &["h"]),
        node("Add", &["h", "float"], &["y"]),
    ];
    let values = [
        ("shape", Tensor::i64s(&[1 << 20, 1 << 20])),
        ("zero", Tensor::scalar_i64(0)),
        ("one", Tensor::scalar_i64(1)),
        ("many", Tensor::scalar_i64(1 << 40)),
    ];
    let proto = model(graph(
        &nodes,
        &values,
        &[floats("x", &[4])],
        &[floats("y", &[4])],
    ));
    let folder = tempfile::tempdir().unwrap();
    let model = opened(folder.path(), "model.onnx", &proto);
    let made = fold(&model, &Folding::default(), &given(&runtime)).unwrap();
    assert!(made.proto.graph.unwrap().node.len() >= 6);
}

#[test]
fn without_onnxruntime_sizes_are_computed_and_the_rest_is_told() {
    let nodes = [
        node("Shape", &["x"], &["shape"]),
        node("Reshape", &["x", "shape"], &["h"]),
        node("Neg", &["w"], &["negative"]),
        node("Add", &["h", "negative"], &["y"]),
    ];
    let proto = model(graph(
        &nodes,
        &[("w", numbers(&[4]))],
        &[floats("x", &[2, 4])],
        &[floats("y", &[2, 4])],
    ));
    let folder = tempfile::tempdir().unwrap();
    let model = opened(folder.path(), "model.onnx", &proto);
    let made = fold(&model, &Folding::default(), &NoRuntime).unwrap();
    assert_eq!(
        operators(made.proto.graph.as_ref().unwrap()),
        ["Reshape", "Neg", "Add"]
    );
    assert!(
        made.notes
            .iter()
            .any(|n| n.starts_with("1 node of constants stay")),
        "{:?}",
        made.notes
    );
}

#[test]
fn dimensions_that_do_not_fit_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let proto = model(graph(
        &[node("Relu", &["x"], &["y"])],
        &[],
        &[floats("x", &[0, 3])],
        &[floats("y", &[0, 3])],
    ));
    let path = folder.path().join("model.onnx");
    ftsurgery::onnx::save(&proto, &path).unwrap();
    let path = path.display().to_string();
    let run = |flags: &[&str]| ftsurgery(&[&["fold", &path, "--dry-run"][..], flags].concat());
    run(&["--dim", "M=1"]).refused(&["`M`", "`N`"]);
    run(&["--dim", "N=0"]).refused(&["no size"]);
    run(&["--fix-shape", "x=1,4"]).refused(&["dimension 1 of the input `x` is 3 already, not 4"]);
    run(&["--fix-shape", "x=1"]).refused(&["has 2 dimensions, not 1"]);
    run(&["--fix-shape", "z=1"]).refused(&["`z`"]);
    run(&["--dim", "N=1", "--fix-shape", "x=2,3"]).refused(&["`N` cannot be"]);
    run(&["--dim", "N=1"]).well();
}

#[test]
fn functions_are_written_out_when_asked() {
    let Some(runtime) = library() else { return };
    let model = Model::open_in_place(&fixture("functions.onnx")).unwrap();
    let asked = Folding {
        inline: true,
        ..Folding::default()
    };
    let made = fold(&model, &asked, &given(&runtime)).unwrap();
    assert!(!model.proto.functions.is_empty() && made.proto.functions.is_empty());
    let left = fold(&model, &Folding::default(), &given(&runtime)).unwrap();
    assert_eq!(left.proto.functions, model.proto.functions);
}
