//! Products over 3 × 3 taps with fewer multiplications: Winograd's F(m × m, 3 × 3).
//!
//! m × m neighbouring outputs Y come from a patch D of (m + 2)² inputs as
//! `Y = Aᵀ [(G W Gᵀ) ⊙ (Bᵀ D B)] A`. Summed over channels, each element of ⊙ is a matrix product over
//! patches (A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2015). For
//! m = 2,
//!
//! ```text
//! Bᵀ = 1  0 −1  0    G =  1   0   0    Aᵀ = 1  1  1  0
//!      0  1  1  0         ½   ½   ½         0  1 −1 −1
//!      0 −1  1  0         ½  −½   ½
//!      0  1  0 −1         0   0   1
//! ```
//!
//! and there are 16 multiplications where the taps take 36; rounding is about what it is otherwise.
//! For m = 4, from the points 0, 1, −1, 2, −½ and ∞, there are 36 for 144, and errors of about 2e-6 of
//! the result's norm. The matrices stand in `form`, as sums; `stages` applies them.

mod form;
mod stages;

use super::amx;
use super::finish::Finish;
use super::gather::{APART, Gather};
use super::multiplier::Multiplier;
use super::pack::{Matrix, Panel};
use super::product::{NV, Product, lanes};
use crate::kernels::shared::Shared;
use crate::kernels::{Parallel, Serial, workspace};
use pulp::Arch;
use stages::{Inputs, Outputs, Weights};
use std::ops::Range;

/// Channels from which the products outweigh the transformations.
const MANY_CHANNELS: usize = 32;
/// Patches from which they outweigh the weight's.
const MANY_PATCHES: usize = 64;
/// As that, where AMX would sum all products instead.
const MANY_PATCHES_OF_TILES: usize = 256;
/// Floats of a chunk's patches and products, so that they stay in the last cache.
const CHUNK_FLOATS: usize = 1 << 20;
/// Patches of a chunk, so that weights are used often enough once they are read.
const CHUNK_PATCHES: usize = 96;

/// Patches of all images.
#[derive(Clone, Copy)]
struct Patches {
    batch: usize,
    /// Per image and axis.
    grid: [usize; 2],
    /// Outputs of a patch per axis: m.
    side: usize,
}

impl Patches {
    fn of(gather: &Gather, side: usize) -> Self {
        Patches {
            batch: gather.batch,
            grid: gather.grid.map(|n| n.div_ceil(side)),
            side,
        }
    }

    /// Elements of a patch, each of which is a product.
    fn elements(self) -> usize {
        (self.side + 2) * (self.side + 2)
    }

    fn count(self) -> usize {
        self.batch * self.grid[0] * self.grid[1]
    }

    /// Image, first row and first column of a patch's outputs.
    fn place(self, patch: usize) -> [usize; 3] {
        let [rows, columns] = self.grid;
        [
            patch / columns / rows,
            patch / columns % rows * self.side,
            patch % columns * self.side,
        ]
    }
}

/// The m for which a product of these is one that this computes, and faster; 4 only where `coarse`.
pub(super) fn side(gather: &Gather, matrix: &Matrix, coarse: bool) -> Option<usize> {
    let regular = gather.run == 1
        && gather.step == [1, 1]
        && gather.stride == [1, 1]
        && gather.origin == [0, 0]
        && gather.grid == gather.target
        && matrix.group == 1
        && first_tap(&gather.taps).is_some();
    let lanes = lanes();
    let mut channels = [matrix.depth, matrix.width].into_iter();
    if !regular || !channels.all(|n| n >= MANY_CHANNELS && n % lanes == 0) {
        return None;
    }
    // Not where there are few patches, or most of each lies outside.
    let many = match Multiplier::of(matrix, gather.rows()) {
        Multiplier::Vectors => MANY_PATCHES,
        Multiplier::Tiles => MANY_PATCHES_OF_TILES,
    };
    let pays = |side: &usize| {
        let patches = Patches::of(gather, *side);
        let products = patches.count() * patches.elements();
        patches.count() >= many && 5 * products <= 4 * 9 * gather.rows()
    };
    let sides: &[usize] = if coarse { &[4, 2] } else { &[2] };
    sides.iter().copied().find(pays)
}

/// The tap that comes first along both axes, if there are 3 × 3 neighbours, in their order or in
/// the opposite one.
fn first_tap(taps: &[[isize; 2]]) -> Option<[isize; 2]> {
    let [first, .., last] = taps else { return None };
    let least = [0, 1].map(|axis| first[axis].min(last[axis]));
    let at = |i: usize| [least[0] + (i / 3) as isize, least[1] + (i % 3) as isize];
    let forward = (0..9).map(at);
    let fits = taps.len() == 9
        && (forward.clone().eq(taps.iter().copied()) || forward.rev().eq(taps.iter().copied()));
    fits.then_some(least)
}

