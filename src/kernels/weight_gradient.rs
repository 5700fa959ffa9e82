//! dW = Σ over pixels of dY ⊗ X, and the bias gradient Σ dY.
//!
//! One of the maps is read as scalars ("tall"), the other as vectors ("wide"). The wide one is
//! copied into panels, block by block of output pixels, so that a panel stays in the first cache
//! while all rows and taps are multiplied with it; X is copied with its padding whichever it is,
//! unless its pixels are those of Y. Every panel of channels and every share of the pixels is a
//! piece with sums of its own, which are added at the end.

use super::conv::{MANY_CHANNELS, is_pointwise, joins_taps};
use super::outer::{Job, Layout, PANEL_VECTORS};
use super::product::lanes;
use super::shape::expect;
use super::shared::Shared;
use super::{ConvShape, KernelError, Parallel, Serial, depthwise, workspace};

/// Writes dW and, where wanted, db.
///
/// # Errors
/// [`KernelError`] when sizes contradict each other or a slice's length its shape.
pub fn conv_weight_gradient(
    shape: &ConvShape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    shape.check()?;
    if shape.is_depthwise() {
        return depthwise::conv_weight_gradient(shape, x, dy, dw, db, parallel);
    }
    expect("X", x.len(), shape.x_len())?;
    expect("dY", dy.len(), shape.y_len())?;
    expect("dW", dw.len(), shape.w_len())?;
    if let Some(db) = &db {
        expect("db", db.len(), shape.out_channels)?;
    }
    let layout = layout(shape);
    let pixels = shape.batch * shape.output[0] * shape.output[1];
    let parallel = match pixels * shape.w_len() < SMALL {
        true => &Serial,
        false => parallel,
    };
    let splits = splits(shape, &layout, parallel.threads());
    let sums_len = splits * layout.sums_len();
    workspace::with(sums_len + splits * shape.out_channels, |buffer| {
        let (sums, bias_sums) = buffer.split_at_mut(sums_len);
        {
            let job = Job {
                shape,
                layout: &layout,
                x,
                dy,
                splits,
                sums: Shared::new(sums),
                bias_sums: db.is_some().then(|| Shared::new(bias_sums)),
            };
            parallel.run(layout.panels() * splits, &|piece| job.piece(piece));
        }
        gather_sums(shape, &layout, splits, sums, dw, parallel);
        if let Some(db) = db {
            db.copy_from_slice(&bias_sums[..db.len()]);
            for split in 1..splits {
                let more = &bias_sums[split * db.len()..][..db.len()];
                db.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
            }
        }
    });
    Ok(())
}

/// Multiplications below which threads do not pay.
const SMALL: usize = 50_000;
/// Output pixels that are worth sums of their own.
const SPLIT_PIXELS: usize = 128;
/// Floats of sums in which splits are kept, so that they stay in the caches.
const SPLIT_FLOATS: usize = 1 << 20;

fn layout(shape: &ConvShape) -> Layout {
    let [in_channels, out_channels] =
        [shape.in_channels, shape.out_channels].map(|channels| channels / shape.group);
    let flat = is_pointwise(shape);
    let x_is_wide = match flat {
        true => padding(in_channels) <= padding(out_channels),
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
    }
}

/// The share of lanes that a panel of vectors wastes on `channels`, in 1/1024.
fn padding(channels: usize) -> usize {
    let lanes = lanes();
    (channels.next_multiple_of(lanes) - channels) * 1024 / channels
}

/// Into how many shares with sums of their own the pixels are cut: fixed by shape and threads.
fn splits(shape: &ConvShape, layout: &Layout, threads: usize) -> usize {
    if threads <= 1 {
        return 1;
    }
    let pixels = shape.batch * shape.output[0] * shape.output[1];
    let most = (pixels / SPLIT_PIXELS).min(SPLIT_FLOATS / layout.sums_len().max(1));
    (6 * threads).div_ceil(layout.panels()).min(most).max(1)
}

/// Adds the splits' sums and stores them as W stands.
fn gather_sums(
    shape: &ConvShape,
    layout: &Layout,
    splits: usize,
    sums: &[f32],
    dw: &mut [f32],
    parallel: &dyn Parallel,
) {
    let taps = shape.taps();
    let [in_channels, out_channels] =
        [shape.in_channels, shape.out_channels].map(|channels| channels / shape.group);
    let target = Shared::new(dw);
    let piece = |panel: usize| {
        let [group, first, width] = layout.panel(panel);
        let kept = layout.lanes_of(width);
        let start = layout.panel_start(panel);
        for tap in 0..layout.taps[0] * layout.taps[1] {
            for tall in 0..layout.tall {
                let row = start + (tap * layout.tall + tall) * kept;
                let (tap, tall) = match layout.tall_is_joined(shape) {
                    true => (
                        tap * shape.kernel[1] + tall / in_channels,
                        tall % in_channels,
                    ),
                    false => (tap, tall),
                };
                for wide in 0..width {
                    let sum: f32 = (0..splits)
                        .map(|split| sums[split * layout.sums_len() + row + wide])
                        .sum();
                    let [o, i] = match layout.x_is_wide {
                        true => [tall, first + wide],
                        false => [first + wide, tall],
                    };
                    let at = ((group * out_channels + o) * in_channels + i) * taps + tap;
                    // SAFETY: in bounds by `at`; panels hold different channels of W, so no other
                    // piece writes this element.
                    #[allow(unsafe_code)]
                    unsafe {
                        target.at(at, 1).write(sum);
                    }
                }
            }
        }
    };
    parallel.run(layout.panels(), &piece);
}
