//! Rows of floats computed once per sample, in memory or in a mapped temporary file.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;

use memmap2::MmapMut;
use serde::{Deserialize, Serialize};

use super::DataError;

/// The type in which features are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeaturePrecision {
    /// float32: as they were computed.
    #[default]
    F32,
    /// float16: half the room, rounded to 11 significant bits.
    F16,
}

impl fmt::Display for FeaturePrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FeaturePrecision::F32 => "f32",
            FeaturePrecision::F16 => "f16",
        })
    }
}

impl FromStr for FeaturePrecision {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        match name {
            "f32" => Ok(FeaturePrecision::F32),
            "f16" => Ok(FeaturePrecision::F16),
            _ => Err(DataError::option(
                "feature_precision",
                name,
                "expected f32 or f16",
            )),
        }
    }
}

/// Several float values per sample, each a row of fixed length.
///
/// Kept in memory if it fits the budget, else in a temporary file without a name, which the
/// system removes when the store is dropped or the process dies.
#[derive(Debug)]
pub struct FeatureStore {
    rows: usize,
    row_lens: Vec<usize>,
    /// Where each value's rows begin, in floats.
    offsets: Vec<usize>,
    store: Store,
}

#[derive(Debug)]
enum Store {
    Memory(Vec<f32>),
    Mapped(MmapMut),
}

const FLOAT: usize = size_of::<f32>();

impl FeatureStore {
    /// A store of zeros for `rows` samples and one value for each of `row_lens` (lengths in
    /// floats), held in memory if it takes at most `budget_bytes`, else in a file in `spill_dir`.
    ///
    /// # Errors
    /// When memory or the disk has no room for it: the whole file is allocated here, so that a
    /// disk that fills up later does no harm.
    pub fn new(
        rows: usize,
        row_lens: &[usize],
        budget_bytes: u64,
        spill_dir: &Path,
    ) -> Result<Self, DataError> {
        let mut offsets = Vec::with_capacity(row_lens.len());
        let mut end = Some(0_usize);
        for len in row_lens {
            offsets.push(end.unwrap_or(usize::MAX));
            end = end.and_then(|end| end.checked_add(rows.checked_mul(*len)?));
        }
        let bytes = end.and_then(|floats| floats.checked_mul(FLOAT));
        let (Some(floats), Some(bytes)) = (end, bytes) else {
            return Err(DataError::Spill {
                place: "memory".to_owned(),
                bytes: u64::MAX,
                source: io::ErrorKind::OutOfMemory.into(),
            });
        };
        let bytes = bytes as u64;
        let failed = |place: String| {
            move |source| DataError::Spill {
                place,
                bytes,
                source,
            }
        };
        let store = if bytes == 0 || bytes <= budget_bytes {
            in_memory(floats).map_err(failed("memory".to_owned()))?
        } else {
            in_file(bytes, spill_dir).map_err(failed(spill_dir.display().to_string()))?
        };
        Ok(Self {
            rows,
            row_lens: row_lens.to_vec(),
            offsets,
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
        match &self.store {
            Store::Memory(floats) => (floats.len() * FLOAT) as u64,
            Store::Mapped(map) => map.len() as u64,
        }
    }

    /// Whether the rows are in a file rather than in memory.
    pub fn is_spilled(&self) -> bool {
        matches!(self.store, Store::Mapped(_))
    }

    /// Stores row `row` of value number `value`.
    ///
    /// # Errors
    /// When there is no such value or row, or `data` is not as long as the value's rows.
    pub fn write(&mut self, value: usize, row: usize, data: &[f32]) -> Result<(), DataError> {
        let (start, len) = self.locate(value, row)?;
        check_len("a row", data.len(), len)?;
        match &mut self.store {
            Store::Memory(floats) => floats[start..start + len].copy_from_slice(data),
            Store::Mapped(map) => {
                let (bytes, _) = map[start * FLOAT..(start + len) * FLOAT].as_chunks_mut();
                for (bytes, float) in bytes.iter_mut().zip(data) {
                    *bytes = float.to_ne_bytes();
                }
            }
        }
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
            let (start, len) = self.locate(value, row)?;
            let out = &mut out[place * len..(place + 1) * len];
            match &self.store {
                Store::Memory(floats) => out.copy_from_slice(&floats[start..start + len]),
                Store::Mapped(map) => {
                    let (bytes, _) = map[start * FLOAT..(start + len) * FLOAT].as_chunks();
                    for (float, bytes) in out.iter_mut().zip(bytes) {
                        *float = f32::from_ne_bytes(*bytes);
                    }
                }
            }
        }
        Ok(())
    }

    /// The start and length of a row, in floats.
    fn locate(&self, value: usize, row: usize) -> Result<(usize, usize), DataError> {
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
        Ok((self.offsets[value] + row * len, len))
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

fn in_memory(floats: usize) -> io::Result<Store> {
    let mut store = Vec::new();
    store
        .try_reserve_exact(floats)
        .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    store.resize(floats, 0.0);
    Ok(Store::Memory(store))
}

#[allow(unsafe_code)]
fn in_file(bytes: u64, folder: &Path) -> io::Result<Store> {
    // Asked first, since a failing allocation may fill the disk for a moment.
    let available = fs4::available_space(folder)?;
    if available < bytes {
        return Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!("the disk has {available} bytes left"),
        ));
    }
    let file = tempfile::tempfile_in(folder)?;
    allocate(&file, bytes)?;
    // SAFETY: the file has no name and its handle is not shared, so nothing else can shorten or
    // change it while it is mapped, and its blocks are allocated.
    let map = unsafe { MmapMut::map_mut(&file)? };
    if map.len() as u64 != bytes {
        return Err(io::Error::other("the temporary file has the wrong length"));
    }
    Ok(Store::Mapped(map))
}

/// Gives the empty `file` `bytes` zeros with blocks on the disk: writing to a mapped page without
/// a block would end the process (SIGBUS) when the disk is full.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    match fs4::FileExt::allocate(file, bytes) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => write_zeros(file, bytes),
        other => other,
    }
}

