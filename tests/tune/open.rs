//! Settings that are left open: what a run makes of them, and that it stays with it.

use ftsurgery::data::Resize;
use image::{Rgb, RgbImage};

use crate::pixels::{card, save_wide_photos};
use crate::scene::*;
use crate::support::*;

const SETTINGS: &str = "--preprocess signed --epochs auto --bn auto --search-fraction auto --early-stopping auto \
                        --schedule constant --search-epochs 1 --strategies head,last1 --head linear --lr 1e-3 \
                        --batch-size 8 --threads 1";

#[test]
fn what_is_left_open_is_found_told_and_recorded_and_a_run_that_goes_on_keeps_it() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(12);
    let output = telling(&scene, "run", SETTINGS);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    let parts = [
        "--search-fraction 0.5",
        "--bn frozen",
        "--epochs 12",
        "--early-stopping 8",
    ];
    let line = text.lines().find(|line| line.starts_with("found: "));
    let line = line.unwrap_or_else(|| panic!("{text}"));
    for part in parts {
        assert!(line.contains(part), "{part}: {line}");
    }
    let run = scene.at("run");
    let found = &json(&run.join("run.json"))["configuration"];
    assert_eq!(found["epochs"], 12);
    assert_eq!(found["early_stopping"], 8);
    assert_eq!(found["bn"], "frozen");
    assert_eq!(found["search_fraction"], 0.5);
    assert_eq!(found["validation_fraction"], 0.1);
    // Its configuration has what was found, and a run that is left as open is the same.
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("epochs = 12\n") && config.contains("early-stopping = 8\n"));
    let before = std::fs::read(run.join("results.json")).unwrap();
    succeeds(scene.resume("run", &["--epochs", "auto", "--search-fraction", "auto"]));
    assert_eq!(std::fs::read(run.join("results.json")).unwrap(), before);
    let (code, text) = said(scene.resume("run", &["--epochs", "13"]));
    assert!(code == Some(2) && text.contains("--epochs"), "{text}");
    // Where the whole split is given, the search part is not a share of anything.
    let split = format!("{SETTINGS} --split {}", run.join("split.json").display());
    let output = telling(&scene, "given", &split);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().find(|line| line.starts_with("found: "));
    let line = line.unwrap_or_else(|| panic!("{text}"));
    assert!(
        line.contains("--epochs") && !line.contains("--search-fraction"),
        "{line}"
    );
}

/// `tune` of the scene's model that says what it does.
fn telling(scene: &Scene, run: &str, settings: &str) -> std::process::Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    command
        .arg("tune")
        .arg(scene.at("model.onnx"))
        .arg("--data");
    command
        .arg(scene.at("photos"))
        .arg("--out")
        .arg(scene.at(run));
    command.args(settings.split_whitespace()).output().unwrap()
}

#[test]
fn early_stopping_can_be_turned_off() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(8);
    let settings = "--preprocess signed --search-fraction 0.2 --train-fraction 0.5 --strategies full --head linear \
                    --epochs 12 --schedule constant --optimizer sgd --lr 1e-30 --threads 1";
    // Nothing moves, so that no epoch is better than the first.
    for (flag, epochs) in [
        ("--early-stopping auto", 9),
        ("--early-stopping off", 12),
        ("--early-stopping 2", 3),
    ] {
        let run = format!("run{epochs}");
        let settings = format!("{settings} {flag}");
        scene.tune(&run, &settings).assert().success();
        let results = json(&scene.at(&run).join("results.json"));
        assert_eq!(results["strategies"][0]["epochs"], epochs, "{flag}");
    }
}

/// Photos whose classes are which way a saw-tooth rises, each with grain of its own: mirrored, they are of the
/// other class.
fn save_directions(scene: &Scene, [width, height]: [u32; 2]) {
    let photos = scene.at("photos");
    std::fs::remove_dir_all(&photos).unwrap();
    for (class, name) in ["falls", "rises"].into_iter().enumerate() {
        std::fs::create_dir_all(photos.join(name)).unwrap();
        for i in 0..40_u32 {
            let picture = RgbImage::from_fn(width, height, |x, y| {
                let step = (x + i) % 6;
                let step = if class == 0 { 5 - step } else { step };
                let grain = (x * 7 + y * 13 + i * 31) % 40;
                Rgb([(step * 40 + grain) as u8; 3])
            });
            picture
                .save(photos.join(name).join(format!("{i:02}.png")))
                .unwrap();
        }
    }
}

#[test]
fn how_photos_are_resized_and_changed_is_found_where_nobody_says_it() {
    if !has_runtime() {
        return;
    }
    const SETTINGS: &str = "--preprocess signed --strategies head --threads 1";
    let found = |scene: &Scene, run: &str, more: &str| {
        let output = telling(scene, run, &format!("{SETTINGS} {more}"));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        let found = text.lines().find_map(|line| line.strip_prefix("found: "));
        let found = found.unwrap_or_default().to_owned();
        let run = json(&scene.at(run).join("run.json"));
        (found, run["configuration"].clone())
    };

    // The colour in the middle is the class, on either side: the middle, and mirrored and cropped ones.
    let scene = Scene::new();
    save_wide_photos(&scene);
    let (told, run) = found(&scene, "run", "");
    assert!(told.contains("--resize crop:0.875"), "{told}");
    assert!(told.contains("--augment standard"), "{told}");
    assert_eq!(run["resize"]["mode"], "crop");
    assert_eq!(run["augment"], "standard");
    assert_eq!(card(&scene, "run/winners/head.onnx").resize, Resize::CROP);
    // It is what it was when the run goes on, and is not looked for again.
    let winner = scene.at("run/winners/head.onnx");
    let whole = std::fs::read(&winner).unwrap();
    std::fs::remove_file(&winner).unwrap();
    let text = scene.resume_telling("run");
    assert!(!text.contains("comparing ways"), "{text}");
    assert!(std::fs::read(&winner).unwrap() == whole);
    let again = json(&scene.at("run/run.json"));
    assert_eq!(again["configuration"]["augment"], "standard");

    // What is said stays, and the other is found.
    let (told, run) = found(&scene, "boxed", "--resize letterbox");
    assert!(!told.contains("--resize"), "{told}");
    assert_eq!(run["resize"]["mode"], "letterbox");
    assert_eq!(run["augment"], "standard");

    // Mirrored, these are of another class; they fill the input as they are.
    save_directions(&scene, [16, 16]);
    let (told, run) = found(&scene, "directions", "");
    assert!(told.contains("--resize squash"), "{told}");
    assert!(told.contains("--augment none"), "{told}");
    assert_eq!(run["augment"], "none");
}
