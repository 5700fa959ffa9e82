//! Depthwise convolution and its gradients: every output channel reads one input channel.

mod finish;
mod gather;
mod multiplied;
mod rows;
mod scatter;
#[cfg(test)]
mod tests;
mod weights;

use pulp::Simd;

use self::finish::Finish;
use self::rows::{Correlation, Walk};
use self::weights::Correlate;
use super::bands::Bands;
use super::channels::{Kernel, Lanes, dispatch};
use super::taps::{Axis, Taps};
use crate::kernels::shape::expect;
use crate::kernels::shared::Shared;
use crate::kernels::{ConvShape, Epilogue, InputEpilogue, KernelError, Parallel, workspace};

/// Y = activation(X ∗ W + bias + residual).
///
/// # Errors
/// [`KernelError`] when the shape is not a depthwise one or a slice does not fit it.
pub(in crate::kernels) fn conv(
    shape: &ConvShape,
    x: &[f32],
    w: &[f32],
    epilogue: &Epilogue,
    y: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    check(shape)?;
    expect("X", x.len(), shape.x_len())?;
    expect("W", w.len(), shape.w_len())?;
    expect("Y", y.len(), shape.y_len())?;
    epilogue.check(shape)?;
    if shape.out_channels != shape.in_channels {
        multiplied::conv(shape, x, w, epilogue, y, parallel);
        return Ok(());
    }
    let [rows, columns] = [0, 1].map(|axis| Taps::forward(Axis::of(shape, axis)));
    let walk = match (shape.dilations[1], shape.strides[1]) {
        (1, stride @ 1..=2) => Walk::Gather {
            stride,
            pad: signed(shape.pads[1]),
        },
        _ => Walk::Table,
    };
    let tables = Tables {
        rows,
        columns,
        walk,
        input: shape.input,
        output: shape.output,
    };
    let start = |channel: usize| epilogue.bias.map_or(0.0, |bias| bias[channel]);
    correlate(shape, &tables, x, (w, false), start, epilogue, y, parallel);
    Ok(())
}

/// dX = (dY ∗ᵀ W + addend) ⊙ slope.
///
/// # Errors
/// [`KernelError`] when the shape is not a depthwise one or a slice does not fit it.
pub(in crate::kernels) fn conv_input_gradient(
    shape: &ConvShape,
    dy: &[f32],
    w: &[f32],
    epilogue: &InputEpilogue,
    dx: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    check(shape)?;
    expect("dY", dy.len(), shape.y_len())?;
    expect("W", w.len(), shape.w_len())?;
    expect("dX", dx.len(), shape.x_len())?;
    epilogue.check(shape)?;
    if shape.out_channels != shape.in_channels {
        multiplied::conv_input_gradient(shape, dy, w, epilogue, dx, parallel);
        return Ok(());
    }
    let [rows, columns] = [0, 1].map(|axis| Taps::backward(Axis::of(shape, axis)));
    let (kernel, pad) = (shape.kernel[1], shape.pads[1]);
    let walk = match (shape.dilations[1], shape.strides[1]) {
        // A correlation with the mirrored kernel.
        (1, 1) => Walk::Gather {
            stride: 1,
            pad: signed(kernel) - 1 - signed(pad),
        },
        (1, 2) => Walk::Scatter { pad },
        _ => Walk::Table,
    };
    let mirror = matches!(walk, Walk::Gather { .. });
    let tables = Tables {
        rows,
        columns: match mirror {
            true => columns.mirrored(kernel),
            false => columns,
        },
        walk,
        input: shape.output,
        output: shape.input,
    };
    let start = |_: usize| 0.0;
    correlate(
        shape,
        &tables,
        dy,
        (w, mirror),
        start,
        epilogue,
        dx,
        parallel,
    );
    Ok(())
}

/// dW = Σ X · dY and, if wanted, dbias = Σ dY.
///
/// # Errors
/// [`KernelError`] when the shape is not a depthwise one or a slice does not fit it.
pub(in crate::kernels) fn conv_weight_gradient(
    shape: &ConvShape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    check(shape)?;
    expect("X", x.len(), shape.x_len())?;
    expect("dY", dy.len(), shape.y_len())?;
    expect("dW", dw.len(), shape.w_len())?;
    if let Some(db) = &db {
        expect("dbias", db.len(), shape.out_channels)?;
    }
    if shape.out_channels != shape.in_channels {
        multiplied::conv_weight_gradient(shape, x, dy, dw, db, parallel);
        return Ok(());
    }
    let lanes = Lanes::of(shape.in_channels);
    let [rows, columns] = [0, 1].map(|axis| Taps::forward(Axis::of(shape, axis)));
    let taps = shape.taps();
    let correlate = Correlate {
        lanes,
        input: shape.input,
        output: shape.output,
        width: shape.kernel[1],
        taps,
        walk: (shape.dilations[1] == 1).then_some((shape.strides[1], shape.pads[1])),
        rows: &rows,
        columns: &columns,
    };
    let bands = Bands::new(
        shape.batch * shape.output[0],
        x.len() + dy.len(),
        parallel.threads(),
    );
    let len = lanes.packed(taps + 1);
    workspace::with(bands.pieces() * len, |sums| {
        let shared = Shared::new(sums);
        parallel.run(bands.pieces(), &|piece| {
            #[allow(unsafe_code)]
            // SAFETY: each piece has sums of its own.
            let sums = unsafe { shared.part(piece * len..(piece + 1) * len) };
            sums.fill(0.0);
            let kernel = WeightRows {
                correlate: &correlate,
                range: bands.range(piece),
                x,
                dy,
                sums,
            };
            dispatch(shape.in_channels, kernel);
        });
        let (total, others) = sums.split_at_mut(len);
        for other in others.chunks_exact(len) {
            total.iter_mut().zip(other).for_each(|(t, o)| *t += o);
        }
        for (channel, dw) in dw.chunks_exact_mut(taps).enumerate() {
            for (tap, dw) in dw.iter_mut().enumerate() {
                *dw = total[lanes.index(taps + 1, channel, tap)];
            }
        }
        for (channel, db) in db.into_iter().flatten().enumerate() {
            *db = total[lanes.index(taps + 1, channel, taps)];
        }
    });
    Ok(())
}

