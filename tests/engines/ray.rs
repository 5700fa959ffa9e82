//! `tune --executor ray` on a Ray cluster of two nodes (`ray_cluster.py`).

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use ftsurgery::testing;
use serde_json::Value;

use crate::scene::*;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engines/ray_cluster.py");
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cluster/on_ray.py");

/// A Ray cluster, until it is dropped.
struct Ray {
    python: PathBuf,
    address: String,
    process: Child,
    stdin: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Ray {
    /// `None` where Python has no Ray, or it does not start.
    fn new() -> Option<Self> {
        let Some(python) = testing::python(&["ray.cluster_utils"]) else {
            testing::skip(
                "ray",
                "no Python that imports it; FTSURGERY_PYTHON names one",
            );
            return None;
        };
        let mut command = Command::new(&python);
        command.arg(SCRIPT).stderr(Stdio::null());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let stdin = process.stdin.take();
        let mut answers = BufReader::new(process.stdout.take().unwrap()).lines();
        let Some(address) = answers.next() else {
            let _ = process.wait();
            testing::skip("ray", "the cluster does not start");
            return None;
        };
        let address = address.unwrap();
        Some(Self {
            python,
            address,
            process,
            stdin,
            answers,
        })
    }

    /// Has the script carry out a line.
    fn ask(&mut self, line: &str) -> Value {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
        serde_json::from_str(&self.answers.next().unwrap().unwrap()).unwrap()
    }

    /// `command`, where this cluster is the one it finds.
    fn here<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("RAY_ADDRESS", &self.address);
        command.env("FTSURGERY_PYTHON", &self.python)
    }
}

impl Drop for Ray {
    fn drop(&mut self) {
        self.stdin.take(); // its end
        let _ = self.process.wait();
    }
}

#[test]
fn a_run_on_ray_survives_a_node_and_shows_its_trials_by_name() {
    let Some(scene) = Scene::new() else { return };
    let Some(mut ray) = Ray::new() else { return };
    let mut tune = scene.begin("tune", "run");
    let front = start(ray.here(tune.args(["--executor", "ray"])));
    scene.await_trials("run", 2);
    let mut node = None;
    // Ray tells where a task runs some time after it began.
    await_that("trial that Ray shows with its node", || {
        let running = ray.ask("running");
        node = running.as_array().unwrap().iter().find_map(|task| {
            let (name, node) = (task[0].as_str()?, task[1].as_str()?);
            name.starts_with("blocks-").then(|| node.to_owned())
        });
        node.is_some()
    });
    ray.ask(&format!("kill {}", node.unwrap()));
    let (code, text) = end(front);
    assert_eq!(code, Some(0), "{text}");
    scene.assert_as_here("run");
}

#[test]
fn trials_on_ray_save_themselves_at_ctrl_c_and_go_on_after_a_kill() {
    let Some(scene) = Scene::new() else { return };
    let Some(ray) = Ray::new() else { return };
    let module = |run: &str| {
        let mut module = Command::new(&ray.python);
        module.arg(MODULE).arg(scene.at(run));
        module.args(["--ftsurgery", FTSURGERY, "--trials-per-task", "2"]);
        ray.here(&mut module);
        module
    };
    let stop = |run: &str| {
        let front = start(&mut module(run));
        scene.await_trials(run, 1);
        send("-INT", front.id());
        let (code, text) = end(front);
        assert_eq!(code, Some(130), "{text}");
        assert!(scene.trials(run).is_empty(), "{text}");
        text
    };
    // Ray takes as long as it likes to cancel a task.
    succeeds(&mut scene.begin_endless("plan", "endless"));
    let text = stop("endless");
    let saved = walkdir::WalkDir::new(scene.at("endless").join("trials"));
    let mut saved = saved.into_iter().map(|e| e.unwrap().file_name().to_owned());
    assert!(saved.any(|name| name == "checkpoint.safetensors"), "{text}");

    succeeds(&mut scene.begin("plan", "run"));
    stop("run");
    let front = start(&mut module("run"));
    scene.await_trials("run", 1);
    if let Some(&trial) = scene.trials("run").first() {
        send("-KILL", trial);
    }
    let (code, text) = end(front);
    assert_eq!(code, Some(0), "{text}");
    scene.assert_as_here("run");
}
