//! Runs whose trials begin with a solved head.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ftsurgery::onnx::Model;
use ftsurgery::surgery::{HeadKind, HeadSpec, Rewrite, graft};
use ftsurgery::testing::only_tuned;
use ftsurgery::training::{BatchNormMode, ClassWeights, Start, Trained};
use serde_json::Value;

use crate::bed::{Bed, features};
use crate::elsewhere::{assert_same_results, plan, to_the_end};
use crate::scene::*;
use crate::support::*;

/// Candidates of several strategies, a winner made of several, repetitions.
const SETTINGS: &str = "--preprocess signed --search-fraction 0.4 --train-fraction 0.4 --epochs 3 \
                        --search-epochs 2 --strategies head,layers,top2,blocks --lr 1e-2 \
                        --head linear --head-init solved";

/// The values of a head as it is kept, by their names.
fn kept(run: &Path, phase: &str) -> BTreeMap<String, Vec<f32>> {
    let bytes = std::fs::read(run.join(format!("heads/{phase}.safetensors"))).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let values = |(name, tensor): (String, safetensors::tensor::TensorView<'_>)| {
        let chunks = tensor.data().chunks_exact(4);
        let values = chunks.map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        (name, values.collect())
    };
    tensors.tensors().into_iter().map(values).collect()
}

/// The values that a model has of the same names.
fn written(model: &Path, like: &BTreeMap<String, Vec<f32>>) -> BTreeMap<String, Vec<f32>> {
    let graph = ftsurgery::graph::Graph::from_model(&Model::open(model).unwrap()).unwrap();
    let value = |name: &String| {
        let tensor = &graph.initializers[name];
        (name.clone(), tensor.to_f32().unwrap())
    };
    like.keys().map(value).collect()
}

/// The figure of the validation part by which epochs are chosen, and that which decides ties.
fn score(figures: &Value) -> (f64, f64) {
    let of = |name: &str| figures["validation"][name].as_f64().unwrap();
    (of("accuracy"), -of("loss"))
}

#[test]
fn the_head_is_finished_and_no_candidate_ends_worse_than_it() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    scene.whole(SETTINGS);
    let run = scene.at("whole");
    let all = trials(&run);
    for (phase, epochs) in [("search", 2), ("train", 3)] {
        let head = &all[&format!("head-{phase}")];
        for figure in ["epochs", "best_epoch"] {
            assert_eq!(head[figure], 0, "{head}");
        }
        assert!(score(head).0 > 0.9, "{head}");
        for trial in all.values().filter(|t| t["phase"] == phase) {
            let id = trial["same_as"].as_str().or(trial["id"].as_str()).unwrap();
            let metrics = lines(&run.join(format!("trials/{id}/metrics.jsonl")));
            if trial["strategy"] != "head" {
                assert_eq!(trial["epochs"], epochs, "{trial}");
                // What it begins with would hide how its training went.
                if phase == "search" {
                    assert_eq!(metrics[0]["epoch"], 1, "{id}");
                    continue;
                }
            }
            // Where it ends as it began, but for the rounding of another session.
            let (found, least) = (score(trial), score(head));
            let as_good = found.0 == least.0 && found.1 >= least.1 - 1e-6;
            assert!(found.0 > least.0 || as_good, "{trial} is worse than {head}");
            assert_eq!(metrics[0]["epoch"], 0, "{id}");
            // The head alone is where each of them begins.
            let (begins, of_head) = (score(&metrics[0]), score(head));
            assert_eq!(begins.0, of_head.0, "{id}");
            assert!((begins.1 - of_head.1).abs() < 1e-5, "{id}");
        }
    }
    let solved = kept(&run, "train");
    assert_eq!(solved.len(), 2);
    assert_ne!(solved, kept(&run, "search"));
    assert_eq!(written(&run.join("winners/head.onnx"), &solved), solved);
    let results = json(&run.join("results.json"));
    let strategies = results["strategies"].as_array().unwrap().iter();
    let epochs: Vec<u64> = strategies.map(|s| s["epochs"].as_u64().unwrap()).collect();
    assert_eq!(epochs, [0, 3, 3, 3]);
    let report = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("Epoch 0"), "it says what epoch 0 is");
    assert!(report.contains("head, solved"));
    // All the head has is a validation score at epoch 0: no curve, and no axis of the largest number.
    scene
        .tune(
            "alone",
            &SETTINGS.replace("head,layers,top2,blocks", "head"),
        )
        .assert()
        .success();
    let report = std::fs::read_to_string(scene.at("alone/report.html")).unwrap();
    assert!(!report.contains("curve-loss"));
    assert!(!report.contains("e308") && !report.contains("179769313486231"));
}