fn check(shape: &ConvShape) -> Result<(), KernelError> {
    shape.check()?;
    match shape.group == shape.in_channels {
        true => Ok(()),
        false => Err(KernelError::Shape(Box::new(*shape))),
    }
}

/// Sizes are lengths of slices, which never reach the sign bit.
fn signed(size: usize) -> isize {
    size as isize
}

/// How one side of a convolution is made from the other.
struct Tables {
    rows: Taps,
    columns: Taps,
    walk: Walk,
    input: [usize; 2],
    output: [usize; 2],
}

#[allow(clippy::too_many_arguments)]
fn correlate<F: Finish>(
    shape: &ConvShape,
    tables: &Tables,
    x: &[f32],
    (w, mirror): (&[f32], bool),
    start: impl Fn(usize) -> f32,
    finish: &F,
    y: &mut [f32],
    parallel: &dyn Parallel,
) {
    let lanes = Lanes::of(shape.in_channels);
    let (taps, width) = (shape.taps(), shape.kernel[1]);
    let bands = Bands::new(
        shape.batch * tables.output[0],
        x.len() + y.len(),
        parallel.threads(),
    );
    let row = tables.output[1] * shape.in_channels;
    workspace::with(lanes.packed(taps + 1), |packed| {
        let (weights, starts) = packed.split_at_mut(lanes.packed(taps));
        let mirrored = |tap: usize| tap - tap % width + width - 1 - tap % width;
        let weight = |channel: usize, tap: usize| match mirror {
            true => w[channel * taps + mirrored(tap)],
            false => w[channel * taps + tap],
        };
        lanes.pack(taps, weight, weights);
        lanes.pack(1, |channel, _| start(channel), starts);
        let correlation = Correlation {
            lanes,
            input: tables.input,
            output: tables.output,
            width,
            taps,
            walk: tables.walk,
            rows: &tables.rows,
            columns: &tables.columns,
            weights,
            start: starts,
        };
        let shared = Shared::new(y);
        parallel.run(bands.pieces(), &|piece| {
            let range = bands.range(piece);
            #[allow(unsafe_code)]
            // SAFETY: pieces have rows of their own.
            let y = unsafe { shared.part(range.start * row..range.end * row) };
            let kernel = Rows {
                correlation: &correlation,
                finish,
                first: range.start,
                x,
                y,
            };
            dispatch(shape.in_channels, kernel);
        });
    });
}

/// A piece of an output: its rows from `first` of all examples' rows.
struct Rows<'a, F> {
    correlation: &'a Correlation<'a>,
    finish: &'a F,
    first: usize,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl<F: Finish> Kernel for Rows<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let c = self.correlation;
        let map = c.input[0] * c.input[1] * c.lanes.channels;
        let row = c.output[1] * c.lanes.channels;
        for (index, y) in self.y.chunks_exact_mut(row.max(1)).enumerate() {
            let (example, p) = (
                (self.first + index) / c.output[0],
                (self.first + index) % c.output[0],
            );
            let x = &self.x[example * map..(example + 1) * map];
            let offset = (self.first + index) * row;
            #[allow(unsafe_code)]
            // SAFETY: the epilogue's slices were checked to be as long as the whole output.
            unsafe {
                c.row(simd, self.finish, p, x, y, offset);
            }
        }
    }
}

/// A piece of a weight gradient: what `range` of all examples' output rows gives.
struct WeightRows<'a> {
    correlate: &'a Correlate<'a>,
    range: std::ops::Range<usize>,
    x: &'a [f32],
    dy: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for WeightRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let c = self.correlate;
        let map = c.input[0] * c.input[1] * c.lanes.channels;
        let row = c.output[1] * c.lanes.channels;
        for index in self.range {
            let (example, p) = (index / c.output[0], index % c.output[0]);
            let x = &self.x[example * map..(example + 1) * map];
            let dy = &self.dy[index * row..(index + 1) * row];
            c.row(simd, p, x, dy, self.sums);
        }
    }
}
