//! Repairs of what the commands of surgery make of a model.

use ftsurgery::graph::Graph;
use ftsurgery::onnx::DataType;
use ftsurgery::runtime::testing::has_runtime;

use crate::networks::{node, plain, residual};
use crate::scene::{Scene, floats, outputs};

fn done(scene: &Scene, arguments: &str) {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let output = scene.run(&arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
}

/// A scene whose model is its original.
fn unchanged(network: &Graph) -> Option<Scene> {
    has_runtime().then(|| Scene::new(network, network))
}

#[test]
fn a_model_in_float16_is_nearer_to_its_original_behind_a_repair() {
    let Some(scene) = unchanged(&residual()) else {
        return;
    };
    done(
        &scene,
        "precision original.onnx --to f16 --out model.onnx --force",
    );
    let figures = scene.distil("");
    let [before, after] = outputs(&figures, "relative_error");
    assert!(before > 0.0 && after <= before, "{before} -> {after}");
    let out = scene.open("out.onnx");
    for name in floats(&scene.open("model.onnx")) {
        assert_eq!(
            scene.tensor("out.onnx", &name).dtype,
            DataType::Float16,
            "{name}"
        );
    }
    assert_eq!(out.opset(), scene.open("model.onnx").opset());
}

#[test]
fn a_model_whose_idle_parts_were_pruned_has_nothing_to_repair_and_that_is_said() {
    let mut network = plain();
    // Its output is none of the model.
    network.nodes.push(node("Sigmoid", &["r2"], "idle"));
    let Some(scene) = unchanged(&network) else {
        return;
    };
    done(&scene, "prune original.onnx --out model.onnx --force");
    assert!(scene.open("model.onnx").graph().node.len() < network.nodes.len());
    let told = scene.told("");
    assert!(told.contains("there is nothing to repair"), "{told}");
}

#[test]
fn a_model_that_was_merged_of_parts_is_held_against_the_whole_and_repaired() {
    let Some(scene) = unchanged(&residual()) else {
        return;
    };
    done(
        &scene,
        "extract original.onnx --outputs b1 --out first.onnx",
    );
    done(
        &scene,
        "extract original.onnx --inputs b1 --out second.onnx",
    );
    done(
        &scene,
        "merge first.onnx second.onnx --out model.onnx --force",
    );
    assert!(scene.told("").contains("there is nothing to repair"));
    // Its first part in bfloat16's precision, as floats.
    let mut rough = Graph::from_model(&scene.open("first.onnx")).unwrap();
    for tensor in rough
        .initializers
        .values_mut()
        .filter(|t| t.dtype == DataType::Float)
    {
        let values = tensor.to_f32().unwrap();
        let cut = values
            .iter()
            .map(|v| f32::from_bits(v.to_bits() & 0xFFFC_0000));
        *tensor = tensor.with_f32_values(&cut.collect::<Vec<_>>()).unwrap();
    }
    scene.put("first.onnx", &rough);
    done(
        &scene,
        "merge first.onnx second.onnx --out model.onnx --force",
    );
    let figures = scene.distil("--force");
    let [before, after] = outputs(&figures, "relative_error");
    assert!(before > 2.0 * after, "{before} -> {after}");
}
