//! Several labels per image, and two classes by one output.

use std::fs;
use std::path::Path;
use std::process::Command;

use ftsurgery::graph::{Graph, Node, Value};
use ftsurgery::onnx::{Model, save};
use ftsurgery::testing::{python, skip};
use image::{Rgb, RgbImage};
use serde_json::Value as Json;

use crate::elsewhere::{assert_same_results, to_the_end};
use crate::scene::*;
use crate::support::*;

const NAMES: [&str; 3] = ["red", "striped", "topped"];
const QUICKLY: &str = "--preprocess signed --head linear --head-init solved --strategies head,full --optimizer adamw \
                       --batch-size 16 --epochs 4 --search-epochs 1 --lr 3e-3 --threads 1";

/// Which of [`NAMES`] are true of an image.
fn truth(number: usize) -> Vec<&'static str> {
    let of = [
        number.is_multiple_of(2),
        number.is_multiple_of(3),
        number % 5 < 2,
    ];
    NAMES
        .into_iter()
        .zip(of)
        .filter(|(_, is)| *is)
        .map(|(n, _)| n)
        .collect()
}

/// Images that are red or not, striped or not, and bright at the top or not.
fn save_images(folder: &Path, count: usize) {
    fs::create_dir_all(folder).unwrap();
    let grain = noise(16 * 16 * 3, 20.0);
    for number in 0..count {
        let own = truth(number);
        let has = |name: &str| own.contains(&name);
        let image = RgbImage::from_fn(16, 16, |x, y| {
            let grain = |c: u32| grain[((number as u32 * 7 + x * 48 + y * 3 + c) % 768) as usize];
            let striped = if has("striped") && x % 4 < 2 {
                60.0
            } else {
                0.0
            };
            let base = |c: u32| 90.0 + striped + grain(c);
            let red = if has("red") { 80.0 } else { 0.0 };
            let top = if has("topped") && y < 6 { 70.0 } else { 0.0 };
            Rgb([base(0) + red, base(1) + top, base(2)].map(|v| v as u8))
        });
        image.save(folder.join(format!("{number:03}.png"))).unwrap();
    }
}

/// A model, and such images with a list of their labels.
fn scene(count: usize) -> Scene {
    let scene = Scene::of(0);
    save_images(&scene.at("images"), count);
    let mut text = "path,label\n".to_owned();
    for number in 0..count {
        let own = truth(number).join("|");
        text.push_str(&format!("images/{number:03}.png,{own}\n"));
    }
    fs::write(scene.at("list.csv"), text).unwrap();
    scene
}

