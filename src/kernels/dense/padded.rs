//! Copies of maps for weight gradients: input rows with their padding, panels and tiles of channels.

use super::lanes::{Lanes, load, store};
use super::layout::tiles;
use crate::kernels::ConvShape;
use pulp::Simd;
use std::ops::Range;

/// How the input rows of some output rows are copied: `[lines][columns][channels]`, zero where a
/// window leaves the input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Padded<'a> {
    shape: &'a ConvShape,
    /// Copied positions from output position to output position.
    pub step: [usize; 2],
    /// Input positions per copied position.
    unit: [usize; 2],
    /// Floats of a copied pixel.
    channels: usize,
    /// Copied pixels per line.
    columns: usize,
}

impl<'a> Padded<'a> {
    /// For copies with `channels` floats per pixel.
    pub(super) fn of(shape: &'a ConvShape, channels: usize) -> Self {
        // An axis with one tap copies only what is read.
        let unit = [0, 1].map(|axis| match shape.kernel[axis] {
            1 => shape.strides[axis],
            _ => 1,
        });
        let mut padded = Padded {
            shape,
            step: [0, 1].map(|axis| shape.strides[axis] / unit[axis]),
            unit,
            channels,
            columns: 0,
        };
        padded.columns = padded.extent(1, shape.output[1]);
        padded
    }

    /// Copied positions that `outputs` neighbouring outputs read.
    fn extent(&self, axis: usize, outputs: usize) -> usize {
        let shape = self.shape;
        let window = (shape.kernel[axis] - 1) * shape.dilations[axis] + 1;
        outputs.saturating_sub(1) * self.step[axis] + window
    }

    /// Lines that `outputs` neighbouring output rows read.
    pub(super) fn lines(&self, outputs: usize) -> usize {
        self.extent(0, outputs)
    }

    /// Copied pixels per line.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Floats of a copied line.
    pub(super) fn line(&self) -> usize {
        self.columns * self.channels
    }

    /// Floats from tap to tap.
    pub(super) fn tap_step(&self, axis: usize) -> usize {
        let pixel = [self.columns, 1][axis] * self.channels;
        self.shape.dilations[axis] * pixel
    }

    /// Floats that copies for `outputs` output rows, of any images, need at most.
    pub(super) fn most_floats(&self, outputs: usize) -> usize {
        let images = outputs.div_ceil(self.shape.output[0].max(1)) + 1;
        (outputs * self.step[0] + images * self.lines(1)) * self.line()
    }

    /// The input row of a copied line, if there is one: the line `at` behind output row `row`'s first.
    fn row<'x>(&self, x: &'x [f32], image: usize, row: usize, at: usize) -> Option<&'x [f32]> {
        let shape = self.shape;
        let y = (row * self.step[0] + at) * self.unit[0];
        let y = y
            .checked_sub(shape.pads[0])
            .filter(|y| *y < shape.input[0])?;
        let len = shape.input[1] * shape.in_channels;
        let from = (image * shape.input[0] + y) * len;
        Some(&x[from..from + len])
    }

    /// The copied columns that lie inside the input, and the input column of the first.
    fn inside(&self) -> (Range<usize>, usize) {
        let [unit, pad] = [self.unit[1], self.shape.pads[1]];
        let first = pad.div_ceil(unit).min(self.columns);
        let end = (self.shape.input[1] + pad)
            .div_ceil(unit)
            .clamp(first, self.columns);
        (first..end, (first * unit).saturating_sub(pad))
    }

    /// The copied lines of some output rows, each with the input row it comes from, at the first
    /// column inside the input, and its part inside the input; what is outside is made zero.
    fn filled<'x, 't>(
        &self,
        x: &'x [f32],
        image: usize,
        rows: Range<usize>,
        to: &'t mut [f32],
    ) -> impl Iterator<Item = (&'x [f32], &'t mut [f32])> {
        let channels = self.channels;
        let (inside, column) = self.inside();
        let lines = to
            .chunks_exact_mut(self.line())
            .take(self.lines(rows.len()));
        lines.enumerate().filter_map(move |(at, line)| {
            let Some(row) = self.row(x, image, rows.start, at) else {
                line.fill(0.0);
                return None;
            };
            line[..inside.start * channels].fill(0.0);
            line[inside.end * channels..].fill(0.0);
            let line = &mut line[inside.start * channels..inside.end * channels];
            (!line.is_empty()).then(|| (&row[column * self.shape.in_channels..], line))
        })
    }

    /// Copies all channels.
    pub(super) fn copy(&self, x: &[f32], image: usize, rows: Range<usize>, to: &mut [f32]) {
        let channels = self.channels;
        for (row, line) in self.filled(x, image, rows, to) {
            if self.unit[1] == 1 {
                line.copy_from_slice(&row[..line.len()]);
                continue;
            }
            let pixels = row.chunks(channels).step_by(self.unit[1]);
            for (to, from) in line.chunks_exact_mut(channels).zip(pixels) {
                to.copy_from_slice(from);
            }
        }
    }

    /// Copies channels `first..first + width`, filled up with zeros to `NV` vectors.
    #[inline(always)]
    pub(super) fn copy_panel<S: Simd, const NV: usize>(
        &self,
        simd: S,
        x: &[f32],
        image: usize,
        rows: Range<usize>,
        [first, width]: [usize; 2],
        to: &mut [f32],
    ) {
        let step = self.unit[1] * self.shape.in_channels;
        for (row, line) in self.filled(x, image, rows, to) {
            copy_lanes::<S, NV>(simd, &row[first..], step, width, line);
        }
    }
}

