//! What is under way, and that it is told of: by bars on a terminal, elsewhere by a line whenever nothing was
//! told for a while.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::search::Doing;
use indexmap::IndexMap;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::pace::Pace;

const BAR: &str = "{prefix} [{bar:24}] {pos}/{len} {msg} {elapsed}";
const PLAIN: &str = "{spinner} {prefix} {msg} {elapsed}";
/// A bar that nothing moves still shows that time passes.
const TICK: Duration = Duration::from_millis(500);
/// For others one waits longer, and hears of it less often.
const WAITING: u32 = 6;

/// Puts a line where the user reads it.
pub type Say = Box<dyn Fn(&str) + Send + Sync>;

/// Shared by those who tell, and the thread that tells where nobody does.
pub struct Heart {
    say: Say,
    /// Whether there are bars.
    is_drawn: bool,
    /// How long nothing may be told.
    every: Duration,
    bars: MultiProgress,
    begun: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

pub struct State {
    /// What is under way, by what it is of, in the order in which it began.
    pub under_way: IndexMap<String, UnderWay>,
    pub pace: Pace,
    /// All trials, on a terminal.
    pub all: Option<ProgressBar>,
    /// When a line was last printed.
    told: Instant,
    is_over: bool,
}

/// Something that is under way.
pub struct UnderWay {
    pub bar: ProgressBar,
    pub doing: Doing,
    pub done: usize,
    pub total: usize,
    /// Of a trial: its epochs, and the figures of the last.
    pub epochs: Option<usize>,
    pub loss: Option<f32>,
    pub accuracy: Option<(&'static str, f64)>,
    /// How often it was told of.
    told: usize,
}

impl UnderWay {
    /// `training, step 120/480, loss 0.4123`
    fn text(&self) -> String {
        let &UnderWay { done, total, .. } = self;
        let mut text = self.doing.to_string();
        if self.doing == Doing::Training && total > 0 {
            if let Some(epochs) = self.epochs.filter(|&n| n > 0 && total % n == 0) {
                let epoch = done.saturating_sub(1) / (total / epochs) + 1;
                text.push_str(&format!(" in epoch {epoch}/{epochs},"));
            }
            text.push_str(&format!(" step {done}/{total}"));
        } else if total > 0 {
            text.push_str(&format!(" {done}/{total}"));
        }
        if let Some(loss) = self.loss.filter(|_| self.doing == Doing::Training) {
            text.push_str(&format!(", loss {loss:.4}"));
        }
        text
    }
}

impl State {
    /// What is under way, in a line.
    fn text(&mut self, now: f64) -> String {
        let others = self.under_way.len().saturating_sub(1);
        let next = self.under_way.iter_mut().min_by_key(|(_, of)| of.told);
        let mut text = match next {
            None => "working".to_owned(),
            Some((name, of)) => {
                of.told += 1;
                match name.as_str() {
                    "" => of.text(),
                    name => format!("{name}: {}", of.text()),
                }
            }
        };
        if others > 0 {
            text.push_str(&format!(" (and {others} beside it)"));
        }
        let is_trial = |of: &UnderWay| of.epochs.is_some();
        let pace = self.pace.text(now);
        if let Some(pace) = pace.filter(|_| self.under_way.values().any(is_trial)) {
            text.push_str(&format!("; {pace}"));
        }
        text
    }
}

impl Heart {
    pub fn new(say: Say, is_drawn: bool, every: Duration) -> Arc<Self> {
        let target = match is_drawn {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        Arc::new(Heart {
            say,
            is_drawn,
            every,
            bars: MultiProgress::with_draw_target(target),
            begun: Instant::now(),
            state: Mutex::new(State {
                under_way: IndexMap::new(),
                pace: Pace::default(),
                all: None,
                told: Instant::now(),
                is_over: false,
            }),
            changed: Condvar::new(),
        })
    }

    /// Tells in a thread of its own, where there are no bars, what is under way whenever nothing was told.
    pub fn beat(self: &Arc<Self>) -> Option<JoinHandle<()>> {
        let heart = Arc::clone(self);
        let beats = move || {
            let mut state = heart.state();
            while !state.is_over {
                let waits = |of: &UnderWay| of.doing == Doing::Waiting;
                let every = match state.under_way.values().any(waits) {
                    true => heart.every * WAITING,
                    false => heart.every,
                };
                let passed = state.told.elapsed();
                if passed < every {
                    let wait = heart.changed.wait_timeout(state, every - passed);
                    state = wait.unwrap_or_else(|e| e.into_inner()).0;
                    continue;
                }
                let text = state.text(heart.now());
                heart.line(&mut state, &text);
            }
        };
        // Without it all else is told.
        (!self.is_drawn)
            .then(|| std::thread::Builder::new().spawn(beats).ok())
            .flatten()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Seconds since it was made.
    pub fn now(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    pub fn line(&self, state: &mut State, text: &str) {
        state.told = Instant::now();
        self.bars.suspend(|| (self.say)(text));
    }

    /// Whether what happens often is to be told in a line now.
    pub fn is_due(&self, state: &State) -> bool {
        !self.is_drawn && state.told.elapsed() >= self.every
    }

    /// What `of` does, of which `done` of `total` are done; a `total` of 0 where nothing is counted.
    pub fn at(&self, state: &mut State, of: &str, doing: Doing, (done, total): (usize, usize)) {
        if !state.under_way.contains_key(of) {
            let new = UnderWay {
                bar: self.bars.insert(0, ProgressBar::new(0)),
                doing,
                done: 0,
                total: 0,
                epochs: None,
                loss: None,
                accuracy: None,
                told: 0,
            };
            style(&new.bar, total);
            new.bar.set_prefix(prefix(of, doing));
            if self.is_drawn {
                new.bar.enable_steady_tick(TICK);
            }
            state.under_way.insert(of.to_owned(), new);
        }
        let Some(entry) = state.under_way.get_mut(of) else {
            return;
        };
        if entry.doing != doing || (entry.total > 0) != (total > 0) {
            entry.doing = doing;
            style(&entry.bar, total);
            entry.bar.reset_elapsed();
            entry.bar.set_prefix(prefix(of, doing));
            entry.bar.set_message("");
        }
        (entry.done, entry.total) = (done, total);
        entry.bar.set_length(total as u64);
        entry.bar.set_position(done as u64);
    }

    /// `of` has ended.
    pub fn ended(&self, state: &mut State, of: &str) -> Option<UnderWay> {
        let ended = state.under_way.shift_remove(of)?;
        ended.bar.finish_and_clear();
        self.bars.remove(&ended.bar);
        Some(ended)
    }

    /// Shows how far all trials are.
    pub fn show_all(&self, state: &mut State) {
        if !self.is_drawn {
            return;
        }
        let bars = &self.bars;
        let bar = state.all.get_or_insert_with(|| {
            let bar = bars.add(ProgressBar::new(1000));
            set_template(&bar, "{msg} [{bar:24}] {elapsed_precise}");
            bar.enable_steady_tick(TICK);
            bar
        });
        let share = state.pace.share().unwrap_or(0.0);
        bar.set_position((1000.0 * share) as u64);
        bar.set_message(state.pace.text(self.now()).unwrap_or_default());
    }

    /// Nothing is under way any more.
    pub fn stop(&self) {
        let mut state = self.state();
        state.is_over = true;
        let names: Vec<String> = state.under_way.keys().cloned().collect();
        for name in names {
            self.ended(&mut state, &name);
        }
        if let Some(all) = state.all.take() {
            all.finish_and_clear();
        }
        self.changed.notify_all();
    }
}

fn prefix(of: &str, doing: Doing) -> String {
    match (of, doing) {
        ("", doing) => doing.to_string(),
        (of, Doing::Training) => of.to_owned(),
        (of, doing) => format!("{of}: {doing}"),
    }
}

fn style(bar: &ProgressBar, total: usize) {
    set_template(bar, if total > 0 { BAR } else { PLAIN });
}

fn set_template(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
}
