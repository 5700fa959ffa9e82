//! Samples and labels from a NumPy `.npz` file.
//!
//! Source of the format: NumPy's `numpy.lib.format`; an `.npz` file is a zip archive of `.npy`
//! files. Nothing is allocated by what a header claims before the archive's own sizes agree, nor by
//! what those claim where the compressed bytes cannot hold it.

mod archive;
mod header;

use std::io::Read;
use std::path::Path;

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use zip::result::ZipError;

use crate::hex;

use super::dataset::{Dataset, Limits, OpenOptions, Samples, Workers, reserve};
use super::{DataError, copies, seen};
use archive::{Archive, open_archive};
use header::{Header, excerpt};

/// How many bytes one compressed byte stands for at most, in zip's "deflate".
const MAX_INFLATION: u64 = 1032;
/// ImageNet-21k, the largest set of classes in common use, has 21,841.
const MAX_CLASSES: usize = 1 << 16;

/// See [`Dataset::open`].
pub(super) fn open(
    path: &Path,
    options: &OpenOptions<'_>,
    limits: &Limits,
) -> Result<Dataset, DataError> {
    if limits.min_per_class > 0 {
        return Err(DataError::option(
            "min_per_class",
            limits.min_per_class,
            "the data are arrays; only classes of a folder can be left out",
        ));
    }
    let mut archive = open_archive(path)?;
    let want = [options.channels, options.height, options.width];
    let names = ["channels", "height", "width"];
    if let Some((option, side)) = names.into_iter().zip(want).find(|(_, side)| *side == 0) {
        return Err(DataError::option(option, side, "expected at least 1"));
    }

    let (rows, labels) = read_labels(&mut archive, path, limits)?;
    let row_bytes = want
        .iter()
        .fold(size_of::<f32>(), |n, side| n.saturating_mul(*side));
    limits.check(path, rows, row_bytes)?;
    let values = read_samples(&mut archive, path, rows, want)?;
    let classes = count_classes(path, &labels)?;

    let mut digest = Sha256::new();
    for side in want {
        digest.update((side as u64).to_le_bytes());
    }
    labels
        .iter()
        .for_each(|label| digest.update(label.to_le_bytes()));
    values
        .iter()
        .for_each(|value| digest.update(value.to_le_bytes()));
    let workers = Workers::new(limits.threads)?;
    let rows = values.par_chunks_exact(want.iter().product());
    let digests: Vec<[u8; 32]> = workers.install(|| rows.map(row_digest).collect());
    let groups = copies::groups(&digests);
    let mut notes: Vec<String> = absent_labels(&labels, classes).into_iter().collect();
    notes.extend(copies::note(&groups, &labels, |i| format!("x[{i}]")));
    Ok(Dataset {
        classes: (0..classes).map(|class| class.to_string()).collect(),
        labels,
        names: Vec::new(),
        digests: digests.iter().map(seen::shortened).collect(),
        groups,
        skipped: Vec::new(),
        notes,
        fingerprint: hex::encode(digest.finalize()),
        shape: want,
        samples: Samples::Arrays(values),
        workers,
    })
}

fn row_digest(row: &[f32]) -> [u8; 32] {
    let mut digest = Sha256::new();
    let mut bytes = [0; 4096];
    for values in row.chunks(bytes.len() / 4) {
        let bytes = &mut bytes[..4 * values.len()];
        for (bytes, value) in bytes.chunks_exact_mut(4).zip(values) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        digest.update(bytes);
    }
    digest.finalize().into()
}

/// A sentence for people on the labels below the largest that no row has.
fn absent_labels(labels: &[i64], classes: usize) -> Option<String> {
    const NAMED: usize = 5;
    let mut present = vec![false; classes];
    for &label in labels {
        if let Some(present) = usize::try_from(label).ok().and_then(|l| present.get_mut(l)) {
            *present = true;
        }
    }
    let absent: Vec<String> = (0..classes)
        .filter(|&class| !present[class])
        .map(|class| class.to_string())
        .collect();
    let first = absent.first()?;
    let mut text = match absent.len() {
        1 => format!("no row of \"y\" has the label {first}"),
        count => {
            let named = absent.iter().take(NAMED).cloned().collect::<Vec<_>>();
            let more = if count > NAMED { ", …" } else { "" };
            format!(
                "{count} labels have no row in \"y\": {}{more}",
                named.join(", ")
            )
        }
    };
    text.push_str(match first.as_str() {
        "0" => {
            "; labels are counted from 0. If these are counted from 1, subtract 1: as they are, a class \
             0 is made that nothing is known of"
        }
        _ => "; a new head has a class for each, which nothing is known of",
    });
    Some(text)
}

