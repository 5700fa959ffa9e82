//! The Euclidean norm of numbers of any size.

/// A sum of squares in three parts, so that none of them overflows or vanishes (J. L. Blue, "A Portable Fortran Program to
/// Find the Euclidean Norm of a Vector", 1978).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Norm {
    small: f64,
    medium: f64,
    large: f64,
}

/// Numbers whose squares are beyond float64, and the factor that brings them back.
const LARGE: f64 = 1e140;
const SCALE: f64 = 1e-160;

impl Norm {
    /// Adds a number's square.
    pub fn add(&mut self, value: f64) {
        match value.abs() {
            size if size > LARGE => self.large += (size * SCALE) * (size * SCALE),
            size if size < 1.0 / LARGE => self.small += (size / SCALE) * (size / SCALE),
            size => self.medium += size * size,
        }
    }

    /// The root of the sum.
    pub fn value(self) -> f64 {
        match self.large > 0.0 {
            true => (self.large + self.medium * SCALE * SCALE).sqrt() / SCALE,
            false => (self.medium + self.small * SCALE * SCALE)
                .sqrt()
                .max(self.small.sqrt() * SCALE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_norm_of_a_vector_scales_with_it() {
        for scale in [1e-300, 1e-200, 1e-140, 1.0, 1e140, 1e200, 1e300] {
            let mut norm = Norm::default();
            for value in [3.0, -4.0, 0.0] {
                norm.add(value * scale);
            }
            let error = (norm.value() / scale - 5.0).abs();
            assert!(error < 1e-14, "{scale}: {}", norm.value());
        }
        let mut norm = Norm::default();
        norm.add(f64::INFINITY);
        assert_eq!(norm.value(), f64::INFINITY);
        assert_eq!(Norm::default().value(), 0.0);
    }
}
