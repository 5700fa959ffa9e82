//! Whole models and their files, and what is refused.

use std::path::PathBuf;

use ftsurgery::onnx::messages::GraphProto;
use ftsurgery::onnx::{Model, Placement, is_external};
use ftsurgery::transform::{Check, Merging, Numbers, Parts, Writing, extract, merge, place, write};

use super::{dense, of_models};
use crate::models::*;
use crate::support::{corpus, ftsurgery, given, library, lost, middle};

#[test]
fn what_lies_beside_any_model_lies_in_one_file_beside_the_new_one() {
    let Some(runtime) = library() else { return };
    let given = given(&runtime);
    let folder = tempfile::tempdir().unwrap();
    let big = |x: &str, y: &str, w: &str| {
        let nodes = [node("MatMul", &[x, w], &[y])];
        let values = [(w, numbers(&[200, 200])), ("shared", numbers(&[200, 200]))];
        let nodes = [
            nodes[0].clone(),
            node("MatMul", &[x, "shared"], &[&format!("{y}2")]),
        ];
        let outputs = [floats(y, &[0, 200]), floats(&format!("{y}2"), &[0, 200])];
        model(graph(&nodes, &values, &[floats(x, &[0, 200])], &outputs))
    };
    let mut models = Vec::new();
    for (at, proto) in [big("x", "mid", "w1"), big("mid", "y", "w2")]
        .iter()
        .enumerate()
    {
        let home = folder.path().join(at.to_string());
        std::fs::create_dir(&home).unwrap();
        let inside = opened(&home, "inside.onnx", proto);
        let beside = home.join("model.onnx");
        let placed = place(&inside, Placement::Beside { least: 1 }).unwrap();
        write(&placed, &Writing::to(&beside), &given).unwrap();
        models.push(Model::open_in_place(&beside).unwrap());
    }
    let (whole, _) = of_models(&runtime, models, &Merging::default(), folder.path());
    let tensors = &whole.graph().initializer;
    assert_eq!(tensors.len(), 3);
    assert!(tensors.iter().all(is_external));
    assert_eq!(whole.external_locations(), ["out.onnx.data"]);
    assert_eq!(whole.tensor(&tensors[2]).unwrap(), numbers(&[200, 200]));
}

#[test]
fn the_halves_of_every_model_come_together_to_what_it_was() {
    let Some(runtime) = library() else { return };
    let given = given(&runtime);
    let folder = tempfile::tempdir().unwrap();
    let mut faults = Vec::new();
    let mut pairs = 0;
    for (name, path) in corpus() {
        let model = Model::open_in_place(&path).unwrap();
        let Some(value) = middle(model.graph()) else {
            continue;
        };
        let value = [value];
        let half = |file: &str, inputs: &[String], outputs: &[String]| -> PathBuf {
            let out = folder.path().join(file);
            let part = extract(&model, inputs, outputs, &given).unwrap();
            let writing = Writing::to(&out).overwrite(true).check(Some(Check::Off));
            write(&part, &writing, &given).unwrap();
            out
        };
        let halves = [half("a.onnx", &[], &value), half("b.onnx", &value, &[])];
        let models = halves.map(|path| Model::open_in_place(&path).unwrap());
        let parts = Parts::new(models.into()).unwrap();
        let made = merge(&parts, &Merging::default(), &given).unwrap();
        let out = folder.path().join("out.onnx");
        let writing = Writing::to(&out)
            .overwrite(true)
            .check(Some(Check::Numbers));
        match write(&made, &writing, &given) {
            Err(error) => faults.push(format!("{name}: {error}")),
            Ok(written) => {
                // Half floats are rounded where one half ends and the runtime goes on.
                if !matches!(written.numbers, Numbers::Equal { off, .. } if off < 1e-4) {
                    faults.push(format!("{name}: {:?}", written.numbers));
                }
                let lost = lost(&path, &out).into_iter();
                faults.extend(lost.map(|what| format!("{name}: {what}")));
            }
        }
        pairs += 1;
    }
    assert!(pairs > 20, "{pairs}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, graph: GraphProto| {
        let path = folder.path().join(name);
        ftsurgery::onnx::save(&model(graph), &path).unwrap();
        path.display().to_string()
    };
    let front = at("front.onnx", dense("x", "mid", &numbers(&[4, 4])));
    let wide = graph(
        &[node("Relu", &["mid"], &["y"])],
        &[],
        &[floats("mid", &[0, 5])],
        &[floats("y", &[0, 5])],
    );
    let wide = at("wide.onnx", wide);
    let two = graph(
        &[node("Add", &["p", "q"], &["y"])],
        &[],
        &[floats("p", &[0, 4]), floats("q", &[0, 4])],
        &[floats("y", &[0, 4])],
    );
    let two = at("two.onnx", two);
    let run = |words: &[&str]| ftsurgery(&[&["merge"][..], words, &["--dry-run"]].concat());
    run(&[&front, &wide]).refused(&["`mid`", "its dimension 1 is 4, not 5"]);
    run(&[&front, &two]).refused(&["--connect", "`p`, `q`", "`mid`"]);
    run(&[&front, &two, "--connect", "mid=z"]).refused(&["`p`, `q`"]);
    run(&[&front, &two, "--connect", "mid=p", "--connect", "nothing=q"]).refused(&["`nothing`"]);
    run(&[&front, &two, "--connect", "mid=p", "--connect", "h=p"]).refused(&["two values", "`p`"]);
    run(&[&front, &two, "--connect", "mid=p", "--outputs", "zzz"]).refused(&["`zzz`"]);
    run(&[&front]).refused(&["<MODEL>"]);
    run(&[&front, &two, "--connect", "mid=p"]).well();
}
