//! Showing a run's progress: bars on a terminal, a line per trial and epoch elsewhere.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ftsurgery::report::plain_line;
use ftsurgery::run::{Phase, StrategyResult, TrialRecord};
use ftsurgery::search::{HeadStep, TrialStart, Watcher};
use ftsurgery::training::{EpochMetrics, HeadFigures, Solving};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Context, signals};

/// Off a terminal, epochs are told of at most this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

const BAR: &str = "{prefix} [{bar:24}] {pos}/{len} {msg} {eta}";
const ALL: &str = "all trials [{bar:24}] {pos}/{len} {elapsed_precise}";

/// Shows a run's progress, and stops it on Ctrl-C.
pub struct Progress<'a> {
    context: &'a Context,
    /// Whether it was told that a stop was asked for.
    told_of_stop: AtomicBool,
    bars: MultiProgress,
    /// What is counted besides trials.
    counter: ProgressBar,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Trials that have ended, of all; shown while there are several.
    all: Option<ProgressBar>,
    running: HashMap<String, Running>,
    /// When a line was last printed.
    told: Option<Instant>,
}

/// A trial that is running.
struct Running {
    bar: ProgressBar,
    /// `trial 2/6 blocks-block5-search`
    name: String,
    epochs: usize,
    accuracy: Option<f64>,
}

impl<'a> Progress<'a> {
    /// As [`Progress::new`], and Ctrl-C asks for a stop from now on; a second one ends the process
    /// at once.
    pub fn stoppable(context: &'a Context) -> Self {
        signals::listen();
        Self::new(context)
    }

    /// Shows nothing yet.
    pub fn new(context: &'a Context) -> Self {
        let target = if context.shows_progress() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bars = MultiProgress::with_draw_target(target);
        let counter = bars.add(styled(BAR));
        Progress {
            context,
            told_of_stop: AtomicBool::new(false),
            bars,
            counter,
            state: Mutex::default(),
        }
    }

    /// Takes the bars off the terminal.
    pub fn finish(&self) {
        self.counter.finish_and_clear();
        let mut state = self.state();
        for (_, running) in state.running.drain() {
            running.bar.finish_and_clear();
        }
        if let Some(all) = state.all.take() {
            all.finish_and_clear();
        }
    }

