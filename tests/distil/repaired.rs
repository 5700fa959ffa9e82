//! What a repair mends, and what it leaves alone.

use ftsurgery::graph::Graph;
use ftsurgery::onnx::{DataType, Tensor};
use ftsurgery::runtime::testing::has_runtime;
use ftsurgery::surgery::differences;
use ftsurgery::testing::only_tuned;

use crate::networks::{attention, changed, half, noisy, plain, residual};
use crate::scene::{Scene, floats, outputs};

/// The running statistics are no weights, and what is no float is none either.
fn trained(scene: &Scene) -> Vec<String> {
    let mut names = floats(&scene.open("model.onnx"));
    names.retain(|name| !["bn.mean", "bn.var"].contains(&name.as_str()));
    names
}

#[test]
fn noise_on_weights_is_mended_block_by_block_in_networks_of_every_kind() {
    if !has_runtime() {
        return;
    }
    for (name, network, blocks, factor) in [
        ("plain", plain(), 1, 5.0),
        ("residual", residual(), 2, 5.0),
        ("attention", attention(), 3, 3.0),
    ] {
        let scene = Scene::new(&noisy(&network, 0.1), &network);
        let figures = scene.distil("");
        let of_blocks = figures["blocks"].as_array().unwrap();
        assert_eq!(of_blocks.len(), blocks, "{name}: {figures:#}");
        for block in of_blocks {
            let of = |key: &str| block[key].as_f64().unwrap();
            assert!(of("after") < of("before"), "{name}: {block:#}");
        }
        let [before, after] = outputs(&figures, "relative_error");
        assert!(before > factor * after, "{name}: {before} -> {after}");
        let [before, after] = outputs(&figures, "agreement");
        assert!(after >= before, "{name}: {before} -> {after}");
        let [model, out] = ["model.onnx", "out.onnx"].map(|file| scene.open(file));
        only_tuned(&model, &out, &trained(&scene)).unwrap();
    }
}

#[test]
fn a_model_that_is_its_original_stays_it() {
    if !has_runtime() {
        return;
    }
    let network = plain();
    let scene = Scene::new(&network, &network);
    let figures = scene.distil("");
    assert_eq!(figures["changed_tensors"], 0);
    assert_eq!(outputs(&figures, "relative_error"), [0.0, 0.0]);
    assert_eq!(outputs(&figures, "agreement"), [1.0, 1.0]);
    let [model, out] = ["model.onnx", "out.onnx"].map(|file| scene.open(file));
    let found = differences(&model, &out).unwrap();
    assert!(
        found.iter().all(|d| d.name.starts_with("ftsurgery.")),
        "{found:?}"
    );
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
    if !has_runtime() {
        return;
    }
    let network = residual();
    let scene = Scene::new(&noisy(&network, 0.1), &network);
    for (file, seed) in [("a.onnx", 3), ("b.onnx", 3), ("c.onnx", 4)] {
        scene.distil(&format!("--epochs 2 --seed {seed} --out {file}"));
    }
    let [a, b, c] = ["a.onnx", "b.onnx", "c.onnx"].map(|f| std::fs::read(scene.at(f)).unwrap());
    assert!(a == b);
    assert!(a != c);
}

#[test]
fn a_float16_model_is_trained_in_float_and_measured_as_it_is_rounded() {
    if !has_runtime() {
        return;
    }
    let network = plain();
    let scene = Scene::new(&half(&noisy(&network, 0.1)), &network);
    let figures = scene.distil("");
    let [before, after] = outputs(&figures, "relative_error");
    assert!(before > 5.0 * after, "{before} -> {after}");
    for name in trained(&scene) {
        assert_eq!(scene.tensor("out.onnx", &name).dtype, DataType::Float16);
    }
    let [model, out] = ["model.onnx", "out.onnx"].map(|file| scene.open(file));
    only_tuned(&model, &out, &trained(&scene)).unwrap();
}

