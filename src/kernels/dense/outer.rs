//! One piece of a weight gradient: a panel of channels over a share of the pixels.

use super::bias::add_pixels;
use super::layout::{Layout, PANEL_VECTORS, tiles};
use super::padded::{Padded, copy_lanes, pack_tall};
use super::tile::{Run, outer, restore, save};
use crate::kernels::shared::Shared;
use crate::kernels::{ConvShape, workspace};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// Output pixels of a block.
const BLOCK_PIXELS: usize = 128;

/// What all pieces share.
pub(super) struct Job<'a> {
    pub shape: &'a ConvShape,
    pub layout: &'a Layout,
    pub x: &'a [f32],
    pub dy: &'a [f32],
    /// Panels per piece, all of one group.
    pub panels: usize,
    pub splits: usize,
    pub sums: Shared<'a>,
    pub bias_sums: Option<Shared<'a>>,
}

impl Job<'_> {
    /// Pieces: neighbouring panels by split.
    pub(super) fn pieces(&self) -> usize {
        self.layout.group * self.groups() * self.splits
    }

    /// Pieces of one group's panels.
    fn groups(&self) -> usize {
        self.layout.panels_per_group().div_ceil(self.panels)
    }

    /// Computes the sums of a piece.
    pub(super) fn piece(&self, index: usize) {
        let layout = self.layout;
        let pieces = layout.group * self.groups();
        let [split, index] = [index / pieces, index % pieces];
        let [group, index] = [index / self.groups(), index % self.groups()];
        let panels = layout.panels_per_group();
        let end = ((index + 1) * self.panels).min(panels);
        let block_lines = self.block_lines();
        let block_pixels = block_lines * self.lines()[1];
        let padded = self.padded(layout.lanes);
        let x_len = padded.map_or(0, |padded| padded.most_floats(block_lines));
        let [x_wide, flat] = [layout.x_is_wide, layout.flat];
        let packed = layout.packs_tall();
        let wide_len = match flat || !x_wide {
            true => block_pixels * layout.lanes,
            false => x_len,
        };
        let tall_len = match packed {
            true => block_pixels * layout.tall + layout.lanes,
            false if !flat && !x_wide => x_len,
            false => 0,
        };
        workspace::with(wide_len + tall_len, |scratch| {
            let (wide, tall) = scratch.split_at_mut(wide_len);
            Arch::new().dispatch(Piece {
                job: self,
                group,
                panels: group * panels + index * self.panels..group * panels + end,
                split,
                copies: [tall, wide],
            });
        });
    }

    /// Lines of all images, and pixels of one; lines without meaning where pixels are X's.
    fn lines(&self) -> [usize; 2] {
        match self.layout.flat {
            true => [self.pixels().div_ceil(BLOCK_PIXELS), BLOCK_PIXELS],
            false => [
                self.shape.batch * self.shape.output[0],
                self.shape.output[1],
            ],
        }
    }

    /// Output pixels of all images.
    fn pixels(&self) -> usize {
        self.shape.batch * self.shape.output[0] * self.shape.output[1]
    }

    /// Lines of a block: whole images where they are small.
    fn block_lines(&self) -> usize {
        let [all, columns] = self.lines();
        let lines = (BLOCK_PIXELS / columns.max(1)).clamp(1, all.max(1));
        let image = self.shape.output[0].max(1);
        match lines > image && !self.layout.flat {
            true => lines / image * image,
            false => lines,
        }
    }

    /// How X is copied, for a panel with `lanes`.
    fn padded(&self, lanes: usize) -> Option<Padded<'_>> {
        let channels = match self.layout.x_is_wide {
            true => lanes,
            false => self.shape.in_channels,
        };
        (!self.layout.flat).then(|| Padded::of(self.shape, channels))
    }
}

struct Piece<'a> {
    job: &'a Job<'a>,
    group: usize,
    panels: Range<usize>,
    split: usize,
    /// Room for the tall and the wide map of a block.
    copies: [&'a mut [f32]; 2],
}

