//! Seeded random choices.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Draws from one seed: the same draws on every machine.
pub struct Dice(ChaCha8Rng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number from `low` to `high`, both included.
    pub fn size(&mut self, low: usize, high: usize) -> usize {
        self.0.random_range(low..=high)
    }

    /// Whether something of this probability happens.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.size(0, 99) < percent
    }

    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.size(0, of.len() - 1)].clone()
    }

    /// Values around 0, of standard deviation `deviation`.
    pub fn values(&mut self, count: usize, deviation: f32) -> Vec<f32> {
        // A uniform variable of ±√3 has the deviation 1.
        let reach = deviation * 3f32.sqrt();
        self.between(count, -reach, reach)
    }

    pub fn between(&mut self, count: usize, low: f32, high: f32) -> Vec<f32> {
        (0..count).map(|_| self.0.random_range(low..high)).collect()
    }

    /// Numbers that are 1 or −1.
    pub fn signs(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| if self.0.random() { 1.0 } else { -1.0 })
            .collect()
    }
}
