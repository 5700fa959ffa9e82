//! Ctrl-C and its kin: SIGINT, SIGTERM and, where there are such, SIGHUP and SIGUSR1.
//!
//! The first asks for a stop, which the work hears at the end of a step or a batch. A second ends the
//! process at once, by `_exit`: no destructor may take away what a thread is still working with, whose
//! failure would then look like a result.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

#[derive(Default)]
struct State {
    /// Whether a signal has come.
    asked: Arc<AtomicBool>,
    /// Its number.
    number: Arc<AtomicUsize>,
    /// Whether the next one ends the process.
    at_once: Arc<AtomicBool>,
}

static STATE: LazyLock<State> = LazyLock::new(State::default);

/// Whether the process is the command's own, so that signals are meant for it.
static OURS: AtomicBool = AtomicBool::new(false);

/// The process is the command's own: from now on a file that grows beyond what is allowed (`ulimit -f`) is an error of that file,
/// and not its end, and [`listen`] listens.
pub fn are_ours() {
    OURS.store(true, Ordering::SeqCst);
    #[cfg(unix)]
    let _ = flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

/// Listens from now on, where the process is the command's own. Where that cannot be had, signals do what they always do.
pub fn listen() {
    if !OURS.load(Ordering::SeqCst) {
        return;
    }
    static LISTENING: std::sync::Once = std::sync::Once::new();
    LISTENING.call_once(|| {
        for signal in heard() {
            // In this order: the first must not find `at_once` set by itself.
            let state = &*STATE;
            let ends = Arc::clone(&state.at_once);
            let _ = flag::register_conditional_shutdown(signal, code(signal), ends);
            let _ = flag::register_usize(signal, Arc::clone(&state.number), signal as usize);
            let _ = flag::register(signal, Arc::clone(&state.asked));
            let _ = flag::register(signal, Arc::clone(&state.at_once));
        }
    });
}

/// Writes the one file that a command makes: a stop meanwhile is heard when the file is whole, so that
/// none is left half written under a temporary name. A second one ends the process at once.
pub fn before_stops<T>(write: impl FnOnce() -> T) -> T {
    listen();
    let written = write();
    end_at_once();
    written
}

/// Whether a signal has asked for a stop.
pub fn asked() -> bool {
    STATE.asked.load(Ordering::SeqCst)
}

/// From now on the first signal already ends the process: nothing is left that it could spoil.
pub fn end_at_once() {
    STATE.at_once.store(true, Ordering::SeqCst);
}

/// The exit code of a command that a signal has stopped: 130, 143, 129 or 138.
pub fn exit_code() -> Option<u8> {
    let signal = STATE.number.load(Ordering::SeqCst);
    let signal = i32::try_from(signal).ok().filter(|&s| s > 0)?;
    u8::try_from(code(signal)).ok()
}

/// What shells show of a process that a signal has ended.
fn code(signal: i32) -> i32 {
    128 + signal
}

#[cfg(not(unix))]
fn heard() -> Vec<i32> {
    vec![SIGINT, SIGTERM]
}

#[cfg(unix)]
fn heard() -> Vec<i32> {
    use signal_hook::consts::{SIGHUP, SIGUSR1};

    // SIGUSR1 is how batch systems are asked to announce the end of a job.
    let mut signals = vec![SIGINT, SIGTERM, SIGUSR1];
    // `nohup` begins a process that is not to hear when its terminal is closed.
    if !is_ignored(SIGHUP) {
        signals.push(SIGHUP);
    }
    signals
}

#[cfg(unix)]
#[allow(unsafe_code)]
fn is_ignored(signal: i32) -> bool {
    // SAFETY: a `sigaction` of zeros is valid; without a new action the call only fills it in.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut now) == 0
            && now.sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_stop_while_a_file_is_written_is_heard_when_the_file_is_whole() {
        are_ours();
        let written = before_stops(|| {
            signal_hook::low_level::raise(SIGTERM).unwrap();
            "whole"
        });
        assert_eq!((written, asked(), exit_code()), ("whole", true, Some(143)));
        assert!(STATE.at_once.load(Ordering::SeqCst));
    }
}
