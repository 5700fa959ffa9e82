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
    /// Elements of X; as many as no slice has where that is beyond a number.
    pub fn x_len(&self) -> usize {
        product([self.batch, self.input[0], self.input[1], self.in_channels])
    }

    /// Elements of Y; as [`ConvShape::x_len`].
    pub fn y_len(&self) -> usize {
        product([
            self.batch,
            self.output[0],
            self.output[1],
            self.out_channels,
        ])
    }

    /// Elements of W; as [`ConvShape::x_len`].
    pub fn w_len(&self) -> usize {
        let per_group = self.in_channels / self.group.max(1);
        product([self.out_channels, per_group, self.taps()])
    }

    /// Taps of the kernel; as [`ConvShape::x_len`].
    pub fn taps(&self) -> usize {
        product(self.kernel)
    }

    /// Elements of a copy of X with everything that windows read around it, for one more image than
    /// there are and the channels of Y, if those are more: no kernel addresses more.
    fn copied_len(&self) -> usize {
        let extent = |axis: usize| {
            let steps = product([self.output[axis].saturating_sub(1), self.strides[axis]]);
            let window = product([self.kernel[axis].saturating_sub(1), self.dilations[axis]]);
            let read = steps.saturating_add(window).saturating_add(1);
            read.max(self.input[axis].saturating_add(self.pads[axis]))
        };
        let channels = self.in_channels.max(self.out_channels);
        product([self.batch.saturating_add(1), extent(0), extent(1), channels])
    }

    /// Whether each output channel reads one input channel.
    pub fn is_depthwise(&self) -> bool {
        self.group == self.in_channels && self.group > 1
    }

    /// Whether the sizes are positive, groups divide the channels, and all can be addressed.
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
        // Addresses are computed in floats and in bytes, with signs.
        let most = isize::MAX as usize / 16;
        let lengths = [self.x_len(), self.y_len(), self.w_len(), self.copied_len()];
        let fits = positive.iter().flatten().all(|&n| n > 0)
            && self.in_channels.is_multiple_of(self.group)
            && self.out_channels.is_multiple_of(self.group)
            && lengths.iter().all(|&len| len <= most);
        match fits {
            true => Ok(()),
            false => Err(KernelError::Shape(Box::new(*self))),
        }
    }
}

/// A product of sizes, `usize::MAX` where it is larger: no slice of floats has so many.
pub(super) fn product<const N: usize>(sizes: [usize; N]) -> usize {
    sizes.into_iter().fold(1, usize::saturating_mul)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::pool::{PoolShape, max_pool, max_pool_gradient};
    use crate::kernels::{
        Epilogue, GemmShape, InputEpilogue, Serial, conv, conv_input_gradient,
        conv_weight_gradient, gemm, gemm_weight_gradient,
    };

    /// Sizes whose product is 0 in 64 bits, so that no slice at all would seem to fit them.
    fn wrapping() -> ConvShape {
        ConvShape {
            batch: 1,
            input: [1 << 32, 1 << 32],
            in_channels: 16,
            output: [1 << 32, 1 << 32],
            out_channels: 16,
            kernel: [1, 1],
            strides: [1, 1],
            pads: [0, 0],
            dilations: [1, 1],
            group: 1,
        }
    }

    #[test]
    fn sizes_beyond_any_slice_are_refused_by_every_kernel() {
        let one = ConvShape {
            input: [1, 1],
            output: [1, 1],
            ..wrapping()
        };
        let far = usize::MAX / 2;
        let shapes = [
            wrapping(),
            ConvShape {
                group: 16,
                ..wrapping()
            },
            ConvShape {
                batch: 1 << 63,
                ..one
            },
            ConvShape {
                kernel: [1 << 32, 1 << 32],
                ..one
            },
            ConvShape {
                kernel: [3, 3],
                dilations: [far, far],
                ..one
            },
            ConvShape {
                pads: [usize::MAX, 0],
                ..one
            },
            ConvShape {
                output: [2, 1],
                strides: [far, 1],
                ..one
            },
        ];
        for shape in shapes {
            let none: &[f32] = &[];
            let [mut y, mut db] = [[0.0; 0]; 2];
            let refused = [
                conv(&shape, none, none, &Epilogue::default(), &mut y, &Serial),
                conv_input_gradient(
                    &shape,
                    none,
                    none,
                    &InputEpilogue::default(),
                    &mut y,
                    &Serial,
                ),
                conv_weight_gradient(&shape, none, none, &mut y, Some(&mut db[..]), &Serial),
            ];
            for refused in refused {
                assert!(
                    matches!(refused, Err(KernelError::Shape(_))),
                    "{shape:?}: {refused:?}"
                );
            }
            let pool = PoolShape {
                batch: shape.batch,
                input: shape.input,
                output: shape.output,
                channels: 16,
                kernel: shape.kernel,
                strides: shape.strides,
                pads: shape.pads,
                dilations: shape.dilations,
            };
            assert!(max_pool(&pool, none, &mut y, &Serial).is_err());
            assert!(max_pool_gradient(&pool, none, none, &mut y, &Serial).is_err());
        }
        let half = 1 << 32;
        let shape = GemmShape {
            rows: half,
            depth: half,
            width: half,
            transposed: false,
        };
        assert!(gemm(&shape, &[], &[], None, &mut [], &Serial).is_err());
        assert!(gemm_weight_gradient([half; 3], &[], &[], &mut [], &Serial).is_err());
    }
}
