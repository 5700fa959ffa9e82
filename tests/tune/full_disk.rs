//! A disk that fills up: a small file system in memory, mounted where only this test sees it.

use std::path::Path;
use std::process::{Command, Output};

use crate::scene::*;
use crate::support::*;

/// Runs `script` with a file system of `kib` KiB at `disk`; `None` where that is not allowed.
fn with_disk(disk: &Path, kib: usize, script: &str) -> Option<Output> {
    let mounted = format!("mount -t tmpfs -o size={kib}k tmpfs '{}'", disk.display());
    let run = |script: &str| {
        Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", script])
            .output()
    };
    match run(&mounted) {
        Ok(output) if output.status.success() => {
            Some(run(&format!("{mounted} && {script}")).unwrap())
        }
        _ => {
            ftsurgery::testing::skip("mount", "a file system cannot be mounted here");
            None
        }
    }
}

#[test]
fn a_full_disk_is_an_error_that_leaves_no_half_written_file() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(6);
    let at = |name: &str| scene.at(name);
    std::fs::create_dir(at("disk")).unwrap();
    let whole = std::fs::metadata(at("model.onnx")).unwrap().len() / 1024;
    let script = |out: &str| {
        format!(
            "'{binary}' --quiet tune '{model}' --data '{data}' --out '{out}' --strategies head,full \
             --preprocess signed --epochs 1 --search-fraction 0.4 --train-fraction 0.4; \
             code=$?; find '{out}' -type f -size +0 | sort; exit $code",
            binary = env!("CARGO_BIN_EXE_ftsurgery"),
            model = at("model.onnx").display(),
            data = at("photos").display(),
        )
    };
    let out = at("disk").join("run");
    let text = script(&out.display().to_string());
    // From a disk that takes nothing to one that takes the records and not the models.
    let mut stopped = 0;
    for kib in [4, 12, 24, 24 + whole as usize] {
        let Some(output) = with_disk(&at("disk"), kib, &text) else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        let files = String::from_utf8_lossy(&output.stdout);
        if output.status.success() {
            continue;
        }
        stopped += 1;
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("No space left"), "{kib} KiB: {said}");
        assert!(!said.contains("panicked"), "{said}");
        for file in files.lines() {
            let temporary = ![
                "onnx",
                "json",
                "jsonl",
                "toml",
                "safetensors",
                "predictions.csv",
            ]
            .iter()
            .any(|end| file.ends_with(end));
            assert!(!temporary, "{kib} KiB: {file} is left over");
            // What a model predicts is there only beside it.
            if let Some(winner) = file.strip_suffix(".predictions.csv") {
                let model = format!("{winner}.onnx");
                assert!(files.lines().any(|f| f == model), "{kib} KiB: {file}");
            }
        }
        for model in files.lines().filter(|f| f.ends_with(".onnx")) {
            assert!(said.contains("full"), "{model} is there, but {said}");
        }
    }
    assert!(stopped >= 2, "the disks were all large enough");
}

#[test]
fn a_run_whose_disk_was_full_goes_on_when_there_is_room() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let at = |name: &str| scene.at(name);
    std::fs::create_dir(at("disk")).unwrap();
    let settings = format!("{QUICK} --strategies head,blocks --checkpoint-every 0 --log-steps");
    scene.tune("whole", &settings).assert().success();
    let disk = at("disk");
    let (mut full, mut most) = (0, 0);
    for kib in [40, 400, 450, 500, 550, 600] {
        let binary = format!("'{}' --quiet tune", env!("CARGO_BIN_EXE_ftsurgery"));
        let script = format!(
            "{binary} '{model}' --data '{data}' --out '{disk}/run' {settings}; echo code $?; \
             ls '{disk}/run/trials' | wc -l; \
             mount -o remount,size=8m '{disk}' && {binary} --resume '{disk}/run' && \
             cp '{disk}'/run/winners/*.onnx '{disk}/run/split.json' '{kept}'",
            settings = laborious(&settings.split_whitespace().collect::<Vec<_>>()).join(" "),
            model = at("model.onnx").display(),
            data = at("photos").display(),
            disk = disk.display(),
            kept = at("kept").display(),
        );
        let _ = std::fs::remove_dir_all(at("kept"));
        std::fs::create_dir(at("kept")).unwrap();
        let Some(output) = with_disk(&disk, kib, &script) else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        // Behind the table of a run that has ended.
        let mut said = said.lines().skip_while(|line| !line.starts_with("code "));
        if said.next() == Some("code 0") {
            continue;
        }
        full += 1;
        most = most.max(said.next().unwrap().trim().parse().unwrap());
        assert!(error.contains("No space left"), "{kib} KiB: {error}");
        assert!(output.status.success(), "{kib} KiB: {error}");
        for file in ["head.onnx", "blocks.onnx", "split.json"] {
            let of_whole = match file {
                "split.json" => at("whole/split.json"),
                model => at("whole/winners").join(model),
            };
            let same =
                std::fs::read(of_whole).unwrap() == std::fs::read(at("kept").join(file)).unwrap();
            assert!(same, "{kib} KiB: {file} differs");
        }
    }
    assert!(
        full >= 1 && most >= 2,
        "{full} disks were full, after {most} trials at most"
    );
}

#[test]
fn a_file_beyond_the_limit_of_its_size_is_an_error_that_names_it() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let run = |arguments: &str| {
        let mut command = Command::new("sh");
        // 1 or 2 KiB: less than the model and more than what is said.
        command.args(["-c", r#"ulimit -f 2; exec "$0" "$@""#]);
        command.arg(env!("CARGO_BIN_EXE_ftsurgery"));
        command.current_dir(scene.path());
        command.args(arguments.split(' ')).output().unwrap()
    };
    for arguments in [
        "-q differentiate model.onnx --out step.onnx",
        "-q tune model.onnx --data photos --out run --preprocess signed --strategies head",
    ] {
        let output = run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments}: {said}");
        assert!(said.contains("too large"), "{arguments}: {said}");
    }
    assert!(!scene.at("step.onnx").exists());
    let left = files(scene.path());
    assert!(!left.iter().any(|f| f.contains(".ftsurgery-")), "{left:?}");
}
