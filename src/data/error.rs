//! What can go wrong with data.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use super::limits::show_bytes;
use super::parts::Part;

/// An error of the data room, naming the file, row, class or flag at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An image is corrupt, too large or of an unsupported format.
    #[error("cannot use image {}: {reason}", path.display())]
    Image {
        /// The image file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The path is neither an image folder nor an `.npz` file, or its content is unfit as a whole.
    #[error("cannot use {} as a data set: {reason}", path.display())]
    NotADataset {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A class has samples in a given part, and none to train on.
    #[error("class {class:?} has samples in the part {part}, and none to train on")]
    Untrained {
        /// The class.
        class: String,
        /// The part that has them.
        part: Part,
    },
    /// The samples take more memory than they may.
    #[error(
        "the {samples} samples of {} take {} of memory, but {} may be used for them",
        path.display(), show_bytes(*.bytes), show_bytes(*.limit)
    )]
    TooLarge {
        /// The folder or file.
        path: PathBuf,
        /// How many samples it has.
        samples: usize,
        /// The bytes that they take.
        bytes: u64,
        /// The bytes that they may take.
        limit: u64,
    },
    /// The system gives no threads.
    #[error("cannot begin {threads} threads for the data")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// Why.
        source: rayon::ThreadPoolBuildError,
    },
    /// A class folder holds no usable image.
    #[error("class {class:?} of {} has no usable image{}", path.display(), first_skip(.first_skipped))]
    EmptyClass {
        /// The data set's folder.
        path: PathBuf,
        /// The class, which is the name of its folder.
        class: String,
        /// The first file that was skipped in it, with the reason, if any.
        first_skipped: Option<String>,
    },
    /// A list of samples cannot be used.
    #[error("list {}{}: {reason}", path.display(), of_line(.line))]
    List {
        /// The list.
        path: PathBuf,
        /// The line at fault, counted from 1, if it is one.
        line: Option<u64>,
        /// What is wrong with it.
        reason: String,
    },
    /// Samples that belong together are in several given parts.
    #[error(
        "the group {group:?} has samples in the part {first} ({sample}) and in the part {second} ({other})"
    )]
    Straddles {
        /// The group.
        group: String,
        /// A part.
        first: Part,
        /// A sample in it.
        sample: String,
        /// Another part.
        second: Part,
        /// A sample in that.
        other: String,
    },
    /// The samples of a class belong to too few groups to be split as asked.
    #[error(
        "the samples of class {class:?} are of {groups} groups, which stay together, but the split asked for needs at \
         least {needed} per class"
    )]
    TooFewGroups {
        /// The class.
        class: String,
        /// How many groups it has.
        groups: usize,
        /// How many it needs.
        needed: usize,
    },
    /// An array of an `.npz` file is missing, damaged or of the wrong type or shape.
    #[error("array {array:?} of {}: {reason}", path.display())]
    Array {
        /// The `.npz` file.
        path: PathBuf,
        /// The array's name, without `.npy`.
        array: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A row of an array of an `.npz` file holds an unusable value.
    #[error("array {array:?} of {}, row {row}: {reason}", path.display())]
    Row {
        /// The `.npz` file.
        path: PathBuf,
        /// The array's name, without `.npy`.
        array: &'static str,
        /// The row, counted from 0.
        row: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// An option is outside its range.
    #[error("{option} = {value}: {reason}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// The value given.
        value: String,
        /// What is expected.
        reason: String,
    },
    /// A class has too few samples to be split as asked.
    #[error(
        "class {class:?} has {count} usable samples, but the split asked for needs at least {needed} per class"
    )]
    ClassTooSmall {
        /// The class's name, or its number where no name is known.
        class: String,
        /// How many samples it has.
        count: usize,
        /// How many it needs.
        needed: usize,
    },
    /// A split file does not fit the data set.
    #[error("split file {}: {reason}", path.display())]
    SplitFile {
        /// The split file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The cached features can be kept neither in memory nor on disk.
    #[error("cannot keep {bytes} bytes of cached features in {place}")]
    Spill {
        /// The folder of the temporary file, or "memory".
        place: String,
        /// The size asked for, in bytes.
        bytes: u64,
        /// Why.
        source: io::Error,
    },
    /// Decoded images cannot be kept on the disk.
    #[error("cannot keep decoded images ({}) in {}", show_bytes(*.bytes), folder.display())]
    Pixels {
        /// The folder.
        folder: PathBuf,
        /// The bytes that they take.
        bytes: u64,
        /// Why.
        source: io::Error,
    },
    /// The caller asked to stop.
    #[error("stopped")]
    Stopped,
    /// A caller asked for a sample, row or value that does not exist.
    #[error("{what} {index} is outside 0..{len}")]
    Index {
        /// What was indexed.
        what: &'static str,
        /// The index asked for.
        index: usize,
        /// How many there are.
        len: usize,
    },
    /// A caller's buffer has the wrong length.
    #[error("the buffer for {what} holds {actual} elements, expected {expected}")]
    BufferLength {
        /// What the buffer is for.
        what: &'static str,
        /// Its length, in elements.
        actual: usize,
        /// The length needed, in elements.
        expected: usize,
    },
}

