//! Convolutions as matrix products of gathered rows with packed weights.

use super::gather::{Gather, Rows};
use super::lanes::{Lanes, apply, load, store};
use super::pack::{Matrix, Panel};
use super::tile::{Tile, gathered, prefetch, restore, save, zeros};
use super::winograd;
use crate::kernels::activation::slope;
use crate::kernels::shared::Shared;
use crate::kernels::{Activation, Kept, Parallel, workspace};
use pulp::{Arch, Simd, WithSimd};

/// Vectors of a tile's row.
pub(super) const NV: usize = 2;

/// What happens to a tile before it is stored.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Finish<'a> {
    /// Added, by channel.
    pub bias: Option<&'a [f32]>,
    /// Added, by element.
    pub addend: Option<&'a [f32]>,
    /// Applied after the sums.
    pub activation: Activation,
    /// Keeps what belongs to active elements of an activation's output.
    pub mask: Option<(Activation, &'a [f32])>,
    /// Whether rounding may be that of a few more digits, for the sake of time.
    pub coarse: bool,
}

impl Finish<'_> {
    /// What is stored for `sum`, bias included, whose lanes are the elements from `at`.
    #[allow(unsafe_code)]
    #[inline(always)]
    pub(super) fn value<S: Simd>(&self, simd: S, sum: S::f32s, at: usize, lanes: Lanes) -> S::f32s {
        let elements = match lanes {
            Lanes::All => at..at + S::F32_LANES,
            Lanes::First(count) => at..at + count,
        };
        let mut value = sum;
        if let Some(addend) = self.addend {
            let from = addend[elements.clone()].as_ptr();
            // SAFETY: `lanes` are those elements.
            value = simd.add_f32s(value, unsafe { load(simd, from, lanes) });
        }
        value = apply(simd, self.activation, value);
        if let Some((activation, output)) = self.mask {
            let from = output[elements].as_ptr();
            // SAFETY: as above.
            let output = unsafe { load(simd, from, lanes) };
            value = slope(simd, activation, value, output);
        }
        value
    }
}

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
/// Floats of a map from which its rows are asked for ahead, as it does not lie in a near cache.
const FAR: usize = 1 << 20;
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
        let lanes = lanes();
        let panels = self.matrix.panels(NV, lanes);
        let packed_len = self.matrix.packed_len(lanes);
        let work = self.gather.rows() * packed_len;
        let parallel = match work < SMALL {
            true => &crate::kernels::Serial,
            false => parallel,
        };
        let pack = |to: &mut [f32]| self.matrix.pack(&panels, lanes, to, parallel);
        let kept = self.kept.and_then(|kept| kept.get(packed_len, pack));
        let fresh_len = if kept.is_some() { 0 } else { packed_len };
        workspace::with(fresh_len + self.gather.zeros_len(), |buffer| {
            let (fresh, zeros) = buffer.split_at_mut(fresh_len);
            zeros.fill(0.0);
            if kept.is_none() {
                pack(fresh);
            }
            self.multiply(target, &panels, [kept.unwrap_or(fresh), zeros], parallel);
        });
    }

    /// Computes `target` with a packed weight and zeros for what lies outside the source.
    pub(super) fn multiply(
        &self,
        target: Shared,
        panels: &[Panel],
        [packed, zeros]: [&[f32]; 2],
        parallel: &dyn Parallel,
    ) {
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

    /// Taps and summed floats per tap of one block, and how many blocks a tap is cut into.
    fn depth_blocks(&self) -> Vec<DepthBlock> {
        let taps = self.gather.taps.len();
        let depth = self.depth();
        let mut blocks = Vec::new();
        let cuts = depth.div_ceil(DEPTH_BLOCK);
        if cuts > 1 {
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

    /// Summed floats per tap.
    fn depth(&self) -> usize {
        self.matrix.depth * self.matrix.taps.len() / self.gather.taps.len().max(1)
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
        let weights = &self.packed[panel.start..panel.start + taps * depth * lanes];
        let channel = panel.group * product.matrix.width + panel.first;
        let first_k = panel.group * product.matrix.depth;
        let fetches = product.source.len() > FAR;
        for (at, block) in blocks.iter().enumerate() {
            let from = (block.tap * depth + block.first) * lanes;
            let weights = &weights[from..from + block.taps * block.depth * lanes];
            for (tile, writes) in rows.write.chunks(MR).enumerate() {
                let read = (tile * taps + block.tap) * MR;
                // Later panels and taps find the rows in a cache.
                let last = (tile + 1) * MR >= rows.write.len();
                let ahead =
                    match fetches && panel.start == self.panels[0].start && taps == 1 && !last {
                        true => taps * MR,
                        false => 0,
                    };
                let read = &rows.read[read..read + ahead + block.taps * MR];
                if at + 1 == blocks.len() {
                    self.fetch_targets::<S, MR, NV>(&rows.write[tile * MR..], channel);
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
                    self.finish(simd, &result, writes, channel, panel.width);
                }
            }
        }
    }

    /// Asks for what the tile after this one writes and adds.
    #[inline(always)]
    fn fetch_targets<S: Simd, const MR: usize, const NV: usize>(
        &self,
        writes: &[usize],
        channel: usize,
    ) {
        if self.target.len() <= FAR || writes.len() < 2 * MR {
            return;
        }
        let Finish { addend, mask, .. } = self.product.finish;
        for &row in &writes[MR..2 * MR] {
            for line in (0..NV * S::F32_LANES).step_by(16) {
                let at = row + channel + line;
                prefetch(self.target.start().wrapping_add(at));
                if let Some(addend) = addend {
                    prefetch(addend.as_ptr().wrapping_add(at));
                }
                if let Some((_, output)) = mask {
                    prefetch(output.as_ptr().wrapping_add(at));
                }
            }
        }
    }

    /// Stores a tile's rows at `writes`, channels `channel..channel + width`.
    #[inline(always)]
    fn finish<S: Simd, const MR: usize, const NV: usize>(
        &self,
        simd: S,
        tile: &Tile<S, MR, NV>,
        writes: &[usize],
        channel: usize,
        width: usize,
    ) {
        if width == NV * S::F32_LANES {
            self.finish_lanes::<S, MR, NV, true>(simd, tile, writes, channel, width)
        } else {
            self.finish_lanes::<S, MR, NV, false>(simd, tile, writes, channel, width)
        }
    }

    #[allow(unsafe_code)]
    #[inline(always)]
    fn finish_lanes<S: Simd, const MR: usize, const NV: usize, const FULL: bool>(
        &self,
        simd: S,
        tile: &Tile<S, MR, NV>,
        writes: &[usize],
        channel: usize,
        width: usize,
    ) {
        let finish = &self.product.finish;
        let lanes = |v: usize| match FULL {
            true => Lanes::All,
            false => Lanes::of(width, v, S::F32_LANES),
        };
        let mut bias = [simd.splat_f32s(0.0); NV];
        if let Some(values) = finish.bias {
            let values = &values[channel..channel + width];
            for (v, bias) in bias.iter_mut().enumerate() {
                let from = values.as_ptr().wrapping_add(v * S::F32_LANES);
                // SAFETY: `lanes` keeps to the width of `values`.
                *bias = unsafe { load(simd, from, lanes(v)) };
            }
        }
        for (i, sums) in tile.iter().enumerate() {
            if i >= writes.len() {
                break;
            }
            let start = writes[i] + channel;
            let to = self.target.at(start, width);
            for (v, &sum) in sums.iter().enumerate() {
                let offset = v * S::F32_LANES;
                let value = simd.add_f32s(sum, bias[v]);
                let value = finish.value(simd, value, start + offset, lanes(v));
                // SAFETY: `at` checked the `width` elements, which no other piece writes: pieces
                // differ in rows, which have different offsets, or in channels.
                unsafe { store(simd, to.wrapping_add(offset), lanes(v), value) };
            }
        }
    }
}
