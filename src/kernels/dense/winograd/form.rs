//! The matrices, applied to 2 + 2 or 4 + 2 neighbouring vectors along one axis.

use pulp::Simd;

/// Bᵀ applied to a line of a patch.
#[inline(always)]
pub(super) fn inputs<S: Simd, const IN: usize>(simd: S, d: [S::f32s; IN]) -> [S::f32s; IN] {
    let mut to = d;
    if IN == 4 {
        to[0] = simd.sub_f32s(d[0], d[2]);
        to[1] = simd.add_f32s(d[1], d[2]);
        to[2] = simd.sub_f32s(d[2], d[1]);
        to[3] = simd.sub_f32s(d[1], d[3]);
        return to;
    }
    let times = Times(simd);
    let odd = simd.sub_f32s(d[1], d[3]);
    let even = simd.sub_f32s(d[4], d[2]);
    let ends = [simd.add_f32s(d[0], d[4]), simd.add_f32s(d[1], d[5])];
    to[0] = times.add(-2.0, d[2], times.add(1.5, odd, ends[0]));
    let ends_of = [simd.sub_f32s(d[4], d[1]), simd.add_f32s(d[4], d[1])];
    to[1] = times.add(-0.5, d[3], times.add(-2.5, d[2], ends_of[0]));
    to[2] = times.add(-2.5, d[3], times.add(0.5, d[2], ends_of[1]));
    to[3] = times.add(-0.5, odd, even);
    to[4] = times.add(2.0, odd, even);
    to[5] = times.add(-2.0, d[3], times.add(-1.5, even, ends[1]));
    to
}

/// G applied to a line of taps.
#[inline(always)]
pub(super) fn filter<S: Simd, const IN: usize>(simd: S, w: [S::f32s; 3]) -> [S::f32s; IN] {
    let times = Times(simd);
    let outer = simd.add_f32s(w[0], w[2]);
    let [sum, difference] = [simd.add_f32s(outer, w[1]), simd.sub_f32s(outer, w[1])];
    let mut to = [w[0]; IN];
    to[IN - 1] = w[2];
    if IN == 4 {
        to[1] = times.by(0.5, sum);
        to[2] = times.by(0.5, difference);
        return to;
    }
    to[1] = times.by(-1.0 / 3.0, sum);
    to[2] = times.by(1.0 / 3.0, difference);
    to[3] = times.by(1.0 / 15.0, times.add(4.0, w[2], times.add(2.0, w[1], w[0])));
    to[4] = times.by(
        -4.0 / 15.0,
        times.add(4.0, w[0], times.add(-2.0, w[1], w[2])),
    );
    to
}

/// Aᵀ applied to a line of products.
#[inline(always)]
pub(super) fn outputs<S: Simd, const IN: usize, const OUT: usize>(
    simd: S,
    m: [S::f32s; IN],
) -> [S::f32s; OUT] {
    let [sum, difference] = [simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2])];
    let mut to = [simd.add_f32s(m[0], sum); OUT];
    if IN == 4 {
        to[1] = simd.sub_f32s(difference, m[3]);
        return to;
    }
    let times = Times(simd);
    to[0] = simd.add_f32s(to[0], simd.add_f32s(m[3], m[4]));
    to[1] = times.add(-0.5, m[4], times.add(2.0, m[3], difference));
    to[2] = times.add(0.25, m[4], times.add(4.0, m[3], sum));
    let last = simd.add_f32s(difference, m[5]);
    to[3] = times.add(-0.125, m[4], times.add(8.0, m[3], last));
    to
}

/// Vectors times numbers.
#[derive(Clone, Copy)]
struct Times<S>(S);

impl<S: Simd> Times<S> {
    #[inline(always)]
    fn by(self, factor: f32, x: S::f32s) -> S::f32s {
        self.0.mul_f32s(self.0.splat_f32s(factor), x)
    }

    #[inline(always)]
    fn add(self, factor: f32, x: S::f32s, to: S::f32s) -> S::f32s {
        self.0.mul_add_e_f32s(self.0.splat_f32s(factor), x, to)
    }
}