/// Computes `target` by patches of m = `side`, which [`side`](side()) found.
pub(super) fn run(product: &Product, side: usize, target: Shared, parallel: &dyn Parallel) {
    let Product { gather, matrix, .. } = product;
    let mut nine = matrix.clone();
    if gather.taps.first() > gather.taps.last() {
        nine.taps.reverse();
    }
    let patches = Patches::of(gather, side);
    let count = patches.count();
    let wanted = CHUNK_FLOATS / (patches.elements() * (matrix.depth + matrix.width));
    let chunks = count.div_ceil(wanted.max(CHUNK_PATCHES));
    let chunks = chunks.next_multiple_of(parallel.threads().max(1));
    let element = Matrix {
        taps: vec![0],
        ..matrix.clone()
    };
    let form = Form {
        multiplier: Multiplier::of(&element, count / chunks),
        panels: nine.panels(NV, lanes()),
        nine,
        element,
        patches,
    };
    let weights_len = form.element.packed_len(form.multiplier) * patches.elements();
    workspace::with(weights_len + gather.zeros_len(), |buffer| {
        let (weights, zeros) = buffer.split_at_mut(weights_len);
        zeros.fill(0.0);
        form.transform_weights(weights, parallel);
        let chunk = |index: usize| {
            let range = index * count / chunks..(index + 1) * count / chunks;
            form.compute(product, target, range, [weights, zeros]);
        };
        parallel.run(chunks, &chunk);
    });
}

/// What all chunks share.
struct Form<'a> {
    patches: Patches,
    multiplier: Multiplier,
    /// The weight, its taps in order.
    nine: Matrix<'a>,
    /// The weight of one element of a patch.
    element: Matrix<'a>,
    panels: Vec<Panel>,
}

impl Form<'_> {
    /// Fills `to`, `[panels][elements]` of packed weights, with G W Gᵀ.
    fn transform_weights(&self, to: &mut [f32], parallel: &dyn Parallel) {
        let elements = self.patches.elements();
        let vector_len = self.multiplier.vector_len(&self.element);
        let depth = self.nine.depth;
        let to = Shared::new(to);
        parallel.run(self.panels.len(), &|index| {
            let panel = &self.panels[index];
            let map = depth * panel.vectors * lanes();
            let len = panel.vectors * vector_len;
            let start = panel.before * elements * vector_len;
            // SAFETY: panels do not overlap, and one piece transforms each.
            #[allow(unsafe_code)]
            let to = unsafe { to.part(start..start + elements * len) };
            workspace::with(9 * map, |taps| {
                self.nine.pack_panel(panel, panel.vectors * lanes(), taps);
                let side = self.patches.side;
                let transform = |to: &mut [f32]| {
                    Arch::new().dispatch(Weights {
                        taps,
                        to,
                        map,
                        side,
                    });
                };
                match self.multiplier {
                    Multiplier::Vectors => transform(to),
                    Multiplier::Tiles => workspace::with(elements * map, |made| {
                        transform(made);
                        for (to, rows) in to.chunks_exact_mut(len).zip(made.chunks_exact(map)) {
                            amx::arrange(rows, panel.vectors, depth, to);
                        }
                    }),
                }
            });
        });
    }

    /// Computes the outputs of some patches.
    fn compute(
        &self,
        product: &Product,
        target: Shared,
        range: Range<usize>,
        [weights, zeros]: [&[f32]; 2],
    ) {
        let Product { gather, matrix, .. } = product;
        let patches = self.patches;
        let [depth, width, count] = [matrix.depth, matrix.width, range.len()];
        let steps = [depth, width].map(|n| n * count + APART);
        let elements = patches.elements();
        workspace::with(elements * (steps[0] + steps[1]), |buffer| {
            let (inputs, sums) = buffer.split_at_mut(elements * steps[0]);
            Arch::new().dispatch(Inputs {
                gather,
                source: product.source,
                patches,
                range: range.clone(),
                zeros,
                to: inputs,
                step: steps[0],
            });
            for element in 0..elements {
                let one = Product {
                    gather: Gather {
                        batch: 1,
                        grid: [1, count],
                        source: [1, count],
                        target: [1, count],
                        taps: vec![[0, 0]],
                        ..gather.clone()
                    },
                    matrix: self.element.clone(),
                    kept: None,
                    source: &inputs[element * steps[0]..][..depth * count],
                    finish: Finish::default(),
                };
                let panels = self.panels.iter().map(|panel| Panel {
                    before: panel.before * elements + element * panel.vectors,
                    ..*panel
                });
                let panels: Vec<Panel> = panels.collect();
                let sums = Shared::new(&mut sums[element * steps[1]..][..width * count]);
                one.multiply(self.multiplier, sums, &panels, [weights, zeros], &Serial);
            }
            Arch::new().dispatch(Outputs {
                product,
                target,
                patches,
                range,
                sums,
                step: steps[1],
            });
        });
    }
}
