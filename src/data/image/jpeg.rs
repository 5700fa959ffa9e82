//! JPEG files to pixels, exactly as libjpeg-turbo (and so Pillow, OpenCV, TensorFlow) gives them.
//!
//! Source: ITU-T T.81 for the format; libjpeg's `jidctint.c`, `jdsample.c` and `jdcolor.c` for the
//! arithmetic, which the standard leaves open. Sequential and progressive Huffman-coded files of 8 bits
//! are read, in any number and order of scans and any sampling of whole ratios. Arithmetic coding,
//! lossless and hierarchical files and other precisions are refused by name, and so is damaged data. A file that
//! is cut off is read as far as it goes: coefficients that are missing are 0, as libjpeg has them when it is told that
//! the file ends there, so that the rest is grey. (libjpeg then smooths over the blocks of progressive files whose later
//! scans are missing; that is left out.)
//!
//! It is our own because no crate gives these pixels: `zune-jpeg` 0.5 reads separate scans wrongly and
//! is off by up to 30 of 255 at right edges, `jpeg-decoder` 0.3 is off by 4 and fills up cut files without a word,
//! `libjpeg-turbo-rs` 0.9 reads sampled CMYK wrongly and panics; bindings need a C toolchain.

mod bits;
mod coefficients;
mod colour;
mod frame;
mod idct;
mod scan;

use image::metadata::Orientation;

use super::orientation::orientation;
use super::{CUT_OFF, LACKS_END};
use bits::Table;
use frame::{Component, Frame};
use scan::Ended;

/// Progressive files in use have about ten scans, and a hundred at most.
const MAX_SCANS: u64 = 256;
/// Blocks that all scans of a progressive file may visit together: ten scans of 400 million pixels.
const MAX_VISITS: u64 = 1 << 26;

/// How three or four components are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Grey,
    Ycc,
    Rgb,
    Cmyk,
    Ycck,
}

/// The pixels of a file.
pub(super) struct Raster {
    /// Height × width × 1 (grey) or 3 (RGB).
    pub(super) pixels: Vec<u8>,
    /// What is remarkable: that the end marker or more is missing.
    pub(super) remark: Option<&'static str>,
}

/// A JPEG file that is read up to its first scan.
pub(super) struct Jpeg<'a> {
    bytes: &'a [u8],
    at: usize,
    frame: Frame,
    tables: Tables,
    jfif: bool,
    /// The colour transform of an Adobe segment.
    adobe: Option<u8>,
    orientation: Orientation,
}

/// The tables that are in force, by the numbers that components name them with.
#[derive(Default)]
struct Tables {
    quantization: [Option<[u16; 64]>; 4],
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    restart: usize,
}

