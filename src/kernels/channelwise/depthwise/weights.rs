//! One row's part of a depthwise convolution's weight gradient, all channels.

use pulp::Simd;

use crate::kernels::channelwise::channels::{LINE, Lanes, load, prefetch_read, store, unroll};
use crate::kernels::channelwise::taps::Taps;

/// dW = Σ x · dy over positions; the bias gradient Σ dy stands behind the taps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Correlate<'a> {
    pub(super) lanes: Lanes,
    pub(super) input: [usize; 2],
    pub(super) output: [usize; 2],
    /// Taps along a row.
    pub(super) width: usize,
    /// Taps in all.
    pub(super) taps: usize,
    /// Stride and pad of columns at dilation 1, when there are row functions for them.
    pub(super) walk: Option<(usize, usize)>,
    /// From output rows and columns to input rows and columns.
    pub(super) rows: &'a Taps,
    pub(super) columns: &'a Taps,
}

impl Correlate<'_> {
    /// Adds what row `p` of an example gives to `sums`, `[vector][tap… , bias][lane]`. `x` is the
    /// example's map and `dy` the row's elements.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(super) fn row<S: Simd>(&self, simd: S, p: usize, x: &[f32], dy: &[f32], sums: &mut [f32]) {
        let channels = self.lanes.channels;
        assert!(self.lanes.lanes == S::F32_LANES && self.lanes.channels >= S::F32_LANES);
        assert_eq!(x.len(), self.input[0] * self.input[1] * channels);
        assert_eq!(dy.len(), self.output[1] * channels);
        assert_eq!(sums.len(), self.lanes.packed(self.taps + 1));
        let pairs = self.rows.at(p);
        // SAFETY: the assertions above are what the row functions ask for; `width` is matched with
        // their taps, the number of pairs with their rows.
        unsafe {
            match (self.walk, self.width, pairs.len()) {
                _ if S::IS_SCALAR => self.table(simd, pairs, x, dy, sums),
                (_, _, 0) => self.table(simd, pairs, x, dy, sums),
                (Some((1, pad)), 3, 1) => self.along::<S, 3, 1, 1>(simd, pairs, pad, x, dy, sums),
                (Some((1, pad)), 3, 2) => self.along::<S, 3, 1, 2>(simd, pairs, pad, x, dy, sums),
                (Some((1, pad)), 3, 3) => self.along::<S, 3, 1, 3>(simd, pairs, pad, x, dy, sums),
                (Some((2, pad)), 3, 1) => self.along::<S, 3, 2, 1>(simd, pairs, pad, x, dy, sums),
                (Some((2, pad)), 3, 2) => self.along::<S, 3, 2, 2>(simd, pairs, pad, x, dy, sums),
                (Some((2, pad)), 3, 3) => self.along::<S, 3, 2, 3>(simd, pairs, pad, x, dy, sums),
                (Some((1, pad)), 5, _) => self.along::<S, 5, 1, 1>(simd, pairs, pad, x, dy, sums),
                (Some((2, pad)), 5, _) => self.along::<S, 5, 2, 1>(simd, pairs, pad, x, dy, sums),
                (Some((1, pad)), 7, _) => self.along::<S, 7, 1, 1>(simd, pairs, pad, x, dy, sums),
                _ => self.table(simd, pairs, x, dy, sums),
            }
        }
    }

    /// `WIDTH` taps at distance 1; `ROWS` rows at a time, which must divide the number of pairs.
    ///
    /// # Safety
    /// As [`Self::row`] asserts; `pairs` must be the row's.
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn along<S: Simd, const WIDTH: usize, const STRIDE: usize, const ROWS: usize>(
        &self,
        simd: S,
        pairs: &[(usize, usize)],
        pad: usize,
        x: &[f32],
        dy: &[f32],
        sums: &mut [f32],
    ) {
        let channels = self.lanes.channels;
        let [_, in_width] = self.input;
        let [_, out_width] = self.output;
        let row_len = in_width * channels;
        let depth = WIDTH.div_ceil(STRIDE);
        let steps = out_width + depth - 1;
        // Steps whose columns are all inside and which have a gradient of their own.
        let from = pad.div_ceil(STRIDE).min(out_width);
        let to = ((in_width + pad) / STRIDE).clamp(from, out_width.max(from));
        let zero = simd.splat_f32s(0.0);
        // The next rows are asked for while these are worked on: vectors walk in strides that
        // hardware does not foresee.
        let next = pairs.last().map_or(0, |&(_, h)| h + 1);
        let mut ahead_x = x.as_ptr().wrapping_add(next * row_len);
        let mut ahead_dy = dy.as_ptr().wrapping_add(dy.len());
        for vector in 0..self.lanes.vectors() {
            let channel = self.lanes.start(vector);
            // SAFETY: a vector's channels lie within a position and its sums within theirs, rows
            // within the map, columns are inside by the choice of `from` and `to` or tested.
            unsafe {
                let sums = sums
                    .as_mut_ptr()
                    .add(vector * (self.taps + 1) * S::F32_LANES);
                let dy = dy.as_ptr().add(channel);
                let mut bias = zero;
                for (round, pairs) in pairs.chunks_exact(ROWS).enumerate() {
                    let mut rows = [x.as_ptr(); ROWS];
                    unroll!(r < ROWS, {
                        rows[r] = x.as_ptr().add(pairs[r].1 * row_len + channel);
                    });
                    let mut totals = [[zero; WIDTH]; ROWS];
                    // The gradients of this step's output and the ones before.
                    let mut recent = [zero; WIDTH];
                    macro_rules! walk {
                        ($steps:expr, $inside:literal) => {
                            for step in $steps {
                                if round == 0 {
                                    unroll!(_line < (STRIDE * STRIDE), {
                                        prefetch_read(ahead_x);
                                        ahead_x = ahead_x.wrapping_add(LINE);
                                    });
                                    prefetch_read(ahead_dy);
                                    ahead_dy = ahead_dy.wrapping_add(LINE);
                                }
                                recent[0] = match $inside || step < out_width {
                                    true => load::<S>(dy.add(step * channels)),
                                    false => zero,
                                };
                                bias = simd.add_f32s(bias, recent[0]);
                                unroll!(s < STRIDE, {
                                    let column = (step * STRIDE + s).wrapping_sub(pad);
                                    if $inside || column < in_width {
                                        unroll!(r < ROWS, {
                                            let x = load::<S>(rows[r].add(column * channels));
                                            unroll!(a < depth, {
                                                let j = a * STRIDE + s;
                                                if j < WIDTH {
                                                    totals[r][j] = simd.mul_add_f32s(
                                                        recent[a],
                                                        x,
                                                        totals[r][j],
                                                    );
                                                }
                                            });
                                        });
                                    }
                                });
                                let before = recent;
                                unroll!(a < depth, {
                                    recent[a] = before[a.saturating_sub(1)];
                                });
                            }
                        };
                    }
                    walk!(0..from, false);
                    walk!(from..to, true);
                    walk!(to..steps, false);
                    unroll!(r < ROWS, {
                        unroll!(j < WIDTH, {
                            let to = sums.add((pairs[r].0 * WIDTH + j) * S::F32_LANES);
                            store::<S>(to, simd.add_f32s(load::<S>(to), totals[r][j]));
                        });
                    });
                    if round == 0 {
                        let to = sums.add(self.taps * S::F32_LANES);
                        store::<S>(to, simd.add_f32s(load::<S>(to), bias));
                    }
                }
            }
        }
    }

    /// Any kernel, stride and dilation.
    ///
    /// # Safety
    /// As [`Self::row`] asserts; `pairs` must be the row's.
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn table<S: Simd>(
        &self,
        simd: S,
        pairs: &[(usize, usize)],
        x: &[f32],
        dy: &[f32],
        sums: &mut [f32],
    ) {
        let channels = self.lanes.channels;
        let row_len = self.input[1] * channels;
        for vector in 0..self.lanes.vectors() {
            let channel = self.lanes.start(vector);
            for q in 0..self.output[1] {
                // SAFETY: the tables hold rows, columns and taps that exist.
                unsafe {
                    let sums = sums
                        .as_mut_ptr()
                        .add(vector * (self.taps + 1) * S::F32_LANES);
                    let dy = load::<S>(dy.as_ptr().add(q * channels + channel));
                    let bias = sums.add(self.taps * S::F32_LANES);
                    store::<S>(bias, simd.add_f32s(load::<S>(bias), dy));
                    for &(i, h) in pairs {
                        for &(j, c) in self.columns.at(q) {
                            let x = load::<S>(x.as_ptr().add(h * row_len + c * channels + channel));
                            let to = sums.add((i * self.width + j) * S::F32_LANES);
                            store::<S>(to, simd.mul_add_f32s(dy, x, load::<S>(to)));
                        }
                    }
                }
            }
        }
    }
}