#[test]
fn what_was_pruned_to_zero_stays_zero_and_what_is_left_makes_up_for_it() {
    if !has_runtime() {
        return;
    }
    let network = residual();
    let pruned = changed(&network, |_, values| {
        let most = values.iter().fold(0f32, |top, v| top.max(v.abs()));
        let small = |v: &f32| if v.abs() < 0.3 * most { 0.0 } else { *v };
        values.iter().map(small).collect()
    });
    let scene = Scene::new(&pruned, &network);
    let figures = scene.distil("");
    let [before, after] = outputs(&figures, "relative_error");
    assert!(before > 2.0 * after, "{before} -> {after}");
    let mut zeros = 0;
    for name in trained(&scene) {
        let [own, out] = ["model.onnx", "out.onnx"].map(|file| scene.tensor(file, &name));
        let pairs = own.to_f32().unwrap().into_iter().zip(out.to_f32().unwrap());
        let of_zero: Vec<f32> = pairs
            .filter(|(own, _)| *own == 0.0)
            .map(|(_, out)| out)
            .collect();
        assert!(of_zero.iter().all(|&out| out == 0.0), "{name}");
        zeros += of_zero.len();
    }
    let kept = figures["blocks"].as_array().unwrap().iter();
    let kept: u64 = kept.map(|b| b["kept_zero"].as_u64().unwrap()).sum();
    assert_eq!(kept as usize, zeros);
    assert!(zeros > 100);
}

/// The network without the last filters of its second convolution.
fn without_filters(of: &Graph) -> Graph {
    let mut graph = of.clone();
    let mut cut = |name: &str, dims: &[usize], keep: &dyn Fn(usize) -> bool| {
        let values = graph.initializers[name].to_f32().unwrap();
        let kept = values.iter().enumerate().filter(|(i, _)| keep(*i));
        let kept: Vec<f32> = kept.map(|(_, v)| *v).collect();
        graph
            .initializers
            .insert(name.to_owned(), Tensor::f32(dims, &kept));
    };
    cut("c2.w", &[6, 8, 3, 3], &|i| i / 72 < 6);
    cut("c2.b", &[6], &|i| i < 6);
    cut("c3.w", &[12, 6, 3, 3], &|i| i / 9 % 8 < 6);
    graph
}

#[test]
fn blocks_whose_ends_the_original_has_otherwise_are_joined_and_that_is_said() {
    if !has_runtime() {
        return;
    }
    let network = plain();
    let scene = Scene::new(&without_filters(&network), &network);
    let figures = scene.distil("--epochs 20");
    let blocks = figures["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), 1, "{figures:#}");
    assert_eq!(blocks[0]["joined_at"], serde_json::json!(["p2"]));
    let [before, after] = outputs(&figures, "relative_error");
    assert!(before > 2.0 * after, "{before} -> {after}");
}

#[test]
fn values_of_other_names_are_found_by_their_place() {
    if !has_runtime() {
        return;
    }
    let network = residual();
    let mut model = noisy(&network, 0.1);
    let inner: Vec<String> = model.nodes.iter().flat_map(|n| n.outputs.clone()).collect();
    for node in &mut model.nodes {
        for name in node.inputs.iter_mut().chain(&mut node.outputs) {
            if inner.contains(name) && name != "y" {
                *name = format!("other/{name}");
            }
        }
    }
    let scene = Scene::new(&model, &network);
    let figures = scene.distil("");
    let blocks = figures["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), 2, "{figures:#}");
    assert_eq!(blocks[0]["to"], "other/flat");
    assert_eq!(blocks[0]["to_in_original"], "flat");
    let [before, after] = outputs(&figures, "relative_error");
    assert!(before > 5.0 * after, "{before} -> {after}");
}

#[test]
fn a_block_that_no_gradient_passes_is_left_as_it_is_and_named() {
    if !has_runtime() {
        return;
    }
    let mut network = plain();
    // Round has a gradient of zero, for which there is no rule.
    let place = network.nodes.iter().position(|n| n.is("MaxPool")).unwrap();
    network.nodes[place].inputs[0] = "whole".to_owned();
    let round = crate::networks::node("Round", &["r2"], "whole");
    network.nodes.insert(place, round);
    let scene = Scene::new(&noisy(&network, 0.05), &network);
    let figures = scene.distil("");
    let blocks = figures["blocks"].as_array().unwrap();
    let left_out = blocks[1]["left_out"].as_str().unwrap();
    assert!(left_out.contains("Round"), "{left_out}");
    assert_eq!(blocks[1]["tensors"], 0);
    assert_eq!(blocks[1]["before"], blocks[1]["after"]);
    let mut after = trained(&scene);
    after.retain(|name| !name.starts_with("c2."));
    let [model, out] = ["model.onnx", "out.onnx"].map(|file| scene.open(file));
    only_tuned(&model, &out, &after).unwrap();
}
