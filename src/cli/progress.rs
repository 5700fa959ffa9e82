//! Showing a run's progress: bars on a terminal; elsewhere lines, of which there is always one within ten seconds.

mod heart;
mod pace;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::classifier::Score;
use crate::data::Fold;
use crate::report::plain_line;
use crate::run::{Phase, StrategyResult, TrialRecord};
use crate::search::{Doing, RoundStart, TrialStart, Watcher, head_of};
use crate::training::{EpochMetrics, HeadFigures};

use super::host::Host;
use super::{Context, signals};
use heart::{Heart, Say, State};

/// Off a terminal, epochs are told of at most this often, and something is at least.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows a run's progress, and stops it on Ctrl-C.
pub struct Progress {
    /// Whether it was told that a stop was asked for.
    told_of_stop: AtomicBool,
    heart: Arc<Heart>,
    beat: Mutex<Option<JoinHandle<()>>>,
    /// Another program, which hears in place of a terminal.
    host: Option<Arc<dyn Host>>,
}

impl Progress {
    /// As [`Progress::new`], and Ctrl-C asks for a stop from now on; a second one ends the process
    /// at once.
    pub fn stoppable(context: &Context) -> Self {
        signals::listen();
        Self::new(context)
    }

    /// Shows nothing yet.
    pub fn new(context: &Context) -> Self {
        let note = context.noting();
        let mut progress = Self::saying(Box::new(note), context.shows_progress(), LINE_EVERY);
        progress.host = context.host();
        if progress.host.is_some() {
            // It hears of all that goes on, and needs no lines by themselves.
            progress.finish();
        }
        progress
    }

    /// Who hears of a run: this, or the program that has it done.
    pub fn watcher(&self) -> &dyn Watcher {
        match &self.host {
            Some(host) => &**host,
            None => self,
        }
    }

    fn saying(say: Say, is_drawn: bool, every: Duration) -> Self {
        let heart = Heart::new(say, is_drawn, every);
        Progress {
            told_of_stop: AtomicBool::new(false),
            beat: Mutex::new(heart.beat()),
            heart,
            host: None,
        }
    }

    /// Takes the bars off the terminal, and says nothing more by itself.
    pub fn finish(&self) {
        self.heart.stop();
        let mut beat = self.beat.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(beat) = beat.take() {
            // It has nothing to say of what it died of.
            let _ = beat.join();
        }
    }

    /// What the run did before has ended.
    pub fn begun(&self) {
        let state = &mut self.heart.state();
        self.heart.ended(state, "");
    }

    /// What `of` did has ended; tells what it came to.
    pub fn done(&self, of: &str, text: &str) {
        let state = &mut self.heart.state();
        self.heart.ended(state, of);
        self.heart.line(state, text);
        self.heart.show_all(state);
    }

    fn line(&self, text: &str) {
        self.heart.line(&mut self.heart.state(), text);
    }

    /// No head is being found any more.
    fn end_of_heads(&self, state: &mut State) {
        for phase in [Phase::Search, Phase::Train] {
            self.heart.ended(state, head_of(phase));
        }
    }

