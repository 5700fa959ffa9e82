//! dX = (dY ∗ᵀ W + addend) where the activation that made X was active.

use super::finish::Finish;
use super::forward::is_pointwise;
use super::gather::Gather;
use super::pack::Matrix;
use super::product::Product;
use crate::kernels::shape::expect;
use crate::kernels::shared::Shared;
use crate::kernels::{Activation, ConvShape, InputEpilogue, KernelError, Parallel, Weight};

/// Writes dX; zero plus the addend where no window reads.
///
/// # Errors
/// [`KernelError`] when sizes contradict each other or a slice's length its shape.
pub(in crate::kernels) fn conv_input_gradient(
    shape: &ConvShape,
    dy: &[f32],
    w: Weight<'_>,
    epilogue: &InputEpilogue,
    dx: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    shape.check()?;
    expect("dY", dy.len(), shape.y_len())?;
    expect("W", w.values.len(), shape.w_len())?;
    expect("dX", dx.len(), shape.x_len())?;
    epilogue.check(shape)?;
    let target = Shared::new(dx);
    // Phases make different things of the weight.
    let kept = w.kept.filter(|_| shape.strides == [1, 1]);
    for row in 0..shape.strides[0].min(shape.input[0]) {
        for column in 0..shape.strides[1].min(shape.input[1]) {
            Product {
                kept,
                ..phase(shape, [row, column], dy, w.values, epilogue)
            }
            .run(target, parallel);
        }
    }
    Ok(())
}

/// Positions of X that lie `origin` behind a multiple of the stride: they share their taps.
fn phase<'a>(
    shape: &ConvShape,
    origin: [usize; 2],
    dy: &'a [f32],
    w: &'a [f32],
    epilogue: &InputEpilogue<'a>,
) -> Product<'a> {
    let [rows, columns] = [0, 1].map(|axis| axis_taps(shape, origin[axis], axis));
    let pairs = || {
        rows.iter()
            .flat_map(|row| columns.iter().map(move |column| [*row, *column]))
    };
    let [depth, width] = [shape.out_channels, shape.in_channels].map(|n| n / shape.group);
    let all_taps = shape.taps();
    let grid = [0, 1].map(|axis| (shape.input[axis] - origin[axis]).div_ceil(shape.strides[axis]));
    let pixels = shape.batch * shape.input[0] * shape.input[1];
    let (batch, grid, source, target) = match is_pointwise(shape) {
        true => (1, [1, pixels], [1, pixels], [1, pixels]),
        false => (shape.batch, grid, shape.output, shape.input),
    };
    Product {
        gather: Gather {
            batch,
            grid,
            step: [1, 1],
            source,
            source_channels: shape.out_channels,
            taps: pairs().map(|[y, x]| [y.1, x.1]).collect(),
            run: 1,
            target,
            target_channels: shape.in_channels,
            origin,
            stride: shape.strides,
        },
        matrix: Matrix {
            weight: w,
            group: shape.group,
            depth,
            width,
            group_step: width * depth * all_taps,
            depth_step: width * all_taps,
            width_step: all_taps,
            taps: pairs().map(|[y, x]| y.0 * shape.kernel[1] + x.0).collect(),
            run: 1,
        },
        kept: None,
        source: dy,
        finish: Finish {
            bias: None,
            addend: epilogue.addend,
            activation: Activation::None,
            mask: epilogue.mask,
            coarse: false,
        },
    }
}

/// The taps that read input position `origin + q · stride`, and where their outputs lie from q.
fn axis_taps(shape: &ConvShape, origin: usize, axis: usize) -> Vec<(usize, isize)> {
    let stride = shape.strides[axis] as isize;
    (0..shape.kernel[axis])
        .map(|tap| {
            let read = (tap * shape.dilations[axis]) as isize;
            (tap, (origin + shape.pads[axis]) as isize - read)
        })
        .filter(|(_, distance)| distance.rem_euclid(stride) == 0)
        .map(|(tap, distance)| (tap, distance.div_euclid(stride)))
        .collect()
}