    /// Progress of one thing that is counted.
    pub fn count(&self, what: &str, done: usize, total: usize) {
        show(&self.counter, what, done, total);
        if done >= total {
            self.counter.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        self.bars.suspend(|| self.context.note(text));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn styled(template: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

/// How a head was found, for people.
fn found(figures: &HeadFigures) -> String {
    let HeadFigures { seconds, .. } = figures;
    let how = match (figures.strength, figures.loss, figures.epochs) {
        (Some(strength), Some(loss), _) => {
            format!("solved, penalty {strength:.2e}, loss in cross-validation {loss:.4}")
        }
        (Some(strength), None, _) => format!("solved, penalty {strength:.2e}"),
        (None, _, Some(epochs)) => format!("trained alone for {epochs} epochs"),
        (None, _, None) => "found".to_owned(),
    };
    format!("{how} ({seconds:.1} s)")
}

fn show(bar: &ProgressBar, what: &str, done: usize, total: usize) {
    bar.set_length(total as u64);
    if bar.prefix() != what {
        bar.set_prefix(what.to_owned());
        bar.set_message("");
        bar.reset();
    }
    bar.set_position(done as u64);
}

impl Watcher for Progress<'_> {
    fn decoding(&self, done: usize, total: usize) {
        self.count("decoding", done, total);
    }

    fn begin(&self, text: &str) {
        self.line(text);
    }

    fn warning(&self, text: &str) {
        self.line(&format!("warning: {text}"));
    }

    fn model(&self, name: &str, number: usize, total: usize) {
        self.line(&format!("model {number} of {total}: {name}"));
        // Its trials are counted anew.
        if let Some(all) = self.state().all.take() {
            all.finish_and_clear();
        }
    }

    fn repetition(&self, number: usize, total: usize, seed: u64) {
        self.line(&format!("repetition {number} of {total}, seed {seed}"));
    }

    fn resumed(&self, finished: usize) {
        self.line(&format!("going on: {finished} trials have ended before"));
    }

    fn head(&self, phase: Phase, step: &HeadStep) {
        let of = match phase {
            Phase::Search => "head of the search",
            Phase::Train => "head of the winners",
        };
        if let HeadStep::Done(figures) = step {
            self.counter.finish_and_clear();
            self.line(&format!("{of}: {}", found(figures)));
            self.state().told = Some(Instant::now());
            return;
        }
        let (doing, done, total) = match *step {
            HeadStep::Features { done, total } => ("frozen layers".to_owned(), done, total),
            HeadStep::Training { done, total } => ("trained alone, step".to_owned(), done, total),
            HeadStep::Solving(Solving::Comparing {
                number,
                fold,
                folds,
            }) => (format!("penalty number {number}, part"), fold, folds),
            HeadStep::Solving(_) => ("solved with the best penalty".to_owned(), 0, 1),
            _ => ("another process is at it".to_owned(), 0, 1),
        };
        show(&self.counter, &format!("{of}: {doing}"), done, total);
        let mut state = self.state();
        let recent = state.told.is_some_and(|told| told.elapsed() < LINE_EVERY);
        if self.context.shows_progress() || recent {
            return;
        }
        state.told = Some(Instant::now());
        drop(state);
        self.line(&match total {
            1 => format!("{of}: {doing}"),
            total => format!("{of}: {doing} {done}/{total}"),
        });
    }

    fn trial(&self, start: &TrialStart<'_>) {
        let mut state = self.state();
        if start.total > 1 {
            let all = state.all.get_or_insert_with(|| self.bars.add(styled(ALL)));
            all.set_length(start.total as u64);
        }
        state.told.get_or_insert_with(Instant::now);
        let running = Running {
            bar: self.bars.insert(0, styled(BAR)),
            name: format!(
                "trial {}/{} {}",
                start.number,
                start.total,
                plain_line(start.id)
            ),
            epochs: start.epochs,
            accuracy: None,
        };
        state.running.insert(start.id.to_owned(), running);
    }

    fn features(&self, trial: &str, done: usize, total: usize) {
        if let Some(running) = self.state().running.get(trial) {
            let what = format!("{}: frozen layers", running.name);
            show(&running.bar, &what, done, total);
        }
    }

    fn step(&self, trial: &str, step: usize, total: usize, loss: f32) {
        if let Some(running) = self.state().running.get(trial) {
            show(&running.bar, &running.name, step, total);
            running.bar.set_message(match running.accuracy {
                Some(accuracy) => format!("loss {loss:.4} accuracy {:.1} %", 100.0 * accuracy),
                None => format!("loss {loss:.4}"),
            });
        }
    }

    fn epoch(&self, trial: &str, metrics: &EpochMetrics) {
        let mut state = self.state();
        let recent = state.told.is_some_and(|told| told.elapsed() < LINE_EVERY);
        let Some(running) = state.running.get_mut(trial) else {
            return;
        };
        running.accuracy = metrics.validation.map(|v| v.accuracy);
        if self.context.shows_progress() || recent {
            return;
        }
        let loss = metrics.loss.map(|loss| format!("loss {loss:.4}"));
        let validation = metrics.validation.map(|v| {
            let (accuracy, loss) = (v.accuracy, v.loss);
            format!("validation accuracy {accuracy:.4}, loss {loss:.4}")
        });
        let figures: Vec<String> = loss.into_iter().chain(validation).collect();
        let text = format!(
            "{}: epoch {}/{}: {} ({:.1} s)",
            running.name,
            metrics.epoch,
            running.epochs,
            figures.join(", "),
            metrics.seconds
        );
        state.told = Some(Instant::now());
        self.line(&text);
    }

    fn trial_end(&self, trial: &TrialRecord) {
        let mut state = self.state();
        state.told = Some(Instant::now());
        let name = match state.running.remove(&trial.id) {
            Some(running) => {
                running.bar.finish_and_clear();
                self.bars.remove(&running.bar);
                running.name
            }
            None => trial.id.clone(),
        };
        if let Some(all) = &state.all {
            all.inc(1);
        }
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
        let stopped = signals::asked();
        if stopped && !self.told_of_stop.swap(true, Ordering::Relaxed) {
            self.line("stopping after this step; Ctrl-C again to stop at once");
        }
        stopped
    }
}
