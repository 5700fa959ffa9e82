//! Rows whose inputs are each scattered over several outputs: the input gradients of a stride of 2.

use pulp::Simd;

use super::finish::Finish;
use super::rows::{Correlation, Row};
use crate::kernels::channelwise::channels::{
    LINE, load, prefetch_read, prefetch_write, store, unroll,
};

impl Correlation<'_> {
    /// `WIDTH` taps, outputs at distance 2; `ROWS` as for [`Self::gather`].
    ///
    /// # Safety
    /// As for [`Self::gather`].
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(super) unsafe fn scatter<S: Simd, F: Finish, const WIDTH: usize, const ROWS: usize>(
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
}
