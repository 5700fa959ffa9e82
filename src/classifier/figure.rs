//! Figures in JSON, which has no name for what is not finite: such a figure is written as a text, so that
//! one of them does not make a file of many unreadable. `null`, which other programs write, is read as
//! not a number.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Text(String),
    Nothing(()),
}

pub(crate) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    match value.is_finite() {
        true => value.serialize(to),
        false => value.to_string().serialize(to),
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    match Written::deserialize(from)? {
        Written::Number(value) => Ok(value),
        Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        Written::Nothing(()) => Ok(f64::NAN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Holds(#[serde(with = "super")] f64);

    #[test]
    fn every_figure_comes_back() {
        for value in [0.1, -1e300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            let text = serde_json::to_string(&Holds(value)).unwrap();
            let read: Holds = serde_json::from_str(&text).unwrap();
            assert_eq!(read.0.to_bits(), value.to_bits(), "{text}");
        }
        assert!(serde_json::from_str::<Holds>("null").unwrap().0.is_nan());
        assert!(serde_json::from_str::<Holds>(r#""many""#).is_err());
    }
}
