//! One piece of a weight gradient: a panel of channels over a share of the pixels.

use super::lanes::{Lanes, load, store};
use super::padded::{Padded, copy_lanes};
use super::shared::Shared;
use super::tile::{Run, outer, restore, save};
use super::{ConvShape, workspace};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// Vectors of a panel.
pub(super) const PANEL_VECTORS: usize = 2;
/// Most rows of a tile.
const HEIGHT: usize = 12;
/// Output pixels of a block.
const BLOCK_PIXELS: usize = 128;

/// Which map's channels are rows of scalars and which are vectors.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Whether pixels of X are those of Y.
    pub flat: bool,
    /// Whether X gives the vectors.
    pub x_is_wide: bool,
    /// Rows per group and tap: channels, times the taps of a kernel row where those are joined.
    pub tall: usize,
    /// Channels per group that are lanes.
    pub wide: usize,
    /// Taps that are walked.
    pub taps: [usize; 2],
    /// Groups.
    pub group: usize,
    /// Lanes of a panel.
    pub lanes: usize,
}

impl Layout {
    fn panels_per_group(&self) -> usize {
        self.wide.div_ceil(self.lanes)
    }

    /// Panels of all groups.
    pub(super) fn panels(&self) -> usize {
        self.group * self.panels_per_group()
    }

    /// Group, first channel within the group, and channels of a panel.
    pub(super) fn panel(&self, panel: usize) -> [usize; 3] {
        let first = panel % self.panels_per_group() * self.lanes;
        let width = (self.wide - first).min(self.lanes);
        [panel / self.panels_per_group(), first, width]
    }

    /// Lanes that are kept of a panel with `width` channels: as many vectors as it needs.
    pub(super) fn lanes_of(&self, width: usize) -> usize {
        width.next_multiple_of(self.lanes / PANEL_VECTORS)
    }

    fn group_len(&self) -> usize {
        self.taps[0] * self.taps[1] * self.tall * self.lanes_of(self.wide)
    }

    /// Floats of the sums of one split.
    pub(super) fn sums_len(&self) -> usize {
        self.group * self.group_len()
    }

    /// Where a panel's sums begin: `[taps, tall, lanes_of(width)]`.
    pub(super) fn panel_start(&self, panel: usize) -> usize {
        let [group, first, _] = self.panel(panel);
        group * self.group_len() + self.taps[0] * self.taps[1] * self.tall * first
    }

    /// Whether the rows are those of all taps of a kernel row.
    pub(super) fn tall_is_joined(&self, shape: &ConvShape) -> bool {
        self.taps[1] != shape.kernel[1]
    }
}

/// What all pieces share.
pub(super) struct Job<'a> {
    pub shape: &'a ConvShape,
    pub layout: &'a Layout,
    pub x: &'a [f32],
    pub dy: &'a [f32],
    pub splits: usize,
    pub sums: Shared<'a>,
    pub bias_sums: Option<Shared<'a>>,
}

