//! From values to pixels.

/// An axis of values.
#[derive(Clone, Copy, Debug)]
pub struct Axis<'a> {
    /// What is measured.
    pub title: &'a str,
    /// A tick's value as text. The second argument is the distance between ticks.
    pub format: fn(f64, f64) -> String,
    /// The lowest and highest value that may be shown, for instance 0 and 1 for shares.
    pub bounds: (f64, f64),
}

/// A mapping of values to pixels.
#[derive(Clone, Debug)]
pub struct Scale {
    low: f64,
    high: f64,
    pixels: (f64, f64),
    logarithmic: bool,
    /// Values with a tick.
    pub ticks: Vec<f64>,
    /// Distance between ticks; for logarithmic scales 0.
    pub step: f64,
}

impl Scale {
    /// A linear scale over all finite `values`, widened to ticks that are round numbers, within
    /// `bounds`. `about`: ticks wanted.
    pub fn linear(
        values: impl Iterator<Item = f64>,
        bounds: (f64, f64),
        pixels: (f64, f64),
        about: usize,
    ) -> Self {
        let (mut low, mut high) = range(values).unwrap_or(bounds);
        if !(low.is_finite() && high.is_finite()) {
            (low, high) = (0.0, 1.0);
        }
        if high - low < 1e-9 * high.abs().max(1e-3) {
            let pad = if low == 0.0 { 0.5 } else { low.abs() * 0.05 };
            (low, high) = (low - pad, high + pad);
        }
        let pad = 0.04 * (high - low);
        let low = (low - pad).max(bounds.0);
        let high = (high + pad).min(bounds.1);
        let step = round_step((high - low) / about.max(1) as f64);
        let first = (low / step + 1e-9).floor();
        let last = (high / step - 1e-9).ceil();
        let low = (first * step).max(bounds.0);
        let high = (last * step).min(bounds.1);
        let count = (last - first).clamp(0.0, 100.0) as usize;
        let ticks = (0..=count)
            .map(|i| (first + i as f64) * step)
            .filter(|t| *t >= low - 1e-9 * step && *t <= high + 1e-9 * step)
            .collect();
        Scale {
            low,
            high,
            pixels,
            logarithmic: false,
            ticks,
            step,
        }
    }

    /// A logarithmic scale over all positive `values`, from a power of ten to a power of ten.
    pub fn logarithmic(values: impl Iterator<Item = f64>, pixels: (f64, f64)) -> Self {
        let (low, high) = range(values.filter(|v| *v > 0.0)).unwrap_or((1.0, 10.0));
        let first = low.log10().floor();
        // The lowest value must stand above the floor to be seen.
        let first = if low.log10() - first < 0.1 {
            first - 1.0
        } else {
            first
        };
        let last = high.log10().ceil().max(first + 1.0);
        let every = ((last - first) / 8.0).ceil().max(1.0) as usize;
        let ticks = (first as i32..=last as i32)
            .step_by(every)
            .map(|e| 10f64.powi(e))
            .collect();
        Scale {
            low: first,
            high: last,
            pixels,
            logarithmic: true,
            ticks,
            step: 0.0,
        }
    }

    /// The pixel of a value; values beyond the scale are put on its end.
    pub fn at(&self, value: f64) -> f64 {
        let value = if self.logarithmic {
            value.log10()
        } else {
            value
        };
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        // Of what is not a number, the clamp is none either.
        let share = if share.is_nan() { 0.0 } else { share };
        self.pixels.0 + share * (self.pixels.1 - self.pixels.0)
    }
}

fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|v| v.is_finite()).fold(None, |range, v| {
        Some(range.map_or((v, v), |(low, high): (f64, f64)| (low.min(v), high.max(v))))
    })
}

/// The next of 1, 2, 2.5 or 5 times a power of ten that is not below `step`.
fn round_step(step: f64) -> f64 {
    if !(step.is_finite() && step > 0.0) {
        return 1.0;
    }
    let power = 10f64.powf(step.log10().floor());
    let factors = [1.0, 2.0, 2.5, 5.0, 10.0];
    let factor = factors
        .into_iter()
        .find(|f| f * power >= step * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: (f64, f64) = (0.0, 1.0);

    #[test]
    fn ticks_are_round_and_hold_all_values() {
        for values in [
            [0.71, 0.93],
            [0.0, 1.0],
            [0.5, 0.5],
            [0.912, 0.915],
            [1.0, 1.0],
            [0.0, 0.0],
        ] {
            let scale = Scale::linear(values.into_iter(), UNIT, (0.0, 100.0), 5);
            assert!(
                (2..=9).contains(&scale.ticks.len()),
                "{values:?} {:?}",
                scale.ticks
            );
            assert!(
                scale.low <= values[0] && scale.high >= values[1],
                "{values:?}"
            );
            assert!(scale.low >= 0.0 && scale.high <= 1.0);
            assert!(scale.at(values[0]) >= 0.0 && scale.at(values[1]) <= 100.0);
        }
    }

    #[test]
    fn hostile_numbers_have_a_place() {
        let values = [f64::NAN, f64::INFINITY, 1e300, -1e300, 5e-324];
        let scale = Scale::linear(values.into_iter(), (f64::MIN, f64::MAX), (0.0, 100.0), 5);
        for value in values {
            assert!((0.0..=100.0).contains(&scale.at(value)), "{value}");
        }
        assert!(scale.ticks.len() < 200);
        let none = Scale::linear(std::iter::empty(), UNIT, (0.0, 100.0), 5);
        assert!(none.ticks.len() > 1);
    }

    #[test]
    fn powers_of_ten_bound_a_logarithmic_scale() {
        let scale = Scale::logarithmic([100.0, 123_456.0, 0.0].into_iter(), (0.0, 50.0));
        assert_eq!(scale.ticks.first(), Some(&10.0));
        assert_eq!(scale.ticks.last(), Some(&1e6));
        assert!((scale.at(100.0) - 10.0).abs() < 1e-9);
        assert_eq!(scale.at(0.0), 0.0);
    }
}
