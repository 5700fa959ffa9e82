//! dW = Σ over pixels of dY ⊗ X on AMX.
//!
//! Pixels are the summed elements: dY's channels are the tiles' rows, X's their columns, tap by tap. A
//! piece is some of dY's channels over a share of the pixels; it goes through its pixels block by
//! block, splits dY's channels once, then X's 32 by 32, and adds their products to sums
//! `[taps, O, I]` of its share. One tap whose pixels are not shared is summed in dW itself.

use super::super::bias::{add_pixels, sum_shares};
use super::super::forward::gather;
use super::super::gather::{Gather, Rows};
use super::super::tile::prefetch;
use super::split::{STEP, split_columns, split_columns_to_rows};
use super::tile::{LINES, PIECES, TILE, Tiles, multiply};
use super::{MANY, available};
use crate::kernels::shared::Shared;
use crate::kernels::{ConvShape, Parallel, workspace};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// Channels of either map that are multiplied together: two tiles.
const PAIR: usize = 2 * LINES;
/// Steps of a block at most, and at least: enough that sums are not moved too often.
const STEPS: [usize; 2] = [16, 4];
/// Floats of dY's tiles of a block, so that they stay in the second cache: 1 MiB.
const BLOCK_FLOATS: usize = 1 << 18;
/// Pixels that are worth sums of their own.
const SHARE: usize = 512;
/// Floats of sums in which shares are kept, so that they stay in the caches.
const SHARE_FLOATS: usize = 1 << 19;
/// Channels of dY that a piece has, if there are so many: X is split for all of them.
const TALL: usize = 256;
/// Elements of a tap's weight from which the splitting pays.
const ENOUGH: usize = 40_000;
/// As that, where the rows that were split are used for several taps.
const FEWER: usize = 16_000;
/// Rows that are located together.
const LOT: usize = 8;

/// Whether [`weight_gradient`] can be used, and is faster than with vectors.
pub(in super::super) fn suits_weight_gradient(shape: &ConvShape) -> bool {
    let pixels = shape.batch * shape.output[0] * shape.output[1];
    let channels = [shape.in_channels, shape.out_channels];
    let whole = |n: &usize| *n >= MANY && n.is_multiple_of(LINES);
    let enough = if shape.taps() > 1 { FEWER } else { ENOUGH };
    shape.group == 1
        && pixels >= STEP
        && channels.iter().all(whole)
        && channels[0] * channels[1] >= enough
        && available()
}

/// Writes dW and, where wanted, db.
pub(in super::super) fn weight_gradient(
    shape: &ConvShape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    parallel: &dyn Parallel,
) {
    let gather = gather(shape);
    let channels = [shape.out_channels, shape.in_channels];
    let [tall, wide] = channels;
    let taps = gather.taps.len();
    let sums_len = taps * tall * wide;
    let threads = parallel.threads().max(1);
    let shares = match threads {
        1 => 1,
        _ => (gather.rows() / SHARE).min(SHARE_FLOATS / sums_len),
    };
    let shares = shares.clamp(1, 4 * threads);
    let parts = (tall / TALL).max(threads.div_ceil(shares));
    let parts = parts.min(tall.div_ceil(PAIR));
    let direct = taps == 1 && shares == 1;
    let buffer_len = if direct { 0 } else { shares * sums_len };
    workspace::with(buffer_len + shares * tall + gather.zeros_len(), |buffer| {
        let (sums, rest) = buffer.split_at_mut(buffer_len);
        let (bias, zeros) = rest.split_at_mut(shares * tall);
        zeros.fill(0.0);
        bias.fill(0.0);
        let job = Job {
            gather: &gather,
            channels,
            x,
            dy,
            zeros,
            sums: Shared::new(if direct { &mut *dw } else { &mut *sums }),
            bias: db.is_some().then(|| Shared::new(bias)),
        };
        parallel.run(shares * parts, &|index| {
            let [share, part] = [index / parts, index % parts];
            let pairs = tall.div_ceil(PAIR);
            let of = |at: usize| (at * pairs / parts * PAIR).min(tall);
            let steps = gather.rows().div_ceil(STEP);
            let pixel = |at: usize| (at * steps / shares * STEP).min(gather.rows());
            job.piece(
                share,
                of(part)..of(part + 1),
                pixel(share)..pixel(share + 1),
            );
        });
        if !direct {
            gather_sums([taps, tall, wide], shares, sums, dw, parallel);
        }
        if let Some(db) = db {
            sum_shares(bias, db);
        }
    });
}

