//! dW = Σ over pixels of dY ⊗ X, and the bias gradient Σ dY.
//!
//! One of the maps is read as scalars ("tall"), the other as vectors ("wide"). The wide one is
//! copied into panels, block by block of output pixels, so that a panel stays in the first cache
//! while all rows and taps are multiplied with it; X is copied with its padding whichever it is,
//! unless its pixels are those of Y. Every panel of channels and every share of the pixels is a
//! piece with sums of its own, which are added at the end.

use super::amx;
use super::bias::sum_shares;
use super::forward::{MANY_CHANNELS, is_pointwise, joins_taps};
use super::layout::{Layout, PANEL_VECTORS};
use super::outer::Job;
use super::product::{height, lanes};
use crate::kernels::shape::expect;
use crate::kernels::shared::Shared;
use crate::kernels::{ConvShape, KernelError, Parallel, Serial, workspace};
use std::cmp::Reverse;

/// Writes dW and, where wanted, db.
///
/// # Errors
/// [`KernelError`] when sizes contradict each other or a slice's length its shape.
pub(in crate::kernels) fn conv_weight_gradient(
    shape: &ConvShape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    shape.check()?;
    expect("X", x.len(), shape.x_len())?;
    expect("dY", dy.len(), shape.y_len())?;
    expect("dW", dw.len(), shape.w_len())?;
    if let Some(db) = &db {
        expect("db", db.len(), shape.out_channels)?;
    }
    if amx::suits_weight_gradient(shape) {
        amx::weight_gradient(shape, x, dy, dw, db, parallel);
        return Ok(());
    }
    let layout = layout(shape);
    let pixels = shape.batch * shape.output[0] * shape.output[1];
    let parallel = match pixels * shape.w_len() < SMALL {
        true => &Serial,
        false => parallel,
    };
    let (panels, splits) = pieces(shape, &layout, parallel.threads());
    let sums_len = splits * layout.sums_len();
    workspace::with(sums_len + splits * shape.out_channels, |buffer| {
        let (sums, bias_sums) = buffer.split_at_mut(sums_len);
        {
            let job = Job {
                shape,
                layout: &layout,
                x,
                dy,
                panels,
                splits,
                sums: Shared::new(sums),
                bias_sums: db.is_some().then(|| Shared::new(bias_sums)),
            };
            parallel.run(job.pieces(), &|piece| job.piece(piece));
        }
        gather_sums(shape, &layout, splits, sums, dw, parallel);
        if let Some(db) = db {
            sum_shares(bias_sums, db);
        }
    });
    Ok(())
}

/// Multiplications below which threads do not pay.
const SMALL: usize = 50_000;
/// Floats of sums that a piece aims at, so that they stay in the second cache.
const PIECE_FLOATS: usize = 1 << 16;
/// Output pixels that are worth sums of their own.
const SPLIT_PIXELS: usize = 128;
/// Floats of sums in which splits are kept, so that they stay in the caches.
const SPLIT_FLOATS: usize = 1 << 20;

fn layout(shape: &ConvShape) -> Layout {
    let [in_channels, out_channels] =
        [shape.in_channels, shape.out_channels].map(|channels| channels / shape.group);
    let flat = is_pointwise(shape);
    let x_is_wide = match flat {
        // The fewest lanes in vain, then the fewest rows.
        true => {
            let order = |channels: usize| (padding(channels), Reverse(channels));
            order(in_channels) <= order(out_channels)
        }
        false => shape.group > 1 || in_channels >= MANY_CHANNELS,
    };
    let joined = !x_is_wide && joins_taps(shape);
    let [tall, wide] = match x_is_wide {
        true => [out_channels, in_channels],
        false => [in_channels, out_channels],
    };
    Layout {
        flat,
        x_is_wide,
        tall: if joined { tall * shape.kernel[1] } else { tall },
        wide,
        taps: if joined {
            [shape.kernel[0], 1]
        } else {
            shape.kernel
        },
        group: shape.group,
        lanes: PANEL_VECTORS * lanes(),
        height: height(),
    }
}

