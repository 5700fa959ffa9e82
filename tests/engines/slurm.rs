//! `tune --executor slurm` on a Slurm of two nodes (`slurm.sh`).

use std::path::{Path, PathBuf};
use std::process::Command;

use ftsurgery::testing;
use tempfile::TempDir;

use crate::scene::*;
use crate::support::json;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engines/slurm.sh");

/// Slurm, until it is dropped.
struct Slurm(TempDir);

impl Slurm {
    /// `None` where it is not installed, or does not start.
    fn new() -> Option<Self> {
        let found = |program: &str| {
            let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
            std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
        };
        let needed = ["munged", "slurmctld", "slurmd", "sbatch"];
        if let Some(missing) = needed.iter().find(|program| !found(program)) {
            testing::skip("slurm", format_args!("there is no {missing}"));
            return None;
        }
        let slurm = Self(tempfile::tempdir().unwrap());
        if let Err(why) = slurm.engine("start", &[]) {
            testing::skip("slurm", format_args!("it does not start: {why}"));
            return None;
        }
        Some(slurm)
    }

    /// `slurm.sh COMMAND`; the error is what it says.
    fn engine(&self, command: &str, arguments: &[&str]) -> Result<(), String> {
        let mut script = Command::new(SCRIPT);
        script.arg(command).arg(self.0.path()).args(arguments);
        let output = script.output().unwrap();
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// `command`, where this Slurm is the one it finds.
    fn here<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("SLURM_CONF", self.0.path().join("slurm.conf"))
    }

    /// What a command of Slurm prints.
    fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        let output = self.here(command.args(arguments)).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {text}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The jobs that run, each task of an array as `ARRAY_TASK`: the number alone may stand for all of them.
    fn running(&self) -> Vec<String> {
        let jobs = self.ask("squeue", &["--noheader", "--states=running", "--format=%i"]);
        jobs.lines().map(str::to_owned).collect()
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        let _ = Command::new(SCRIPT).arg("stop").arg(self.0.path()).status();
    }
}

/// `tune --executor slurm` to `run`.
fn tune(scene: &Scene, slurm: &Slurm, run: &str) -> Command {
    let mut tune = scene.begin("tune", run);
    tune.args(["--executor", "slurm", "--slurm-tasks", "3"]);
    slurm.here(&mut tune);
    tune
}

/// `tune --resume RUN --executor slurm`.
fn resume(scene: &Scene, slurm: &Slurm, run: &str) -> Command {
    let mut tune = Command::new(FTSURGERY);
    tune.args(["--quiet", "tune", "--resume"])
        .arg(scene.at(run));
    tune.args(["--executor", "slurm"]);
    slurm.here(&mut tune);
    tune
}

/// What the jobs of a run have written.
fn said(run: &Path) -> String {
    let mut files: Vec<PathBuf> = std::fs::read_dir(run.join("cluster"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "out"))
        .collect();
    files.sort();
    let texts = files.iter().map(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        format!("{}:\n{text}", path.file_name().unwrap().display())
    });
    texts.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_trial_that_is_killed_on_slurm_is_submitted_again() {
    let Some(scene) = Scene::new() else { return };
    let Some(slurm) = Slurm::new() else { return };
    let front = start(&mut tune(&scene, &slurm, "run"));
    scene.await_trials("run", 2);
    send("-KILL", scene.trials("run")[0]);
    let (code, text) = end(front);
    let said = said(&scene.at("run"));
    assert_eq!(code, Some(0), "{text}\n{said}");
    assert!(said.contains("exit code 137"), "{said}");
    scene.assert_as_here("run");
}

#[test]
fn tasks_that_slurm_preempts_or_whose_time_is_up_go_on_from_where_they_were() {
    // Preemption takes its time.
    let Some(scene) = Scene::of(15.0) else { return };
    let Some(slurm) = Slurm::new() else { return };
    let front = start(&mut tune(&scene, &slurm, "run"));
    scene.await_trials("run", 2);
    // What `--signal=B:USR1@60` does 60 s before the time limit.
    for job in slurm.running() {
        slurm.ask("scancel", &["--batch", "--signal=USR1", &job]);
    }
    await_that("requeued tasks", || scene.trials("run").is_empty());
    scene.await_trials("run", 1);
    let urgent = [
        "--partition=high",
        "--nodes=2",
        "--exclusive",
        "--output=/dev/null",
    ];
    slurm.ask("sbatch", &[&urgent[..], &["--wrap=true"]].concat());
    let (code, text) = end(front);
    let said = said(&scene.at("run"));
    assert_eq!(code, Some(0), "{text}\n{said}");
    for line in [
        "exit code 138",
        "requeued",
        "DUE TO PREEMPTION",
        "exit code 143",
        "attempt 3",
    ] {
        assert!(said.contains(line), "no {line}: {said}");
    }
    scene.assert_as_here("run");
}

#[test]
fn a_run_on_slurm_outlives_its_front_and_a_node() {
    let Some(scene) = Scene::new() else { return };
    let Some(slurm) = Slurm::new() else { return };
    let mut front = start(&mut tune(&scene, &slurm, "run"));
    scene.await_trials("run", 2);
    front.kill().unwrap();
    front.wait().unwrap();
    slurm.engine("kill", &["n1"]).unwrap();
    let (code, text) = end(start(&mut resume(&scene, &slurm, "run")));
    let said = said(&scene.at("run"));
    assert_eq!(code, Some(0), "{text}\n{said}");
    assert!(said.contains("attempt 2"), "{said}");
    scene.assert_as_here("run");
}

#[test]
fn a_run_that_is_cancelled_on_slurm_stays_so_until_it_is_resumed() {
    let Some(scene) = Scene::new() else { return };
    let Some(slurm) = Slurm::new() else { return };
    let front = start(&mut tune(&scene, &slurm, "run"));
    scene.await_trials("run", 1);
    for job in slurm.running() {
        slurm.ask("scancel", &[&job]);
    }
    let (code, text) = end(front);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("cancelled"), "{text}");
    assert_eq!(slurm.ask("squeue", &["--noheader"]), "");
    succeeds(&mut resume(&scene, &slurm, "run"));
    let settings = json(&scene.at("run/cluster/settings.json"));
    assert_eq!(settings["tasks"], 3, "as the run began");
    scene.assert_as_here("run");
}
