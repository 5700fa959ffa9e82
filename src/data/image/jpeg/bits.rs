//! Huffman codes and the bits between them.

/// Codes up to this length are looked up at once.
const LOOKUP: u32 = 9;

/// A Huffman table.
pub(super) struct Table {
    /// By the next bits: the length of the code times 256, and its symbol; 0 where the code is longer.
    lookup: Box<[u16; 1 << LOOKUP]>,
    /// By length: the first 16 bits that are beyond the codes of that length.
    limits: [u32; 17],
    /// By length: what to add to a code to find its symbol.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl Table {
    /// The table of `counts[n]` codes of length `n + 1`; `None` if they do not fit.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self {
            lookup: Box::new([0; 1 << LOOKUP]),
            limits: [0; 17],
            offsets: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut index) = (0_u32, 0_usize);
        for (length, count) in (1..).zip(counts) {
            table.offsets[length as usize] = index as i32 - code as i32;
            for _ in 0..*count {
                if code >= 1 << length {
                    return None;
                }
                if length <= LOOKUP {
                    let entry = (length as u16) << 8 | u16::from(*symbols.get(index)?);
                    let from = (code as usize) << (LOOKUP - length);
                    table.lookup[from..from + (1 << (LOOKUP - length))].fill(entry);
                }
                code += 1;
                index += 1;
            }
            table.limits[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Some(table)
    }
}

/// The bits of one stretch of coded data, up to a marker.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// Where the next byte is read.
    at: usize,
    /// The next bits, from the highest down.
    buffer: u64,
    count: u32,
    /// Bits of the buffer, the last ones, that stand for data that is not there.
    missing: u32,
}

/// The data is damaged, or not there.
pub(super) struct Damage;

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            at: 0,
            buffer: 0,
            count: 0,
            missing: 0,
        }
    }

    /// Where the data stops: at a marker or at its end, once all bits are read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Whether bits were taken that are not there.
    pub(super) fn ran_out(&self) -> bool {
        self.missing > self.count
    }

    /// Whether nothing of the file is left, but for a marker that is cut off.
    pub(super) fn is_at_end(&self) -> bool {
        let rest = self.data.get(self.at..).unwrap_or_default();
        rest.iter().all(|byte| *byte == 0xFF)
    }

    /// Steps over the rest of this stretch and the restart marker that has to follow it; where the file ends before
    /// it, to its end.
    pub(super) fn restart(&mut self, number: usize) -> Result<(), Damage> {
        if self.ran_out() {
            return Err(Damage);
        }
        // What is left of a sound stretch are the ones that fill its last byte. They are in the buffer.
        let mut at = self.at;
        while self.data.get(at) == Some(&0xFF) && self.data.get(at + 1) == Some(&0xFF) {
            at += 1;
        }
        if self.is_at_end() {
            *self = Self {
                at: self.data.len(),
                ..Self::new(self.data)
            };
            return Ok(());
        }
        if self.data.get(at..at + 2) != Some(&[0xFF, 0xD0 + (number % 8) as u8]) {
            return Err(Damage);
        }
        *self = Self {
            at: at + 2,
            ..Self::new(self.data)
        };
        Ok(())
    }

    /// Sees to it that the buffer holds 32 bits.
    #[inline(always)]
    fn fill(&mut self) {
        if self.count >= 32 {
            return;
        }
        if let Some(word) = self.data[self.at..].first_chunk::<8>() {
            let word = u64::from_be_bytes(*word);
            const LOW: u64 = 0x0101_0101_0101_0101;
            let has_ff = (!word).wrapping_sub(LOW) & word & (LOW << 7) != 0;
            if !has_ff {
                self.buffer |= word >> self.count;
                let bytes = (64 - self.count) / 8;
                self.at += bytes as usize;
                self.count += 8 * bytes;
                // Bits beyond the counted ones are read again, to the same place.
                return;
            }
        }
        self.fill_by_bytes();
    }

    #[cold]
    #[inline(never)]
    fn fill_by_bytes(&mut self) {
        // Clears what a whole word left beyond the counted bits.
        self.buffer &= !u64::MAX.checked_shr(self.count).unwrap_or(0);
        while self.count <= 56 {
            let byte = match self.data.get(self.at..) {
                Some([0xFF, 0x00, ..]) => {
                    self.at += 2;
                    0xFF
                }
                Some([byte, ..]) if *byte != 0xFF => {
                    self.at += 1;
                    *byte
                }
                _ => {
                    self.missing += 8;
                    0
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    #[inline(always)]
    fn drop(&mut self, count: u32) {
        self.buffer <<= count;
        self.count -= count;
    }

    /// The next symbol; as many as 16 bits more can be taken behind it.
    #[inline(always)]
    pub(super) fn symbol(&mut self, table: &Table) -> Result<u8, Damage> {
        self.fill();
        let entry = table.lookup[(self.buffer >> (64 - LOOKUP)) as usize];
        if entry != 0 {
            self.drop(u32::from(entry >> 8));
            return Ok(entry as u8);
        }
        self.long_symbol(table)
    }

    #[cold]
    fn long_symbol(&mut self, table: &Table) -> Result<u8, Damage> {
        let next = (self.buffer >> 48) as u32;
        for length in LOOKUP + 1..=16 {
            if next < table.limits[length as usize] {
                let code = (next >> (16 - length)) as i32;
                self.drop(length);
                let index = code + table.offsets[length as usize];
                return table.symbols.get(index as usize).copied().ok_or(Damage);
            }
        }
        Err(Damage)
    }

    /// `count` bits, at most 16, behind a symbol.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> u32 {
        let bits = (self.buffer >> 32) as u32 >> (32 - count).min(31);
        let bits = if count == 0 { 0 } else { bits };
        self.drop(count);
        bits
    }

    /// A signed value of `size` bits, at most 16, behind a symbol (T.81, F.2.2.1).
    #[inline(always)]
    pub(super) fn value(&mut self, size: u32) -> i32 {
        let bits = self.take(size) as i32;
        if size > 0 && bits < 1 << (size - 1) {
            bits - (1 << size) + 1
        } else {
            bits
        }
    }

    /// One bit, anywhere.
    #[inline(always)]
    pub(super) fn bit(&mut self) -> bool {
        self.fill();
        let bit = self.buffer >> 63 != 0;
        self.drop(1);
        bit
    }
}
