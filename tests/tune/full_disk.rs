//! A disk that fills up: a small file system in memory, mounted where only this test sees it.

use std::path::Path;
use std::process::{Command, Output};

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
            eprintln!("skipped: a file system cannot be mounted here");
            None
        }
    }
}

#[test]
fn a_full_disk_is_an_error_that_leaves_no_half_written_file() {
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    save_backbone(&at("model.onnx"));
    save_photos(&at("photos"), 6);
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
            let temporary = !["onnx", "json", "jsonl", "safetensors"]
                .iter()
                .any(|end| file.ends_with(end));
            assert!(!temporary, "{kib} KiB: {file} is left over");
        }
        for model in files.lines().filter(|f| f.ends_with(".onnx")) {
            assert!(said.contains("full"), "{model} is there, but {said}");
        }
    }
    assert!(stopped >= 2, "the disks were all large enough");
}
