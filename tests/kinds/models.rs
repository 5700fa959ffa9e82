//! Small networks, photos and the binary.

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use ftsurgery::graph::{Graph, Node, Value};
use ftsurgery::onnx::messages::{AttributeProto, ModelProto, NodeProto, OperatorSetIdProto};
use ftsurgery::onnx::messages::{MapType, OptionalType, SequenceType, TensorType, TypeValue};
use ftsurgery::onnx::messages::{TypeProto, ValueInfoProto};
use ftsurgery::onnx::{Model, Tensor, encode};
use image::{Rgb, RgbImage};

/// The classes of the photos.
pub const CLASSES: [&str; 3] = ["blue", "green", "red"];

pub fn node(op: &str, inputs: &[&str], output: &str) -> Node {
    Node::new(output, op, inputs, &[output])
}

/// Numbers that look random and are always the same.
pub fn noise(name: &str, dims: &[usize]) -> Tensor {
    let mut state = name
        .bytes()
        .fold(777u32, |s, b| s.wrapping_mul(31).wrapping_add(b.into()));
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1u32 << 23) as f32 - 1.0) * 0.6
    };
    let count: usize = dims.iter().product();
    Tensor::f32(dims, &(0..count).map(|_| next()).collect::<Vec<_>>())
}

/// A graph of images `x` of 16 pixels with these nodes, weights and outputs.
pub fn graph(
    nodes: Vec<Node>,
    weights: &[(&str, &[usize])],
    outputs: &[(&str, &[usize])],
) -> Graph {
    let value = |&(name, dims): &(&str, &[usize])| Value::batched(name, dims);
    Graph {
        nodes,
        inputs: vec![Value::batched("x", &[3, 16, 16])],
        outputs: outputs.iter().map(value).collect(),
        initializers: weights
            .iter()
            .map(|&(name, dims)| (name.to_owned(), noise(name, dims)))
            .collect(),
        ..Graph::new(17)
    }
}

/// Two convolutions with ReLUs, to `r2`, [N, 8, 4, 4].
pub fn trunk() -> Vec<Node> {
    let conv = |inputs: &[&str], output: &str| {
        node("Conv", inputs, output)
            .with("kernel_shape", vec![3, 3])
            .with("pads", vec![1, 1, 1, 1])
            .with("strides", vec![2, 2])
    };
    vec![
        conv(&["x", "w1", "b1"], "c1"),
        node("Relu", &["c1"], "r1"),
        conv(&["r1", "w2", "b2"], "c2"),
        node("Relu", &["c2"], "r2"),
    ]
}

pub const TRUNK: [(&str, &[usize]); 4] = [
    ("w1", &[8, 3, 3, 3]),
    ("b1", &[8]),
    ("w2", &[8, 8, 3, 3]),
    ("b2", &[8]),
];

/// The trunk, and behind it the mean and a dense layer, to `y`, [N, 3].
pub fn classifier() -> Graph {
    let mut nodes = trunk();
    nodes.extend([
        node("GlobalAveragePool", &["r2"], "p"),
        node("Flatten", &["p"], "f"),
        node("Gemm", &["f", "wf", "bf"], "y").with("transB", 1),
    ]);
    let head: [(&str, &[usize]); 2] = [("wf", &[3, 8]), ("bf", &[3])];
    graph(nodes, &[&TRUNK[..], &head].concat(), &[("y", &[3])])
}

/// The model of a graph, of IR 8.
pub fn proto(graph: &Graph) -> ModelProto {
    let (mut proto, _) = graph.to_model(usize::MAX);
    proto.ir_version = Some(8);
    proto
}

pub fn import(proto: &mut ModelProto, domain: &str, version: i64) {
    proto.opset_import.push(OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    });
}

