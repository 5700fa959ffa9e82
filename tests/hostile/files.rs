//! Files that ask for more than they are worth, and text that a terminal would obey: exit code 2 with a
//! sentence, or 1 where a number is not finite, in seconds and little memory.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ftsurgery::onnx::messages::{FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto};
use ftsurgery::onnx::{Model, encode, save};
use ftsurgery::runtime::testing::runtime;

use crate::cases::{batch, ftsurgery};
use crate::guard::{Outcome, guarded_within};
use crate::models;

/// What a small file may take in memory.
const FEW: isize = 128 << 20;

/// A folder with a model, a batch, an image, and a folder of images.
pub struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    pub fn new(proto: &ModelProto) -> Self {
        let folder = tempfile::tempdir().unwrap();
        save(proto, &folder.path().join("model.onnx")).unwrap();
        for class in ["a", "b", "c"] {
            let path = folder.path().join("data").join(class);
            std::fs::create_dir_all(&path).unwrap();
            let picture = image::RgbImage::from_pixel(8, 8, image::Rgb([90, 20, 200]));
            picture.save(path.join("0.png")).unwrap();
        }
        batch(folder.path());
        Scene { folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The exit code of a command on the model, and all that it says.
    fn run(&self, command: &str, more: &[&str]) -> (i32, String, String) {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let mut words = vec![command.to_owned(), text(self.at("model.onnx"))];
        let given = match command {
            "analyze" => vec![],
            "gradients" => vec![
                "--batch".to_owned(),
                text(self.at("batch.npz")),
                "--out".to_owned(),
                text(self.at("out.npz")),
            ],
            "prune" => vec!["--out".to_owned(), text(self.at("new.onnx"))],
            "differentiate" => vec!["--out".to_owned(), text(self.at("step.onnx"))],
            "evaluate" => vec!["--data".to_owned(), text(self.at("data"))],
            "predict" => vec![text(self.at("data/a/0.png"))],
            other => panic!("{other}"),
        };
        words.extend(given);
        if matches!(command, "evaluate" | "predict") {
            words.extend(["--preprocess", "unit"].map(str::to_owned));
        }
        let words: Vec<&str> = words
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
        let output = ftsurgery(&words);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap_or(-1);
        (code, text(output.stdout), text(output.stderr))
    }

    pub fn refused(&self, command: &str, words: &[&str]) {
        let (code, _, said) = self.run(command, &[]);
        assert_eq!(code, 2, "{command}: {said}");
        for word in words {
            assert!(said.contains(word), "{command}: {word} in {said}");
        }
    }
}

const ALL: [&str; 6] = [
    "analyze",
    "prune",
    "gradients",
    "differentiate",
    "evaluate",
    "predict",
];

pub fn graph(proto: &mut ModelProto) -> &mut GraphProto {
    proto.graph.as_mut().unwrap()
}

#[test]
fn millions_of_empty_messages_are_refused_before_they_are_decoded() {
    let empty_nodes = GraphProto {
        node: vec![NodeProto::default(); 3_000_000],
        ..Default::default()
    };
    let in_graph = ModelProto {
        graph: Some(empty_nodes),
        ..Default::default()
    };
    let mut tensors = models::plain();
    graph(&mut tensors).initializer = vec![TensorProto::default(); 1_000_000];
    for proto in [in_graph, tensors] {
        let bytes = Bytes::from(encode(&proto).unwrap());
        drop(proto);
        let decode = || Model::decode(bytes.clone(), Path::new("many.onnx")).map(drop);
        match guarded_within("empty messages", 1 << 20, decode) {
            Outcome::Done(result) => {
                let said = result.unwrap_err().to_string();
                assert!(said.contains("small messages"), "{said}");
            }
            Outcome::Failed(why) => panic!("{why}"),
        }
    }
}

#[test]
fn groups_are_fields_beyond_the_schema() {
    let scene = Scene::new(&models::plain());
    let mut bytes = encode(&models::plain()).unwrap();
    bytes.extend([0xfb, 0x07, 0x08, 1, 0xfc, 0x07]);
    std::fs::write(scene.at("model.onnx"), bytes).unwrap();
    scene.refused("gradients", &["field 127", "ModelProto"]);
}

#[test]
fn functions_that_double_without_end_are_refused_by_every_command() {
    if runtime().is_none() {
        return;
    }
    let call = |op_type: String| NodeProto {
        op_type: Some(op_type),
        domain: Some("laughs".to_owned()),
        ..Default::default()
    };
    let through = |op: String, from: &str, to: &str| NodeProto {
        input: vec![from.to_owned()],
        output: vec![to.to_owned()],
        ..call(op)
    };
    let mut proto = models::plain();
    graph(&mut proto).node[2] = through("F0".to_owned(), "bn", "relu1");
    proto.functions = (0..40)
        .map(|i| FunctionProto {
            name: Some(format!("F{i}")),
            domain: Some("laughs".to_owned()),
            input: vec!["x".to_owned()],
            output: vec!["y".to_owned()],
            node: vec![
                through(format!("F{}", i + 1), "x", "m"),
                through(format!("F{}", i + 1), "m", "y"),
            ],
            ..Default::default()
        })
        .collect();
    let scene = Scene::new(&proto);
    for command in ALL {
        scene.refused(command, &["functions", "model.onnx"]);
    }
}

#[test]
fn names_with_a_nul_are_refused_by_name() {
    let mut proto = models::plain();
    let graph = graph(&mut proto);
    graph.node[0].output[0] = "con\0v".to_owned();
    graph.node[1].input[0] = "con\0v".to_owned();
    let scene = Scene::new(&proto);
    for command in ["analyze", "gradients", "differentiate"] {
        scene.refused(command, &["NUL", "con\\0v"]);
    }
}

#[test]
fn names_longer_than_an_archive_takes_are_refused_by_name() {
    let mut proto = models::plain();
    let graph = graph(&mut proto);
    let long = "w".repeat(70_000);
    graph.initializer[0].name = Some(long.clone());
    graph.node[0].input[1] = long;
    let scene = Scene::new(&proto);
    scene.refused("gradients", &["wwww", "70000 bytes", "--trainable"]);
}

#[test]
fn what_onnxruntime_refuses_is_bad_input_and_the_node_is_named() {
    if runtime().is_none() {
        return;
    }
    let mut proto = models::plain();
    let pool = &mut graph(&mut proto).node[3];
    pool.name = None;
    for attribute in &mut pool.attribute {
        if attribute.name.as_deref() == Some("strides") {
            attribute.ints = vec![0, 0];
        }
    }
    let scene = Scene::new(&proto);
    for command in ["gradients", "differentiate", "evaluate", "predict"] {
        scene.refused(command, &["pool", "strides"]);
    }
    let (_, _, said) = scene.run("predict", &[]);
    assert!(!said.contains("onnxruntime_src"), "{said}");
}

#[test]
fn outputs_that_are_not_finite_are_told_and_json_stays_json() {
    if runtime().is_none() {
        return;
    }
    let mut proto = models::plain();
    let graph = graph(&mut proto);
    let bias = graph
        .initializer
        .iter_mut()
        .find(|t| t.name.as_deref() == Some("fc.b"));
    let not_a_number = [f32::NAN; 3].iter().flat_map(|v| v.to_le_bytes()).collect();
    bias.unwrap().raw_data = Some(not_a_number);
    let scene = Scene::new(&proto);
    for command in ["gradients", "evaluate", "predict"] {
        let (code, _, said) = scene.run(command, &[]);
        assert_eq!(code, 1, "{command}: {said}");
        assert!(said.contains("finite"), "{command}: {said}");
    }
    for command in ["evaluate", "predict"] {
        let (code, out, said) = scene.run(command, &["--json"]);
        assert_eq!(code, 1, "{command}: {said}");
        serde_json::from_str::<serde_json::Value>(&out).unwrap();
    }
    let (_, out, _) = scene.run("evaluate", &["--json"]);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["not_finite"], 3);
    for class in told["classes"].as_array().unwrap() {
        assert_eq!(class["recall"], 0.0, "{class}");
    }
}

