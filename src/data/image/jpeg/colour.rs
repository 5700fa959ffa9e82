//! Components to pixels: samples are enlarged to the size of the picture and their meaning to RGB.
//!
//! Source: libjpeg's `jdsample.c` ("fancy upsampling": a sample counts three times as much as its
//! neighbour) and `jdcolor.c`; Pillow's `Convert.c` for inks.

use std::borrow::Cow;
use std::slice::ChunksExactMut;

use pulp::{Simd, WithSimd};

use super::super::zeros;
use super::Meaning;
use super::frame::{Component, Frame};

/// The pixels, grey or RGB, of the samples of all components.
pub(super) fn pixels(
    frame: &Frame,
    planes: &[Vec<u8>],
    meaning: Meaning,
) -> Result<Vec<u8>, String> {
    let channels = if meaning == Meaning::Grey { 1 } else { 3 };
    let mut pixels = zeros(frame.width * frame.height * channels)?;
    pulp::Arch::new().dispatch(Picture {
        frame,
        planes,
        meaning,
        rows: pixels.chunks_exact_mut(frame.width * channels),
    });
    Ok(pixels)
}

struct Picture<'a> {
    frame: &'a Frame,
    planes: &'a [Vec<u8>],
    meaning: Meaning,
    rows: ChunksExactMut<'a, u8>,
}

impl WithSimd for Picture<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (y, out) in self.rows.enumerate() {
            let row = |c: usize| {
                let (component, plane) = (&self.frame.components[c], &self.planes[c]);
                row(component, plane, y, self.frame.width)
            };
            match self.meaning {
                Meaning::Grey => out.copy_from_slice(&row(0)[..self.frame.width]),
                Meaning::Rgb => join([&row(0), &row(1), &row(2)], out),
                Meaning::Ycc => ycc([&row(0), &row(1), &row(2)], out),
                Meaning::Cmyk => {
                    join([&row(0), &row(1), &row(2)], out);
                    inks(&row(3), out);
                }
                Meaning::Ycck => {
                    ycc([&row(0), &row(1), &row(2)], out);
                    // The colours are those of the paper that the inks leave.
                    out.iter_mut().for_each(|value| *value = 255 - *value);
                    inks(&row(3), out);
                }
            }
        }
    }
}

/// The samples of a component for row `y` of the picture.
#[inline(always)]
fn row<'p>(component: &Component, plane: &'p [u8], y: usize, width: usize) -> Cow<'p, [u8]> {
    let stride = 8 * component.blocks.0;
    let of = |row: usize| &plane[row * stride..][..component.width];
    let (across, down) = component.ratio;
    let own = of(y / down);
    // The row next to this one on the side where the pixel lies.
    let near = match y % down {
        0 => of((y / down).saturating_sub(1)),
        _ => of((y / down + 1).min(component.height - 1)),
    };
    // libjpeg spares itself the trouble with rows of one or two samples.
    let fancy = component.width > 2;
    match (across, down) {
        (1, 1) => Cow::Borrowed(own),
        (1, 2) => {
            let bias = if y.is_multiple_of(2) { 1 } else { 2 };
            Cow::Owned(
                own.iter()
                    .zip(near)
                    .map(|(a, b)| ((3 * u16::from(*a) + u16::from(*b) + bias) >> 2) as u8)
                    .collect(),
            )
        }
        (2, 1) if fancy => {
            let sums: Vec<u16> = own.iter().map(|a| u16::from(*a)).collect();
            Cow::Owned(twice::<2, 1, 2>(&sums, width))
        }
        (2, 2) if fancy => {
            let sums: Vec<u16> = own
                .iter()
                .zip(near)
                .map(|(a, b)| 3 * u16::from(*a) + u16::from(*b))
                .collect();
            Cow::Owned(twice::<4, 8, 7>(&sums, width))
        }
        _ => Cow::Owned((0..width).map(|x| own[x / across]).collect()),
    }
}

/// A row of double length, each value three parts of the sum at its place and one of the next on its
/// side, shifted right by `SHIFT` after `LEFT` or `RIGHT` is added.
#[inline(always)]
fn twice<const SHIFT: u32, const LEFT: u16, const RIGHT: u16>(
    sums: &[u16],
    width: usize,
) -> Vec<u8> {
    let mut row = vec![0; 2 * sums.len()];
    let (pairs, _) = row.as_chunks_mut::<2>();
    let value = |own: u16, near: u16, bias: u16| ((3 * own + near + bias) >> SHIFT) as u8;
    for (pair, near) in pairs[1..].iter_mut().zip(sums.windows(3)) {
        pair[0] = value(near[1], near[0], LEFT);
        pair[1] = value(near[1], near[2], RIGHT);
    }
    let last = sums.len() - 1;
    pairs[0] = [
        value(sums[0], sums[0], LEFT),
        value(sums[0], sums[1], RIGHT),
    ];
    pairs[last] = [
        value(sums[last], sums[last - 1], LEFT),
        value(sums[last], sums[last], RIGHT),
    ];
    row.truncate(width);
    row
}

#[inline(always)]
fn join(rows: [&[u8]; 3], out: &mut [u8]) {
    let (pixels, _) = out.as_chunks_mut::<3>();
    let [r, g, b] = rows;
    for (((pixel, r), g), b) in pixels.iter_mut().zip(r).zip(g).zip(b) {
        *pixel = [*r, *g, *b];
    }
}

/// JFIF's luma and chroma to RGB, in 16 binary places.
#[inline(always)]
fn ycc([y, cb, cr]: [&[u8]; 3], out: &mut [u8]) {
    const SIDE: usize = 32;
    let (pixels, _) = out.as_chunks_mut::<3>();
    for (number, pixels) in pixels.chunks_mut(SIDE).enumerate() {
        // Parts of one length, so that the compiler makes vector instructions of the loops.
        let mut part = [[0; SIDE]; 3];
        for (part, row) in part.iter_mut().zip([y, cb, cr]) {
            part[..pixels.len()].copy_from_slice(&row[SIDE * number..][..pixels.len()]);
        }
        let mut rgb = [[0; SIDE]; 3];
        for i in 0..SIDE {
            let half = 1 << 15;
            let y = i32::from(part[0][i]);
            let (cb, cr) = (i32::from(part[1][i]) - 128, i32::from(part[2][i]) - 128);
            let r = y + ((91_881 * cr + half) >> 16);
            let g = y + ((-22_554 * cb - 46_802 * cr + half) >> 16);
            let b = y + ((116_130 * cb + half) >> 16);
            rgb[0][i] = r.clamp(0, 255) as u8;
            rgb[1][i] = g.clamp(0, 255) as u8;
            rgb[2][i] = b.clamp(0, 255) as u8;
        }
        for (i, pixel) in pixels.iter_mut().enumerate() {
            *pixel = [rgb[0][i], rgb[1][i], rgb[2][i]];
        }
    }
}

/// What three inks and black leave of white, where (as Adobe writes them) 255 is no ink.
#[inline(always)]
fn inks(black: &[u8], out: &mut [u8]) {
    let (pixels, _) = out.as_chunks_mut::<3>();
    for (pixel, black) in pixels.iter_mut().zip(black) {
        let white = u32::from(*black);
        *pixel = pixel.map(|ink| {
            let product = (255 - u32::from(ink)) * white + 128;
            (white - ((product + (product >> 8)) >> 8)) as u8
        });
    }
}
