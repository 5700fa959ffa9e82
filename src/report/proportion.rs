//! How sure an accuracy is, given how many samples it was measured on.

/// So many of so many samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proportion {
    /// Samples that were right.
    pub hits: usize,
    /// All samples; at least 1.
    pub count: usize,
}

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

impl Proportion {
    /// The proportion behind a share of `count` samples; `None` of no samples.
    pub fn of(share: f64, count: usize) -> Option<Self> {
        let hits = (share * count as f64).round();
        (count > 0 && hits >= 0.0 && hits <= count as f64).then_some(Proportion {
            hits: hits as usize,
            count,
        })
    }

    /// The share of hits, 0 to 1.
    pub fn share(self) -> f64 {
        self.hits as f64 / self.count as f64
    }

    /// The 95 % confidence interval of the share behind these samples.
    /// Source: Wilson 1927, score interval without correction for continuity.
    pub fn interval(self) -> (f64, f64) {
        let (p, n) = (self.share(), self.count as f64);
        let center = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
        let half = Z / (1.0 + Z * Z / n) * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        // At 0 and at 1 rounding would leave the ends a hair beyond.
        let low = if self.hits == 0 { 0.0 } else { center - half };
        let high = if self.hits == self.count {
            1.0
        } else {
            center + half
        };
        (low, high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(hits: usize, count: usize) -> Proportion {
        Proportion { hits, count }
    }

    #[test]
    fn intervals_agree_with_published_ones() {
        // Newcombe 1998 (Statistics in Medicine 17, 857), table I, method 3.
        for (hits, count, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let (l, h) = of(hits, count).interval();
            assert!(
                (l - low).abs() < 6e-5 && (h - high).abs() < 6e-5,
                "{hits}: {l} {h}"
            );
        }
        assert_eq!(of(20, 20).interval().1, 1.0);
    }

    #[test]
    fn shares_of_nothing_or_beyond_all_are_none() {
        assert_eq!(Proportion::of(0.5, 0), None);
        assert_eq!(Proportion::of(1.5, 10), None);
        assert_eq!(Proportion::of(f64::NAN, 10), None);
        assert_eq!(Proportion::of(0.9019, 734), Some(of(662, 734)));
    }
}
