//! The greatest element of each window.

use std::ops::Range;

use pulp::Simd;

use super::PoolShape;
use crate::kernels::channelwise::bands::Bands;
use crate::kernels::channelwise::channels::{Kernel, Lanes, dispatch, load, store};
use crate::kernels::channelwise::taps::Taps;
use crate::kernels::shape::expect;
use crate::kernels::shared::Shared;
use crate::kernels::{KernelError, Parallel, workspace};

/// Y = the greatest element of each window; NaN counts as greater than all. An empty window gives
/// −∞.
///
/// # Errors
/// [`KernelError`] when sizes contradict each other or a slice does not fit them.
pub fn max_pool(
    shape: &PoolShape,
    x: &[f32],
    y: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    shape.check()?;
    expect("X", x.len(), shape.x_len())?;
    expect("Y", y.len(), shape.y_len())?;
    let windows = Windows::new(shape);
    let row = shape.output[1] * shape.channels;
    let bands = Bands::new(
        shape.batch * shape.output[0],
        x.len() + y.len(),
        parallel.threads(),
    );
    let shared = Shared::new(y);
    parallel.run(bands.pieces(), &|piece| {
        let range = bands.range(piece);
        #[allow(unsafe_code)]
        // SAFETY: pieces have rows of their own.
        let y = unsafe { shared.part(range.start * row..range.end * row) };
        let kernel = Greatest {
            windows: &windows,
            x,
            y,
            range,
        };
        dispatch(shape.channels, kernel);
    });
    Ok(())
}

/// dX: each window's gradient goes to its greatest element, the first of several in row-major
/// order, the last NaN if there is any.
///
/// # Errors
/// [`KernelError`] when sizes contradict each other or a slice does not fit them.
pub fn max_pool_gradient(
    shape: &PoolShape,
    x: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    shape.check()?;
    expect("X", x.len(), shape.x_len())?;
    expect("dY", dy.len(), shape.y_len())?;
    expect("dX", dx.len(), shape.x_len())?;
    let windows = Windows::new(shape);
    let back = [0, 1].map(|axis| Taps::backward(shape.axis(axis)));
    let row = shape.input[1] * shape.channels;
    let bands = Bands::new(
        shape.batch * shape.input[0],
        2 * x.len() + dy.len(),
        parallel.threads(),
    );
    let shared = Shared::new(dx);
    parallel.run(bands.pieces(), &|piece| {
        let range = bands.range(piece);
        #[allow(unsafe_code)]
        // SAFETY: pieces have rows of their own.
        let dx = unsafe { shared.part(range.start * row..range.end * row) };
        // Winners of the output rows that the rows under work meet, a ring over the rows.
        let winners = windows.ring() * shape.output[1] * shape.channels;
        workspace::with(winners, |winners| {
            let kernel = Gradient {
                windows: &windows,
                back: &back,
                x,
                dy,
                dx,
                winners,
                range,
            };
            dispatch(shape.channels, kernel);
        });
    });
    Ok(())
}

/// Which input positions each window holds.
struct Windows {
    shape: PoolShape,
    lanes: Lanes,
    rows: Taps,
    columns: Taps,
}

impl Windows {
    fn new(shape: &PoolShape) -> Self {
        Self {
            shape: *shape,
            lanes: Lanes::of(shape.channels),
            rows: Taps::forward(shape.axis(0)),
            columns: Taps::forward(shape.axis(1)),
        }
    }

    /// Output rows among which are all whose windows hold input row `h`; neither end falls as `h`
    /// grows.
    #[inline(always)]
    fn around(&self, h: usize) -> Range<usize> {
        let (padded, stride) = (h + self.shape.pads[0], self.shape.strides[0]);
        let reach = (self.shape.kernel[0] - 1) * self.shape.dilations[0];
        let end = (padded / stride + 1).min(self.shape.output[0]);
        padded.saturating_sub(reach).div_ceil(stride).min(end)..end
    }

    /// At least the length of any [`Self::around`].
    fn ring(&self) -> usize {
        let reach = (self.shape.kernel[0] - 1) * self.shape.dilations[0];
        reach / self.shape.strides[0] + 2
    }

