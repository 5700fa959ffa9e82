//! Folders of runs that never were, of any size.

use std::fmt::Write;
use std::fs;
use std::ops::Range;
use std::path::Path;

use ftsurgery::run::{Results, RunRecord, TrialRecord};
use serde_json::{Value, json};

/// A name that would do harm on a page that does not escape it.
pub const HOSTILE: &str = "<script>document.title='harm'</script><img src=x onerror=alert(1)>&\"'";

/// What the run is like.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Weighted layers, at least 3.
    pub layers: usize,
    /// Layers in a block.
    pub per_block: usize,
    /// Classes.
    pub classes: usize,
    /// Epochs of a winner.
    pub epochs: usize,
    /// Whether names are hostile.
    pub hostile: bool,
    /// Whether there are repetitions.
    pub repeats: bool,
}

/// A run like that of the paper.
pub const USUAL: Shape = Shape {
    layers: 27,
    per_block: 3,
    classes: 5,
    epochs: 8,
    hostile: false,
    repeats: true,
};

const STRATEGIES: [&str; 8] = [
    "head", "full", "layers", "top3", "top5", "blocks", "windows", "random3",
];

/// Held-out samples.
pub const HELD_OUT: usize = 734;
const HEAD: usize = 98_693;

/// Numbers between 0 and 1 that look random and are always the same.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(self.0 >> 8) / f64::from(1u32 << 24)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() * n as f64) as usize
    }
}

struct Candidate {
    id: String,
    label: String,
    layers: Range<usize>,
}

/// The network.
struct Net {
    shape: Shape,
    sizes: Vec<usize>,
}

impl Net {
    fn name(&self, i: usize) -> String {
        match self.shape.hostile {
            true => format!("/layer{i}/{HOSTILE}"),
            false => format!("/features/features.{i}/features.{i}.0/Conv"),
        }
    }

    fn block(&self, i: usize) -> String {
        format!("block{}", i / self.shape.per_block + 1)
    }

    fn class(&self, i: usize) -> String {
        match (self.shape.hostile, i) {
            (true, 0) => HOSTILE.to_owned(),
            (true, 1) => {
                "ein außerordentlich langer Name einer Klasse, der nirgends Platz hat".into()
            }
            (true, 2) => "日本語のとても長いクラスの名前です".into(),
            _ => ["daisy", "dandelion", "roses", "sunflowers", "tulips"]
                .get(i)
                .map_or_else(|| format!("class {i}"), |s| (*s).to_owned()),
        }
    }

    fn trained(&self, candidate: &Candidate) -> usize {
        HEAD + self.sizes[candidate.layers.clone()].iter().sum::<usize>()
    }

    fn json(&self, candidate: &Candidate) -> Value {
        let layers: Vec<String> = candidate.layers.clone().map(|i| self.name(i)).collect();
        json!({"id": candidate.id, "label": candidate.label, "layers": layers, "trainable": ["head.w"]})
    }

    fn candidates(&self, strategy: &str) -> Vec<Candidate> {
        let Shape {
            layers, per_block, ..
        } = self.shape;
        let candidate =
            |id: String, label: String, layers: Range<usize>| Candidate { id, label, layers };
        match strategy {
            "layers" | "top3" | "top5" => (0..layers)
                .rev()
                .map(|i| candidate(format!("layers-{:02}", i + 1), self.name(i), i..i + 1))
                .collect(),
            "blocks" => (0..layers.div_ceil(per_block))
                .rev()
                .map(|b| {
                    let first = b * per_block;
                    let label = self.block(first);
                    candidate(
                        format!("blocks-{label}"),
                        label,
                        first..(first + per_block).min(layers),
                    )
                })
                .collect(),
            "windows" => (0..layers - 2)
                .rev()
                .map(|i| {
                    let (first, last) = (i + 1, i + 3);
                    let label = format!("layers {first} to {last}");
                    candidate(format!("windows-{first:02}-{last:02}"), label, i..i + 3)
                })
                .collect(),
            "full" => vec![candidate("full".into(), "full".into(), 0..layers)],
            "head" => vec![candidate("head".into(), "head".into(), 0..0)],
            other => vec![candidate(other.into(), "layers 1, 2, 3".into(), 0..3)],
        }
    }
}

