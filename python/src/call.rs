//! A subcommand as a function.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ftsurgery::cli::{self, Failure, Host};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::listener::Listener;

/// How long Ctrl-C may wait to be heard.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// As much as the main thread of a program has: models of strangers nest deeply.
const STACK: usize = 8 << 20;

/// What the thread that works sends to the one that waits.
pub enum Message {
    /// Something was heard of its progress, in JSON.
    Event(String),
    /// It has come to its end.
    End(Result<Vec<u8>, Failure>),
}

/// Does what a subcommand does, by its words without the name of the command; gives what it prints. `program` is what others
/// start to run the command. `on_event` is called with
/// what is heard meanwhile, by this thread.
///
/// Ctrl-C, and whatever `on_event` raises, asks the work to stop; it is raised when that has come to an end, or is raised again.
///
/// # Errors
/// `ValueError` where the command ends with exit code 2, `RuntimeError` where it ends with another but 0.
#[pyfunction]
pub fn call(
    py: Python<'_>,
    program: PathBuf,
    words: Vec<OsString>,
    on_event: Option<Bound<'_, PyAny>>,
) -> PyResult<Vec<u8>> {
    let (to, from) = channel();
    // For the closure that waits without Python's lock.
    let from = Mutex::new(from);
    let listener = Arc::new(Listener::new(to.clone()));
    let host: Arc<dyn Host> = listener.clone();
    thread::Builder::new()
        .name("ftsurgery".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            let work = AssertUnwindSafe(|| cli::call(program, words, host));
            let ended = catch_unwind(work).unwrap_or_else(|_| Err(Failure::panicked()));
            let _ = to.send(Message::End(ended));
        })?;
    let mut raised: Option<PyErr> = None;
    loop {
        let next = py.detach(|| {
            let from = from.lock().unwrap_or_else(|e| e.into_inner());
            from.recv_timeout(LOOK_EVERY)
        });
        let heard = match next {
            Ok(Message::End(ended)) => {
                return match raised {
                    Some(raised) => Err(raised),
                    None => ended.map_err(|failure| error(py, failure)),
                };
            }
            Ok(Message::Event(event)) if raised.is_none() => match &on_event {
                Some(on_event) => on_event.call1((event,)).map(|_| ()),
                None => Ok(()),
            },
            Ok(Message::Event(_)) | Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(error(py, Failure::panicked())),
        };
        if let Err(now) = heard.and_then(|()| py.check_signals()) {
            listener.stop();
            if raised.replace(now.clone_ref(py)).is_some() {
                return Err(now);
            }
        }
    }
}

/// The exception of a failure; its attribute `printed` is what was printed before.
fn error(py: Python<'_>, failure: Failure) -> PyErr {
    let error = match failure.is_bad_input {
        true => PyValueError::new_err(failure.text),
        false => PyRuntimeError::new_err(failure.text),
    };
    match error.value(py).setattr("printed", failure.printed) {
        Ok(()) => error,
        Err(other) => other,
    }
}