fn figures(scene: &Scene, model: &str, more: &[&str]) -> Json {
    let mut command = ftsurgery();
    command.arg("evaluate").arg(scene.at(model)).arg("--json");
    command.arg("--data").arg(scene.at("list.csv")).args(more);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refusal(mut command: assert_cmd::Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    text
}

#[test]
fn several_labels_are_learned_told_and_resumed() {
    if !has_runtime() {
        return;
    }
    let scene = scene(120);
    scene.tune_on("list.csv", "run", QUICKLY).assert().success();
    let results = json(&scene.at("run/results.json"));
    let settings = &json(&scene.at("run/run.json"))["configuration"];
    assert_eq!(settings["task"], "multi-label");
    assert_eq!(settings["monitor"], "average-precision");
    let full = &results["strategies"][1];
    let score = &full["held_out"]["score"];
    assert!(score["average_precision"].as_f64() > Some(0.9), "{full}");
    assert_eq!(
        full["held_out"]["class_scores"].as_array().unwrap().len(),
        3
    );
    assert_eq!(full["held_out"]["confusion"], serde_json::json!([]));

    // What is emitted ends in the sigmoid of each class, and says what it tells and from which probability on.
    let model = Model::open(&scene.at("run/winners/full.onnx")).unwrap();
    let last = model.graph().node.last().unwrap().op_type.clone();
    assert_eq!(last.as_deref(), Some("Sigmoid"));
    assert_eq!(model.metadata("ftsurgery.task"), Some("multi-label"));
    let thresholds: Json =
        serde_json::from_str(model.metadata("ftsurgery.thresholds").unwrap()).unwrap();
    assert_eq!(thresholds, full["thresholds"]);

    // The same figures on the same images, by the file alone.
    let split = scene.at("run/split.json");
    let of_part = ["--split", split.to_str().unwrap(), "--part", "held_out"];
    let found = figures(&scene, "run/winners/full.onnx", &of_part);
    for figure in ["average_precision", "macro_f1", "micro_f1", "loss"] {
        let (a, b) = (
            found[figure].as_f64().unwrap(),
            score[figure].as_f64().unwrap(),
        );
        assert!((a - b).abs() < 1e-4, "{figure}: {a} {b}");
    }
    assert_eq!(found["exact_match"], score["accuracy"]);
    assert_eq!(found["task"], "multi-label");
    assert!(found.get("accuracy").is_none() && found.get("confusion").is_none());
    assert_eq!(found["classes"][0]["name"], "red");
    assert_eq!(found["classes"][0]["threshold"], thresholds[0]);

    // Only what reaches its threshold is printed, unless more is asked for.
    let predict = |more: &[&str]| -> Json {
        let mut command = ftsurgery();
        command
            .arg("predict")
            .arg(scene.at("run/winners/full.onnx"));
        command
            .arg(scene.at("images/000.png"))
            .arg("--json")
            .args(more);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let told = predict(&[]);
    let classes = told[0]["classes"].as_array().unwrap();
    assert!(
        !classes.is_empty() && classes.iter().all(|c| c["applies"] == true),
        "{told}"
    );
    assert_eq!(
        predict(&["--top", "3"])[0]["classes"]
            .as_array()
            .unwrap()
            .len(),
        3
    );

    let page = fs::read_to_string(scene.at("run/report.html")).unwrap();
    assert!(page.contains("average precision") && page.contains("exact match"));
    let page = page.replace("curve-accuracy", "").to_lowercase();
    assert!(!page.contains("accuracy"), "it is the exact match");

    // From a trial that is taken back, the run comes to the same.
    fs::rename(scene.at("run"), scene.at("whole")).unwrap();
    scene.tune_on("list.csv", "run", QUICKLY).assert().success();
    let trials = fs::read_to_string(scene.at("run/trials.jsonl")).unwrap();
    fs::write(
        scene.at("run/trials.jsonl"),
        trials.lines().next().unwrap().to_owned() + "\n",
    )
    .unwrap();
    fs::remove_file(scene.at("run/results.json")).unwrap();
    fs::remove_file(scene.at("run/winners/full.onnx")).unwrap();
    succeeds(scene.resume("run", &[]));
    assert_same_results(&scene.at("whole"), &scene.at("run"));
}

#[test]
fn trials_elsewhere_see_the_same_labels() {
    if !has_runtime() {
        return;
    }
    let scene = scene(90);
    let settings = format!(
        "{QUICKLY} --strategies head,blocks --label-smoothing 0.1 --mixup 0.3 --class-weights balanced"
    );
    let settings = settings.replacen("--strategies head,full", "", 1);
    scene
        .tune_on("list.csv", "whole", &settings)
        .assert()
        .success();
    let mut command = ftsurgery();
    command.arg("plan").arg(scene.at("model.onnx"));
    command
        .arg("--data")
        .arg(scene.at("list.csv"))
        .arg("--out")
        .arg(scene.at("run"));
    let words: Vec<&str> = settings.split_whitespace().collect();
    let output = command.args(laborious(&words)).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<Json> = lines
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    lines.pop();
    to_the_end(&scene, "run", lines);
    assert_same_results(&scene.at("whole"), &scene.at("run"));
}

/// Average precision, F1 and exact match by scikit-learn, from the probabilities of every held-out image.
#[test]
fn figures_are_those_of_scikit_learn() {
    if !has_runtime() {
        return;
    }
    let Some(python) = python(&["numpy", "sklearn"]) else {
        return skip("scikit-learn", "python has no package sklearn");
    };
    let scene = scene(100);
    // Little is learned, so that figures are not 1.
    let settings = QUICKLY
        .replace("--head-init solved", "--head-init random")
        .replace("3e-3", "1e-4");
    scene
        .tune_on("list.csv", "run", &settings)
        .assert()
        .success();
    let results = json(&scene.at("run/results.json"));
    let of = &results["strategies"][0];
    let program = "import csv,json,sys\n\
        import numpy as np\n\
        from sklearn.metrics import average_precision_score as ap,f1_score,accuracy_score,log_loss\n\
        rows=list(csv.DictReader(open(sys.argv[1]))); names=[c[15:] for c in rows[0] if c.startswith('probability_of_')]\n\
        p=np.array([[float(r['probability_of_'+n]) for n in names] for r in rows])\n\
        y=np.array([[n in r['labels'].split('|') for n in names] for r in rows])\n\
        t=np.array(json.loads(sys.argv[2])); d=p>=t\n\
        print(json.dumps([ap(y,p,average='macro'),f1_score(y,d,average='macro',zero_division=0),\
f1_score(y,d,average='micro'),accuracy_score(y,d),-float(np.mean(np.where(y,np.log(p),np.log(1-p))))]))";
    let output = Command::new(&python)
        .args(["-c", program])
        .arg(scene.at("run/winners/head.predictions.csv"))
        .arg(of["thresholds"].to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let expected: Vec<f64> = serde_json::from_slice(&output.stdout).unwrap();
    let score = &of["held_out"]["score"];
    let figures = [
        "average_precision",
        "macro_f1",
        "micro_f1",
        "accuracy",
        "loss",
    ];
    for (figure, expected) in figures.into_iter().zip(expected) {
        let found = score[figure].as_f64().unwrap();
        assert!(
            (found - expected).abs() < 1e-6,
            "{figure}: {found} {expected}"
        );
    }
    assert!(score["average_precision"].as_f64() < Some(1.0));
}

/// The backbone with this behind its pooled features `f` of 8 numbers, which has so many outputs.
fn with_ending(scene: &Scene, name: &str, outputs: usize, sigmoid: bool) {
    let model = Model::open(&scene.at("model.onnx")).unwrap();
    let mut graph = Graph::from_model(&model).unwrap();
    let [value] = [graph.outputs[0].name.clone()];
    let classes = 5;
    let weights = noise(classes * outputs, 0.5);
    let tensor = ftsurgery::onnx::Tensor::f32(&[classes, outputs], &weights);
    graph.initializers.insert("last.w".to_owned(), tensor);
    graph
        .nodes
        .push(Node::new("last", "MatMul", &[&value, "last.w"], &["last"]));
    let mut output = "last";
    if sigmoid {
        graph
            .nodes
            .push(Node::new("sigmoid", "Sigmoid", &["last"], &["told"]));
        output = "told";
    }
    graph.outputs = vec![Value::batched(output, &[outputs])];
    save(&graph.to_model(usize::MAX).0, &scene.at(name)).unwrap();
}

/// `tune` of another model of the scene.
fn tune_model(scene: &Scene, model: &str, data: &str, settings: &str) -> assert_cmd::Command {
    let _ = fs::remove_dir_all(scene.at("run"));
    let words: Vec<&str> = settings.split_whitespace().collect();
    tune(&scene.at(model), &scene.at(data), &scene.at("run"), &words)
}

#[test]
fn two_classes_are_told_by_one_output() {
    if !has_runtime() {
        return;
    }
    let scene = scene(60);
    let mut text = "path,label\n".to_owned();
    for number in 0..60 {
        let class = if truth(number).contains(&"red") {
            "red"
        } else {
            "not"
        };
        text.push_str(&format!("images/{number:03}.png,{class}\n"));
    }
    fs::write(scene.at("list.csv"), text).unwrap();
    for sigmoid in [false, true] {
        with_ending(&scene, "one.onnx", 1, sigmoid);
        let settings = "--preprocess signed --head keep --head-init random --strategies full --optimizer adamw \
                        --batch-size 8 --epochs 12 --lr 1e-2 --threads 1";
        tune_model(&scene, "one.onnx", "list.csv", settings)
            .assert()
            .success();
        let found = figures(&scene, "run/winners/full.onnx", &[]);
        assert!(found["accuracy"].as_f64() > Some(0.9), "{found}");
        assert_eq!(found["classes"][1]["name"], "red");
        let model = Model::open(&scene.at("run/winners/full.onnx")).unwrap();
        assert_eq!(model.metadata("ftsurgery.task"), Some("binary"));
        let text = refusal(tune_model(
            &scene,
            "one.onnx",
            "list.csv",
            &format!("{settings} --task single-label"),
        ));
        assert!(text.contains("--task binary"), "{text}");
    }
    // A new head of one output is the logistic regression of two classes.
    let settings = format!("{QUICKLY} --task binary").replace("head,full", "head");
    tune_model(&scene, "model.onnx", "list.csv", &settings)
        .assert()
        .success();
    let one = figures(&scene, "run/winners/head.onnx", &[]);
    let settings = settings.replace("binary", "single-label");
    tune_model(&scene, "model.onnx", "list.csv", &settings)
        .assert()
        .success();
    let two = figures(&scene, "run/winners/head.onnx", &[]);
    assert_eq!(one["accuracy"], two["accuracy"]);
    let [one, two] = [one, two].map(|f| f["loss"].as_f64().unwrap());
    assert!((one - two).abs() < 1e-4, "{one} {two}");
}

#[test]
fn what_does_not_go_with_several_labels_is_refused_by_name() {
    if !has_runtime() {
        return;
    }
    let scene = scene(60);
    let head = "--preprocess signed --strategies head";
    for (settings, words) in [
        ("--sampler balanced", "sampler"),
        ("--head keep --head-init random", "5 classes"),
    ] {
        let text = refusal(tune_model(
            &scene,
            "model.onnx",
            "list.csv",
            &format!("{head} {settings}"),
        ));
        assert!(text.contains(words), "{text}");
    }
    with_ending(&scene, "three.onnx", 3, true);
    let keep = format!("{head} --head keep --head-init random --epochs 2");
    tune_model(&scene, "three.onnx", "list.csv", &keep)
        .assert()
        .success();
    let model = Model::open(&scene.at("run/winners/head.onnx")).unwrap();
    let last = model.graph().node.last().unwrap().op_type.clone();
    assert_eq!(last.as_deref(), Some("Sigmoid"));

    // One label each: a sigmoid per class is not taken for a softmax.
    let mut text = "path,label\n".to_owned();
    for number in 0..60 {
        text.push_str(&format!("images/{number:03}.png,{}\n", NAMES[number % 3]));
    }
    fs::write(scene.at("one.csv"), text).unwrap();
    let text = refusal(tune_model(&scene, "three.onnx", "one.csv", &keep));
    assert!(text.contains("--task multi-label"), "{text}");
    let asked = format!("{keep} --task multi-label");
    tune_model(&scene, "three.onnx", "one.csv", &asked)
        .assert()
        .success();
    for (settings, words) in [
        ("--monitor average-precision", "several labels"),
        ("--task binary", "two classes"),
    ] {
        let text = refusal(tune_model(
            &scene,
            "model.onnx",
            "one.csv",
            &format!("{head} {settings}"),
        ));
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn a_study_of_several_labels_tells_exact_matches() {
    if !has_runtime() {
        return;
    }
    let scene = scene(40);
    let mut command = ftsurgery();
    command.current_dir(scene.path());
    command.args(
        "study --models model.onnx --data list.csv --out study --search-fraction 0".split(' '),
    );
    let settings = QUICKLY.replace("head,full", "head");
    command.args(settings.split_whitespace());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("model, exact match"), "{table}");
    let page = fs::read_to_string(scene.at("study/report.html")).unwrap();
    assert!(
        page.contains("Exact match on the held-out part") && !page.contains("Accuracy"),
        "{page}"
    );
    let study = json(&scene.at("study/study.json"));
    assert_eq!(study["models"][0]["task"], "multi-label");
}
