//! Scans: coded data to coefficients, and those to samples.

use super::super::zeros;
use super::bits::Damage;
use super::coefficients::Reader;
use super::frame::{Component, Frame};
use super::{Tables, idct};

/// The samples of the components, as far as scans have given them.
pub(super) struct Planes {
    of: Vec<Plane>,
    /// Whether any block is known.
    some: bool,
}

/// How a scan ends.
pub(super) enum Ended {
    /// With all of its blocks, behind so many bytes.
    Behind(usize),
    /// Before, where the file ends.
    CutOff,
}

/// The sample of a block without coefficients.
const GREY: u8 = 128;

struct Plane {
    /// The samples of all blocks, row by row.
    samples: Vec<u8>,
    /// The coefficients of all blocks, each 64 in rows; of progressive files only.
    coefficients: Vec<i16>,
    /// The table that is in force when the component is first met.
    table: Option<[u16; 64]>,
    /// A bit for each coefficient, in the order of the file, that is wholly known.
    known: u64,
}

/// What a scan brings: of which components, which coefficients, and which bits of them.
pub(super) struct Head {
    /// Component, and its tables for the first and the other coefficients.
    pub(super) parts: Vec<(usize, usize, usize)>,
    pub(super) first: usize,
    pub(super) last: usize,
    /// Whether coefficients are refined that are known but for their low bits.
    pub(super) refines: bool,
    /// The lowest bit that is given.
    pub(super) low: u32,
}

impl Planes {
    pub(super) fn new(frame: &Frame) -> Result<Self, String> {
        let planes: Result<_, String> = frame
            .components
            .iter()
            .map(|component| {
                let samples = component.samples() as usize;
                Ok(Plane {
                    samples: zeros(samples)?,
                    coefficients: zeros(if frame.progressive { samples } else { 0 })?,
                    table: None,
                    known: 0,
                })
            })
            .collect();
        Ok(Self {
            of: planes?,
            some: false,
        })
    }

    /// Whether every coefficient of every component is known.
    pub(super) fn complete(&self) -> bool {
        self.of.iter().all(|plane| plane.known == u64::MAX)
    }

    /// Whether any block of any component is known.
    pub(super) fn has_some(&self) -> bool {
        self.some
    }

    /// Takes in the scan of the head `text` from the `data` behind it, as far as it goes.
    pub(super) fn scan(
        &mut self,
        frame: &Frame,
        tables: &Tables,
        text: &[u8],
        data: &[u8],
    ) -> Result<Ended, String> {
        let head = Head::read(frame, text).ok_or("the head of a scan is damaged")?;
        for &(c, ..) in &head.parts {
            let plane = &mut self.of[c];
            let table = tables.quantization[frame.components[c].table];
            plane.table = plane.table.or(table);
            if plane.table.is_none() {
                return Err("it lacks a quantization table".to_owned());
            }
            let span = (u64::MAX >> (63 - (head.last - head.first))) << head.first;
            if !frame.progressive && plane.known != 0 {
                return Err("two scans hold the same component".to_owned());
            }
            if head.low == 0 {
                plane.known |= span;
            }
        }
        let mut reader = Reader::new(&head, tables, data);
        self.units(frame, &head, tables.restart, &mut reader)
            .map_err(|Damage| "its data is damaged, or some of it is missing".to_owned())
    }

