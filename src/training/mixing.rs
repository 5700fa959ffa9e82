//! Samples that are mixed with others of their batch: mixup and cutmix.

use std::ops::Range;

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::data::Layout;
use crate::random::{Purpose, stream};

use super::{TrainingError, TrialSpec};

/// How the samples of one batch are mixed. Each has a partner, of a random permutation, and one share λ holds for all,
/// drawn from Beta(α, α):
///
/// - *mixup*: the input is λ x + (1 − λ) x′. Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018.
/// - *cutmix*: a rectangle of (1 − λ) of the area, its middle anywhere, is the partner's; what of it lies in the image
///   makes the λ that counts. Source: Yun et al., "CutMix", 2019.
///
/// In both the target is λ of the sample's and 1 − λ of the partner's. Where both are asked for, each step draws which
/// (as in timm).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mixing {
    /// The place in the batch of each sample's partner.
    pub partners: Vec<usize>,
    /// λ.
    pub share: f32,
    /// The rectangle; `None` of mixup.
    cut: Option<Cut>,
}

/// Spans of a sample's values: those of a rectangle.
#[derive(Clone, Debug, PartialEq)]
struct Cut(Vec<Range<usize>>);

impl TrialSpec {
    /// Whether samples are mixed.
    pub(super) fn mixes(&self) -> bool {
        self.mixup > 0.0 || self.cutmix > 0.0
    }

    /// How a step, from 1, mixes its batch of samples of dimensions `dims`; `None` where none is mixed.
    ///
    /// # Errors
    /// When rectangles are to be cut from samples that are no images.
    pub(super) fn mixing(
        &self,
        step: u64,
        batch: usize,
        (dims, layout): (&[usize], Layout),
    ) -> Result<Option<Mixing>, TrainingError> {
        if !self.mixes() {
            return Ok(None);
        }
        let mut rng = stream(Purpose::Mixing, self.seed, &[&step.to_le_bytes()]);
        let mut partners: Vec<usize> = (0..batch).collect();
        partners.shuffle(&mut rng);
        let cuts = match (self.mixup > 0.0, self.cutmix > 0.0) {
            (true, true) => rng.random::<bool>(),
            (_, cuts) => cuts,
        };
        if !cuts {
            return Ok(Some(Mixing {
                partners,
                share: beta(&mut rng, f64::from(self.mixup)) as f32,
                cut: None,
            }));
        }
        let (&[first, second, third], true) = (dims, batch > 0) else {
            return Err(TrainingError::Mismatch(format!(
                "cutmix cuts images, and a sample has the dimensions {dims:?}"
            )));
        };
        let [channels, height, width] = match layout {
            Layout::Nchw => [first, second, third],
            Layout::Nhwc => [third, first, second],
        };
        let rest = 1.0 - beta(&mut rng, f64::from(self.cutmix));
        let mut span = |side: usize| {
            let (middle, half) = (
                rng.random::<f64>() * side as f64,
                side as f64 * rest.sqrt() / 2.0,
            );
            let at = |place: f64| (place.round().max(0.0) as usize).min(side);
            at(middle - half)..at(middle + half)
        };
        let (rows, columns) = (span(height), span(width));
        let area = (rows.len() * columns.len()) as f64 / (height * width).max(1) as f64;
        let row = |row: usize, planes: Range<usize>, each: usize| {
            let columns = columns.clone();
            planes.map(move |plane| {
                let start = (plane * height + row) * width;
                (start + columns.start) * each..(start + columns.end) * each
            })
        };
        let spans = rows.flat_map(|y| match layout {
            Layout::Nchw => row(y, 0..channels, 1),
            Layout::Nhwc => row(y, 0..1, channels),
        });
        Ok(Some(Mixing {
            partners,
            share: (1.0 - area) as f32,
            cut: Some(Cut(spans.collect())),
        }))
    }
}

impl Mixing {
    /// Mixes the samples of a batch, one behind the other, in place.
    pub fn apply(&self, values: &mut [f32]) {
        let len = values.len() / self.partners.len().max(1);
        if len == 0 {
            return;
        }
        let before = values.to_vec();
        let rest = 1.0 - self.share;
        for (sample, &partner) in values.chunks_exact_mut(len).zip(&self.partners) {
            let Some(other) = before.get(partner * len..(partner + 1) * len) else {
                continue;
            };
            match &self.cut {
                None => {
                    for (value, other) in sample.iter_mut().zip(other) {
                        *value = self.share * *value + rest * other;
                    }
                }
                Some(Cut(spans)) => {
                    for span in spans {
                        let (to, from) = (sample.get_mut(span.clone()), other.get(span.clone()));
                        if let (Some(to), Some(from)) = (to, from) {
                            to.copy_from_slice(from);
                        }
                    }
                }
            }
        }
    }
}

/// A number of Beta(α, α), as `x / (x + y)` of two of Gamma(α); in logarithms, since for a small α both are next to 0.
fn beta(rng: &mut ChaCha8Rng, alpha: f64) -> f64 {
    let (x, y) = (ln_gamma(rng, alpha), ln_gamma(rng, alpha));
    1.0 / (1.0 + (y - x).exp())
}

