//! Room on a disk.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Gives the empty `file`, which lies in `folder`, `bytes` zeros with blocks on the disk: writing to a
/// mapped page without a block would end the process (SIGBUS) when the disk is full.
///
/// # Errors
/// When the disk has no room for them.
pub(super) fn allocate(file: &File, folder: &Path, bytes: u64) -> io::Result<()> {
    // Asked first, since a failing allocation may fill the disk for a moment.
    let available = fs4::available_space(folder)?;
    if available < bytes {
        return Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!("the disk has {available} bytes left"),
        ));
    }
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

    #[test]
    fn writing_zeros_reserves_the_same_file_as_allocating() {
        let bytes = (1 << 20) + 17;
        let folder = tempfile::tempdir().unwrap();
        let [allocated, zeros] = [(); 2].map(|()| tempfile::tempfile_in(folder.path()).unwrap());
        allocate(&allocated, folder.path(), bytes).unwrap();
        write_zeros(&zeros, bytes).unwrap();
        for file in [allocated, zeros] {
            assert_eq!(file.metadata().unwrap().len(), bytes);
        }
    }
}
