//! Convolution: the gradients with respect to the input and the bias. The weight's stands in
//! [`super::conv_weight`].

use crate::graph::{Window, to_i64};
use crate::kernels::Activation;
use crate::kernels::dialect::{ConvWindow, Kernel};

use super::super::context::{Context, Contributions, Refusal};
use super::Rule;
use super::conv_weight::weight_gradient;

pub(super) const RULES: &[Rule] = &[Rule {
    op_type: "Conv",
    limits: "auto_pad = SAME_… that leaves out more than one row, its stride being beyond the kernel",
    backward: conv,
}];

/// Conv: Y = W ∗ X + B.
///
/// dX is the transposed convolution of dY with W, dW the correlation of X with dY, dB = Σ dY over
/// batch and space. Any number of spatial axes, groups, strides, pads and dilations.
/// Source: <https://onnx.ai/onnx/operators/onnx__Conv.html>.
fn conv(c: &mut Context) -> Contributions {
    let (x_dims, w_dims, y_dims) = (c.input_dims(0)?, c.input_dims(1)?, c.output_dims()?);
    if w_dims.len() < 3 || x_dims.len() != w_dims.len() {
        return Err(c.node.error("ranks do not fit").into());
    }
    let window = Window::of(c.node, &w_dims[2..], &x_dims, &y_dims)?;
    let group = window.group;
    if !w_dims[0].is_multiple_of(group) {
        return Err(c.node.error("group does not fit").into());
    }
    let dy = c.gradient()?;
    if c.has_kernels()
        && let Some(to_x) = window.conv_kernel(&x_dims, &x_dims[2..])
        && let Some(to_w) = window.conv_kernel(&x_dims, &w_dims[2..])
    {
        return kernels(c, &dy, to_x, to_w);
    }
    let dx = match c.wants(0) {
        true => Some(input_gradient(c, &dy, &window, &x_dims, &w_dims, group)?),
        false => None,
    };
    let dw = match c.wants(1) {
        true => Some(weight_gradient(c, &dy, &window, group)?),
        false => None,
    };
    let db = c.wants(2).then(|| bias_gradient(c, &dy, y_dims.len()));
    Ok(vec![dx, dw, db])
}

fn bias_gradient(c: &mut Context, dy: &str, rank: usize) -> String {
    let axes: Vec<usize> = (0..rank).filter(|&a| a != 1).collect();
    c.reduce_sum(dy, &axes, false)
}

/// One node for the input's gradient, one for the weight's and the bias's together.
fn kernels(c: &mut Context, dy: &str, to_x: ConvWindow, to_w: ConvWindow) -> Contributions {
    let (x, w) = (c.input(0)?, c.input(1)?);
    let mut contributions = vec![None, None, None];
    if c.wants(0) {
        let kernel = Kernel::ConvInputGradient {
            window: to_x,
            activation: Activation::None,
        };
        contributions[0] = c.kernel(&kernel, &[dy, w], 1).into_iter().next();
    }
    if c.wants(1) {
        let outputs = 1 + usize::from(c.wants(2));
        let gradients = c.kernel(&Kernel::ConvWeightGradient(to_w), &[x, dy], outputs);
        for (contribution, gradient) in contributions[1..].iter_mut().zip(gradients) {
            *contribution = Some(gradient);
        }
    } else if c.wants(2) {
        contributions[2] = Some(bias_gradient(c, dy, 4));
    }
    Ok(contributions)
}

fn input_gradient(
    c: &mut Context,
    dy: &str,
    window: &Window,
    x_dims: &[usize],
    w_dims: &[usize],
    group: usize,
) -> Result<String, Refusal> {
    let w = c.input(1)?;
    let axes = w_dims.len() - 2;
    let kernel = &w_dims[2..];
    let reached = window.unreached.iter().all(|&r| r == 0);
    if group == 1 && window.is_dense() && window.is_unpadded() && kernel.iter().all(|&k| k == 1) {
        // A pointwise convolution's transpose is pointwise with the transposed matrix.
        let mut permutation: Vec<usize> = (0..w_dims.len()).collect();
        permutation.swap(0, 1);
        let transposed = c.transpose(w, &permutation);
        return Ok(c.call("Conv", &[dy, &transposed]));
    }
    let depthwise = group == x_dims[1] && w_dims[0] == group;
    let spans: Vec<usize> = (0..axes)
        .map(|a| (kernel[a] - 1) * window.dilations[a])
        .collect();
    let fits = (0..2 * axes).all(|i| window.pads[i] <= spans[i % axes]);
    if depthwise && window.is_dense() && fits && reached {
        // At stride 1 the depthwise transpose is the depthwise convolution with the flipped kernel,
        // for which runtimes have a faster kernel.
        let flipped = flip(c, w, axes);
        let pads: Vec<usize> = (0..2 * axes)
            .map(|i| spans[i % axes] - window.pads[i])
            .collect();
        let attributes = vec![
            ("pads", to_i64(&pads).into()),
            ("dilations", to_i64(&window.dilations).into()),
            ("group", (group as i64).into()),
        ];
        return Ok(c.op("Conv", &[dy, &flipped], attributes));
    }
    Ok(c.op(
        "ConvTranspose",
        &[dy, w],
        window.transposed_attributes(group),
    ))
}

/// `w` reversed along its last `axes` axes.
fn flip(c: &mut Context, w: &str, axes: usize) -> String {
    let starts = c.ints(&vec![-1; axes]);
    let ends = c.ints(&vec![i64::MIN; axes]);
    let which: Vec<i64> = (2..2 + axes as i64).collect();
    let which = c.ints(&which);
    let steps = c.ints(&vec![-1; axes]);
    c.call("Slice", &[w, &starts, &ends, &which, &steps])
}
