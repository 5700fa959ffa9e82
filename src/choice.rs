//! Settings that are given, or left to what they depend on.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value, or that it is to be found: what it depends on then stands at the setting.
///
/// In JSON it is the value, or `"auto"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice<T> {
    /// To be found.
    Auto,
    /// This.
    Given(T),
}

/// The name of [`Choice::Auto`] in files and as a flag.
pub const AUTO: &str = "auto";

impl<T: Copy> Choice<T> {
    /// The value, where it is given.
    pub fn given(self) -> Option<T> {
        match self {
            Choice::Auto => None,
            Choice::Given(value) => Some(value),
        }
    }

    /// This where it is given, else the other.
    pub fn or_open(self, other: Self) -> Self {
        match self {
            Choice::Auto => other,
            given => given,
        }
    }

    /// The value, or what it is found to be.
    pub fn or(self, found: T) -> T {
        self.given().unwrap_or(found)
    }
}

impl<T> From<T> for Choice<T> {
    fn from(value: T) -> Self {
        Choice::Given(value)
    }
}

impl<T: fmt::Display> fmt::Display for Choice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Auto => f.write_str(AUTO),
            Choice::Given(value) => value.fmt(f),
        }
    }
}

impl<T: Serialize> Serialize for Choice<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Choice::Auto => AUTO.serialize(to),
            Choice::Given(value) => value.serialize(to),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Choice<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written<T> {
            Value(T),
            Text(String),
        }
        match Written::deserialize(from)? {
            Written::Value(value) => Ok(Choice::Given(value)),
            Written::Text(text) if text == AUTO => Ok(Choice::Auto),
            Written::Text(text) => Err(D::Error::custom(format!(
                "`{text}` is neither `{AUTO}` nor a value"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_json_it_is_a_value_or_auto() {
        for (json, choice) in [
            ("\"auto\"", Choice::Auto),
            ("0.0003", Choice::Given(3e-4_f32)),
        ] {
            assert_eq!(serde_json::to_string(&choice).unwrap(), json);
            assert_eq!(serde_json::from_str::<Choice<f32>>(json).unwrap(), choice);
        }
        let wrong = serde_json::from_str::<Choice<f32>>("\"fast\"").unwrap_err();
        assert!(wrong.to_string().contains("`fast`"), "{wrong}");
        assert_eq!(Choice::Given(3).to_string(), "3");
        assert_eq!((Choice::Auto.or(2), Choice::Given(3).or(2)), (2, 3));
    }
}
