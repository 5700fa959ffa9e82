//! `ftsurgery diff`.

use ftsurgery::onnx::messages::{NodeProto, TensorProto};
use ftsurgery::onnx::{Model, Tensor, save_within, set_metadata};
use serde_json::Value as Json;

use crate::scene::*;

fn json(scene: &Scene, arguments: &str) -> Json {
    let output = scene.run(&format!("diff {arguments} --json"));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

fn code(scene: &Scene, arguments: &str) -> Option<i32> {
    scene.run(&format!("diff {arguments}")).status.code()
}

fn node<'g>(nodes: &'g mut [NodeProto], op_type: &str) -> &'g mut NodeProto {
    nodes.iter_mut().find(|n| n.op_type() == op_type).unwrap()
}

fn set(tensor: &mut TensorProto, place: usize, value: f32) {
    let held = Tensor::from_proto(tensor).unwrap();
    let mut values = held.to_f32().unwrap();
    values[place] = value;
    *tensor = Tensor::f32(&held.dims, &values).to_proto(tensor.name());
}

#[test]
fn the_exit_code_is_that_of_the_command_diff() {
    let scene = Scene::new();
    scene.with("other.onnx", |p, _| set_metadata(p, "author", "someone"));
    assert_eq!(code(&scene, "a.onnx a.onnx"), Some(0));
    assert_eq!(code(&scene, "a.onnx other.onnx"), Some(1));
    assert_eq!(code(&scene, "a.onnx nothing.onnx"), Some(2));
    std::fs::write(scene.at("junk.onnx"), b"no model").unwrap();
    assert_eq!(code(&scene, "junk.onnx a.onnx"), Some(2));
    let quiet = scene.run("--quiet diff a.onnx other.onnx");
    assert_eq!((quiet.status.code(), quiet.stdout.len()), (Some(1), 0));
}

#[test]
fn a_changed_weight_is_told_by_norm_and_place_of_its_own() {
    let scene = Scene::new();
    scene.with("other.onnx", |_, g| set(&mut g.initializer[1], 3, 100.0));
    let told = json(&scene, "a.onnx other.onnx");
    let tensors = told["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), 1);
    assert_eq!(
        (&tensors[0]["name"], &tensors[0]["what"]),
        (&"fc.w".into(), &"changed".into())
    );
    let values = &tensors[0]["values"];
    let before = numbers(20);
    let norm = before
        .iter()
        .map(|v| f64::from(*v).powi(2))
        .sum::<f64>()
        .sqrt();
    let change = f64::from(100.0 - before[3]);
    assert_eq!(
        (values["changed"].as_u64(), values["elements"].as_u64()),
        (Some(1), Some(20))
    );
    for (name, expected) in [
        ("difference", change),
        ("largest", change),
        ("norm", norm),
        ("relative", change / norm),
    ] {
        let told = values[name].as_f64().unwrap();
        assert!(
            (told - expected).abs() < 1e-6 * expected,
            "{name}: {told} {expected}"
        );
    }
    for none in ["fields", "nodes", "renamed", "stored"] {
        assert_eq!(told[none].as_array().unwrap().len(), 0, "{none}");
    }
}

#[test]
fn nodes_fields_and_shapes_are_told_as_they_were_and_are() {
    let scene = Scene::new();
    scene.with("other.onnx", |p, g| {
        p.opset_import[0].version = Some(18);
        node(&mut g.node, "Conv").attribute[0].ints = vec![0; 4];
        g.initializer[2].dims = vec![5, 1];
        let place = g.node.iter().position(|n| n.op_type() == "Relu").unwrap();
        g.node[place].op_type = Some("Sigmoid".to_owned());
    });
    let output = scene.run("diff a.onnx other.onnx");
    let text = text(&output);
    let line = |start: &str| {
        text.lines()
            .find(|l| l.starts_with(start))
            .unwrap_or_else(|| panic!("{start}\n{text}"))
    };
    let words = |start: &str| line(start).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words("opset `ai.onnx`"), "opset `ai.onnx` 17 18");
    assert!(
        line("conv").contains("attribute `pads`: [1, 1, 1, 1] → [0, 0, 0, 0]"),
        "{text}"
    );
    assert!(line("relu").contains("operator: Relu → Sigmoid"), "{text}");
    assert!(line("fc.b").contains("dimensions: [5] → [5, 1]"), "{text}");
}

#[test]
fn a_network_with_other_names_is_renamed_and_its_other_weight_is_found() {
    let scene = Scene::new();
    scene.with("other.onnx", |_, g| {
        let named = |name: &mut String| {
            *name = format!(
                "x{}",
                name.len() * 31 + name.bytes().map(usize::from).sum::<usize>()
            )
        };
        for node in &mut g.node {
            node.input
                .iter_mut()
                .chain(&mut node.output)
                .for_each(named);
            node.name = node.name.as_ref().map(|name| format!("n{name}"));
        }
        for tensor in &mut g.initializer {
            named(tensor.name.as_mut().unwrap());
        }
        for value in g.input.iter_mut().chain(&mut g.output) {
            named(value.name.as_mut().unwrap());
        }
        set(&mut g.initializer[0], 0, 9.0);
    });
    let told = json(&scene, "a.onnx other.onnx");
    let count = |name: &str| told[name].as_array().unwrap().len();
    // An input, five values, five nodes and three tensors.
    assert_eq!(
        (count("renamed"), count("nodes"), count("fields")),
        (14, 0, 0),
        "{told:#}"
    );
    assert_eq!(
        (count("tensors"), &told["tensors"][0]["name"]),
        (1, &"conv.w".into())
    );
}

#[test]
fn where_weights_are_stored_is_told_and_no_difference() {
    let scene = Scene::new();
    let large = |g: &mut ftsurgery::onnx::messages::GraphProto| {
        g.initializer
            .push(Tensor::f32(&[40_000], &numbers(40_000)).to_proto("large"));
    };
    scene.with("inside.onnx", |_, g| large(g));
    let proto = Model::open(&scene.at("inside.onnx")).unwrap().proto;
    assert!(save_within(1000, proto, &scene.at("beside.onnx"), "weights").unwrap());
    let output = scene.run("diff inside.onnx beside.onnx");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output).contains("`large`: raw_data → file `weights`"));
    // And the values there are read.
    let mut bytes = std::fs::read(scene.at("weights")).unwrap();
    bytes[100] ^= 1;
    std::fs::write(scene.at("weights"), bytes).unwrap();
    let told = json(&scene, "inside.onnx beside.onnx");
    assert_eq!(told["tensors"][0]["values"]["changed"], 1);
    std::fs::remove_file(scene.at("weights")).unwrap();
    assert_eq!(code(&scene, "inside.onnx beside.onnx"), Some(2));
}

#[test]
fn a_weight_of_another_type_is_compared_by_value() {
    let scene = Scene::new();
    scene.with("half.onnx", |_, g| {
        let values = Tensor::from_proto(&g.initializer[1])
            .unwrap()
            .to_f32()
            .unwrap();
        g.initializer[1].data_type = Some(10);
        let bytes = values
            .iter()
            .flat_map(|v| half::f16::from_f32(*v).to_le_bytes());
        g.initializer[1].raw_data = Some(bytes.collect::<Vec<u8>>().into());
    });
    let told = json(&scene, "a.onnx half.onnx");
    let tensor = &told["tensors"][0];
    assert_eq!(tensor["changes"][0]["after"], "float16");
    let relative = tensor["values"]["relative"].as_f64().unwrap();
    assert!(relative > 1e-6 && relative < 1e-3, "{relative}");
}