#[test]
fn a_run_killed_while_the_head_is_solved_or_later_goes_on_to_the_same_bytes() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    for (name, settings) in [
        ("linear", format!("{SETTINGS} --checkpoint-every 0")),
        (
            "paper",
            SETTINGS
                .replace("--head linear", "--head paper --checkpoint-every 0")
                .replace("head,layers,top2,blocks", "head,blocks"),
        ),
    ] {
        let whole = format!("whole-{name}");
        succeeds(scene.start(&whole, &settings));
        for (number, sign) in [
            "heads/.lock",
            "heads/search.checkpoint.safetensors",
            "heads/search.safetensors",
            "heads/train.safetensors",
        ]
        .into_iter()
        .enumerate()
        {
            if name == "linear" && sign.contains("checkpoint") {
                continue;
            }
            let run = format!("{name}{number}");
            let mut child = scene.start(&run, &settings);
            let appeared = || scene.at(&run).join(sign).exists();
            let mut ended = false;
            while !appeared() && !ended {
                std::thread::sleep(Duration::from_millis(1));
                ended = child.try_wait().unwrap().is_some();
            }
            child.kill().unwrap();
            child.wait().unwrap();
            succeeds(scene.resume(&run, &[]));
            assert_same_outcome(&scene.at(&whole), &scene.at(&run));
            for phase in ["search", "train"] {
                let file = format!("heads/{phase}.safetensors");
                let read = |run: &str| std::fs::read(scene.at(run).join(&file)).unwrap();
                assert!(read(&whole) == read(&run), "{run}: {file}");
            }
        }
    }
}

#[test]
fn trials_in_processes_of_their_own_begin_with_the_same_head() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = format!("{SETTINGS} --repeats 2");
    scene.whole(&settings);
    let lines = plan(&scene, "run", &settings);
    assert!(!scene.at("run/heads").exists(), "to plan needs no head");
    let of_head = lines
        .iter()
        .find(|line| line["id"] == "head-search")
        .unwrap();
    assert_eq!(of_head["epochs"], 0);
    to_the_end(&scene, "run", lines);
    for run in ["", "/repeats/2"] {
        let [whole, run] = ["whole", "run"].map(|root| scene.at(&format!("{root}{run}")));
        assert_same_results(&whole, &run);
        for phase in ["search", "train"] {
            assert_eq!(kept(&whole, phase), kept(&run, phase));
        }
    }
}

#[test]
fn a_head_that_is_damaged_or_of_another_run_is_solved_again() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let short = SETTINGS.replace("head,layers,top2,blocks", "head,last1,full");
    scene.whole(&short);
    let other = format!("{short} --seed 9");
    succeeds(scene.start("other", &other));
    // Of a finished run that is asked for more, the heads are there.
    let head = |run: &str| scene.at(run).join("heads/train.safetensors");
    let first = short.replace("head,last1,full", "head,last1");
    for (run, damage) in [("flipped", true), ("of-other", false)] {
        succeeds(scene.start(run, &first));
        match damage {
            true => {
                let mut bytes = std::fs::read(head(run)).unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                std::fs::write(head(run), bytes).unwrap();
            }
            false => {
                std::fs::copy(head("other"), head(run)).unwrap();
            }
        }
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_ftsurgery"))
            .args(["tune", "--resume"])
            .arg(scene.at(run))
            .args(["--strategies", "head,last1,full"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        assert!(text.contains("it is found again"), "{text}");
        assert_eq!(
            kept(&scene.at(run), "train"),
            kept(&scene.at("whole"), "train")
        );
    }
}

#[test]
fn float16_models_are_given_the_head_that_was_solved_as_they_store_it() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    for name in ["half", "half_inside"] {
        let model = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures/exporters")
            .join(format!("{name}.onnx"));
        let run = scene.at(name);
        let settings = SETTINGS.replace("head,layers,top2,blocks", "head,full");
        let settings: Vec<&str> = settings.split_whitespace().collect();
        tune(&model, &scene.at("photos"), &run, &settings)
            .assert()
            .success();
        let solved = kept(&run, "train");
        assert_eq!(written(&run.join("winners/head.onnx"), &solved), solved);
        assert_eq!(trials(&run)["head-train"]["epochs"], 0);
    }
}

