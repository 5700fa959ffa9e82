//! One row of a depthwise correlation, all channels.
//!
//! A row is made vector by vector of channels, walking along the columns: each input is loaded once
//! and multiplied into the outputs under way, which wait in registers.

use pulp::Simd;

use super::finish::Finish;
use crate::kernels::channelwise::channels::{
    LINE, Lanes, load, prefetch_read, prefetch_write, store, unroll,
};
use crate::kernels::channelwise::taps::Taps;

/// How outputs and inputs of a row lie to each other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Walk {
    /// Output q sums input q · stride + tap − pad.
    Gather {
        /// 1 or 2.
        stride: usize,
        /// Any sign.
        pad: isize,
    },
    /// Input q adds to output q · 2 + tap − pad.
    Scatter {
        /// Not negative.
        pad: usize,
    },
    /// As a table says.
    Table,
}

/// A correlation of `input` maps to `output` maps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Correlation<'a> {
    pub(super) lanes: Lanes,
    pub(super) input: [usize; 2],
    pub(super) output: [usize; 2],
    /// Taps along a row.
    pub(super) width: usize,
    /// Taps in all.
    pub(super) taps: usize,
    pub(super) walk: Walk,
    /// From output rows and columns to input rows and columns.
    pub(super) rows: &'a Taps,
    pub(super) columns: &'a Taps,
    /// `[vector][tap][lane]`
    pub(super) weights: &'a [f32],
    /// What sums start from, `[vector][lane]`.
    pub(super) start: &'a [f32],
}

/// A row under work: row `p` of an example's map `x`, written to `y`, whose first element stands at
/// `offset` of the whole output.
#[derive(Clone, Copy)]
struct Row {
    x: *const f32,
    y: *mut f32,
    offset: usize,
}

