//! Which pixels of a source map each pixel of a target map reads.

use std::ops::Range;

/// Floats between elements that fall on the same lines of the first cache: 4 KiB, on all processors
/// that we know.
const CACHE_STRIDE: usize = 1024;
/// Lines of one place that the first cache holds: 8 on AMD's processors, 8 to 12 on Intel's.
const WAYS: usize = 8;
/// Floats between rows or maps that are copied, so that they do not fall on the same lines of a cache.
pub(super) const APART: usize = 16;

/// Positions of a target map, each reading one source pixel, or `run` neighbours in a row, per tap.
///
/// Grid position p of an image stands for target position `origin + p · stride` and reads source
/// position `p · step + tap` for every tap. Positions outside the source read zeros.
#[derive(Clone, Debug)]
pub(super) struct Gather {
    /// Images.
    pub batch: usize,
    /// Grid positions per image and axis.
    pub grid: [usize; 2],
    /// Source positions per grid position.
    pub step: [usize; 2],
    /// Source rows and columns.
    pub source: [usize; 2],
    /// Floats of a source pixel.
    pub source_channels: usize,
    /// Where taps read, relative to `p · step`.
    pub taps: Vec<[isize; 2]>,
    /// Neighbouring source pixels that a tap reads.
    pub run: usize,
    /// Target rows and columns.
    pub target: [usize; 2],
    /// Floats of a target pixel.
    pub target_channels: usize,
    /// Target position of grid position 0.
    pub origin: [usize; 2],
    /// Target positions per grid position.
    pub stride: [usize; 2],
}

/// Where the rows of some tiles are read and written.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Pointers by tile, tap and row of the tile.
    pub read: Vec<*const f32>,
    /// Offsets of target pixels, by row.
    pub write: Vec<usize>,
}

impl Gather {
    /// Grid positions of all images: the rows of a matrix product.
    pub(super) fn rows(&self) -> usize {
        self.batch * self.grid[0] * self.grid[1]
    }

    /// Floats that [`Gather::locate`] may need for each row of tiles of `height` rows, for copies.
    pub(super) fn copy_len(&self, height: usize) -> usize {
        match self.run {
            1 if self.crowds(height) => self.source_channels + APART,
            1 => 0,
            run => run * self.source_channels * self.taps.len(),
        }
    }

    /// Whether the same element of a tile's rows falls on the same lines of the first cache, and of
    /// more rows than it holds.
    fn crowds(&self, height: usize) -> bool {
        let one = self.taps.len() == 1 && self.run == 1;
        one && height > WAYS && self.source_channels.is_multiple_of(CACHE_STRIDE)
    }

    /// Floats that the zeros given to [`Gather::locate`] must have.
    pub(super) fn zeros_len(&self) -> usize {
        self.run * self.source_channels
    }

    /// Tells where `rows` are read and written, in tiles of `height` rows; the last tile is filled
    /// up with rows of zeros.
    ///
    /// The pointers are to `run · source_channels` floats of `source`, `zeros` or `copies`, which runs
    /// across an edge, and rows that would crowd each other out of the cache, are copied to.
    pub(super) fn locate(
        &self,
        rows: Range<usize>,
        height: usize,
        source: &[f32],
        zeros: &[f32],
        copies: &mut [f32],
    ) -> Rows {
        assert_eq!(
            source.len(),
            self.batch * self.source[0] * self.source[1] * self.source_channels
        );
        assert!(zeros.len() >= self.zeros_len());
        let taps = self.taps.len();
        let tiles = rows.len().div_ceil(height);
        let mut found = Rows {
            read: vec![zeros.as_ptr(); tiles * taps * height],
            write: Vec::with_capacity(rows.len()),
        };
        let mut copies = Copies { free: copies };
        let crowds = self.crowds(height);
        let [grid_rows, grid_columns] = self.grid;
        let mut row = rows.start;
        while row < rows.end {
            let column = row % grid_columns;
            let line = row / grid_columns % grid_rows;
            let image = row / grid_columns / grid_rows;
            let len = (grid_columns - column).min(rows.end - row);
            let first = row - rows.start;
            for (tap, offset) in self.taps.iter().enumerate() {
                let y = (line * self.step[0]) as isize + offset[0];
                if y < 0 || y as usize >= self.source[0] {
                    continue;
                }
                let from =
                    (image * self.source[0] + y as usize) * self.source[1] * self.source_channels;
                let from = &source[from..from + self.source[1] * self.source_channels];
                let mut slot = first % height;
                let mut base = (first / height * taps + tap) * height;
                for column in column..column + len {
                    let x = (column * self.step[1]) as isize + offset[1];
                    let mut pixel = self.pixel(from, x, zeros, &mut copies);
                    if crowds && pixel != zeros.as_ptr() {
                        let from = &from[x as usize * self.source_channels..];
                        pixel = copies.join(0, from, self.source_channels);
                        copies.skip(APART);
                    }
                    found.read[base + slot] = pixel;
                    slot += 1;
                    if slot == height {
                        slot = 0;
                        base += taps * height;
                    }
                }
            }
            let target = (image * self.target[0] + self.origin[0] + line * self.stride[0])
                * self.target[1]
                + self.origin[1];
            found.write.extend(
                (column..column + len)
                    .map(|column| (target + column * self.stride[1]) * self.target_channels),
            );
            row += len;
        }
        found
    }

    /// A pointer to `run` pixels from column `x` of a source row.
    #[inline(always)]
    fn pixel(&self, row: &[f32], x: isize, zeros: &[f32], copies: &mut Copies) -> *const f32 {
        let columns = self.source[1] as isize;
        if x >= 0 && x + self.run as isize <= columns {
            return row[x as usize * self.source_channels..].as_ptr();
        }
        if x >= columns || x + self.run as isize <= 0 {
            return zeros.as_ptr();
        }
        let before = (-x).max(0) as usize * self.source_channels;
        let from = x.max(0) as usize * self.source_channels;
        copies.join(before, &row[from..], self.run * self.source_channels)
    }
}

/// Memory for runs that begin or end outside the source, and for crowding rows.
struct Copies<'a> {
    free: &'a mut [f32],
}

impl Copies<'_> {
    /// Leaves `len` floats out.
    fn skip(&mut self, len: usize) {
        self.free = std::mem::take(&mut self.free).split_at_mut(len).1;
    }

    /// `len` floats: zeros, then as much of `inside` as fits, then zeros.
    #[cold]
    fn join(&mut self, before: usize, inside: &[f32], len: usize) -> *const f32 {
        let (run, free) = std::mem::take(&mut self.free).split_at_mut(len);
        self.free = free;
        let copied = inside.len().min(len - before);
        run[..before].fill(0.0);
        run[before..before + copied].copy_from_slice(&inside[..copied]);
        run[before + copied..].fill(0.0);
        run.as_ptr()
    }
}
