//! Bad files with a message that says what is wrong, and exit code 2 of the binary.

use std::path::Path;
use std::process::{Command, Output};

use ftsurgery::onnx::messages::{
    AttributeProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto,
};
use ftsurgery::onnx::{encode, save};

use crate::models;

/// Runs the binary.
pub fn ftsurgery(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ftsurgery"))
        .args(arguments)
        .output()
        .unwrap()
}

/// Asserts that `arguments` are refused as bad input with all of `words`.
fn refused(arguments: &[&str], words: &[&str]) {
    let output = ftsurgery(arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    assert!(message.starts_with("error: "), "{message}");
    for word in words {
        assert!(message.contains(word), "{word} in {message}");
    }
    assert!(output.stdout.is_empty());
}

fn analyze(path: &Path, words: &[&str]) {
    refused(&["analyze", path.to_str().unwrap()], words);
}

/// A data set of two samples that the models here take.
pub fn batch(folder: &Path) -> String {
    let path = folder.join("batch.npz");
    let mut npz = ndarray_npy::NpzWriter::new(std::fs::File::create(&path).unwrap());
    let x = ndarray::Array4::<f32>::from_elem((2, 3, 8, 8), 0.5);
    npz.add_array("x", &x).unwrap();
    npz.add_array("y", &ndarray::arr1(&[0i64, 2])).unwrap();
    npz.finish().unwrap();
    path.to_str().unwrap().to_owned()
}

fn gradients(proto: &ModelProto, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.onnx");
    save(proto, &model).unwrap();
    let out = folder.path().join("out.npz");
    let (model, out_name) = (model.to_str().unwrap(), out.to_str().unwrap());
    let batch = batch(folder.path());
    let arguments = ["gradients", model, "--batch", &batch, "--out", out_name];
    refused(&arguments, words);
    assert!(!out.exists());
}

#[test]
fn files_that_are_no_models_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    analyze(&path, &["model.onnx", "No such file"]);
    analyze(folder.path(), &["not a regular file"]);
    let whole = encode(&models::plain()).unwrap();
    for (bytes, word) in [
        (&b""[..], "is empty"),
        (
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01",
            "not a valid ONNX file",
        ),
        (b"just text, and no model", "not a valid ONNX file"),
        (&whole[..whole.len() / 2], "not a valid ONNX file"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        analyze(&path, &["model.onnx", word]);
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe.onnx");
    if ftsurgery::testing::pipe(&path) {
        analyze(&path, &["pipe.onnx", "not a regular file"]);
    }
}

fn graph(proto: &mut ModelProto) -> &mut GraphProto {
    proto.graph.as_mut().unwrap()
}

/// Saves `plain` after a change and asserts that it cannot be analysed.
fn changed(change: impl FnOnce(&mut GraphProto), words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let mut proto = models::plain();
    change(graph(&mut proto));
    save(&proto, &path).unwrap();
    analyze(&path, words);
}

#[test]
fn graphs_that_are_none_are_refused_by_node_or_value() {
    changed(|g| g.node[0].input[0] = "relu2".into(), &["cycle", "conv1"]);
    changed(
        |g| g.node[4].input[0] = "nowhere".into(),
        &["`nowhere`", "conv2"],
    );
    changed(
        |g| g.node[4].output[0] = "conv1".into(),
        &["`conv1`", "defined twice"],
    );
    changed(
        |g| g.initializer[0].dims[0] = 1 << 40,
        &["conv1.w", "do not fit"],
    );
    changed(|g| g.initializer[0].dims[0] = -4, &["conv1.w", "negative"]);
    changed(
        |g| g.initializer[0].data_type = Some(99),
        &["conv1.w", "99"],
    );
}

/// Puts the first weight into a file beside the model.
fn external(model: &mut GraphProto, entries: &[(&str, &str)]) {
    let weight = &mut model.initializer[0];
    weight.raw_data = None;
    weight.data_location = Some(1);
    let entry = |(key, value): &(&str, &str)| StringStringEntryProto {
        key: Some((*key).to_owned()),
        value: Some((*value).to_owned()),
    };
    weight.external_data = entries.iter().map(entry).collect();
}

#[test]
fn external_data_stays_in_the_folder() {
    for location in ["../../etc/passwd", "/etc/passwd", "a/../../b", ""] {
        let words = ["conv1.w", location, "refused"];
        changed(|g| external(g, &[("location", location)]), &words);
    }
    let gone = ["absent.bin", "No such file"];
    changed(|g| external(g, &[("location", "absent.bin")]), &gone);
}

#[cfg(unix)]
#[test]
fn external_data_through_a_link_or_beyond_the_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
    std::fs::write(folder.path().join("data"), [0; 16]).unwrap();
    let huge = u64::MAX.to_string();
    for (entries, words) in [
        (&[("location", "link")][..], &["conv1.w", "refused"][..]),
        (&[("location", "data")], &["conv1.w", "do not fit"]),
        (
            &[("location", "data"), ("offset", "17")],
            &["leaves `data`"],
        ),
        (
            &[("location", "data"), ("offset", &huge), ("length", "1")],
            &["leaves `data`"],
        ),
        (
            &[("location", "data"), ("length", "-1")],
            &["length is `-1`"],
        ),
    ] {
        let mut proto = models::plain();
        external(graph(&mut proto), entries);
        save(&proto, &path).unwrap();
        analyze(&path, words);
    }
}

fn node(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: Some(op_type.to_owned()),
        name: Some("odd".to_owned()),
        input: inputs.iter().map(|i| (*i).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

#[test]
fn what_cannot_be_trained_is_refused_by_node() {
    let put = |change: &dyn Fn(&mut GraphProto)| {
        let mut proto = models::plain();
        change(graph(&mut proto));
        proto
    };
    for op in ["If", "Loop"] {
        let inner = AttributeProto {
            name: Some("body".to_owned()),
            r#type: Some(5),
            g: Some(Box::default()),
            ..AttributeProto::default()
        };
        let control = put(&|g| {
            g.node[2] = node(op, &["bn"], "relu1");
            g.node[2].attribute.push(inner.clone());
        });
        gradients(&control, &["`odd`", "control flow"]);
    }
    for op in ["QLinearConv", "DynamicQuantizeLinear"] {
        let quantised = put(&|g| g.node[2] = node(op, &["bn"], "relu1"));
        gradients(&quantised, &["`odd`", "quantised"]);
    }
    let foreign = put(&|g| g.node[2].domain = Some("com.example".to_owned()));
    gradients(&foreign, &["relu1", "com.example"]);

    let mut old = models::plain();
    old.opset_import[0].version = Some(0);
    gradients(&old, &["opset 0"]);
    let two = put(&|g| {
        let mut second = g.input[0].clone();
        second.name = Some("mask".to_owned());
        g.input.push(second);
        g.node[2] = node("Add", &["bn", "mask"], "relu1");
    });
    gradients(&two, &["image, mask", "one input"]);
    let none = put(&|g| {
        g.input.clear();
        g.node[0].input[0] = "conv1.w".to_owned();
    });
    gradients(&none, &["no input"]);
    gradients(&put(&|g| g.output.clear()), &["no output"]);
}

#[test]
fn a_field_beyond_the_schema_is_named_before_it_could_be_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let mut bytes = encode(&models::plain()).unwrap();
    bytes.extend([0xf8, 0x07, 1]); // field 127, varint 1
    std::fs::write(&path, bytes).unwrap();
    let (batch, path) = (batch(folder.path()), path.to_str().unwrap());
    let arguments = ["gradients", path, "--batch", &batch, "--out", "never.npz"];
    refused(&arguments, &["field 127", "ModelProto"]);
}
