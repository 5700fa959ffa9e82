//! Sizes of a two-dimensional convolution over channels-last maps.

use thiserror::Error;

/// What a kernel refuses.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum KernelError {
    /// A slice that is not as long as its shape says.
    #[error("{what} has {found} elements, its shape wants {wanted}")]
    Length {
        /// Which slice.
        what: &'static str,
        /// Elements it has.
        found: usize,
        /// Elements it should have.
        wanted: usize,
    },
    /// Sizes that contradict each other.
    #[error("a convolution cannot have the shape {0:?}")]
    Shape(Box<ConvShape>),
}

/// A convolution: X `[batch, input₀, input₁, in_channels]` with W
/// `[out_channels, in_channels / group, kernel₀, kernel₁]` to Y
/// `[batch, output₀, output₁, out_channels]`.
///
/// Output position p meets input position `p · stride + tap · dilation − pad` along each axis;
/// positions outside the input count as zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvShape {
    /// Examples.
    pub batch: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Channels of the input.
    pub in_channels: usize,
    /// Height and width of the output.
    pub output: [usize; 2],
    /// Channels of the output.
    pub out_channels: usize,
    /// Taps per axis.
    pub kernel: [usize; 2],
    /// Strides per axis.
    pub strides: [usize; 2],
    /// Pads before the first row and column. What is read behind the last is zero without being told.
    pub pads: [usize; 2],
    /// Distance of taps per axis.
    pub dilations: [usize; 2],
    /// Groups; `in_channels` for a depthwise convolution.
    pub group: usize,
}

impl ConvShape {
    /// Elements of X.
    pub fn x_len(&self) -> usize {
        self.batch * self.input[0] * self.input[1] * self.in_channels
    }

    /// Elements of Y.
    pub fn y_len(&self) -> usize {
        self.batch * self.output[0] * self.output[1] * self.out_channels
    }

    /// Elements of W.
    pub fn w_len(&self) -> usize {
        self.out_channels * (self.in_channels / self.group.max(1)) * self.taps()
    }

    /// Taps of the kernel.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Whether each output channel reads one input channel.
    pub fn is_depthwise(&self) -> bool {
        self.group == self.in_channels && self.group > 1
    }

    /// Whether the sizes are positive and groups divide the channels.
    ///
    /// # Errors
    /// [`KernelError::Shape`].
    pub fn check(&self) -> Result<(), KernelError> {
        let positive = [
            self.kernel,
            self.strides,
            self.dilations,
            [self.group, self.in_channels],
            [self.out_channels, 1],
        ];
        let fits = positive.iter().flatten().all(|&n| n > 0)
            && self.in_channels.is_multiple_of(self.group)
            && self.out_channels.is_multiple_of(self.group);
        match fits {
            true => Ok(()),
            false => Err(KernelError::Shape(Box::new(*self))),
        }
    }
}

/// Refuses a slice of another length than its shape's.
pub(super) fn expect(what: &'static str, found: usize, wanted: usize) -> Result<(), KernelError> {
    match found == wanted {
        true => Ok(()),
        false => Err(KernelError::Length {
            what,
            found,
            wanted,
        }),
    }
}