impl Correlation<'_> {
    /// Writes row `p` of an example to `y`, the row's elements. `x` is the example's map and
    /// `offset` where `y` begins in the whole output.
    ///
    /// # Safety
    /// `finish` must be able to read `offset..offset + y.len()`.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(super) unsafe fn row<S: Simd, F: Finish>(
        &self,
        simd: S,
        finish: &F,
        p: usize,
        x: &[f32],
        y: &mut [f32],
        offset: usize,
    ) {
        let channels = self.lanes.channels;
        assert!(self.lanes.lanes == S::F32_LANES && self.lanes.channels >= S::F32_LANES);
        assert_eq!(x.len(), self.input[0] * self.input[1] * channels);
        assert_eq!(y.len(), self.output[1] * channels);
        assert_eq!(self.weights.len(), self.lanes.packed(self.taps));
        assert_eq!(self.start.len(), self.lanes.packed(1));
        let row = Row {
            x: x.as_ptr(),
            y: y.as_mut_ptr(),
            offset,
        };
        let pairs = self.rows.at(p);
        // SAFETY: the assertions above are what the row functions ask for; `width` is matched with
        // their taps, the number of pairs with their rows.
        unsafe {
            match (self.walk, self.width, pairs.len()) {
                _ if S::IS_SCALAR => self.table(simd, finish, pairs, row),
                (Walk::Gather { stride: 1, pad }, 3, 1) => {
                    self.gather::<S, F, 3, 1, 1>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 1, pad }, 3, 2) => {
                    self.gather::<S, F, 3, 1, 2>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 1, pad }, 3, 3) => {
                    self.gather::<S, F, 3, 1, 3>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 2, pad }, 3, 1) => {
                    self.gather::<S, F, 3, 2, 1>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 2, pad }, 3, 2) => {
                    self.gather::<S, F, 3, 2, 2>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 2, pad }, 3, 3) => {
                    self.gather::<S, F, 3, 2, 3>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 1, pad }, 5, 5) => {
                    self.gather::<S, F, 5, 1, 5>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 2, pad }, 5, 5) => {
                    self.gather::<S, F, 5, 2, 5>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 1, pad }, 7, 7) => {
                    self.gather::<S, F, 7, 1, 7>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 1, pad }, 5, _) => {
                    self.gather::<S, F, 5, 1, 0>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 2, pad }, 5, _) => {
                    self.gather::<S, F, 5, 2, 0>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 1, pad }, 7, _) => {
                    self.gather::<S, F, 7, 1, 0>(simd, finish, pairs, pad, row);
                }
                (Walk::Scatter { pad }, 3, 1) => {
                    self.scatter::<S, F, 3, 1>(simd, finish, pairs, pad, row);
                }
                (Walk::Scatter { pad }, 3, 2) => {
                    self.scatter::<S, F, 3, 2>(simd, finish, pairs, pad, row);
                }
                (Walk::Scatter { pad }, 5, 2) => {
                    self.scatter::<S, F, 5, 2>(simd, finish, pairs, pad, row);
                }
                (Walk::Scatter { pad }, 5, 3) => {
                    self.scatter::<S, F, 5, 3>(simd, finish, pairs, pad, row);
                }
                (Walk::Scatter { pad }, 5, _) => {
                    self.scatter::<S, F, 5, 0>(simd, finish, pairs, pad, row);
                }
                _ => self.table(simd, finish, pairs, row),
            }
        }
    }

    /// `WIDTH` taps at distance 1, `ROWS` rows with their weights in registers, or any number of
    /// rows with their weights in memory when `ROWS` is 0.
    ///
    /// # Safety
    /// As [`Self::row`] asserts; `pairs` must be the row's and `ROWS` their number or 0.
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn gather<
        S: Simd,
        F: Finish,
        const WIDTH: usize,
        const STRIDE: usize,
        const ROWS: usize,
    >(
        &self,
        simd: S,
        finish: &F,
        pairs: &[(usize, usize)],
        pad: isize,
        row: Row,
    ) {
        let channels = self.lanes.channels;
        let [_, in_width] = self.input;
        let [_, out_width] = self.output;
        let row_len = in_width * channels;
        let depth = WIDTH.div_ceil(STRIDE);
        let steps = out_width + depth - 1;
        let (in_end, stride) = (in_width as isize, STRIDE as isize);
        // Steps whose columns are all inside and which finish an output.
        let from = depth
            .saturating_sub(1)
            .max(pad.max(0).unsigned_abs().div_ceil(STRIDE))
            .min(steps);
        let to = (in_end + pad).max(0).unsigned_abs() / STRIDE;
        let to = to.clamp(from, steps);
        // The next rows are asked for while this one is worked on, a few lines per step: vectors
        // walk in strides that hardware does not foresee.
        let next = pairs.last().map_or(0, |&(_, h)| h + 1);
        let mut ahead_x = row.x.wrapping_add(next * row_len);
        let mut ahead_y = out_width * channels;
        let ready = finish.ready(simd);
        // Pairs lie at equal distances.
        let (tap_step, row_step) = match *pairs {
            [(tap, h), (next_tap, next_h), ..] => (
                (next_tap - tap) * WIDTH * S::F32_LANES,
                (next_h as isize - h as isize) * row_len as isize,
            ),
            _ => (0, 0),
        };
        for vector in 0..self.lanes.vectors() {
            let channel = self.lanes.start(vector);
            // SAFETY: a vector's channels lie within a position and its packed values within
            // theirs, rows within the map, columns are inside by the choice of `from` and `to` or
            // tested.
            unsafe {
                let w = self.weights.as_ptr().add(vector * self.taps * S::F32_LANES);
                let at = |r: usize| {
                    let (tap, h) = pairs[r];
                    (
                        w.add(tap * WIDTH * S::F32_LANES),
                        row.x.add(h * row_len + channel),
                    )
                };
                let mut rows = [row.x; ROWS];
                let mut weights = [[simd.splat_f32s(0.0); WIDTH]; ROWS];
                unroll!(r < ROWS, {
                    let (w, x) = at(r);
                    rows[r] = x;
                    unroll!(j < WIDTH, {
                        weights[r][j] = load::<S>(w.add(j * S::F32_LANES));
                    });
                });
                let start = load::<S>(self.start.as_ptr().add(vector * S::F32_LANES));
                let far = match pairs.is_empty() {
                    true => (w, row.x),
                    false => at(0),
                };
                let mut sums = [start; WIDTH];
                macro_rules! walk {
                    ($steps:expr, $inside:literal) => {
                        for step in $steps {
                            unroll!(_line < (STRIDE * STRIDE), {
                                prefetch_read(ahead_x);
                                ahead_x = ahead_x.wrapping_add(LINE);
                            });
                            prefetch_write(row.y.wrapping_add(ahead_y));
                            ready.prefetch(row.offset + ahead_y);
                            ahead_y += LINE;
                            let column = step as isize * stride - pad;
                            unroll!(s < STRIDE, {
                                let column = column + s as isize;
                                if $inside || (0..in_end).contains(&column) {
                                    let position = column as usize * channels;
                                    unroll!(r < ROWS, {
                                        let x = load::<S>(rows[r].add(position));
                                        unroll!(a < depth, {
                                            let j = a * STRIDE + s;
                                            if j < WIDTH {
                                                sums[a] =
                                                    simd.mul_add_f32s(weights[r][j], x, sums[a]);
                                            }
                                        });
                                    });
                                    if ROWS == 0 {
                                        let (mut w, mut x_row) = far;
                                        for _ in pairs {
                                            let x = load::<S>(x_row.wrapping_add(position));
                                            unroll!(a < depth, {
                                                let j = a * STRIDE + s;
                                                if j < WIDTH {
                                                    let w = load::<S>(w.add(j * S::F32_LANES));
                                                    sums[a] = simd.mul_add_f32s(w, x, sums[a]);
                                                }
                                            });
                                            w = w.wrapping_add(tap_step);
                                            x_row = x_row.wrapping_offset(row_step);
                                        }
                                    }
                                }
                            });
                            if $inside || step + 1 >= depth {
                                let element = (step + 1 - depth) * channels + channel;
                                let value =
                                    F::finish(simd, &ready, sums[depth - 1], row.offset + element);
                                store::<S>(row.y.add(element), value);
                            }
                            let before = sums;
                            unroll!(a < depth, {
                                sums[a] = if a == 0 { start } else { before[a - 1] };
                            });
                        }
                    };
                }
                walk!(0..from, false);
                walk!(from..to, true);
                walk!(to..steps, false);
            }
        }
    }

    /// `WIDTH` taps, outputs at distance 2; `ROWS` as for [`Self::gather`].
    ///
    /// # Safety
    /// As for [`Self::gather`].
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn scatter<S: Simd, F: Finish, const WIDTH: usize, const ROWS: usize>(
        &self,
        simd: S,
        finish: &F,
        pairs: &[(usize, usize)],
        pad: usize,
        row: Row,
    ) {
        const STRIDE: usize = 2;
        let channels = self.lanes.channels;
        let [_, in_width] = self.input;
        let [_, out_width] = self.output;
        let row_len = in_width * channels;
        let steps = (out_width + pad).div_ceil(STRIDE);
        // Steps whose input exists and whose outputs are all inside.
        let from = pad.div_ceil(STRIDE).min(steps);
        let to = ((out_width + pad) / STRIDE)
            .min(in_width)
            .clamp(from, steps);
        // As in `gather`.
        let next = pairs.first().map_or(0, |&(_, h)| h + 1);
        let mut ahead_x = row.x.wrapping_add(next * row_len);
        let mut ahead_y = out_width * channels;
        let ready = finish.ready(simd);
        // Pairs lie at equal distances.
        let (tap_step, row_step) = match *pairs {
            [(tap, h), (next_tap, next_h), ..] => (
                (next_tap - tap) * WIDTH * S::F32_LANES,
                (next_h as isize - h as isize) * row_len as isize,
            ),
            _ => (0, 0),
        };
        for vector in 0..self.lanes.vectors() {
            let channel = self.lanes.start(vector);
            // SAFETY: as in `gather`.
            unsafe {
                let w = self.weights.as_ptr().add(vector * self.taps * S::F32_LANES);
                let at = |r: usize| {
                    let (tap, h) = pairs[r];
                    (
                        w.add(tap * WIDTH * S::F32_LANES),
                        row.x.add(h * row_len + channel),
                    )
                };
                let mut rows = [row.x; ROWS];
                let mut weights = [[simd.splat_f32s(0.0); WIDTH]; ROWS];
                unroll!(r < ROWS, {
                    let (w, x) = at(r);
                    rows[r] = x;
                    unroll!(j < WIDTH, {
                        weights[r][j] = load::<S>(w.add(j * S::F32_LANES));
                    });
                });
                let start = load::<S>(self.start.as_ptr().add(vector * S::F32_LANES));
                let far = match pairs.is_empty() {
                    true => (w, row.x),
                    false => at(0),
                };
                let mut sums = [start; WIDTH];
                macro_rules! walk {
                    ($steps:expr, $inside:literal) => {
                        for step in $steps {
                            if step.is_multiple_of(STRIDE) {
                                prefetch_read(ahead_x);
                                ahead_x = ahead_x.wrapping_add(LINE);
                            }
                            unroll!(_line < STRIDE, {
                                prefetch_write(row.y.wrapping_add(ahead_y));
                                ready.prefetch(row.offset + ahead_y);
                                ahead_y += LINE;
                            });
                            if $inside || step < in_width {
                                let position = step * channels;
                                unroll!(r < ROWS, {
                                    let x = load::<S>(rows[r].add(position));
                                    unroll!(j < WIDTH, {
                                        sums[j] = simd.mul_add_f32s(weights[r][j], x, sums[j]);
                                    });
                                });
                                if ROWS == 0 {
                                    let (mut w, mut x_row) = far;
                                    for _ in pairs {
                                        let x = load::<S>(x_row.wrapping_add(position));
                                        unroll!(j < WIDTH, {
                                            let w = load::<S>(w.add(j * S::F32_LANES));
                                            sums[j] = simd.mul_add_f32s(w, x, sums[j]);
                                        });
                                        w = w.wrapping_add(tap_step);
                                        x_row = x_row.wrapping_offset(row_step);
                                    }
                                }
                            }
                            unroll!(s < STRIDE, {
                                let q = (step * STRIDE + s).wrapping_sub(pad);
                                if $inside || q < out_width {
                                    let element = q * channels + channel;
                                    let value =
                                        F::finish(simd, &ready, sums[s], row.offset + element);
                                    store::<S>(row.y.add(element), value);
                                }
                            });
                            unroll!(j < WIDTH, {
                                sums[j] = match j + STRIDE < WIDTH {
                                    true => sums[j + STRIDE],
                                    false => start,
                                };
                            });
                        }
                    };
                }
                walk!(0..from, false);
                walk!(from..to, true);
                walk!(to..steps, false);
            }
        }
    }

    /// Any kernel, stride and dilation.
    ///
    /// # Safety
    /// As [`Self::row`] asserts; `pairs` must be the row's.
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn table<S: Simd, F: Finish>(
        &self,
        simd: S,
        finish: &F,
        pairs: &[(usize, usize)],
        row: Row,
    ) {
        let channels = self.lanes.channels;
        let row_len = self.input[1] * channels;
        let ready = finish.ready(simd);
        for vector in 0..self.lanes.vectors() {
            let channel = self.lanes.start(vector);
            for q in 0..self.output[1] {
                let columns = self.columns.at(q);
                // SAFETY: the tables hold rows, columns and taps that exist.
                unsafe {
                    let w = self.weights.as_ptr().add(vector * self.taps * S::F32_LANES);
                    let mut sum = load::<S>(self.start.as_ptr().add(vector * S::F32_LANES));
                    for &(i, h) in pairs {
                        let w = w.add(i * self.width * S::F32_LANES);
                        let x = row.x.add(h * row_len + channel);
                        for &(j, c) in columns {
                            let w = load::<S>(w.add(j * S::F32_LANES));
                            let x = load::<S>(x.add(c * channels));
                            sum = simd.mul_add_f32s(w, x, sum);
                        }
                    }
                    let element = q * channels + channel;
                    let value = F::finish(simd, &ready, sum, row.offset + element);
                    store::<S>(row.y.add(element), value);
                }
            }
        }
    }
}