#[test]
fn nothing_that_a_terminal_obeys_leaves_the_tool() {
    let hostile = "\u{1b}[31mred\u{1b}]0;t\u{7}\u{9b}2J\u{202e}\nerror: fake\r";
    let mut proto = models::plain();
    let renamed = graph(&mut proto);
    for node in &mut renamed.node {
        node.name = Some(format!("{hostile}{}", node.name.as_deref().unwrap_or("")));
    }
    for tensor in &mut renamed.initializer {
        let name = tensor.name.clone().unwrap_or_default();
        let other = format!("{hostile}{name}");
        for node in &mut renamed.node {
            node.input
                .iter_mut()
                .filter(|i| **i == name)
                .for_each(|i| i.clone_from(&other));
        }
        tensor.name = Some(other);
    }
    let trained = proto.clone();
    let renamed = graph(&mut proto);
    // Refused by `gradients`, with the node's name.
    renamed.node[2].op_type = Some("Hardmax".to_owned());
    let scene = Scene::new(&proto);
    let shown = |text: &str| {
        let odd = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{202e}' | '\u{9b}');
        assert!(!text.contains(odd), "{text:?}");
        assert!(!text.contains("\nerror: fake"), "{text}");
    };
    for format in ["table", "dot", "json"] {
        let (code, out, said) = scene.run("analyze", &["--format", format]);
        assert_eq!(code, 0, "{said}");
        assert!(out.contains("red"), "{out}");
        shown(&out);
        shown(&said);
        if format == "json" {
            let told: serde_json::Value = serde_json::from_str(&out).unwrap();
            assert!(told.to_string().contains("error: fake"));
        }
    }
    for command in ["gradients", "differentiate"] {
        let (code, out, said) = scene.run(command, &[]);
        assert_eq!(code, 2, "{said}");
        shown(&out);
        shown(&said);
    }
    let (code, out, said) = Scene::new(&trained).run("differentiate", &[]);
    assert_eq!(code, 0, "{said}");
    assert!(out.contains("red"), "{out}");
    shown(&out);
}

