//! Transposed convolution.

use crate::graph::{Padding, WindowAttributes, to_i64};

use super::super::context::{Context, Contributions, Refusal};
use super::Rule;
use super::correlation::Correlation;

pub(super) const RULES: &[Rule] = &[Rule {
    op_type: "ConvTranspose",
    limits: "an output_padding of the stride or more; an output_shape, or SAME_…, beyond what the \
             kernel reaches",
    backward: conv_transpose,
}];

/// ConvTranspose: Y is what the convolution with W [C, M/group, k…] spreads X back over, plus B.
///
/// dX is the convolution of dY with W, dW the correlation of dY with X, dB = Σ dY over batch and
/// space. Any number of spatial axes, groups, strides, pads and dilations.
/// Source: <https://onnx.ai/onnx/operators/onnx__ConvTranspose.html>.
fn conv_transpose(c: &mut Context) -> Contributions {
    let spread = Spread::of(c)?;
    let (dy, w) = (c.gradient()?, c.input(1)?);
    let dx = c.wants(0).then(|| {
        let attributes = vec![
            ("group", (spread.group as i64).into()),
            ("strides", to_i64(&spread.strides).into()),
            ("dilations", to_i64(&spread.dilations).into()),
            ("pads", to_i64(&spread.pads).into()),
        ];
        c.op("Conv", &[&dy, w], attributes)
    });
    let dw = match c.wants(1) {
        true => Some(spread.weight_gradient(c, &dy)?),
        false => None,
    };
    let db = c.wants(2).then(|| {
        let axes: Vec<usize> = (0..spread.y.len()).filter(|&a| a != 1).collect();
        c.reduce_sum(&dy, &axes, false)
    });
    Ok(vec![dx, dw, db])
}

/// The attributes of the convolution that reads Y at the positions of X, and the dimensions.
struct Spread {
    group: usize,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    /// Begins of all axes, then ends.
    pads: Vec<usize>,
    x: Vec<usize>,
    w: Vec<usize>,
    y: Vec<usize>,
}

impl Spread {
    fn of(c: &Context) -> Result<Self, Refusal> {
        let (x, w, y) = (c.input_dims(0)?, c.input_dims(1)?, c.output_dims()?);
        if w.len() < 3 || x.len() != w.len() || y.len() != w.len() {
            return Err(c.node.error("ranks do not fit").into());
        }
        if [&x, &w, &y].iter().any(|d| d.contains(&0)) {
            return c.refuse("an empty input, kernel or output");
        }
        let axes = w.len() - 2;
        let WindowAttributes {
            strides,
            dilations,
            padding,
            output_padding: extra,
            output_shape,
            group,
            ..
        } = WindowAttributes::read(c.node, axes)?;
        if !w[0].is_multiple_of(group) {
            return Err(c.node.error("group does not fit").into());
        }
        if extra.iter().zip(&strides).any(|(e, s)| e >= s) {
            return c.refuse(format!(
                "output_padding = {extra:?} with strides {strides:?}"
            ));
        }
        // The size of the output before it is cut by the pads.
        let mut whole = Vec::with_capacity(axes);
        for a in 0..axes {
            let last = (x[a + 2] - 1).checked_mul(strides[a]);
            let span = (w[a + 2] - 1).checked_mul(dilations[a]);
            let size = last
                .zip(span)
                .and_then(|(last, span)| last.checked_add(span)?.checked_add(extra[a] + 1))
                .filter(|&size| size <= isize::MAX as usize);
            match size {
                Some(size) => whole.push(size),
                None => return c.refuse(format!("strides = {strides:?}")),
            }
        }
        let pads = match padding {
            Padding::Explicit(pads) if output_shape.is_none() => pads,
            padding => {
                let upper = padding == Padding::Same { upper: true };
                let mut pads = vec![0; 2 * axes];
                for a in 0..axes {
                    // Runtimes do not agree on where a larger output begins.
                    let Some(total) = whole[a].checked_sub(y[a + 2]) else {
                        return c.refuse(format!(
                            "an output of {y:?}, beyond what its kernel reaches"
                        ));
                    };
                    pads[a] = match upper {
                        true => total / 2,
                        false => total - total / 2,
                    };
                    pads[a + axes] = total - pads[a];
                }
                pads
            }
        };
        Ok(Spread {
            group,
            strides,
            dilations,
            pads,
            x,
            w,
            y,
        })
    }

    /// Where the kernel's element number `index` lies along each axis.
    fn tap(&self, index: usize) -> Vec<usize> {
        let kernel = &self.w[2..];
        let step = |a: usize| kernel[a + 1..].iter().product::<usize>();
        (0..kernel.len())
            .map(|a| index / step(a) % kernel[a])
            .collect()
    }

    /// dW[i, o, t] = Σₙₚ X[n, i, p] dY[n, o, s·p + d·t], o over the channels of the group of i:
    /// one matrix product for each tap t.
    fn weight_gradient(&self, c: &mut Context, dy: &str) -> Result<String, Refusal> {
        let axes = self.strides.len();
        let whole = |a: usize| self.y[a + 2].saturating_add(self.pads[a] + self.pads[a + axes]);
        let whole: Vec<usize> = (0..axes).map(whole).collect();
        if Correlation::pays(&self.w[2..], &self.y[2..], &whole) {
            let correlation = Correlation {
                a: (c.input(0)?, &self.x),
                b: (dy, &self.y),
                w: &self.w,
                group: self.group,
                strides: &self.strides,
                dilations: &self.dilations,
                pads: &self.pads[..axes],
            };
            return Ok(correlation.write(c));
        }
        let rank = axes + 2;
        let (batch, channels, positions) =
            (self.x[0], self.x[1], self.x[2..].iter().product::<usize>());
        let (inputs, outputs) = (channels / self.group, self.w[1]);
        let x = c.input(0)?;
        let x = c.reshape(x, &[batch, self.group, inputs, positions]);
        let mut padded = dy.to_owned();
        if self.pads.iter().any(|&p| p > 0) {
            let mut pads = vec![0; 2 * rank];
            pads[2..rank].copy_from_slice(&to_i64(&self.pads[..axes]));
            pads[rank + 2..].copy_from_slice(&to_i64(&self.pads[axes..]));
            let pads = c.ints(&pads);
            padded = c.call("Pad", &[dy, &pads]);
        }
        let which: Vec<i64> = (2..rank as i64).collect();
        let mut products = Vec::new();
        for index in 0..self.w[2..].iter().product() {
            let tap = self.tap(index);
            let first = |a: usize| tap[a] * self.dilations[a];
            let end = |a: usize| first(a) + (self.x[a + 2] - 1) * self.strides[a] + 1;
            let starts: Vec<usize> = (0..axes).map(first).collect();
            let ends: Vec<usize> = (0..axes).map(end).collect();
            let (starts, ends) = (c.ints(&to_i64(&starts)), c.ints(&to_i64(&ends)));
            let (which, steps) = (c.ints(&which), c.ints(&to_i64(&self.strides)));
            let part = c.call("Slice", &[&padded, &starts, &ends, &which, &steps]);
            let part = c.reshape(&part, &[batch, self.group, outputs, positions]);
            let turned = c.transpose(&part, &[0, 1, 3, 2]);
            let product = c.call("MatMul", &[&x, &turned]);
            let summed = c.reduce_sum(&product, &[0], false);
            products.push(c.reshape(&summed, &[channels, outputs, 1]));
        }
        let products: Vec<&str> = products.iter().map(String::as_str).collect();
        let joined = c.op("Concat", &products, vec![("axis", 2.into())]);
        Ok(c.reshape(&joined, &self.w))
    }
}
