//! The decoded images of a data set: in memory, in files that later runs find again, or made when needed.

mod cache;
mod pack;

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::DataError;
use super::dataset::reserve;
use super::form::Form;
use super::image::{decode_into, read_file};
use super::limits::{Limits, Workers};
use pack::{Pack, Place};

/// Where the pixels of images are while a data set is used, with the same result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageCache {
    /// In memory where they take no more than [`Limits::bytes`], else on the disk.
    #[default]
    Auto,
    /// In memory; refused where they take more than [`Limits::bytes`].
    Memory,
    /// In files of [`Limits::image_folder`], where later runs on the same machine find them, too: an image
    /// is decoded again only when its content, the size, the rule of decoding or that of resizing has changed,
    /// or crops are to be drawn from it for the first time. No other
    /// program may write to these files; they may be deleted at any time.
    Disk,
    /// Nowhere: an image is read and decoded whenever it is used.
    None,
}

impl fmt::Display for ImageCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ImageCache::Auto => "auto",
            ImageCache::Memory => "memory",
            ImageCache::Disk => "disk",
            ImageCache::None => "none",
        })
    }
}

impl FromStr for ImageCache {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let all = [Self::Auto, Self::Memory, Self::Disk, Self::None];
        let named = all.into_iter().find(|cache| cache.to_string() == name);
        named.ok_or_else(|| {
            DataError::option("image_cache", name, "expected auto, memory, disk or none")
        })
    }
}

/// The SHA-256 of a file that was decoded, and what is remarkable about it.
pub(super) type Content = ([u8; 32], Option<&'static str>);

/// What each of some files is, or why it is no image, and their pixels, with a gap for each that is none.
pub(super) type Decoded = (Vec<Result<Content, DataError>>, Pixels);

/// The decoded images of some files, in their order.
#[derive(Debug)]
pub(super) enum Pixels {
    /// One after the other.
    Memory(Vec<u8>),
    Packed {
        packs: Vec<Pack>,
        places: Vec<Place>,
    },
    /// To be decoded, if they still have these contents.
    Files {
        form: Form,
        files: Vec<(PathBuf, [u8; 32])>,
    },
}

/// How files are decoded.
pub(super) struct Decoding<'a> {
    pub root: &'a Path,
    pub form: Form,
    pub limits: &'a Limits,
    pub workers: &'a Workers,
    /// As [`OpenOptions::progress`](super::OpenOptions::progress).
    pub progress: Option<&'a (dyn Fn(usize, usize) -> bool + Sync)>,
}

impl Decoding<'_> {
    /// Decodes `files` to where they are to be kept; [`Pixels::keep`] closes the gaps.
    ///
    /// # Errors
    /// When they do not fit where they are to be kept, or the caller asks to stop.
    pub fn run(&self, files: &[&Path]) -> Result<Decoded, DataError> {
        let fits = self.limits.check(self.root, files.len(), self.form.bytes());
        match (self.limits.images, &self.limits.image_folder) {
            (ImageCache::None, _) => self.checked(files),
            (ImageCache::Disk, Some(folder)) => cache::decode(self, folder, files),
            (ImageCache::Auto, Some(folder)) if fits.is_err() => cache::decode(self, folder, files),
            (ImageCache::Disk, None) => Err(DataError::option(
                "image_cache",
                ImageCache::Disk,
                "there is no folder for it",
            )),
            (ImageCache::Auto | ImageCache::Memory, _) => fits.and_then(|()| self.in_memory(files)),
        }
    }

    fn in_memory(&self, files: &[&Path]) -> Result<Decoded, DataError> {
        let each = self.form.bytes();
        let len = files.len().saturating_mul(each);
        let mut pixels = reserve(self.root, len)?;
        pixels.resize(len, 0);
        let places = pixels.par_chunks_exact_mut(each);
        let contents = self.each(files.par_iter().zip(places), files.len(), |(file, out)| {
            decode(file, None, &self.form, out)
        })?;
        Ok((contents, Pixels::Memory(pixels)))
    }

    /// Decodes each file to see whether it can be, and keeps none.
    fn checked(&self, files: &[&Path]) -> Result<Decoded, DataError> {
        let contents = self.each(files.par_iter(), files.len(), |file| {
            decode(file, None, &self.form, &mut vec![0; self.form.bytes()])
        })?;
        let digest = |content: &Result<Content, _>| content.as_ref().map_or([0; 32], |c| c.0);
        let paths = files.iter().map(|file| (*file).to_owned());
        let files = paths.zip(contents.iter().map(digest)).collect();
        let form = self.form;
        Ok((contents, Pixels::Files { form, files }))
    }

    /// What `work` makes of each of `total` files, on the threads of the data set and with its progress.
    ///
    /// # Errors
    /// [`DataError::Stopped`] when the caller asks for that.
    fn each<T: Send, R: Send>(
        &self,
        files: impl IndexedParallelIterator<Item = T>,
        total: usize,
        work: impl Fn(T) -> Result<R, DataError> + Sync,
    ) -> Result<Vec<Result<R, DataError>>, DataError> {
        let done = AtomicUsize::new(0);
        let stopped = AtomicBool::new(false);
        let results = self.workers.install(|| {
            files
                .map(|file| {
                    if stopped.load(Ordering::Relaxed) {
                        return Err(DataError::Stopped);
                    }
                    let result = work(file);
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if self.progress.is_some_and(|go_on| !go_on(done, total)) {
                        stopped.store(true, Ordering::Relaxed);
                    }
                    result
                })
                .collect()
        });
        match stopped.into_inner() {
            true => Err(DataError::Stopped),
            false => Ok(results),
        }
    }
}

