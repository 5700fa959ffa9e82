//! Models whose weights are float16, or lie in Constant nodes, from `fixtures/exporters`.

use std::path::Path;

use ftsurgery::graph::{Graph, normalise};
use ftsurgery::onnx::{DataType, Model, Tensor};
use ftsurgery::testing::only_tuned;

use crate::support::*;

/// Weights of a model, wherever they are.
fn tensor(path: &Path, name: &str) -> Tensor {
    let mut graph = Graph::from_model(&Model::open(path).unwrap()).unwrap();
    normalise(&mut graph).unwrap();
    graph.initializers[name].clone()
}

#[test]
fn float16_models_and_constant_weights_are_tuned_written_and_used() {
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    save_photos(&at("photos"), 12);
    for (name, dtype) in [
        ("half", DataType::Float16),
        ("half_inside", DataType::Float16),
        ("constant_nodes", DataType::Float),
    ] {
        let model = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures/exporters")
            .join(format!("{name}.onnx"));
        for head in ["keep", "linear"] {
            let run = at(&format!("{name}-{head}"));
            let mut arguments: Vec<&str> = QUICK.split(' ').collect();
            arguments.extend(["--head", head, "--strategies", "head,full", "--lr", "0.01"]);
            tune(&model, &at("photos"), &run, &arguments)
                .assert()
                .success();
            let winner = run.join("winners/full.onnx");
            let (before, after) = (
                tensor(&model, "conv.weight"),
                tensor(&winner, "conv.weight"),
            );
            assert_eq!(after.dtype, dtype, "{name}");
            assert_ne!(after.data, before.data, "{name}");
            // Trained with the head alone, the rest stays as it was.
            let frozen = run.join("winners/head.onnx");
            assert_eq!(tensor(&frozen, "conv.weight"), before);
            if head == "keep" {
                let (original, emitted) = (Model::open(&model), Model::open(&frozen));
                let tuned = ["fc.weight", "fc.bias"].map(str::to_owned);
                only_tuned(&original.unwrap(), &emitted.unwrap(), &tuned).unwrap();
            }
            let split = run.join("split.json");
            let output = ftsurgery()
                .arg("evaluate")
                .arg(&winner)
                .arg("--data")
                .arg(at("photos"))
                .arg("--split")
                .arg(split)
                .args(["--part", "held_out", "--json"])
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            let evaluated: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let results = json(&run.join("results.json"));
            let promised = &results["strategies"][1]["held_out_accuracy"];
            assert_eq!(&evaluated["accuracy"], promised, "{name}");
            ftsurgery()
                .arg("predict")
                .arg(&winner)
                .arg(at("photos/red/00.png"))
                .assert()
                .success();
        }
    }
}
