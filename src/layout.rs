//! The order of the dimensions of images and feature maps.

use serde::{Deserialize, Serialize};

/// The order of the dimensions of a batch of images or maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Batch, channels, height, width.
    Nchw,
    /// Batch, height, width, channels.
    Nhwc,
}

/// The permutation of `Transpose` from channels first to channels last.
pub const TO_NHWC: [i64; 4] = [0, 2, 3, 1];
/// The permutation of `Transpose` from channels last to channels first.
pub const TO_NCHW: [i64; 4] = [0, 3, 1, 2];

impl Layout {
    /// The axes of channels, height and width in a batch.
    pub fn axes(self) -> [usize; 3] {
        match self {
            Layout::Nchw => [1, 2, 3],
            Layout::Nhwc => [3, 1, 2],
        }
    }

    /// The dimensions of one sample of so many channels, rows and columns.
    pub fn sample(self, [c, h, w]: [usize; 3]) -> [usize; 3] {
        match self {
            Layout::Nchw => [c, h, w],
            Layout::Nhwc => [h, w, c],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_and_permutations_mean_the_same_order() {
        let plain = [0usize, 1, 2, 3];
        for (layout, perm) in [(Layout::Nhwc, TO_NHWC), (Layout::Nchw, [0, 1, 2, 3])] {
            let turned = perm.map(|axis| plain[axis as usize]);
            assert_eq!(layout.axes().map(|axis| turned[axis]), [1, 2, 3]);
            assert_eq!(layout.sample([1, 2, 3]), turned[1..]);
        }
        let back = TO_NCHW.map(|axis| TO_NHWC[axis as usize]);
        assert_eq!(back, [0, 1, 2, 3]);
    }
}
