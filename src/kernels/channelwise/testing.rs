//! What tests of kernels share.

use crate::kernels::Parallel;

/// Numbers that look random and are the same every time.
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % end
    }

    /// From `start` to `end`, both included.
    pub(super) fn between(&mut self, start: usize, end: usize) -> usize {
        start + self.below(end - start + 1)
    }

    /// Values in [−1, 1].
    pub(super) fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len)
            .map(|_| self.below(20001) as f32 / 10000.0 - 1.0)
            .collect()
    }
}

/// Pieces on as many fresh threads, whatever their order.
pub(super) struct Threads(pub(super) usize);

// SAFETY: each thread has numbers of its own, and the scope ends after all of them.
#[allow(unsafe_code)]
unsafe impl Parallel for Threads {
    fn threads(&self) -> usize {
        self.0
    }

    fn run(&self, pieces: usize, piece: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            for first in 0..self.0 {
                scope.spawn(move || (first..pieces).step_by(self.0).rev().for_each(piece));
            }
        });
    }
}

/// A sum in double precision and the sum of its terms' sizes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) value: f64,
    pub(super) size: f64,
}

impl Sum {
    pub(super) fn add(&mut self, term: f64) {
        self.value += term;
        self.size += term.abs();
    }
}

/// Panics where `found` is further than 10⁻⁶ of its terms' sizes from `wanted`.
pub(super) fn assert_close(what: &str, found: &[f32], wanted: &[Sum]) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (index, (&found, wanted)) in found.iter().zip(wanted).enumerate() {
        let error = (f64::from(found) - wanted.value).abs();
        assert!(
            error <= 1e-6 * wanted.size.max(1e-30),
            "{what}[{index}]: {found}, not {wanted:?}"
        );
    }
}
