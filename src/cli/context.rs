use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::report::{Plain, plain_message};
use crate::runtime::{Runtime, RuntimeError, install, locate, locate::Found};
use tracing_subscriber::EnvFilter;

use super::host::{Host, Hosted, Output};
use super::{CliError, GlobalArgs, signals};

/// What every subcommand is given besides its own arguments.
pub struct Context {
    global: GlobalArgs,
    program: PathBuf,
    words: Vec<OsString>,
    hosted: Option<Hosted>,
}

impl Context {
    pub(super) fn new(global: GlobalArgs, program: PathBuf, words: Vec<OsString>) -> Self {
        Self {
            global,
            program,
            words,
            hosted: None,
        }
    }

    /// The same, for another program.
    pub(super) fn hosted(mut self, hosted: Hosted) -> Self {
        self.hosted = Some(hosted);
        self
    }

    /// The program that has this command done, if it is no process of its own.
    pub fn host(&self) -> Option<Arc<dyn Host>> {
        self.hosted.as_ref().map(|hosted| hosted.host.clone())
    }

    /// Whether a stop is asked for, by a signal or by the host.
    pub fn stopped(&self) -> bool {
        match &self.hosted {
            None => signals::asked(),
            Some(hosted) => hosted.host.stopped(),
        }
    }

    /// The program that this command is, for other processes to start.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The words of the command, its name first.
    pub fn words(&self) -> &[OsString] {
        &self.words
    }

    /// The onnxruntime library of [`Context::find_runtime`], loaded.
    pub fn runtime(&self) -> Result<Runtime, CliError> {
        let found = self.find_runtime()?;
        tracing::info!(path = %found.located.path.display(), origin = %found.located.origin, "onnxruntime");
        Ok(Runtime::load(&found.located)?)
    }

    /// The onnxruntime library that the flags and the environment lead to; when there is none and
    /// `--install-runtime` allows, it is installed.
    pub fn find_runtime(&self) -> Result<Found, CliError> {
        Ok(self.locate_runtime()?)
    }

    /// As [`Context::find_runtime`].
    pub fn locate_runtime(&self) -> Result<Found, RuntimeError> {
        let explicit = self.global.runtime.as_deref();
        match locate::locate(explicit) {
            Err(RuntimeError::NotFound(_)) if self.global.install_runtime => {
                install::install(None, false, &mut |step| self.note(step))?;
                locate::locate(explicit)
            }
            found => found,
        }
    }

    /// The onnxruntime library that the flags name.
    pub fn explicit_runtime(&self) -> Option<PathBuf> {
        self.global.runtime.clone()
    }

    /// Where results go. Write with `writeln!(…)?`, not `println!`, which panics when the reader
    /// closes the pipe.
    ///
    /// What a terminal obeys is written out there: names may hold it.
    pub fn stdout(&self) -> Plain<Output> {
        Plain::new(match &self.hosted {
            None => Output::Stdout(io::stdout().lock()),
            Some(hosted) => Output::Hosted(hosted.printed.clone()),
        })
    }

    /// Whether results go to a terminal.
    pub fn is_terminal(&self) -> bool {
        self.hosted.is_none() && io::stdout().is_terminal()
    }

    /// Tells the user something in passing, on stderr, unless `--quiet`.
    pub fn note(&self, text: &str) {
        self.noting()(text);
    }

    /// Tells an error that does not end the command.
    pub fn tell(&self, error: &CliError) {
        match &self.hosted {
            None => {
                let _ = write!(io::stderr(), "{error}");
            }
            Some(hosted) => hosted.host.note(error.to_string().trim_end()),
        }
    }

    /// What [`Context::note`] does, for another thread.
    pub fn noting(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let quiet = self.global.quiet;
        let host = self.host();
        move |text| {
            if let Some(host) = &host {
                host.note(text);
            } else if !quiet {
                // Nobody is left to tell when stderr is closed.
                let _ = writeln!(io::stderr(), "{}", plain_message(text));
            }
        }
    }

    /// Whether all is to be told, however much it is.
    pub fn is_verbose(&self) -> bool {
        self.global.verbose > 0
    }

    /// Whether only results and errors are asked for.
    pub fn is_quiet(&self) -> bool {
        self.global.quiet
    }

    /// Whether to draw progress bars: stderr is a terminal and not `--quiet`.
    pub fn shows_progress(&self) -> bool {
        self.hosted.is_none() && !self.global.quiet && io::stderr().is_terminal()
    }
}

/// Sends log lines to stderr: warnings, or as much as `--verbose` or `FTSURGERY_LOG` (in the syntax
/// of `RUST_LOG`) ask for.
pub(super) fn start_log(quiet: bool, verbose: u8) {
    let default = match (quiet, verbose) {
        (true, _) => "error",
        (_, 0) => "warn,tract_onnx=error",
        (_, 1) => "warn,ftsurgery=debug",
        (_, 2) => "warn,ftsurgery=trace,onnxruntime=debug",
        _ => "trace",
    };
    let filter =
        EnvFilter::try_from_env("FTSURGERY_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // Another program may have its own.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .without_time()
        .try_init();
}
