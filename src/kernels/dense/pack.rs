//! Weights in the order in which a matrix product reads them.

use super::amx;
use super::multiplier::Multiplier;
use super::product::lanes;
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
    /// Taps that the gather reads together.
    pub run: usize,
}

/// Result channels of one group whose weights lie together.
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
    /// Vectors that lie before it in the packed weight.
    pub before: usize,
}

impl Matrix<'_> {
    /// The panels, of at most `vectors` vectors of `lanes` channels.
    pub(super) fn panels(&self, vectors: usize, lanes: usize) -> Vec<Panel> {
        let mut before = 0;
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
                    before,
                });
                before += vectors;
            }
        }
        panels
    }

    /// Floats of the packed weight.
    pub(super) fn packed_len(&self, multiplier: Multiplier) -> usize {
        self.group * self.width.div_ceil(lanes()) * multiplier.vector_len(self)
    }

    /// Packs every panel into its part of `packed`.
    pub(super) fn pack(
        &self,
        panels: &[Panel],
        multiplier: Multiplier,
        packed: &mut [f32],
        parallel: &dyn Parallel,
    ) {
        let packed = Shared::new(packed);
        let vector_len = multiplier.vector_len(self);
        let piece = |panel: usize| {
            let panel = &panels[panel];
            let start = panel.before * vector_len;
            // SAFETY: panels do not overlap, and each is packed by one piece.
            #[allow(unsafe_code)]
            let to = unsafe { packed.part(start..start + panel.vectors * vector_len) };
            match multiplier {
                Multiplier::Vectors => self.pack_panel(panel, panel.vectors * lanes(), to),
                Multiplier::Tiles => self.arrange_panel(panel, to),
            }
        };
        parallel.run(panels.len(), &piece);
    }

    /// Packs one panel for AMX.
    fn arrange_panel(&self, panel: &Panel, to: &mut [f32]) {
        if let [offset] = self.taps[..] {
            let steps = [self.depth_step, self.width_step];
            let from = panel.group * self.group_step + panel.first * self.width_step + offset;
            let dims = [self.depth, panel.width];
            if amx::arrange_stored(&self.weight[from..], dims, steps, panel.vectors, to) {
                return;
            }
        }
        let width = panel.vectors * lanes();
        workspace::with(self.summed() * width, |rows| {
            self.pack_panel(panel, width, rows);
            amx::arrange(rows, panel.vectors, self.depth * self.run, to);
        });
    }

    /// Summed floats of all taps.
    pub(super) fn summed(&self) -> usize {
        self.taps.len() * self.depth
    }

    /// Packs one panel, `[taps · depth][lanes]`.
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
