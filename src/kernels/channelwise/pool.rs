//! Pooling over channels-last maps, and its gradient.

mod max;
#[cfg(test)]
mod tests;

pub use self::max::{max_pool, max_pool_gradient};

use super::taps::Axis;
use crate::kernels::{ConvShape, KernelError};

/// Windows over X `[batch, input₀, input₁, channels]`, each giving one position of Y
/// `[batch, output₀, output₁, channels]`.
///
/// The window of output position p holds the input positions `p · stride + tap · dilation − pad`
/// that exist.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoolShape {
    /// Examples.
    pub batch: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of the output.
    pub output: [usize; 2],
    /// Channels of both.
    pub channels: usize,
    /// Taps per axis.
    pub kernel: [usize; 2],
    /// Strides per axis.
    pub strides: [usize; 2],
    /// Pads before the first row and column.
    pub pads: [usize; 2],
    /// Distance of taps per axis.
    pub dilations: [usize; 2],
}

impl PoolShape {
    /// Elements of X.
    pub fn x_len(&self) -> usize {
        self.conv().x_len()
    }

    /// Elements of Y.
    pub fn y_len(&self) -> usize {
        self.conv().y_len()
    }

    /// The depthwise convolution with the same windows.
    fn conv(&self) -> ConvShape {
        ConvShape {
            batch: self.batch,
            input: self.input,
            in_channels: self.channels,
            output: self.output,
            out_channels: self.channels,
            kernel: self.kernel,
            strides: self.strides,
            pads: self.pads,
            dilations: self.dilations,
            group: self.channels,
        }
    }

    fn check(&self) -> Result<(), KernelError> {
        self.conv().check()
    }

    fn axis(&self, axis: usize) -> Axis {
        Axis::of(&self.conv(), axis)
    }
}
