//! Weights in the order in which a matrix product reads them.

use crate::kernels::shared::Shared;
use crate::kernels::{Parallel, workspace};

/// Floats of a channel that are brought together at a time.
const STAGE: usize = 144;
/// Floats of a cache line.
const LINE: usize = 16;

/// A weight seen as one matrix per group: element (tap, k, n) of group g lies at
/// `g · group_step + k · depth_step + n · width_step + taps[tap]`.
#[derive(Clone, Debug)]
pub(super) struct Matrix<'a> {
    /// The weight.
    pub weight: &'a [f32],
    /// Groups.
    pub group: usize,
    /// Summed channels per group and tap.
    pub depth: usize,
    /// Result channels per group.
    pub width: usize,
    /// Floats from group to group.
    pub group_step: usize,
    /// Floats from k to k + 1.
    pub depth_step: usize,
    /// Floats from n to n + 1.
    pub width_step: usize,
    /// Offsets of the taps.
    pub taps: Vec<usize>,
}

/// Result channels of one group whose weights lie together: `[taps · depth][lanes]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panel {
    /// Group.
    pub group: usize,
    /// First result channel within the group.
    pub first: usize,
    /// Result channels that exist.
    pub width: usize,
    /// Vectors, the last of which may be filled up with zeros.
    pub vectors: usize,
    /// Where the panel begins in the packed weight.
    pub start: usize,
}

impl Matrix<'_> {
    /// The panels, of at most `vectors` vectors of `lanes` channels.
    pub(super) fn panels(&self, vectors: usize, lanes: usize) -> Vec<Panel> {
        let mut start = 0;
        let mut panels = Vec::new();
        for group in 0..self.group {
            for first in (0..self.width).step_by(vectors * lanes) {
                let width = (self.width - first).min(vectors * lanes);
                let vectors = width.div_ceil(lanes);
                panels.push(Panel {
                    group,
                    first,
                    width,
                    vectors,
                    start,
                });
                start += self.taps.len() * self.depth * vectors * lanes;
            }
        }
        panels
    }

    /// Floats of the packed weight.
    pub(super) fn packed_len(&self, lanes: usize) -> usize {
        self.group * self.width.next_multiple_of(lanes) * self.depth * self.taps.len()
    }

    /// Packs every panel into its part of `packed`.
    pub(super) fn pack(
        &self,
        panels: &[Panel],
        lanes: usize,
        packed: &mut [f32],
        parallel: &dyn Parallel,
    ) {
        let packed = Shared::new(packed);
        let piece = |panel: usize| {
            let panel = &panels[panel];
            let len = self.taps.len() * self.depth * panel.vectors * lanes;
            // SAFETY: panels do not overlap, and each is packed by one piece.
            #[allow(unsafe_code)]
            let to = unsafe { packed.part(panel.start..panel.start + len) };
            self.pack_panel(panel, panel.vectors * lanes, to);
        };
        parallel.run(panels.len(), &piece);
    }

    /// Packs one panel, rows of `lanes`.
    pub(super) fn pack_panel(&self, panel: &Panel, lanes: usize, to: &mut [f32]) {
        let from = panel.group * self.group_step + panel.first * self.width_step;
        let from = &self.weight[from..];
        if self.width_step < self.depth_step {
            for k in 0..self.depth {
                let from = &from[k * self.depth_step..];
                self.pack_row(from, self.width_step, panel, lanes, k, to);
            }
            return;
        }
        // Channels lie far apart: some of each are brought together first, or their cache lines
        // would displace each other.
        let block = (STAGE / self.depth_step).clamp(1, self.depth);
        let step = (block * self.depth_step).next_multiple_of(LINE) + LINE;
        workspace::with(step * panel.width, |stage| {
            for first in (0..self.depth).step_by(block) {
                let len = block.min(self.depth - first) * self.depth_step;
                for (n, to) in stage.chunks_exact_mut(step).enumerate() {
                    let from = &from[n * self.width_step + first * self.depth_step..];
                    to[..len].copy_from_slice(&from[..len]);
                }
                for k in first..(first + block).min(self.depth) {
                    let from = &stage[(k - first) * self.depth_step..];
                    self.pack_row(from, step, panel, lanes, k, to);
                }
            }
        });
    }

    /// Packs row `k` of every tap from channels that lie `step` apart.
    fn pack_row(
        &self,
        from: &[f32],
        step: usize,
        panel: &Panel,
        lanes: usize,
        k: usize,
        to: &mut [f32],
    ) {
        for (tap, offset) in self.taps.iter().enumerate() {
            let from = &from[*offset..];
            let row = &mut to[(tap * self.depth + k) * lanes..][..lanes];
            let (row, rest) = row.split_at_mut(panel.width);
            rest.fill(0.0);
            match step {
                1 => row.copy_from_slice(&from[..row.len()]),
                _ => {
                    let from = from.iter().step_by(step);
                    row.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }
}
