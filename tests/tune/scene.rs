//! A model and photos, runs of the binary on them, and what two runs must have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::*;

/// A folder with a model, `model.onnx`, and photos for it.
pub struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    /// With enough photos for every part of a search: 12 of each class.
    pub fn new() -> Self {
        Self::of(12)
    }

    /// With `each` photos of each class.
    pub fn of(each: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        save_backbone(&folder.path().join("model.onnx"));
        save_photos(&folder.path().join("photos"), each);
        Scene { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `tune` of the model on the photos, to the folder `run`.
    pub fn tune(&self, run: &str, settings: &str) -> assert_cmd::Command {
        self.tune_on("photos", run, settings)
    }

    /// As [`Scene::tune`], on other data.
    pub fn tune_on(&self, data: &str, run: &str, settings: &str) -> assert_cmd::Command {
        let settings: Vec<&str> = settings.split_whitespace().collect();
        tune(
            &self.at("model.onnx"),
            &self.at(data),
            &self.at(run),
            &settings,
        )
    }

    /// Does the run `whole`, which nothing disturbs, and says how long it took.
    pub fn whole(&self, settings: &str) -> Duration {
        let start = Instant::now();
        succeeds(self.start("whole", settings));
        start.elapsed()
    }

    /// As [`Scene::tune`], in a process that goes on beside the test.
    pub fn start(&self, run: &str, settings: &str) -> Child {
        let mut command = process();
        command.arg(self.at("model.onnx")).arg("--data");
        command
            .arg(self.at("photos"))
            .arg("--out")
            .arg(self.at(run));
        let settings: Vec<&str> = settings.split_whitespace().collect();
        command.args(laborious(&settings)).spawn().unwrap()
    }

    pub fn resume(&self, run: &str, arguments: &[&str]) -> Child {
        let mut command = process();
        command.arg("--resume").arg(self.at(run)).args(arguments);
        command.spawn().unwrap()
    }

    /// What is told while `run` goes on to its end.
    pub fn resume_telling(&self, run: &str) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
        command.args(["tune", "--resume"]).arg(self.at(run));
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        text
    }
}

pub fn process() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    command.args(["--quiet", "tune"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

pub fn said(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

pub fn succeeds(child: Child) {
    let (code, text) = said(child);
    assert_eq!(code, Some(0), "{text}");
}

/// Waits until `there` says so.
pub fn wait(what: &str, there: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !there() {
        assert!(Instant::now() < deadline, "no {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a signal (`-STOP`) to a process, which may have ended by itself.
#[cfg(unix)]
pub fn send(child: &Child, signal: &str) {
    let id = child.id().to_string();
    // It may have ended by itself.
    let _ = Command::new("kill").args([signal, &id]).output();
}

/// Random numbers from 0 to 1, the same in every test.
pub fn shares() -> impl FnMut() -> f64 {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    move || random.random()
}

/// A value without what the clock says.
pub fn timeless(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            map.remove("seconds");
            map.remove("clock");
            for entry in map.values_mut() {
                *entry = timeless(entry.take());
            }
        }
        Value::Array(list) => {
            for entry in list {
                *entry = timeless(entry.take());
            }
        }
        _ => {}
    }
    value
}

pub fn trials(run: &Path) -> BTreeMap<String, Value> {
    let lines = lines(&run.join("trials.jsonl")).into_iter().map(timeless);
    lines
        .map(|t| (t["id"].as_str().unwrap().to_owned(), t))
        .collect()
}

/// Every file below `root`, relative to it.
pub fn files(root: &Path) -> Vec<String> {
    let mut list: Vec<String> = walkdir::WalkDir::new(root)
        .into_iter()
        .map(Result::unwrap)
        .filter(|e| e.file_type().is_file())
        .map(|e| e.path().strip_prefix(root).unwrap().display().to_string())
        .collect();
    list.sort();
    list
}

pub fn assert_same_outcome(whole: &Path, broken: &Path) {
    let [all, found] = [whole, broken].map(|root| BTreeSet::from_iter(files(root)));
    let without = |a: &BTreeSet<String>, b: &BTreeSet<String>| -> Vec<String> {
        a.difference(b).cloned().collect()
    };
    let differences = [without(&all, &found), without(&found, &all)];
    let same = differences.iter().all(Vec::is_empty);
    assert!(same, "missing and too many: {differences:?}");
    for file in files(whole) {
        let read = |root: &Path| std::fs::read(root.join(&file)).unwrap();
        if file.starts_with("winners") || file == "split.json" {
            assert!(read(whole) == read(broken), "{file} differs");
        }
        if file.ends_with("metrics.jsonl") {
            let metrics = |root: &Path| -> Vec<Value> {
                lines(&root.join(&file)).into_iter().map(timeless).collect()
            };
            assert_eq!(metrics(whole), metrics(broken), "{file}");
        }
    }
    let results = |root: &Path| timeless(json(&root.join("results.json")));
    assert_eq!(results(whole), results(broken));
    assert_eq!(trials(whole), trials(broken));
}