/// The logarithm of a number of Gamma(α), which is that of Gamma(α + 1) times a uniform one to the power of 1/α.
/// Source: Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables", 2000.
fn ln_gamma(rng: &mut ChaCha8Rng, alpha: f64) -> f64 {
    let d = alpha + 2.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    // Above 0, so that there is a logarithm.
    let uniform = |rng: &mut ChaCha8Rng| 1.0 - rng.random::<f64>();
    let boost = uniform(rng).ln() / alpha;
    loop {
        let (radius, angle) = (
            (-2.0 * uniform(rng).ln()).sqrt(),
            std::f64::consts::TAU * rng.random::<f64>(),
        );
        let normal = radius * angle.cos();
        let v = (1.0 + c * normal).powi(3);
        if v > 0.0 && uniform(rng).ln() < normal * normal / 2.0 + d * (1.0 - v + v.ln()) {
            return (d * v).ln() + boost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(mixup: f32, cutmix: f32) -> TrialSpec {
        TrialSpec {
            mixup,
            cutmix,
            seed: 5,
            ..TrialSpec::default()
        }
    }

    fn draw(spec: &TrialSpec, step: u64, dims: &[usize], layout: Layout) -> Mixing {
        spec.mixing(step, 6, (dims, layout)).unwrap().unwrap()
    }

    /// Mean 1/2, variance 1 / (4 (2α + 1)), and for α = 1 all shares alike.
    #[test]
    fn shares_are_of_a_beta_distribution() {
        for alpha in [0.05, 0.4, 1.0, 3.0, 30.0] {
            let mut rng = stream(Purpose::Mixing, 1, &[]);
            let count = 20_000;
            let shares: Vec<f64> = (0..count).map(|_| beta(&mut rng, alpha)).collect();
            assert!(shares.iter().all(|s| (0.0..=1.0).contains(s)));
            let mean = shares.iter().sum::<f64>() / f64::from(count);
            let deviations = shares.iter().map(|s| (s - 0.5).powi(2));
            let variance = deviations.sum::<f64>() / f64::from(count);
            let expected = 0.25 / (2.0 * alpha + 1.0);
            assert!((mean - 0.5).abs() < 0.012, "{alpha}: {mean}");
            assert!(
                (variance / expected - 1.0).abs() < 0.04,
                "{alpha}: {variance}"
            );
            if alpha == 1.0 {
                for tenth in 1..10 {
                    let below = f64::from(tenth) / 10.0;
                    let share = shares.iter().filter(|s| **s < below).count() as f64;
                    assert!((share / f64::from(count) - below).abs() < 0.015);
                }
            }
        }
    }

    #[test]
    fn mixup_adds_shares_of_sample_and_partner() {
        let spec = spec(0.8, 0.0);
        let mixing = draw(&spec, 3, &[4], Layout::Nchw);
        assert_eq!(
            mixing,
            draw(&spec, 3, &[4], Layout::Nchw),
            "of the step alone"
        );
        assert_ne!(mixing, draw(&spec, 4, &[4], Layout::Nchw));
        let mut sorted = mixing.partners.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3, 4, 5]);
        let before: Vec<f32> = (0..24).map(|i| i as f32).collect();
        let mut values = before.clone();
        mixing.apply(&mut values);
        for (i, value) in values.iter().enumerate() {
            let other = before[mixing.partners[i / 4] * 4 + i % 4];
            let expected = mixing.share * before[i] + (1.0 - mixing.share) * other;
            assert_eq!(*value, expected);
        }
    }

    #[test]
    fn cutmix_takes_a_rectangle_of_the_partner_and_shares_are_those_of_the_area() {
        let spec = spec(0.0, 1.0);
        let [channels, height, width] = [3, 8, 10];
        let mut shares = Vec::new();
        for step in 0..40 {
            let mut rectangles = Vec::new();
            for layout in [Layout::Nchw, Layout::Nhwc] {
                let dims = match layout {
                    Layout::Nchw => [channels, height, width],
                    Layout::Nhwc => [height, width, channels],
                };
                let mixing = draw(&spec, step, &dims, layout);
                // Each value says which sample it is of.
                let len = channels * height * width;
                let mut values: Vec<f32> = (0..6 * len).map(|i| (i / len) as f32).collect();
                mixing.apply(&mut values);
                let at = |sample: usize, c: usize, y: usize, x: usize| {
                    let place = match layout {
                        Layout::Nchw => (c * height + y) * width + x,
                        Layout::Nhwc => (y * width + x) * channels + c,
                    };
                    values[sample * len + place] as usize
                };
                let sample = (0..6).find(|&i| mixing.partners[i] != i).unwrap();
                let mut cut = Vec::new();
                for y in 0..height {
                    for x in 0..width {
                        let of = [0, 1, 2].map(|c| at(sample, c, y, x));
                        assert_eq!(of, [of[0]; 3]);
                        assert!([sample, mixing.partners[sample]].contains(&of[0]));
                        if of[0] != sample {
                            cut.push((y, x));
                        }
                    }
                }
                let expected = 1.0 - cut.len() as f32 / (height * width) as f32;
                assert!((mixing.share - expected).abs() < 1e-6);
                if let (Some(first), Some(last)) = (cut.first(), cut.last()) {
                    let area = (last.0 - first.0 + 1) * (last.1 - first.1 + 1);
                    assert_eq!(area, cut.len(), "a rectangle");
                }
                shares.push(mixing.share);
                rectangles.push(cut);
            }
            assert_eq!(rectangles[0], rectangles[1]);
        }
        assert!(shares.iter().any(|&s| s < 0.6) && shares.iter().any(|&s| s > 0.8));
    }

    #[test]
    fn steps_draw_which_of_two_and_vectors_have_no_rectangles() {
        let both = spec(1.0, 1.0);
        let cuts = |step| draw(&both, step, &[1, 4, 4], Layout::Nchw).cut.is_some();
        let count = (0..100).filter(|&step| cuts(step)).count();
        assert!((30..70).contains(&count), "{count}");
        assert_eq!(
            spec(0.0, 0.0).mixing(1, 6, (&[4], Layout::Nchw)).unwrap(),
            None
        );
        let error = spec(0.0, 1.0).mixing(1, 6, (&[4], Layout::Nchw));
        assert!(error.unwrap_err().to_string().contains("cutmix"));
    }
}
