//! Samples and labels from a NumPy `.npz` file.
//!
//! Source of the format: NumPy's `numpy.lib.format`; an `.npz` file is a zip archive of `.npy`
//! files. Nothing is allocated by what a header claims before the archive's own sizes agree, nor by
//! what those claim where the compressed bytes cannot hold it.

mod archive;
mod header;
mod labels;

use std::io::Read;
use std::path::Path;

use super::DataError;
use super::arrays::{ArrayValues, Held};
use super::dataset::{Dataset, Limits, OpenOptions, Workers, reserve};
use archive::{Archive, open_archive};
use header::{Header, excerpt};
use labels::Labels;

/// How many bytes one compressed byte stands for at most, in zip's "deflate".
pub(crate) const MAX_INFLATION: u64 = 1032;
/// Bytes of an array that are read at once.
const MAX_CHUNK: usize = 512 << 10;

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
    if let Some((option, value)) = options.sources.and_then(|sources| sources.of_images()) {
        let reason = "it is for images, and the data are arrays";
        return Err(DataError::option(option, value, reason));
    }
    let mut archive = open_archive(path)?;
    let want = [options.channels, options.height, options.width];
    let names = ["channels", "height", "width"];
    if let Some((option, side)) = names.into_iter().zip(want).find(|(_, side)| *side == 0) {
        return Err(DataError::option(option, side, "expected at least 1"));
    }

    let task = options.sources.and_then(|sources| sources.task);
    let Labels {
        rows,
        labels,
        sets,
        classes,
        told,
        notes,
    } = labels::read(&mut archive, path, limits, (task, options.classes))?;
    let values = read_samples(&mut archive, (path, limits), rows, want)?;

    let held = Held {
        values,
        labels,
        sets,
        classes,
        told,
    };
    let mut dataset = held.into_dataset(want, options.resize, Workers::new(limits.threads)?)?;
    dataset.notes.splice(0..0, notes);
    Ok(dataset)
}

/// The arrays that there are, for people.
fn listed(archive: &Archive) -> String {
    const NAMED: usize = 8;
    let names = archive.file_names();
    let mut names: Vec<&str> = names.filter_map(|file| file.strip_suffix(".npy")).collect();
    names.sort_unstable();
    let mut named: Vec<String> = names.iter().take(NAMED).map(|name| excerpt(name)).collect();
    if names.len() > NAMED {
        named.push(format!("and {} more", names.len() - NAMED));
    }
    match named.is_empty() {
        true => "the file has no arrays".to_owned(),
        false => format!("the file has {}", named.join(", ")),
    }
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

fn read_samples(
    archive: &mut Archive,
    (path, limits): (&Path, &Limits),
    rows: usize,
    want: [usize; 3],
) -> Result<ArrayValues, DataError> {
    let array = Array::open(archive, path, "x")?;
    let &[samples, ref sample @ ..] = array.shape.as_slice() else {
        return Err(array.error("it is a single number, expected shape [N, C, H, W]"));
    };
    let [c, h, w] = want;
    let is_pixels = array.kind == "|u1";
    let channels_last = is_pixels && sample == [h, w, c] && sample != want;
    if sample != want && !channels_last {
        let shape = &array.shape;
        let or = match is_pixels {
            true => format!(" or [N, {h}, {w}, {c}]"),
            false => String::new(),
        };
        return Err(array.error(format!(
            "its shape is {shape:?}, expected [N, {c}, {h}, {w}]{or}"
        )));
    }
    if samples != rows {
        return Err(array.error(format!("it has {samples} rows, but \"y\" has {rows}")));
    }
    let bytes = if is_pixels { 1 } else { size_of::<f32>() };
    let row_bytes = want.iter().fold(bytes, |n, side| n.saturating_mul(*side));
    limits.check(path, rows, row_bytes)?;
    let fortran = array.fortran;
    if is_pixels {
        let mut pixels = array.read(|[byte]: [u8; 1]| byte)?;
        if fortran {
            let sides = if channels_last { [h, w, c] } else { want };
            pixels = from_fortran(path, &pixels, rows, sides)?;
        }
        return Ok(ArrayValues::Pixels(match channels_last {
            true => pixels,
            false => with_channels_last(path, &pixels, want)?,
        }));
    }
    let values: Vec<f32> = match array.kind.as_str() {
        "<f4" => array.read(f32::from_le_bytes)?,
        "<f8" => array.read(|bytes| f64::from_le_bytes(bytes) as f32)?,
        _ => return Err(array.wrong_type("float32, float64 or uint8")),
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
    Ok(ArrayValues::Floats(values))
}

/// Images of channels × height × width as height × width × channels.
fn with_channels_last(
    path: &Path,
    pixels: &[u8],
    [channels, height, width]: [usize; 3],
) -> Result<Vec<u8>, DataError> {
    let plane = height * width;
    let mut out = reserve(path, pixels.len())?;
    for image in pixels.chunks_exact(channels * plane) {
        for place in 0..plane {
            out.extend((0..channels).map(|channel| image[channel * plane + place]));
        }
    }
    Ok(out)
}

/// The C-order copy of an array stored in Fortran order, of so many rows with these sides.
fn from_fortran<T: Copy>(
    path: &Path,
    values: &[T],
    rows: usize,
    [first, second, third]: [usize; 3],
) -> Result<Vec<T>, DataError> {
    let mut out = reserve(path, values.len())?;
    for n in 0..rows {
        for i in 0..first {
            for j in 0..second {
                for k in 0..third {
                    out.push(values[n + rows * (i + first * (j + second * k))]);
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
        let file = format!("{name}.npy");
        if archive.index_for_name(&file).is_none() {
            return Err(error(format!("it is missing; {}", listed(archive))));
        }
        let mut entry = archive.by_name(&file).map_err(|e| error(e.to_string()))?;
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
        let mut values = reserve(self.path, self.count(S)?)?;
        self.each(S, |_, chunk| {
            let (elements, _) = chunk.as_chunks::<S>();
            values.extend(elements.iter().map(|bytes| convert(*bytes)));
            Ok(())
        })?;
        Ok(values)
    }

    /// How many elements it has, of `size` bytes each.
    ///
    /// # Errors
    /// When the archive's own account says otherwise.
    fn count(&self, size: usize) -> Result<usize, DataError> {
        let mut sides = self.shape.iter();
        let count = sides.try_fold(1_usize, |n, side| n.checked_mul(*side));
        let claimed = count.and_then(|n| n.checked_mul(size));
        match (count, claimed.map(|bytes| bytes as u64)) {
            (Some(count), Some(bytes)) if bytes == self.payload_bytes => Ok(count),
            _ => Err(self.error(format!(
                "it holds {} bytes, which is not what shape {:?} needs (cut off?)",
                self.payload_bytes, self.shape
            ))),
        }
    }

    /// Hands on the elements of `size` bytes, one or more, many at once, in the order of the file.
    fn each(
        &mut self,
        size: usize,
        mut take: impl FnMut(&Self, &[u8]) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let mut left = self.count(size)?;
        let at_once = (MAX_CHUNK / size).max(1).min(left);
        let mut buffer = vec![0; at_once * size];
        while left > 0 {
            let elements = left.min(at_once);
            let chunk = &mut buffer[..elements * size];
            if let Err(error) = self.payload.read_exact(chunk) {
                return Err(self.error(format!("it cannot be read: {error}")));
            }
            take(self, chunk)?;
            left -= elements;
        }
        // Reading on to the end makes the archive verify its checksum.
        match self.payload.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.error("it holds more bytes than the archive says")),
            Err(error) => Err(self.error(format!("it cannot be read: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests;
