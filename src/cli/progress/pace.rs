//! How far trials are by what they take, and how long the rest will.

use std::collections::HashMap;

use crate::run::Phase;
use crate::search::{RoundStart, TrialStart, Work};

/// From so many seconds of trials on, and such a share of their work, the time left is told.
const MEASURED_SECONDS: f64 = 2.0;
const MEASURED_SHARE: f64 = 0.01;

/// How far the trials of a run are. Times are seconds since any one moment.
#[derive(Default)]
pub struct Pace {
    /// Seconds that rounds took which have ended, and the operations that were done in them.
    earlier: (f64, f64),
    round: Option<Round>,
}

struct Round {
    start: RoundStart,
    /// When its first trial began: what a head takes is no measure of what trials do.
    begun: Option<f64>,
    /// What all of its trials take, and what those took that have ended, whoever did it.
    work: f64,
    over: f64,
    /// What was done since it began.
    done: f64,
    /// Trials of the run that have ended.
    ended: usize,
    running: HashMap<String, Part>,
}

/// A trial that is running.
struct Part {
    work: f64,
    frozen: f64,
    /// Steps before its first in this round.
    from: usize,
    /// The share of it that is done, and the share that was when it was first heard of.
    at: f64,
    base: f64,
    has_stepped: bool,
}

impl Part {
    fn done(&self) -> f64 {
        (self.at - self.base).max(0.0) * self.work
    }
}

impl Pace {
    /// Trials begin that are carried out together. Gives a line that says so.
    pub fn begin(&mut self, start: &RoundStart, now: f64) -> String {
        self.close(now);
        let work = match start.work {
            Work::Flops(work) | Work::Epochs(work) => work,
        };
        self.round = Some(Round {
            begun: None,
            work,
            over: 0.0,
            done: 0.0,
            ended: start.ended,
            running: HashMap::new(),
            start: start.clone(),
        });
        let trials = match start.trials {
            1 => "1 trial".to_owned(),
            n => format!("{n} trials"),
        };
        let about = self
            .left(now)
            .map(|seconds| format!(", {}", about(seconds)));
        let doing = match start.phase {
            Phase::Search => "searching now",
            Phase::Train => "training winners now",
        };
        format!("{doing}: {trials}{}", about.unwrap_or_default())
    }

    /// The round that is under way is over.
    fn close(&mut self, now: f64) {
        if let Some(round) = self.round.take()
            && matches!(round.start.work, Work::Flops(_))
        {
            // Of trials that had nothing to train no time is known.
            if round.done > 0.0 {
                self.earlier.0 += round.seconds(now);
                self.earlier.1 += round.done;
            }
        }
    }

    /// Forgets what other models took.
    pub fn forget(&mut self) {
        *self = Pace::default();
    }

    pub fn trial(&mut self, start: &TrialStart<'_>, now: f64) {
        if let Some(round) = &mut self.round {
            round.begun.get_or_insert(now);
            let part = Part {
                work: start.work,
                frozen: start.frozen,
                from: start.done,
                at: 0.0,
                base: 0.0,
                has_stepped: false,
            };
            round.running.insert(start.id.to_owned(), part);
        }
    }

    /// `done` of `total` samples of a trial have passed through the frozen layers.
    pub fn features(&mut self, id: &str, done: usize, total: usize) {
        if let Some(part) = self.part(id).filter(|part| !part.has_stepped) {
            part.at = part.frozen * done as f64 / total.max(1) as f64;
        }
    }

    /// Step `step` of `total` of a trial is done.
    pub fn step(&mut self, id: &str, step: usize, total: usize) {
        let Some(part) = self.part(id) else { return };
        let steps = total.saturating_sub(part.from).max(1) as f64;
        let at = |step: usize| {
            let done = step.saturating_sub(part.from) as f64 / steps;
            part.frozen + (1.0 - part.frozen) * done.min(1.0)
        };
        if !part.has_stepped {
            // What lies before was done by an earlier process, or by the trial that has passed the layers.
            part.base = at(step.saturating_sub(1)) - part.at;
            part.has_stepped = true;
        }
        part.at = at(step);
    }

    /// A trial has ended. Gives how many of the run have, and how many there are.
    pub fn end(&mut self, id: &str) -> Option<(usize, usize)> {
        let round = self.round.as_mut()?;
        if let Some(part) = round.running.remove(id) {
            round.over += part.work;
            if part.has_stepped {
                round.done += part.done();
            }
        }
        round.ended += 1;
        Some((round.ended, round.start.total.max(round.ended)))
    }

    /// The share of the round's work that is done.
    pub fn share(&self) -> Option<f64> {
        let round = self.round.as_ref()?;
        let done = round.work - round.open();
        (round.work > 0.0).then(|| (done / round.work).clamp(0.0, 1.0))
    }

    /// Seconds that the trials of this round, and those that follow where that is known, will take; `None` until
    /// something was measured.
    pub fn left(&self, now: f64) -> Option<f64> {
        let round = self.round.as_ref()?;
        let done = round.done + round.running.values().map(Part::done).sum::<f64>();
        let earlier = match round.start.work {
            Work::Flops(_) => self.earlier,
            Work::Epochs(_) => (0.0, 0.0),
        };
        let seconds = earlier.0 + round.seconds(now);
        let done = earlier.1 + done;
        let left = round.open() + round.start.later.unwrap_or(0.0);
        let is_measured = seconds >= MEASURED_SECONDS && done > MEASURED_SHARE * (done + left);
        is_measured.then(|| left * seconds / done)
    }

