//! `ftsurgery differentiate --format ort-training`, and onnxruntime's training API on what it writes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use ftsurgery::graph::{Graph, Node};
use ftsurgery::onnx::{Model, Tensor, save};
use ftsurgery::runtime::testing::runtime;
use ftsurgery::runtime::{Array, Runtime, Session, SessionOptions};
use ftsurgery::testing::skip;
use ndarray::{ArrayD, IxDyn};

use crate::networks;
use crate::scene::{Arrays, Made, apart, ftsurgery, save_samples};

/// Steps, of a batch of 4 each.
const STEPS: usize = 10;
/// What ten steps make of the rounding of one.
const TOLERANCE: f64 = 5e-6;
const DOCS: &str = include_str!("../../docs/ort-training.md");

/// The Python that `FTSURGERY_ORT_TRAINING_PYTHON` names, if it has onnxruntime-training.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("FTSURGERY_ORT_TRAINING_PYTHON").map(PathBuf::from);
    let has_it = |python: &PathBuf| {
        let script =
            "import numpy, onnx, onnxruntime.capi._pybind_state as state; state.CheckpointState";
        let ran = Command::new(python).args(["-c", script]).output();
        ran.is_ok_and(|ran| ran.status.success())
    };
    let python = named.filter(has_it);
    if python.is_none() {
        skip(
            "ort-training",
            "a Python with onnxruntime-training-cpu 1.19.2 (FTSURGERY_ORT_TRAINING_PYTHON)",
        );
    }
    python
}

/// A network as a file, and batches for it.
struct Scene {
    folder: tempfile::TempDir,
    x: Vec<ArrayD<f32>>,
    y: Vec<ArrayD<i64>>,
}