    /// Reads all units of a scan, as far as they are there. The last of a file that is cut off is completed by bits of
    /// 0, as by libjpeg.
    fn units(
        &mut self,
        frame: &Frame,
        head: &Head,
        restart: usize,
        reader: &mut Reader<'_>,
    ) -> Result<Ended, Damage> {
        // A scan of one component has its blocks, without those that fill up units (T.81, A.2).
        let single = match head.parts.as_slice() {
            &[(c, ..)] => Some(&frame.components[c]),
            _ => None,
        };
        let (across, down) = match single {
            Some(c) => (c.width.div_ceil(8), c.height.div_ceil(8)),
            None => frame.units,
        };
        let factors = |c: &Component| single.map_or((c.h, c.v), |_| (1, 1));
        let mut row = Vec::new();
        let mut number = 0;
        for y in 0..down {
            if !frame.progressive {
                let blocks = head.parts.iter().map(|&(c, ..)| {
                    let component = &frame.components[c];
                    factors(component).1 * component.blocks.0
                });
                row.clear();
                row.resize(blocks.sum::<usize>() * 64, 0_i16);
            }
            for x in 0..across {
                if restart > 0 && number > 0 && number % restart == 0 {
                    reader.restart(number / restart - 1)?;
                }
                number += 1;
                let mut start = 0;
                for (part, &(c, ..)) in head.parts.iter().enumerate() {
                    let component = &frame.components[c];
                    let (h, v) = factors(component);
                    let stored = match frame.progressive {
                        true => {
                            let from = y * v * component.blocks.0 * 64;
                            &mut self.of[c].coefficients[from..]
                        }
                        false => &mut row[start..],
                    };
                    for j in 0..v {
                        for i in 0..h {
                            let at = 64 * (j * component.blocks.0 + x * h + i);
                            let block = stored[at..].first_chunk_mut().ok_or(Damage)?;
                            let read = reader.block(frame.progressive, part, block);
                            if read.is_err() && !reader.is_cut_off() {
                                return Err(Damage);
                            }
                        }
                    }
                    start += 64 * v * component.blocks.0;
                }
                if reader.ran_out() {
                    break;
                }
                self.some = true;
            }
            let is_cut_off = reader.is_cut_off();
            if reader.ran_out() && !is_cut_off {
                return Err(Damage);
            }
            let mut stored = row.as_slice();
            for &(c, ..) in head.parts.iter().filter(|_| !frame.progressive) {
                let component = &frame.components[c];
                let v = factors(component).1;
                let (of_this, rest) = stored.split_at(64 * v * component.blocks.0);
                self.of[c].transform(component, y * v, of_this);
                stored = rest;
                if is_cut_off {
                    self.of[c].grey_from(component, (y + 1) * v);
                }
            }
            if is_cut_off {
                return Ok(Ended::CutOff);
            }
        }
        Ok(Ended::Behind(reader.at()))
    }

    /// The samples of all components.
    pub(super) fn finish(mut self, frame: &Frame) -> Vec<Vec<u8>> {
        for (plane, component) in self.of.iter_mut().zip(&frame.components) {
            let coefficients = std::mem::take(&mut plane.coefficients);
            plane.transform(component, 0, &coefficients);
        }
        self.of.into_iter().map(|plane| plane.samples).collect()
    }
}

impl Plane {
    /// Fills the rows of blocks from `row` on with the samples of `coefficients`.
    fn transform(&mut self, component: &Component, row: usize, coefficients: &[i16]) {
        let stride = 8 * component.blocks.0;
        let Some(table) = &self.table else {
            self.samples.fill(GREY);
            return;
        };
        let samples = &mut self.samples[8 * row * stride..];
        pulp::Arch::new().dispatch(idct::Blocks {
            coefficients,
            table,
            samples,
            across: component.blocks.0,
        });
    }

    /// Leaves the rows of blocks from `row` on without coefficients.
    fn grey_from(&mut self, component: &Component, row: usize) {
        let from = 64 * row * component.blocks.0;
        if let Some(rest) = self.samples.get_mut(from..) {
            rest.fill(GREY);
        }
    }
}

impl Head {
    fn read(frame: &Frame, text: &[u8]) -> Option<Self> {
        let (&count, rest) = text.split_first()?;
        let (parts, &[first, last, bits]) = rest.split_last_chunk()?;
        let (parts, []) = parts.as_chunks::<2>() else {
            return None;
        };
        let find = |&[id, tables]: &[u8; 2]| {
            let c = frame.components.iter().position(|c| c.id == id)?;
            let (dc, ac) = (usize::from(tables >> 4), usize::from(tables & 15));
            (dc < 4 && ac < 4).then_some((c, dc, ac))
        };
        let parts: Vec<_> = parts.iter().map(find).collect::<Option<_>>()?;
        let mut seen = [false; 4];
        let twice = parts
            .iter()
            .any(|&(c, ..)| std::mem::replace(&mut seen[c], true));
        let blocks: usize = parts
            .iter()
            .map(|&(c, ..)| frame.components[c].h * frame.components[c].v)
            .sum();
        let sizes = parts.len() == usize::from(count) && (parts.len() == 1 || blocks <= 10);
        if parts.is_empty() || twice || !sizes {
            return None;
        }
        if !frame.progressive {
            return Some(Self {
                parts,
                first: 0,
                last: 63,
                refines: false,
                low: 0,
            });
        }
        let (high, low) = (bits >> 4, u32::from(bits & 15));
        let (first, last) = (usize::from(first), usize::from(last));
        let span = match first {
            0 => last == 0,
            _ => first <= last && last < 64 && parts.len() == 1,
        };
        let step = high == 0 || u32::from(high) == low + 1;
        (span && step && low < 14).then_some(Self {
            parts,
            first,
            last,
            refines: high > 0,
            low,
        })
    }
}
