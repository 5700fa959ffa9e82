//! Flags against metadata, and flags that do nothing.

use std::path::Path;

use assert_cmd::Command;
use ftsurgery::data::{Preprocess, Resize};
use ftsurgery::onnx::{Model, save, set_metadata};
use serde_json::json;

use crate::scene::*;
use crate::support::*;

/// The backbone of [`save_backbone`], which says of itself how it wants its pixels.
fn save_with_card(path: &Path, preset: &str) {
    save_backbone(path);
    let mut proto = Model::open(path).unwrap().proto.clone();
    let preprocess: Preprocess = preset.parse().unwrap();
    let text = serde_json::to_string(&preprocess).unwrap();
    set_metadata(&mut proto, "ftsurgery.preprocess", &text);
    save(&proto, path).unwrap();
}

/// The binary, which also tells what it does.
fn telling() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ftsurgery"))
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const SHORT: &str = "--strategies head --head linear --search-fraction 0.4 --train-fraction 0.4 \
                     --epochs 1 --search-epochs 1";

#[test]
fn a_study_takes_the_preprocessing_of_each_model_before_that_of_the_flag() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(8);
    let at = |name: &str| scene.at(name);
    save_with_card(&at("signed.onnx"), "signed");
    save_with_card(&at("caffe.onnx"), "caffe");
    for name in ["silent.onnx", "own.onnx", "a,comma.onnx"] {
        std::fs::copy(at("model.onnx"), at(name)).unwrap();
    }
    let mut command = telling();
    command
        .current_dir(scene.path())
        .args("study --data photos --out study --preprocess unit --resize letterbox".split(' '))
        .args([
            "--models",
            "signed.onnx,caffe.onnx,silent.onnx,own.onnx:raw",
        ])
        .args(["--models", "a,comma.onnx:caffe"])
        .args(SHORT.split_whitespace());
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    for (model, preset, from) in [
        ("signed", "signed", "metadata"),
        ("caffe", "caffe", "metadata"),
        ("silent", "unit", "flag"),
        ("own", "raw", "flag"),
        ("a,comma", "caffe", "flag"),
    ] {
        let run = json(&at(&format!("study/{model}/run.json")));
        let configuration = &run["configuration"];
        let taken: Preprocess =
            serde_json::from_value(configuration["preprocess"].clone()).unwrap();
        assert_eq!(taken.to_string(), preset, "{model}");
        assert_eq!(configuration["preprocess_from"], from, "{model}");
        // How images are resized is no question of the model.
        assert_eq!(taken.resize, Resize::LETTERBOX, "{model}");
    }
    // What the flag is not taken for is said.
    for (name, preset) in [("signed.onnx", "signed"), ("caffe.onnx", "caffe")] {
        let line = format!("{name} name the preprocessing {preset}, which is taken; unit is for");
        assert!(told.contains(&line), "{told}");
    }
    let line = "images are resized by squash, but letterbox is asked for and taken";
    assert_eq!(told.matches(line).count(), 2, "{told}");
    // Resumed, each model keeps its own.
    telling()
        .current_dir(scene.path())
        .args(["study", "--resume", "study"])
        .assert()
        .success();
    let refused = telling()
        .current_dir(scene.path())
        .args(["study", "--resume", "study", "--models", "own.onnx"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));

    let wrong = said(
        telling()
            .current_dir(scene.path())
            .args("study --data photos --out other --models own.onnx:cafe".split(' ')),
    );
    assert!(
        wrong.contains("`cafe`") && wrong.contains("caffe"),
        "{wrong}"
    );
}

