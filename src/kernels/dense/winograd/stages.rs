//! The transformations around the products, over vectors of channels.

use super::super::gather::Gather;
use super::super::lanes::{Lanes, load, store};
use super::super::product::Product;
use super::form;
use super::{Patches, first_tap};
use crate::kernels::shared::Shared;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// A panel's nine maps of weights, each of `map` floats, and room for their transforms.
pub(super) struct Weights<'a> {
    pub taps: &'a [f32],
    pub to: &'a mut [f32],
    pub map: usize,
    /// Outputs of a patch per axis.
    pub side: usize,
}

impl WithSimd for Weights<'_> {
    type Output = ();

    // As everywhere, no closure or function that is not inlined may hold vector code.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.side {
            2 => self.run::<S, 4>(simd),
            _ => self.run::<S, 6>(simd),
        }
    }
}

impl Weights<'_> {
    #[allow(unsafe_code)]
    #[inline(always)]
    fn run<S: Simd, const IN: usize>(self, simd: S) {
        let Weights { taps, to, map, .. } = self;
        assert!(taps.len() == 9 * map && to.len() == IN * IN * map);
        assert!(map.is_multiple_of(S::F32_LANES));
        for at in (0..map).step_by(S::F32_LANES) {
            let mut w = [[simd.splat_f32s(0.0); 3]; 3];
            for (tap, w) in w.as_flattened_mut().iter_mut().enumerate() {
                // SAFETY: within the tap's map.
                *w = unsafe { load(simd, taps.as_ptr().add(tap * map + at), Lanes::All) };
            }
            let mut lines = [[simd.splat_f32s(0.0); 3]; IN];
            for x in 0..3 {
                let column = form::filter::<S, IN>(simd, [w[0][x], w[1][x], w[2][x]]);
                for (line, value) in lines.iter_mut().zip(column) {
                    line[x] = value;
                }
            }
            for (y, line) in lines.into_iter().enumerate() {
                let row = form::filter::<S, IN>(simd, line);
                for (x, value) in row.into_iter().enumerate() {
                    let to = to.as_mut_ptr().wrapping_add((y * IN + x) * map + at);
                    // SAFETY: within the element's map.
                    unsafe { store(simd, to, Lanes::All, value) };
                }
            }
        }
    }
}

/// Patches of the source to be transformed to `to`, `[elements][step]` of `[patch][channel]`.
pub(super) struct Inputs<'a> {
    pub gather: &'a Gather,
    pub source: &'a [f32],
    pub patches: Patches,
    pub range: Range<usize>,
    pub zeros: &'a [f32],
    pub to: &'a mut [f32],
    pub step: usize,
}

impl WithSimd for Inputs<'_> {
    type Output = ();

    // As everywhere, no closure or function that is not inlined may hold vector code.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.patches.side {
            2 => self.run::<S, 4>(simd),
            _ => self.run::<S, 6>(simd),
        }
    }
}

impl Inputs<'_> {
    #[allow(unsafe_code)]
    #[inline(always)]
    fn run<S: Simd, const IN: usize>(self, simd: S) {
        let Gather {
            source: [rows, columns],
            source_channels: channels,
            ..
        } = *self.gather;
        let tap = first_tap(&self.gather.taps).unwrap_or_default();
        assert_eq!(
            self.source.len(),
            self.patches.batch * rows * columns * channels
        );
        assert!(self.zeros.len() >= channels && channels.is_multiple_of(S::F32_LANES));
        assert!(self.range.len() * channels <= self.step);
        assert!(IN * IN * self.step <= self.to.len() && self.patches.side + 2 == IN);
        for (index, patch) in self.range.enumerate() {
            let [image, row, column] = self.patches.place(patch);
            let mut pixels = [[self.zeros.as_ptr(); IN]; IN];
            for (y, pixels) in pixels.iter_mut().enumerate() {
                for (x, pixel) in pixels.iter_mut().enumerate() {
                    let y = (row + y).wrapping_add_signed(tap[0]);
                    let x = (column + x).wrapping_add_signed(tap[1]);
                    if y < rows && x < columns {
                        let from = ((image * rows + y) * columns + x) * channels;
                        *pixel = self.source[from..from + channels].as_ptr();
                    }
                }
            }
            for channel in (0..channels).step_by(S::F32_LANES) {
                let mut half = [[simd.splat_f32s(0.0); IN]; IN];
                for y in 0..IN {
                    let mut d = half[0];
                    for x in 0..IN {
                        // SAFETY: every pointer is to `channels` floats, whole vectors of which are
                        // read.
                        d[x] = unsafe { load(simd, pixels[y][x].add(channel), Lanes::All) };
                    }
                    half[y] = form::inputs::<S, IN>(simd, d);
                }
                let to = self
                    .to
                    .as_mut_ptr()
                    .wrapping_add(index * channels + channel);
                for x in 0..IN {
                    let mut d = half[0];
                    for y in 0..IN {
                        d[y] = half[y][x];
                    }
                    for (y, value) in form::inputs::<S, IN>(simd, d).into_iter().enumerate() {
                        // SAFETY: within the element's map, which was checked to hold all patches.
                        unsafe { store(simd, to.add((y * IN + x) * self.step), Lanes::All, value) };
                    }
                }
            }
        }
    }
}

