//! Large tensors go from file to file.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ftsurgery::graph::{Node, Value, value_to_proto};
use ftsurgery::onnx::messages::{GraphProto, ModelProto, TensorProto};
use ftsurgery::onnx::{DataType, Model, TEMPORARY_PREFIX};
use ftsurgery::transform::{Check, NoRuntime, TransformError, Writing, prune, write};
use prost::Message;
use prost::encoding::encode_varint;

const LARGE: u64 = 300 << 20;

/// `y = x w`, with a weight of 300 MiB that takes no room on the disk but for its first and last bytes.
fn large(path: &Path) {
    let columns = LARGE as i64 / 4 / 1024;
    let weight = TensorProto {
        name: Some("w".to_owned()),
        dims: vec![1024, columns],
        data_type: Some(DataType::Float as i32),
        ..TensorProto::default()
    };
    let value =
        |name: &str, dims: &[usize]| value_to_proto(&Value::fixed(name, DataType::Float, dims));
    let graph = GraphProto {
        name: Some("large".to_owned()),
        node: vec![Node::new("y", "MatMul", &["x", "w"], &["y"]).to_proto()],
        input: vec![value("x", &[1, 1024])],
        output: vec![value("y", &[1, columns as usize])],
        ..GraphProto::default()
    };
    let model = ModelProto {
        ir_version: Some(8),
        opset_import: vec![ftsurgery::onnx::messages::OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(17),
        }],
        ..ModelProto::default()
    };
    let field = |number: u32, length: u64| {
        let mut head = Vec::new();
        encode_varint(u64::from(number << 3 | 2), &mut head);
        encode_varint(length, &mut head);
        head
    };
    // From the inside out: the weight is the last field of the graph, which is the last of the model.
    let values = field(9, LARGE);
    let tensor = [weight.encode_to_vec(), values].concat();
    let tensor = [field(5, tensor.len() as u64 + LARGE), tensor].concat();
    let graph = [graph.encode_to_vec(), tensor].concat();
    let graph = [field(7, graph.len() as u64 + LARGE), graph].concat();
    let mut file = File::create(path).unwrap();
    file.write_all(&model.encode_to_vec()).unwrap();
    file.write_all(&graph).unwrap();
    file.write_all(b"begin").unwrap();
    file.seek(SeekFrom::Current(LARGE as i64 - 8)).unwrap();
    file.write_all(b"end").unwrap();
}

/// The most memory that a command had, in bytes.
fn peak(words: &[&str]) -> u64 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ftsurgery"))
        .args(words)
        .args(["--check", "structure"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        most = most.max(kib.unwrap_or(0) * 1024);
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    most
}

#[test]
fn a_large_model_is_changed_in_little_memory_and_keeps_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (model, out) = (at("large.onnx"), at("out.onnx"));
    large(Path::new(&model));
    let beside = at("beside.onnx");
    for (words, result) in [
        (
            vec!["rename", &model, "--value", "w=weight", "--out", &out],
            &out,
        ),
        (vec!["prune", &model, "--force", "--out", &out], &out),
        (
            vec![
                "extract",
                &model,
                "--outputs",
                "y",
                "--force",
                "--out",
                &out,
            ],
            &out,
        ),
        (vec!["externalize", &model, "--out", &beside], &beside),
        (vec!["internalize", &beside, "--force", "--out", &out], &out),
    ] {
        let most = peak(&words);
        assert!(most < 100 << 20, "{} takes {} MiB", words[0], most >> 20);
        let read = Model::open_in_place(Path::new(result)).unwrap();
        let values = read
            .values_of(&read.graph().initializer[0])
            .unwrap()
            .unwrap();
        let (mut seen, mut ends) = (0u64, Vec::new());
        values
            .blocks(|block| {
                seen += block.len() as u64;
                ends = [&ends, block].concat();
                let len = ends.len();
                ends.drain(5.min(len)..len.saturating_sub(3).max(5.min(len)));
                Ok::<_, ftsurgery::onnx::OnnxError>(())
            })
            .unwrap();
        assert_eq!(
            (seen, ends.as_slice()),
            (LARGE, &b"beginend"[..]),
            "{}",
            words[0]
        );
    }
}

#[test]
fn a_file_that_changes_meanwhile_is_noticed_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (
        folder.path().join("large.onnx"),
        folder.path().join("out.onnx"),
    );
    large(&path);
    let model = Model::open_in_place(&path).unwrap();
    let made = prune(&model).unwrap();
    // Longer than a tick of the clock by which files are stamped.
    std::thread::sleep(Duration::from_millis(20));
    let mut file = File::options().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(1 << 20)).unwrap();
    file.write_all(b"other").unwrap();
    drop(file);
    let writing = Writing::to(&out).check(Some(Check::Structure));
    let error = write(&made, &writing, &NoRuntime).unwrap_err();
    assert!(matches!(error, TransformError::Onnx(_)), "{error}");
    assert!(error.to_string().contains("changed"), "{error}");
    let left = std::fs::read_dir(folder.path()).unwrap();
    let left: Vec<_> = left
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left, ["large.onnx"], "no {TEMPORARY_PREFIX}… either");
}
