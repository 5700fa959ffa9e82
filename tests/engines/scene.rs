//! A model, data, runs of the binary on them, and what such runs must have in common.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{json, save_backbone, save_photos};

/// The binary.
pub const FTSURGERY: &str = env!("CARGO_BIN_EXE_ftsurgery");
/// A few trials, of which each takes some seconds and one has a node to itself.
const SETTINGS: &str = "--preprocess signed --head linear --lr 1e-3 --batch-size 4 --strategies head,blocks \
                        --search-fraction 0.4 --train-fraction 0.4 --epochs 400 \
                        --threads 2 --memory-budget 1GiB --checkpoint-every 1";

/// A folder for runs, and the right to put work on the processors: a cluster and its trials take all of
/// them, so that tests go one by one.
pub struct Scene {
    folder: TempDir,
    /// `--search-epochs`.
    epochs: u32,
    _alone: MutexGuard<'static, ()>,
}

impl Scene {
    /// With trials of some seconds, so that several are under way at once however slowly a cluster starts them.
    /// `None` where there is no onnxruntime.
    pub fn new() -> Option<Self> {
        Self::of(6.0)
    }

    /// With trials of which the longest takes about so many seconds on this machine.
    pub fn of(seconds: f64) -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        if !ftsurgery::runtime::testing::has_runtime() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        save_backbone(&folder.path().join("model.onnx"));
        save_photos(&folder.path().join("photos"), 40);
        let mut scene = Self {
            folder,
            epochs: 200,
            _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner),
        };
        succeeds(&mut scene.begin("tune", "probe"));
        let trials = std::fs::read_to_string(scene.at("probe").join("trials.jsonl")).unwrap();
        let trials = trials
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let searched = trials.filter(|trial: &Value| trial["phase"] == "search");
        let took = searched.map(|trial| trial["seconds"].as_f64().unwrap());
        let longest = took.fold(0.01, f64::max);
        scene.epochs = (f64::from(scene.epochs) * seconds / longest) as u32;
        Some(scene)
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `ftsurgery COMMAND` on the model and the photos, into `run`.
    pub fn begin(&self, command: &str, run: &str) -> Command {
        self.begin_for(self.epochs, command, run)
    }

    /// The same, with trials that do not end before somebody ends them.
    pub fn begin_endless(&self, command: &str, run: &str) -> Command {
        self.begin_for(10_000_000, command, run)
    }

    fn begin_for(&self, epochs: u32, command: &str, run: &str) -> Command {
        let mut begin = Command::new(FTSURGERY);
        begin.args(["--quiet", command]).arg(self.at("model.onnx"));
        begin.arg("--data").arg(self.at("photos"));
        begin.arg("--out").arg(self.at(run));
        begin.args(SETTINGS.split_whitespace());
        begin.args(["--search-epochs", &epochs.to_string()]);
        begin
    }

    /// Checks that `run` has come to what the same run comes to on this machine alone, which is done now.
    pub fn assert_as_here(&self, run: &str) {
        succeeds(&mut self.begin("tune", "here"));
        let [here, there] = [self.at("here"), self.at(run)];
        let mut models = 0;
        for entry in std::fs::read_dir(here.join("winners")).unwrap() {
            let name = entry.unwrap().file_name();
            let read = |run: &Path| std::fs::read(run.join("winners").join(&name)).unwrap();
            assert!(read(&here) == read(&there), "{name:?} differs");
            models += usize::from(Path::new(&name).extension().is_some_and(|e| e == "onnx"));
        }
        assert_eq!(models, 2, "a model for each strategy");
        let results = |run: &Path| timeless(json(&run.join("results.json")))["strategies"].take();
        assert_eq!(results(&here), results(&there));
    }

    /// The processes of `ftsurgery trial` of a run.
    pub fn trials(&self, run: &str) -> Vec<u32> {
        let pattern = format!("^[^ ]*ftsurgery trial {} ", self.at(run).display());
        let found = Command::new("pgrep").args(["--full", &pattern]).output();
        let text = String::from_utf8(found.unwrap().stdout).unwrap();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Waits until `count` processes are in the middle of a trial's epochs.
    pub fn await_trials(&self, run: &str, count: usize) {
        let is_under_way = |process: &u32| {
            let words = std::fs::read_to_string(format!("/proc/{process}/cmdline"));
            let words = words.unwrap_or_default();
            let ids = words.split('\0').skip(3).filter(|id| !id.is_empty());
            let mut folders = ids.map(|id| self.at(run).join("trials").join(id));
            folders.any(|folder| {
                let metrics = folder.join("metrics.jsonl").metadata();
                metrics.is_ok_and(|m| m.len() > 0) && !folder.join("reply.json").exists()
            })
        };
        await_that("trials under way", || {
            let processes = self.trials(run);
            processes.iter().filter(|p| is_under_way(p)).count() >= count
        });
    }
}

/// A command that goes on beside the test; its stderr is kept for [`end`].
pub fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits for a process; its exit code and what it said.
pub fn end(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

pub fn succeeds(command: &mut Command) {
    let (code, text) = end(start(command));
    assert_eq!(code, Some(0), "{command:?}: {text}");
}

/// Sends a signal to a process, which may have ended by itself.
pub fn send(signal: &str, process: u32) {
    let _ = Command::new("kill")
        .args([signal, &process.to_string()])
        .output();
}

/// Waits until `there` says so.
pub fn await_that(what: &str, mut there: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !there() {
        assert!(Instant::now() < deadline, "no {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A value without what the clock says.
fn timeless(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            map.remove("seconds");
            map.remove("clock");
            map.values_mut().for_each(|v| *v = timeless(v.take()));
        }
        Value::Array(list) => list.iter_mut().for_each(|v| *v = timeless(v.take())),
        _ => {}
    }
    value
}
