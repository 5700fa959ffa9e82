//! Ray: a script in Python, which Ray is for, that hands out trials as Ray's tasks.

use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::thread::sleep;
use std::time::Duration;

use crate::run::absolute;
use crate::runtime::Runtime;
use crate::search::{Doing, Job, Watcher, collect};

use super::ClusterError;
use super::folder::Folder;

/// The script that drives Ray.
#[doc(hidden)]
pub const RAY_SCRIPT: &str = include_str!("on_ray.py");

/// A Ray cluster.
#[derive(Clone, Debug)]
pub struct Ray {
    ftsurgery: PathBuf,
    python: PathBuf,
    address: Option<String>,
    library: Option<PathBuf>,
}

impl Ray {
    /// Has Ray's tasks run the program `ftsurgery`, driven by a `python` that has Ray. The cluster is that at
    /// `address`, as `ray.init` takes it; `None`: the one that `RAY_ADDRESS` names or this machine is part of.
    pub fn new(
        ftsurgery: impl Into<PathBuf>,
        python: impl Into<PathBuf>,
        address: Option<String>,
    ) -> Self {
        Ray {
            ftsurgery: ftsurgery.into(),
            python: python.into(),
            address,
            library: None,
        }
    }

    /// Has tasks take this onnxruntime library, instead of what they find.
    #[must_use]
    pub fn library(mut self, library: Option<PathBuf>) -> Self {
        self.library = library.map(|path| absolute(&path));
        self
    }

    /// Does a whole run, until its models are there. When the watcher asks to stop, trials that are under way
    /// save themselves.
    ///
    /// # Errors
    /// As [`collect`]; [`ClusterError::Ray`] when the script fails, which says why on stderr, or was stopped.
    pub fn tune(
        &self,
        runtime: &Runtime,
        job: &Job,
        watcher: &dyn Watcher,
    ) -> Result<(), ClusterError> {
        if collect(runtime, job, watcher)?.asked.is_empty() {
            return Ok(());
        }
        let folder = Folder::of(&job.out);
        let script = folder.write("on_ray.py", RAY_SCRIPT.as_bytes())?;
        let mut command = Command::new(&self.python);
        command.arg(script).arg(&folder.root);
        command.arg("--ftsurgery").arg(&self.ftsurgery);
        if let Some(address) = &self.address {
            command.arg("--address").arg(address);
        }
        if let Some(library) = &self.library {
            command.env("ORT_DYLIB_PATH", library);
        }
        // Ctrl-C reaches it through us, once.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let started = command.spawn();
        let failed = |source| ClusterError::Start {
            program: self.python.display().to_string(),
            source,
        };
        let mut process = started.map_err(failed)?;
        watcher.doing("", Doing::Waiting, 0, 0);
        let mut asked = false;
        let status = loop {
            if let Some(status) = process.try_wait().map_err(failed)? {
                break status;
            }
            if watcher.stopped() && !asked {
                asked = true;
                let id = process.id().to_string();
                // Where there is no such command, the script goes on to its end.
                let _ = Command::new("kill").args(["-TERM", &id]).status();
            }
            sleep(Duration::from_millis(100));
        };
        match status.success() {
            true => Ok(()),
            false => Err(ClusterError::Ray {
                code: code(status),
                root: folder.root,
            }),
        }
    }
}

/// The exit code; of a signal, as shells show it.
fn code(status: ExitStatus) -> i32 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return 128 + signal;
    }
    status.code().unwrap_or(1)
}