/// Channels, height and width of the samples `x` of an `.npz` file.
///
/// # Errors
/// When the file is no `.npz` archive, or its `x` has not four dimensions.
pub fn npz_sample_shape(path: &Path) -> Result<[usize; 3], DataError> {
    let mut archive = open_archive(path)?;
    let array = Array::open(&mut archive, path, "x")?;
    match *array.shape.as_slice() {
        [_, c, h, w] => Ok([c, h, w]),
        _ => Err(array.error(format!(
            "its shape is {:?}, expected [N, C, H, W]",
            array.shape
        ))),
    }
}

fn read_labels(
    archive: &mut Archive,
    path: &Path,
    limits: &Limits,
) -> Result<(usize, Vec<i64>), DataError> {
    let array = Array::open(archive, path, "y")?;
    let &[rows] = array.shape.as_slice() else {
        return Err(array.error(format!("its shape is {:?}, expected [N]", array.shape)));
    };
    // Not more than are there: what is claimed beyond is found when they are read.
    let held = usize::try_from(array.payload_bytes / 4).map_or(rows, |labels| labels.min(rows));
    limits.check(path, held, size_of::<i64>())?;
    let labels: Vec<i64> = match array.kind.as_str() {
        "<i8" => array.read(i64::from_le_bytes)?,
        "<i4" => array.read(|bytes| i64::from(i32::from_le_bytes(bytes)))?,
        _ => return Err(array.wrong_type("int64 or int32")),
    };
    match labels.iter().position(|label| *label < 0) {
        Some(row) => Err(DataError::Row {
            path: path.to_owned(),
            array: "y",
            row,
            reason: format!("label {} is negative", labels[row]),
        }),
        None => Ok((rows, labels)),
    }
}

fn read_samples(
    archive: &mut Archive,
    path: &Path,
    rows: usize,
    want: [usize; 3],
) -> Result<Vec<f32>, DataError> {
    let array = Array::open(archive, path, "x")?;
    let &[samples, ref sample @ ..] = array.shape.as_slice() else {
        return Err(array.error("it is a single number, expected shape [N, C, H, W]"));
    };
    if sample != want {
        let [c, h, w] = want;
        let shape = &array.shape;
        return Err(array.error(format!(
            "its shape is {shape:?}, expected [N, {c}, {h}, {w}]"
        )));
    }
    if samples != rows {
        return Err(array.error(format!("it has {samples} rows, but \"y\" has {rows}")));
    }
    let fortran = array.fortran;
    let values: Vec<f32> = match array.kind.as_str() {
        "<f4" => array.read(f32::from_le_bytes)?,
        "<f8" => array.read(|bytes| f64::from_le_bytes(bytes) as f32)?,
        _ => return Err(array.wrong_type("float32 or float64")),
    };
    let values = if fortran {
        from_fortran(path, &values, rows, want)?
    } else {
        values
    };
    let row_len: usize = want.iter().product();
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        return Err(DataError::Row {
            path: path.to_owned(),
            array: "x",
            row: at / row_len,
            reason: format!("value {} is not a finite float32", values[at]),
        });
    }
    Ok(values)
}

/// One more than the largest label. Which labels fit is for the model to say; the bound here only
/// keeps a broken file from asking for a head of a billion classes.
fn count_classes(path: &Path, labels: &[i64]) -> Result<usize, DataError> {
    let Some((row, &largest)) = labels.iter().enumerate().max_by_key(|(_, label)| **label) else {
        return Err(DataError::not_a_dataset(path, "it has no rows"));
    };
    match usize::try_from(largest) {
        Ok(largest) if largest < MAX_CLASSES => Ok(largest + 1),
        _ => Err(DataError::Row {
            path: path.to_owned(),
            array: "y",
            row,
            reason: format!("label {largest}; labels are counted from 0 and below {MAX_CLASSES}"),
        }),
    }
}

