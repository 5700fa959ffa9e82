//! What a trial takes.

/// What a trial takes in its round, in operations, or epochs where these are not known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// For the frozen layers, which nothing has passed through before it.
    pub frozen: f64,
    /// For its steps, and what is scored.
    pub training: f64,
    /// Steps that it did in earlier rounds.
    pub done: usize,
}

impl Effort {
    /// All of it.
    pub fn work(&self) -> f64 {
        self.frozen + self.training
    }

    /// The share that frozen layers have before the first step.
    pub fn frozen_share(&self) -> f64 {
        match self.work() {
            work if work > 0.0 => self.frozen / work,
            _ => 0.0,
        }
    }
}
