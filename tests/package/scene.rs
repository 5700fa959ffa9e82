//! Small classifiers of every kind, photos of several sizes, and packages of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ftsurgery::graph::{Dim, Graph, Value};
use ftsurgery::onnx::messages::ModelProto;
use ftsurgery::onnx::{DataType, set_metadata};
use image::{Rgb, RgbImage};

use crate::models::{Place, classifier, node, noise, proto};

/// Widths and heights of the photos.
pub const SIZES: [[u32; 2]; 7] = [
    [61, 47],
    [40, 90],
    [16, 16],
    [200, 133],
    [9, 12],
    [320, 320],
    [33, 500],
];

/// A model, and what is special of it.
pub struct Subject {
    pub name: &'static str,
    pub proto: ModelProto,
}

/// Says classes, preprocessing by a rule, and what else is given, in the metadata.
pub fn told(
    mut proto: ModelProto,
    classes: &[String],
    rule: &str,
    more: &[(&str, &str)],
) -> ModelProto {
    let classes = serde_json::to_string(classes).unwrap();
    set_metadata(&mut proto, "ftsurgery.classes", &classes);
    let (scale, rest) = rule.split_once(' ').unwrap();
    let resize: ftsurgery::data::Resize = rest.parse().unwrap();
    let preprocess: ftsurgery::data::Preprocess = scale.parse().unwrap();
    let preprocess = ftsurgery::data::Preprocess {
        resize,
        ..preprocess
    };
    let preprocess = serde_json::to_string(&preprocess).unwrap();
    set_metadata(&mut proto, "ftsurgery.preprocess", &preprocess);
    for (key, value) in more {
        set_metadata(&mut proto, key, value);
    }
    proto
}