impl Scene {
    fn new(network: &Graph) -> Self {
        let folder = tempfile::tempdir().unwrap();
        save(
            &network.to_model(usize::MAX).0,
            &folder.path().join("model.onnx"),
        )
        .unwrap();
        let pixel = |batch: usize| move |at: usize| ((at * 7 + batch * 31) as f32 * 0.37).sin();
        let dims = [4, 3, 16, 16];
        let count = dims.iter().product();
        let images = |batch| (0..count).map(pixel(batch)).collect();
        let label = |batch: usize| (0..4).map(|at| ((at + batch) % 5) as i64).collect();
        let scene = Scene {
            x: (0..STEPS)
                .map(|batch| ArrayD::from_shape_vec(IxDyn(&dims), images(batch)).unwrap())
                .collect(),
            y: (0..STEPS)
                .map(|batch| ArrayD::from_shape_vec(IxDyn(&[4]), label(batch)).unwrap())
                .collect(),
            folder,
        };
        fn stacked<T: Copy>(all: &[ArrayD<T>]) -> ArrayD<T> {
            let dims = [&[all.len()], all[0].shape()].concat();
            let values = all.iter().flat_map(|batch| batch.iter().copied()).collect();
            ArrayD::from_shape_vec(IxDyn(&dims), values).unwrap()
        }
        let (x, y) = (stacked(&scene.x), stacked(&scene.y));
        save_samples(&scene.at("batches.npz"), &x, &y);
        scene
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn inputs(&self, batch: usize) -> [(&'static str, Array); 2] {
        [
            ("image", Array::F32(self.x[batch].clone())),
            ("labels", Array::I64(self.y[batch].clone())),
        ]
    }

    /// Writes the files with these flags and trains with them, a step for `gathered` batches; what was written.
    fn train(&self, python: &Path, flags: &str, rate: f32, gathered: usize) -> Arrays {
        ftsurgery(&["differentiate", "--force", "--format", "ort-training"])
            .arg(self.at("model.onnx"))
            .args(flags.split_whitespace())
            .arg("--out")
            .arg(self.folder.path())
            .assert()
            .success();
        let model = Model::open(&self.at("model.onnx")).unwrap();
        let scores = model.graph().output[0].name().to_owned();
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/training_graph/ort_training.py"
        );
        let ran = Command::new(python)
            .arg(script)
            .arg(self.folder.path())
            .args([rate.to_string(), gathered.to_string(), scores])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{flags}: {told}");
        Arrays(self.at("trained.npz"))
    }

    /// Holds ten steps through onnxruntime's training API against ours.
    fn is_alike(&self, runtime: &Runtime, python: &Path, flags: &str, rate: f32) {
        let theirs = self.train(python, flags, rate, 1);
        let (losses, evals) = (theirs.get::<f32>("loss"), theirs.get::<f32>("eval"));
        let original = Model::open(&self.at("model.onnx")).unwrap();
        let tensor = |model: &Model, name: &str| -> Vec<f32> {
            let mut all = model.graph().initializer.iter();
            let found = all.find(|t| t.name() == name).unwrap();
            model.tensor(found).unwrap().to_f32().unwrap()
        };
        let mut ours = Made::of(runtime, &self.at("model.onnx"), flags);
        let trained = |made: &Made| -> BTreeSet<String> {
            let names = made
                .state
                .keys()
                .filter_map(|key| key.strip_prefix("param/"));
            names.map(str::to_owned).collect()
        };
        let trained = trained(&ours);
        let mut worst = 0.0f64;
        for step in 0..STEPS {
            let loss = ours.step(&self.inputs(step), rate);
            for (what, found) in [("loss", losses[step]), ("evaluation", evals[step])] {
                let off = f64::from((found - loss).abs() / loss);
                assert!(
                    off < TOLERANCE,
                    "{flags}: {what} of step {step} is {found}, not {loss}"
                );
                worst = worst.max(off);
            }
            let names = theirs.names(&format!("{step}/"));
            assert!(trained.iter().all(|name| names.contains(name)), "{names:?}");
            for name in names {
                let found = theirs.get::<f32>(&format!("{step}/{name}"));
                let found: Vec<f32> = found.iter().copied().collect();
                if !trained.contains(&name) {
                    assert_eq!(found, tensor(&original, &name), "{name} is frozen");
                    continue;
                }
                let off = apart(&found, &ours.floats(&format!("param/{name}")));
                assert!(
                    off < TOLERANCE,
                    "{flags}: {name} of step {step} is {off:.1e} off"
                );
                worst = worst.max(off);
            }
        }
        println!("{flags}: at most {worst:.1e} off");
        self.comes_out(runtime, &trained);
    }

    /// Holds the model that onnxruntime exports against that which `apply` makes of its checkpoint.
    fn comes_out(&self, runtime: &Runtime, trained: &BTreeSet<String>) {
        ftsurgery(&["apply", "--force"])
            .args([self.at("trained"), self.at("model.onnx")])
            .arg("--out")
            .arg(self.at("tuned.onnx"))
            .assert()
            .success();
        let [original, tuned, exported] = ["model.onnx", "tuned.onnx", "inference.onnx"]
            .map(|name| Model::open(&self.at(name)).unwrap());
        let [before, ours, theirs] =
            [&original, &tuned, &exported].map(|model| Graph::from_model(model).unwrap());
        assert_eq!(
            (&ours.inputs, &ours.outputs),
            (&theirs.inputs, &theirs.outputs)
        );
        let by_outputs = |graph: &Graph| -> BTreeMap<Vec<String>, Node> {
            let nodes = graph.nodes.iter().cloned();
            nodes.map(|node| (node.outputs.clone(), node)).collect()
        };
        let (mut nodes, expected) = (by_outputs(&theirs), by_outputs(&ours));
        for (outputs, node) in &mut nodes {
            // onnxruntime writes defaults out.
            let ours = &expected[outputs];
            node.attributes
                .retain(|name, _| ours.attributes.contains_key(name));
            node.name.clone_from(&ours.name);
        }
        assert!(nodes == expected, "the nodes differ");
        let tensors = |graph: &Graph| -> BTreeMap<String, Tensor> {
            graph.initializers.clone().into_iter().collect()
        };
        assert!(tensors(&theirs) == tensors(&ours), "the tensors differ");
        for (name, tensor) in &theirs.initializers {
            let is_as_before = *tensor == before.initializers[name];
            assert_eq!(is_as_before, !trained.contains(name), "{name}");
        }
        let image = Array::F32(self.x[0].clone());
        let said = [&tuned, &exported].map(|model| {
            let options = SessionOptions::default();
            let mut session = Session::new(runtime, model.file_bytes(), &[], &options).unwrap();
            let all = session.run(&[("image", &image)]).unwrap();
            all[0].as_f32().unwrap().clone()
        });
        assert_eq!(said[0], said[1]);
    }
}

/// Trains a network through the API with these flags and a rate, and so do we.
fn trains_alike(network: Graph, runs: &[(&str, f32)]) {
    let (Some(runtime), Some(python)) = (runtime(), python()) else {
        return;
    };
    let scene = Scene::new(&network);
    for (flags, rate) in runs {
        scene.is_alike(&runtime, &python, flags, *rate);
    }
}

#[test]
fn depthwise_convolutions_with_stored_statistics_train_through_the_api() {
    let runs = [
        ("--optimizer adamw --batch-size 4", 1e-3),
        ("--optimizer sgd --momentum 0 --batch-size free", 0.05),
    ];
    trains_alike(networks::mobilenet_v1(), &runs);
}

#[test]
fn parts_of_inverted_residuals_train_through_the_api() {
    let runs = [
        ("--optimizer adamw --batch-size 4", 1e-3),
        (
            "--optimizer adamw --weight-decay 0.1 --batch-size free --trainable fc.* --trainable project1* --trainable last*",
            3e-3,
        ),
    ];
    trains_alike(networks::mobilenet_v2(), &runs);
}

#[test]
fn hard_swish_and_gates_train_through_the_api() {
    let runs = [
        ("--optimizer adamw --batch-size 4", 1e-3),
        ("--optimizer adam --clip 0.1 --batch-size 4", 1e-3),
    ];
    trains_alike(networks::mobilenet_v3(), &runs);
}

#[test]
fn poolings_and_dense_layers_train_through_the_api() {
    let runs = [
        ("--optimizer adamw --batch-size 4", 1e-3),
        (
            "--optimizer sgd --momentum 0 --clip 0.5 --label-smoothing 0.1 --class-weights 1,2,0.5,1,1 --batch-size 4",
            0.05,
        ),
    ];
    trains_alike(networks::vgg(), &runs);
}

#[test]
fn a_transformer_trains_through_the_api() {
    let runs = [
        ("--optimizer adamw --batch-size 4", 1e-3),
        (
            "--optimizer adamw --batch-size free --trainable norm* --trainable class",
            1e-3,
        ),
    ];
    trains_alike(networks::vit(), &runs);
}

#[test]
fn gradients_of_several_batches_are_gathered_for_a_step() {
    let (Some(runtime), Some(python)) = (runtime(), python()) else {
        return;
    };
    let scene = Scene::new(&networks::mobilenet_v1());
    let flags = "--optimizer sgd --momentum 0 --batch-size 4";
    let theirs = scene.train(&python, flags, 0.05, 2);
    // The first step of each batch from the same parameters: what they change adds up.
    let start = Made::of(&runtime, &scene.at("model.onnx"), flags);
    let keys: Vec<&String> = start
        .state
        .keys()
        .filter(|key| key.starts_with("param/"))
        .collect();
    let stepped = [0, 1].map(|batch| {
        let mut made = Made::of(&runtime, &scene.at("model.onnx"), flags);
        made.step(&scene.inputs(batch), 0.05);
        made
    });
    assert!(!keys.is_empty());
    for key in keys {
        let name = key.strip_prefix("param/").unwrap();
        let found = theirs.get::<f32>(&format!("0/{name}"));
        let found: Vec<f32> = found.iter().copied().collect();
        let [first, second] = [&stepped[0], &stepped[1]].map(|made| made.floats(key));
        let both = first.iter().zip(&second).zip(start.floats(key));
        let expected: Vec<f32> = both.map(|((a, b), p)| a + b - p).collect();
        let off = apart(&found, &expected);
        assert!(off < TOLERANCE, "{name} is {off:.1e} off");
    }
    // Behind a step gathering begins anew: else the second would repeat the first.
    let at = |step: usize| theirs.get::<f32>(&format!("{step}/fc.weight"));
    assert_eq!(theirs.names("4/").len(), theirs.names("0/").len());
    assert_ne!(at(0), at(1));
}

#[test]
fn the_python_of_the_docs_trains() {
    let Some(python) = python() else { return };
    let scene = Scene::new(&networks::mobilenet_v3());
    let differentiate = |flags: &str| {
        let mut command = ftsurgery(&["differentiate", "--format", "ort-training"]);
        let all = flags.split_whitespace();
        command
            .current_dir(scene.folder.path())
            .arg("model.onnx")
            .args(all);
        command
    };
    differentiate("--batch-size free --out artifacts")
        .assert()
        .success();
    let (_, block) = DOCS.split_once("```python\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let (imports, rest) = block.split_once("state = ").unwrap();
    let data = "data = np.load('batches.npz')\nbatches = list(zip(data['x'], data['y']))\n";
    let program = format!("{imports}{data}state = {rest}").replace("\"scores\"", "\"fc\"");
    std::fs::write(scene.at("train.py"), program).unwrap();
    let ran = Command::new(python)
        .current_dir(scene.folder.path())
        .arg("train.py")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{told}");
    let assert = ftsurgery(&["apply", "--json"])
        .current_dir(scene.folder.path())
        .args(["artifacts/trained", "model.onnx", "--out", "tuned.onnx"])
        .assert()
        .success();
    let told: serde_json::Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert!(told["tensors"].as_u64().unwrap() > 10, "{told}");
    let [tuned, exported] = ["tuned.onnx", "artifacts/inference.onnx"]
        .map(|name| Graph::from_model(&Model::open(&scene.at(name)).unwrap()).unwrap());
    assert_eq!(
        tuned.initializers["fc.weight"],
        exported.initializers["fc.weight"]
    );
}

#[test]
fn the_command_writes_four_files_and_nothing_over_them() {
    let scene = Scene::new(&networks::mobilenet_v1());
    let run = |flags: &str| {
        let mut command = ftsurgery(&["differentiate", "--format", "ort-training"]);
        let all = flags.split_whitespace();
        command
            .current_dir(scene.folder.path())
            .arg("model.onnx")
            .args(all)
            .assert()
    };
    let assert = run("--optimizer sgd --trainable fc.* --out made").success();
    let told = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    let (trained, frozen) = told.split_once("frozen\n").unwrap();
    assert!(
        trained.contains("fc.weight [5, 24]") && frozen.contains("stem.weight"),
        "{told}"
    );
    let files = std::fs::read_dir(scene.at("made")).unwrap();
    let files: BTreeSet<_> = files
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected = [
        "checkpoint",
        "eval_model.onnx",
        "optimizer_model.onnx",
        "training_model.onnx",
    ];
    assert!(files.iter().eq(expected), "{files:?}");
    for (flags, word) in [
        ("--out made", "exists"),
        (
            "--optimizer sgd --momentum 0.9 --out other",
            "no SGD with momentum",
        ),
        (
            "--optimizer adam --state state.npz --out other",
            "--state is not taken",
        ),
        ("--optimizer adamw --ema 0.9 --out other", "no average"),
    ] {
        let assert = run(flags).code(2);
        let told = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(told.contains(word), "{flags}: {told}");
    }
    assert!(!scene.at("other").exists());
    // By AdamW, unless it is said.
    run("--clip 1 --label-smoothing 0.1 --out clipped").success();
}