/// Writes a finished run on the photos in `data`, which need not be there.
pub fn write(root: &Path, data: &Path, shape: Shape) {
    let mut noise = Noise(7);
    let sizes = (0..shape.layers)
        .map(|i| 864 + noise.below(4000 * (i * i + 1)))
        .collect();
    let net = Net { shape, sizes };
    let run = run_record(&net, data);
    put_json(&root.join("run.json"), &run);

    let mut trials: Vec<Value> = Vec::new();
    for strategy in STRATEGIES {
        let candidates = net.candidates(strategy);
        if candidates.len() == 1 || strategy.starts_with("top") {
            continue;
        }
        for (i, candidate) in candidates.iter().enumerate() {
            let id = format!("{}-search", candidate.id);
            let rise = 0.1 * candidate.layers.end as f64 / shape.layers as f64;
            let right = (110.0 * (0.72 + rise + 0.07 * noise.next())) as usize;
            let mut trial = trial_record(&net, strategy, "search", candidate, &id, right);
            if i == 1 {
                trial["error"] = json!("training has diverged at step 3: the loss is NaN");
                trial["validation"] = Value::Null;
            }
            metrics(root, &id, 2, &mut noise);
            trials.push(trial);
        }
    }
    let mut results = Vec::new();
    for strategy in STRATEGIES {
        let mut candidates = net.candidates(strategy);
        let mut candidate = candidates.remove(noise.below(candidates.len().min(4)));
        if let Some(count) = strategy.strip_prefix("top") {
            candidate.id = strategy.to_owned();
            candidate.label = format!("best {count} layers");
        }
        let id = format!("{}-train", candidate.id);
        let right = 84 + noise.below(16);
        metrics(root, &id, shape.epochs, &mut noise);
        trials.push(trial_record(
            &net, strategy, "train", &candidate, &id, right,
        ));
        results.push(result(&net, strategy, &candidate, &id, right, &mut noise));
    }
    let mut lines = String::new();
    for trial in &trials {
        serde_json::from_value::<TrialRecord>(trial.clone()).unwrap();
        writeln!(lines, "{trial}").unwrap();
    }
    fs::write(root.join("trials.jsonl"), lines).unwrap();

    let mut whole = json!({"strategies": results, "interrupted": false, "clock": 95.0});
    if shape.repeats {
        repeat(&mut whole, &mut noise);
    }
    serde_json::from_value::<Results>(whole.clone()).unwrap();
    put_json(&root.join("results.json"), &whole);
}

fn run_record(net: &Net, data: &Path) -> Value {
    let shape = net.shape;
    let layers: Vec<Value> = (0..shape.layers)
        .map(|i| json!({"name": net.name(i), "parameters": net.sizes[i], "block": net.block(i)}))
        .collect();
    let classes: Vec<String> = (0..shape.classes).map(|i| net.class(i)).collect();
    let strategies: Vec<Value> = STRATEGIES
        .iter()
        .map(|name| {
            let candidates: Vec<Value> = net.candidates(name).iter().map(|c| net.json(c)).collect();
            json!({"name": name, "candidates": candidates, "skipped": []})
        })
        .collect();
    let skipped = match shape.hostile {
        true => vec![
            json!({"path": format!("a/{HOSTILE}.jpg"), "reason": "the content is none of JPEG, PNG, WebP, GIF, BMP and TIFF"}),
        ],
        false => vec![],
    };
    let run = json!({
        "format": ftsurgery::run::FORMAT,
        "command": ["ftsurgery", "tune", "mobilenet v1.onnx", "--data", data, "--out", "run"],
        "versions": {"ftsurgery": "0.1.0", "onnxruntime": "1.32.0"},
        "model": {"path": "/models/mobilenet_v1.onnx", "sha256": "ab".repeat(32)},
        "layers": layers,
        "data": {
            "path": data, "fingerprint": "cd".repeat(32), "samples": 3670, "images": true,
            "classes": classes, "skipped": skipped,
            "parts": {"search": 257, "validation": 110, "train": 2569, "held_out": HELD_OUT},
        },
        "strategies": strategies,
        "configuration": {
            "strategies": STRATEGIES, "train": [], "head": "paper", "dropout": 0.5,
            "features": "relu_27", "delimiters": ["activation"],
            "preprocess": {"order": "rgb", "scale": 0.0078431, "mean": [127.5, 127.5, 127.5], "std": [1.0, 1.0, 1.0]},
            "preprocess_from": "flag", "image_size": [224, 224], "layout": "nchw", "augment": "none", "views": null,
            "search_fraction": 0.1, "train_fraction": 0.7, "seed": 1001, "repeats": 3,
            "shuffle": true, "bn": "frozen",
            "optimizer": {"kind": "adam", "learning_rate": 0.0001, "weight_decay": 0.0, "momentum": 0.0},
            "monitor": "accuracy", "schedule": {"kind": "plateau", "factor": 0.5, "patience": 3, "minimum": 1e-6}, "warmup": 0.0, "early_stopping": null,
            "class_weights": "none", "batch_size": 4, "epochs": shape.epochs, "search_epochs": 2,
            "threads": 2, "operators": "kernels", "device": "cpu", "memory_budget": 1073741824u64,
            "feature_precision": "f32", "log_steps": true,
        },
    });
    serde_json::from_value::<RunRecord>(run.clone()).unwrap();
    run
}

fn score(accuracy: f64, loss: f64, count: usize) -> Value {
    json!({
        "accuracy": accuracy, "balanced_accuracy": accuracy, "macro_f1": accuracy, "loss": loss,
        "count": count,
    })
}