    /// `search 34 %, about 2 min left`
    pub fn text(&self, now: f64) -> Option<String> {
        let round = self.round.as_ref()?;
        let mut text = format!("{} ", round.start.phase.name());
        text.push_str(&format!("{:.0} %", (100.0 * self.share()? + 1e-9).floor()));
        if let Some(left) = self.left(now).filter(|&left| left >= 0.5) {
            text.push_str(&format!(", {} left", about(left)));
            if round.start.later.is_none() {
                text.push_str(" of this round");
            }
        }
        Some(text)
    }

    fn part(&mut self, id: &str) -> Option<&mut Part> {
        self.round.as_mut()?.running.get_mut(id)
    }
}

impl Round {
    /// Since its first trial began.
    fn seconds(&self, now: f64) -> f64 {
        self.begun.map_or(0.0, |begun| now - begun)
    }

    /// What its trials still take.
    fn open(&self) -> f64 {
        let running = self.running.values().map(|part| part.at * part.work);
        (self.work - self.over - running.sum::<f64>()).max(0.0)
    }
}

/// A span of time, roughly.
fn about(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => "some seconds".to_owned(),
        s if s < 90.0 => format!("about {:.0} s", (s / 10.0).round() * 10.0),
        s if s < 90.0 * 60.0 => format!("about {:.0} min", s / 60.0),
        s => format!("about {:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(phase: Phase, trials: usize, work: f64, later: Option<f64>) -> RoundStart {
        RoundStart {
            phase,
            trials,
            ended: 0,
            total: trials + 1,
            work: Work::Flops(work),
            later,
        }
    }

    fn trial(id: &str, work: f64, frozen: f64, done: usize) -> TrialStart<'_> {
        TrialStart {
            id,
            number: 1,
            total: 3,
            epochs: 1,
            work,
            frozen,
            done,
        }
    }

    #[test]
    fn a_long_trial_counts_for_more_than_a_short_one() {
        let mut pace = Pace::default();
        let line = pace.begin(&round(Phase::Search, 2, 100.0, Some(100.0)), 0.0);
        assert_eq!(line, "searching now: 2 trials");
        // Nothing has been measured.
        assert_eq!(pace.text(30.0).unwrap(), "search 0 %");
        pace.trial(&trial("short", 10.0, 0.0, 0), 0.0);
        pace.trial(&trial("long", 90.0, 0.0, 0), 1.0);
        for step in 1..=4 {
            pace.step("short", step, 4);
        }
        assert_eq!(pace.end("short"), Some((1, 3)));
        assert_eq!(pace.share(), Some(0.1));
        // Ten of 200 took 10 s.
        assert_eq!(pace.left(10.0), Some(190.0));
        assert_eq!(pace.text(10.0).unwrap(), "search 10 %, about 3 min left");
        pace.step("long", 1, 2);
        assert_eq!((pace.share(), pace.left(55.0)), (Some(0.55), Some(145.0)));
        pace.step("long", 2, 2);
        pace.end("long");
        // The winner is told of with the time that it will take.
        let line = pace.begin(&round(Phase::Train, 1, 120.0, Some(0.0)), 100.0);
        assert_eq!(line, "training winners now: 1 trial, about 2 min");
    }

    #[test]
    fn what_was_done_before_is_no_measure_of_what_is_left() {
        let mut pace = Pace::default();
        pace.begin(&round(Phase::Train, 1, 100.0, Some(0.0)), 0.0);
        pace.trial(&trial("resumed", 100.0, 0.2, 0), 0.0);
        pace.features("resumed", 1, 2);
        assert_eq!(pace.share(), Some(0.1));
        pace.features("resumed", 2, 2);
        // A checkpoint had 50 of its 100 steps: 20 + 0.8 are done here, 39.2 are left.
        pace.step("resumed", 51, 100);
        let left = pace.left(20.8).unwrap();
        assert!((left - 39.2).abs() < 1e-9, "{left}");
    }

    #[test]
    fn a_trial_that_goes_on_counts_from_where_it_went_on() {
        let mut pace = Pace::default();
        pace.begin(&round(Phase::Search, 1, 10.0, None), 0.0);
        pace.trial(&trial("blocks", 10.0, 0.0, 30), 0.0);
        pace.step("blocks", 31, 40);
        assert_eq!(pace.share(), Some(0.1));
        assert_eq!(pace.left(3.0), Some(27.0));
        assert!(pace.text(3.0).unwrap().ends_with("of this round"));
    }

    #[test]
    fn what_a_head_takes_is_no_measure_of_trials() {
        let mut pace = Pace::default();
        // It is solved for 50 s, and its trial has nothing to train.
        pace.begin(&round(Phase::Train, 1, 1.0, None), 0.0);
        pace.trial(&trial("head-train", 1.0, 0.0, 0), 50.0);
        pace.end("head-train");
        let line = pace.begin(&round(Phase::Search, 2, 100.0, Some(0.0)), 60.0);
        assert_eq!(line, "searching now: 2 trials");
        pace.trial(&trial("blocks", 50.0, 0.0, 0), 100.0);
        pace.step("blocks", 1, 2);
        assert_eq!(pace.left(105.0), Some(15.0));
    }

    #[test]
    fn times_are_rounded_to_what_is_known_of_them() {
        let texts = [4.0, 44.0, 130.0, 7200.0].map(about);
        assert_eq!(
            texts,
            ["some seconds", "about 40 s", "about 2 min", "about 2.0 h"]
        );
    }
}
