//! Two classifiers on the same samples.

use super::Proportion;

/// How often each of two classifiers is right on the same samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paired {
    /// Samples on which both are right.
    pub both: usize,
    /// Samples on which only the first is.
    pub first: usize,
    /// Samples on which only the second is.
    pub second: usize,
    /// Samples on which neither is.
    pub neither: usize,
}

impl Paired {
    /// The pairs of `count` samples of which the first classifier was wrong about those at the places
    /// `first`, the second about those at the places `second`, both rising; `None` of no samples, or where
    /// the places cannot be such.
    pub fn of(first: &[usize], second: &[usize], count: usize) -> Option<Self> {
        let shared = first
            .iter()
            .filter(|place| second.binary_search(place).is_ok())
            .count();
        let wrong = (first.len() + second.len()).checked_sub(shared)?;
        Some(Paired {
            both: count.checked_sub(wrong).filter(|_| count > 0)?,
            first: second.len().checked_sub(shared)?,
            second: first.len().checked_sub(shared)?,
            neither: shared,
        })
    }

    /// All samples.
    pub fn count(self) -> usize {
        self.both + self.first + self.second + self.neither
    }

    /// The share that the first gets right minus that of the second.
    pub fn difference(self) -> f64 {
        (self.first as f64 - self.second as f64) / self.count() as f64
    }

    /// The 95 % confidence interval of this difference.
    /// Source: Newcombe 1998, "Improved confidence intervals for the difference between binomial
    /// proportions based on paired data", Statistics in Medicine 17, 2635, method 10: the score intervals
    /// of both shares, put together with their correlation φ, whose numerator is corrected for
    /// continuity where it is positive.
    pub fn interval(self) -> (f64, f64) {
        let n = self.count();
        let proportion = |hits: usize| Proportion { hits, count: n };
        let (a, b) = (
            proportion(self.both + self.first),
            proportion(self.both + self.second),
        );
        let product = |x: usize, y: usize| x as f64 * y as f64;
        let cross = product(self.both, self.neither) - product(self.first, self.second);
        let corrected = match cross {
            c if c > 0.0 => (c - n as f64 / 2.0).max(0.0),
            c => c,
        };
        let margins = product(a.hits, n - a.hits) * product(b.hits, n - b.hits);
        let phi = match margins > 0.0 {
            true => corrected / margins.sqrt(),
            false => 0.0,
        };
        let ((a_low, a_high), (b_low, b_high)) = (a.interval(), b.interval());
        let (a, b) = (a.share(), b.share());
        let joined = |x: f64, y: f64| (x * x - 2.0 * phi * x * y + y * y).max(0.0).sqrt();
        let down = joined(a - a_low, b_high - b);
        let up = joined(a_high - a, b - b_low);
        (a - b - down, a - b + up)
    }

    /// How likely two equally good classifiers are to disagree as unevenly as this or more so.
    /// Source: McNemar's test, exact and two-sided: of the samples on which exactly one is right, each
    /// is as likely to be the first's as the second's.
    pub fn p_value(self) -> f64 {
        let n = self.first + self.second;
        let fewer = self.first.min(self.second);
        // By their logarithms: 2^-n alone is 0 beyond some thousand samples.
        let mut term = -(n as f64) * std::f64::consts::LN_2;
        let mut tail = 0.0;
        for k in 0..=fewer {
            tail += term.exp();
            term += ((n - k) as f64 / (k + 1) as f64).ln();
        }
        (2.0 * tail).min(1.0)
    }
}

/// The mean of `differences` between two classifiers, one per repetition with another split, and its 95 %
/// confidence interval; `None` for fewer than two. `trained` and `tested`: samples in the training part and
/// in the part that they were measured on.
///
/// Source: Nadeau and Bengio 2003, "Inference for the generalization error", Machine Learning 52, 239: the
/// corrected resampled t-test. Repetitions share samples, so that the variance of their mean does not fall
/// to s²/n, but to s²·(1/n + tested/trained).
pub fn over_repetitions(
    differences: &[f64],
    trained: usize,
    tested: usize,
) -> Option<(f64, (f64, f64))> {
    let n = differences.len();
    if n < 2 {
        return None;
    }
    let mean = differences.iter().sum::<f64>() / n as f64;
    let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
    // Differences are whole samples: that some are equal does not show that they are equal to less than half a
    // sample, in which a value is spread with variance 1/12.
    let sample = 1.0 / tested.max(1) as f64;
    let variance = (squares / (n - 1) as f64).max(sample * sample / 12.0);
    let shared = tested as f64 / trained.max(1) as f64;
    let half = t_quantile(n - 1) * (variance * (1.0 / n as f64 + shared)).sqrt();
    Some((mean, ((mean - half).max(-1.0), (mean + half).min(1.0))))
}

