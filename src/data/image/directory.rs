//! The first directory of a TIFF file, which EXIF blocks are as well.
//!
//! Source: TIFF 6.0, section 2.

/// The entries of a directory.
pub(super) struct Directory<'a> {
    tiff: &'a [u8],
    little: bool,
    start: usize,
    entries: usize,
}

impl<'a> Directory<'a> {
    /// The first directory of `tiff`; `None` where it is none.
    pub(super) fn first(tiff: &'a [u8]) -> Option<Self> {
        let little = match tiff.first_chunk()? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        let mut directory = Self {
            tiff,
            little,
            start: 0,
            entries: 0,
        };
        let at = directory.read(4, 4)?;
        directory.entries = directory.read(at, 2)?;
        directory.start = at + 2;
        Some(directory)
    }

    /// The number that the entry `tag` holds, the first one of several; `None` where there is no such
    /// entry, or none of numbers of 8, 16 or 32 bits.
    pub(super) fn number(&self, tag: usize) -> Option<usize> {
        let entry = self.entry(tag)?;
        let (bytes, count) = match self.read(entry + 2, 2)? {
            1 | 6 => (1, self.read(entry + 4, 4)?),
            3 | 8 => (2, self.read(entry + 4, 4)?),
            4 | 9 => (4, self.read(entry + 4, 4)?),
            _ => return None,
        };
        // More than four bytes stand elsewhere.
        let at = match count {
            0 => return None,
            _ if count > 4 / bytes => self.read(entry + 8, 4)?,
            _ => entry + 8,
        };
        self.read(at, bytes)
    }

    /// Whether there is an entry `tag`.
    pub(super) fn has(&self, tag: usize) -> bool {
        self.entry(tag).is_some()
    }

    /// Puts a number into the entry `tag`, which holds one of 16 bits, of a copy of the file; `None` where it does not.
    pub(super) fn replace(&self, tag: usize, number: u16, copy: &mut [u8]) -> Option<()> {
        let entry = self.entry(tag)?;
        if (self.read(entry + 2, 2)?, self.read(entry + 4, 4)?) != (3, 1) {
            return None;
        }
        let bytes = match self.little {
            true => number.to_le_bytes(),
            false => number.to_be_bytes(),
        };
        copy.get_mut(entry + 8..entry + 10)?.copy_from_slice(&bytes);
        Some(())
    }

    /// Where the entry `tag` begins.
    fn entry(&self, tag: usize) -> Option<usize> {
        (0..self.entries)
            .map(|i| self.start + 12 * i)
            .find(|entry| self.read(*entry, 2) == Some(tag))
    }

    /// A whole number of so many bytes.
    fn read(&self, at: usize, len: usize) -> Option<usize> {
        let bytes = self.tiff.get(at..at.checked_add(len)?)?.iter();
        let join = |sum: usize, byte: &u8| sum << 8 | usize::from(*byte);
        Some(match self.little {
            true => bytes.rev().fold(0, join),
            false => bytes.fold(0, join),
        })
    }
}
