//! Errors of clusters.

use std::path::PathBuf;

use crate::run::RunError;
use crate::search::SearchError;

/// What can go wrong with a cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// A program cannot be started.
    #[error("cannot run `{program}`")]
    Start {
        /// Its name or path.
        program: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// A program of the cluster has refused.
    #[error("`{program}` failed: {said}")]
    Refused {
        /// Its name.
        program: &'static str,
        /// What it said.
        said: String,
    },
    /// Trials were submitted again and again, and have not ended.
    #[error(
        "{} {} submitted {times} times and did not end; see {}",
        trials.join(", "),
        if trials.len() == 1 { "was" } else { "were" },
        outputs.display()
    )]
    GivenUp {
        /// The trials.
        trials: Vec<String>,
        /// How often.
        times: usize,
        /// The folder with what their jobs said.
        outputs: PathBuf,
    },
    /// Somebody has cancelled jobs of the run.
    #[error("jobs of the run were cancelled, so that nothing more is submitted")]
    Cancelled {
        /// The run's folder.
        root: PathBuf,
    },
    /// The job behind an array has ended, and neither submitted more nor ended the run.
    #[error("the job that ranks the trials has failed; {} ends with: {tail}", output.display())]
    Broken {
        /// The run's folder.
        root: PathBuf,
        /// What the job has said.
        output: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The watcher asked to stop; the cluster goes on.
    #[error("stopped watching; the run goes on")]
    Detached {
        /// The run's folder.
        root: PathBuf,
        /// The jobs under way.
        jobs: Vec<String>,
    },
    /// The run was not begun with this cluster.
    #[error("{} was not begun with --executor slurm", root.display())]
    NotBegun {
        /// The run's folder.
        root: PathBuf,
    },
    /// The script that drives Ray has ended without ending the run.
    #[error("the run on Ray ended with exit code {code}")]
    Ray {
        /// The exit code; of a signal 128 and its number.
        code: i32,
        /// The run's folder.
        root: PathBuf,
    },
    /// The run's folder is at fault.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The run itself is.
    #[error(transparent)]
    Search(#[from] SearchError),
}

impl ClusterError {
    /// Whether the user's input, rather than a machine, is at fault.
    pub fn is_bad_input(&self) -> bool {
        match self {
            ClusterError::NotBegun { .. } => true,
            ClusterError::Run(e) => e.is_bad_input(),
            ClusterError::Search(e) => e.is_bad_input(),
            _ => false,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let resume = |root: &PathBuf, executor: &str| {
            let root = root.display();
            format!("`ftsurgery tune --resume {root} --executor {executor}`")
        };
        match self {
            ClusterError::Start { program, .. } if program == "sbatch" || program == "squeue" => {
                Some("--executor slurm is for a machine from which jobs are submitted".to_owned())
            }
            ClusterError::GivenUp { .. } => {
                Some("`tune --resume` with the same --executor tries again".to_owned())
            }
            ClusterError::Cancelled { root } | ClusterError::Broken { root, .. } => {
                Some(format!("{} goes on", resume(root, "slurm")))
            }
            ClusterError::Ray { root, .. } => Some(format!("{} goes on", resume(root, "ray"))),
            ClusterError::Detached { root, jobs } => Some(format!(
                "{} attaches again, `scancel {}` stops it",
                resume(root, "slurm"),
                jobs.join(" ")
            )),
            ClusterError::Run(e) => e.hint().map(str::to_owned),
            ClusterError::Search(e) => e.hint().map(str::to_owned),
            _ => None,
        }
    }
}
