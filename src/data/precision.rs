//! The type in which features are kept.

use std::fmt;
use std::str::FromStr;

use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::{Deserialize, Serialize};

use super::DataError;

/// The type in which features are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeaturePrecision {
    /// float32: as they were computed.
    #[default]
    F32,
    /// float16: half the room, rounded to 11 significant bits. What is out of its range becomes
    /// ±65504, the nearest number it has, instead of infinite.
    F16,
}

impl fmt::Display for FeaturePrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FeaturePrecision::F32 => "f32",
            FeaturePrecision::F16 => "f16",
        })
    }
}

impl FromStr for FeaturePrecision {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        match name {
            "f32" => Ok(FeaturePrecision::F32),
            "f16" => Ok(FeaturePrecision::F16),
            _ => Err(DataError::option(
                "feature_precision",
                name,
                "expected f32 or f16",
            )),
        }
    }
}

/// Values that are converted at a time.
const CHUNK: usize = 1024;

impl FeaturePrecision {
    /// Bytes per value.
    pub fn size(self) -> usize {
        match self {
            FeaturePrecision::F32 => size_of::<f32>(),
            FeaturePrecision::F16 => size_of::<f16>(),
        }
    }

    /// Rounds values to what is read back after they were kept.
    pub fn round(self, values: &mut [f32]) {
        if self == FeaturePrecision::F16 {
            for chunk in values.chunks_mut(CHUNK) {
                let (halves, count) = to_halves(chunk);
                halves[..count].convert_to_f32_slice(chunk);
            }
        }
    }

    /// Writes values as bytes, [`Self::size`] each.
    pub(super) fn encode(self, values: &[f32], bytes: &mut [u8]) {
        match self {
            FeaturePrecision::F32 => {
                for (bytes, value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
                    *bytes = value.to_ne_bytes();
                }
            }
            FeaturePrecision::F16 => {
                let chunks = bytes.chunks_mut(CHUNK * size_of::<f16>());
                for (bytes, values) in chunks.zip(values.chunks(CHUNK)) {
                    let (halves, _) = to_halves(values);
                    for (bytes, half) in bytes.as_chunks_mut().0.iter_mut().zip(&halves) {
                        *bytes = half.to_ne_bytes();
                    }
                }
            }
        }
    }

    /// Reads values from bytes.
    pub(super) fn decode(self, bytes: &[u8], values: &mut [f32]) {
        match self {
            FeaturePrecision::F32 => {
                for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
                    *value = f32::from_ne_bytes(*bytes);
                }
            }
            FeaturePrecision::F16 => {
                let chunks = bytes.chunks(CHUNK * size_of::<f16>());
                let mut halves = [f16::ZERO; CHUNK];
                for (bytes, values) in chunks.zip(values.chunks_mut(CHUNK)) {
                    for (half, bytes) in halves.iter_mut().zip(bytes.as_chunks().0) {
                        *half = f16::from_ne_bytes(*bytes);
                    }
                    halves[..values.len()].convert_to_f32_slice(values);
                }
            }
        }
    }
}

/// At most [`CHUNK`] values as float16, and their number.
fn to_halves(values: &[f32]) -> ([f16; CHUNK], usize) {
    let mut clamped = [0f32; CHUNK];
    let most = f16::MAX.to_f32();
    let count = values.len().min(CHUNK);
    for (clamped, value) in clamped.iter_mut().zip(values) {
        *clamped = value.clamp(-most, most);
    }
    let mut halves = [f16::ZERO; CHUNK];
    halves[..count].convert_from_f32_slice(&clamped[..count]);
    (halves, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_floats_round_to_11_bits_and_saturate() {
        let mut values = [
            0.0,
            1.0 + 1.0 / 1024.0,
            1.0 + 1.0 / 8192.0,
            -0.1,
            65504.0,
            65519.0,
            65520.0,
            -1e30,
            f32::INFINITY,
        ];
        FeaturePrecision::F16.round(&mut values);
        let expected = [
            0.0,
            1.0 + 1.0 / 1024.0,
            1.0,
            -0.099_975_586,
            65504.0,
            65504.0,
            65504.0,
            -65504.0,
            65504.0,
        ];
        assert_eq!(values, expected);
        let mut nan = [f32::NAN];
        FeaturePrecision::F16.round(&mut nan);
        assert!(nan[0].is_nan(), "what is no number stays so");
    }

    #[test]
    fn what_is_read_back_is_what_rounding_gives() {
        for count in [0, 1, CHUNK, CHUNK + 7, 3 * CHUNK] {
            let values: Vec<f32> = (0..count).map(|i| (i as f32 - 500.0) * 0.7301).collect();
            for precision in [FeaturePrecision::F32, FeaturePrecision::F16] {
                let mut bytes = vec![0; count * precision.size()];
                precision.encode(&values, &mut bytes);
                let mut read = vec![f32::NAN; count];
                precision.decode(&bytes, &mut read);
                let mut rounded = values.clone();
                precision.round(&mut rounded);
                assert_eq!(read, rounded);
                let mut again = rounded.clone();
                precision.round(&mut again);
                assert_eq!(again, rounded, "rounding twice is rounding once");
                for (a, b) in rounded.iter().zip(&values) {
                    assert!((a - b).abs() <= b.abs() / 2048.0);
                }
            }
        }
    }
}
