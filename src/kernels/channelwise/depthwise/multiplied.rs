//! Several output channels per input channel: rare, so plain loops.

use pulp::Scalar;

use super::finish::Finish;
use crate::kernels::channelwise::bands::Bands;
use crate::kernels::channelwise::taps::{Axis, Taps};
use crate::kernels::shared::Shared;
use crate::kernels::{ConvShape, Epilogue, InputEpilogue, Parallel};

/// As `super::conv`, lengths checked.
pub(super) fn conv(
    shape: &ConvShape,
    x: &[f32],
    w: &[f32],
    epilogue: &Epilogue,
    y: &mut [f32],
    parallel: &dyn Parallel,
) {
    let [rows, columns] = [0, 1].map(|axis| Taps::forward(Axis::of(shape, axis)));
    let times = shape.out_channels / shape.in_channels;
    each_element(
        shape.output,
        shape.out_channels,
        y,
        epilogue,
        parallel,
        |at| {
            let mut sum = epilogue.bias.map_or(0.0, |bias| bias[at.channel]);
            for &(i, h) in rows.at(at.row) {
                for &(j, c) in columns.at(at.column) {
                    let tap = (at.channel * shape.kernel[0] + i) * shape.kernel[1] + j;
                    let position = (at.example * shape.input[0] + h) * shape.input[1] + c;
                    sum += w[tap] * x[position * shape.in_channels + at.channel / times];
                }
            }
            sum
        },
    );
}

/// As `super::conv_input_gradient`, lengths checked.
pub(super) fn conv_input_gradient(
    shape: &ConvShape,
    dy: &[f32],
    w: &[f32],
    epilogue: &InputEpilogue,
    dx: &mut [f32],
    parallel: &dyn Parallel,
) {
    let [rows, columns] = [0, 1].map(|axis| Taps::backward(Axis::of(shape, axis)));
    let times = shape.out_channels / shape.in_channels;
    each_element(
        shape.input,
        shape.in_channels,
        dx,
        epilogue,
        parallel,
        |at| {
            let mut sum = 0.0;
            for &(i, p) in rows.at(at.row) {
                for &(j, q) in columns.at(at.column) {
                    let position = (at.example * shape.output[0] + p) * shape.output[1] + q;
                    for channel in at.channel * times..(at.channel + 1) * times {
                        let tap = (channel * shape.kernel[0] + i) * shape.kernel[1] + j;
                        sum += w[tap] * dy[position * shape.out_channels + channel];
                    }
                }
            }
            sum
        },
    );
}

/// As `super::conv_weight_gradient`, lengths checked.
pub(super) fn conv_weight_gradient(
    shape: &ConvShape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    parallel: &dyn Parallel,
) {
    let [rows, columns] = [0, 1].map(|axis| Taps::forward(Axis::of(shape, axis)));
    let (channels, taps) = (shape.out_channels, shape.taps());
    let times = channels / shape.in_channels;
    let bands = Bands::new(channels, x.len() + dy.len(), parallel.threads());
    dw.fill(0.0);
    let shared = Shared::new(dw);
    parallel.run(bands.pieces(), &|piece| {
        for channel in bands.range(piece) {
            #[allow(unsafe_code)]
            // SAFETY: channels have taps of their own.
            let dw = unsafe { shared.part(channel * taps..(channel + 1) * taps) };
            for n in 0..shape.batch {
                for p in 0..shape.output[0] {
                    for q in 0..shape.output[1] {
                        let position = (n * shape.output[0] + p) * shape.output[1] + q;
                        let dy = dy[position * channels + channel];
                        for &(i, h) in rows.at(p) {
                            for &(j, c) in columns.at(q) {
                                let position = (n * shape.input[0] + h) * shape.input[1] + c;
                                dw[i * shape.kernel[1] + j] +=
                                    dy * x[position * shape.in_channels + channel / times];
                            }
                        }
                    }
                }
            }
        }
    });
    if let Some(db) = db {
        db.fill(0.0);
        for dy in dy.chunks_exact(channels) {
            db.iter_mut().zip(dy).for_each(|(db, dy)| *db += dy);
        }
    }
}

struct Element {
    example: usize,
    row: usize,
    column: usize,
    channel: usize,
}

/// Fills `y`, maps of `[height, width]`, with what `value` gives, finished.
fn each_element<F: Finish>(
    [height, width]: [usize; 2],
    channels: usize,
    y: &mut [f32],
    finish: &F,
    parallel: &dyn Parallel,
    value: impl Fn(Element) -> f32 + Sync,
) {
    let positions = y.len() / channels;
    let bands = Bands::new(positions, y.len(), parallel.threads());
    let shared = Shared::new(y);
    parallel.run(bands.pieces(), &|piece| {
        for position in bands.range(piece) {
            #[allow(unsafe_code)]
            // SAFETY: positions have elements of their own.
            let y = unsafe { shared.part(position * channels..(position + 1) * channels) };
            for (channel, y) in y.iter_mut().enumerate() {
                let sum = value(Element {
                    example: position / (height * width),
                    row: position / width % height,
                    column: position % width,
                    channel,
                });
                #[allow(unsafe_code)]
                // SAFETY: within the output.
                let sum = unsafe {
                    F::finish(
                        Scalar,
                        &finish.ready(Scalar),
                        sum,
                        position * channels + channel,
                    )
                };
                *y = sum;
            }
        }
    });
}
