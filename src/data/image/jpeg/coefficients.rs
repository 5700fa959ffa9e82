//! The coded data of a scan to coefficients, block by block.

use super::Tables;
use super::bits::{Bits, Damage};
use super::frame::ZIGZAG;
use super::scan::Head;

/// The coded data of a scan.
pub(super) struct Reader<'a> {
    head: &'a Head,
    tables: &'a Tables,
    bits: Bits<'a>,
    /// By part of the scan: the first coefficient of the block before.
    before: [i32; 4],
    /// Blocks ahead that bring no new coefficients (T.81, G.1.2.2).
    blocks_to_skip: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(head: &'a Head, tables: &'a Tables, data: &'a [u8]) -> Self {
        Self {
            head,
            tables,
            bits: Bits::new(data),
            before: [0; 4],
            blocks_to_skip: 0,
        }
    }

    /// Where the data stops.
    pub(super) fn at(&self) -> usize {
        self.bits.at()
    }

    /// Whether more was read than there is.
    pub(super) fn ran_out(&self) -> bool {
        self.bits.ran_out()
    }

    /// Whether that is because the file ends, and not the stretch.
    pub(super) fn is_cut_off(&self) -> bool {
        self.ran_out() && self.bits.is_at_end()
    }

    /// Steps over the restart marker `number`, counted from 0.
    pub(super) fn restart(&mut self, number: usize) -> Result<(), Damage> {
        self.before = [0; 4];
        self.blocks_to_skip = 0;
        self.bits.restart(number)
    }

    /// The next block, of the component that is `part` of the scan.
    #[inline(always)]
    pub(super) fn block(
        &mut self,
        progressive: bool,
        part: usize,
        block: &mut [i16; 64],
    ) -> Result<(), Damage> {
        let (_, dc, ac) = self.head.parts[part];
        match (progressive, self.head.first, self.head.refines) {
            (false, ..) => {
                self.first(part, dc, 0, block)?;
                self.sequential(ac, block)
            }
            (true, 0, false) => self.first(part, dc, self.head.low, block),
            (true, 0, true) => {
                block[0] |= i16::from(self.bits.bit()) << self.head.low;
                Ok(())
            }
            (true, _, false) => self.others(ac, block),
            (true, _, true) => self.refine(ac, block),
        }
    }

    /// The first coefficient.
    #[inline(always)]
    fn first(
        &mut self,
        part: usize,
        dc: usize,
        low: u32,
        block: &mut [i16; 64],
    ) -> Result<(), Damage> {
        let table = self.tables.dc[dc].as_ref().ok_or(Damage)?;
        let size = self.bits.symbol(table)?;
        if size > 15 {
            return Err(Damage);
        }
        let value = self.bits.value(u32::from(size));
        self.before[part] = self.before[part].wrapping_add(value);
        block[0] = (self.before[part] << low) as i16;
        Ok(())
    }

    /// All other coefficients (T.81, F.2.2.2).
    #[inline(always)]
    fn sequential(&mut self, ac: usize, block: &mut [i16; 64]) -> Result<(), Damage> {
        let table = self.tables.ac[ac].as_ref().ok_or(Damage)?;
        let mut k = 1;
        while k < 64 {
            let symbol = self.bits.symbol(table)?;
            let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 {
                if zeros < 15 {
                    break;
                }
                k += 16;
                continue;
            }
            k += zeros;
            let value = self.bits.value(size);
            block[*ZIGZAG.get(k).ok_or(Damage)?] = value as i16;
            k += 1;
        }
        Ok(())
    }

    /// Some coefficients, but for their low bits (T.81, G.1.2.2).
    fn others(&mut self, ac: usize, block: &mut [i16; 64]) -> Result<(), Damage> {
        if self.blocks_to_skip > 0 {
            self.blocks_to_skip -= 1;
            return Ok(());
        }
        let table = self.tables.ac[ac].as_ref().ok_or(Damage)?;
        let mut k = self.head.first;
        while k <= self.head.last {
            let symbol = self.bits.symbol(table)?;
            let (zeros, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 {
                if zeros < 15 {
                    self.blocks_to_skip = (1 << zeros) - 1 + self.bits.take(zeros);
                    break;
                }
                k += 16;
                continue;
            }
            k += zeros as usize;
            let value = self.bits.value(size);
            if k > self.head.last {
                return Err(Damage);
            }
            block[ZIGZAG[k]] = (value << self.head.low) as i16;
            k += 1;
        }
        Ok(())
    }

    /// One more bit of some coefficients (T.81, G.1.2.3).
    fn refine(&mut self, ac: usize, block: &mut [i16; 64]) -> Result<(), Damage> {
        let table = self.tables.ac[ac].as_ref().ok_or(Damage)?;
        let bit = 1_i16 << self.head.low;
        let last = self.head.last;
        let mut k = self.head.first;
        while self.blocks_to_skip == 0 && k <= last {
            let symbol = self.bits.symbol(table)?;
            let (mut zeros, size) = (u32::from(symbol >> 4), symbol & 15);
            let mut new = 0;
            if size == 1 {
                new = if self.bits.bit() { bit } else { -bit };
            } else if size > 1 {
                return Err(Damage);
            } else if zeros < 15 {
                self.blocks_to_skip = (1 << zeros) + self.bits.take(zeros);
                break;
            }
            while k <= last {
                let value = &mut block[ZIGZAG[k]];
                if *value != 0 {
                    refined(value, bit, &mut self.bits);
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                k += 1;
            }
            if new != 0 {
                if k > last {
                    return Err(Damage);
                }
                block[ZIGZAG[k]] = new;
            }
            k += 1;
        }
        if self.blocks_to_skip > 0 {
            self.blocks_to_skip -= 1;
            for place in &ZIGZAG[k..=last] {
                if block[*place] != 0 {
                    refined(&mut block[*place], bit, &mut self.bits);
                }
            }
        }
        Ok(())
    }
}

/// Adds `bit` to the amount of `value` where the data says so.
fn refined(value: &mut i16, bit: i16, bits: &mut Bits<'_>) {
    if bits.bit() && *value & bit == 0 {
        *value = value.wrapping_add(if *value > 0 { bit } else { -bit });
    }
}
