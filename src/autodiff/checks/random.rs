//! Seeded random values.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::onnx::Tensor;

/// Values of kinked operators keep this distance from kinks and from each other: more than any
/// step of the differences.
pub const GAP: f32 = 0.08;

/// Seeded random values.
pub struct Random(ChaCha8Rng);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number from `low` to `high`, both included.
    pub fn size(&mut self, low: usize, high: usize) -> usize {
        self.0.random_range(low..=high)
    }

    pub fn sizes(&mut self, count: usize, low: usize, high: usize) -> Vec<usize> {
        (0..count).map(|_| self.size(low, high)).collect()
    }

    pub fn flip(&mut self) -> bool {
        self.0.random()
    }

    pub fn uniform(&mut self, dims: &[usize], low: f32, high: f32) -> Tensor {
        let count: usize = dims.iter().product();
        let values: Vec<f32> = (0..count).map(|_| self.0.random_range(low..high)).collect();
        Tensor::f32(dims, &values)
    }

    /// Values from −1.5 to 1.5.
    pub fn any(&mut self, dims: &[usize]) -> Tensor {
        self.uniform(dims, -1.5, 1.5)
    }

    pub fn positive(&mut self, dims: &[usize]) -> Tensor {
        self.uniform(dims, 0.5, 2.0)
    }

    /// Values from −4 to 4 at least [`GAP`] away from each of `kinks`.
    pub fn avoiding(&mut self, dims: &[usize], kinks: &[f32]) -> Tensor {
        let count: usize = dims.iter().product();
        let values: Vec<f32> = (0..count)
            .map(|_| {
                loop {
                    let value = self.0.random_range(-4.0f32..4.0);
                    if kinks.iter().all(|k| (value - k).abs() > GAP) {
                        return value;
                    }
                }
            })
            .collect();
        Tensor::f32(dims, &values)
    }

    /// Values in random order that differ from each other by at least [`GAP`].
    pub fn distinct(&mut self, dims: &[usize]) -> Tensor {
        let count: usize = dims.iter().product();
        let mut values: Vec<f32> = (0..count)
            .map(|i| (i as f32 - count as f32 / 2.0) * GAP)
            .collect();
        for i in (1..count).rev() {
            values.swap(i, self.0.random_range(0..=i));
        }
        Tensor::f32(dims, &values)
    }

    /// Random dimensions of some of which may be 1, to be broadcast to `dims`, with leading ones
    /// left out at times.
    pub fn broadcastable(&mut self, dims: &[usize]) -> Vec<usize> {
        let skip = if self.flip() {
            0
        } else {
            self.size(0, dims.len())
        };
        dims[skip..]
            .iter()
            .map(|&d| if self.size(0, 2) == 0 { 1 } else { d })
            .collect()
    }
}
