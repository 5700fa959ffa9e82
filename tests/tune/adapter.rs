//! `tune --keep-adapter` and `apply`: tuned models from what makes them of their backbone.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ftsurgery::adapter::Adapter;
use ftsurgery::surgery::Rewrite;
use serde_json::Value;

use crate::scene::*;
use crate::support::*;

/// `ftsurgery apply` in `folder`, where there is no onnxruntime.
fn apply(folder: &Path, adapter: &Path, model: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    command.current_dir(folder).env_remove("ORT_DYLIB_PATH");
    command.env("XDG_DATA_HOME", folder).env("HOME", folder);
    command.arg("apply").args([adapter, model]).args(more);
    command.output().unwrap()
}

fn read(path: impl AsRef<Path>) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

fn winner(run: &Path, file: &str) -> PathBuf {
    run.join("winners").join(file)
}

/// Fails unless every strategy of the run has an adapter that makes its model of `model`, and gives their names.
fn all_come_back(run: &Path, model: &Path) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let results = json(&run.join("results.json"));
    let strategies = results["strategies"].as_array().unwrap();
    let comes_back = |strategy: &Value| {
        let name = strategy["name"].as_str().unwrap().replace('%', "-percent");
        let file = format!("{name}.safetensors");
        assert_eq!(strategy["adapter"]["location"], file, "{strategy}");
        let output = apply(folder.path(), &winner(run, &file), model, &[]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {told}");
        let tuned = format!("{name}.onnx");
        let again = read(folder.path().join(&tuned));
        assert!(again == read(winner(run, &tuned)), "{name}");
        name
    };
    strategies.iter().map(comes_back).collect()
}

#[test]
fn whatever_a_strategy_trains_its_adapter_makes_its_model_to_the_byte() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let strategies = "head,lora2,lora-blocks2,blocks,bias,norm,last40%,adafilter,spottune";
    // The running statistics are tuned, too.
    let settings = format!(
        "{QUICK} --strategies {strategies} --keep-adapter --bn batch --lr 1e-2 --lora-alpha 4 --batch-size 8"
    );
    scene.whole(&settings);
    let run = scene.at("whole");
    let names = all_come_back(&run, &scene.at("model.onnx"));
    assert_eq!(names.len(), 9);

    let of = |name: &str| {
        let file = winner(&run, &format!("{name}.safetensors"));
        Adapter::read(&file).unwrap()
    };
    let lora = of("lora2");
    let Rewrite::LowRank(low_rank) = &lora.recipe.rewrite else {
        panic!("{:?}", lora.recipe.rewrite)
    };
    assert_eq!((low_rank.rank, low_rank.alpha), (2, 4));
    let has = |adapter: &Adapter, name: &str| adapter.tensors.iter().any(|t| t.name == name);
    assert!(has(&lora, "ftsurgery/low_rank/c1.w/a") && !has(&lora, "c1.w"));
    let bias = of("bias");
    assert!(has(&bias, "c2.bias") && has(&bias, "c2.mean") && !has(&bias, "c2.w"));
    assert_eq!(lora.recipe.metadata("ftsurgery.strategy"), Some("lora2"));
    // The head alone is less than all of them.
    let size = |name: &str| read(winner(&run, &format!("{name}.safetensors"))).len();
    assert!(size("head") < size("lora2") && size("lora-blocks2") < size("lora2"));

    // An adapter that is gone is written again, as it was.
    let file = winner(&run, "lora2.safetensors");
    let before = read(&file);
    std::fs::remove_file(&file).unwrap();
    succeeds(scene.resume("whole", &[]));
    assert!(read(&file) == before);
    // What the run began with it goes on with.
    let (code, told) = said(scene.resume("whole", &["--lora-alpha", "2"]));
    assert!(code == Some(2) && told.contains("--lora-alpha"), "{told}");
    // A run in its place leaves none behind.
    succeeds(scene.start("whole", &format!("{QUICK} --strategies head --force")));
    assert!(!file.exists() && !winner(&run, "head.safetensors").exists());
}

#[test]
fn what_is_left_of_baked_gates_comes_back() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(6);
    let settings = "--strategies adafilter --adafilter-layers all --adafilter-bake --keep-adapter";
    succeeds(scene.start("run", &format!("{QUICK} {settings} --lr 1e-2")));
    let names = all_come_back(&scene.at("run"), &scene.at("model.onnx"));
    assert_eq!(names, ["adafilter"]);
}