pub fn named(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The classifier with a head of so many outputs, whose scores are far enough apart to be told.
fn with_head(outputs: usize) -> Graph {
    let mut graph = classifier();
    let far = |name: &str, dims: &[usize]| {
        let tensor = noise(name, dims);
        let values: Vec<f32> = tensor.to_f32().unwrap().iter().map(|v| 8.0 * v).collect();
        tensor.with_f32_values(&values).unwrap()
    };
    graph
        .initializers
        .insert("wf".to_owned(), far("wf", &[outputs, 8]));
    graph
        .initializers
        .insert("bf".to_owned(), noise("bf", &[outputs]));
    graph.outputs = vec![Value::batched("y", &[outputs])];
    graph
}

/// One of each kind.
pub fn subjects() -> Vec<Subject> {
    let subject = |name, proto| Subject { name, proto };
    let three = named(&["it's \"red\" | <b>", "зелёный\n\tgreen", "\\blue`"]);
    let mut all = vec![subject(
        "logits",
        told(proto(&with_head(3)), &three, "imagenet crop:0.875", &[]),
    )];

    let mut graph = with_head(3);
    graph
        .nodes
        .push(node("Softmax", &["y"], "p\"rob/ä").with("axis", 1));
    graph.outputs = vec![Value::batched("p\"rob/ä", &[3])];
    all.push(subject(
        "probabilities of a name of its own",
        told(proto(&graph), &three, "caffe squash", &[]),
    ));

    let mut graph = with_head(3);
    let fixed = |value: &mut Value| {
        if let Some(dims) = &mut value.dims {
            dims[0] = Dim::Known(4);
        }
    };
    graph
        .inputs
        .iter_mut()
        .chain(&mut graph.outputs)
        .for_each(fixed);
    all.push(subject(
        "a batch of four",
        told(proto(&graph), &three, "signed letterbox", &[]),
    ));

    let mut graph = with_head(3);
    graph.inputs = vec![Value::batched("pictures", &[16, 16, 3])];
    let turn = node("Transpose", &["pictures"], "x").with("perm", vec![0i64, 3, 1, 2]);
    graph.nodes.insert(0, turn);
    all.push(subject(
        "channels last",
        told(proto(&graph), &three, "unit-bgr crop:0.7", &[]),
    ));

    let several = [
        ("ftsurgery.task", "multi-label"),
        ("ftsurgery.thresholds", "[0.25, 0.5, 0.75]"),
    ];
    all.push(subject(
        "several labels",
        told(proto(&with_head(3)), &three, "unit squash", &several),
    ));

    let two = named(&["no", "yes: it is"]);
    all.push(subject(
        "one output for two classes",
        told(
            proto(&with_head(1)),
            &two,
            "raw letterbox",
            &[("ftsurgery.task", "binary")],
        ),
    ));

    let mut graph = with_head(3);
    let weight = noise("w1", &[8, 1, 3, 3]);
    graph.initializers.insert("w1".to_owned(), weight);
    graph.inputs = vec![Value::batched("x", &[1, 16, 16])];
    all.push(subject(
        "grey",
        told(proto(&graph), &three, "imagenet crop:1", &[]),
    ));

    let mut graph = with_head(3);
    let input = Value {
        dtype: DataType::Uint8,
        ..Value::batched("bytes", &[3, 16, 16])
    };
    graph.inputs = vec![input];
    let cast = node("Cast", &["bytes"], "wide").with("to", 1);
    let scale = ftsurgery::onnx::Tensor::scalar_f32(1.0 / 255.0);
    graph.initializers.insert("scale".to_owned(), scale);
    graph
        .nodes
        .splice(0..0, [cast, node("Mul", &["wide", "scale"], "x")]);
    all.push(subject(
        "bytes",
        told(proto(&graph), &three, "raw crop:0.9", &[]),
    ));

    let many: Vec<String> = (0..3000).map(|i| format!("class {i}: \"n°\"")).collect();
    all.push(subject(
        "three thousand classes",
        told(proto(&with_head(3000)), &many, "imagenet squash", &[]),
    ));

    let mut old = proto(&with_head(3));
    old.opset_import[0].version = Some(11);
    all.push(subject(
        "opset 11",
        told(old, &three, "imagenet letterbox", &[]),
    ));
    all
}

/// A folder with the model and photos in `pictures`.
pub fn place(proto: &ModelProto) -> Place {
    let place = Place::new(proto);
    fs::create_dir_all(place.at("pictures")).unwrap();
    for (at, [width, height]) in SIZES.into_iter().enumerate() {
        let picture = RgbImage::from_fn(width, height, |x, y| {
            let wave = |k: f32| {
                120.0 + 100.0 * (k * x as f32 / 9.0 + at as f32).sin() * (y as f32 / 7.0).cos()
            };
            let grain = (x * 37 + y * 91 + x * y) % 29;
            Rgb([1.0, 0.6, 1.7].map(|k| (wave(k) + grain as f32).clamp(0.0, 255.0) as u8))
        });
        picture
            .save(place.at(&format!("pictures/{at}.png")))
            .unwrap();
    }
    place
}

/// The photos, for a command line.
pub fn pictures() -> String {
    let all: Vec<String> = (0..SIZES.len())
        .map(|at| format!("pictures/{at}.png"))
        .collect();
    all.join(" ")
}

/// What `predict` says of the photos: the probability of each class by name.
pub fn predicted(place: &Place, model: &str) -> Vec<Vec<(String, f64)>> {
    let said = place.run(&format!(
        "predict {model} --json --top 100000 {}",
        pictures()
    ));
    said.well();
    let all: serde_json::Value = serde_json::from_str(&said.out()).unwrap();
    let classes = |image: &serde_json::Value| {
        let class = |class: &serde_json::Value| {
            let name = class["name"].as_str().unwrap().to_owned();
            (name, class["probability"].as_f64().unwrap())
        };
        let all = image["classes"].as_array().unwrap();
        let mut all: Vec<(String, f64)> = all.iter().map(class).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    all.as_array().unwrap().iter().map(classes).collect()
}

/// The most that any probability differs by.
pub fn apart(one: &[Vec<(String, f64)>], other: &[Vec<(String, f64)>]) -> f64 {
    assert_eq!(one.len(), other.len());
    let rows = one.iter().zip(other);
    let pairs = rows.flat_map(|(a, b)| {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b)
    });
    pairs
        .map(|(a, b)| {
            assert_eq!(a.0, b.0);
            (a.1 - b.1).abs()
        })
        .fold(0.0, f64::max)
}

/// Runs a script of Python's in the folder, and gives what it prints.
pub fn python(place: &Place, python: &Path, script: &str) -> String {
    let file: PathBuf = place.at("script.py");
    fs::write(&file, script).unwrap();
    let ran = Command::new(python)
        .arg("script.py")
        .current_dir(place.at("."))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{told}");
    String::from_utf8(ran.stdout).unwrap()
}
