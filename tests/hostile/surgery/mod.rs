//! The commands of surgery, `diff` and `verify` on files that are hostile: each ends in time and in little memory, says what is
//! wrong, and leaves a whole model or nothing.
#![cfg(unix)]

mod forms;
mod sizes;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ftsurgery::graph::{Value, value_to_proto};
use ftsurgery::onnx::messages::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};
use ftsurgery::onnx::{DataType, Tensor, save};

use crate::models;

/// The commands, in which MODEL, OTHER and OUT stand for files.
const COMMANDS: [&str; 19] = [
    "prune MODEL --out OUT",
    "fold MODEL --batch-norm --inline --out OUT",
    "rename MODEL --prefix p/ --out OUT",
    "extract MODEL --outputs y --out OUT",
    "extract MODEL --inputs m --out OUT",
    "head MODEL --classes 3 --out OUT",
    "opset MODEL --to 22 --out OUT",
    "opset MODEL --to 9 --out OUT",
    "precision MODEL --to f16 --out OUT",
    "precision MODEL --to bf16 --io --out OUT",
    "externalize MODEL --least 1 --out OUT",
    "internalize MODEL --out OUT",
    "batch MODEL --fix 2 --out OUT",
    "merge MODEL OTHER --out OUT",
    "merge OTHER MODEL --join --out OUT",
    "list MODEL --stats",
    "diff OTHER MODEL",
    "diff MODEL MODEL --json",
    "verify MODEL --structure",
];
/// How long one may take: most of it a run of onnxruntime that is given up after 20 seconds.
const LIMIT: Duration = Duration::from_secs(60);
/// Address space: what the libraries take, and as much again.
const KIB: usize = 6 << 20;

/// Runs commands on a model; gives exit code and what was said.
fn run(proto: &ModelProto, commands: &[&str]) -> Vec<(i32, String)> {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    save(proto, Path::new(&at("model.onnx"))).unwrap();
    save(&models::plain(), Path::new(&at("other.onnx"))).unwrap();
    let mut told = Vec::new();
    for command in commands {
        std::fs::create_dir(at("made")).unwrap();
        let words = command.split(' ').map(|word| match word {
            "MODEL" => at("model.onnx"),
            "OTHER" => at("other.onnx"),
            "OUT" => at("made/new.onnx"),
            word => word.to_owned(),
        });
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            &format!("ulimit -v {KIB}; ulimit -t 50; exec \"$@\""),
            "sh",
        ]);
        let began = Instant::now();
        let output = shell
            .arg(env!("CARGO_BIN_EXE_ftsurgery"))
            .args(words)
            .output()
            .unwrap();
        let taken = began.elapsed();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let said = text(&output.stderr);
        let code = output.status.code();
        assert!(taken < LIMIT, "{command}: {taken:?}: {said}");
        // No panic, and no end by a signal.
        assert!(matches!(code, Some(0..=2)), "{command}: {code:?}: {said}");
        let mut left: Vec<String> = std::fs::read_dir(at("made"))
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let is_done = command.contains("OUT") && code == Some(0);
        match is_done {
            true => assert!(
                left == ["new.onnx"] || left == ["new.onnx", "new.onnx.data"],
                "{command}: {left:?}"
            ),
            false => assert!(left.is_empty(), "{command}: {left:?}"),
        }
        if code != Some(0) && command.contains("OUT") {
            assert!(said.contains("error: "), "{command}: {said}");
        }
        std::fs::remove_dir_all(at("made")).unwrap();
        told.push((code.unwrap_or(-1), said + &text(&output.stdout)));
    }
    told
}

/// Runs all commands on each.
fn all(cases: Vec<(&str, ModelProto)>) {
    for (name, proto) in cases {
        eprintln!("{name}");
        run(&proto, &COMMANDS);
    }
}

fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    NodeProto {
        op_type: Some(op_type.to_owned()),
        name: Some(format!("{}/node", outputs[0])),
        input: names(inputs),
        output: names(outputs),
        ..NodeProto::default()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(2),
        i: Some(value),
        ..AttributeProto::default()
    }
}

fn body(graph: GraphProto, name: &str) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(5),
        g: Some(Box::new(graph)),
        ..AttributeProto::default()
    }
}

fn floats(name: &str, dims: &[usize]) -> ftsurgery::onnx::messages::ValueInfoProto {
    value_to_proto(&Value::fixed(name, DataType::Float, dims))
}

/// `x` of 4 floats goes to `m`, and that by some nodes to `y`.
fn small(opset: i64, nodes: Vec<NodeProto>, tensors: Vec<TensorProto>) -> ModelProto {
    let mut all = vec![node("Relu", &["x"], &["m"])];
    all.extend(nodes);
    let mut proto = models::plain();
    proto.opset_import[0].version = Some(opset);
    proto.graph = Some(GraphProto {
        name: Some("small".to_owned()),
        node: all,
        initializer: tensors,
        input: vec![floats("x", &[1, 4])],
        output: vec![floats("y", &[1, 4])],
        ..GraphProto::default()
    });
    proto
}

fn ints(name: &str, values: &[i64]) -> TensorProto {
    Tensor::i64s(values).to_proto(name)
}
