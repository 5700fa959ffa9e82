//! How the channels of a weight gradient are cut into panels and tiles.

use crate::kernels::ConvShape;
use std::ops::Range;

/// Vectors of a panel.
pub(super) const PANEL_VECTORS: usize = 2;
/// Channels from which the tall map is copied.
const PACK_TALL: usize = 64;

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
    /// Most rows of a tile.
    pub height: usize,
}

impl Layout {
    /// Panels of one group.
    pub(super) fn panels_per_group(&self) -> usize {
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

    /// Whether the tall map is copied, tile by tile: where its rows are so long that a tile's part
    /// of neighbouring pixels would fall on the same cache lines.
    pub(super) fn packs_tall(&self) -> bool {
        (self.flat || self.x_is_wide) && self.tall > PACK_TALL
    }

    /// Whether the rows are those of all taps of a kernel row.
    pub(super) fn tall_is_joined(&self, shape: &ConvShape) -> bool {
        self.taps[1] != shape.kernel[1]
    }
}

/// The rows of every tile of at most `height`: as even as they can be.
pub(super) fn tiles(rows: usize, height: usize) -> impl Iterator<Item = Range<usize>> {
    let tiles = rows.div_ceil(height);
    (0..tiles).map(move |tile| tile * rows / tiles..(tile + 1) * rows / tiles)
}