/// The share of lanes that a panel of vectors wastes on `channels`, in 1/1024.
fn padding(channels: usize) -> usize {
    let lanes = lanes();
    (channels.next_multiple_of(lanes) - channels) * 1024 / channels
}

/// How many panels make a piece, and into how many shares with sums of their own the pixels are
/// cut: fixed by shape and threads.
fn pieces(shape: &ConvShape, layout: &Layout, threads: usize) -> (usize, usize) {
    let panels = layout.panels_per_group();
    let panel_len = layout.sums_len() / layout.panels();
    let together = (PIECE_FLOATS / panel_len.max(1)).clamp(1, panels);
    if threads <= 1 {
        return (together, 1);
    }
    let pixels = shape.batch * shape.output[0] * shape.output[1];
    let most = (pixels / SPLIT_PIXELS).min(SPLIT_FLOATS / layout.sums_len().max(1));
    let most = most.max(1);
    let together = together.min((panels * most).div_ceil(4 * threads));
    let groups = layout.group * panels.div_ceil(together);
    (together, (6 * threads).div_ceil(groups).min(most))
}

/// Adds the splits' sums and stores them as W stands.
fn gather_sums(
    shape: &ConvShape,
    layout: &Layout,
    splits: usize,
    sums: &mut [f32],
    dw: &mut [f32],
    parallel: &dyn Parallel,
) {
    let sums = Shared::new(sums);
    let target = Shared::new(dw);
    // SAFETY: panels have different sums and hold different channels of W, and one piece does each.
    #[allow(unsafe_code)]
    let piece = |panel: usize| unsafe {
        let kept = layout.lanes_of(layout.panel(panel)[2]);
        let len = layout.taps[0] * layout.taps[1] * layout.tall * kept;
        let start = layout.panel_start(panel);
        let first = sums.part(start..start + len);
        for split in 1..splits {
            let start = start + split * layout.sums_len();
            let more = sums.part(start..start + len);
            first
                .iter_mut()
                .zip(more)
                .for_each(|(sum, more)| *sum += *more);
        }
        store_panel(shape, layout, panel, first, target);
    };
    parallel.run(layout.panels(), &piece);
}

/// Stores a panel's sums, `[taps, tall, lanes]`, as W stands.
///
/// # Safety
/// Nobody else uses this panel's part of W.
#[allow(unsafe_code)]
unsafe fn store_panel(
    shape: &ConvShape,
    layout: &Layout,
    panel: usize,
    sums: &[f32],
    target: Shared,
) {
    /// Rows whose sums stay in the first cache while their lanes are walked.
    const ROWS: usize = 64;
    let [group, first, width] = layout.panel(panel);
    let lanes = layout.lanes_of(width);
    let [in_channels, out_channels] =
        [shape.in_channels, shape.out_channels].map(|channels| channels / shape.group);
    let taps = shape.taps();
    let filter = in_channels * taps;
    if layout.x_is_wide {
        for tall in 0..layout.tall {
            let start = (group * out_channels + tall) * filter + first * taps;
            // SAFETY: the caller's promise; rows are different.
            let to = unsafe { target.part(start..start + width * taps) };
            for (tap, sums) in sums.chunks_exact(layout.tall * lanes).enumerate() {
                let sums = &sums[tall * lanes..][..width];
                let to = to[tap..].iter_mut().step_by(taps);
                to.zip(sums).for_each(|(to, sum)| *to = *sum);
            }
        }
        return;
    }
    let joined = layout.tall_is_joined(shape);
    for (tap, sums) in sums.chunks_exact(layout.tall * lanes).enumerate() {
        for (block, sums) in sums.chunks(ROWS * lanes).enumerate() {
            for wide in 0..width {
                let start = (group * out_channels + first + wide) * filter;
                // SAFETY: the caller's promise; one filter at a time.
                let to = unsafe { target.part(start..start + filter) };
                for (row, sums) in sums.chunks_exact(lanes).enumerate() {
                    let tall = block * ROWS + row;
                    let at = match joined {
                        true => {
                            let column = tall / in_channels;
                            tall % in_channels * taps + tap * shape.kernel[1] + column
                        }
                        false => tall * taps + tap,
                    };
                    to[at] = sums[wide];
                }
            }
        }
    }
}
