//! Opening an `.npz` archive.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use zip::ZipArchive;

use super::super::DataError;
use super::super::error::regular;

pub(super) type Archive = ZipArchive<BufReader<File>>;

/// The signature of an entry of the central directory; see the ZIP specification (APPNOTE), 4.3.12.
const ENTRY: [u8; 4] = *b"PK\x01\x02";
/// Length of an entry before its name.
const HEAD: usize = 46;

/// Opens the archive `path`.
///
/// # Errors
/// When it cannot be read, is no archive, or has two arrays of one name: readers differ in which of
/// them they take.
pub(super) fn open_archive(path: &Path) -> Result<Archive, DataError> {
    let read = |source| DataError::read(path, source);
    regular(path, |reason| DataError::not_a_dataset(path, reason))?;
    let mut file = BufReader::new(File::open(path).map_err(read)?);
    let archive = Archive::new(BufReader::new(file.get_ref().try_clone().map_err(read)?))
        .map_err(|e| DataError::not_a_dataset(path, format!("not an .npz archive: {e}")))?;
    // The two readers share a position; the archive seeks before every entry that it opens.
    let twice = named_twice(&mut file, archive.central_directory_start()).map_err(read)?;
    match twice {
        Some([first, second]) => Err(DataError::not_a_dataset(
            path,
            format!(
                "it holds an array twice, as {first:?} and {second:?}; which of the two is meant is not known"
            ),
        )),
        None => Ok(archive),
    }
}

/// The two names of the first array that the central directory at `start` has twice.
fn named_twice(file: &mut (impl Read + Seek), start: u64) -> io::Result<Option<[String; 2]>> {
    file.seek(SeekFrom::Start(start))?;
    let mut seen = HashMap::new();
    let mut head = [0; HEAD];
    loop {
        match file.read_exact(&mut head) {
            Ok(()) if head.starts_with(&ENTRY) => {}
            Ok(()) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let length = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let mut name = vec![0; usize::from(length(28))];
        file.read_exact(&mut name)?;
        file.seek_relative(i64::from(length(30)) + i64::from(length(32)))?;
        let name = String::from_utf8_lossy(&name).into_owned();
        // NumPy gives both `x` and `x.npy` as the array `x`.
        let array = name.strip_suffix(".npy").unwrap_or(&name).to_owned();
        if let Some(first) = seen.insert(array, name.clone()) {
            return Ok(Some([first, name]));
        }
    }
}