#[test]
fn a_flag_that_overrules_metadata_and_a_guess_are_told() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(8);
    let at = |name: &str| scene.at(name);
    save_with_card(&at("signed.onnx"), "signed");
    std::fs::rename(at("model.onnx"), at("silent.onnx")).unwrap();
    let tune = |model: &str, arguments: &[&str]| {
        let mut command = telling();
        command.current_dir(scene.path());
        command.args(["tune", model, "--data", "photos", "--out", "run", "--force"]);
        said(command.args(SHORT.split_whitespace()).args(arguments))
    };
    let overruled = tune("signed.onnx", &["--preprocess", "unit"]);
    assert!(
        overruled.contains("metadata name the preprocessing signed, but unit is asked for"),
        "{overruled}"
    );
    let known = tune("signed.onnx", &[]);
    assert!(
        !known.contains("metadata name") && !known.contains("nothing says"),
        "{known}"
    );
    let line = "signed.onnx: images of 16 × 16 pixels, preprocessing signed (of its metadata), 3 classes, \
                head linear on `pool3` (8 channels of 2 × 2) in place of scores, with the output `probabilities` for \
                `scores`; 24 images: search ";
    assert!(known.contains(line), "{known}");
    let guessed = tune("silent.onnx", &[]);
    assert!(
        guessed.contains("preprocessing imagenet (a guess)"),
        "{guessed}"
    );
    assert!(
        guessed.contains("warning: nothing says how the model wants its pixels"),
        "{guessed}"
    );

    // `evaluate` and `predict` of a model without metadata say so as well.
    for arguments in [
        "predict silent.onnx photos/red/00.png",
        "evaluate silent.onnx --data photos",
    ] {
        let mut command = telling();
        let told = said(command.current_dir(scene.path()).args(arguments.split(' ')));
        assert!(told.contains("nothing says how the model wants"), "{told}");
        assert!(
            told.contains("silent.onnx: images of 16 × 16 pixels"),
            "{told}"
        );
    }
}

#[test]
fn flags_that_do_nothing_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, flag) in [
        ("--views 3", "--views"),
        ("--head linear --dropout 0.3", "--dropout"),
        ("--head keep --dropout 0.3", "--dropout"),
        ("--momentum 0.5", "--momentum"),
        ("--optimizer adamw --momentum 0.5", "--momentum"),
        (
            "--strategies head --search-fraction 0 --early-stopping 2",
            "--early-stopping",
        ),
        (
            "--strategies head --search-fraction 0 --plateau-patience 2",
            "--plateau-patience",
        ),
        (
            "--strategies head --search-fraction 0 --plateau-factor 0.1",
            "--plateau-factor",
        ),
        (
            "--strategies head --search-fraction 0 --monitor loss",
            "--monitor",
        ),
        ("--strategies top4 --top 4", "--top"),
        ("--strategies head --window 2", "--window"),
        ("--strategies random5 --random 2", "--random"),
        ("--strategies all --last 2", "--last"),
        ("--device cuda --operators kernels", "--operators kernels"),
    ] {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let (model, data) = (Path::new("m.onnx"), Path::new("photos"));
        let output = tune(model, data, &folder.path().join("run"), &arguments)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(
            told.contains(&format!("{flag} does nothing here")),
            "{arguments:?}: {told}"
        );
    }
}

#[test]
fn a_strategy_that_is_nearly_one_is_suggested() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = (Path::new("m.onnx"), Path::new("photos"));
    let output = tune(
        model,
        data,
        &folder.path().join("run"),
        &["--strategies", "blok"],
    )
    .output()
    .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("did you mean `blocks`?"), "{told}");
}

#[test]
fn a_pattern_of_layers_may_have_commas_inside_of_braces() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(8);
    scene
        .tune(
            "run",
            &format!("{QUICK} --strategies select --train c{{1,3}}.w"),
        )
        .assert()
        .success();
    let results = json(&scene.at("run/results.json"));
    assert_eq!(
        results["strategies"][0]["layers"],
        json!(["conv1", "conv3"])
    );
}

#[test]
fn the_last_blocks_before_the_head_are_tuned() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(8);
    let settings = format!("{QUICK} --strategies last --last 2");
    scene.tune("run", &settings).assert().success();
    let results = json(&scene.at("run/results.json"));
    assert_eq!(results["strategies"][0]["name"], "last2");
    assert_eq!(
        results["strategies"][0]["layers"],
        json!(["conv2", "conv3"])
    );
    assert!(scene.at("run/winners/last2.onnx").is_file());
    // The same, as a share of the three blocks.
    let share = settings.replace("last --last 2", "last% --last-share 67");
    scene.tune("share", &share).assert().success();
    let results = json(&scene.at("share/results.json"));
    assert_eq!(results["strategies"][0]["name"], "last67%");
    assert!(scene.at("share/winners/last67-percent.onnx").is_file());
    assert_eq!(
        results["strategies"][0]["layers"],
        json!(["conv2", "conv3"])
    );
}