#[test]
fn models_that_are_not_tuned_as_they_stand_come_back_as_well() {
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    save_photos(&photos, 12);
    for (name, more) in [
        ("half", "--head keep"),
        ("half_inside", "--head linear --image-size 12"),
        ("constant_nodes", "--head linear"),
        ("fixed_batch", "--head linear"),
        ("quantised_pairs", "--head linear --dequantise"),
    ] {
        let model = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures/exporters")
            .join(format!("{name}.onnx"));
        let run = folder.path().join(name);
        let settings = format!("{QUICK} {more} --strategies full,lora2 --lr 0.01 --keep-adapter");
        let settings: Vec<&str> = settings.split(' ').collect();
        let output = tune(&model, &photos, &run, &settings).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {told}");
        assert_eq!(all_come_back(&run, &model), ["full", "lora2"]);
    }
}

#[test]
fn what_cannot_be_applied_is_refused_and_nothing_is_written() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(6);
    succeeds(scene.start("run", &format!("{QUICK} --strategies lora2 --keep-adapter")));
    let (run, model) = (scene.at("run"), scene.at("model.onnx"));
    let adapter = winner(&run, "lora2.safetensors");
    let place = tempfile::tempdir().unwrap();
    let there = || std::fs::read_dir(place.path()).unwrap().count();
    let refused = |adapter: &Path, model: &Path, more: &[&str], why: &str| {
        let before = there();
        let output = apply(place.path(), adapter, model, more);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.starts_with("error: ") && told.contains(why), "{told}");
        assert!(output.stdout.is_empty());
        assert_eq!(there(), before);
    };

    let other = place.path().join("other.onnx");
    std::fs::copy(winner(&run, "lora2.onnx"), &other).unwrap();
    refused(
        &adapter,
        &other,
        &[],
        "what was tuned is a model of SHA-256",
    );
    refused(
        &model,
        &model,
        &[],
        "is neither an adapter nor a state of a training graph: it is no whole safetensors file",
    );
    let checkpoint = place.path().join("foreign.safetensors");
    let nothing: Vec<(&str, safetensors::tensor::TensorView<'_>)> = Vec::new();
    std::fs::write(&checkpoint, safetensors::serialize(nothing, None).unwrap()).unwrap();
    refused(
        &checkpoint,
        &model,
        &[],
        "neither an adapter's metadata nor",
    );
    refused(place.path(), &model, &[], "it is not a regular file");
    refused(&place.path().join("absent"), &model, &[], "cannot read");
    let damaged = place.path().join("damaged.safetensors");
    let mut bytes = read(&adapter);
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&damaged, &bytes).unwrap();
    refused(&damaged, &model, &[], "is not as it was written");

    // What is read is not written over, with --force neither.
    let copy = place.path().join("copy.safetensors");
    std::fs::copy(&adapter, &copy).unwrap();
    for input in [&copy, &model] {
        let out = input.to_str().unwrap();
        refused(
            &copy,
            &model,
            &["--out", out, "--force"],
            "would be written over",
        );
    }
    assert!(read(&copy) == read(&adapter));
    std::fs::write(place.path().join("lora2.onnx"), "mine").unwrap();
    refused(&adapter, &model, &[], "lora2.onnx exists");
    refused(
        &adapter,
        &model,
        &["--out", "no/where.onnx"],
        "cannot write no/where.onnx",
    );
    assert_eq!(read(place.path().join("lora2.onnx")), b"mine");

    let before = there();
    let output = apply(place.path(), &adapter, &model, &["--dry-run", "--json"]);
    assert!(output.status.success());
    assert_eq!(there(), before);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let result = &json(&run.join("results.json"))["strategies"][0];
    assert_eq!(said["sha256"], result["sha256"]);
    assert_eq!(said["values"], result["trained_parameters"]);
    assert!(said["model"].is_null() && said["strategy"] == "lora2");

    let output = apply(place.path(), &adapter, &model, &["--force", "--json"]);
    assert!(output.status.success());
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["model"], "lora2.onnx");
    assert!(read(place.path().join("lora2.onnx")) == read(winner(&run, "lora2.onnx")));
}