    /// The elements of X's example `n`.
    #[inline(always)]
    fn map<'a>(&self, x: &'a [f32], n: usize) -> &'a [f32] {
        let len = self.shape.input[0] * self.shape.input[1] * self.shape.channels;
        let map = &x[n * len..(n + 1) * len];
        assert_eq!(map.len(), len);
        map
    }

    /// Calls `take(element, greatest, its tap)` for the vectors of output row `p`; `element` counts
    /// from the row's begin. Empty windows give no tap, which is −1.
    #[inline(always)]
    #[allow(unsafe_code)]
    fn row<S: Simd>(
        &self,
        simd: S,
        map: &[f32],
        p: usize,
        mut take: impl FnMut(usize, S::f32s, S::f32s),
    ) {
        let channels = self.shape.channels;
        let row = self.shape.input[1] * channels;
        let width = self.shape.kernel[1];
        let pairs = self.rows.at(p);
        assert_eq!(map.len(), self.shape.input[0] * row);
        assert!(self.lanes.lanes == S::F32_LANES && channels >= S::F32_LANES);
        for q in 0..self.shape.output[1] {
            let columns = self.columns.at(q);
            for vector in 0..self.lanes.vectors() {
                let channel = self.lanes.start(vector);
                let mut greatest = simd.splat_f32s(f32::NEG_INFINITY);
                let mut winner = simd.splat_f32s(-1.0);
                let mut first = true;
                for &(i, h) in pairs {
                    for &(j, c) in columns {
                        let tap = simd.splat_f32s((i * width + j) as f32);
                        // SAFETY: the tables hold rows and columns that exist, and a vector's
                        // channels lie within a position.
                        let x = unsafe {
                            load::<S>(map.as_ptr().add(h * row + c * channels + channel))
                        };
                        if first {
                            (greatest, winner, first) = (x, tap, false);
                            continue;
                        }
                        let greater = simd.greater_than_f32s(x, greatest);
                        let number = simd.equal_f32s(x, x);
                        // Where x is NaN or greater: not (a number and not greater).
                        let stays = simd.and_m32s(number, simd.not_m32s(greater));
                        greatest = simd.select_f32s(stays, greatest, x);
                        winner = simd.select_f32s(stays, winner, tap);
                    }
                }
                take(q * channels + channel, greatest, winner);
            }
        }
    }
}

/// Rows `range` of all examples' output rows.
struct Greatest<'a> {
    windows: &'a Windows,
    x: &'a [f32],
    y: &'a mut [f32],
    range: Range<usize>,
}

impl Kernel for Greatest<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Windows { shape, .. } = self.windows;
        let row = (shape.output[1] * shape.channels).max(1);
        for (index, y) in self.range.zip(self.y.chunks_exact_mut(row)) {
            let map = self.windows.map(self.x, index / shape.output[0]);
            let p = index % shape.output[0];
            self.windows.row(simd, map, p, |element, greatest, _| {
                // SAFETY: an output row's element.
                #[allow(unsafe_code)]
                unsafe {
                    store::<S>(y.as_mut_ptr().add(element), greatest);
                }
            });
        }
    }
}

/// Rows `range` of all examples' input rows.
struct Gradient<'a> {
    windows: &'a Windows,
    /// From input positions to the output positions whose windows hold them.
    back: &'a [Taps; 2],
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
    winners: &'a mut [f32],
    range: Range<usize>,
}

impl Kernel for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Windows { shape, lanes, .. } = self.windows;
        let channels = shape.channels;
        let [row, out_row] = [shape.input[1] * channels, shape.output[1] * channels];
        let ring = self.windows.ring();
        let zero = simd.splat_f32s(0.0);
        // The output rows of the example at hand whose winners are known: all before.
        let mut known = (usize::MAX, 0);
        for (index, dx) in self.range.zip(self.dx.chunks_exact_mut(row.max(1))) {
            let (n, h) = (index / shape.input[0], index % shape.input[0]);
            let pairs = self.back[0].at(h);
            let map = self.windows.map(self.x, n);
            let Range { start: first, end } = self.windows.around(h);
            let from = match known {
                (example, end) if example == n => end.max(first),
                _ => first,
            };
            for p in from..end {
                let winners = &mut self.winners[p % ring * out_row..][..out_row];
                self.windows.row(simd, map, p, |element, _, winner| {
                    // SAFETY: an output row's element.
                    #[allow(unsafe_code)]
                    unsafe {
                        store::<S>(winners.as_mut_ptr().add(element), winner);
                    }
                });
            }
            if end > from {
                known = (n, end);
            }
            let dy = &self.dy[n * shape.output[0] * out_row..][..shape.output[0] * out_row];
            assert!(self.winners.len() == ring * out_row && dx.len() == row);
            for w in 0..shape.input[1] {
                let columns = self.back[1].at(w);
                for vector in 0..lanes.vectors() {
                    let channel = lanes.start(vector);
                    let mut sum = zero;
                    for &(i, p) in pairs {
                        for &(j, q) in columns {
                            let tap = simd.splat_f32s((i * shape.kernel[1] + j) as f32);
                            let element = q * channels + channel;
                            // SAFETY: the tables hold rows and columns that exist, and a vector's
                            // channels lie within a position.
                            #[allow(unsafe_code)]
                            let (winner, dy) = unsafe {
                                let winners = self.winners.as_ptr().add(p % ring * out_row);
                                let dy = dy.as_ptr().add(p * out_row);
                                (load::<S>(winners.add(element)), load::<S>(dy.add(element)))
                            };
                            let here = simd.equal_f32s(winner, tap);
                            sum = simd.add_f32s(sum, simd.select_f32s(here, dy, zero));
                        }
                    }
                    // SAFETY: an element of this row.
                    #[allow(unsafe_code)]
                    unsafe {
                        store::<S>(dx.as_mut_ptr().add(w * channels + channel), sum);
                    }
                }
            }
        }
    }
}
