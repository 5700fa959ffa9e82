//! Where decoded images are while a run goes on.

use ftsurgery::runtime::locate;

use crate::scene::*;
use crate::support::*;

const SETTINGS: &str = "--preprocess signed --search-fraction 0.4 --train-fraction 0.4 --epochs 2 \
                        --search-epochs 1 --batch-size 8 --strategies head,full --head linear \
                        --lr 1e-2 --threads 1";

#[test]
fn a_run_is_the_same_wherever_decoded_images_are() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(6);
    let library = locate::locate(None).unwrap().located.path;
    let run = |name: &str, more: &str| {
        let mut command = scene.tune(name, &format!("{SETTINGS} {more}"));
        command
            .env("ORT_DYLIB_PATH", &library)
            .env("FTSURGERY_CACHE", scene.at("cache"))
            .assert()
            .success();
    };
    run("whole", "--image-cache memory");
    assert!(!scene.at("cache").exists());
    for name in ["none", "disk", "again"] {
        let cache = if name == "none" { "none" } else { "disk" };
        run(name, &format!("--image-cache {cache} --augment none"));
        assert_same_outcome(&scene.at("whole"), &scene.at(name));
    }
    let packs = files(&scene.at("cache/images"));
    assert_eq!(packs.len(), 1, "{packs:?}");
    // Crops are drawn from the same photos everywhere, too.
    for name in ["memory", "none", "disk"] {
        let cropped = format!("cropped {name}");
        let more = "--augment standard --resize crop --strategies head";
        run(&cropped, &format!("--image-cache {name} {more}"));
        assert_same_outcome(&scene.at("cropped memory"), &scene.at(&cropped));
    }
    assert_eq!(files(&scene.at("cache/images")).len(), 2);
}

#[test]
fn images_are_in_memory_within_the_budget_and_else_on_the_disk() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(6);
    let library = locate::locate(None).unwrap().located.path;
    let packs = |name: &str, budget: &str| {
        let cache = scene.at(&format!("cache of {name}"));
        let mut command = scene.tune(name, &format!("{SETTINGS} --memory-budget {budget}"));
        command
            .env("ORT_DYLIB_PATH", &library)
            .env("FTSURGERY_CACHE", &cache)
            .assert()
            .success();
        match cache.exists() {
            true => files(&cache.join("images")).len(),
            false => 0,
        }
    };
    // 18 images of 16 × 16 × 3 bytes.
    assert_eq!(packs("within", "13824"), 0);
    assert_eq!(packs("beyond", "13823"), 1);
    assert_same_outcome(&scene.at("within"), &scene.at("beyond"));
}

#[test]
fn a_run_goes_on_with_images_in_another_place() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(6);
    scene
        .tune("run", &format!("{SETTINGS} --image-cache memory"))
        .assert()
        .success();
    // Without its results, the run has its winners to train again.
    let read = |name: &str| std::fs::read(scene.at("run").join(name)).unwrap();
    let [winner, config] = ["winners/full.onnx", "config.toml"].map(read);
    for name in ["results.json", "trials.jsonl", "winners/full.onnx"] {
        std::fs::remove_file(scene.at("run").join(name)).unwrap();
    }
    succeeds(scene.resume("run", &["--image-cache", "none"]));
    assert_eq!(read("winners/full.onnx"), winner);
    assert_eq!(read("config.toml"), config);
}
