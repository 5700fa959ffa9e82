//! Winners whose weights one file cannot hold: they lie in a file beside the model.

use std::path::Path;

use ftsurgery::data::Preprocess;
use ftsurgery::graph::{Builder, Graph, Value};
use ftsurgery::onnx::{Model, Tensor, save_within};
use ftsurgery::run::{Begin, Results};
use ftsurgery::runtime::Runtime;
use ftsurgery::runtime::testing::runtime;
use ftsurgery::search::{self, Job};
use ftsurgery::strategy::StrategyName;
use ftsurgery::surgery::{HEAD_PREFIX, HeadKind, What, differences, taken_in};
use ftsurgery::testing::{only_tuned, python, skip};

use crate::support::*;

/// Saves a convolution and two wide dense layers, with its weights beside it.
pub fn save_wide(path: &Path) {
    let mut graph = Graph {
        inputs: vec![Value::batched("image", &[3, 16, 16])],
        ..Graph::new(17)
    };
    let mut add = |name: &str, dims: &[usize], scale: f32| {
        let values = noise(dims.iter().product(), scale);
        graph
            .initializers
            .insert(name.to_owned(), Tensor::f32(dims, &values));
    };
    add("conv.w", &[8, 3, 3, 3], 0.4);
    add("wide.w", &[512, 256], 0.08);
    add("wide.b", &[256], 0.01);
    add("wider.w", &[256, 256], 0.1);
    add("wider.b", &[256], 0.01);
    add("fc.w", &[256, 3], 0.1);
    let mut b = Builder::new(&mut graph);
    let window = vec![
        ("pads", vec![1i64; 4].into()),
        ("strides", vec![2i64, 2].into()),
    ];
    let x = b.op("conv", "Conv", &["image", "conv.w"], window);
    let x = b.op("map", "Relu", &[&x], vec![]);
    let x = b.op("flat", "Flatten", &[&x], vec![]);
    let x = b.op("wide", "Gemm", &[&x, "wide.w", "wide.b"], vec![]);
    let x = b.op("first", "Relu", &[&x], vec![]);
    let x = b.op("wider", "Gemm", &[&x, "wider.w", "wider.b"], vec![]);
    let x = b.op("second", "Relu", &[&x], vec![]);
    let x = b.op("scores", "MatMul", &[&x, "fc.w"], vec![]);
    graph.outputs.push(Value::batched(&x, &[3]));
    let model = graph.to_model(usize::MAX).0;
    assert!(save_within(0, model, path, "weights").unwrap());
}

/// A model with its weights beside it, photos, and where onnxruntime is.
struct Scene {
    folder: tempfile::TempDir,
    runtime: Runtime,
}

impl Scene {
    fn new() -> Option<Self> {
        let runtime = runtime()?;
        let folder = tempfile::tempdir().unwrap();
        save_wide(&folder.path().join("model.onnx"));
        save_photos(&folder.path().join("photos"), 12);
        Some(Scene { folder, runtime })
    }

    /// The run `out`, whose winners' files may have `largest` bytes.
    fn run(&self, out: &str, begin: Begin, largest: Option<usize>) -> Results {
        let mut settings = laborious_settings()
            .strategies(vec![StrategyName::HEAD, StrategyName::last(1)])
            .head(HeadKind::Linear)
            .features(Some("second".to_owned()))
            .preprocess(Some(Preprocess::SIGNED))
            .epochs(2)
            .threads(1);
        settings.split.search_fraction = 0.4.into();
        settings.split.train_fraction = 0.4;
        let at = |name: &str| self.folder.path().join(name);
        let job = Job::new(at("model.onnx"), at("photos"), at(out))
            .begin(begin)
            .largest_file(largest)
            .settings(settings);
        search::tune(&self.runtime, &job, &()).unwrap()
    }

    fn winner(&self, out: &str, name: &str) -> std::path::PathBuf {
        self.folder.path().join(out).join("winners").join(name)
    }
}

