//! Weights in the order in which tiles of columns are loaded.

#![allow(unsafe_code)]

use super::split::{STEP, split_columns, split_rows_to_columns, steps};
use super::tile::{LINES, PIECES, TILE};

/// Arranges a panel of a weight, rows of `vectors` · 16 floats, `depth` of them per tap.
pub(in super::super) fn arrange(rows: &[f32], vectors: usize, depth: usize, to: &mut [f32]) {
    let width = vectors * LINES;
    let taps = rows.len() / (depth * width);
    assert!(rows.len() == taps * depth * width);
    let row = |tap: usize, k: usize| &rows[(tap * depth + k) * width..][..width];
    arrange_rows(row, [taps, depth], vectors, to);
}

/// Arranges a panel of a weight of one tap, whose element (k, n) lies at `k · depth_step + n ·
/// width_step`; false, and nothing done, if neither step is 1.
pub(in super::super) fn arrange_stored(
    weight: &[f32],
    [depth, width]: [usize; 2],
    [depth_step, width_step]: [usize; 2],
    vectors: usize,
    to: &mut [f32],
) -> bool {
    if width_step == 1 {
        let row = |_, k: usize| &weight[k * depth_step..][..width];
        arrange_rows(row, [1, depth], vectors, to);
        return true;
    }
    if depth_step == 1 {
        let nothing = vec![0.0; depth];
        let columns: Vec<[*const f32; 2]> = (0..vectors * LINES)
            .map(|n| match n < width {
                true => [weight[n * width_step..][..depth].as_ptr(); 2],
                false => [nothing.as_ptr(); 2],
            })
            .collect();
        let steps = steps(1, depth);
        let step_len = vectors * PIECES * TILE;
        assert!(to.len() == steps.len() * step_len);
        for (to, step) in to.chunks_exact_mut(step_len).zip(&steps) {
            let [offsets, lens] = [step.map(|chunk| chunk.first), step.map(|chunk| chunk.len)];
            // SAFETY: AMX comes with these vectors; every column has `depth` floats, of which
            // chunks are parts.
            unsafe { split_rows_to_columns(&columns, offsets, lens, to) };
        }
        return true;
    }
    false
}

/// Arranges rows of up to `vectors` vectors, all equally long, by tap and summed element.
fn arrange_rows<'a>(
    row: impl Fn(usize, usize) -> &'a [f32],
    [taps, depth]: [usize; 2],
    vectors: usize,
    to: &mut [f32],
) {
    let steps = steps(taps, depth);
    let step_len = vectors * PIECES * TILE;
    assert!(to.len() == steps.len() * step_len);
    let width = row(0, 0).len();
    let nothing = [0.0; 2 * LINES];
    assert!(width <= nothing.len());
    for (to, step) in to.chunks_exact_mut(step_len).zip(&steps) {
        let mut lines = [nothing.as_ptr(); STEP];
        for (half, chunk) in step.iter().enumerate() {
            for k in 0..chunk.len {
                let row = row(chunk.tap, chunk.first + k);
                assert!(row.len() == width);
                // The order in which `split_rows` leaves what it packs: fours of either half by turns.
                lines[k / 4 * 8 + half * 4 + k % 4] = row.as_ptr();
            }
        }
        // SAFETY: AMX comes with these vectors; every line has `width` floats.
        unsafe { split_columns(&lines, [vectors, width], to) };
    }
}