fn of_line(line: &Option<u64>) -> String {
    line.map_or_else(String::new, |line| format!(", line {line}"))
}

fn first_skip(skipped: &Option<String>) -> String {
    match skipped {
        Some(text) => format!(" (the first file skipped: {text})"),
        None => " (it holds no files)".to_owned(),
    }
}

impl DataError {
    /// Whether the user's file or option is at fault (exit code 2) rather than the machine or the
    /// program (exit code 1).
    pub fn is_bad_input(&self) -> bool {
        match self {
            DataError::Read { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::PermissionDenied
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::IsADirectory
            ),
            DataError::Image { .. }
            | DataError::NotADataset { .. }
            | DataError::Untrained { .. }
            | DataError::List { .. }
            | DataError::Straddles { .. }
            | DataError::TooFewGroups { .. }
            | DataError::TooLarge { .. }
            | DataError::EmptyClass { .. }
            | DataError::Array { .. }
            | DataError::Row { .. }
            | DataError::Option { .. }
            | DataError::ClassTooSmall { .. }
            | DataError::SplitFile { .. } => true,
            DataError::Stopped
            | DataError::Write { .. }
            | DataError::Threads { .. }
            | DataError::Spill { .. }
            | DataError::Pixels { .. }
            | DataError::Index { .. }
            | DataError::BufferLength { .. } => false,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            DataError::ClassTooSmall { .. } => Some(
                "leave classes with fewer images out with --min-per-class, add images to them, or \
                 ask for fewer parts (--search-fraction 0 for no search, --train-fraction 1 to hold \
                 nothing out)",
            ),
            DataError::Untrained { .. } => Some(
                "put some of them where the others are trained on, or leave the class out of the other parts",
            ),
            DataError::Straddles { .. } => Some(
                "what belongs together has to be in one part; leave the groups out (--group-column none, no \
                 --group-by) where they are not meant so",
            ),
            DataError::TooFewGroups { .. } => Some(
                "ask for fewer parts (--search-fraction 0 for no search, --train-fraction 1 to hold nothing out), or \
                 leave the class out",
            ),
            DataError::EmptyClass { .. } => Some(
                "take the folder away, or leave classes without a usable image out with \
                 --min-per-class 1",
            ),
            DataError::TooLarge { .. } => Some(
                "keep images on the disk (--image-cache disk), use smaller ones (--image-size) or fewer, \
                 or raise --memory-budget where the memory is there",
            ),
            _ => None,
        }
    }

    pub(super) fn read(path: &Path, source: io::Error) -> Self {
        DataError::Read {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn write(path: &Path, source: io::Error) -> Self {
        DataError::Write {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn image(path: &Path, reason: impl ToString) -> Self {
        DataError::Image {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// An image whose file is not what it was when the data set was opened.
    pub(super) fn changed(path: &Path) -> Self {
        Self::image(path, "it has changed since it was first read")
    }

    pub(super) fn not_a_dataset(path: &Path, reason: impl ToString) -> Self {
        DataError::NotADataset {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub(super) fn list(path: &Path, line: Option<u64>, reason: impl ToString) -> Self {
        DataError::List {
            path: path.to_owned(),
            line,
            reason: reason.to_string(),
        }
    }

    pub(super) fn array(path: &Path, array: &'static str, reason: impl ToString) -> Self {
        DataError::Array {
            path: path.to_owned(),
            array,
            reason: reason.to_string(),
        }
    }

    pub(super) fn option(
        option: &'static str,
        value: impl ToString,
        reason: impl ToString,
    ) -> Self {
        DataError::Option {
            option,
            value: value.to_string(),
            reason: reason.to_string(),
        }
    }

    pub(super) fn split_file(path: &Path, reason: impl ToString) -> Self {
        DataError::SplitFile {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// The metadata of a file that can be read to its end; `refuse` makes the error of another. To open a
/// pipe waits for its writer, and a device may have no end.
pub(super) fn regular(
    path: &Path,
    refuse: impl FnOnce(&'static str) -> DataError,
) -> Result<Metadata, DataError> {
    let metadata = std::fs::metadata(path).map_err(|e| DataError::read(path, e))?;
    match metadata.is_file() {
        true => Ok(metadata),
        false => Err(refuse("not a regular file")),
    }
}