impl WithSimd for Piece<'_> {
    type Output = ();

    // No closure or function that is not inlined may hold vector code from here on: it would be
    // compiled without the instructions that were dispatched to.
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        self.run(simd);
    }
}

/// Where the tall map of a block lies.
#[derive(Clone, Copy)]
struct Tall<'a> {
    map: &'a [f32],
    /// Floats of a pixel; none where tiles lie one behind the other, each `[pixels, height]`.
    pixel: Option<usize>,
    /// Pixels of the block.
    pixels: usize,
    /// Pixels of the map from output pixel to output pixel.
    step: usize,
}

/// Where a panel of the wide map of a block lies.
#[derive(Clone, Copy)]
struct Wide<'a> {
    map: &'a [f32],
    /// Floats from output pixel to output pixel.
    step: usize,
}

impl<'a> Piece<'a> {
    #[inline(always)]
    fn run<S: Simd>(&mut self, simd: S) {
        let job = self.job;
        let layout = job.layout;
        let [lines, columns] = job.lines();
        let [mut line, end] = [self.split, self.split + 1].map(|at| at * lines / job.splits);
        let block_lines = job.block_lines();
        for panel in self.panels.clone() {
            // SAFETY: one panel at a time.
            #[allow(unsafe_code)]
            let sums = unsafe { self.sums(panel) };
            sums.fill(0.0);
        }
        let bias_sums = self.bias_sums();
        let mut runs = Vec::with_capacity(block_lines);
        let [tall_copy, wide_copy] = std::mem::take(&mut self.copies);
        while line < end {
            let block = line..(line + block_lines).min(end);
            line = block.end;
            let pixels = block.start * columns..(block.end * columns).min(job.pixels());
            if let Some(bias) = &bias_sums {
                let channels = job.shape.out_channels;
                let dy = &job.dy[pixels.start * channels..pixels.end * channels];
                #[allow(unsafe_code)]
                // SAFETY: `bias_sums` gives this piece's own part.
                unsafe {
                    add_pixels(simd, dy, *bias);
                }
            }
            let tall = self.tall(simd, &block, &pixels, tall_copy);
            for panel in self.panels.clone() {
                let [_, _, width] = layout.panel(panel);
                // SAFETY: one panel at a time.
                #[allow(unsafe_code)]
                let sums = unsafe { self.sums(panel) };
                if width <= S::F32_LANES {
                    self.place_runs(&block, &pixels, S::F32_LANES, &mut runs);
                    let wide = self.wide::<S, 1>(simd, panel, &block, &pixels, wide_copy);
                    self.add_products::<S, 1>(simd, tall, wide, &runs, sums);
                } else {
                    self.place_runs(&block, &pixels, layout.lanes, &mut runs);
                    let wide =
                        self.wide::<S, PANEL_VECTORS>(simd, panel, &block, &pixels, wide_copy);
                    self.add_products::<S, PANEL_VECTORS>(simd, tall, wide, &runs, sums);
                }
            }
        }
    }

