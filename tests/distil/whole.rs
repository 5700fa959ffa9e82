//! What comes out is never further from the original at its outputs than what went in; what trained it is noted.

use ftsurgery::graph::{Graph, Value};
use ftsurgery::onnx::Tensor;
use ftsurgery::runtime::testing::has_runtime;
use serde_json::{Value as Json, json};

use crate::networks::{CLASSES, changed, node, noise, noisy, plain};
use crate::scene::{Scene, digits, outputs};

/// A network of three blocks. What the first gives are two numbers, made of one map by constant factors, of which the second,
/// the small one, alone goes on. The second cuts ten multiples of it to a range and rounds them. The third makes the scores
/// of these.
fn narrow(factor: f32) -> Graph {
    let nodes = vec![
        node("Conv", &["x", "c.w"], "map").with("kernel_shape", vec![3, 3]),
        node("Mul", &["map", "large"], "much"),
        node("Concat", &["much", "map"], "both").with("axis", 1),
        node("GlobalAveragePool", &["both"], "pool"),
        node("Flatten", &["pool"], "flat"),
        node("MatMul", &["flat", "multiples"], "many"),
        node("Clip", &["many", "low", "high"], "cut"),
        node("Round", &["cut"], "whole"),
        node("Gemm", &["whole", "fc.w", "fc.b"], "y").with("transB", 1),
    ];
    let multiples: Vec<f32> = (0..2 * CLASSES)
        .map(|i| match i.checked_sub(CLASSES) {
            None => 0.0,
            Some(place) => 250.0 + 20.0 * place as f32,
        })
        .collect();
    let tensors = [
        ("c.w", Tensor::f32(&[1, 3, 3, 3], &[1.0 / 27.0; 27])),
        ("large", Tensor::scalar_f32(factor)),
        ("multiples", Tensor::f32(&[2, CLASSES], &multiples)),
        ("low", Tensor::scalar_f32(0.0)),
        ("high", Tensor::scalar_f32(150.0)),
        (
            "fc.w",
            Tensor::f32(&[CLASSES, CLASSES], &noise("fc.w", CLASSES * CLASSES)),
        ),
        ("fc.b", Tensor::f32(&[CLASSES], &[0.0; CLASSES])),
    ];
    let tensors = tensors.map(|(name, tensor)| (name.to_owned(), tensor));
    Graph {
        nodes,
        inputs: vec![Value::batched("x", &[3, 16, 16])],
        outputs: vec![Value::batched("y", &[CLASSES])],
        initializers: tensors.into_iter().collect(),
        ..Graph::new(17)
    }
}

#[test]
fn a_block_with_which_the_outputs_would_be_worse_is_left_as_it_was_and_those_behind_it_are_mended()
{
    if !has_runtime() {
        return;
    }
    // The larger number is wrong, and does not matter; to mend it by the map that both are made of spoils the smaller one.
    let original = narrow(100.0);
    let model = changed(&narrow(50.0), |name, values| match name {
        "fc.w" => values.iter().map(|w| 1.02 * w).collect(),
        _ => values.to_vec(),
    });
    let scene = Scene::new(&model, &original);
    let figures = scene.distil("");
    let blocks = figures["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), 3, "{figures:#}");
    let number = |block: &Json, key: &str| block[key].as_f64().unwrap();
    let first = &blocks[0];
    assert!(
        number(first, "worse_outputs") > 2.0 * number(first, "outputs"),
        "{figures:#}"
    );
    assert_eq!(first["before"], first["after"]);
    assert_eq!(first["epoch"], 0);
    assert!(
        blocks[1..]
            .iter()
            .all(|block| block["worse_outputs"] == Json::Null)
    );
    let [before, after] = outputs(&figures, "relative_error");
    assert!(after < 0.5 * before, "{before} -> {after}");
    assert_eq!(number(&blocks[2], "outputs"), after);
    assert_eq!(
        scene.tensor("out.onnx", "c.w"),
        scene.tensor("model.onnx", "c.w")
    );
    assert_ne!(
        scene.tensor("out.onnx", "fc.w"),
        scene.tensor("model.onnx", "fc.w")
    );
    std::fs::remove_file(scene.at("out.onnx")).unwrap();
    let told = scene.told("");
    assert!(
        told.contains("block 1 is left as it was: with its repair the outputs"),
        "{told}"
    );
}

#[test]
fn what_would_only_be_worse_comes_out_as_it_went_in() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new(&narrow(50.0), &narrow(100.0));
    let figures = scene.distil("");
    assert_eq!(outputs(&figures, "relative_error"), [0.0, 0.0]);
    assert_eq!(figures["changed_tensors"], 0);
    for name in ["c.w", "fc.w", "fc.b", "multiples"] {
        assert_eq!(
            scene.tensor("out.onnx", name),
            scene.tensor("model.onnx", name)
        );
    }
    std::fs::remove_file(scene.at("out.onnx")).unwrap();
    assert!(scene.told("").contains("there is nothing to repair"));
}

/// How many of the pictures a model says it was trained on, as `evaluate` tells.
fn seen(scene: &Scene, model: &str) -> (Json, String) {
    let data = digits();
    let output = scene.run(&[
        "evaluate",
        model,
        "--data",
        data.to_str().unwrap(),
        "--preprocess",
        "unit",
        "--json",
    ]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let said: Json = serde_json::from_slice(&output.stdout).unwrap();
    (said["trained_on"].clone(), told)
}

#[test]
fn pictures_that_trained_or_chose_are_told_when_the_model_is_measured_on_them() {
    if !has_runtime() {
        return;
    }
    let network = plain();
    let scene = Scene::new(&noisy(&network, 0.1), &network);
    assert_eq!(seen(&scene, "model.onnx").0, Json::Null);
    scene.distil("--epochs 2");
    let (count, told) = seen(&scene, "out.onnx");
    assert_eq!(count, json!(120));
    assert!(
        told.contains("120 of 1000") && told.contains("tuned or repaired"),
        "{told}"
    );
    // What an earlier one was trained on is not forgotten.
    std::fs::rename(scene.at("out.onnx"), scene.at("model.onnx")).unwrap();
    let figures = scene.distil("--epochs 2 --seed 1");
    assert_ne!(figures["changed_tensors"], 0);
    let (count, _) = seen(&scene, "out.onnx");
    let count = count.as_u64().unwrap();
    assert!((121..=240).contains(&count), "{count}");
}