/// The C-order copy of an array stored in Fortran order.
fn from_fortran(
    path: &Path,
    values: &[f32],
    rows: usize,
    [c, h, w]: [usize; 3],
) -> Result<Vec<f32>, DataError> {
    let mut out = reserve(path, values.len())?;
    for n in 0..rows {
        for ci in 0..c {
            for hi in 0..h {
                for wi in 0..w {
                    out.push(values[n + rows * (ci + c * (hi + h * wi))]);
                }
            }
        }
    }
    Ok(out)
}

/// An array of the archive whose header is read and agrees with the archive on its size.
struct Array<'a> {
    path: &'a Path,
    name: &'static str,
    /// The NumPy type string, such as `<f4`.
    kind: String,
    fortran: bool,
    shape: Vec<usize>,
    /// The bytes that follow the header, by the archive's account.
    payload_bytes: u64,
    payload: Box<dyn Read + 'a>,
}

impl<'a> Array<'a> {
    fn open(
        archive: &'a mut Archive,
        path: &'a Path,
        name: &'static str,
    ) -> Result<Self, DataError> {
        let error = |reason: String| DataError::array(path, name, reason);
        let mut entry = archive
            .by_name(&format!("{name}.npy"))
            .map_err(|e| match e {
                ZipError::FileNotFound => error("it is missing".to_owned()),
                other => error(other.to_string()),
            })?;
        let entry_bytes = entry.size();
        if entry_bytes / MAX_INFLATION > entry.compressed_size() {
            return Err(error(format!(
                "it claims {entry_bytes} bytes, which its {} compressed bytes cannot hold",
                entry.compressed_size()
            )));
        }
        let header = Header::read(&mut entry).map_err(&error)?;
        Ok(Self {
            path,
            name,
            kind: header.kind,
            fortran: header.fortran,
            shape: header.shape,
            payload_bytes: entry_bytes.saturating_sub(header.bytes),
            payload: Box::new(entry),
        })
    }

    fn error(&self, reason: impl ToString) -> DataError {
        DataError::array(self.path, self.name, reason)
    }

    fn wrong_type(&self, expected: &str) -> DataError {
        self.error(format!(
            "its type is {}, expected little-endian {expected}",
            excerpt(&self.kind)
        ))
    }

    /// The elements, in the order of the file, each made of `S` bytes by `convert`.
    fn read<T, const S: usize>(
        mut self,
        convert: impl Fn([u8; S]) -> T,
    ) -> Result<Vec<T>, DataError> {
        let count = self
            .shape
            .iter()
            .try_fold(1_usize, |n, side| n.checked_mul(*side));
        let claimed = count
            .and_then(|n| n.checked_mul(S))
            .map(|bytes| bytes as u64);
        let (Some(count), true) = (count, claimed == Some(self.payload_bytes)) else {
            return Err(self.error(format!(
                "it holds {} bytes, which is not what shape {:?} needs (cut off?)",
                self.payload_bytes, self.shape
            )));
        };
        let mut values = reserve(self.path, count)?;
        let mut buffer = vec![0; (64 << 10) * S];
        let mut left = count;
        while left > 0 {
            let chunk = &mut buffer[..left.min(64 << 10) * S];
            if let Err(error) = self.payload.read_exact(chunk) {
                return Err(self.error(format!("it cannot be read: {error}")));
            }
            let (elements, _) = chunk.as_chunks::<S>();
            values.extend(elements.iter().map(|bytes| convert(*bytes)));
            left -= elements.len();
        }
        // Reading on to the end makes the archive verify its checksum.
        match self.payload.read(&mut [0]) {
            Ok(0) => Ok(values),
            Ok(_) => Err(self.error("it holds more bytes than the archive says")),
            Err(error) => Err(self.error(format!("it cannot be read: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests;