/// [`add_pixels`], on this processor's vectors.
struct AddPixels<'a>(&'a [f32], &'a mut [f32]);

impl WithSimd for AddPixels<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        #[allow(unsafe_code)]
        // SAFETY: the slice is borrowed for this alone.
        unsafe {
            add_pixels(simd, self.0, Shared::new(self.1));
        }
    }
}

/// What all pieces share.
struct Job<'a> {
    /// Which pixel of X meets a pixel of dY, by tap.
    gather: &'a Gather,
    /// Of dY and X.
    channels: [usize; 2],
    x: &'a [f32],
    dy: &'a [f32],
    /// A pixel of zeros.
    zeros: &'a [f32],
    /// `[shares, taps, O, I]`
    sums: Shared<'a>,
    /// `[shares, O]`
    bias: Option<Shared<'a>>,
}

impl Job<'_> {
    /// Sums the products of some of dY's channels over some pixels.
    #[allow(unsafe_code)]
    fn piece(&self, share: usize, tall: Range<usize>, pixels: Range<usize>) {
        let [out_channels, wide] = self.channels;
        let taps = self.gather.taps.len();
        let step_len = tall.len() * PIECES * LINES;
        let steps = (BLOCK_FLOATS / step_len.max(1)).clamp(STEPS[1], STEPS[0]);
        let block_pixels = steps * STEP;
        let columns_len = steps * PIECES * 2 * TILE;
        if let Some(bias) = self.bias.filter(|_| tall.start == 0) {
            // SAFETY: this share's first piece alone uses this part.
            let bias = unsafe { bias.part(share * out_channels..(share + 1) * out_channels) };
            for first in pixels.clone().step_by(block_pixels) {
                let end = (first + block_pixels).min(pixels.end);
                let dy = &self.dy[first * out_channels..end * out_channels];
                Arch::new().dispatch(AddPixels(dy, &mut *bias));
            }
        }
        // SAFETY: nothing suits where AMX is not available.
        let tiles = unsafe { Tiles::new() };
        workspace::with(steps * step_len + columns_len, |split| {
            let (rows, columns) = split.split_at_mut(steps * step_len);
            for first in pixels.clone().step_by(block_pixels) {
                let block = first..(first + block_pixels).min(pixels.end);
                let steps = block.len().div_ceil(STEP);
                self.split_rows(block.clone(), tall.clone(), rows);
                let found = self.gather.locate(block, LOT, self.x, self.zeros, &mut []);
                for tap in 0..taps {
                    let map = ((share * taps + tap) * out_channels + tall.start) * wide;
                    for channel in (0..wide).step_by(PAIR) {
                        let channels = channel..(channel + PAIR).min(wide);
                        self.split_columns(&found, tap, channels.clone(), columns);
                        let products = Products {
                            tiles: &tiles,
                            rows,
                            tall: tall.len(),
                            columns,
                            wide: channels.len(),
                            steps,
                            add: first > pixels.start,
                        };
                        products.run(self.sums, [map + channel, wide], |turn, turns| {
                            // Meanwhile the next channels arrive.
                            let of = |turn: usize| turn * found.write.len() / turns;
                            if channels.end < wide {
                                self.fetch(&found, tap, of(turn)..of(turn + 1), channels.end);
                            }
                        });
                    }
                }
            }
        });
    }

    /// Splits channels of dY: `[pairs][steps]` of tiles of rows.
    #[allow(unsafe_code)]
    fn split_rows(&self, block: Range<usize>, tall: Range<usize>, to: &mut [f32]) {
        let channels = self.channels[0];
        let steps = block.len().div_ceil(STEP);
        let nothing = [0.0; PAIR];
        // Step by step, as the pixels lie in memory.
        for (step, first) in block.clone().step_by(STEP).enumerate() {
            for channel in tall.clone().step_by(PAIR) {
                let width = PAIR.min(tall.end - channel);
                let mut lines = [nothing.as_ptr(); STEP];
                for (line, pixel) in lines.iter_mut().zip(first..block.end) {
                    *line = self.dy[pixel * channels + channel..][..width].as_ptr();
                }
                let step_len = width / LINES * PIECES * TILE;
                let at = (channel - tall.start) * steps * PIECES * LINES + step * step_len;
                let to = &mut to[at..at + step_len];
                // SAFETY: AMX comes with these vectors; every line has `width` floats.
                unsafe { split_columns_to_rows(&lines, [width / LINES, width], to) };
            }
        }
    }

    /// Asks for channels from `first` of X at some pixels of a block.
    fn fetch(&self, found: &Rows, tap: usize, pixels: Range<usize>, first: usize) {
        for pixel in pixels {
            let read = self.read(found, tap, pixel).wrapping_add(first);
            prefetch(read);
            prefetch(read.wrapping_add(LINES));
        }
    }

    /// Where a tap reads for a pixel of a block.
    fn read(&self, found: &Rows, tap: usize, pixel: usize) -> *const f32 {
        let taps = self.gather.taps.len();
        found.read[(pixel / LOT * taps + tap) * LOT + pixel % LOT]
    }

    /// Splits channels of X as a tap reads them: `[steps]` of tiles of columns.
    #[allow(unsafe_code)]
    fn split_columns(&self, found: &Rows, tap: usize, wide: Range<usize>, to: &mut [f32]) {
        let pixels = found.write.len();
        let step_len = wide.len() / LINES * PIECES * TILE;
        for (step, to) in to.chunks_exact_mut(step_len).enumerate() {
            let first = step * STEP;
            if first >= pixels {
                break;
            }
            let mut lines = [self.zeros[wide.clone()].as_ptr(); STEP];
            for (line, pixel) in lines.iter_mut().zip(first..pixels) {
                *line = self.read(found, tap, pixel).wrapping_add(wide.start);
            }
            // SAFETY: AMX comes with these vectors; `locate` gives pointers to I floats.
            unsafe { split_columns(&lines, [wide.len() / LINES, wide.len()], to) };
        }
    }
}