    /// Nor does the run do anything else before or between trials.
    fn end_of_others(&self, state: &mut State) {
        self.end_of_heads(state);
        self.heart.ended(state, "");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
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

impl Watcher for Progress {
    fn doing(&self, of: &str, what: Doing, done: usize, total: usize) {
        if let Some(host) = &self.host {
            return host.doing(of, what, done, total);
        }
        let state = &mut self.heart.state();
        if of.is_empty() {
            self.end_of_heads(state);
        }
        if what == Doing::Features {
            state.pace.features(of, done, total);
        }
        self.heart.at(state, &plain_line(of), what, (done, total));
        self.heart.show_all(state);
    }

    fn begin(&self, text: &str) {
        self.line(text);
    }

    fn warning(&self, text: &str) {
        self.line(&format!("warning: {text}"));
    }

    fn model(&self, name: &str, number: usize, total: usize) {
        self.heart.state().pace.forget();
        self.line(&format!("model {number} of {total}: {name}"));
    }

    fn repetition(&self, number: usize, total: usize, seed: u64) {
        self.line(&format!("repetition {number} of {total}, seed {seed}"));
    }

    fn fold(&self, fold: Fold) {
        self.line(&format!("fold {} of {} is held out", fold.number, fold.of));
    }

    fn resumed(&self, finished: usize) {
        self.line(&format!("going on: {finished} trials have ended before"));
    }

    fn head(&self, phase: Phase, figures: &HeadFigures) {
        let state = &mut self.heart.state();
        self.end_of_others(state);
        let text = format!("{}: {}", head_of(phase), found(figures));
        self.heart.line(state, &text);
    }

    fn round(&self, start: &RoundStart) {
        let state = &mut self.heart.state();
        self.end_of_others(state);
        let text = state.pace.begin(start, self.heart.now());
        self.heart.line(state, &text);
        self.heart.show_all(state);
    }

    fn trial(&self, start: &TrialStart<'_>) {
        let state = &mut self.heart.state();
        self.end_of_others(state);
        state.pace.trial(start, self.heart.now());
        let name = plain_line(start.id);
        self.heart.at(state, &name, Doing::Training, (0, 0));
        if let Some(of) = state.under_way.get_mut(&*name) {
            of.epochs = Some(start.epochs);
        }
        self.heart.show_all(state);
    }

    fn step(&self, trial: &str, step: usize, total: usize, loss: f32) {
        let state = &mut self.heart.state();
        state.pace.step(trial, step, total);
        let name = plain_line(trial);
        self.heart.at(state, &name, Doing::Training, (step, total));
        if let Some(of) = state.under_way.get_mut(&*name) {
            of.loss = Some(loss);
            of.bar.set_message(match of.accuracy {
                Some((name, share)) => format!("loss {loss:.4} {name} {:.1} %", 100.0 * share),
                None => format!("loss {loss:.4}"),
            });
        }
        self.heart.show_all(state);
    }

    fn epoch(&self, trial: &str, metrics: &EpochMetrics) {
        let state = &mut self.heart.state();
        let name = plain_line(trial);
        let Some(of) = state.under_way.get_mut(&*name) else {
            return;
        };
        of.accuracy = metrics.validation.map(|v| headline(&v));
        let epochs = of.epochs.unwrap_or(metrics.epoch);
        if !self.heart.is_due(state) {
            return;
        }
        let loss = metrics.loss.map(|loss| format!("loss {loss:.4}"));
        let validation = metrics.validation.map(|v| {
            let ((name, share), loss) = (headline(&v), v.loss);
            format!("validation {name} {share:.4}, loss {loss:.4}")
        });
        let figures: Vec<String> = loss.into_iter().chain(validation).collect();
        let mut text = format!(
            "{name}: epoch {}/{epochs}: {} ({:.1} s)",
            metrics.epoch,
            figures.join(", "),
            metrics.seconds
        );
        if let Some(pace) = state.pace.text(self.heart.now()) {
            text.push_str(&format!("; {pace}"));
        }
        self.heart.line(state, &text);
    }

    fn trial_end(&self, trial: &TrialRecord) {
        let state = &mut self.heart.state();
        let name = plain_line(&trial.id);
        self.heart.ended(state, &name);
        // Numbers stand in the order in which trials end.
        let number = match state.pace.end(&trial.id) {
            Some((number, total)) => format!("{number}/{total} "),
            None => String::new(),
        };
        let outcome = match (&trial.error, trial.validation) {
            (Some(error), _) => format!("failed: {error}"),
            (None, Some(v)) => {
                let (name, share) = headline(&v);
                format!("validation {name} {share:.4}")
            }
            (None, None) => "done".to_owned(),
        };
        let rate = trial.rate.filter(|_| !trial.tried_rates.is_empty());
        let rate = rate.map_or(String::new(), |rate| format!(", learning rate {rate:e}"));
        let mut text = format!("{number}{name}: {outcome}{rate} ({:.1} s)", trial.seconds);
        if let Some(pace) = state.pace.text(self.heart.now()) {
            text.push_str(&format!("; {pace}"));
        }
        self.heart.line(state, &text);
        self.heart.show_all(state);
    }

    fn strategy_end(&self, result: &StrategyResult) {
        let state = &mut self.heart.state();
        self.heart
            .ended(state, &plain_line(&result.name.to_string()));
        if let Some(error) = &result.error {
            let text = format!("strategy {} failed: {error}", result.name);
            self.heart.line(state, &text);
        }
    }

    fn stopped(&self) -> bool {
        if let Some(host) = &self.host {
            return host.stopped();
        }
        let stopped = signals::asked();
        if stopped && !self.told_of_stop.swap(true, Ordering::Relaxed) {
            self.line("stopping after this step; Ctrl-C again to stop at once");
        }
        stopped
    }
}

/// The figure that is shown of a score, with its name: where samples may have several labels, the one that knows no
/// thresholds, since these are chosen when training has ended.
fn headline(score: &Score) -> (&'static str, f64) {
    match score.average_precision {
        Some(precision) => ("average precision", precision),
        None => ("accuracy", score.accuracy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(every: Duration) -> (Progress, Arc<Mutex<Vec<String>>>) {
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let say = move |text: &str| heard.lock().unwrap().push(text.to_owned());
        (Progress::saying(Box::new(say), false, every), said)
    }

    /// Stages in which nothing happens for a long time, of which nobody hears before their end.
    #[test]
    fn what_takes_long_is_told_of_again_and_again() {
        let every = Duration::from_millis(40);
        let (progress, said) = progress(every);
        let long = every * 5;
        let start = |id: &'static str| TrialStart {
            id,
            number: 1,
            total: 2,
            epochs: 4,
            work: 1.0,
            frozen: 0.0,
            done: 0,
        };
        let head = head_of(Phase::Search);
        let stages: [(&dyn Fn(), &str); 6] = [
            (
                &|| progress.doing("", Doing::Decoding, 8, 100),
                "decoding 8/100",
            ),
            (
                &|| progress.doing(head, Doing::Features, 3, 9),
                "head of the search: frozen layers 3/9",
            ),
            (
                &|| {
                    progress.trial(&start("block5-search"));
                    progress.step("block5-search", 30, 80, 0.5);
                },
                "block5-search: training in epoch 2/4, step 30/80, loss 0.5000",
            ),
            (
                &|| progress.doing("block5-search", Doing::Validation, 1, 2),
                "block5-search: validation 1/2",
            ),
            (
                &|| progress.doing("", Doing::Planning, 0, 0),
                "planning trials",
            ),
            (
                &|| progress.doing("blocks", Doing::Writing, 0, 0),
                "blocks: writing and checking the model",
            ),
        ];
        for (stage, text) in stages {
            stage();
            let before = said.lock().unwrap().len();
            std::thread::sleep(long);
            let told = said.lock().unwrap()[before..].to_vec();
            let of_it = told.iter().filter(|line| line.starts_with(text)).count();
            assert!(of_it >= 1 && told.len() >= 2, "{text}: {told:?}");
            assert!(told.len() <= 6, "{told:?}");
        }
        progress.finish();
        let before = said.lock().unwrap().len();
        std::thread::sleep(long);
        assert_eq!(said.lock().unwrap().len(), before);
    }

    #[test]
    fn trials_are_numbered_as_they_end_whichever_began_first() {
        let (progress, said) = progress(Duration::from_secs(600));
        progress.round(&RoundStart {
            phase: Phase::Search,
            trials: 2,
            ended: 1,
            total: 5,
            work: crate::search::Work::Flops(4.0),
            later: Some(0.0),
        });
        for (number, (id, work)) in [("a-search", 3.0), ("b-search", 1.0)]
            .into_iter()
            .enumerate()
        {
            progress.trial(&TrialStart {
                id,
                number: number + 2,
                total: 5,
                epochs: 1,
                work,
                frozen: 0.0,
                done: 0,
            });
        }
        for id in ["b-search", "a-search"] {
            let record = serde_json::json!({
                "id": id, "strategy": "blocks", "phase": "search", "candidate": "a", "layers": [],
                "trained_parameters": 1, "validation": null, "best_epoch": 1, "epochs": 1, "seconds": 1.5,
            });
            progress.trial_end(&serde_json::from_value(record).unwrap());
        }
        assert_eq!(
            *said.lock().unwrap(),
            [
                "searching now: 2 trials",
                "2/5 b-search: done (1.5 s); search 25 %",
                "3/5 a-search: done (1.5 s); search 100 %",
            ]
        );
    }
}