/// For file systems that cannot allocate ahead.
fn write_zeros(mut file: &File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let chunk = left.min(zeros.len() as u64);
        file.write_all(&zeros[..chunk as usize])?;
        left -= chunk;
    }
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(budget: u64, folder: &Path) -> FeatureStore {
        let mut store = FeatureStore::new(5, &[3, 0, 2], budget, folder).unwrap();
        for row in 0..5 {
            let base = row as f32 * 10.0;
            store
                .write(0, row, &[base, base + 1.0, base + 2.0])
                .unwrap();
            store.write(1, row, &[]).unwrap();
            store.write(2, row, &[-base, 0.5 - base]).unwrap();
        }
        store
    }

    #[test]
    fn memory_and_file_give_equal_rows() {
        let folder = tempfile::tempdir().unwrap();
        let memory = filled(100, folder.path());
        let file = filled(99, folder.path());
        assert!(!memory.is_spilled() && file.is_spilled());
        assert_eq!((memory.bytes(), file.bytes()), (100, 100));
        for store in [&memory, &file] {
            let mut rows = [f32::NAN; 9];
            store.gather(0, &[4, 0, 4], &mut rows).unwrap();
            assert_eq!(rows, [40.0, 41.0, 42.0, 0.0, 1.0, 2.0, 40.0, 41.0, 42.0]);
            store.gather(1, &[4, 0, 4], &mut []).unwrap();
            let mut rows = [f32::NAN; 4];
            store.gather(2, &[1, 3], &mut rows).unwrap();
            assert_eq!(rows, [-10.0, -9.5, -30.0, -29.5]);
        }
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 0, "the spill file has no name");
    }

    #[test]
    fn writing_zeros_reserves_the_same_file_as_allocating() {
        let bytes = (1 << 20) + 17;
        for reserve in [allocate, write_zeros] {
            let file = tempfile::tempfile().unwrap();
            reserve(&file, bytes).unwrap();
            assert_eq!(file.metadata().unwrap().len(), bytes);
        }
    }

    #[test]
    fn a_disk_without_room_is_an_error_when_the_store_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let room = fs4::available_space(folder.path()).unwrap() as usize;
        let error = FeatureStore::new(2, &[room / FLOAT], 0, folder.path()).unwrap_err();
        assert!(matches!(error, DataError::Spill { .. }) && !error.is_bad_input());
        let text = error.to_string();
        assert!(
            text.contains(&folder.path().display().to_string()),
            "{text}"
        );
    }

    #[test]
    fn sizes_beyond_the_address_space_are_an_error() {
        for (rows, lens) in [
            (usize::MAX, &[2][..]),
            (usize::MAX / 4, &[4, 4][..]),
            (1 << 60, &[1][..]),
        ] {
            assert!(FeatureStore::new(rows, lens, u64::MAX, Path::new("/")).is_err());
        }
    }

    #[test]
    fn rows_values_and_lengths_that_do_not_exist_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = filled(100, folder.path());
        assert!(store.write(0, 5, &[0.0; 3]).is_err());
        assert!(store.write(3, 0, &[0.0; 3]).is_err());
        assert!(store.write(0, 0, &[0.0; 2]).is_err());
        assert!(store.gather(0, &[5], &mut [0.0; 3]).is_err());
        assert!(store.gather(3, &[0], &mut [0.0; 3]).is_err());
        assert!(store.gather(0, &[0], &mut [0.0; 4]).is_err());
        assert!(store.gather(1, &[9], &mut []).is_err());
    }

    #[test]
    fn an_empty_store_is_no_error() {
        let store = FeatureStore::new(0, &[7], 0, Path::new("/nowhere")).unwrap();
        assert_eq!(store.bytes(), 0);
        store.gather(0, &[], &mut []).unwrap();
    }
}
