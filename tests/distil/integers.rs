//! Models of integers, made by hand: what they stand for is trained, and written back in integers.

use ftsurgery::graph::{Graph, Node};
use ftsurgery::onnx::{DataType, Tensor};
use ftsurgery::runtime::testing::has_runtime;
use ftsurgery::testing::only_tuned;
use serde_json::Value as Json;

use crate::networks::{node, noisy, plain, residual};
use crate::scene::{Scene, outputs};

fn integers(dtype: DataType, dims: &[usize], values: &[i64]) -> Tensor {
    let width = dtype.size();
    let bytes = values
        .iter()
        .flat_map(|v| v.to_le_bytes().into_iter().take(width));
    Tensor {
        dtype,
        dims: dims.to_vec(),
        data: bytes.collect(),
    }
}

/// The network with the weight of a convolution in integers of 8 bits, of one scale, of which the largest is 20.
fn with_integers(of: &Graph, name: &str) -> Graph {
    let mut graph = of.clone();
    let Tensor { dims, .. } = graph.initializers[name].clone();
    let values = graph.initializers[name].to_f32().unwrap();
    let most = values.iter().fold(0f32, |top, v| top.max(v.abs()));
    let step = most / 20.0;
    let stored: Vec<i64> = values.iter().map(|v| (v / step).round() as i64).collect();
    let [q, zero, scale] = ["q", "zero", "step"].map(|what| format!("{name}.{what}"));
    graph.initializers.shift_remove(name);
    graph.initializers.extend([
        (q.clone(), integers(DataType::Int8, &dims, &stored)),
        (zero.clone(), integers(DataType::Int8, &[], &[0])),
        (scale.clone(), Tensor::scalar_f32(step)),
    ]);
    let made = node("DequantizeLinear", &[&q, &scale, &zero], name);
    graph.nodes.insert(0, made);
    graph
}

/// Rounds the value `name` to `levels` numbers from 0 to `most`, of 8 bits.
fn round(graph: &mut Graph, name: &str, most: f32) {
    let [held, q] = [format!("{name}.held"), format!("{name}.q")];
    for reader in graph.nodes.iter_mut().flat_map(|n| &mut n.inputs) {
        if reader == name {
            reader.clone_from(&held);
        }
    }
    let [scale, zero] = [format!("{name}.scale"), format!("{name}.zero")];
    graph.initializers.extend([
        (scale.clone(), Tensor::scalar_f32(most / 255.0)),
        (zero.clone(), integers(DataType::Uint8, &[], &[0])),
    ]);
    let made = graph.nodes.iter().position(|n| n.output(0) == Some(name));
    let place = made.map_or(0, |place| place + 1);
    let pair = |op: &str, from: &str, to: &str| node(op, &[from, &scale, &zero], to);
    graph.nodes.splice(
        place..place,
        [
            pair("QuantizeLinear", name, &q),
            pair("DequantizeLinear", &q, &held),
        ],
    );
}

/// The network as a quantiser writes it: all weights in integers of 8 bits, of a scale for each filter, biases in 32 bits,
/// values between layers rounded, and ReLUs left to their bounds.
fn quantised(of: &Graph) -> Graph {
    let mut graph = of.clone();
    let names: Vec<String> = graph.initializers.keys().cloned().collect();
    for name in names.iter().filter(|name| !name.starts_with("bn.")) {
        let Some(values) = graph.initializers[name].to_f32() else {
            continue;
        };
        let dims = graph.initializers[name].dims.clone();
        let filters = dims[0];
        let each = values.len() / filters;
        let top = |of: &[f32]| of.iter().fold(1e-6f32, |top, v| top.max(v.abs()));
        let (dtype, scales): (_, Vec<f32>) = match dims.len() {
            1 => (DataType::Int32, vec![1e-5; filters]),
            _ => (
                DataType::Int8,
                values.chunks(each).map(|f| top(f) / 12.0).collect(),
            ),
        };
        let steps = values.iter().enumerate();
        let steps: Vec<i64> = steps
            .map(|(i, v)| (v / scales[i / each]).round_ties_even() as i64)
            .collect();
        let [q, scale, zero] = ["q", "scale", "zero"].map(|what| format!("{name}.{what}"));
        graph.initializers.shift_remove(name);
        graph.initializers.extend([
            (q.clone(), integers(dtype, &dims, &steps)),
            (scale.clone(), Tensor::f32(&[filters], &scales)),
            (zero.clone(), integers(dtype, &[filters], &vec![0; filters])),
        ]);
        let made = node("DequantizeLinear", &[&q, &scale, &zero], name).with("axis", 0);
        graph.nodes.insert(0, made);
    }
    let relus = graph.nodes.iter().filter(|n| n.is("Relu"));
    let relus: Vec<Node> = relus.cloned().collect();
    for relu in relus {
        let (from, to) = (relu.inputs[0].clone(), relu.outputs[0].clone());
        graph.nodes.retain(|n| n.output(0) != Some(to.as_str()));
        for reader in graph.nodes.iter_mut().flat_map(|n| &mut n.inputs) {
            if *reader == to {
                reader.clone_from(&from);
            }
        }
        round(&mut graph, &from, 6.0);
    }
    round(&mut graph, "x", 1.0);
    graph
}

