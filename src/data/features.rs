//! Rows of floats computed once per sample, in memory or in a mapped temporary file.

use std::io;
use std::ops::Range;
use std::path::Path;

use memmap2::MmapMut;

use super::budget::Reservation;
use super::space::allocate;
use super::{DataError, FeaturePrecision, MemoryBudget};

/// Several float values per sample, each a row of fixed length.
///
/// Kept in memory if it fits what is left of the budget, else in a temporary file without a name,
/// which the system removes when the store is dropped or the process dies. The file is mapped, but
/// on Linux none of its pages is counted as memory of the process between calls.
#[derive(Debug)]
pub struct FeatureStore {
    rows: usize,
    row_lens: Vec<usize>,
    /// Where each value's rows begin, in values.
    offsets: Vec<usize>,
    precision: FeaturePrecision,
    store: Store,
}

#[derive(Debug)]
enum Store {
    Memory {
        bytes: MmapMut,
        _share: Option<Reservation>,
    },
    Mapped(MmapMut),
}

impl FeatureStore {
    /// A store of zeros for `rows` samples and one value for each of `row_lens` (lengths in
    /// floats), held in memory if `budget` has room for it, else in a file in `spill_dir`.
    ///
    /// # Errors
    /// When memory or the disk has no room for it: the whole file is allocated here, so that a
    /// disk that fills up later does no harm.
    pub fn new(
        rows: usize,
        row_lens: &[usize],
        precision: FeaturePrecision,
        budget: &MemoryBudget,
        spill_dir: &Path,
    ) -> Result<Self, DataError> {
        let mut offsets = Vec::with_capacity(row_lens.len());
        let mut end = Some(0_usize);
        for len in row_lens {
            offsets.push(end.unwrap_or(usize::MAX));
            end = end.and_then(|end| end.checked_add(rows.checked_mul(*len)?));
        }
        let Some(len) = end.and_then(|values| values.checked_mul(precision.size())) else {
            return Err(DataError::Spill {
                place: "memory".to_owned(),
                bytes: u64::MAX,
                source: io::ErrorKind::OutOfMemory.into(),
            });
        };
        let bytes = len as u64;
        let failed = |place: String| {
            move |source| DataError::Spill {
                place,
                bytes,
                source,
            }
        };
        let share = budget.reserve(bytes);
        let store = if bytes == 0 || share.is_some() {
            in_memory(len, share).map_err(failed("memory".to_owned()))?
        } else {
            in_file(bytes, spill_dir).map_err(failed(spill_dir.display().to_string()))?
        };
        Ok(Self {
            rows,
            row_lens: row_lens.to_vec(),
            offsets,
            precision,
            store,
        })
    }

    /// The number of samples.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The length of a row of each value, in floats.
    pub fn row_lens(&self) -> &[usize] {
        &self.row_lens
    }

    /// The size of the whole, in bytes.
    pub fn bytes(&self) -> u64 {
        self.content().len() as u64
    }

    /// Whether the rows are in a file rather than in memory.
    pub fn is_spilled(&self) -> bool {
        matches!(self.store, Store::Mapped(_))
    }

    fn content(&self) -> &[u8] {
        match &self.store {
            Store::Memory { bytes, .. } => bytes,
            Store::Mapped(map) => map,
        }
    }

    /// Stores row `row` of value number `value`.
    ///
    /// # Errors
    /// When there is no such value or row, or `data` is not as long as the value's rows.
    pub fn write(&mut self, value: usize, row: usize, data: &[f32]) -> Result<(), DataError> {
        let (range, len) = self.locate(value, row)?;
        check_len("a row", data.len(), len)?;
        let content = match &mut self.store {
            Store::Memory { bytes, .. } => &mut bytes[..],
            Store::Mapped(map) => map,
        };
        self.precision.encode(data, &mut content[range.clone()]);
        self.give_back(range);
        Ok(())
    }

