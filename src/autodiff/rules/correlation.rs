//! Weight gradients of convolutions whose padding is out of proportion to the map.

use std::ops::Range;

use crate::graph::to_i64;

use super::super::context::Context;
use super::layout::slice;

/// dW[m, o, t] = Σₙₚ A[n, m, p] B[n, o, s·p + d·t − pad], p over the positions of A for which B has
/// such an element, t over the taps of W, o over the channels of the group of m.
///
/// The padding is never made: each tap takes from both maps what meets, a tap that meets padding
/// alone is zero. Other forms copy B with its padding.
pub(super) struct Correlation<'a> {
    /// A, as long as the positions of the window, and its dimensions.
    pub a: (&'a str, &'a [usize]),
    /// B, which the taps read, and its dimensions.
    pub b: (&'a str, &'a [usize]),
    /// Dimensions of W.
    pub w: &'a [usize],
    /// Groups.
    pub group: usize,
    /// Steps of the window, per axis.
    pub strides: &'a [usize],
    /// Distances of its taps, per axis.
    pub dilations: &'a [usize],
    /// Padding before B, per axis.
    pub pads: &'a [usize],
}

impl Correlation<'_> {
    /// Whether padding makes B much larger than it or the kernel are.
    pub fn pays(kernel: &[usize], map: &[usize], padded: &[usize]) -> bool {
        let mut axes = kernel.iter().zip(map).zip(padded);
        axes.any(|((&k, &x), &padded)| padded > x.max(k).saturating_add(1).saturating_mul(2))
    }

    /// The value that holds dW.
    pub fn write(&self, c: &mut Context) -> String {
        let kernel = &self.w[2..];
        let axes = kernel.len();
        let nothing = c.ints(&to_i64(&[self.w[0], self.w[1], 1]));
        let nothing = c.call("ConstantOfShape", &[&nothing]);
        let mut products = Vec::new();
        for index in 0..kernel.iter().product() {
            let met: Option<Vec<_>> = (0..axes).map(|a| self.meet(a, index)).collect();
            products.push(match met {
                Some(met) => self.product(c, &met),
                None => nothing.clone(),
            });
        }
        let products: Vec<&str> = products.iter().map(String::as_str).collect();
        let joined = c.op("Concat", &products, vec![("axis", 2.into())]);
        c.reshape(&joined, self.w)
    }

    /// Along an axis: the positions of A at which tap number `index` meets an element of B, and the
    /// first such element.
    fn meet(&self, axis: usize, index: usize) -> Option<(Range<usize>, usize)> {
        let kernel = &self.w[2..];
        let step: usize = kernel[axis + 1..].iter().product();
        let offset = (index / step % kernel[axis]).checked_mul(self.dilations[axis])?;
        let (stride, pad) = (self.strides[axis], self.pads[axis]);
        let first = pad.saturating_sub(offset).div_ceil(stride);
        let end = self.b.1[axis + 2].checked_add(pad)?.checked_sub(offset)?;
        let end = end.div_ceil(stride).min(self.a.1[axis + 2]);
        (first < end).then(|| (first..end, first * stride + offset - pad))
    }

    fn product(&self, c: &mut Context, met: &[(Range<usize>, usize)]) -> String {
        let axes: Vec<usize> = (2..2 + met.len()).collect();
        let starts: Vec<usize> = met.iter().map(|m| m.0.start).collect();
        let ends: Vec<usize> = met.iter().map(|m| m.0.end).collect();
        let a = slice(c, self.a.0, &axes, &starts, &ends);
        let starts: Vec<usize> = met.iter().map(|m| m.1).collect();
        let ends: Vec<usize> = (0..met.len())
            .map(|i| starts[i] + (met[i].0.len() - 1) * self.strides[i] + 1)
            .collect();
        let inputs = [&starts, &ends, &axes].map(|v| c.ints(&to_i64(v)));
        let steps = c.ints(&to_i64(self.strides));
        let [starts, ends, axes] = &inputs;
        let b = c.call("Slice", &[self.b.0, starts, ends, axes, &steps]);
        let (batch, rows) = (self.a.1[0], self.w[0] / self.group);
        let positions: usize = met.iter().map(|m| m.0.len()).product();
        let a = c.reshape(&a, &[batch, self.group, rows, positions]);
        let b = c.reshape(&b, &[batch, self.group, self.w[1], positions]);
        let turned = c.transpose(&b, &[0, 1, 3, 2]);
        let product = c.call("MatMul", &[&a, &turned]);
        let summed = c.reduce_sum(&product, &[0], false);
        c.reshape(&summed, &[self.w[0], self.w[1], 1])
    }
}