/// Copies `width` floats from every `step` of `from` to every `NV` vectors of `to`, the rest zero.
#[inline(always)]
pub(super) fn copy_lanes<S: Simd, const NV: usize>(
    simd: S,
    from: &[f32],
    step: usize,
    width: usize,
    to: &mut [f32],
) {
    if width == NV * S::F32_LANES {
        copy_vectors::<S, NV, true>(simd, from, step, width, to)
    } else {
        copy_vectors::<S, NV, false>(simd, from, step, width, to)
    }
}

#[allow(unsafe_code)]
#[inline(always)]
fn copy_vectors<S: Simd, const NV: usize, const FULL: bool>(
    simd: S,
    from: &[f32],
    step: usize,
    width: usize,
    to: &mut [f32],
) {
    let pixels = to.len() / (NV * S::F32_LANES);
    assert!(pixels == 0 || (pixels - 1) * step + width <= from.len());
    for pixel in 0..pixels {
        for v in 0..NV {
            let lanes = match FULL {
                true => Lanes::All,
                false => Lanes::of(width, v, S::F32_LANES),
            };
            let from = from.as_ptr().wrapping_add(pixel * step + v * S::F32_LANES);
            let to = to
                .as_mut_ptr()
                .wrapping_add((pixel * NV + v) * S::F32_LANES);
            // SAFETY: `from` is checked above to have `width` floats at every step, to which
            // `lanes` keeps; `to` has `pixels · NV` vectors.
            unsafe { store(simd, to, Lanes::All, load(simd, from, lanes)) };
        }
    }
}

/// Copies `tall` of every `channels` floats, tile by tile: `[pixels, rows]` each, of at most
/// `height` rows.
#[allow(unsafe_code)]
#[inline(always)]
pub(super) fn pack_tall<S: Simd>(
    simd: S,
    from: &[f32],
    channels: usize,
    [tall, height]: [usize; 2],
    pixels: usize,
    to: &mut [f32],
) {
    assert!(pixels == 0 || (pixels - 1) * channels + tall <= from.len());
    // Whole vectors are stored, what is too much is overwritten by the next: that is faster than
    // storing parts of vectors.
    assert!(pixels * tall + S::F32_LANES <= to.len());
    for rows in tiles(tall, height) {
        let to = to[rows.start * pixels..].as_mut_ptr();
        for pixel in 0..pixels {
            for v in 0..rows.len().div_ceil(S::F32_LANES) {
                let lanes = Lanes::of(rows.len(), v, S::F32_LANES);
                let offset = v * S::F32_LANES;
                let from = from
                    .as_ptr()
                    .wrapping_add(pixel * channels + rows.start + offset);
                let to = to.wrapping_add(pixel * rows.len() + offset);
                // SAFETY: `lanes` keeps to the tile's rows, which `from` has; `to` has a vector
                // behind the last row.
                unsafe { store(simd, to, Lanes::All, load(simd, from, lanes)) };
            }
        }
    }
}