    /// Copies the rows `rows` of value number `value` one after the other into `out`.
    ///
    /// # Errors
    /// When there is no such value or row, or `out` does not hold exactly these rows.
    pub fn gather(&self, value: usize, rows: &[usize], out: &mut [f32]) -> Result<(), DataError> {
        let len = *self
            .row_lens
            .get(value)
            .ok_or_else(|| self.no_value(value))?;
        check_len("gathered rows", out.len(), rows.len() * len)?;
        for (place, &row) in rows.iter().enumerate() {
            let (range, _) = self.locate(value, row)?;
            let out = &mut out[place * len..(place + 1) * len];
            self.precision.decode(&self.content()[range.clone()], out);
            self.give_back(range);
        }
        Ok(())
    }

    /// Says that these rows are gathered soon, so that the system reads those in a file meanwhile.
    pub fn expect(&self, rows: &[usize]) {
        // A wish: where the system cannot, a row is read when it is gathered.
        #[cfg(unix)]
        if let Store::Mapped(map) = &self.store {
            let ranges = (0..self.row_lens.len())
                .flat_map(|value| rows.iter().map(move |&row| self.locate(value, row)));
            for (range, _) in ranges.flatten() {
                let _ = map.advise_range(memmap2::Advice::WillNeed, range.start, range.len());
            }
        }
        #[cfg(not(unix))]
        let _ = rows;
    }

    /// Lets go of the pages of a mapped file that hold these bytes; what was written to them is in
    /// the file. This is advice: where it fails, the pages merely stay.
    #[allow(unsafe_code)]
    fn give_back(&self, range: Range<usize>) {
        #[cfg(target_os = "linux")]
        if let Store::Mapped(map) = &self.store {
            let advice = memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: the map is a shared one of a file, of which this advice loses nothing: the
            // next access, by whichever thread, maps the page of the file again with all that was
            // written to it.
            let _ = unsafe { map.unchecked_advise_range(advice, range.start, range.len()) };
        }
        #[cfg(not(target_os = "linux"))]
        let _ = range;
    }

    /// The place of a row in bytes, and its length in floats.
    fn locate(&self, value: usize, row: usize) -> Result<(Range<usize>, usize), DataError> {
        let len = *self
            .row_lens
            .get(value)
            .ok_or_else(|| self.no_value(value))?;
        if row >= self.rows {
            return Err(DataError::Index {
                what: "feature row",
                index: row,
                len: self.rows,
            });
        }
        let start = self.offsets[value] + row * len;
        let size = self.precision.size();
        Ok((start * size..(start + len) * size, len))
    }

    fn no_value(&self, value: usize) -> DataError {
        DataError::Index {
            what: "feature value",
            index: value,
            len: self.row_lens.len(),
        }
    }
}

fn check_len(what: &'static str, actual: usize, expected: usize) -> Result<(), DataError> {
    if actual == expected {
        return Ok(());
    }
    Err(DataError::BufferLength {
        what,
        actual,
        expected,
    })
}

fn in_memory(len: usize, share: Option<Reservation>) -> io::Result<Store> {
    let bytes = MmapMut::map_anon(len)?;
    // Rows are written and read once or a few times, so that small pages would cost a good part of
    // the time. Only a wish: systems without large pages do without.
    #[cfg(target_os = "linux")]
    let _ = bytes.advise(memmap2::Advice::HugePage);
    Ok(Store::Memory {
        bytes,
        _share: share,
    })
}

#[allow(unsafe_code)]
fn in_file(bytes: u64, folder: &Path) -> io::Result<Store> {
    let file = tempfile::tempfile_in(folder)?;
    allocate(&file, folder, bytes)?;
    // SAFETY: the file has no name and its handle is not shared, so nothing else can shorten or
    // change it while it is mapped, and its blocks are allocated.
    let map = unsafe { MmapMut::map_mut(&file)? };
    if map.len() as u64 != bytes {
        return Err(io::Error::other("the temporary file has the wrong length"));
    }
    Ok(Store::Mapped(map))
}

#[cfg(test)]
mod tests;