/// Decodes `file` into `out`. With the SHA-256 that its content `had`, another content is refused.
fn decode(
    file: &Path,
    had: Option<&[u8; 32]>,
    form: &Form,
    out: &mut [u8],
) -> Result<Content, DataError> {
    let bytes = read_file(file)?;
    let digest: [u8; 32] = Sha256::digest(&bytes).into();
    if had.is_some_and(|had| *had != digest) {
        return Err(DataError::changed(file));
    }
    Ok((digest, decode_into(file, &bytes, form, out)?))
}

impl Pixels {
    /// Keeps the images of the files at `kept`, which grow, of `each` bytes, and closes the gaps.
    pub fn keep(&mut self, kept: &[usize], each: usize) {
        match self {
            Pixels::Memory(pixels) => {
                for (place, &index) in kept.iter().enumerate() {
                    pixels.copy_within(index * each..(index + 1) * each, place * each);
                }
                pixels.truncate(kept.len() * each);
            }
            Pixels::Packed { places, .. } => {
                *places = kept.iter().map(|&index| places[index]).collect();
            }
            Pixels::Files { files, .. } => {
                *files = kept.iter().map(|&index| files[index].clone()).collect();
            }
        }
    }

    /// The bytes that they take in memory.
    pub fn bytes(&self) -> u64 {
        match self {
            Pixels::Memory(pixels) => pixels.len() as u64,
            Pixels::Packed { .. } | Pixels::Files { .. } => 0,
        }
    }

    /// Gives image `index`, of `each` bytes, to `work`.
    ///
    /// # Errors
    /// Those of `work`, and where it is decoded when the file cannot be read or is not what it was.
    pub fn with<T>(
        &self,
        index: usize,
        each: usize,
        work: impl FnOnce(&[u8]) -> Result<T, DataError>,
    ) -> Result<T, DataError> {
        let pixels = match self {
            Pixels::Memory(pixels) => Cow::from(&pixels[index * each..(index + 1) * each]),
            Pixels::Packed { packs, places } => {
                let Place { pack, slot } = places[index];
                return packs[pack].with(slot, work);
            }
            Pixels::Files { form, files } => {
                let (file, digest) = &files[index];
                let mut out = vec![0; each];
                decode(file, Some(digest), form, &mut out)?;
                Cow::from(out)
            }
        };
        work(&pixels)
    }

    /// Says that these images are needed soon, so that the system reads them meanwhile.
    pub fn expect(&self, indices: impl IntoIterator<Item = usize>) {
        if let Pixels::Packed { packs, places } = self {
            for place in indices.into_iter().filter_map(|index| places.get(index)) {
                packs[place.pack].expect(place.slot);
            }
        }
    }
}