#[test]
fn flags_of_a_cluster_that_is_not_asked_for_are_refused() {
    let all = [
        (&["--slurm-tasks", "3"][..], "without --executor slurm"),
        (
            &["--slurm-options=--qos=x", "--executor=ray"],
            "without --executor slurm",
        ),
        (
            &["--executor", "slurm", "--ray-address", "auto"],
            "without --executor ray",
        ),
        (
            &["--executor", "slurm", "--slurm-options", "'a"],
            "not closed",
        ),
        (
            &["--executor", "pbs"],
            "[possible values: local, slurm, ray]",
        ),
        (
            &["--executor", "slurm", "--slurm-tasks", "0"],
            "invalid value '0'",
        ),
    ];
    for (flags, reason) in all {
        let nowhere = Path::new("nowhere");
        let mut command = tune(nowhere, nowhere, nowhere, flags);
        command.assert().code(2);
        let text = said(&mut command);
        assert!(text.contains(reason), "{flags:?}: {text}");
    }
}

#[test]
fn a_recipe_is_where_settings_begin_and_other_flags_change_it() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(8);
    let settings = "--preprocess signed --recipe fast --epochs 1 --strategies head";
    scene.tune("run", settings).assert().success();
    let settings = &json(&scene.at("run/run.json"))["configuration"];
    assert_eq!(settings["head_init"], "solved");
    assert_eq!(settings["batch_size"], 16);
    assert_eq!(settings["epochs"], 1);
    let (code, text) = crate::scene::said(scene.resume("run", &["--recipe", "paper"]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("are kept"), "{text}");
}

#[test]
fn what_a_freeze_list_freezes_stays_as_it_was_in_every_strategy() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(8);
    std::fs::write(
        scene.at("freeze.txt"),
        "# the first block, and all norms\n!c1.*\n!*.scale\n!*.bias\n",
    )
    .unwrap();
    let list = scene.at("freeze.txt");
    let settings = format!(
        "{QUICK} --head cosine --strategies full,blocks,lora1 --freeze-list {}",
        list.display()
    );
    scene.tune("run", &settings).assert().success();
    let results = json(&scene.at("run/results.json"));
    assert_eq!(
        results["strategies"][0]["layers"],
        json!(["conv2", "conv3"])
    );
    let original = Model::open(&scene.at("model.onnx")).unwrap();
    let value = |model: &Model, name: &str| {
        let mut tensors = model.graph().initializer.iter();
        let tensor = tensors.find(|t| t.name() == name).unwrap();
        model.tensor(tensor).unwrap()
    };
    for (winner, trained) in [
        ("full", &["c2.w", "c3.w"][..]),
        ("blocks", &[]),
        ("lora1", &["c2.w", "c3.w"]),
    ] {
        let tuned = Model::open(&scene.at(&format!("run/winners/{winner}.onnx"))).unwrap();
        for name in ["c1.w", "c1.scale", "c1.bias", "c2.scale", "c3.bias"] {
            assert_eq!(
                value(&tuned, name),
                value(&original, name),
                "{winner}: {name}"
            );
        }
        for name in trained {
            assert_ne!(
                value(&tuned, name),
                value(&original, name),
                "{winner}: {name}"
            );
        }
    }
    // The list is a part of the run.
    std::fs::write(&list, "!c2.*\n").unwrap();
    let again = scene.tune("run", &settings).output().unwrap();
    assert_eq!(again.status.code(), Some(2));
    for (text, said) in [
        ("!nothing.*\n", "`nothing.*` is the name of no parameter"),
        ("!c*.w\n!c*.scale\n!c*.bias\n", "freezes all of it"),
    ] {
        std::fs::write(&list, text).unwrap();
        let refused = scene.tune("other", &settings).output().unwrap();
        let told = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{told}");
        assert!(told.contains(said), "{told}");
    }
}