/// An output that is a sequence of maps from integers to floats.
pub fn sequence(name: &str) -> ValueInfoProto {
    let type_of = |value| {
        Some(Box::new(TypeProto {
            value: Some(value),
            ..TypeProto::default()
        }))
    };
    let float = TensorType {
        elem_type: Some(1),
        ..TensorType::default()
    };
    let map = MapType {
        key_type: Some(7),
        value_type: type_of(TypeValue::Tensor(float)),
    };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            value: Some(TypeValue::Sequence(SequenceType {
                elem_type: type_of(TypeValue::Map(map)),
            })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

/// A model with a further output, which is an optional tensor that is not there.
pub fn with_nothing(proto: &ModelProto) -> ModelProto {
    let tensor = TypeProto {
        value: Some(TypeValue::Tensor(TensorType {
            elem_type: Some(1),
            ..TensorType::default()
        })),
        ..TypeProto::default()
    };
    let mut proto = proto.clone();
    let graph = proto.graph.as_mut().unwrap();
    graph.node.push(NodeProto {
        op_type: Some("Optional".to_owned()),
        output: vec!["nothing".to_owned()],
        attribute: vec![AttributeProto {
            name: Some("type".to_owned()),
            r#type: Some(13),
            tp: Some(tensor.clone()),
            ..AttributeProto::default()
        }],
        ..NodeProto::default()
    });
    let optional = OptionalType {
        elem_type: Some(Box::new(tensor)),
    };
    graph.output.push(ValueInfoProto {
        name: Some("nothing".to_owned()),
        r#type: Some(TypeProto {
            value: Some(TypeValue::Optional(optional)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    });
    proto
}

/// A folder with a model, photos, and what runs make.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new(proto: &ModelProto) -> Self {
        let place = Place(tempfile::tempdir().unwrap());
        std::fs::write(place.at("model.onnx"), encode(proto).unwrap()).unwrap();
        for (class, name) in CLASSES.iter().enumerate() {
            std::fs::create_dir_all(place.at("photos").join(name)).unwrap();
            for i in 0..8u32 {
                let mut picture = RgbImage::new(16, 16);
                for (x, y, pixel) in picture.enumerate_pixels_mut() {
                    let grain = ((x * 7 + y * 13 + i * 31) % 60) as u8;
                    let mut rgb = [grain; 3];
                    rgb[2 - class] = 180 + grain;
                    *pixel = Rgb(rgb);
                }
                let file = place.at("photos").join(name).join(format!("{i}.png"));
                picture.save(file).unwrap();
            }
        }
        place
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the binary in this folder.
    pub fn run(&self, arguments: &str) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
        command.current_dir(self.0.path());
        Said(command.args(arguments.split_whitespace()).output().unwrap())
    }

    /// Tunes the model to `run`, by a quick recipe.
    pub fn tune(&self, arguments: &str) -> Said {
        let given = |flag: &str, default: &str| match arguments.contains(flag) {
            true => String::new(),
            false => format!(" {flag} {default}"),
        };
        self.run(&format!(
            "tune model.onnx --data photos --out run --preprocess unit --epochs 2 --batch-size 8{}{}{} {arguments}",
            given("--strategies", "head,full"),
            given("--search-fraction", "0"),
            given("--lr", "0.01"),
        ))
    }

    /// What `full` wrote.
    pub fn winner(&self) -> Model {
        Model::open(&self.at("run/winners/full.onnx")).unwrap()
    }

    /// Name and probability of each class that `predict` prints for an image.
    pub fn predicted(&self, model: &str, arguments: &str) -> Vec<(String, f64)> {
        let image = format!("photos/{}/0.png", CLASSES[0]);
        let said = self.run(&format!(
            "predict {model} {image} --preprocess unit --json {arguments}"
        ));
        assert_eq!(said.code(), Some(0), "{}", said.text());
        let json: serde_json::Value = serde_json::from_slice(&said.0.stdout).unwrap();
        let classes = json[0]["classes"].as_array().unwrap().iter();
        let mut all: Vec<_> = classes
            .map(|c| {
                (
                    c["name"].as_str().unwrap().to_owned(),
                    c["probability"].as_f64().unwrap(),
                )
            })
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}

/// Asserts that two predictions are the same, but for rounding.
#[track_caller]
pub fn assert_close(a: &[(String, f64)], b: &[(String, f64)]) {
    let close = |((name, p), (other, q)): (&(String, f64), &(String, f64))| {
        name == other && (p - q).abs() < 1e-5
    };
    assert!(
        a.len() == b.len() && a.iter().zip(b).all(close),
        "{a:?} {b:?}"
    );
}

/// What a command came to.
pub struct Said(Output);

impl Said {
    pub fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    /// What was said on stderr.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// What came out on stdout.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    /// Asserts that it went well; what was said.
    #[track_caller]
    pub fn well(&self) -> String {
        assert_eq!(self.code(), Some(0), "{}", self.text());
        self.text()
    }

    /// Asserts that the input was refused with each of `words`.
    #[track_caller]
    pub fn refused(&self, words: &[&str]) {
        let text = self.text();
        assert_eq!(self.code(), Some(2), "{text}");
        let missing: Vec<_> = words.iter().filter(|w| !text.contains(**w)).collect();
        assert!(missing.is_empty(), "{missing:?} in {text}");
    }
}

/// Operators of a model's main graph, in the order of the file.
pub fn operators(model: &Model) -> Vec<&str> {
    model.graph().node.iter().map(|n| n.op_type()).collect()
}

/// Names of the outputs that a model declares.
pub fn outputs(model: &Model) -> Vec<&str> {
    model.graph().output.iter().map(|o| o.name()).collect()
}

/// The floats of an initializer.
pub fn floats(model: &Model, name: &str) -> Vec<f32> {
    let all = &model.graph().initializer;
    let tensor = all.iter().find(|t| t.name() == name).unwrap();
    model.tensor(tensor).unwrap().to_f32().unwrap()
}

/// A file beside the models that were handed over, if they are there.
pub fn handed(folder: &str) -> Option<PathBuf> {
    let folder: &Path = folder.as_ref();
    Some(ftsurgery::testing::shared()?.join("cases").join(folder))
}
