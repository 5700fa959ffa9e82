//! Pooling.

use crate::graph::Window;
use crate::kernels::dialect::Kernel;
use crate::onnx::{Tensor, element_count};

use super::super::context::{Context, Contributions, Refusal};
use super::Rule;

/// Window elements, over all positions or channels, beyond which a pool is refused: the counts and
/// the kernel of ones that its gradient needs are made here.
const MAX_WORK: usize = 1 << 26;

pub(super) const RULES: &[Rule] = &[
    Rule {
        op_type: "MaxPool",
        limits: "storage_order = 1; auto_pad = SAME_… with dilations, or that leaves out more than one row, \
                 its stride being beyond the kernel",
        backward: max_pool,
    },
    Rule {
        op_type: "AveragePool",
        limits: "count_include_pad where ceil_mode lets a dilated window hang over by as much as the kernel; \
                 auto_pad = SAME_… with dilations or a stride beyond the kernel; a kernel more than twice the map; \
                 maps of 2²⁶ window elements or more",
        backward: average_pool,
    },
    Rule {
        op_type: "GlobalAveragePool",
        limits: "",
        backward: global_average_pool,
    },
    Rule {
        op_type: "GlobalMaxPool",
        limits: "",
        backward: global_max_pool,
    },
];

/// MaxPool: dY goes to the input element that was the maximum of its window, the first of equal
/// ones, as the operator's second output tells; windows that overlap add up.
/// Source: <https://onnx.ai/onnx/operators/onnx__MaxPool.html>.
fn max_pool(c: &mut Context) -> Contributions {
    if c.node.int("storage_order", 0)? != 0 {
        return c.refuse("storage_order = 1");
    }
    let dims = c.input_dims(0)?;
    let dy = c.gradient()?;
    let y_dims = c.output_dims()?;
    let window = Window::of_pool(c.node, &dims, &y_dims)?;
    if c.has_kernels()
        && c.node.output(1).is_none()
        && let Some(window) = window.pool_kernel(&dims, &y_dims)
    {
        let pool = Kernel::MaxPoolGradient(window);
        let dx = c.kernel(&pool, &[c.input(0)?, &dy], 1);
        return Ok(dx.into_iter().map(Some).collect());
    }
    let total: usize = dims.iter().product();
    let outputs: usize = y_dims.iter().product();
    let indices = c.add_output(1);
    let flat_indices = c.reshape(&indices, &[outputs]);
    let flat_dy = c.reshape(&dy, &[outputs]);
    let size = c.ints(&[total as i64]);
    let zeros = c.call("ConstantOfShape", &[&size]);
    let attributes = vec![("axis", 0.into()), ("reduction", "add".into())];
    let scattered = c.op(
        "ScatterElements",
        &[&zeros, &flat_indices, &flat_dy],
        attributes,
    );
    Ok(vec![Some(c.reshape(&scattered, &dims))])
}

