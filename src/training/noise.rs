//! Noise that a step of a rewritten model reads.

use rand::{Rng, RngExt};

use crate::random::{Purpose, stream};
use crate::surgery::rewrite::{Distribution, Noise};

/// Fills the rows of a step's noise, one for each of its `samples` (their places in the data set). What a
/// sample gets depends on the seed, the step (which counts over all epochs), the sample and the noise's name
/// alone, whatever else was drawn before and whoever is in the batch with it.
pub(super) fn fill_noise(
    values: &mut [f32],
    noise: &Noise,
    seed: u64,
    step: u64,
    samples: &[usize],
) {
    let len: usize = noise.dims.iter().product();
    for (row, &sample) in values.chunks_exact_mut(len.max(1)).zip(samples) {
        let sample = (sample as u64).to_le_bytes();
        let place: [&[u8]; 3] = [&step.to_le_bytes(), &sample, noise.name.as_bytes()];
        let mut rng = stream(Purpose::Noise, seed, &place);
        for value in row {
            *value = match noise.distribution {
                Distribution::Uniform => rng.random::<f32>(),
                Distribution::Gumbel => gumbel(&mut rng),
            };
        }
    }
}

/// −ln(−ln u), with u the middle of one of 2³² equal parts of (0, 1), so that it is finite.
fn gumbel(rng: &mut impl Rng) -> f32 {
    let u = (f64::from(rng.next_u32()) + 0.5) / f64::from(1u32 << 16) / f64::from(1u32 << 16);
    -(-u.ln()).ln() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(distribution: Distribution) -> Noise {
        Noise {
            name: "n".to_owned(),
            dims: vec![500, 2],
            distribution,
            rest: 0.0,
        }
    }

    fn drawn(noise: &Noise, seed: u64, step: u64, samples: &[usize]) -> Vec<f32> {
        let mut values = vec![f32::NAN; 1000 * samples.len()];
        fill_noise(&mut values, noise, seed, step, samples);
        values
    }

    #[test]
    fn a_sample_has_its_own_noise_in_every_step_whoever_is_with_it() {
        let noise = noise(Distribution::Gumbel);
        let both = drawn(&noise, 1, 7, &[4, 9]);
        assert_eq!(both[..1000], drawn(&noise, 1, 7, &[4]));
        assert_eq!(both[1000..], drawn(&noise, 1, 7, &[9]));
        assert_ne!(both[..1000], both[1000..]);
        assert_ne!(both, drawn(&noise, 1, 8, &[4, 9]));
        assert_ne!(both, drawn(&noise, 2, 7, &[4, 9]));
        let other = Noise {
            name: "m".to_owned(),
            ..noise.clone()
        };
        assert_ne!(both, drawn(&other, 1, 7, &[4, 9]));
    }

    #[test]
    fn noise_has_the_mean_and_the_spread_of_its_distribution() {
        let samples: Vec<usize> = (0..50).collect();
        // Of the uniform ½ and 1/12, of the Gumbel Euler's constant and π²/6.
        for (distribution, mean, variance) in [
            (Distribution::Uniform, 0.5, 1.0 / 12.0),
            (Distribution::Gumbel, 0.577_216, 1.644_934),
        ] {
            let values = drawn(&noise(distribution), 3, 1, &samples);
            let count = values.len() as f64;
            let of = |f: &dyn Fn(f64) -> f64| {
                values.iter().map(|&v| f(f64::from(v))).sum::<f64>() / count
            };
            let found = of(&|v| v);
            let spread = of(&|v| (v - found).powi(2));
            assert!((found - mean).abs() < 0.02, "{distribution:?} {found}");
            assert!(
                (spread - variance).abs() < 0.05,
                "{distribution:?} {spread}"
            );
            assert!(values.iter().all(|v| v.is_finite()));
        }
    }
}
