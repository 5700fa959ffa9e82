//! Showing a run's progress: bars on a terminal, a line per trial and epoch elsewhere.

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use ftsurgery::search::{StrategyResult, TrialRecord, TrialStart, Watcher};
use ftsurgery::training::EpochMetrics;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Context;

/// Set by Ctrl-C.
static STOPPED: AtomicBool = AtomicBool::new(false);

const BAR: &str = "{prefix} [{bar:24}] {pos}/{len} {msg} {eta}";

/// Shows a run's progress, and stops it on Ctrl-C.
pub struct Progress<'a> {
    context: &'a Context,
    bar: ProgressBar,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `2/6 blocks-block5-search`
    trial: String,
    epochs: usize,
    accuracy: Option<f64>,
}

impl<'a> Progress<'a> {
    /// As [`Progress::new`], and Ctrl-C asks for a stop from now on; a second one ends the process
    /// at once.
    pub fn stoppable(context: &'a Context) -> Self {
        // Without a handler, Ctrl-C ends the process as usual.
        let _ = ctrlc::set_handler(|| {
            if STOPPED.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
            // Nobody is left to tell when stderr is closed.
            let _ = writeln!(
                std::io::stderr(),
                "\nstopping after this step; Ctrl-C again to stop at once"
            );
        });
        Self::new(context)
    }

    /// Shows nothing yet.
    pub fn new(context: &'a Context) -> Self {
        let target = if context.shows_progress() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style.progress_chars("=> "));
        }
        Progress {
            context,
            bar,
            state: Mutex::default(),
        }
    }

    /// Takes the bar off the terminal.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Progress of one thing that is counted.
    pub fn count(&self, what: &str, done: usize, total: usize) {
        self.bar.set_length(total as u64);
        if self.bar.prefix() != what {
            self.bar.set_prefix(what.to_owned());
            self.bar.set_message("");
            self.bar.reset();
        }
        self.bar.set_position(done as u64);
        if done >= total {
            self.bar.tick();
        }
    }

    fn line(&self, text: &str) {
        self.bar.suspend(|| self.context.note(text));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Watcher for Progress<'_> {
    fn decoding(&self, done: usize, total: usize) {
        self.count("decoding", done, total);
    }

    fn warning(&self, text: &str) {
        self.line(&format!("warning: {text}"));
    }

    fn trial(&self, start: &TrialStart<'_>) {
        let mut state = self.state();
        state.trial = format!("trial {}/{} {}", start.number, start.total, start.id);
        state.epochs = start.epochs;
        state.accuracy = None;
    }

    fn features(&self, done: usize, total: usize) {
        let what = format!("{}: frozen layers", self.state().trial);
        self.count(&what, done, total);
    }

    fn step(&self, step: usize, total: usize, loss: f32) {
        let state = self.state();
        self.count(&state.trial, step, total);
        self.bar.set_message(match state.accuracy {
            Some(accuracy) => format!("loss {loss:.4} accuracy {:.1} %", 100.0 * accuracy),
            None => format!("loss {loss:.4}"),
        });
    }

    fn epoch(&self, metrics: &EpochMetrics) {
        let mut state = self.state();
        state.accuracy = metrics.validation.map(|v| v.accuracy);
        if self.context.shows_progress() {
            return;
        }
        let validation = match metrics.validation {
            Some(v) => format!(
                ", validation accuracy {:.4}, loss {:.4}",
                v.accuracy, v.loss
            ),
            None => String::new(),
        };
        self.line(&format!(
            "{}: epoch {}/{}: loss {:.4}{validation} ({:.1} s)",
            state.trial, metrics.epoch, state.epochs, metrics.loss, metrics.seconds
        ));
    }

    fn trial_end(&self, trial: &TrialRecord) {
        let name = self.state().trial.clone();
        let outcome = match (&trial.error, trial.validation) {
            (Some(error), _) => format!("failed: {error}"),
            (None, Some(v)) => format!("validation accuracy {:.4}", v.accuracy),
            (None, None) => "done".to_owned(),
        };
        self.line(&format!("{name}: {outcome} ({:.1} s)", trial.seconds));
    }

    fn strategy_end(&self, result: &StrategyResult) {
        if let Some(error) = &result.error {
            self.line(&format!("strategy {} failed: {error}", result.name));
        }
    }

    fn stopped(&self) -> bool {
        STOPPED.load(Ordering::SeqCst)
    }
}
