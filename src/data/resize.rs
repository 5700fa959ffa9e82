//! The rule by which images come to a network's size, as a model's card tells it.

use serde::{Deserialize, Serialize};

/// How an image of any size becomes one of the network's size; see [`load_image`](super::load_image).
///
/// A card from before there was a choice says nothing, which means this. A rule that is not known here
/// is an error when the card is read: another one taken in its place would be a silent wrong answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// What happens to the shape.
    pub mode: ResizeMode,
    /// How pixels are mixed.
    pub filter: ResizeFilter,
    /// Whether the filter is widened by the reduction, so that every pixel counts; always true.
    pub antialias: bool,
}

impl Resize {
    /// What [`load_image`](super::load_image) does.
    pub const SQUASH: Self = Self {
        mode: ResizeMode::Squash,
        filter: ResizeFilter::Bilinear,
        antialias: true,
    };
}

impl Default for Resize {
    fn default() -> Self {
        Self::SQUASH
    }
}

/// What happens to the shape of an image that is resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResizeMode {
    /// The whole image fills the whole input; its aspect is not kept.
    Squash,
}

/// How pixels are mixed when an image is resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResizeFilter {
    /// Weights that fall linearly with the distance, as Pillow's `BILINEAR`.
    Bilinear,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Preprocess;

    #[test]
    fn cards_that_say_nothing_of_resizing_mean_todays_rule_and_other_rules_are_refused_by_name() {
        let card = |resize: &str| {
            let rest = r#""order":"rgb","scale":1.0,"mean":[0.0,0.0,0.0],"std":[1.0,1.0,1.0]"#;
            serde_json::from_str::<Preprocess>(&format!("{{{rest}{resize}}}"))
                .map_err(|e| e.to_string())
                .and_then(|card| card.validate().map(|()| card).map_err(|e| e.to_string()))
        };
        assert_eq!(card("").unwrap().resize, Resize::SQUASH);
        let with = |mode: &str, filter: &str, antialias: bool, more: &str| {
            card(&format!(
                r#","resize":{{"mode":"{mode}","filter":"{filter}","antialias":{antialias}{more}}}"#
            ))
        };
        assert_eq!(
            with("squash", "bilinear", true, "").unwrap().resize,
            Resize::SQUASH
        );
        for (refused, name) in [
            (with("crop", "bilinear", true, ""), "crop"),
            (with("squash", "bicubic", true, ""), "bicubic"),
            (with("squash", "bilinear", false, ""), "antialias"),
            (
                with("squash", "bilinear", true, r#","short_side":256"#),
                "short_side",
            ),
        ] {
            let error = refused.unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }
}