/// AveragePool: every input element of a window receives dY / n, n the number of elements that
/// the window averages: the transposed convolution of dY / n with a kernel of ones.
/// Source: <https://onnx.ai/onnx/operators/onnx__AveragePool.html>.
fn average_pool(c: &mut Context) -> Contributions {
    let x_dims = c.input_dims(0)?;
    let y_dims = c.output_dims()?;
    let window = Window::of_pool(c.node, &x_dims, &y_dims)?;
    let kernel = &window.kernel;
    let channels = x_dims[1];
    let volume = element_count(kernel).filter(|&v| v > 0);
    let fits = |volume: &usize| {
        let sizes = [element_count(&y_dims[2..]), Some(channels)];
        sizes.iter().all(|size| {
            let work = size.and_then(|n| n.checked_mul(*volume));
            work.is_some_and(|n| n <= MAX_WORK)
        })
    };
    // The kernel of ones is to be no larger than a small multiple of the map.
    let small = window.has_small_kernel(&x_dims);
    let Some(volume) = volume.filter(fits).filter(|_| small) else {
        return c.refuse(format!("a window of {kernel:?} over {x_dims:?}"));
    };
    let dy = c.gradient()?;
    let include_pad = c.node.int("count_include_pad", 0)? != 0;
    if include_pad && window.overhangs {
        return c.refuse("count_include_pad with a window that hangs over the padding (ceil_mode)");
    }
    // Most of onnxruntime's pools do not run then, for the pads would be negative.
    if window.same && window.unreached.iter().any(|&r| r > 0) {
        return c.refuse("auto_pad = SAME_… with a stride beyond the kernel");
    }
    let counts = match include_pad || window.is_unpadded() {
        true => None,
        false => Some(window_counts(&window, &x_dims, &y_dims)),
    };
    let share = match counts {
        None => c.scale(&dy, 1.0 / volume as f32),
        Some(counts) => {
            let mut dims = vec![1, 1];
            dims.extend(&y_dims[2..]);
            let inverse: Vec<f32> = counts.iter().map(|&n| 1.0 / n as f32).collect();
            let inverse = c.constant(Tensor::f32(&dims, &inverse));
            c.call("Mul", &[&dy, &inverse])
        }
    };
    let mut kernel_dims = vec![channels, 1];
    kernel_dims.extend(kernel);
    let ones = c.constant(Tensor::f32(&kernel_dims, &vec![1.0; channels * volume]));
    let attributes = window.transposed_attributes(channels);
    Ok(vec![Some(c.op(
        "ConvTranspose",
        &[&share, &ones],
        attributes,
    ))])
}

/// For each output position: how many elements of its window lie inside the input.
fn window_counts(window: &Window, x_dims: &[usize], y_dims: &[usize]) -> Vec<usize> {
    let kernel = &window.kernel;
    let along = |axis: usize, position: usize| {
        let start = position * window.strides[axis];
        (0..kernel[axis])
            .filter(|k| {
                let at = start + k * window.dilations[axis];
                at >= window.pads[axis] && at - window.pads[axis] < x_dims[axis + 2]
            })
            .count()
            .max(1)
    };
    let mut counts = vec![1];
    for axis in 0..kernel.len() {
        counts = counts
            .iter()
            .flat_map(|&n| (0..y_dims[axis + 2]).map(move |p| n * along(axis, p)))
            .collect();
    }
    counts
}

/// GlobalAveragePool: dX = dY / (number of positions), broadcast over space.
/// Source: <https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html>.
fn global_average_pool(c: &mut Context) -> Contributions {
    let dims = c.input_dims(0)?;
    let positions: usize = dims.get(2..).ok_or_else(|| rank_error(c))?.iter().product();
    let dy = c.gradient()?;
    let share = c.scale(&dy, 1.0 / positions as f32);
    Ok(vec![Some(c.expand(&share, &dims))])
}

/// GlobalMaxPool: Y = max X over space; dX = dY at the first position of the maximum.
/// Source: <https://onnx.ai/onnx/operators/onnx__GlobalMaxPool.html>.
fn global_max_pool(c: &mut Context) -> Contributions {
    let dims = c.input_dims(0)?;
    let positions: usize = dims.get(2..).ok_or_else(|| rank_error(c))?.iter().product();
    let (dy, x) = (c.gradient()?, c.input(0)?);
    let flat = [dims[0], dims[1], positions];
    let x = c.reshape(x, &flat);
    let best = c.op("ArgMax", &[&x], vec![("axis", 2.into())]);
    let zero = c.scalar(0.0);
    let zeros = c.expand(&zero, &flat);
    let dy = c.reshape(&dy, &[dims[0], dims[1], 1]);
    let attributes = vec![("axis", 2.into())];
    let scattered = c.op("ScatterElements", &[&zeros, &best, &dy], attributes);
    Ok(vec![Some(c.reshape(&scattered, &dims))])
}

fn rank_error(c: &Context) -> Refusal {
    Refusal::Graph(c.node.error("its input has no spatial axes"))
}
