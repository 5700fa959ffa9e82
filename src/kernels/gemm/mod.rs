//! Few rows times a large matrix: what a classifier does to a batch.
//!
//! Such a product waits for the matrix to arrive from memory, so that is read once, as it lies there;
//! to pack it would cost as much as the product.

mod across;
mod along;
mod outer;
#[cfg(test)]
mod tests;

use super::shape::{expect, product};
use super::{KernelError, Parallel, workspace};
use crate::kernels::shared::Shared;
use pulp::{Arch, Simd};
use std::ops::Range;

/// Rows of A from which [`gemm`] is no longer the fast way.
pub const MANY_ROWS: usize = 17;

/// Pieces that a product is cut into, for any number of threads, so that sums have the same order.
const PIECES: usize = 8;
/// Elements of B below which threads do not pay.
const SMALL: usize = 50_000;
/// Rows of a tile.
const HEIGHT: usize = 4;

/// A product Y `[rows, width]` = A `[rows, depth]` · B.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GemmShape {
    /// Rows of A and Y.
    pub rows: usize,
    /// Columns of A.
    pub depth: usize,
    /// Columns of Y.
    pub width: usize,
    /// Whether B is stored `[width, depth]` instead of `[depth, width]`.
    pub transposed: bool,
}

impl GemmShape {
    /// Columns and summed elements of every piece.
    fn pieces(&self) -> Vec<[Range<usize>; 2]> {
        let [columns, depths] = match self.transposed {
            true => [PIECES.min(self.width), 1],
            false => {
                let columns = (self.width / 512).clamp(1, PIECES);
                let depths = PIECES / columns;
                [columns, depths.min(self.depth / 256).max(1)]
            }
        };
        let part = |i: usize, parts: usize, of: usize| i * of / parts..(i + 1) * of / parts;
        let columns = (0..columns).map(|i| part(i, columns, self.width));
        columns
            .flat_map(|c| (0..depths).map(move |i| [c.clone(), part(i, depths, self.depth)]))
            .collect()
    }
}

/// Y = A · B + bias
///
/// # Errors
/// [`KernelError`] when a slice's length is not that of its shape.
pub fn gemm(
    shape: &GemmShape,
    a: &[f32],
    b: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    let &GemmShape {
        rows,
        depth,
        width,
        transposed,
    } = shape;
    expect("A", a.len(), product([rows, depth]))?;
    expect("B", b.len(), product([depth, width]))?;
    expect("Y", y.len(), product([rows, width]))?;
    if let Some(bias) = bias {
        expect("the bias", bias.len(), width)?;
    }
    if y.is_empty() {
        return Ok(());
    }
    let pieces = shape.pieces();
    let mut starts = vec![0];
    for [columns, _] in &pieces {
        starts.push(starts[starts.len() - 1] + rows * stride(columns));
    }
    let parallel = match b.len() < SMALL {
        true => &super::Serial,
        false => parallel,
    };
    workspace::with(starts[pieces.len()], |sums| {
        let shared = Shared::new(sums);
        parallel.run(pieces.len(), &|index| {
            let [columns, summed] = pieces[index].clone();
            // SAFETY: pieces do not overlap, and each is computed once.
            #[allow(unsafe_code)]
            let sums = unsafe { shared.part(starts[index]..starts[index + 1]) };
            sums.fill(0.0);
            let piece = Piece {
                shape,
                a,
                b,
                columns,
                summed,
                sums,
            };
            match transposed {
                true => Arch::new().dispatch(along::Along(piece)),
                false => Arch::new().dispatch(across::Across(piece)),
            }
        });
        for row in y.chunks_exact_mut(width) {
            match bias {
                Some(bias) => row.copy_from_slice(bias),
                None => row.fill(0.0),
            }
        }
        for ([columns, _], sums) in pieces.iter().zip(starts.iter().map(|&s| &sums[s..])) {
            for (row, sums) in y.chunks_exact_mut(width).zip(sums.chunks(stride(columns))) {
                let row = &mut row[columns.clone()];
                row.iter_mut().zip(sums).for_each(|(y, sum)| *y += sum);
            }
        }
    });
    Ok(())
}

/// dB `[depth, width]` = Aᵀ · dY, with A `[rows, depth]` and dY `[rows, width]`
///
/// # Errors
/// [`KernelError`] when a slice's length is not that of its shape.
pub fn gemm_weight_gradient(
    [rows, depth, width]: [usize; 3],
    a: &[f32],
    dy: &[f32],
    db: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    expect("A", a.len(), product([rows, depth]))?;
    expect("dY", dy.len(), product([rows, width]))?;
    expect("dB", db.len(), product([depth, width]))?;
    if rows == 0 {
        db.fill(0.0);
    }
    let pieces = match db.len() < SMALL {
        true => 1,
        false => PIECES.min(depth),
    };
    let shared = Shared::new(db);
    parallel.run(pieces, &|index| {
        let [first, end] = [index, index + 1].map(|i| i * depth / pieces);
        // SAFETY: pieces do not overlap, and each is computed once.
        #[allow(unsafe_code)]
        let db = unsafe { shared.part(first * width..end * width) };
        gemm_weight_gradient_rows([rows, depth, width], first, a, dy, db);
    });
    Ok(())
}

/// Some whole rows, from row `first`, of what [`gemm_weight_gradient`] computes.
///
/// # Panics
/// When a slice is shorter than its shape.
pub fn gemm_weight_gradient_rows(
    [rows, depth, width]: [usize; 3],
    first: usize,
    a: &[f32],
    dy: &[f32],
    db: &mut [f32],
) {
    Arch::new().dispatch(outer::Outer {
        rows,
        a,
        first,
        depth,
        b: dy,
        width,
        y: db,
    });
}

/// Floats of the widest vector there is.
const LANES: usize = 16;

/// Some columns of Y, summed over a part of the depth.
struct Piece<'a> {
    shape: &'a GemmShape,
    a: &'a [f32],
    b: &'a [f32],
    columns: Range<usize>,
    summed: Range<usize>,
    /// `[rows, columns]`, each row with room for whole vectors of [`LANES`].
    sums: &'a mut [f32],
}

/// Floats of a row of sums: whole vectors.
fn stride(columns: &Range<usize>) -> usize {
    columns.len().next_multiple_of(LANES)
}

/// `NV` vectors for each of `MR` rows.
type Tile<S, const MR: usize, const NV: usize> = [[<S as Simd>::f32s; NV]; MR];
