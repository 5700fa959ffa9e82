//! Gathered rows times arranged weights: the loops of `dense/product.rs`, on AMX.
//!
//! A piece is some rows times some panels. Its rows are split into tiles once, then every panel is
//! multiplied with all of them while its tiles are near.

use super::super::finish::{Writer, is_far};
use super::super::gather::Rows;
use super::super::lanes::{Lanes, load};
use super::super::pack::Panel;
use super::super::product::{NV, Product};
use super::super::tile::prefetch;
use super::split::{Chunk, split_rows, steps, vector_len};
use super::tile::{LINES, PIECES, TILE, Tiles, multiply as multiply_tiles};
use crate::kernels::shared::Shared;
use crate::kernels::{Parallel, workspace};
use pulp::{Arch, Simd, WithSimd};

/// Rows that are multiplied together: two tiles.
const ROWS: usize = 2 * LINES;
/// Columns that are multiplied together: two tiles.
const COLUMNS: usize = 2 * LINES;
/// Rows that are located, and stored, together.
const LOT: usize = 8;
/// Steps after which sums are put aside, so that the rows' tiles of a piece stay in the second cache.
const STEPS: usize = 32;
/// Floats of the rows' tiles of a piece: 1 MiB.
const ROWS_FLOATS: usize = 1 << 18;
/// Rows of a piece, so that there are pieces for all threads.
const MOST_ROWS: usize = 256;
/// Panels that a piece has at least, if it can be: its rows are split for all of them.
const PANELS: usize = 8;

/// Computes `target`: [`Product::multiply`] of a weight that was arranged for this.
pub(in super::super) fn multiply(
    product: &Product,
    target: Shared,
    panels: &[Panel],
    [packed, zeros]: [&[f32]; 2],
    parallel: &dyn Parallel,
) {
    let gather = &product.gather;
    let rows = gather.rows();
    let steps = steps(gather.taps.len(), product.depth());
    let blocks = steps.len().div_ceil(STEPS);
    let blocks: Vec<&[[Chunk; 2]]> = (0..blocks)
        .map(|i| &steps[i * steps.len() / blocks..(i + 1) * steps.len() / blocks])
        .collect();
    let row_len = blocks.iter().map(|block| block.len()).max().unwrap_or(0) * PIECES * LINES;
    let most = (ROWS_FLOATS / row_len.max(1)).clamp(ROWS, MOST_ROWS) / ROWS;
    let tiles = rows.div_ceil(ROWS);
    let tiles = tiles.div_ceil(tiles.div_ceil(most).max(1)).max(1);
    let shares = rows.div_ceil(tiles * ROWS);
    let parts = match parallel.threads() {
        0 | 1 => 1,
        threads => {
            let most = (panels.len() / PANELS).max(threads.div_ceil(shares.max(1)));
            (4 * threads).div_ceil(shares.max(1)).min(most)
        }
    };
    let parts = parts.clamp(1, panels.len().max(1));
    let piece = |index: usize| {
        let [share, part] = [index / parts, index % parts];
        let rows = share * tiles * ROWS..((share + 1) * tiles * ROWS).min(rows);
        let panels = &panels[part * panels.len() / parts..(part + 1) * panels.len() / parts];
        let copies_len = rows.len() * gather.copy_len(LOT);
        let sums = match blocks.len() {
            1 => 1,
            _ => tiles * panels.len(),
        };
        let split_len = tiles * ROWS * row_len;
        let lens = split_len + sums * ROWS * COLUMNS + copies_len;
        workspace::with(lens, |scratch| {
            let (split, scratch) = scratch.split_at_mut(split_len);
            let (sums, copies) = scratch.split_at_mut(sums * ROWS * COLUMNS);
            Arch::new().dispatch(Piece {
                product,
                writer: Writer {
                    finish: &product.finish,
                    target,
                },
                packed,
                panels,
                blocks: &blocks,
                rows: gather.locate(rows, LOT, product.source, zeros, copies),
                nothing: zeros.as_ptr(),
                split,
                sums,
            });
        });
    };
    parallel.run(shares * parts, &piece);
}

struct Piece<'a> {
    product: &'a Product<'a>,
    writer: Writer<'a>,
    packed: &'a [f32],
    panels: &'a [Panel],
    blocks: &'a [&'a [[Chunk; 2]]],
    rows: Rows,
    /// A row of zeros.
    nothing: *const f32,
    /// The rows' tiles, of one block of steps.
    split: &'a mut [f32],
    /// Sums of one tile, or of all if there are several blocks.
    sums: &'a mut [f32],
}

impl WithSimd for Piece<'_> {
    type Output = ();

    // No closure or function that is not inlined may hold vector code from here on: it would be
    // compiled without the instructions that were dispatched to.
    #[allow(unsafe_code)]
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // SAFETY: nothing is multiplied here where AMX is not available.
        let tiles = unsafe { Tiles::new() };
        let mut step = 0;
        // Panels of one group lie together; every group reads channels of its own.
        for (at, block) in self.blocks.iter().enumerate() {
            let mut group = None;
            for index in 0..self.panels.len() {
                let panel = &self.panels[index];
                if group != Some(panel.group) {
                    group = Some(panel.group);
                    self.split_block(panel.group * self.product.matrix.depth, block);
                }
                match panel.vectors {
                    1 => self.panel::<S, 1>(simd, &tiles, index, [at, step]),
                    _ => self.panel::<S, NV>(simd, &tiles, index, [at, step]),
                }
            }
            step += block.len();
        }
    }
}

