//! `loraN`: updates of low rank, from the command to the model.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ftsurgery::classifier::InputSpec;
use ftsurgery::data::{Dataset, Layout, OpenOptions, Preprocess};
use ftsurgery::graph::Graph;
use ftsurgery::onnx::Model;
use ftsurgery::runtime::testing::runtime;
use ftsurgery::surgery::{HeadKind, HeadSpec, Rewrite, graft};
use ftsurgery::testing::only_tuned;
use ftsurgery::training::{Lab, LabOptions};
use serde_json::Value;

use crate::scene::*;
use crate::support::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

/// The entry of a list that has this name.
fn named<'v>(list: &'v Value, name: &str) -> &'v Value {
    let mut entries = list.as_array().unwrap().iter();
    entries.find(|e| e["name"] == name).unwrap()
}

fn named_trial(run: &Path, id: &str) -> Value {
    let trials = lines(&run.join("trials.jsonl"));
    trials.into_iter().find(|t| t["id"] == id).unwrap()
}

/// The accuracy that `evaluate` finds on the held-out samples.
fn evaluated(model: &Path, data: &Path, run: &Path) -> f64 {
    let mut command = ftsurgery();
    command.arg("evaluate").arg(model).arg("--data").arg(data);
    command.arg("--split").arg(run.join("split.json"));
    command.args(["--part", "held_out", "--json"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["accuracy"].as_f64().unwrap()
}

fn values(model: &Model, name: &str) -> Vec<f32> {
    let graph = Graph::from_model(model).unwrap();
    graph.initializers[name].to_f32().unwrap()
}

/// A convolution, four products of a transformer, and digits.
#[test]
fn updates_of_dense_and_convolutional_layers_learn_and_leave_in_the_weights() {
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let (model, data) = (
        fixture("exporters/vision_transformer.onnx"),
        fixture("digits"),
    );
    let settings = "--strategies head,lora,lora8 --lora 2 --head linear --preprocess signed --epochs 3 --lr 1e-2 \
                    --search-fraction 0 --train-fraction 0.3 --validation-fraction 0.1";
    let settings: Vec<&str> = settings.split_whitespace().collect();
    tune(&model, &data, &run, &settings).assert().success();

    let record = json(&run.join("run.json"));
    let candidate = &named(&record["strategies"], "lora2")["candidates"][0];
    let weights = [
        ("patch.weight", 8 + 48),
        ("qkv.weight", 8 + 24),
        ("join.weight", 8 + 8),
        ("up.weight", 8 + 16),
        ("down.weight", 16 + 8),
    ];
    let names = weights.map(|(name, _)| name);
    assert_eq!(
        candidate["rewrite"]["low_rank"]["weights"],
        serde_json::json!(names)
    );

    let results = json(&run.join("results.json"));
    let of = |name: &str| named(&results["strategies"], name);
    let head = of("head")["trained_parameters"].as_u64().unwrap();
    let added: u64 = weights.iter().map(|(_, values)| 2 * values).sum();
    let of_two = added;
    assert_eq!(of("lora2")["trained_parameters"], head + added);
    assert_eq!(of("lora2")["layers"].as_array().unwrap().len(), 5);

    // The file is the original with other weights in five layers, and the head.
    let winner = |name: &str| Model::open(&run.join(format!("winners/{name}.onnx"))).unwrap();
    let (original, tuned, plain) = (
        Model::open(&model).unwrap(),
        winner("lora2"),
        winner("head"),
    );
    let trainable: Vec<String> = serde_json::from_value(candidate["trainable"].clone()).unwrap();
    let own = trainable.iter().filter(|name| !name.contains("low_rank"));
    let own = names.map(str::to_owned).into_iter().chain(own.cloned());
    only_tuned(&original, &tuned, &own.collect::<Vec<_>>()).unwrap();
    assert_eq!(tuned.graph().node, plain.graph().node);
    for name in names {
        let (before, after) = (values(&original, name), values(&tuned, name));
        let moved = before.iter().zip(&after).filter(|(b, a)| b != a).count();
        assert!(
            moved > before.len() / 2,
            "{name}: {moved} of {}",
            before.len()
        );
    }

    // It is worth what is said of it, and more than it was at first.
    let accuracy = of("lora2")["held_out_accuracy"].as_f64().unwrap();
    assert_eq!(
        evaluated(&run.join("winners/lora2.onnx"), &data, &run),
        accuracy
    );
    let losses = |id: &str| -> Vec<f64> {
        let metrics = lines(&run.join(format!("trials/{id}/metrics.jsonl")));
        metrics
            .iter()
            .map(|m| m["loss"].as_f64().unwrap())
            .collect()
    };
    let (learnt, of_head) = (losses("lora2-train"), losses("head-train"));
    assert!(
        learnt.windows(2).all(|pair| pair[1] < pair[0]),
        "{learnt:?}"
    );
    assert!(learnt[2] < of_head[2], "{learnt:?} {of_head:?}");

    // Tables and report have the parameters that were trained, and the network's own.
    let table = std::fs::read_to_string(run.join("trials.csv")).unwrap();
    let row = table
        .lines()
        .find(|l| l.starts_with("lora2-train"))
        .unwrap();
    assert!(
        row.split(',')
            .any(|cell| cell == (head + added).to_string()),
        "{row}"
    );
    let layers = record["layers"].as_array().unwrap().iter();
    let all: u64 = layers.map(|l| l["parameters"].as_u64().unwrap()).sum();
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    let told = format!("{} parameters of backbone and head", all + head);
    assert!(page.replace(',', "").contains(&told), "{told}");
    // Of rank 8 the updates have more values than the weights that they are of, and are not more than all.
    let trial = named_trial(&run, "lora8-train");
    let (trained, added) = (&trial["trained_parameters"], &trial["added_parameters"]);
    let (trained, added) = (trained.as_u64().unwrap(), added.as_u64().unwrap());
    assert_eq!((trained, added), (head + 4 * of_two, 4 * of_two));
    assert!(trained > all + head);
    let share = 100.0 * trained as f64 / (all + head + added) as f64;
    assert!(page.contains(&format!(">{share:.1} %<")), "{share}");
    assert!(page.contains("and of what a strategy adds to them"));
    // The layers are told.
    let told = "lora2 trained updates beside the frozen weights of 5 layers: ";
    let from = page.find(told).unwrap();
    let layers = of("lora2")["layers"].as_array().unwrap();
    let told = &page[from..][..400];
    assert!(
        layers
            .iter()
            .all(|layer| told.contains(layer.as_str().unwrap())),
        "{told}"
    );
}

#[test]
fn a_model_without_a_layer_of_that_rank_is_refused() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(6);
    let output = scene
        .tune("run", &format!("{QUICK} --strategies lora9"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("strategy `lora9` finds nothing"), "{told}");
    assert!(!scene.at("run").exists());
}

#[test]
fn each_rank_is_a_trial_of_its_own_and_none_is_that_of_full() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = format!("{QUICK} --strategies lora2,lora4,full,layers --lr 1e-2");
    scene.whole(&settings);
    let run = scene.at("whole");
    let found = trials(&run);
    for id in ["lora2", "lora4", "full"] {
        for phase in ["search", "train"] {
            let trial = &found[&format!("{id}-{phase}")];
            assert!(
                trial["same_as"].is_null() && trial["strategy"] == id,
                "{trial}"
            );
        }
    }
    let winners = ["lora2", "lora4", "full"].map(|name| {
        let path = run.join(format!("winners/{name}.onnx"));
        values(&Model::open(&path).unwrap(), "c2.w")
    });
    let bits = winners.map(|w| w.iter().map(|v| v.to_bits()).collect::<Vec<u32>>());
    assert_eq!(BTreeSet::from(bits).len(), 3);
    // What batch normalisation has of its own is trained by `full` alone.
    let original = Model::open(&scene.at("model.onnx")).unwrap();
    for (name, same) in [("lora2", true), ("lora4", true), ("full", false)] {
        let model = Model::open(&run.join(format!("winners/{name}.onnx"))).unwrap();
        let is_same = values(&model, "c2.scale") == values(&original, "c2.scale");
        assert_eq!(is_same, same, "{name}");
    }
}

#[test]
fn a_run_with_updates_that_is_killed_at_any_moment_goes_on_to_the_same_bytes() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = "--preprocess signed --search-fraction 0.4 --train-fraction 0.4 --epochs 24 \
                    --search-epochs 6 --batch-size 4 --strategies head,lora2,layers --checkpoint-every 0 \
                    --log-steps --seed 3 --search halving:2";
    let whole = scene.whole(settings);
    let mut share = shares();
    let mut kills = 0;
    for run in (0..3).map(|n| format!("run{n}")) {
        let mut child = scene.start(&run, settings);
        loop {
            let end = Instant::now() + whole.mul_f64(0.1 + 0.6 * share());
            while Instant::now() < end && child.try_wait().unwrap().is_none() {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            if child.try_wait().unwrap().is_some() {
                succeeds(child);
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            child = match scene.at(&run).join("run.json").is_file() {
                true => scene.resume(&run, &[]),
                false => scene.start(&run, settings),
            };
        }
        assert_same_outcome(&scene.at("whole"), &scene.at(&run));
    }
    assert!(kills > 1, "{kills} kills");
}

#[test]
fn a_finished_run_is_extended_by_updates() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    succeeds(scene.start("run", &format!("{QUICK} --strategies head,blocks")));
    let run = scene.at("run");
    let read = |name: &str| std::fs::read(run.join(name)).unwrap();
    let winners = ["winners/head.onnx", "winners/blocks.onnx"];
    let before = winners.map(read);
    let tried = trials(&run);
    succeeds(scene.resume("run", &["--strategies", "lora2"]));
    assert!(winners.map(read) == before);
    let now = trials(&run);
    assert!(tried.iter().all(|(id, trial)| now[id] == *trial));
    let results = json(&run.join("results.json"));
    let lora = named(&results["strategies"], "lora2");
    assert!(lora["model"].is_string(), "{lora}");
    let accuracy = evaluated(&run.join("winners/lora2.onnx"), &scene.at("photos"), &run);
    assert_eq!(lora["held_out_accuracy"], accuracy);
    let whole = files(&run);
    succeeds(scene.resume("run", &[]));
    assert_eq!(files(&run), whole);
}

/// The figures are those of the weights that the file holds, merged and rounded to its type.
#[test]
fn figures_are_those_of_the_merged_weights_in_float16_as_well() {
    let Some(runtime) = runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    save_photos(&photos, 12);
    for name in ["half", "half_inside", "constant_nodes"] {
        let path = fixture(&format!("exporters/{name}.onnx"));
        let run = folder.path().join(name);
        let mut settings: Vec<&str> = QUICK.split(' ').collect();
        settings.extend(["--head", "keep", "--strategies", "lora2", "--lr", "0.03"]);
        tune(&path, &photos, &run, &settings).assert().success();
        let results = json(&run.join("results.json"));
        let held_out = &results["strategies"][0]["held_out"]["score"];
        let tuned = run.join("winners/lora2.onnx");
        assert_eq!(
            held_out["accuracy"],
            evaluated(&tuned, &photos, &run),
            "{name}"
        );

        let original = Model::open(&path).unwrap();
        let network = graft(&original, None, &HeadSpec::new(HeadKind::Keep, 3, 0)).unwrap();
        let options = OpenOptions::new(8, 8, 3);
        let dataset = Dataset::open(&photos, &options).unwrap();
        let input = InputSpec {
            preprocess: Preprocess::SIGNED,
            layout: Layout::Nchw,
        };
        let options = LabOptions::default().spill_dir(folder.path().to_owned());
        let lab = Lab::new(&runtime, &network, &dataset, input, options).unwrap();
        let split = json(&run.join("split.json"));
        let names = split["held_out"].as_array().unwrap();
        let samples = (0..dataset.len()).filter(|&i| names.contains(&dataset.name(i).into()));
        let samples: Vec<usize> = samples.collect();
        assert_eq!(samples.len(), names.len());
        let mut graph = Graph::from_model(&Model::open(&tuned).unwrap()).unwrap();
        ftsurgery::graph::normalise(&mut graph).unwrap();
        let weights = ["conv.weight", "fc.weight", "fc.bias"].map(|name| {
            let values = graph.initializers[name].to_f32().unwrap();
            (name.to_owned(), values)
        });
        let predictions = lab
            .predict_watched(&Rewrite::None, &weights, &samples, &mut ())
            .unwrap();
        let loss = held_out["loss"].as_f64().unwrap();
        let same = predictions.score().loss;
        assert!((loss - same).abs() < 1e-6, "{name}: {loss} {same}");
    }
}

/// One block after the other gets updates; the best is trained with them, and merged.
#[test]
fn updates_of_the_best_block_are_searched_and_merged() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings =
        format!("{QUICK} --strategies lora-blocks --lora-blocks 3 --lora-alpha 6 --lr 1e-2");
    scene.whole(&settings);
    let run = scene.at("whole");
    let record = json(&run.join("run.json"));
    let planned = named(&record["strategies"], "lora-blocks3");
    let candidates = planned["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 3, "{planned}");
    for candidate in candidates {
        let low_rank = &candidate["rewrite"]["low_rank"];
        assert_eq!(
            (&low_rank["rank"], &low_rank["alpha"]),
            (&3.into(), &6.into())
        );
        assert_eq!(low_rank["weights"].as_array().unwrap().len(), 1);
        let id = candidate["id"].as_str().unwrap();
        assert!(trials(&run).contains_key(&format!("{id}-search")), "{id}");
    }
    let results = json(&run.join("results.json"));
    let result = named(&results["strategies"], "lora-blocks3");
    assert_eq!(result["searched"]["candidates"], 3);
    let original = Model::open(&scene.at("model.onnx")).unwrap();
    let tuned = Model::open(&run.join("winners/lora-blocks3.onnx")).unwrap();
    let label = result["candidate"].as_str().unwrap();
    let of_label = |c: &&Value| c["label"] == label;
    let won = candidates.iter().find(of_label).unwrap();
    let weight = won["rewrite"]["low_rank"]["weights"][0].as_str().unwrap();
    for name in ["c1.w", "c2.w", "c3.w"] {
        let same = values(&tuned, name) == values(&original, name);
        assert_eq!(same, name != weight, "{name}");
    }
    // The search has a chart of its own.
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("per block, updates of rank 3"));
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("lora-alpha = 6"), "{config}");
}

#[test]
fn an_alpha_that_no_strategy_takes_is_refused() {
    let scene = Scene::of(6);
    let output = scene
        .tune(
            "run",
            &format!("{QUICK} --strategies head,blocks --lora-alpha 4"),
        )
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("--lora-alpha") && told.contains("`lora-blocks`"),
        "{told}"
    );
}