impl Job<'_> {
    /// Computes the sums of piece `index`: panel by split.
    pub(super) fn piece(&self, index: usize) {
        let panels = self.layout.panels();
        let panel = index % panels;
        let [group, first, width] = self.layout.panel(panel);
        let lanes = self.layout.lanes_of(width);
        let block_lines = self.block_lines();
        let x_len = self
            .padded(lanes)
            .map_or(0, |padded| padded.most_floats(block_lines));
        let y_len = match self.layout.flat || !self.layout.x_is_wide {
            true => block_lines * self.lines()[1] * lanes,
            false => 0,
        };
        workspace::with(x_len + y_len, |scratch| {
            let (x_copy, y_copy) = scratch.split_at_mut(x_len);
            Arch::new().dispatch(Piece {
                job: self,
                panel,
                split: index / panels,
                group,
                first,
                width,
                copies: [x_copy, y_copy],
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
        let lines = (BLOCK_PIXELS / self.lines()[1].max(1)).max(1);
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
    panel: usize,
    split: usize,
    group: usize,
    first: usize,
    width: usize,
    /// Room for X and dY of a block.
    copies: [&'a mut [f32]; 2],
}

impl WithSimd for Piece<'_> {
    type Output = ();

    // No closure or function that is not inlined may hold vector code from here on: it would be
    // compiled without the instructions that were dispatched to.
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        match self.width.div_ceil(S::F32_LANES) {
            1 => self.run::<S, 1>(simd),
            _ => self.run::<S, PANEL_VECTORS>(simd),
        }
    }
}

/// The factors of a block of pixels.
struct Factors<'a> {
    tall: &'a [f32],
    wide: &'a [f32],
    /// Floats from pixel to pixel in a run.
    steps: [usize; 2],
    runs: &'a [Run],
    /// Floats from tap to tap along rows and columns, in the map that is X.
    taps: [usize; 2],
}

impl<'a> Piece<'a> {
    #[inline(always)]
    fn run<S: Simd, const NV: usize>(&mut self, simd: S) {
        let job = self.job;
        let layout = job.layout;
        let lanes = NV * S::F32_LANES;
        let [lines, columns] = job.lines();
        let [mut line, end] = [self.split, self.split + 1].map(|at| at * lines / job.splits);
        let block_lines = job.block_lines();
        let padded = job.padded(lanes);
        let taps = layout.taps[0] * layout.taps[1];
        let start = self.split * layout.sums_len() + layout.panel_start(self.panel);
        // SAFETY: one piece computes this split's sums of this panel.
        #[allow(unsafe_code)]
        let sums = unsafe { job.sums.part(start, taps * layout.tall * lanes) };
        sums.fill(0.0);
        let bias_sums = self.bias_sums();
        let mut runs = Vec::with_capacity(block_lines);
        let [x_copy, y_copy] = std::mem::take(&mut self.copies);
        while line < end {
            let block = line..(line + block_lines).min(end);
            line = block.end;
            let covered = block.start * columns..(block.end * columns).min(job.pixels());
            if let Some(bias) = &bias_sums {
                self.add_bias(simd, covered.clone(), *bias);
            }
            runs.clear();
            let factors = match padded {
                None => self.flat::<S, NV>(simd, covered, &mut y_copy, &mut runs),
                Some(padded) => {
                    let copies = [&mut *x_copy, &mut *y_copy];
                    self.spatial::<S, NV>(simd, &padded, block, copies, &mut runs)
                }
            };
            self.add_products::<S, NV>(simd, &factors, sums);
        }
    }

    /// The bias sums, where this piece makes them.
    fn bias_sums(&self) -> Option<Shared<'a>> {
        let bias = self.job.bias_sums.filter(|_| self.panel == 0)?;
        let channels = self.job.shape.out_channels;
        // SAFETY: only this split's first panel uses this part.
        #[allow(unsafe_code)]
        let part = unsafe { bias.part(self.split * channels, channels) };
        part.fill(0.0);
        Some(Shared::new(part))
    }

    #[allow(unsafe_code)]
    #[inline(always)]
    fn add_bias<S: Simd>(&self, simd: S, pixels: Range<usize>, bias: Shared) {
        let channels = self.job.shape.out_channels;
        let dy = &self.job.dy[pixels.start * channels..pixels.end * channels];
        for first in (0..channels).step_by(S::F32_LANES) {
            let width = (channels - first).min(S::F32_LANES);
            let lanes = Lanes::of(width, 0, S::F32_LANES);
            let to = bias.at(first, width);
            // SAFETY: `lanes` keeps to `width`, here and in every row of dY.
            unsafe {
                let mut sum = load(simd, to, lanes);
                for row in dy.chunks_exact(channels) {
                    let row = row[first..first + width].as_ptr();
                    sum = simd.add_f32s(sum, load(simd, row, lanes));
                }
                store(simd, to, lanes, sum);
            }
        }
    }

    /// Pointwise: the maps' pixels are the same, and the tall map is read in place.
    #[inline(always)]
    fn flat<'b, S: Simd, const NV: usize>(
        &'b self,
        simd: S,
        pixels: Range<usize>,
        copy: &'b mut [f32],
        runs: &'b mut Vec<Run>,
    ) -> Factors<'b> {
        let Job { shape, layout, .. } = self.job;
        let lanes = NV * S::F32_LANES;
        let x = (self.job.x, shape.in_channels);
        let dy = (self.job.dy, shape.out_channels);
        let [tall, wide] = match layout.x_is_wide {
            true => [dy, x],
            false => [x, dy],
        };
        runs.push(Run {
            tall: 0,
            wide: 0,
            len: pixels.len(),
        });
        let from = &wide.0[pixels.start * wide.1 + self.group * layout.wide + self.first..];
        copy_lanes::<S, NV>(
            simd,
            from,
            wide.1,
            self.width,
            &mut copy[..pixels.len() * lanes],
        );
        Factors {
            tall: &tall.0[pixels.start * tall.1 + self.group * layout.tall..],
            wide: copy,
            steps: [tall.1, lanes],
            runs,
            taps: [0, 0],
        }
    }

    /// Copies X with its padding; dY is copied where it gives the vectors, else read in place.
    #[inline(always)]
    fn spatial<'b, S: Simd, const NV: usize>(
        &'b self,
        simd: S,
        padded: &Padded,
        block: Range<usize>,
        [x_copy, y_copy]: [&'b mut [f32]; 2],
        runs: &'b mut Vec<Run>,
    ) -> Factors<'b> {
        let Job {
            shape,
            layout,
            x,
            dy,
            ..
        } = self.job;
        let lanes = NV * S::F32_LANES;
        let [rows, columns] = shape.output;
        let mut line = block.start;
        let mut copied = 0;
        while line < block.end {
            let row = line % rows;
            let count = (rows - row).min(block.end - line);
            let to = &mut x_copy[copied * padded.line()..];
            let image = line / rows;
            match layout.x_is_wide {
                true => {
                    let first = self.group * layout.wide + self.first;
                    let channels = [first, self.width];
                    padded.copy_panel::<S, NV>(simd, x, image, row..row + count, channels, to);
                }
                false => padded.copy(x, image, row..row + count, to),
            }
            for at in 0..count {
                let here = (copied + at * padded.step[0]) * padded.line();
                let line = line + at;
                let [tall, wide] = match layout.x_is_wide {
                    true => [line * columns * shape.out_channels, here],
                    false => [here, (line - block.start) * columns * lanes],
                };
                let len = columns;
                runs.push(Run { tall, wide, len });
            }
            copied += padded.lines(count);
            line += count;
        }
        let taps = [0, 1].map(|axis| match layout.taps[axis] {
            1 => 0,
            _ => padded.tap_step(axis),
        });
        if layout.x_is_wide {
            return Factors {
                tall: &dy[self.group * layout.tall..],
                wide: x_copy,
                steps: [shape.out_channels, padded.step[1] * lanes],
                runs,
                taps,
            };
        }
        let from = block.start * columns * shape.out_channels + self.group * layout.wide;
        let to = &mut y_copy[..block.len() * columns * lanes];
        copy_lanes::<S, NV>(
            simd,
            &dy[from + self.first..],
            shape.out_channels,
            self.width,
            to,
        );
        Factors {
            tall: x_copy,
            wide: y_copy,
            steps: [padded.step[1] * shape.in_channels, lanes],
            runs,
            taps,
        }
    }

    /// Adds the products of a block to `sums`, `[taps, tall, lanes]`.
    #[inline(always)]
    fn add_products<S: Simd, const NV: usize>(&self, simd: S, factors: &Factors, sums: &mut [f32]) {
        let layout = self.job.layout;
        let lanes = NV * S::F32_LANES;
        let reach = [0, 1].map(|axis| (layout.taps[axis] - 1) * factors.taps[axis]);
        let reach = reach[0] + reach[1];
        let [tall_reach, wide_reach] = match layout.x_is_wide {
            true => [0, reach],
            false => [reach, 0],
        };
        for run in factors.runs.iter().filter(|run| run.len > 0) {
            let last = run.len - 1;
            let tall = run.tall + last * factors.steps[0] + tall_reach + layout.tall;
            let wide = run.wide + last * factors.steps[1] + wide_reach + lanes;
            assert!(tall <= factors.tall.len() && wide <= factors.wide.len());
        }
        let tiles = layout.tall.div_ceil(HEIGHT);
        for (tap, sums) in sums.chunks_exact_mut(layout.tall * lanes).enumerate() {
            let offset =
                tap / layout.taps[1] * factors.taps[0] + tap % layout.taps[1] * factors.taps[1];
            let [tall, wide] = match layout.x_is_wide {
                true => [0, offset],
                false => [offset, 0],
            };
            for tile in 0..tiles {
                let [from, to] = [tile, tile + 1].map(|tile| tile * layout.tall / tiles);
                let sums = &mut sums[from * lanes..to * lanes];
                let starts = [tall + from, wide];
                macro_rules! by_height {
                    ($($height:literal)*) => {
                        match to - from {
                            $($height => {
                                add_tile::<S, $height, NV>(simd, factors, starts, sums)
                            })*
                            height => unreachable!("a tile of {height} rows"),
                        }
                    };
                }
                by_height!(1 2 3 4 5 6 7 8 9 10 11 12);
            }
        }
    }
}

/// Adds the products of `MR` rows from `starts` to `sums`.
///
/// The caller has checked that all runs from `starts` lie inside the factors.
#[allow(unsafe_code)]
#[inline(always)]
fn add_tile<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    factors: &Factors,
    starts: [usize; 2],
    sums: &mut [f32],
) {
    assert_eq!(sums.len(), MR * NV * S::F32_LANES);
    let pointers = [
        factors.tall.as_ptr().wrapping_add(starts[0]),
        factors.wide.as_ptr().wrapping_add(starts[1]),
    ];
    // SAFETY: the runs were checked by the caller, the length of `sums` above.
    unsafe {
        let tile = restore::<S, MR, NV>(simd, sums.as_ptr());
        let tile = outer(simd, tile, factors.runs, pointers, factors.steps);
        save(simd, &tile, sums.as_mut_ptr());
    }
}
