//! `ftsurgery analyze` as its users see it.

use std::path::Path;
use std::process::{Command, Output};

use ftsurgery::graph::{Builder, Dim, Graph, Value};
use ftsurgery::onnx::{DataType, Tensor, save};
use serde_json::Value as Json;

/// A convolution with ReLU, a pooling of the whole map and a dense layer, saved at `path`.
fn save_model(path: &Path) {
    let value = |name: &str, dims: Option<Vec<Dim>>| Value {
        name: name.to_owned(),
        dtype: DataType::Float,
        dims,
    };
    let dims = vec![
        Dim::Symbolic("batch".to_owned()),
        Dim::Known(3),
        Dim::Known(8),
        Dim::Known(8),
    ];
    let mut graph = Graph {
        inputs: vec![value("image", Some(dims))],
        ..Graph::new(17)
    };
    let mut weight = |name: &str, dims: &[usize]| {
        let zeros = vec![0.0; dims.iter().product()];
        let tensor = Tensor::f32(dims, &zeros);
        graph.initializers.insert(name.to_owned(), tensor);
    };
    weight("conv.w", &[4, 3, 3, 3]);
    weight("fc.w", &[4, 5]);
    weight("fc.b", &[5]);
    let mut b = Builder::new(&mut graph);
    let pads = vec![("pads", vec![1i64; 4].into())];
    let x = b.op("conv", "Conv", &["image", "conv.w"], pads);
    let x = b.op("relu", "Relu", &[&x], vec![]);
    let x = b.op("gap", "GlobalAveragePool", &[&x], vec![]);
    let x = b.op("flat", "Flatten", &[&x], vec![]);
    let x = b.op("fc", "Gemm", &[&x, "fc.w", "fc.b"], vec![]);
    graph.outputs.push(value(&x, None));
    save(&graph.to_model(usize::MAX).0, path).unwrap();
}

fn analyze(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    save_model(&path);
    Command::new(env!("CARGO_BIN_EXE_ftsurgery"))
        .arg("analyze")
        .arg(&path)
        .args(arguments)
        .output()
        .unwrap()
}

fn keys(object: &Json) -> Vec<&str> {
    let mut keys: Vec<&str> = object.as_object().unwrap().keys().map(|k| &**k).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn the_json_holds_what_its_readers_rely_on() {
    let output = analyze(&["--format", "json"]);
    assert!(output.status.success());
    assert!(output.stderr.is_empty());
    let json: Json = serde_json::from_slice(&output.stdout).unwrap();
    let expected = [
        "backbone",
        "blocks",
        "candidates",
        "delimiters",
        "layers",
        "totals",
        "warnings",
    ];
    assert_eq!(keys(&json), expected);
    let conv: Json = serde_json::json!({
        "name": "conv",
        "op_type": "Conv",
        "output_shape": ["N", 4, 8, 8],
        "parameters": 108,
        "buffers": 0,
        "macs": 6912,
        "activation_bytes": 1024,
        "block": "block1",
        "weighted": true,
    });
    assert_eq!(json["layers"][0], conv);
    assert_eq!(json["blocks"][0]["layers"], serde_json::json!(["conv"]));
    assert_eq!(json["blocks"][1]["name"], "classifier");
    assert_eq!(json["blocks"][1]["parameters"], 25);
    assert_eq!(json["totals"]["parameters"], 133);
    assert_eq!(json["candidates"]["windows"], 1);
    assert_eq!(json["delimiters"], serde_json::json!(["activation"]));
    assert_eq!(json["backbone"]["features"], "relu");
}

#[test]
fn piped_tables_are_plain_text() {
    let output = analyze(&["--window", "1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains('\u{1b}'));
    assert!(text.contains("windows 1"), "{text}");
}

#[test]
fn dot_is_one_graph() {
    let output = analyze(&["--format", "dot"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("digraph") && text.ends_with("}\n"));
}

#[test]
fn bad_input_ends_with_exit_code_2_and_a_name() {
    for (arguments, name) in [
        (&["--delimiters", "pol"][..], "pol"),
        (&["--features", "nowhere"], "nowhere"),
        (&["--image-size", "big"], "big"),
        (&["--window", "0"], "--window"),
    ] {
        let output = analyze(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains(name), "{message}");
    }
    let absent = Command::new(env!("CARGO_BIN_EXE_ftsurgery"))
        .args(["analyze", "absent.onnx"])
        .output()
        .unwrap();
    assert_eq!(absent.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("absent.onnx"));
}
