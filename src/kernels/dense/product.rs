//! Convolutions as matrix products of gathered rows with packed weights.

use super::amx;
use super::finish::{Finish, Writer, is_far};
use super::gather::{Gather, Rows};
use super::multiplier::Multiplier;
use super::pack::{Matrix, Panel};
use super::tile::{gathered, restore, save, zeros};
use super::winograd;
use crate::kernels::shared::Shared;
use crate::kernels::{Kept, Parallel, workspace};
use pulp::{Arch, Simd, WithSimd};

/// Vectors of a tile's row.
pub(super) const NV: usize = 2;

/// `target[p][n] = finish(Σ over taps and k: source[gather(p, tap)][k] · weight[tap][k][n])`.
#[derive(Clone, Debug)]
pub(super) struct Product<'a> {
    /// Which source rows a target row reads.
    pub gather: Gather,
    /// The weight; its depth times the gather's run is summed per tap.
    pub matrix: Matrix<'a>,
    /// Where the packed weight is kept.
    pub kept: Option<&'a Kept>,
    /// The map that is read.
    pub source: &'a [f32],
    /// The last step.
    pub finish: Finish<'a>,
}

/// Multiplications below which threads do not pay.
const SMALL: usize = 50_000;
/// Rows of a panel that are multiplied in one go, so that they stay in the first cache.
const DEPTH_BLOCK: usize = 256;
/// Floats of the source that pieces aim to read, so that they stay in the second cache.
const SOURCE_BLOCK: usize = 98_304;

impl Product<'_> {
    /// Computes `target`.
    pub(super) fn run(&self, target: Shared, parallel: &dyn Parallel) {
        if let Some(side) = winograd::side(&self.gather, &self.matrix, self.finish.coarse) {
            return winograd::run(self, side, target, parallel);
        }
        let multiplier = Multiplier::of(&self.matrix, self.gather.rows());
        let panels = self.matrix.panels(NV, lanes());
        let packed_len = self.matrix.packed_len(multiplier);
        let work = self.gather.rows() * packed_len;
        let parallel = match work < SMALL {
            true => &crate::kernels::Serial,
            false => parallel,
        };
        let pack = |to: &mut [f32]| self.matrix.pack(&panels, multiplier, to, parallel);
        let kept = self.kept.and_then(|kept| kept.get(packed_len, pack));
        let fresh_len = if kept.is_some() { 0 } else { packed_len };
        workspace::with(fresh_len + self.gather.zeros_len(), |buffer| {
            let (fresh, zeros) = buffer.split_at_mut(fresh_len);
            zeros.fill(0.0);
            if kept.is_none() {
                pack(fresh);
            }
            let packed = kept.unwrap_or(fresh);
            self.multiply(multiplier, target, &panels, [packed, zeros], parallel);
        });
    }

    /// Computes `target` with a packed weight and zeros for what lies outside the source.
    pub(super) fn multiply(
        &self,
        multiplier: Multiplier,
        target: Shared,
        panels: &[Panel],
        [packed, zeros]: [&[f32]; 2],
        parallel: &dyn Parallel,
    ) {
        if multiplier == Multiplier::Tiles {
            return amx::multiply(self, target, panels, [packed, zeros], parallel);
        }
        let height = height();
        let rows = self.gather.rows();
        let wanted = SOURCE_BLOCK / self.gather.zeros_len();
        let wanted = wanted.clamp(11 * height, 20 * height);
        let tiles = rows.div_ceil(height);
        let blocks = rows.div_ceil(wanted).max(1);
        let block_rows = tiles.div_ceil(blocks).max(1) * height;
        let blocks = rows.div_ceil(block_rows);
        let parts = match parallel.threads() {
            0 | 1 => 1,
            threads => (6 * threads).div_ceil(blocks.max(1)).clamp(1, panels.len()),
        };
        let depth_blocks = self.depth_blocks();
        let sums_len = match depth_blocks.len() {
            1 => 0,
            _ => block_rows * NV * lanes(),
        };
        let copies_len = block_rows * self.gather.copy_len(height);
        let piece = |index: usize| {
            let [block, part] = [index / parts, index % parts];
            let start = block * block_rows;
            workspace::with(sums_len + copies_len, |scratch| {
                let (sums, copies) = scratch.split_at_mut(sums_len);
                let rows = start..(start + block_rows).min(rows);
                Arch::new().dispatch(Piece {
                    product: self,
                    target,
                    packed,
                    panels: &panels[part * panels.len() / parts..(part + 1) * panels.len() / parts],
                    blocks: &depth_blocks,
                    rows: self.gather.locate(rows, height, self.source, zeros, copies),
                    sums,
                });
            });
        };
        parallel.run(blocks * parts, &piece);
    }

    /// What is multiplied in one go, one after the other: at least one, which is empty where there are no
    /// taps, as what is added has to be stored there, too.
    fn depth_blocks(&self) -> Vec<DepthBlock> {
        let taps = self.gather.taps.len();
        let depth = self.depth();
        let mut blocks = Vec::new();
        let cuts = depth.div_ceil(DEPTH_BLOCK);
        if cuts > 1 && taps > 0 {
            for tap in 0..taps {
                for cut in 0..cuts {
                    let first = cut * depth / cuts;
                    blocks.push(DepthBlock {
                        tap,
                        taps: 1,
                        first,
                        depth: (cut + 1) * depth / cuts - first,
                    });
                }
            }
            return blocks;
        }
        let count = taps.div_ceil((DEPTH_BLOCK / depth.max(1)).max(1)).max(1);
        for block in 0..count {
            let tap = block * taps / count;
            blocks.push(DepthBlock {
                tap,
                taps: (block + 1) * taps / count - tap,
                first: 0,
                depth,
            });
        }
        blocks
    }

    /// Summed floats per tap of the gather.
    pub(super) fn depth(&self) -> usize {
        self.matrix.depth * self.matrix.run
    }
}

