//! Random changes to images while training.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::DataError;

/// What is changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Augment {
    /// Nothing.
    #[default]
    None,
    /// Half of the images are mirrored, left to right.
    Flip,
    /// A random crop, resized, then a flip, then changes of brightness, contrast and saturation.
    Standard,
}

impl fmt::Display for Augment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Augment::None => "none",
            Augment::Flip => "flip",
            Augment::Standard => "standard",
        })
    }
}

impl FromStr for Augment {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        match name {
            "none" => Ok(Augment::None),
            "flip" => Ok(Augment::Flip),
            "standard" => Ok(Augment::Standard),
            _ => Err(DataError::option(
                "augment",
                name,
                "expected none, flip or standard",
            )),
        }
    }
}
