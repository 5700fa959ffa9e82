//! Dropout masks.

use rand::RngExt;

use crate::random::{Purpose, stream};

/// Fills a mask: 0 with probability `ratio`, else 1/(1 − ratio). The same seed, step and name give
/// the same mask, whatever else was drawn before.
pub(super) fn fill_mask(mask: &mut [f32], ratio: f32, seed: u64, step: u64, name: &str) {
    let place: [&[u8]; 2] = [&step.to_le_bytes(), name.as_bytes()];
    let mut rng = stream(Purpose::Dropout, seed, &place);
    let kept = 1.0 / (1.0 - ratio);
    for value in mask {
        *value = if rng.random::<f32>() < ratio {
            0.0
        } else {
            kept
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_keep_the_mean_and_repeat_by_seed() {
        let mut a = vec![0.0; 10_000];
        let mut b = a.clone();
        fill_mask(&mut a, 0.5, 1, 2, "m");
        fill_mask(&mut b, 0.5, 1, 2, "m");
        assert_eq!(a, b);
        let mean = a.iter().sum::<f32>() / a.len() as f32;
        assert!((mean - 1.0).abs() < 0.05, "{mean}");
        fill_mask(&mut b, 0.5, 1, 3, "m");
        assert_ne!(a, b);
    }
}