#[test]
fn a_node_of_many_inputs_and_long_names_are_analysed_in_no_time() {
    let mut wide = models::plain();
    let sum = &mut graph(&mut wide).node[2];
    sum.op_type = Some("Sum".to_owned());
    sum.input = vec![sum.input[0].clone(); 300_000];
    let mut long = models::plain();
    graph(&mut long).node[0].name = Some("n".repeat(30_000_000));
    let mut tensor = models::plain();
    let name = "w".repeat(30_000_000);
    graph(&mut tensor).initializer[0].name = Some(name.clone());
    graph(&mut tensor).node[0].input[1] = name;
    for (what, proto, memory) in [
        ("inputs", wide, 4 * FEW),
        ("a name of a layer", long, 8 * FEW),
        ("a name of a weight", tensor, 16 * FEW),
    ] {
        let bytes = Bytes::from(encode(&proto).unwrap());
        let analyse = || {
            use ftsurgery::analysis::{Analysis, AnalyzeOptions};
            let model = Model::decode(bytes.clone(), Path::new("model.onnx")).unwrap();
            let analysis = Analysis::of(&model, &AnalyzeOptions::default()).unwrap();
            ftsurgery::report::analysis(&analysis, Some(100)).len()
        };
        match guarded_within(what, memory, analyse) {
            Outcome::Done(length) => assert!(length < 100_000),
            Outcome::Failed(why) => panic!("{what}: {why}"),
        }
    }
}

#[cfg(unix)]
#[test]
fn external_data_that_nothing_reads_is_not_read() {
    use ftsurgery::onnx::messages::StringStringEntryProto;
    if runtime().is_none() {
        return;
    }
    let mut proto = models::plain();
    let entry = |key: &str, value: &str| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    };
    graph(&mut proto).initializer.push(TensorProto {
        name: Some("unread".to_owned()),
        data_type: Some(1),
        dims: vec![1 << 38],
        data_location: Some(1),
        external_data: vec![entry("location", "sparse")],
        ..Default::default()
    });
    let scene = Scene::new(&proto);
    // Larger than any disk here, without a block of its own.
    let sparse = std::fs::File::create(scene.at("sparse")).unwrap();
    if sparse.set_len(1 << 40).is_err() {
        ftsurgery::testing::skip("sparse files", "the folder for temporary files has none");
        return;
    }
    for command in ALL {
        let (code, _, said) = scene.run(command, &[]);
        assert_eq!(code, 0, "{command}: {said}");
    }
}