/// Channels of dY times up to 32 of X, over a block of pixels.
struct Products<'a> {
    tiles: &'a Tiles,
    /// `[pairs][steps]` of tiles of `tall` channels.
    rows: &'a [f32],
    tall: usize,
    /// `[steps]` of tiles of `wide` channels.
    columns: &'a [f32],
    wide: usize,
    steps: usize,
    /// Whether to what stands there.
    add: bool,
}

impl Products<'_> {
    /// Writes the sums from `start`, rows of which lie `pitch` apart, and calls `meanwhile` before
    /// every turn, with the number of turns.
    #[allow(unsafe_code)]
    fn run(&self, sums: Shared, [start, pitch]: [usize; 2], meanwhile: impl Fn(usize, usize)) {
        let turns = self.tall.div_ceil(PAIR);
        for turn in 0..turns {
            meanwhile(turn, turns);
            let row = turn * PAIR;
            let lines = PAIR.min(self.tall - row);
            let to = sums.at(start + row * pitch, (lines - 1) * pitch + self.wide);
            let step_len = |lines: usize| self.steps * lines * PIECES * LINES;
            let rows = self.rows[step_len(row)..][..step_len(lines)].as_ptr();
            let columns = self.columns[..step_len(self.wide)].as_ptr();
            let multiply = match (lines > LINES, self.wide > LINES) {
                (true, true) => multiply::<2, 2>,
                (true, false) => multiply::<2, 1>,
                (false, true) => multiply::<1, 2>,
                (false, false) => multiply::<1, 1>,
            };
            // SAFETY: the tiles were cut to `steps` steps; `at` checked the sums, which are the
            // piece's alone.
            unsafe { multiply(self.tiles, rows, columns, self.steps, (to, pitch), self.add) };
        }
    }
}

/// Adds the shares' sums and stores them as W stands, `[O, I, taps]`.
fn gather_sums(
    [taps, tall, wide]: [usize; 3],
    shares: usize,
    sums: &[f32],
    dw: &mut [f32],
    parallel: &dyn Parallel,
) {
    let dw = Shared::new(dw);
    parallel.run(tall, &|row| {
        // SAFETY: every row is stored once.
        #[allow(unsafe_code)]
        let dw = unsafe { dw.part(row * wide * taps..(row + 1) * wide * taps) };
        for share in 0..shares {
            for tap in 0..taps {
                let sums = &sums[((share * taps + tap) * tall + row) * wide..][..wide];
                let to = dw[tap..].iter_mut().step_by(taps);
                match share {
                    0 => to.zip(sums).for_each(|(to, sum)| *to = *sum),
                    _ => to.zip(sums).for_each(|(to, sum)| *to += *sum),
                }
            }
        }
    });
}
