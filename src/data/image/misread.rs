//! Files that the `image` crate would give other pixels than are meant, or than other readers give, or
//! for which it would take memory beyond what is counted, refused by name.

use image::ImageFormat;

use super::directory::Directory;

/// Texts that a PNG file may have; its decoder keeps them all.
const MAX_TEXTS: usize = 10_000;

/// Refuses such a file, before a decoder sees it.
pub(super) fn refuse(bytes: &[u8], format: ImageFormat) -> Result<(), String> {
    let reason = match format {
        ImageFormat::Png => png(bytes),
        ImageFormat::Tiff => tiff(bytes),
        ImageFormat::Bmp => bmp(bytes),
        ImageFormat::Gif => gif(bytes),
        ImageFormat::WebP => webp(bytes),
        _ => None,
    };
    reason.map_or(Ok(()), |reason| Err(reason.to_owned()))
}

/// Refuses a TIFF file whose last channel, which is taken for alpha, is none, or one that the colours
/// are already multiplied by.
pub(super) fn refuse_alpha(tiff: &[u8]) -> Result<(), String> {
    const EXTRA_SAMPLES: usize = 338;
    match Directory::first(tiff).and_then(|page| page.number(EXTRA_SAMPLES)) {
        Some(0 | 1) => Err("TIFF whose last channel is no plain alpha is not read here".to_owned()),
        _ => Ok(()),
    }
}

fn png(bytes: &[u8]) -> Option<&'static str> {
    let texts = chunks(bytes).filter(|(kind, _)| matches!(*kind, b"tEXt" | b"zTXt" | b"iTXt"));
    (texts.count() > MAX_TEXTS).then_some("it holds more than 10000 texts")
}

/// The kinds and data of the chunks of a PNG file.
pub(super) fn chunks(png: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut rest = png.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (kind, after) = after.split_first_chunk::<4>()?;
        let (data, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        // A checksum stands behind the data.
        rest = after.get(4..)?;
        Some((kind, data))
    })
}

/// By the tags of TIFF 6.0.
fn tiff(bytes: &[u8]) -> Option<&'static str> {
    const BITS: usize = 258;
    const COMPRESSION: usize = 259;
    const PHOTOMETRIC: usize = 262;
    const FILL_ORDER: usize = 266;
    const PLANES: usize = 284;
    const TILE_WIDTH: usize = 322;
    let page = Directory::first(bytes)?;
    let is = |tag: usize, value: usize| page.number(tag) == Some(value);
    if is(COMPRESSION, 6) || is(COMPRESSION, 7) {
        return Some("TIFF compressed as JPEG is not read here");
    }
    if is(FILL_ORDER, 2) {
        return Some("TIFF whose bytes have their bits in reverse is not read here");
    }
    if is(PLANES, 2) && page.has(TILE_WIDTH) {
        return Some("TIFF with a tile for each channel is not read here");
    }
    // Pillow takes 0 for black all the same.
    if is(PHOTOMETRIC, 0) && is(BITS, 16) {
        return Some("TIFF of 16 bits whose zero is white is not read here");
    }
    None
}

/// A palette, or the head itself, in the place where the pixels are said to begin: some writers have
/// not counted them.
fn bmp(bytes: &[u8]) -> Option<&'static str> {
    let number = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let (pixels, head) = (number(10)?, number(14)?);
    let bits = number(if head == 12 { 24 } else { 28 })? & 0xFFFF;
    let first = 14_u64 + u64::from(head) + u64::from(bits <= 8);
    (u64::from(pixels) < first).then_some("its pixels are said to begin before its palette ends")
}

/// A part that is said to reach beyond the end of the file, for all of which its decoder would take
/// memory. Source: <https://developers.google.com/speed/webp/docs/riff_container>.
fn webp(bytes: &[u8]) -> Option<&'static str> {
    let number = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize);
    let end = number(4)?.saturating_add(8);
    let mut at = 12;
    while at < end {
        // A single byte that fills the last part up to an even size may be missing.
        let size = number(at + 4)?;
        if size > bytes.len() - (at + 8) {
            return Some("it is cut off, or a part of it is said to be larger than the file");
        }
        at += 8 + size + size % 2;
    }
    None
}

/// A first frame that reaches beyond the picture, which readers enlarge or cut off.
fn gif(bytes: &[u8]) -> Option<&'static str> {
    let Some(frame) = GifFrame::first(bytes) else {
        return Some("it holds no frame");
    };
    let number = |at: usize| {
        Some(u32::from(u16::from_le_bytes(
            *bytes.get(at..)?.first_chunk()?,
        )))
    };
    let beyond = frame.right > number(6)? || frame.bottom > number(8)?;
    beyond.then_some("its first frame is larger than the picture")
}

/// Where the first frame of a GIF ends, and whether a colour of it stands for none.
pub(super) struct GifFrame {
    right: u32,
    bottom: u32,
    pub(super) transparent: bool,
}

impl GifFrame {
    /// Reads the blocks up to the first frame (GIF89a, sections 18 to 26).
    pub(super) fn first(gif: &[u8]) -> Option<Self> {
        let colours = |flags: u8| match flags & 0x80 {
            0 => 0,
            _ => 3 << ((flags & 7) + 1),
        };
        let mut at = 13 + colours(*gif.get(10)?);
        let mut transparent = false;
        loop {
            match gif.get(at..)? {
                [0x21, label, rest @ ..] => {
                    if *label == 0xF9 {
                        transparent = rest.get(1)? & 1 == 1;
                    }
                    at += 2;
                    while *gif.get(at)? != 0 {
                        at += 1 + usize::from(gif[at]);
                    }
                    at += 1;
                }
                [0x2C, place @ ..] => {
                    let number = |i: usize| u32::from(place[i]) | u32::from(place[i + 1]) << 8;
                    return (place.len() >= 8).then(|| Self {
                        right: number(0) + number(4),
                        bottom: number(2) + number(6),
                        transparent,
                    });
                }
                _ => return None,
            }
        }
    }
}