fn trial_record(
    net: &Net,
    strategy: &str,
    phase: &str,
    c: &Candidate,
    id: &str,
    right: usize,
) -> Value {
    json!({
        "id": id, "strategy": strategy, "phase": phase, "candidate": c.label,
        "layers": net.json(c)["layers"], "trained_parameters": net.trained(c),
        "validation": score(right as f64 / 110.0, 1.0 - right as f64 / 120.0, 110),
        "best_epoch": 2, "epochs": 2, "seconds": 3.25, "clock": 61.5,
    })
}

/// Epochs with a step each.
fn metrics(root: &Path, id: &str, epochs: usize, noise: &mut Noise) {
    let folder = root.join("trials").join(id);
    fs::create_dir_all(&folder).unwrap();
    let mut lines = String::new();
    for epoch in 1..=epochs {
        let loss = 1.6 / (epoch as f64).sqrt() + 0.1 * noise.next();
        let accuracy = (0.9 - 0.3 / epoch as f64 + 0.05 * noise.next()).min(1.0);
        writeln!(lines, "{}", json!({"step": epoch, "loss": loss})).unwrap();
        let line = json!({
            "epoch": epoch, "loss": loss,
            "validation": score(accuracy, loss * 0.8, 110),
            "learning_rate": 0.0001, "seconds": epoch as f64 * 1.5,
        });
        writeln!(lines, "{line}").unwrap();
    }
    fs::write(folder.join("metrics.jsonl"), lines).unwrap();
}

fn result(
    net: &Net,
    strategy: &str,
    c: &Candidate,
    id: &str,
    right: usize,
    noise: &mut Noise,
) -> Value {
    let classes = net.shape.classes;
    let mut counts = std::collections::BTreeMap::new();
    let wrong = 60 + noise.below(40);
    for sample in 0..HELD_OUT {
        let label = sample % classes;
        let predicted = match sample < wrong {
            true => (label + 1 + noise.below(classes - 1)) % classes,
            false => label,
        };
        *counts.entry([label, predicted]).or_insert(0usize) += 1;
    }
    let pairs: Vec<[usize; 3]> = counts.iter().map(|(&[t, p], &n)| [t, p, n]).collect();
    let wrong: Vec<usize> = (0..wrong).collect();
    let accuracy = (HELD_OUT - wrong.len()) as f64 / HELD_OUT as f64;
    let mistakes: Vec<Value> = (0..12)
        .map(|i| {
            let label = i % classes;
            let sample = match (net.shape.hostile, i) {
                (true, 0) => format!("{}/x.jpg", net.class(0)),
                _ => format!("{}/{:02}.png", net.class(label), i / classes),
            };
            let sure = 0.999 - 0.02 * i as f64;
            json!({"sample": sample, "label": label, "predicted": (label + 1) % classes, "probability": sure})
        })
        .collect();
    json!({
        "name": strategy, "candidate": c.label, "layers": net.json(c)["layers"], "trial": id,
        "validation_accuracy": right as f64 / 110.0, "monitored": right as f64 / 110.0,
        "held_out_accuracy": accuracy,
        "held_out": {
            "score": score(accuracy, 0.4, HELD_OUT), "classes": classes,
            "confusion": pairs, "wrong": wrong, "mistakes": mistakes,
        },
        "trained_parameters": net.trained(c), "seconds": 12.0 + 400.0 * noise.next(), "clock": 90.0,
        "model": format!("winners/{strategy}.onnx"), "sha256": "ef".repeat(32),
    })
}

fn repeat(results: &mut Value, noise: &mut Noise) {
    let mut repeats = Vec::new();
    for seed in 1001..1004 {
        let strategies: Vec<Value> = STRATEGIES
            .iter()
            .map(|name| {
                let accuracy = 0.82 + 0.1 * noise.next();
                json!({
                    "name": name, "validation_accuracy": accuracy, "monitored": accuracy,
                    "held_out_accuracy": accuracy,
                })
            })
            .collect();
        repeats
            .push(json!({"seed": seed, "folder": format!("seed{seed}"), "strategies": strategies}));
    }
    let spread: Vec<Value> = (0..STRATEGIES.len())
        .map(|s| {
            let accuracy = |r: &Value| r["strategies"][s]["held_out_accuracy"].as_f64().unwrap();
            let accuracies: Vec<f64> = repeats.iter().map(accuracy).collect();
            let name = STRATEGIES[s].parse().unwrap();
            json!(ftsurgery::run::Spread::of(name, &accuracies).unwrap())
        })
        .collect();
    results["repeats"] = json!(repeats);
    results["spread"] = json!(spread);
}

fn put_json(path: &Path, value: &Value) {
    fs::write(path, serde_json::to_vec_pretty(value).unwrap()).unwrap();
}
