//! `tune --engine ort-training`: trials whose steps onnxruntime's training API makes.

use ftsurgery::graph::Graph;
use ftsurgery::onnx::save;
use ftsurgery::runtime::testing::has_runtime;
use ndarray::{Array1, ArrayD, IxDyn};

use crate::networks;
use crate::scene::{ftsurgery, save_samples};

/// A network and samples for it as files.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    /// 22 samples of 5 classes: with batches of 4 the last one of an epoch has 2.
    fn new(network: &Graph) -> Self {
        let scene = Scene {
            folder: tempfile::tempdir().unwrap(),
        };
        let model = network.to_model(usize::MAX).0;
        save(&model, &scene.folder.path().join("model.onnx")).unwrap();
        let pixel = |at: usize| ((at * 7 + at / 768 * 31) as f32 * 0.37).sin();
        let x: Vec<f32> = (0..22 * 3 * 16 * 16).map(pixel).collect();
        let y: Vec<i64> = (0..22).map(|at| at * 3 % 5).collect();
        let x = ArrayD::from_shape_vec(IxDyn(&[22, 3, 16, 16]), x).unwrap();
        let samples = scene.folder.path().join("samples.npz");
        save_samples(&samples, &x, &Array1::from(y).into_dyn());
        scene
    }

    /// `tune` to the folder RUN with these flags.
    fn tune(&self, run: &str, flags: &str) -> assert_cmd::Command {
        let mut command = ftsurgery(&["tune", "--log-steps", "--operators", "standard"]);
        command
            .current_dir(self.folder.path())
            .args(["model.onnx", "--data", "samples.npz", "--out", run])
            .args(flags.split_whitespace());
        command
    }
}

#[test]
fn what_the_api_cannot_do_is_refused_by_name() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new(&networks::mobilenet_v1());
    for (flags, field) in [
        ("--optimizer sgd", "`optimizer.momentum`"),
        (
            "--optimizer sgd --momentum 0 --weight-decay 0.1",
            "`optimizer.weight_decay`",
        ),
        (
            "--optimizer adam --weight-decay 0.1",
            "`optimizer.weight_decay`",
        ),
        ("--lr 1e-3 --head-lr 1e-2", "`head_lr`"),
        ("--layer-decay 0.9", "`layer_decay`"),
        ("--ema 0.9", "`ema`"),
        ("--l2-sp 0.1", "`l2_sp`"),
        ("--group-filters 2", "`group_filters`"),
        ("--bn batch", "`bn`"),
        ("--strategies spottune", "`strategies`"),
        ("--device cuda", "`device`"),
    ] {
        let refused = scene
            .tune("run", &format!("--engine ort-training {flags}"))
            .assert()
            .code(2);
        let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
        assert!(
            said.contains(field) && said.contains("training API"),
            "{said}"
        );
        assert!(!scene.folder.path().join("run").exists());
    }
}

#[test]
fn a_library_or_a_command_without_the_api_says_so() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new(&networks::mobilenet_v1());
    let refused = scene.tune("run", "--engine ort-training").assert().code(2);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    let what = match cfg!(feature = "training") {
        true => "is built without it",
        false => "without the feature `training`",
    };
    assert!(
        said.contains(what) && said.contains("docs/ort-training.md"),
        "{said}"
    );
    assert!(!scene.folder.path().join("run").exists());
}

