//! How work is cut into pieces.

use std::ops::Range;

/// Floats moved below which handing work to other threads costs more than it saves.
const SMALL: usize = 1 << 13;

/// `count` items in contiguous ranges of nearly equal length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bands {
    count: usize,
    pieces: usize,
}

impl Bands {
    /// Several ranges per thread, or one when there is one thread or less than `SMALL` floats to
    /// move in all.
    pub(super) fn new(count: usize, floats: usize, threads: usize) -> Self {
        let pieces = match threads <= 1 || floats <= SMALL {
            true => 1,
            false => (threads * 4).min(floats.div_ceil(SMALL)),
        };
        Self {
            count,
            pieces: pieces.clamp(1, count.max(1)),
        }
    }

    /// Number of ranges, at least 1.
    pub(super) fn pieces(self) -> usize {
        self.pieces
    }

    /// The items of one piece.
    pub(super) fn range(self, piece: usize) -> Range<usize> {
        self.count * piece / self.pieces..self.count * (piece + 1) / self.pieces
    }
}