/// The 97.5 % quantile of Student's t distribution with so many degrees of freedom, at least 1.
fn t_quantile(freedom: usize) -> f64 {
    let (mut low, mut high) = (0.0, 20.0);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        match within(middle, freedom) < 0.95 {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}

/// How likely Student's t is to lie between −t and t.
/// Source: Abramowitz and Stegun, 26.7.3 and 26.7.4.
fn within(t: f64, freedom: usize) -> f64 {
    let angle = (t / (freedom as f64).sqrt()).atan();
    let (sin, cos) = angle.sin_cos();
    let odd = freedom % 2 == 1;
    let mut power = if odd { cos } else { 1.0 };
    let mut sum = 0.0;
    for k in (2 + freedom % 2..=freedom).step_by(2) {
        sum += power;
        power *= cos * cos * (k - 1) as f64 / k as f64;
    }
    match odd {
        true => (angle + sin * sum) * std::f64::consts::FRAC_2_PI,
        false => sin * sum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs([both, first, second, neither]: [usize; 4]) -> Paired {
        Paired {
            both,
            first,
            second,
            neither,
        }
    }

    #[test]
    fn paired_intervals_agree_with_published_ones() {
        // The first: Fagerland, Lydersen and Laake, Statistical Analysis of Contingency Tables, chapter
        // 8 (data of Cavo et al. 2012). The second: Altman et al., Statistics with Confidence, table 6.2.
        for (table, low, high) in [
            ([59, 6, 16, 80], -0.1186, -0.0046),
            ([14, 5, 0, 22], 0.0115, 0.2265),
            ([36, 12, 2, 0], 0.0569, 0.3404),
            ([0, 30, 0, 0], 0.8395, 1.0),
        ] {
            let (l, h) = pairs(table).interval();
            assert!(
                (l - low).abs() < 6e-5 && (h - high).abs() < 6e-5,
                "{table:?}: {l} {h}"
            );
        }
    }

    #[test]
    fn the_exact_test_agrees_with_sums_of_binomial_coefficients() {
        // 2 · (1 + 15 + 105 + 455) / 2^15, and scipy.stats.binomtest(first, first + second).pvalue
        for (first, second, p) in [
            (12, 3, 1152.0 / 32768.0),
            (3, 12, 1152.0 / 32768.0),
            (35, 18, 0.027008317653722358),
            (6, 16, 0.052478790283203125),
            (86, 150, 3.715936139571442e-05),
            (5, 0, 0.0625),
            (10, 10, 1.0),
            (0, 0, 1.0),
        ] {
            let found = pairs([100, first, second, 9]).p_value();
            assert!((found - p).abs() <= 1e-10 * p, "{first} {second}: {found}");
        }
        let many = pairs([0, 10_000, 10_400, 0]).p_value();
        assert!((many - 0.0052).abs() < 2e-4, "{many}");
    }

    #[test]
    fn pairs_are_counted_from_the_places_of_what_is_wrong() {
        let found = Paired::of(&[1, 4, 5], &[0, 4], 10);
        assert_eq!(found, Some(pairs([6, 1, 2, 1])));
        assert_eq!(found.map(Paired::difference), Some(-0.1));
        assert_eq!(Paired::of(&[], &[], 0), None);
        assert_eq!(Paired::of(&[0, 1], &[2], 2), None);
        assert_eq!(Paired::of(&[1, 1, 1], &[1], 9), None);
    }

    #[test]
    fn disagreement_on_the_same_samples_tells_more_than_two_shares() {
        // 92.5 % against 88 % of 200: the intervals of the two shares overlap, the pairs say 12 : 3.
        let paired = pairs([173, 12, 3, 12]);
        let (low, high) = paired.interval();
        assert!((paired.difference() - 0.045).abs() < 1e-12);
        assert!(low > 0.005 && high < 0.09, "{low} {high}");
    }

    #[test]
    fn quantiles_of_t_are_those_of_the_tables() {
        for (freedom, quantile) in [
            (1, 12.7062),
            (2, 4.3027),
            (3, 3.1824),
            (4, 2.7764),
            (9, 2.2622),
            (30, 2.0423),
            (1000, 1.9623),
        ] {
            let found = t_quantile(freedom);
            assert!((found - quantile).abs() < 6e-5, "{freedom}: {found}");
        }
    }

    #[test]
    fn repetitions_that_share_samples_say_less_than_independent_ones() {
        let (mean, (low, high)) = over_repetitions(&[0.01, 0.02, 0.03], 700, 200).unwrap();
        assert!((mean - 0.02).abs() < 1e-12);
        // t = 4.3027, s = 0.01, √(1/3 + 2/7)
        let half = 4.302_653 * 0.01 * (1.0f64 / 3.0 + 2.0 / 7.0).sqrt();
        assert!((high - mean - half).abs() < 1e-6 && (mean - low - half).abs() < 1e-6);
        // Twice the same difference of 10 images says little.
        let (mean, (low, high)) = over_repetitions(&[0.3, 0.3], 10, 10).unwrap();
        assert!((mean - 0.3).abs() < 1e-12);
        assert!(
            (low + 0.149).abs() < 1e-3 && (high - 0.749).abs() < 1e-3,
            "{low} {high}"
        );
        let (_, bounds) = over_repetitions(&[-0.5, 0.5], 10, 10).unwrap();
        assert_eq!(bounds, (-1.0, 1.0));
        assert_eq!(over_repetitions(&[0.1], 700, 200), None);
    }
}
