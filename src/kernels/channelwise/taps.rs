//! Which taps of a window meet which positions along one axis.

use crate::kernels::ConvShape;

/// One axis of a convolution or a pooling.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) pad: usize,
    pub(super) dilation: usize,
}

impl Axis {
    /// The axis 0 (rows) or 1 (columns) of `shape`.
    pub(super) fn of(shape: &ConvShape, axis: usize) -> Self {
        Self {
            input: shape.input[axis],
            output: shape.output[axis],
            kernel: shape.kernel[axis],
            stride: shape.strides[axis],
            pad: shape.pads[axis],
            dilation: shape.dilations[axis],
        }
    }

    /// The input position that an output position meets with a tap, if it is not padding.
    fn meets(self, output: usize, tap: usize) -> Option<usize> {
        (output * self.stride + tap * self.dilation)
            .checked_sub(self.pad)
            .filter(|&position| position < self.input)
    }
}

/// For each position of one side, the pairs (tap, position of the other side) it takes part in,
/// taps ascending.
#[derive(Debug)]
pub(super) struct Taps {
    pairs: Vec<(usize, usize)>,
    starts: Vec<usize>,
}

impl Taps {
    /// From output positions to input positions.
    pub(super) fn forward(axis: Axis) -> Self {
        Self::gather(axis.output, |p| {
            (0..axis.kernel).filter_map(move |tap| Some((tap, axis.meets(p, tap)?)))
        })
    }

    /// From input positions to output positions.
    pub(super) fn backward(axis: Axis) -> Self {
        Self::gather(axis.input, |h| {
            (0..axis.kernel).filter_map(move |tap| {
                let reach = (h + axis.pad).checked_sub(tap * axis.dilation)?;
                let output = reach / axis.stride;
                (reach.is_multiple_of(axis.stride) && output < axis.output).then_some((tap, output))
            })
        })
    }

    /// The same pairs with tap t called kernel − 1 − t.
    pub(super) fn mirrored(mut self, kernel: usize) -> Self {
        for (tap, _) in &mut self.pairs {
            *tap = kernel - 1 - *tap;
        }
        self
    }

    fn gather<I: Iterator<Item = (usize, usize)>>(len: usize, of: impl Fn(usize) -> I) -> Self {
        let mut pairs = Vec::new();
        let mut starts = vec![0];
        for position in 0..len {
            pairs.extend(of(position));
            starts.push(pairs.len());
        }
        Self { pairs, starts }
    }

    /// The pairs of one position.
    pub(super) fn at(&self, position: usize) -> &[(usize, usize)] {
        &self.pairs[self.starts[position]..self.starts[position + 1]]
    }
}