/// Sums of patches, `[elements][step]` of `[patch][channel]`, to be transformed and stored.
pub(super) struct Outputs<'a> {
    pub product: &'a Product<'a>,
    pub target: Shared<'a>,
    pub patches: Patches,
    pub range: Range<usize>,
    pub sums: &'a [f32],
    pub step: usize,
}

impl WithSimd for Outputs<'_> {
    type Output = ();

    // As everywhere, no closure or function that is not inlined may hold vector code.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.patches.side {
            2 => self.run::<S, 4, 2>(simd),
            _ => self.run::<S, 6, 4>(simd),
        }
    }
}

impl Outputs<'_> {
    #[allow(unsafe_code)]
    #[inline(always)]
    fn run<S: Simd, const IN: usize, const OUT: usize>(self, simd: S) {
        let Product { gather, finish, .. } = self.product;
        let [rows, columns] = gather.target;
        let channels = gather.target_channels;
        assert!(channels.is_multiple_of(S::F32_LANES));
        assert!(self.range.len() * channels <= self.step);
        assert!(IN * IN * self.step <= self.sums.len() && self.patches.side == OUT);
        for (index, patch) in self.range.enumerate() {
            let [image, row, column] = self.patches.place(patch);
            for channel in (0..channels).step_by(S::F32_LANES) {
                let from = self.sums.as_ptr().wrapping_add(index * channels + channel);
                let zero = simd.splat_f32s(0.0);
                let mut halves = [[zero; IN]; OUT];
                for x in 0..IN {
                    let mut m = [zero; IN];
                    for (y, m) in m.iter_mut().enumerate() {
                        // SAFETY: within the element's map, which was checked to hold all patches.
                        *m = unsafe { load(simd, from.add((y * IN + x) * self.step), Lanes::All) };
                    }
                    let made: [S::f32s; OUT] = form::outputs::<S, IN, OUT>(simd, m);
                    for (half, value) in halves.iter_mut().zip(made) {
                        half[x] = value;
                    }
                }
                let mut bias = simd.splat_f32s(0.0);
                if let Some(values) = finish.bias {
                    let values = &values[channel..channel + S::F32_LANES];
                    // SAFETY: as many as a vector has.
                    bias = unsafe { load(simd, values.as_ptr(), Lanes::All) };
                }
                for (y, half) in halves.into_iter().enumerate() {
                    for (x, value) in form::outputs::<S, IN, OUT>(simd, half)
                        .into_iter()
                        .enumerate()
                    {
                        if row + y >= rows || column + x >= columns {
                            continue;
                        }
                        let pixel = (image * rows + row + y) * columns + column + x;
                        let at = pixel * channels + channel;
                        let to = self.target.at(at, S::F32_LANES);
                        let value = simd.add_f32s(value, bias);
                        let value = finish.value(simd, value, at, Lanes::All);
                        // SAFETY: `at` checked the elements, which belong to this patch alone.
                        unsafe { store(simd, to, Lanes::All, value) };
                    }
                }
            }
        }
    }
}
