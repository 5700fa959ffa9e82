//! Windows as the kernels have them, and how attributes say them.

use crate::kernels::pool::PoolShape;
use crate::kernels::shape::ConvShape;

use super::{Attributes, DialectError, Value, read_size};

/// Where windows lie over a map, by height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Steps of the window.
    pub strides: [usize; 2],
    /// Rows and columns of zeros before the first.
    pub pads: [usize; 2],
    /// Distances of its taps.
    pub dilations: [usize; 2],
    /// Height and width of what is made.
    pub extent: [usize; 2],
}

impl Window {
    fn write(self, list: &mut Vec<(&'static str, Value)>) {
        list.push(("strides", pair(self.strides)));
        list.push(("pads", pair(self.pads)));
        list.push(("dilations", pair(self.dilations)));
        list.push(("extent", pair(self.extent)));
    }

    fn read(from: &dyn Attributes) -> Result<Self, DialectError> {
        Ok(Window {
            strides: read_pair(from, "strides")?,
            pads: read_pair(from, "pads")?,
            dilations: read_pair(from, "dilations")?,
            extent: read_pair(from, "extent")?,
        })
    }
}

/// The window of a convolution or of one of its gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvWindow {
    /// Where it lies.
    pub window: Window,
    /// Groups of channels.
    pub group: usize,
}

impl ConvWindow {
    pub(super) fn write(self, list: &mut Vec<(&'static str, Value)>) {
        self.window.write(list);
        list.push(("group", Value::Int(self.group as i64)));
    }

    pub(super) fn read(from: &dyn Attributes) -> Result<Self, DialectError> {
        Ok(ConvWindow {
            window: Window::read(from)?,
            group: read_size(from, "group")?,
        })
    }

    /// The sizes of a convolution of X `[batch, height, width, channels]` to Y of this height, width and
    /// number of channels, with `kernel` taps.
    pub fn shape(&self, x: [usize; 4], y: [usize; 3], kernel: [usize; 2]) -> ConvShape {
        ConvShape {
            batch: x[0],
            input: [x[1], x[2]],
            in_channels: x[3],
            output: [y[0], y[1]],
            out_channels: y[2],
            kernel,
            strides: self.window.strides,
            pads: self.window.pads,
            dilations: self.window.dilations,
            group: self.group,
        }
    }
}

/// The window of a pool or of its gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolWindow {
    /// Where it lies.
    pub window: Window,
    /// Taps by height and width.
    pub kernel: [usize; 2],
}

impl PoolWindow {
    pub(super) fn write(self, list: &mut Vec<(&'static str, Value)>) {
        self.window.write(list);
        list.push(("kernel_shape", pair(self.kernel)));
    }

    pub(super) fn read(from: &dyn Attributes) -> Result<Self, DialectError> {
        Ok(PoolWindow {
            window: Window::read(from)?,
            kernel: read_pair(from, "kernel_shape")?,
        })
    }

    /// The sizes of the pool of X `[batch, height, width, channels]`.
    pub fn shape(&self, [batch, height, width, channels]: [usize; 4]) -> PoolShape {
        PoolShape {
            batch,
            input: [height, width],
            output: self.window.extent,
            channels,
            kernel: self.kernel,
            strides: self.window.strides,
            pads: self.window.pads,
            dilations: self.window.dilations,
        }
    }
}

fn pair([height, width]: [usize; 2]) -> Value {
    Value::Ints(vec![height as i64, width as i64])
}

fn read_pair(from: &dyn Attributes, name: &'static str) -> Result<[usize; 2], DialectError> {
    let pair = from.ints(name).and_then(|values| match *values {
        [a, b] => Some([usize::try_from(a).ok()?, usize::try_from(b).ok()?]),
        _ => None,
    });
    pair.ok_or(DialectError(name))
}