#[test]
fn what_one_file_cannot_hold_lies_beside_it_with_every_value_the_same() {
    let Some(scene) = Scene::new() else { return };
    let original = Model::open(&scene.folder.path().join("model.onnx")).unwrap();
    scene.run("whole", Begin::New, None);
    let results = scene.run("parted", Begin::New, Some(1 << 16));
    for (strategy, trained) in [("head", &[][..]), ("last1", &["wider.w", "wider.b"])] {
        let model = format!("{strategy}.onnx");
        let whole = Model::open(&scene.winner("whole", &model)).unwrap();
        let parted = Model::open(&scene.winner("parted", &model)).unwrap();
        assert!(parted.file_bytes().len() < 1 << 16);
        let inside = taken_in(&parted).unwrap();
        assert_eq!(inside.proto, whole.proto, "{strategy}");
        let tensors = inside.graph().initializer.iter();
        let tuned =
            tensors.filter(|t| t.name().starts_with(HEAD_PREFIX) || trained.contains(&t.name()));
        let tuned: Vec<String> = tuned.map(|t| t.name().to_owned()).collect();
        only_tuned(&original, &inside, &tuned).unwrap();
        assert_eq!(parted.external_files()[0].0, format!("{model}.data"));

        let result = results
            .strategies
            .iter()
            .find(|s| s.name.to_string() == strategy)
            .unwrap();
        let external = result.external.as_ref().unwrap();
        assert_eq!(external.location, format!("{model}.data"));
        let mut command = ftsurgery();
        command
            .arg("evaluate")
            .arg(scene.winner("parted", &model))
            .arg("--json");
        command
            .arg("--data")
            .arg(scene.folder.path().join("photos"));
        let split = scene.folder.path().join("parted/split.json");
        command
            .arg("--split")
            .arg(split)
            .args(["--part", "held_out"]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["accuracy"].as_f64(), result.held_out_accuracy);
    }
    let Some(python) = python(&["onnxruntime", "numpy"]) else {
        return skip(
            "python",
            "one with onnxruntime and NumPy (FTSURGERY_PYTHON)",
        );
    };
    let script = "import sys, numpy, onnxruntime as o\n\
                  x = numpy.random.default_rng(0).random((2, 3, 16, 16), dtype=numpy.float32)\n\
                  a, b = (o.InferenceSession(p).run(None, {'image': x})[0] for p in sys.argv[1:])\n\
                  assert a.shape == (2, 3) and (a == b).all(), (a, b)";
    let mut command = std::process::Command::new(python);
    command.args(["-c", script]);
    for out in ["whole", "parted"] {
        command.arg(scene.winner(out, "last1.onnx"));
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn what_the_tool_for_large_models_makes_is_tuned() {
    if !has_runtime() {
        return;
    }
    let Some(python) = python(&["onnx", "numpy"]) else {
        return skip("python", "one with onnx and NumPy (FTSURGERY_PYTHON)");
    };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    save_photos(&at("photos"), 12);
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/make_large_model.py");
    for name in ["model.onnx", "again.onnx"] {
        let mut command = std::process::Command::new(&python);
        command
            .arg(tool)
            .arg(at(name))
            .args(["--bytes", "2e6", "--layers", "2", "--classes", "3"]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let weights =
        ["model.onnx.data", "again.onnx.data"].map(|name| std::fs::read(at(name)).unwrap());
    assert!(
        (1_800_000..2_200_000).contains(&weights[0].len()),
        "{}",
        weights[0].len()
    );
    assert!(weights[0] == weights[1], "drawn from a seed");
    let settings = "--strategies head,select --train /dense1 --features dense1.relu --head linear \
                    --preprocess unit --epochs 1 --threads 1 --search-fraction 0.4 --train-fraction 0.4";
    let settings: Vec<&str> = settings.split_whitespace().collect();
    let mut command = tune(&at("model.onnx"), &at("photos"), &at("run"), &settings);
    command.assert().success();
    let original = Model::open(&at("model.onnx")).unwrap();
    let tuned = Model::open(&at("run/winners/select.onnx")).unwrap();
    let changed: Vec<String> = differences(&original, &tuned)
        .unwrap()
        .into_iter()
        .filter(|d| matches!(d.what, What::Set { .. }))
        .map(|d| d.name)
        .collect();
    assert_eq!(changed, ["dense1.weight", "dense1.bias"]);
}

#[test]
fn a_winner_whose_weights_are_not_as_written_is_made_again_and_goes_with_its_run() {
    let Some(scene) = Scene::new() else { return };
    scene.run("run", Begin::New, Some(1 << 16));
    let [model, data] = ["last1.onnx", "last1.onnx.data"].map(|name| scene.winner("run", name));
    let written = [&model, &data].map(|path| std::fs::read(path).unwrap());
    let mut damaged = written[1].clone();
    damaged[1000] ^= 1;
    std::fs::write(&data, damaged).unwrap();
    scene.run("run", Begin::Resume, Some(1 << 16));
    assert_eq!(
        [&model, &data].map(|path| std::fs::read(path).unwrap()),
        written
    );

    std::fs::write(
        scene.winner("run", "last1.onnx.data.partial"),
        b"of a killed process",
    )
    .unwrap();
    scene.run("run", Begin::Replace, None);
    let folder = scene.winner("run", "");
    let left = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name());
    let mut left: Vec<_> = left.filter_map(|name| name.into_string().ok()).collect();
    left.retain(|name| !name.ends_with(".csv"));
    left.sort();
    assert_eq!(left, ["head.onnx", "last1.onnx"]);
}