impl Piece<'_> {
    /// Rows of a tile pair, of which there may be fewer at the end.
    fn lines(&self, pair: usize) -> usize {
        (self.rows.write.len() - pair * ROWS).min(ROWS)
    }

    /// Splits the channels from `first` of all rows, those of a block of steps.
    #[allow(unsafe_code)]
    fn split_block(&mut self, first: usize, block: &[[Chunk; 2]]) {
        let fetches = self.product.gather.taps.len() == 1 && is_far(self.product.source.len());
        for pair in 0..self.rows.write.len().div_ceil(ROWS) {
            let tiles = self.lines(pair).div_ceil(LINES);
            let step_len = tiles * PIECES * TILE;
            let from = pair * ROWS * block.len() * PIECES * LINES;
            let mut rows = [[self.nothing; 2]; ROWS];
            let mut read = [None; 2];
            let mut next = [[self.nothing; 2]; ROWS];
            if fetches {
                self.read(pair + 1, 0, 0, &mut next);
            }
            for (at, step) in block.iter().enumerate() {
                for half in 0..2 {
                    if read[half] != Some(step[half].tap) {
                        read[half] = Some(step[half].tap);
                        self.read(pair, step[half].tap, half, &mut rows);
                    }
                }
                let offsets = step.map(|chunk| first + chunk.first);
                let lens = step.map(|chunk| chunk.len);
                if fetches {
                    for [row, _] in next {
                        prefetch(row.wrapping_add(offsets[0]));
                        prefetch(row.wrapping_add(offsets[1]));
                    }
                }
                let to = &mut self.split[from + at * step_len..][..step_len];
                // SAFETY: AMX comes with these vectors. `locate` gives pointers to run ·
                // source_channels floats, which hold every group's depth, of which chunks are parts;
                // `nothing` is as long.
                unsafe { split_rows(&rows[..tiles * LINES], offsets, lens, to) };
            }
        }
    }

    /// Finds one half of what a tap reads for a pair of tiles.
    fn read(&self, pair: usize, tap: usize, half: usize, rows: &mut [[*const f32; 2]; ROWS]) {
        let taps = self.product.gather.taps.len();
        for (lot, rows) in rows.chunks_exact_mut(LOT).enumerate() {
            let from = ((pair * ROWS / LOT + lot) * taps + tap) * LOT;
            // There may be no further lots; their rows stay as they are, and are not stored.
            let Some(from) = self.rows.read.get(from..from + LOT) else {
                break;
            };
            rows.iter_mut()
                .zip(from)
                .for_each(|(row, from)| row[half] = *from);
        }
    }

    /// Multiplies all rows' tiles with a panel's steps, which come after `before` others, and stores
    /// sums that are complete.
    #[allow(unsafe_code)]
    #[inline(always)]
    fn panel<S: Simd, const NV: usize>(
        &mut self,
        simd: S,
        tiles: &Tiles,
        index: usize,
        [at, before]: [usize; 2],
    ) {
        let product = self.product;
        let writer = self.writer;
        let panel = &self.panels[index];
        let steps = self.blocks[at].len();
        let [first, last] = [at == 0, at + 1 == self.blocks.len()];
        let start = panel.before * vector_len(product.gather.taps.len(), product.depth());
        let columns = &self.packed[start + before * NV * PIECES * TILE..];
        let columns = &columns[..steps * NV * PIECES * TILE];
        let channel = panel.group * product.matrix.width + panel.first;
        let fetches = writer.is_far();
        let pairs = self.rows.write.len().div_ceil(ROWS);
        for pair in 0..pairs {
            let lines = self.lines(pair);
            let rows = &self.split[pair * ROWS * steps * PIECES * LINES..];
            let rows = &rows[..steps * lines.div_ceil(LINES) * PIECES * TILE];
            let sums = match self.blocks.len() {
                1 => 0,
                _ => (index * pairs + pair) * ROWS * COLUMNS,
            };
            let sums = &mut self.sums[sums..][..ROWS * COLUMNS];
            let writes = &self.rows.write[pair * ROWS..][..lines];
            if last && fetches {
                writer.fetch(writes, channel, panel.width);
            }
            // SAFETY: the tiles were cut to `steps`, and `sums` to two times two tiles.
            unsafe {
                let [rows, columns] = [rows.as_ptr(), columns.as_ptr()];
                let to = (sums.as_mut_ptr(), COLUMNS);
                match lines > LINES {
                    true => multiply_tiles::<2, NV>(tiles, rows, columns, steps, to, !first),
                    false => multiply_tiles::<1, NV>(tiles, rows, columns, steps, to, !first),
                }
            }
            if !last {
                continue;
            }
            match panel.width == NV * LINES {
                true => store::<S, NV, true>(simd, &writer, writes, sums, [channel, panel.width]),
                false => store::<S, NV, false>(simd, &writer, writes, sums, [channel, panel.width]),
            }
        }
    }
}

/// Stores rows of sums.
#[allow(unsafe_code)]
#[inline(always)]
fn store<S: Simd, const NV: usize, const FULL: bool>(
    simd: S,
    writer: &Writer,
    writes: &[usize],
    sums: &[f32],
    [channel, width]: [usize; 2],
) {
    let bias = writer.bias::<S, NV, FULL>(simd, channel, width);
    for (write, sums) in writes.iter().zip(sums.chunks_exact(COLUMNS)) {
        let mut row = bias;
        for (v, value) in row.iter_mut().enumerate() {
            // SAFETY: vectors of 16 lanes, of which a row has two.
            *value = unsafe { load(simd, sums.as_ptr().add(v * LINES), Lanes::All) };
        }
        // SAFETY: pieces differ in rows, which have different offsets, or in channels.
        unsafe {
            writer.store_row::<S, NV, FULL>(simd, row, bias, write + channel, width);
        }
    }
}