/// What stands between two scans, besides tables.
enum Segment<'a> {
    Frame(u8, &'a [u8]),
    Scan(&'a [u8]),
    Application(u8, &'a [u8]),
    Other,
    End,
    /// The file ends, be it within a segment.
    Nothing,
}

const ENDS_EARLY: &str = "the file ends before the image begins (cut off?)";

impl<'a> Jpeg<'a> {
    /// Reads what stands before the first scan.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let mut at = 2;
        let mut tables = Tables::default();
        let (mut frame, mut jfif, mut adobe) = (None, false, None);
        let (mut exif, mut xmp) = (None, None);
        loop {
            let before = at;
            match tables.segment(bytes, &mut at)? {
                Segment::Frame(marker, text) if frame.is_none() => {
                    frame = Some(Frame::read(marker, text)?);
                }
                Segment::Frame(..) => return Err("it holds a second frame".to_owned()),
                Segment::Application(0, text) => jfif |= text.starts_with(b"JFIF\0"),
                Segment::Application(1, text) => {
                    exif = exif.or(text.strip_prefix(b"Exif\0\0"));
                    xmp = xmp.or(text.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0"));
                }
                Segment::Application(14, text) if text.starts_with(b"Adobe") => {
                    adobe = text.get(11).copied();
                }
                Segment::Application(..) | Segment::Other => {}
                Segment::Scan(_) => {
                    return Ok(Self {
                        bytes,
                        at: before,
                        frame: frame.ok_or("a scan stands before the frame")?,
                        tables,
                        jfif,
                        adobe,
                        orientation: orientation(exif, xmp),
                    });
                }
                Segment::End => return Err("it holds no scan".to_owned()),
                Segment::Nothing => return Err(ENDS_EARLY.to_owned()),
            }
        }
    }

    /// Width and height.
    pub(super) fn dimensions(&self) -> (u32, u32) {
        (self.frame.width as u32, self.frame.height as u32)
    }

    /// 1 (grey) or 3 (RGB).
    pub(super) fn channels(&self) -> usize {
        if self.frame.components.len() == 1 {
            1
        } else {
            3
        }
    }

    /// How the picture is to be turned.
    pub(super) fn orientation(&self) -> Orientation {
        self.orientation
    }

    /// The bytes that [`Jpeg::decode`] holds at most, with those that it returns.
    pub(super) fn memory(&self) -> u64 {
        let samples: u64 = self.frame.components.iter().map(Component::samples).sum();
        let planes = samples * if self.frame.progressive { 3 } else { 1 };
        let (width, height) = self.dimensions();
        planes + u64::from(width) * u64::from(height) * self.channels() as u64
    }

    /// Decodes the picture.
    pub(super) fn decode(mut self) -> Result<Raster, String> {
        let mut planes = scan::Planes::new(&self.frame)?;
        let samples: u64 = self.frame.components.iter().map(Component::samples).sum();
        let mut scans = 0;
        let mut remark = None;
        loop {
            match self.tables.segment(self.bytes, &mut self.at)? {
                Segment::Scan(_) if scans == MAX_SCANS || scans * samples / 64 > MAX_VISITS => {
                    return Err(format!("it has more than {scans} scans"));
                }
                Segment::Scan(text) => {
                    scans += 1;
                    let data = &self.bytes[self.at..];
                    match planes.scan(&self.frame, &self.tables, text, data)? {
                        Ended::Behind(bytes) => self.at += bytes,
                        Ended::CutOff => {
                            remark = Some(CUT_OFF);
                            break;
                        }
                    }
                }
                Segment::Frame(..) => return Err("it holds a second frame".to_owned()),
                Segment::Application(..) | Segment::Other => {}
                Segment::End => break,
                Segment::Nothing => {
                    remark = Some(match planes.complete() {
                        true => LACKS_END,
                        false => CUT_OFF,
                    });
                    break;
                }
            }
        }
        if remark == Some(CUT_OFF) && !planes.has_some() {
            return Err(ENDS_EARLY.to_owned());
        }
        if remark.is_none() && !planes.complete() {
            return Err("some of its scans are missing".to_owned());
        }
        let planes = planes.finish(&self.frame);
        Ok(Raster {
            pixels: colour::pixels(&self.frame, &planes, self.meaning())?,
            remark,
        })
    }

    /// As libjpeg guesses it (`default_decompress_parms` of `jdapimin.c`).
    fn meaning(&self) -> Meaning {
        let ids: Vec<u8> = self.frame.components.iter().map(|c| c.id).collect();
        match (ids.as_slice(), self.jfif, self.adobe) {
            ([_], ..) => Meaning::Grey,
            ([_, _, _], true, _) => Meaning::Ycc,
            ([_, _, _], false, Some(0)) => Meaning::Rgb,
            ([_, _, _], false, Some(_)) => Meaning::Ycc,
            (b"RGB", false, None) => Meaning::Rgb,
            ([_, _, _], false, None) => Meaning::Ycc,
            (_, _, None | Some(0)) => Meaning::Cmyk,
            (_, _, Some(_)) => Meaning::Ycck,
        }
    }
}

impl Tables {
    /// Reads the segment at `at`, of tables into these, and steps behind it. Bytes before its marker
    /// are passed over, as libjpeg does.
    fn segment<'a>(&mut self, bytes: &'a [u8], at: &mut usize) -> Result<Segment<'a>, String> {
        let marker = loop {
            let Some(ff) = bytes
                .get(*at..)
                .unwrap_or_default()
                .iter()
                .position(|byte| *byte == 0xFF)
            else {
                return Ok(Segment::Nothing);
            };
            *at += ff + 1;
            match bytes.get(*at) {
                None => return Ok(Segment::Nothing),
                Some(0xFF) => {}
                // A stuffed byte, and markers that stand alone.
                Some(0x00 | 0x01 | 0xD0..=0xD8) => *at += 1,
                Some(0xD9) => return Ok(Segment::End),
                Some(marker) => {
                    *at += 1;
                    break *marker;
                }
            }
        };
        let rest = bytes.get(*at..).unwrap_or_default();
        let Some(length) = rest.first_chunk() else {
            return Ok(Segment::Nothing);
        };
        let length = usize::from(u16::from_be_bytes(*length)).max(2);
        let Some(text) = rest.get(2..length) else {
            return Ok(Segment::Nothing);
        };
        *at += length;
        let damaged = || "a table of it is damaged".to_owned();
        match marker {
            0xC4 => self.huffman(text).ok_or_else(damaged)?,
            0xDB => self.quantization(text).ok_or_else(damaged)?,
            0xDD => {
                let interval = text.first_chunk().ok_or_else(damaged)?;
                self.restart = usize::from(u16::from_be_bytes(*interval));
            }
            0xC0..=0xCF => return Ok(Segment::Frame(marker, text)),
            0xDA => return Ok(Segment::Scan(text)),
            0xE0..=0xEF => return Ok(Segment::Application(marker - 0xE0, text)),
            _ => {}
        }
        Ok(Segment::Other)
    }

    fn quantization(&mut self, mut text: &[u8]) -> Option<()> {
        while let Some((&head, rest)) = text.split_first() {
            let wide = head >> 4 != 0;
            let (values, after) = rest.split_at_checked(if wide { 128 } else { 64 })?;
            let mut table = [0; 64];
            for (k, place) in frame::ZIGZAG.into_iter().enumerate() {
                table[place] = match wide {
                    true => u16::from_be_bytes([values[2 * k], values[2 * k + 1]]),
                    false => u16::from(values[k]),
                };
            }
            *self.quantization.get_mut(usize::from(head & 15))? = Some(table);
            text = after;
        }
        Some(())
    }

    fn huffman(&mut self, mut text: &[u8]) -> Option<()> {
        while let Some((&head, rest)) = text.split_first() {
            let (counts, rest) = rest.split_first_chunk()?;
            let total = counts.iter().map(|n| usize::from(*n)).sum();
            let (symbols, after) = rest.split_at_checked(total)?;
            let tables = if head >> 4 == 0 {
                &mut self.dc
            } else {
                &mut self.ac
            };
            *tables.get_mut(usize::from(head & 15))? = Some(Table::new(counts, symbols)?);
            text = after;
        }
        Some(())
    }
}
