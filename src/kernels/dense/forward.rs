//! Y = activation(X ∗ W + bias + residual).

use super::finish::Finish;
use super::gather::Gather;
use super::multiplier::Multiplier;
use super::pack::Matrix;
use super::product::Product;
use super::winograd;
use crate::kernels::shape::expect;
use crate::kernels::shared::Shared;
use crate::kernels::{ConvShape, Epilogue, KernelError, Parallel, Weight};

/// Writes Y.
///
/// # Errors
/// [`KernelError`] when sizes contradict each other or a slice's length its shape.
pub(in crate::kernels) fn conv(
    shape: &ConvShape,
    x: &[f32],
    w: Weight<'_>,
    epilogue: &Epilogue,
    y: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    shape.check()?;
    expect("X", x.len(), shape.x_len())?;
    expect("W", w.values.len(), shape.w_len())?;
    expect("Y", y.len(), shape.y_len())?;
    epilogue.check(shape)?;
    let product = Product {
        gather: gather(shape),
        matrix: matrix(shape, w.values),
        kept: w.kept,
        source: x,
        finish: Finish {
            bias: epilogue.bias,
            addend: epilogue.residual,
            activation: epilogue.activation,
            mask: None,
            coarse: epilogue.coarse,
        },
    };
    product.run(Shared::new(y), parallel);
    Ok(())
}

/// Whether fewer multiplications or AMX serve a shape that is not malformed.
pub(in crate::kernels) fn beats_vectors(shape: &ConvShape) -> bool {
    let (gather, matrix) = (gather(shape), matrix(shape, &[]));
    winograd::side(&gather, &matrix, true).is_some()
        || Multiplier::of(&matrix, gather.rows()) == Multiplier::Tiles
}

/// Input channels from which a tap is worth a loop of its own.
pub(super) const MANY_CHANNELS: usize = 16;

/// Whether the taps of a kernel row are read as one run of neighbouring pixels.
pub(super) fn joins_taps(shape: &ConvShape) -> bool {
    shape.group == 1
        && shape.in_channels < MANY_CHANNELS
        && shape.kernel[1] > 1
        && shape.dilations[1] == 1
}

/// Whether Y's pixels are those of X, one by one.
pub(super) fn is_pointwise(shape: &ConvShape) -> bool {
    shape.kernel == [1, 1]
        && shape.strides == [1, 1]
        && shape.pads == [0, 0]
        && shape.input == shape.output
}

/// Which pixels of X every pixel of Y reads.
pub(super) fn gather(shape: &ConvShape) -> Gather {
    let tap = |axis: usize, tap: usize| {
        (tap * shape.dilations[axis]) as isize - shape.pads[axis] as isize
    };
    let (columns, run) = match joins_taps(shape) {
        true => (1, shape.kernel[1]),
        false => (shape.kernel[1], 1),
    };
    let taps = (0..shape.kernel[0])
        .flat_map(|y| (0..columns).map(move |x| [tap(0, y), tap(1, x)]))
        .collect();
    let [batch, source, target] = match is_pointwise(shape) {
        true => {
            let pixels = shape.batch * shape.input[0] * shape.input[1];
            [[1, 1], [1, pixels], [1, pixels]]
        }
        false => [[shape.batch, 1], shape.input, shape.output],
    };
    Gather {
        batch: batch[0],
        grid: target,
        step: shape.strides,
        source,
        source_channels: shape.in_channels,
        taps,
        run,
        target,
        target_channels: shape.out_channels,
        origin: [0, 0],
        stride: [1, 1],
    }
}

fn matrix<'a>(shape: &ConvShape, w: &'a [f32]) -> Matrix<'a> {
    let [depth, width] = [shape.in_channels, shape.out_channels].map(|n| n / shape.group);
    let taps = shape.taps();
    Matrix {
        weight: w,
        group: shape.group,
        depth,
        width,
        group_step: width * depth * taps,
        depth_step: taps,
        width_step: depth * taps,
        taps: (0..taps).collect(),
        run: if joins_taps(shape) {
            shape.kernel[1]
        } else {
            1
        },
    }
}
