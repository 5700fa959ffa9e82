//! The gradient of a convolution with respect to its weight W [O, I/g, k…].
//!
//! dW[o, i, t] = Σₙₚ dY[n, o, p] X[n, i, s·p + d·t], p over output positions, t over kernel taps.
//! Three ways to compute it, each for the case in which it is the fastest on CPUs, and one that copies
//! no padding.

use crate::graph::{Window, to_i64};

use super::super::context::{Context, Refusal};
use super::correlation::Correlation;
use super::layout::slice;

pub(super) fn weight_gradient(
    c: &mut Context,
    dy: &str,
    window: &Window,
    group: usize,
) -> Result<String, Refusal> {
    let (x_dims, w_dims, y_dims) = (c.input_dims(0)?, c.input_dims(1)?, c.output_dims()?);
    let is_depthwise = group == x_dims[1] && group > 1 && w_dims.len() == 4;
    // Its number of groups is an attribute, and follows from the batch size.
    let by_taps = is_depthwise && c.takes_any_batch();
    if is_depthwise && !by_taps {
        return depthwise(c, dy, window, &x_dims, &w_dims, &y_dims);
    }
    let axes = w_dims.len() - 2;
    let whole = |a: usize| x_dims[a + 2].saturating_add(window.pads[a] + window.pads[a + axes]);
    let whole: Vec<usize> = (0..axes).map(whole).collect();
    if by_taps || Correlation::pays(&w_dims[2..], &x_dims[2..], &whole) {
        let correlation = Correlation {
            a: (dy, &y_dims),
            b: (c.input(0)?, &x_dims),
            w: &w_dims,
            group,
            strides: &window.strides,
            dilations: &window.dilations,
            pads: &window.pads[..axes],
        };
        return Ok(correlation.write(c));
    }
    let positions: usize = y_dims[2..].iter().product();
    let pointwise =
        w_dims[2..].iter().all(|&k| k == 1) && window.is_dense() && window.is_unpadded();
    // Summing products per example beats transposing where maps are large and matrices small.
    let per_example = group > 1
        || (pointwise && positions.saturating_mul(w_dims[0] + w_dims[1]) > w_dims[0] * w_dims[1]);
    let x = padded(c, window, per_example)?;
    let taps = taps(&w_dims[2..]);
    let mut products = Vec::with_capacity(taps.len());
    let dy_matrix = match per_example {
        true => c.reshape(dy, &[y_dims[0], group, w_dims[0] / group, positions]),
        false => {
            let mut permutation: Vec<usize> = (0..y_dims.len()).collect();
            permutation.swap(0, 1);
            let turned = c.transpose(dy, &permutation);
            c.reshape(&turned, &[w_dims[0], y_dims[0] * positions])
        }
    };
    let single = taps.len() == 1 && window.is_dense();
    for tap in &taps {
        let part = if single {
            x.clone()
        } else {
            tap_slice(c, &x, window, tap, &y_dims, if per_example { 2 } else { 1 })
        };
        products.push(if per_example {
            let matrix = c.reshape(&part, &[y_dims[0], group, w_dims[1], positions]);
            let turned = c.transpose(&matrix, &[0, 1, 3, 2]);
            let product = c.op("MatMul", &[&dy_matrix, &turned], vec![]);
            let summed = c.reduce_sum(&product, &[0], false);
            c.reshape(&summed, &[w_dims[0], w_dims[1], 1])
        } else {
            let matrix = c.reshape(&part, &[y_dims[0] * positions, w_dims[1]]);
            let product = c.op("MatMul", &[&dy_matrix, &matrix], vec![]);
            c.reshape(&product, &[w_dims[0], w_dims[1], 1])
        });
    }
    let borrowed: Vec<&str> = products.iter().map(String::as_str).collect();
    let joined = match borrowed.as_slice() {
        [one] => (*one).to_owned(),
        all => c.op("Concat", all, vec![("axis", 2.into())]),
    };
    Ok(c.reshape(&joined, &w_dims))
}

