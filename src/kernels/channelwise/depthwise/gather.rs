//! Rows whose outputs each gather the inputs under their taps.

use pulp::Simd;

use super::finish::Finish;
use super::rows::{Correlation, Row};
use crate::kernels::channelwise::channels::{
    LINE, load, prefetch_read, prefetch_write, store, unroll,
};

impl Correlation<'_> {
    /// `WIDTH` taps at distance 1, `ROWS` rows with their weights in registers, or any number of
    /// rows with their weights in memory when `ROWS` is 0.
    ///
    /// # Safety
    /// As [`Self::row`] asserts; `pairs` must be the row's and `ROWS` their number or 0.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(super) unsafe fn gather<
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
}