#[test]
fn the_models_own_head_begins_as_it_stands_and_is_trained() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = SETTINGS.replace("--head linear", "--head linear --head-init random");
    let settings = settings.replace("--head-init solved", "");
    scene.tune("first", &settings).assert().success();
    let model = scene.at("first/winners/head.onnx");
    let settings = SETTINGS.replace("--head linear", "--head keep");
    let settings = settings.replace("head,layers,top2,blocks", "head");
    let settings: Vec<&str> = settings.split_whitespace().collect();
    tune(&model, &scene.at("photos"), &scene.at("run"), &settings)
        .assert()
        .success();
    assert!(!scene.at("run/heads").exists());
    let metrics = lines(&scene.at("run/trials/head-train/metrics.jsonl"));
    let epochs: Vec<u64> = metrics
        .iter()
        .map(|m| m["epoch"].as_u64().unwrap())
        .collect();
    assert_eq!(epochs, [0, 1, 2, 3]);
    let [before, after] =
        [&model, &scene.at("run/winners/head.onnx")].map(|p| Model::open(p).unwrap());
    let head: Vec<String> = kept_names(&after);
    only_tuned(&before, &after, &head).unwrap();
}

fn kept_names(model: &Model) -> Vec<String> {
    let tensors = model.graph().initializer.iter();
    let names = tensors.map(|t| t.name().to_owned());
    names.filter(|n| n.starts_with("ftsurgery/head/")).collect()
}

#[test]
fn without_a_validation_part_the_solved_head_is_what_comes_out() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = "--preprocess signed --search-fraction 0 --train-fraction 0.7 --epochs 2 --head linear \
                    --strategies head --head-init solved --class-weights balanced";
    scene.whole(settings);
    let solved = kept(&scene.at("whole"), "train");
    let winner = scene.at("whole/winners/head.onnx");
    assert_eq!(written(&winner, &solved), solved);
    let results = json(&scene.at("whole/results.json"));
    let accuracy = results["strategies"][0]["held_out_accuracy"]
        .as_f64()
        .unwrap();
    assert!(accuracy > 0.9, "{results}");
}

#[test]
fn where_a_head_is_solved_the_loss_has_no_slope_along_its_bias() {
    let linear = |model: &Model| {
        graft(
            model,
            Some(&features()),
            &HeadSpec::new(HeadKind::Linear, 3, 7),
        )
        .unwrap()
    };
    let Some(bed) = Bed::of(linear) else { return };
    let lab = bed.lab();
    let head = bed.network.head_parameters.clone();
    let trained = Trained {
        parameters: &head,
        batch_norm: BatchNormMode::Frozen,
        rewrite: &Rewrite::None,
    };
    let samples: Vec<usize> = (0..30).collect();
    let solved = lab
        .solve_head(&samples, ClassWeights::None, &mut ())
        .unwrap();
    let of = |start: &Start| lab.gradients(trained, start, &samples).unwrap();
    let (first, _) = of(&Start::default());
    let (loss, gradients) = of(&solved.start);
    assert!(loss < 0.5 * first, "{loss} and {first}");
    // The bias is not penalised.
    let bias = &gradients[1];
    assert!(bias.name.ends_with("bias"), "{}", bias.name);
    assert!(bias.values.iter().all(|g| g.abs() < 1e-4), "{bias:?}");
}