#[cfg(feature = "training")]
mod with_a_library {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};
    use std::process::Stdio;
    use std::time::Duration;

    use ftsurgery::onnx::Model;
    use ftsurgery::testing::skip;
    use serde_json::Value;

    use super::Scene;
    use crate::networks;
    use crate::scene::apart;

    /// What a dozen steps make of the rounding of one.
    const TOLERANCE: f64 = 5e-6;

    /// The library of onnxruntime with the training API that `FTSURGERY_ORT_TRAINING_LIBRARY` names.
    fn library() -> Option<PathBuf> {
        let named = std::env::var_os("FTSURGERY_ORT_TRAINING_LIBRARY").map(PathBuf::from);
        let library = named.filter(|path| path.is_file());
        if library.is_none() {
            skip(
                "ort-training-library",
                "a library with onnxruntime's training API (FTSURGERY_ORT_TRAINING_LIBRARY)",
            );
        }
        library
    }

    /// The losses of a run's steps and the figures of its epochs, by trial, and its tuned models' tensors.
    struct CameTo {
        losses: BTreeMap<String, Vec<f64>>,
        tensors: BTreeMap<String, Vec<f32>>,
        bytes: Vec<Vec<u8>>,
    }

    impl CameTo {
        fn of(run: &Path) -> Self {
            let mut losses = BTreeMap::new();
            for trial in std::fs::read_dir(run.join("trials")).unwrap() {
                let trial = trial.unwrap();
                let path = trial.path().join("metrics.jsonl");
                let Ok(text) = std::fs::read_to_string(path) else {
                    continue;
                };
                let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
                let loss = |line: Value| line["loss"].as_f64();
                let name = trial.file_name().into_string().unwrap();
                losses.insert(name, lines.filter_map(loss).collect());
            }
            let mut winners: Vec<PathBuf> = std::fs::read_dir(run.join("winners"))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|e| e == "onnx"))
                .collect();
            winners.sort();
            let mut tensors = BTreeMap::new();
            for path in &winners {
                let model = Model::open(path).unwrap();
                let of = path.file_stem().unwrap().to_string_lossy().into_owned();
                for tensor in &model.graph().initializer {
                    if let Some(values) = model.tensor(tensor).unwrap().to_f32() {
                        tensors.insert(format!("{of}: {}", tensor.name()), values);
                    }
                }
            }
            CameTo {
                losses,
                tensors,
                bytes: winners.iter().map(|p| std::fs::read(p).unwrap()).collect(),
            }
        }

        /// How far it is from another at most, and in what; both have the same steps and tensors.
        fn apart(&self, other: &Self) -> (f64, String) {
            let sizes = |came_to: &Self| (came_to.losses.len(), came_to.tensors.len());
            assert_eq!(sizes(self), sizes(other));
            let steps: usize = self.losses.values().map(Vec::len).sum();
            assert!(steps > 11 && !self.tensors.is_empty());
            let mut worst = (0.0, String::new());
            let mut hold = |off: f64, what: String| {
                if off > worst.0 {
                    worst = (off, what);
                }
            };
            for ((name, found), (other, expected)) in self.losses.iter().zip(&other.losses) {
                assert_eq!((name, found.len()), (other, expected.len()));
                for (step, (a, b)) in found.iter().zip(expected).enumerate() {
                    hold(
                        (a - b).abs() / b.abs(),
                        format!("loss {step} of {name}: {a}, {b}"),
                    );
                }
            }
            for ((name, found), (other, expected)) in self.tensors.iter().zip(&other.tensors) {
                assert_eq!(name, other);
                hold(apart(found, expected), name.clone());
            }
            worst
        }
    }

    const FLAGS: &str = "--augment none --batch-size 4 --epochs 3 --threads 1";
    /// One trial, of all layers.
    const FULL: &str = "--head keep --strategies full --search-fraction 0 --lr";

    /// Trains a network by both engines with these flags, and holds every step and every tensor against each other.
    fn trains_alike(network: &ftsurgery::graph::Graph, runs: &[&str]) {
        let Some(library) = library() else { return };
        let scene = Scene::new(network);
        for (at, flags) in runs.iter().enumerate() {
            let [ours, theirs] = ["graph", "ort-training"].map(|engine| {
                let run = format!("{engine}-{at}");
                scene
                    .tune(&run, &format!("{FLAGS} {flags} --engine {engine}"))
                    .env("ORT_DYLIB_PATH", &library)
                    .assert()
                    .success();
                CameTo::of(&scene.folder.path().join(run))
            });
            let (off, what) = theirs.apart(&ours);
            assert!(off < TOLERANCE, "{flags}: {what} is {off:.1e} off");
            assert!(off > 0.0, "{flags}: the engine was not asked for");
            println!("{flags}: at most {off:.1e} off, {what}");
        }
    }

    #[test]
    fn steps_with_the_apis_optimizers_are_those_of_ours() {
        trains_alike(
            &networks::mobilenet_v3(),
            &[
                &format!("{FULL} 1e-3"),
                &format!("{FULL} 1e-3 --optimizer adam --clip-norm 0.1"),
                &format!("{FULL} 0.05 --optimizer sgd --momentum 0 --schedule constant"),
            ],
        );
    }

    #[test]
    fn what_a_trial_draws_and_weighs_is_given_to_the_api() {
        trains_alike(
            &networks::mobilenet_v2(),
            &[
                &format!("{FULL} 1e-3 --label-smoothing 0.1 --class-weights balanced --mixup 0.4"),
                "--head paper --head-init random --strategies full --search-fraction 0 --lr 1e-3 --weight-decay 0.1",
                "--head linear --head-init random --strategies last1,lora2 --search-fraction 0 --lr 1e-3",
            ],
        );
    }

    #[test]
    fn a_transformer_trains_by_both_alike() {
        trains_alike(&networks::vit(), &[&format!("{FULL} 1e-3")]);
    }

    #[test]
    fn rates_are_tried_and_trials_of_a_search_go_on_as_with_ours() {
        trains_alike(
            &networks::mobilenet_v1(),
            &[
                "--head keep --strategies full --search-fraction 0 --validation-fraction 0.2",
                "--head keep --strategies blocks --lr 1e-3 --search halving --search-epochs 4 --search-fraction 0.3 \
                 --rank-samples 0",
            ],
        );
    }

    #[test]
    fn a_run_that_was_killed_ends_in_the_same_bytes() {
        let Some(library) = library() else { return };
        let scene = Scene::new(&networks::mobilenet_v1());
        let flags = format!("{FLAGS} {FULL} 1e-3 --engine ort-training --checkpoint-every 0");
        let tune = |run: &str| {
            let mut command = scene.tune(run, &flags);
            command.env("ORT_DYLIB_PATH", &library);
            command
        };
        tune("whole").assert().success();
        let whole = CameTo::of(&scene.folder.path().join("whole"));
        let command = tune("broken");
        let mut child = std::process::Command::new(command.get_program())
            .args(command.get_args())
            .current_dir(scene.folder.path())
            .env("ORT_DYLIB_PATH", &library)
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let trial = scene.folder.path().join("broken/trials/full-train");
        while !trial.join("checkpoint.safetensors").exists() && child.try_wait().unwrap().is_none()
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = child.kill();
        let _ = child.wait();
        crate::scene::ftsurgery(&["tune", "--resume"])
            .current_dir(scene.folder.path())
            .arg("broken")
            .env("ORT_DYLIB_PATH", &library)
            .assert()
            .success();
        let broken = CameTo::of(&scene.folder.path().join("broken"));
        assert_eq!(broken.losses, whole.losses);
        assert!(broken.bytes == whole.bytes);
    }
}
