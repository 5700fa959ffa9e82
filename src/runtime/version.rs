//! Version numbers of onnxruntime.

use std::{fmt, str::FromStr};

/// The version of an onnxruntime library, such as `1.32.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number; onnxruntime raises it with every release.
    pub minor: u32,
    /// Third number, 0 when the text has none.
    pub patch: u32,
}

impl Version {
    /// The oldest version this crate can drive.
    pub const OLDEST: Version = Version::new(1, 19, 0);

    /// A version of three numbers.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }
}

impl FromStr for Version {
    type Err = ();

    /// Reads `MAJOR.MINOR[.PATCH]`; anything after the digits of the patch (`.dev2`, `-rc1`) is
    /// ignored.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.trim().splitn(3, '.');
        let mut number = || parts.next().and_then(|part| part.parse().ok()).ok_or(());
        let (major, minor) = (number()?, number()?);
        let digits: String = parts
            .next()
            .unwrap_or("0")
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        Ok(Self {
            major,
            minor,
            patch: digits.parse().unwrap_or(0),
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_order_by_number_not_by_text() {
        let parse = |text: &str| text.parse::<Version>().unwrap();
        assert!(parse("1.9.0") < parse("1.19.0"));
        assert_eq!(parse("1.24.0.dev2025"), Version::new(1, 24, 0));
        assert_eq!(parse("1.32"), Version::new(1, 32, 0));
        assert!("so".parse::<Version>().is_err());
    }
}
