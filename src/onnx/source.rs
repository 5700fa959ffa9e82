//! Files on the way into memory: what has been read of one, nobody else can change.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Take};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use memmap2::{Mmap, MmapMut};

use super::OnnxError;
use super::values::Failed;
use super::wire::large_weights;

/// Bytes from which a copy lies in a nameless file, where the system may take it out of memory.
const LARGE: u64 = 1 << 20;
/// Bytes from which an outline leaves a weight out.
pub(super) const LARGE_WEIGHT: u64 = 1 << 16;

/// A file that is open, and what told it from others then.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    file: File,
    stamp: Stamp,
}

/// What differs, as a rule, between a file and its changed self.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
    /// Device, number, and time of the last change of any kind.
    identity: [i64; 4],
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        #[cfg(unix)]
        let identity = {
            use std::os::unix::fs::MetadataExt;
            [
                meta.dev() as i64,
                meta.ino() as i64,
                meta.ctime(),
                meta.ctime_nsec(),
            ]
        };
        #[cfg(not(unix))]
        let identity = [0; 4];
        Stamp {
            len: meta.len(),
            modified: meta.modified().ok(),
            identity,
        }
    }
}

/// A private copy of a part of a file.
#[derive(Clone, Debug)]
pub(super) struct Copied {
    pub bytes: Bytes,
    /// The mapped file in which it lies, if it does.
    pub map: Option<Arc<Mmap>>,
}

/// A file without the data of large tensors.
pub(super) struct Outline {
    /// As many bytes as the file has: zeros where something is left out.
    pub bytes: Bytes,
    /// Where that is, in order.
    pub left_out: Vec<Range<u64>>,
}

/// Zeros that take no memory until they are read.
pub(super) fn zeros(length: u64) -> io::Result<Bytes> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok(Bytes::from_owner(
        MmapMut::map_anon(length)?.make_read_only()?,
    ))
}

/// Lets the operating system take what is mapped out of memory until it is read again.
#[allow(unsafe_code)]
pub(super) fn release(map: &Mmap) {
    #[cfg(unix)]
    // SAFETY: the map is of a file and never written, so that what is taken out of memory is read from
    // the file again. An error means that nothing was taken out.
    let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
    #[cfg(not(unix))]
    let _ = map;
}