    /// This split's sums of a panel of this piece: `[taps, tall, lanes]`.
    ///
    /// # Safety
    /// No other result of this for the same panel is alive.
    #[allow(unsafe_code)]
    unsafe fn sums(&self, panel: usize) -> &'a mut [f32] {
        let layout = self.job.layout;
        let [_, _, width] = layout.panel(panel);
        let start = self.split * layout.sums_len() + layout.panel_start(panel);
        let len = layout.taps[0] * layout.taps[1] * layout.tall * layout.lanes_of(width);
        // SAFETY: one piece computes this split's sums of this panel, and has them once.
        unsafe { self.job.sums.part(start..start + len) }
    }

    /// The bias sums, where this piece makes them.
    fn bias_sums(&self) -> Option<Shared<'a>> {
        let bias = self.job.bias_sums.filter(|_| self.panels.start == 0)?;
        let channels = self.job.shape.out_channels;
        // SAFETY: only this split's first piece uses this part.
        #[allow(unsafe_code)]
        let part = unsafe { bias.part(self.split * channels..(self.split + 1) * channels) };
        part.fill(0.0);
        Some(Shared::new(part))
    }

    /// The tall map of a block: X with its padding, or channels of the map as it is.
    #[inline(always)]
    fn tall<'b, S: Simd>(
        &self,
        simd: S,
        block: &Range<usize>,
        pixels: &Range<usize>,
        copy: &'b mut [f32],
    ) -> Tall<'b>
    where
        'a: 'b,
    {
        let Job { shape, layout, .. } = self.job;
        if let (Some(padded), false) = (self.job.padded(0), layout.x_is_wide) {
            let mut copied = 0;
            for (image, rows) in images(block, shape.output[0]) {
                let lines = padded.lines(rows.len());
                padded.copy(self.job.x, image, rows, &mut copy[copied * padded.line()..]);
                copied += lines;
            }
            return Tall {
                map: copy,
                pixel: Some(shape.in_channels),
                pixels: pixels.len(),
                step: padded.step[1],
            };
        }
        let (map, channels) = match layout.x_is_wide {
            true => (self.job.dy, shape.out_channels),
            false => (self.job.x, shape.in_channels),
        };
        let map = &map[pixels.start * channels + self.group * layout.tall..];
        let mut tall = Tall {
            map,
            pixel: Some(channels),
            pixels: pixels.len(),
            step: 1,
        };
        if layout.packs_tall() {
            let rows = [layout.tall, layout.height];
            pack_tall(simd, map, channels, rows, pixels.len(), copy);
            tall.map = copy;
            tall.pixel = None;
        }
        tall
    }

    /// A panel of the wide map of a block, copied: X with its padding, or channels of the map.
    #[inline(always)]
    fn wide<'b, S: Simd, const NV: usize>(
        &self,
        simd: S,
        panel: usize,
        block: &Range<usize>,
        pixels: &Range<usize>,
        copy: &'b mut [f32],
    ) -> Wide<'b> {
        let Job { shape, layout, .. } = self.job;
        let lanes = NV * S::F32_LANES;
        let [group, first, width] = layout.panel(panel);
        let first = group * layout.wide + first;
        let mut step = lanes;
        if let (Some(padded), true) = (self.job.padded(lanes), layout.x_is_wide) {
            let mut copied = 0;
            for (image, rows) in images(block, shape.output[0]) {
                let lines = padded.lines(rows.len());
                let to = &mut copy[copied * padded.line()..];
                padded.copy_panel::<S, NV>(simd, self.job.x, image, rows, [first, width], to);
                copied += lines;
            }
            step *= padded.step[1];
        } else {
            let (map, channels) = match layout.x_is_wide {
                true => (self.job.x, shape.in_channels),
                false => (self.job.dy, shape.out_channels),
            };
            let from = &map[pixels.start * channels + first..];
            let to = &mut copy[..pixels.len() * lanes];
            copy_lanes::<S, NV>(simd, from, channels, width, to);
        }
        Wide { map: copy, step }
    }

    /// Tells where the pixels of a block lie in its copies.
    fn place_runs(
        &self,
        block: &Range<usize>,
        pixels: &Range<usize>,
        lanes: usize,
        runs: &mut Vec<Run>,
    ) {
        let Job { shape, layout, .. } = self.job;
        runs.clear();
        let Some(padded) = self.job.padded(lanes) else {
            runs.push(Run {
                tall: 0,
                wide: 0,
                len: pixels.len(),
            });
            return;
        };
        let columns = shape.output[1];
        let mut copied = 0;
        for (_, rows) in images(block, shape.output[0]) {
            for row in 0..rows.len() {
                let x = (copied + row * padded.step[0]) * padded.columns();
                let y = runs.len() * columns;
                let [tall, wide] = match layout.x_is_wide {
                    true => [y, x * lanes],
                    false => [x, y * lanes],
                };
                let len = columns;
                runs.push(Run { tall, wide, len });
            }
            copied += padded.lines(rows.len());
        }
    }

    /// Adds the products of a block to `sums`, `[taps, tall, lanes]`.
    #[inline(always)]
    fn add_products<S: Simd, const NV: usize>(
        &self,
        simd: S,
        tall: Tall,
        wide: Wide,
        runs: &[Run],
        sums: &mut [f32],
    ) {
        let layout = self.job.layout;
        let lanes = NV * S::F32_LANES;
        let mut tap_steps = [0, 0];
        if let Some(padded) = self.job.padded(lanes) {
            tap_steps = [0, 1].map(|axis| match layout.taps[axis] {
                1 => 0,
                _ => padded.tap_step(axis),
            });
        }
        let reach = [0, 1].map(|axis| (layout.taps[axis] - 1) * tap_steps[axis]);
        let [tall_reach, wide_reach] = match layout.x_is_wide {
            true => [0, reach[0] + reach[1]],
            false => [reach[0] + reach[1], 0],
        };
        for run in runs.iter().filter(|run| run.len > 0) {
            let last = run.len - 1;
            let tall_end = match tall.pixel {
                Some(pixel) => (run.tall + last * tall.step) * pixel + tall_reach + layout.tall,
                None => (run.tall + last + 1) * layout.tall,
            };
            assert!(tall_end <= tall.map.len());
            assert!(run.wide + last * wide.step + wide_reach + lanes <= wide.map.len());
            assert!(tall.pixel.is_some() || run.tall + run.len <= tall.pixels);
        }
        for (tap, sums) in sums.chunks_exact_mut(layout.tall * lanes).enumerate() {
            let offset = tap / layout.taps[1] * tap_steps[0] + tap % layout.taps[1] * tap_steps[1];
            let [tall_offset, wide_offset] = match layout.x_is_wide {
                true => [0, offset],
                false => [offset, 0],
            };
            for rows in tiles(layout.tall, layout.height) {
                let sums = &mut sums[rows.start * lanes..rows.end * lanes];
                let (tall_start, pixel) = match tall.pixel {
                    Some(pixel) => (tall_offset + rows.start, pixel),
                    None => (rows.start * tall.pixels, rows.len()),
                };
                let pointers = [
                    tall.map[tall_start..].as_ptr(),
                    wide.map[wide_offset..].as_ptr(),
                ];
                let steps = [tall.step, wide.step];
                macro_rules! by_height {
                    ($($height:literal)*) => {
                        match rows.len() {
                            $($height => {
                                assert_eq!(sums.len(), $height * lanes);
                                // SAFETY: the runs were checked above to lie inside the maps for
                                // all rows and taps; `sums` has as many vectors as the tile.
                                #[allow(unsafe_code)]
                                unsafe {
                                    let tile = restore::<S, $height, NV>(simd, sums.as_ptr());
                                    let tile = outer(simd, tile, runs, pointers, steps, pixel);
                                    save(simd, &tile, sums.as_mut_ptr());
                                }
                            })*
                            height => unreachable!("a tile of {height} rows"),
                        }
                    };
                }
                if S::REGISTER_COUNT >= 32 {
                    by_height!(1 2 3 4 5 6 7 8 9 10 11 12);
                } else {
                    by_height!(1 2 3 4 5 6);
                }
            }
        }
    }
}

/// The images of some lines, and the rows of each.
fn images(lines: &Range<usize>, rows: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut line = lines.start;
    let end = lines.end;
    std::iter::from_fn(move || {
        let row = line % rows;
        let count = (rows - row).min(end - line);
        let image = line / rows;
        line += count;
        (count > 0).then_some((image, row..row + count))
    })
}
