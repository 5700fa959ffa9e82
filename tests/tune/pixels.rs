//! The rule by which photos come to the model's size, from training to use.

use ftsurgery::classifier::ModelCard;
use ftsurgery::data::{Preprocess, Resize};
use ftsurgery::onnx::Model;
use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::scene::*;
use crate::support::*;

const SETTINGS: &str = "--preprocess signed --strategies full --search-fraction 0.4 --train-fraction 0.4 \
                        --epochs 3 --search-epochs 1 --lr 3e-3 --threads 1";

/// Photos of 48 × 20 pixels with a class's colour in the middle and all colours beside it.
pub fn save_wide_photos(scene: &Scene) {
    for (class, name) in CLASSES.iter().enumerate() {
        let folder = scene.at("photos").join(name);
        for i in 0..12_u32 {
            let mut picture = RgbImage::new(48, 20);
            for (x, y, pixel) in picture.enumerate_pixels_mut() {
                let grain = ((x * 7 + y * 13 + i * 31) % 60) as u8;
                let mut rgb = [grain; 3];
                let shown = match (12..36).contains(&x) {
                    true => 2 - class,
                    false => (x / 6 + i) as usize % 3,
                };
                rgb[shown] = 180 + grain;
                *pixel = Rgb(rgb);
            }
            picture.save(folder.join(format!("{i:02}.png"))).unwrap();
        }
    }
}

pub fn card(scene: &Scene, model: &str) -> Preprocess {
    let model = Model::open(&scene.at(model)).unwrap();
    ModelCard::read(&model).unwrap().preprocess.unwrap()
}

/// What `evaluate` of a model says of the photos that the run `run` held out, and what it tells besides.
fn evaluated(scene: &Scene, model: &str, more: &str) -> (Value, String) {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    command.current_dir(scene.path());
    command.args(["evaluate", model, "--data", "photos", "--json"]);
    command.args("--split run/split.json --part held_out".split(' '));
    let output = command.args(more.split_whitespace()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    (serde_json::from_slice(&output.stdout).unwrap(), told)
}

#[test]
fn a_run_by_another_rule_is_evaluated_predicted_tuned_and_resumed_by_it() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    save_wide_photos(&scene);
    let winner = "run/winners/full.onnx";
    let settings = format!("{SETTINGS} --resize crop:0.8 --augment standard");
    succeeds(scene.start("run", &settings));
    let rule: Resize = "crop:0.8".parse().unwrap();
    assert_eq!(card(&scene, winner).resize, rule);
    let config = std::fs::read_to_string(scene.at("run/config.toml")).unwrap();
    assert!(config.contains("resize = \"crop:0.8\""), "{config}");

    // What the run says of the held-out photos is what its model is worth, by the rule in its card.
    let results = json(&scene.at("run/results.json"));
    let reported = &results["strategies"][0]["held_out_accuracy"];
    let (by_card, told) = evaluated(&scene, winner, "");
    assert_eq!(&by_card["accuracy"], reported);
    assert_eq!(by_card["preprocess"]["resize"]["mode"], "crop");
    assert!(told.contains("16 × 16 pixels (crop:0.8)"), "{told}");
    assert!(!told.contains("images are resized"), "{told}");
    let (overruled, told) = evaluated(&scene, winner, "--resize squash");
    assert_ne!(overruled["loss"], by_card["loss"]);
    let line =
        "by the model's metadata images are resized by crop:0.8, but squash is asked for and taken";
    assert!(told.contains(line), "{told}");
    // How pixels are scaled is another question.
    let (scaled, told) = evaluated(&scene, winner, "--preprocess unit");
    assert_eq!(scaled["preprocess"]["resize"]["mode"], "crop");
    assert!(!told.contains("images are resized"), "{told}");
    let predict = |more: &str| {
        let mut command = ftsurgery();
        command.current_dir(scene.path());
        command.args(["predict", winner, "photos/red/03.png", "--json"]);
        let output = command.args(more.split_whitespace()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(predict(""), predict("--resize crop:0.8"));
    assert_ne!(predict(""), predict("--resize letterbox"));

    // Resumed, it is the same, and only by the same rule.
    let whole = std::fs::read(scene.at(winner)).unwrap();
    for name in ["run/results.json", "run/trials.jsonl", winner] {
        std::fs::remove_file(scene.at(name)).unwrap();
    }
    let (code, text) = said(scene.resume("run", &["--resize", "crop"]));
    assert_eq!(code, Some(2), "{text}");
    for word in ["--resize", "crop:0.8", "crop:0.875"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    succeeds(scene.resume("run", &["--resize", "crop:0.8"]));
    assert!(std::fs::read(scene.at(winner)).unwrap() == whole);

    // A model that is tuned again goes on by its rule.
    let mut command = process();
    command.current_dir(scene.path());
    command.args([
        "run/winners/full.onnx",
        "--data",
        "photos",
        "--out",
        "second",
    ]);
    command.args("--strategies head --head keep --epochs 1 --search-fraction 0".split(' '));
    succeeds(command.spawn().unwrap());
    assert_eq!(card(&scene, "second/winners/head.onnx").resize, rule);
    let record = json(&scene.at("second/run.json"));
    assert_eq!(record["configuration"]["resize"]["share"], 0.8);
}

#[test]
fn photos_are_squashed_unless_something_else_is_said() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    save_wide_photos(&scene);
    succeeds(scene.start("run", SETTINGS));
    succeeds(scene.start("squashed", &format!("{SETTINGS} --resize squash")));
    assert_same_outcome(&scene.at("run"), &scene.at("squashed"));
    assert_eq!(card(&scene, "run/winners/full.onnx").resize, Resize::SQUASH);

    // A run from before there was a choice has noted nothing, and goes on.
    let path = scene.at("run/run.json");
    let mut record = json(&path);
    let configuration = record["configuration"].as_object_mut().unwrap();
    assert!(configuration.remove("resize").is_some());
    let preprocess = configuration["preprocess"].as_object_mut().unwrap();
    assert!(preprocess.remove("resize").is_some());
    std::fs::write(&path, record.to_string()).unwrap();
    std::fs::remove_file(scene.at("run/winners/full.onnx")).unwrap();
    succeeds(scene.resume("run", &[]));
    assert_same_outcome(&scene.at("squashed"), &scene.at("run"));
}
