//! Weights in the order in which a matrix product reads them.

use super::Parallel;
use super::shared::Shared;

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
            let to = unsafe { packed.part(panel.start, len) };
            self.pack_panel(panel, panel.vectors * lanes, to);
        };
        parallel.run(panels.len(), &piece);
    }

    fn pack_panel(&self, panel: &Panel, lanes: usize, to: &mut [f32]) {
        /// Rows of a panel written together, so that they stay in the first cache.
        const BLOCK: usize = 64;
        let from = panel.group * self.group_step + panel.first * self.width_step;
        for (tap, offset) in self.taps.iter().enumerate() {
            let to = &mut to[tap * self.depth * lanes..(tap + 1) * self.depth * lanes];
            let from = &self.weight[from + offset..];
            if self.width_step == 1 {
                for (k, row) in to.chunks_exact_mut(lanes).enumerate() {
                    let from = &from[k * self.depth_step..];
                    row[..panel.width].copy_from_slice(&from[..panel.width]);
                    row[panel.width..].fill(0.0);
                }
                continue;
            }
            for (block, rows) in to.chunks_mut(BLOCK * lanes).enumerate() {
                let from = &from[block * BLOCK * self.depth_step..];
                for n in 0..panel.width {
                    let from = &from[n * self.width_step..];
                    for (k, row) in rows.chunks_exact_mut(lanes).enumerate() {
                        row[n] = from[k * self.depth_step];
                    }
                }
                for row in rows.chunks_exact_mut(lanes) {
                    row[panel.width..].fill(0.0);
                }
            }
        }
    }
}