/// Taps, or a part of one, that are multiplied in one go.
#[derive(Clone, Copy, Debug)]
struct DepthBlock {
    tap: usize,
    taps: usize,
    first: usize,
    depth: usize,
}

/// Floats of a vector.
pub(super) fn lanes() -> usize {
    struct Count;
    impl WithSimd for Count {
        type Output = usize;
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    Arch::new().dispatch(Count)
}

/// Rows of a tile of `NV` vectors, which stays in registers.
pub(super) fn height() -> usize {
    struct Count;
    impl WithSimd for Count {
        type Output = usize;
        fn with_simd<S: Simd>(self, _: S) -> usize {
            if S::REGISTER_COUNT >= 32 { 12 } else { 6 }
        }
    }
    Arch::new().dispatch(Count)
}

struct Piece<'a> {
    product: &'a Product<'a>,
    target: Shared<'a>,
    packed: &'a [f32],
    panels: &'a [Panel],
    blocks: &'a [DepthBlock],
    rows: Rows,
    /// Sums of a panel's tiles between depth blocks.
    sums: &'a mut [f32],
}

impl WithSimd for Piece<'_> {
    type Output = ();

    // No closure or function that is not inlined may hold vector code from here on: it would be
    // compiled without the instructions that were dispatched to.
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for panel in self.panels {
            if S::REGISTER_COUNT >= 32 {
                match panel.vectors {
                    1 => self.panel::<S, 12, 1>(simd, panel),
                    _ => self.panel::<S, 12, NV>(simd, panel),
                }
            } else {
                match panel.vectors {
                    1 => self.panel::<S, 6, 1>(simd, panel),
                    _ => self.panel::<S, 6, NV>(simd, panel),
                }
            }
        }
    }
}

impl Piece<'_> {
    #[allow(unsafe_code)]
    #[inline(always)]
    fn panel<S: Simd, const MR: usize, const NV: usize>(&mut self, simd: S, panel: &Panel) {
        let Piece {
            product,
            blocks,
            ref rows,
            ..
        } = *self;
        let taps = product.gather.taps.len();
        let depth = product.depth();
        let lanes = NV * S::F32_LANES;
        let start = panel.before * Multiplier::Vectors.vector_len(&product.matrix);
        let weights = &self.packed[start..start + taps * depth * lanes];
        let channel = panel.group * product.matrix.width + panel.first;
        let first_k = panel.group * product.matrix.depth;
        let writer = Writer {
            finish: &product.finish,
            target: self.target,
        };
        let fetches = is_far(product.source.len());
        for (at, block) in blocks.iter().enumerate() {
            let from = (block.tap * depth + block.first) * lanes;
            let weights = &weights[from..from + block.taps * block.depth * lanes];
            for (tile, writes) in rows.write.chunks(MR).enumerate() {
                let read = (tile * taps + block.tap) * MR;
                // Later panels and taps find the rows in a cache.
                let last = (tile + 1) * MR >= rows.write.len();
                let ahead =
                    match fetches && panel.before == self.panels[0].before && taps == 1 && !last {
                        true => taps * MR,
                        false => 0,
                    };
                let read = &rows.read[read..read + ahead + block.taps * MR];
                let next = &rows.write[((tile + 1) * MR).min(rows.write.len())..];
                if at + 1 == blocks.len() && writer.is_far() {
                    writer.fetch(&next[..next.len().min(MR)], channel, panel.width);
                }
                // SAFETY: `locate` gives pointers to run · source_channels floats, which hold every
                // group's depth; `weights` was cut to taps · depth · NV vectors.
                let result = unsafe {
                    let start = match at {
                        0 => zeros::<S, MR, NV>(simd),
                        _ => restore(simd, self.sums[tile * MR * lanes..][..MR * lanes].as_ptr()),
                    };
                    gathered(
                        simd,
                        start,
                        read.as_ptr(),
                        ahead,
                        [block.taps, first_k + block.first, block.depth],
                        weights.as_ptr(),
                    )
                };
                if at + 1 < blocks.len() {
                    let to = &mut self.sums[tile * MR * lanes..][..MR * lanes];
                    // SAFETY: `to` was cut to MR · NV vectors.
                    unsafe { save(simd, &result, to.as_mut_ptr()) };
                } else {
                    // SAFETY: pieces differ in rows, which have different offsets, or in channels.
                    unsafe {
                        writer.store(simd, &result, writes, channel, panel.width);
                    }
                }
            }
        }
    }
}
