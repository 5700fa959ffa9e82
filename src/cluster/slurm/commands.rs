//! The commands of Slurm.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use crate::cluster::ClusterError;

/// States of a job that is over; all others are of one that is not.
const OVER: [&str; 9] = [
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "TIMEOUT",
];

/// Submits a job with these words; its number. It takes this onnxruntime `library`, if given.
pub(super) fn submit(words: &[OsString], library: Option<&Path>) -> Result<String, ClusterError> {
    let mut command = Command::new("sbatch");
    if let Some(library) = library {
        command.env("ORT_DYLIB_PATH", library);
    }
    let said = ask("sbatch", command.args(words))?;
    // `30;cluster` where there are several clusters.
    let number = said.split(';').next().unwrap_or_default();
    Ok(number.to_owned())
}

/// What `squeue` knows.
pub(super) struct Queue;

impl Queue {
    /// The number of a job with this name that is not over.
    pub fn find(name: &str) -> Result<Option<String>, ClusterError> {
        let name = format!("--name={name}");
        // The number of an array, which all its tasks have, a line for each.
        let words = ["--noheader", "--me", &name, "--format=%F"];
        let said = ask("squeue", Command::new("squeue").args(words))?;
        Ok(said.lines().next().map(|line| line.trim().to_owned()))
    }

    /// The state of a job, or of each task of an array; none where Slurm has forgotten it, as it does some
    /// minutes after its end.
    pub fn states(job: &str) -> Result<Vec<State>, ClusterError> {
        let jobs = format!("--jobs={job}");
        let words = [
            "--noheader",
            "--states=all",
            "--array",
            &jobs,
            "--format=%T",
        ];
        match ask("squeue", Command::new("squeue").args(words)) {
            Ok(said) => Ok(said.lines().map(|l| State(l.trim().to_owned())).collect()),
            Err(ClusterError::Refused { said, .. }) if said.contains("Invalid job id") => {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }
}

/// The state of a job, as Slurm writes it.
#[derive(Debug)]
pub(super) struct State(String);

impl State {
    pub fn is_under_way(&self) -> bool {
        !OVER.contains(&self.0.as_str())
    }

    /// Whether somebody has ended it.
    pub fn is_cancelled(&self) -> bool {
        self.0 == "CANCELLED"
    }
}

/// What a command of Slurm prints.
fn ask(program: &'static str, command: &mut Command) -> Result<String, ClusterError> {
    // Within a job, what that job was given is not what the next one asks for.
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"SLURM_") && name != "SLURM_CONF" {
            command.env_remove(name);
        }
    }
    let output = command.output().map_err(|source| ClusterError::Start {
        program: program.to_owned(),
        source,
    })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(ClusterError::Refused {
            program,
            said: text(&output.stderr),
        }),
    }
}
