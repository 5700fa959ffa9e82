//! The folder of a run. An input holds its files, each behind a line `==> NAME`.
#![no_main]

use std::path::Path;

use ftsurgery::data::SplitFile;
use ftsurgery::run::{Begin, RunDir, RunFiles};
use ftsurgery::training::Monitor;
use libfuzzer_sys::fuzz_target;

/// The only names that are written, so that nothing lands outside the folder.
const NAMES: [&str; 6] = [
    "run.json",
    "trials.jsonl",
    "results.json",
    "split.json",
    "study.json",
    "trials/a/metrics.jsonl",
];

fuzz_target!(init: ftsurgery_fuzz::only_escaping_panics(), |data: &[u8]| {
    ftsurgery_fuzz::with_folder(|root| {
        if std::fs::create_dir_all(root.join("trials/a")).is_err() {
            return;
        }
        write(root, data);
        if let Ok(files) = RunFiles::read(root) {
            for trial in &files.trials {
                let _ = files.metrics_of(&trial.id);
            }
            let _ = ftsurgery::run::ranked(&files.trials, Monitor::Accuracy);
        }
        let _ = SplitFile::read(&root.join("split.json"));
        if let Ok(run) = RunDir::take(root, Begin::Resume) {
            let _ = (run.read_results(), run.read_trials());
        }
    });
});

fn write(root: &Path, data: &[u8]) {
    let mut rest = data;
    while let Some(at) = find(rest, b"==> ") {
        rest = &rest[at + 4..];
        let line = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let name = NAMES.iter().find(|name| name.as_bytes() == &rest[..line]);
        let content = &rest[(line + 1).min(rest.len())..];
        let end = find(content, b"==> ").unwrap_or(content.len());
        if let Some(name) = name {
            let _ = std::fs::write(root.join(name), &content[..end]);
        }
        rest = &content[end..];
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what)
}