/// The kernel's taps in row-major order.
fn taps(kernel: &[usize]) -> Vec<Vec<usize>> {
    kernel.iter().fold(vec![vec![]], |taps, &k| {
        taps.iter()
            .flat_map(|tap| {
                (0..k).map(move |i| {
                    let mut tap = tap.clone();
                    tap.push(i);
                    tap
                })
            })
            .collect()
    })
}

/// X with its pads, channels first as it comes, or channels last.
fn padded(c: &mut Context, window: &Window, channels_first: bool) -> Result<String, Refusal> {
    let x = c.input(0)?;
    let rank = c.input_dims(0)?.len();
    let axes = rank - 2;
    let mut value = x.to_owned();
    if !channels_first {
        let mut permutation = vec![0];
        permutation.extend(2..rank);
        permutation.push(1);
        value = c.transpose(&value, &permutation);
    }
    if window.is_unpadded() {
        return Ok(value);
    }
    let first = if channels_first { 2 } else { 1 };
    let mut pads = vec![0i64; 2 * rank];
    for a in 0..axes {
        pads[first + a] = window.pads[a] as i64;
        pads[rank + first + a] = window.pads[axes + a] as i64;
    }
    let pads = c.ints(&pads);
    Ok(c.op("Pad", &[&value, &pads], vec![]))
}

/// The elements of padded X that meet kernel tap `tap`, one per output position.
fn tap_slice(
    c: &mut Context,
    x: &str,
    window: &Window,
    tap: &[usize],
    y_dims: &[usize],
    first_axis: usize,
) -> String {
    let axes = tap.len();
    let starts: Vec<i64> = (0..axes)
        .map(|a| (tap[a] * window.dilations[a]) as i64)
        .collect();
    let ends: Vec<i64> = (0..axes)
        .map(|a| starts[a] + ((y_dims[a + 2] - 1) * window.strides[a]) as i64 + 1)
        .collect();
    let which: Vec<i64> = (0..axes).map(|a| (first_axis + a) as i64).collect();
    let (starts, ends, which) = (c.ints(&starts), c.ints(&ends), c.ints(&which));
    let steps = c.ints(&to_i64(&window.strides));
    c.op("Slice", &[x, &starts, &ends, &which, &steps], vec![])
}

/// One input channel per group: examples and channels become the groups of one convolution of X
/// with dY as its kernel, strides and dilations trading places.
fn depthwise(
    c: &mut Context,
    dy: &str,
    window: &Window,
    x_dims: &[usize],
    w_dims: &[usize],
    y_dims: &[usize],
) -> Result<String, Refusal> {
    let x = c.input(0)?;
    let (batch, channels) = (x_dims[0], x_dims[1]);
    let multiplier = w_dims[0] / channels;
    let groups = batch * channels;
    let mut flat = vec![1, groups];
    flat.extend(&x_dims[2..]);
    let x = c.reshape(x, &flat);
    let mut kernel = vec![groups * multiplier, 1];
    kernel.extend(&y_dims[2..]);
    let kernel = c.reshape(dy, &kernel);
    let attributes = vec![
        ("group", (groups as i64).into()),
        ("pads", to_i64(&window.pads).into()),
        ("strides", to_i64(&window.dilations).into()),
        ("dilations", to_i64(&window.strides).into()),
    ];
    let mut product = c.op("Conv", &[&x, &kernel], attributes);
    if window.unreached.iter().any(|&r| r > 0) {
        // Rows that no window reached would add taps beyond the kernel.
        product = slice(c, &product, &[2, 3], &[0, 0], &w_dims[2..]);
    }
    let product = c.reshape(&product, &[batch, w_dims[0], w_dims[2] * w_dims[3]]);
    let summed = c.reduce_sum(&product, &[0], false);
    Ok(c.reshape(&summed, w_dims))
}