/// What the files of a scene differ in, by the names of tensors; the metadata that the repair writes left out.
fn changed(scene: &Scene) -> Vec<String> {
    let [model, out] = ["model.onnx", "out.onnx"].map(|file| scene.open(file));
    let found = ftsurgery::surgery::differences(&model, &out).unwrap();
    let names = found.into_iter().map(|d| d.name);
    names
        .filter(|name| !name.starts_with("ftsurgery."))
        .collect()
}

#[test]
fn what_the_integers_of_a_model_stand_for_is_trained_and_written_back_in_its_integers() {
    if !has_runtime() {
        return;
    }
    for (name, network, factor) in [("plain", plain(), 1.5), ("residual", residual(), 1.5)] {
        let scene = Scene::new(&quantised(&network), &network);
        let figures = scene.distil("");
        let all = network.initializers.values();
        let all = all.filter(|t| t.dtype == DataType::Float).count();
        let normalisation = if name == "plain" { 4 } else { 0 };
        assert_eq!(figures["integer_tensors"], all - normalisation, "{name}");
        assert!(figures["rounded_values"].as_u64().unwrap() > 3, "{name}");
        let [before, after] = outputs(&figures, "relative_error");
        assert!(before > factor * after, "{name}: {before} -> {after}");
        let [before, after] = outputs(&figures, "agreement");
        assert!(after >= before, "{name}: {before} -> {after}");
        let names = changed(&scene);
        assert_eq!(
            names.len() as u64,
            figures["changed_tensors"].as_u64().unwrap()
        );
        let of_integers = names.iter().filter(|name| name.ends_with(".q"));
        assert!(of_integers.count() > 4, "{name}: {names:?}");
        for name in &names {
            let [old, new] = ["model.onnx", "out.onnx"].map(|file| scene.tensor(file, name));
            assert_eq!((old.dtype, &old.dims), (new.dtype, &new.dims), "{name}");
            let may = name.ends_with(".q") || ["bn.gain", "bn.b"].contains(&name.as_str());
            assert!(may, "{name} is neither integers nor a weight");
        }
        let blocks = figures["blocks"].as_array().unwrap();
        // Nothing on the way of rounding is taken for a value of the original.
        assert!(
            blocks.iter().all(|b| b["to_in_original"] == Json::Null),
            "{figures:#}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_integers() {
    if !has_runtime() {
        return;
    }
    let network = plain();
    let scene = Scene::new(&quantised(&network), &network);
    for file in ["a.onnx", "b.onnx"] {
        scene.distil(&format!("--epochs 2 --out {file}"));
    }
    let [a, b] = ["a.onnx", "b.onnx"].map(|file| std::fs::read(scene.at(file)).unwrap());
    assert!(a == b);
}

#[test]
fn weights_alone_may_be_integers() {
    if !has_runtime() {
        return;
    }
    let network = plain();
    let scene = Scene::new(&with_integers(&network, "c2.w"), &network);
    let figures = scene.distil("");
    assert_eq!(figures["integer_tensors"], 1);
    assert_eq!(figures["rounded_values"], 0);
    let [before, after] = outputs(&figures, "relative_error");
    assert!(before > 2.0 * after, "{before} -> {after}");
    let names = changed(&scene);
    assert!(names.contains(&"c2.w.q".to_owned()), "{names:?}");
    let of_scales = |name: &&String| name.ends_with(".step") || name.ends_with(".zero");
    assert_eq!(names.iter().find(of_scales), None);
    let [model, out] = ["model.onnx", "out.onnx"].map(|file| scene.open(file));
    only_tuned(&model, &out, &names).unwrap();
}

#[test]
fn probabilities_that_are_rounded_are_held_against_those_of_the_original() {
    if !has_runtime() {
        return;
    }
    let mut network = plain();
    let last = network.nodes.last_mut().unwrap();
    last.outputs[0] = "z".to_owned();
    network
        .nodes
        .push(node("Softmax", &["z"], "y").with("axis", -1));
    let mut model = quantised(&network);
    // The last value is made in a pair, as quantisers write it.
    let softmax = model.nodes.iter().position(|n| n.is("Softmax")).unwrap();
    model.nodes[softmax].outputs[0] = "y.made".to_owned();
    round(&mut model, "y.made", 255.0 / 256.0);
    let last = model.nodes.last_mut().unwrap();
    assert!(last.is("DequantizeLinear"));
    last.outputs[0] = "y".to_owned();
    let scene = Scene::new(&model, &network);
    let figures = scene.distil("");
    assert_eq!(figures["outputs"]["value"], "z");
    let [before, after] = outputs(&figures, "relative_error");
    assert!(before > 1.5 * after, "{before} -> {after}");
}

#[test]
fn steps_that_the_model_computes_itself_are_refused_by_their_node() {
    if !has_runtime() {
        return;
    }
    let network = plain();
    let mut model = with_integers(&noisy(&network, 0.1), "c2.w");
    let scale = model.initializers.shift_remove("c2.w.step").unwrap();
    model.initializers.insert("half".to_owned(), scale);
    let made = node("Add", &["half", "half"], "c2.w.step");
    model.nodes.insert(0, made);
    let scene = Scene::new(&model, &network);
    let said = scene.refused(&crate::scene::digits(), "--pictures 20");
    assert!(said.contains("`c2.w` (DequantizeLinear)"), "{said}");
}
