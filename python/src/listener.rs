//! What is heard of a call's progress, as messages to the thread that waits for it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use ftsurgery::cli::Host;
use ftsurgery::data::Fold;
use ftsurgery::run::{Phase, StrategyResult, TrialRecord};
use ftsurgery::search::{Doing, RoundStart, TrialStart, Watcher, Work};
use ftsurgery::training::{EpochMetrics, HeadFigures};
use serde_json::{Value, json};

use crate::call::Message;

/// Steps, and samples that have been done, are told at most this often.
const EVERY: Duration = Duration::from_millis(100);

/// Sends what it hears on, and asks for a stop once it is told to.
pub struct Listener {
    to: Sender<Message>,
    stop: AtomicBool,
    told: Mutex<Option<Instant>>,
}

impl Listener {
    pub fn new(to: Sender<Message>) -> Self {
        Listener {
            to,
            stop: AtomicBool::new(false),
            told: Mutex::new(None),
        }
    }

    /// Asks for a stop at the next step.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    fn send(&self, kind: &str, mut event: Value) {
        event["kind"] = kind.into();
        // Nobody listens any more where the caller has gone on without waiting.
        let _ = self.to.send(Message::Event(event.to_string()));
    }

    /// Whether one of many events is to be told.
    fn is_due(&self) -> bool {
        let mut told = self.told.lock().unwrap_or_else(|e| e.into_inner());
        let is_due = told.is_none_or(|told| told.elapsed() >= EVERY);
        if is_due {
            *told = Some(Instant::now());
        }
        is_due
    }
}

impl Host for Listener {
    fn note(&self, text: &str) {
        match text.strip_prefix("warning: ") {
            Some(text) => self.warning(text),
            None => self.send("note", json!({ "text": text })),
        }
    }
}

impl Watcher for Listener {
    fn doing(&self, of: &str, what: Doing, done: usize, total: usize) {
        if done == 0 || done == total || self.is_due() {
            let event = json!({ "of": of, "what": what.to_string(), "done": done, "total": total });
            self.send("doing", event);
        }
    }

    fn begin(&self, text: &str) {
        self.send("note", json!({ "text": text }));
    }

    fn warning(&self, text: &str) {
        self.send("warning", json!({ "text": text }));
    }

    fn model(&self, name: &str, number: usize, total: usize) {
        self.send(
            "model",
            json!({ "of": name, "done": number, "total": total }),
        );
    }

    fn repetition(&self, number: usize, total: usize, seed: u64) {
        self.send(
            "repetition",
            json!({ "done": number, "total": total, "seed": seed }),
        );
    }

    fn fold(&self, fold: Fold) {
        self.send("fold", json!({ "done": fold.number, "total": fold.of }));
    }

    fn resumed(&self, finished: usize) {
        self.send("resumed", json!({ "done": finished }));
    }

    fn head(&self, phase: Phase, figures: &HeadFigures) {
        self.send("head", json!({ "phase": phase, "figures": figures }));
    }

    fn round(&self, start: &RoundStart) {
        let (unit, work) = match start.work {
            Work::Flops(flops) => ("flops", flops),
            Work::Epochs(epochs) => ("epochs", epochs),
        };
        let event = json!({
            "phase": start.phase,
            "trials": start.trials,
            "done": start.ended,
            "total": start.total,
            "work": work,
            "later": start.later,
            "unit": unit,
        });
        self.send("round", event);
    }

    fn trial(&self, start: &TrialStart<'_>) {
        let event = json!({
            "of": start.id,
            "done": start.number,
            "total": start.total,
            "epochs": start.epochs,
        });
        self.send("trial", event);
    }

    fn step(&self, trial: &str, step: usize, total: usize, loss: f32) {
        if step == total || self.is_due() {
            // JSON has no number that is not finite.
            let event = json!({ "of": trial, "done": step, "total": total, "loss": loss });
            self.send("step", event);
        }
    }

    fn epoch(&self, trial: &str, metrics: &EpochMetrics) {
        self.send("epoch", json!({ "of": trial, "metrics": metrics }));
    }

    fn trial_end(&self, trial: &TrialRecord) {
        self.send("trial_end", json!({ "of": trial.id, "record": trial }));
    }

    fn strategy_end(&self, result: &StrategyResult) {
        let event = json!({ "of": result.name.to_string(), "result": result });
        self.send("strategy_end", event);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}