/// A map among whose owners is the memory borrowed from it.
struct Shared(Arc<Mmap>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Source {
    /// Opens a regular file.
    pub(super) fn open(path: &Path) -> Result<Self, OnnxError> {
        let fail = |source| OnnxError::Read {
            path: path.to_owned(),
            source,
        };
        // Opening a pipe would wait for its writer.
        if !std::fs::metadata(path).map_err(fail)?.is_file() {
            return Err(OnnxError::NotAFile {
                path: path.to_owned(),
            });
        }
        let file = File::open(path).map_err(fail)?;
        let stamp = Stamp::of(&file.metadata().map_err(fail)?);
        Ok(Source {
            path: path.to_owned(),
            file,
            stamp,
        })
    }

    pub(super) fn len(&self) -> u64 {
        self.stamp.len
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// A copy of `range`, which must lie inside the file.
    ///
    /// # Errors
    /// When it cannot be read, or the file is changed meanwhile.
    pub(super) fn copy(&self, range: Range<u64>) -> Result<Copied, OnnxError> {
        let len = range.end - range.start;
        let copied = match len < LARGE {
            true => None,
            // Without room for the copy, memory has to do.
            false => self.copy_to_file(range.clone()).ok(),
        };
        let copied = match copied {
            Some(copied) => copied,
            None => self.read(range).map_err(|e| self.failed(e))?,
        };
        match copied.bytes.len() as u64 == len {
            true => self.unchanged().map(|()| copied),
            false => Err(self.changed()),
        }
    }

    /// Zeros in place of the raw data of large tensors, else a copy of the whole file. It takes no
    /// more memory than what is read.
    ///
    /// # Errors
    /// As [`Source::copy`].
    pub(super) fn outline(&self) -> Result<Outline, OnnxError> {
        let len = self.len();
        let read = || -> io::Result<Outline> {
            let mut file = &self.file;
            let mut outline = MmapMut::map_anon(usize::try_from(len).unwrap_or(usize::MAX))?;
            let mut from = 0;
            let left_out = large_weights(file, len, LARGE_WEIGHT)?;
            for weight in left_out.iter().chain(std::iter::once(&(len..len))) {
                file.seek(SeekFrom::Start(from))?;
                file.read_exact(&mut outline[from as usize..weight.start as usize])?;
                from = weight.end;
            }
            let bytes = Bytes::from_owner(outline.make_read_only()?);
            Ok(Outline { bytes, left_out })
        };
        match len < LARGE_WEIGHT {
            true => self.copy(0..len).map(|copied| Outline {
                bytes: copied.bytes,
                left_out: Vec::new(),
            }),
            false => {
                let outline = read().map_err(|e| self.failed(e))?;
                self.unchanged().map(|()| outline)
            }
        }
    }

    /// Whether both are the same file, as it was at the same time.
    pub(super) fn is_same(&self, other: &Source) -> bool {
        self.stamp == other.stamp && self.path == other.path
    }

    /// Fills `buffer` with what stands at `at`.
    ///
    /// # Errors
    /// When it cannot be read, or the file has become shorter.
    pub(super) fn read_exact_at(&self, at: u64, buffer: &mut [u8]) -> Result<(), OnnxError> {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_exact_at(&self.file, buffer, at);
        #[cfg(not(unix))]
        let read = self
            .part(at..at + buffer.len() as u64)
            .and_then(|mut part| part.read_exact(buffer));
        read.map_err(|e| self.failed(e))
    }

    /// Appends `range` to another file, from file to file where the system can.
    pub(super) fn copy_to(&self, range: Range<u64>, to: &mut File) -> Result<(), Failed> {
        let len = range.end - range.start;
        let mut part = self.part(range).map_err(|e| Failed::Read(self.failed(e)))?;
        match io::copy(&mut part, to).map_err(Failed::Write)? == len {
            true => Ok(()),
            false => Err(Failed::Read(self.changed())),
        }
    }

    /// Fails if the file that is open, or the one that has its path now, is not what it was.
    ///
    /// # Errors
    /// [`OnnxError::Changed`], or when it cannot be read.
    pub(super) fn ensure_unchanged(&self) -> Result<(), OnnxError> {
        self.unchanged()?;
        match Source::open(&self.path)?.stamp == self.stamp {
            true => Ok(()),
            false => Err(self.changed()),
        }
    }

    /// Whether `range` of the file is `bytes`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn holds(&self, range: Range<u64>, bytes: &[u8]) -> Result<bool, OnnxError> {
        let mut file = self.part(range).map_err(|e| self.failed(e))?;
        let mut buffer = vec![0; 1 << 16];
        let mut rest = bytes;
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(rest.is_empty()),
                Ok(n) => match rest.split_at_checked(n) {
                    Some((head, tail)) if head == &buffer[..n] => rest = tail,
                    _ => return Ok(false),
                },
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    fn part(&self, range: Range<u64>) -> io::Result<Take<&File>> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(range.start))?;
        Ok(file.take(range.end - range.start))
    }

    fn read(&self, range: Range<u64>) -> io::Result<Copied> {
        let mut bytes = Vec::new();
        let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        bytes.try_reserve_exact(len)?;
        self.part(range)?.read_to_end(&mut bytes)?;
        Ok(Copied {
            bytes: bytes.into(),
            map: None,
        })
    }

    #[allow(unsafe_code)]
    fn copy_to_file(&self, range: Range<u64>) -> io::Result<Copied> {
        let mut copy = nameless_file()?;
        io::copy(&mut self.part(range)?, &mut copy)?;
        // SAFETY: the map is read-only, and the file has no name by which others could open and
        // change it.
        let map = Arc::new(unsafe { Mmap::map(&copy) }?);
        Ok(Copied {
            bytes: Bytes::from_owner(Shared(Arc::clone(&map))),
            map: Some(map),
        })
    }

    fn unchanged(&self) -> Result<(), OnnxError> {
        let meta = self.file.metadata().map_err(|e| self.failed(e))?;
        match Stamp::of(&meta) == self.stamp {
            true => Ok(()),
            false => Err(self.changed()),
        }
    }

    fn changed(&self) -> OnnxError {
        OnnxError::Changed {
            path: self.path.clone(),
        }
    }

    pub(super) fn failed(&self, source: io::Error) -> OnnxError {
        match source.kind() {
            // It was longer a moment ago.
            ErrorKind::UnexpectedEof => self.changed(),
            _ => OnnxError::Read {
                path: self.path.clone(),
                source,
            },
        }
    }
}

/// A temporary file for what may be large: in TMPDIR, else in /var/tmp, which is on a disk where /tmp
/// may be in memory, else where the system keeps such files.
fn nameless_file() -> io::Result<File> {
    match std::env::var_os("TMPDIR") {
        None if cfg!(unix) => tempfile::tempfile_in("/var/tmp").or_else(|_| tempfile::tempfile()),
        _ => tempfile::tempfile(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(len: usize) -> (tempfile::TempDir, PathBuf, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        (folder, path, bytes)
    }

    #[test]
    fn a_copy_outlives_whatever_happens_to_its_file() {
        for len in [100, LARGE as usize + 3] {
            let (_folder, path, bytes) = file(len);
            let copy = Source::open(&path).unwrap().copy(0..len as u64).unwrap();
            assert_eq!(copy.map.is_some(), len as u64 >= LARGE);
            File::create(&path).unwrap();
            assert_eq!(copy.bytes, bytes);
        }
    }

    #[test]
    fn a_change_while_a_file_is_read_is_noticed() {
        let (_folder, path, bytes) = file(LARGE as usize + 3);
        let source = Source::open(&path).unwrap();
        let part = source.copy(10..20).unwrap();
        assert_eq!(part.bytes, bytes[10..20]);
        assert!(source.holds(10..20, &part.bytes).unwrap());
        assert!(!source.holds(11..21, &part.bytes).unwrap());
        assert!(!source.holds(10..19, &part.bytes).unwrap());
        std::fs::write(&path, b"shorter").unwrap();
        for range in [0..source.len(), 10..20] {
            let error = source.copy(range).unwrap_err();
            assert!(matches!(error, OnnxError::Changed { .. }), "{error}");
        }
    }
}
