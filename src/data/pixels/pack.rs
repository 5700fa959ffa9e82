//! A file of decoded images of one form, each found by the SHA-256 of the file it was decoded from.
//!
//! It is written once and never changed: 64 bytes of head (16 of [`MAGIC`], then as little-endian `u32`
//! [`FORMAT`], height, width, channels, the number of slots, how images are resized (0 squashed, 1 cropped, 2
//! letterboxed) and 1 where the whole photo is there, too; the share of a crop as `f64`; zeros), 40 bytes for
//! each slot (the SHA-256, and a byte that is 0, or the number from 1 of what of [`REMARKS`] is remarkable), zeros up to a multiple of
//! 4096, the slots. A slot whose 40 bytes are zeros is empty.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use memmap2::{Mmap, MmapMut};
use rayon::prelude::*;

use super::super::form::Form;
use super::super::image::REMARKS;
use super::super::space::allocate;
use super::super::{DataError, ResizeMode};
use super::Content;

/// The first bytes of each file.
const MAGIC: &[u8; 16] = b"ftsurgery pixels";
/// The number of this form and of the rule by which images become pixels: raised when either changes.
pub(super) const FORMAT: u32 = 1;

const HEAD: usize = 64;
const ENTRY: usize = 40;
const PAGE: usize = 4096;

/// Where an image is: the number of a pack among several, and the slot in it.
#[derive(Debug, Clone, Copy)]
pub(in crate::data) struct Place {
    pub pack: usize,
    pub slot: usize,
}

impl Place {
    /// Of what is in no pack.
    pub const NONE: Place = Place {
        pack: usize::MAX,
        slot: usize::MAX,
    };
}

/// A pack that is complete.
#[derive(Debug)]
pub(in crate::data) struct Pack {
    map: Mmap,
    form: Form,
    slots: usize,
}

impl Pack {
    /// The pack in the file `path`; `None` where that is none of images of this `form` in today's format.
    ///
    /// # Errors
    /// When it cannot be read.
    #[allow(unsafe_code)]
    pub fn open(path: &Path, form: &Form) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        if file.metadata()?.len() < HEAD as u64 {
            return Ok(None);
        }
        // SAFETY: a pack has its name once it is complete, and is then never written to or shortened, only
        // deleted, which a map outlives.
        let map = unsafe { Mmap::map(&file)? };
        let slots = read_u32(&map, HEAD_SLOTS) as usize;
        let whole = length(slots, form) == Some(map.len());
        let same = whole && map[..HEAD] == head(form, slots as u32);
        let form = *form;
        Ok(same.then_some(Pack { map, form, slots }))
    }

    /// The slots that are not empty, with what is in them.
    pub fn contents(&self) -> impl Iterator<Item = (usize, Content)> {
        let entry = |slot: usize| &self.map[HEAD + slot * ENTRY..HEAD + (slot + 1) * ENTRY];
        (0..self.slots).filter_map(move |slot| {
            let (digest, rest) = entry(slot).split_first_chunk::<32>()?;
            let note = usize::from(rest[0]).checked_sub(1);
            let note = note.and_then(|n| REMARKS.get(n).copied());
            (*digest != [0; 32]).then_some((slot, (*digest, note)))
        })
    }

    /// Gives the pixels in a slot to `work`.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn with<T>(
        &self,
        slot: usize,
        work: impl FnOnce(&[u8]) -> Result<T, DataError>,
    ) -> Result<T, DataError> {
        let range = self.range(slot);
        let result = work(&self.map[range.clone()]);
        self.give_back(range);
        result
    }

    /// Says that a slot is read soon.
    pub fn expect(&self, slot: usize) {
        let range = self.range(slot);
        // A wish: where the system cannot, the slot is read when it is used.
        #[cfg(unix)]
        let _ = self
            .map
            .advise_range(memmap2::Advice::WillNeed, range.start, range.len());
        #[cfg(not(unix))]
        let _ = range;
    }

    fn range(&self, slot: usize) -> Range<usize> {
        let start = begin(self.slots).unwrap_or(0) + slot * self.form.bytes();
        start..start + self.form.bytes()
    }

    /// Lets go of pages, so that what was read or written once is not counted as memory of the process.
    #[allow(unsafe_code)]
    fn give_back(&self, range: Range<usize>) {
        #[cfg(target_os = "linux")]
        {
            let advice = memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: the map is a shared one of a file that is only read: the next access, by whichever
            // thread, maps the page of the file again.
            let _ = unsafe {
                self.map
                    .unchecked_advise_range(advice, range.start, range.len())
            };
        }
        #[cfg(not(target_os = "linux"))]
        let _ = range;
    }
}

/// A pack that is being written, in a file whose blocks it has.
pub(super) struct Unfinished {
    map: MmapMut,
    form: Form,
    slots: usize,
}

impl Unfinished {
    /// A pack of `slots` empty slots in the empty `file`, which lies in `folder`.
    ///
    /// # Errors
    /// When there is no room for it.
    #[allow(unsafe_code)]
    pub fn new(file: &File, folder: &Path, slots: usize, form: &Form) -> io::Result<Self> {
        let count = u32::try_from(slots).ok();
        let (Some(count), Some(len)) = (count, length(slots, form)) else {
            return Err(io::ErrorKind::FileTooLarge.into());
        };
        allocate(file, folder, len as u64)?;
        // SAFETY: the file is new and has a name that other processes leave alone while its lock is held,
        // and its blocks are allocated.
        let mut map = unsafe { MmapMut::map_mut(file)? };
        if map.len() != len {
            return Err(io::Error::other("the file has the wrong length"));
        }
        map[..HEAD].copy_from_slice(&head(form, count));
        let form = *form;
        Ok(Unfinished { map, form, slots })
    }

    /// The slots, to be filled.
    pub fn slots(&mut self) -> impl IndexedParallelIterator<Item = &mut [u8]> {
        let begin = begin(self.slots).unwrap_or(0);
        self.map[begin..].par_chunks_exact_mut(self.form.bytes())
    }

    /// Notes what is in the slots; those of files that could not be decoded are empty.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self, contents: &[Option<Content>]) -> io::Result<Pack> {
        for (slot, content) in contents.iter().enumerate() {
            if let Some((digest, note)) = content {
                let entry = &mut self.map[HEAD + slot * ENTRY..HEAD + (slot + 1) * ENTRY];
                entry[..32].copy_from_slice(digest);
                let number = REMARKS.iter().position(|remark| Some(*remark) == *note);
                entry[32] = number.map_or(0, |n| n as u8 + 1);
            }
        }
        self.map.flush()?;
        let pack = Pack {
            map: self.map.make_read_only()?,
            form: self.form,
            slots: self.slots,
        };
        pack.give_back(0..pack.map.len());
        Ok(pack)
    }
}

const HEAD_SLOTS: usize = 32;

fn head(form: &Form, slots: u32) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..16].copy_from_slice(MAGIC);
    let size = form.size;
    let [height, width, channels] = [size.height, size.width, size.channels].map(|n| n as u32);
    let (mode, share) = match form.resize.mode {
        ResizeMode::Squash => (0, 0.0),
        ResizeMode::Crop { share } => (1, share),
        ResizeMode::Letterbox => (2, 0.0),
    };
    let photo = u32::from(form.with_photo);
    let numbers = [FORMAT, height, width, channels, slots, mode, photo];
    let numbers = numbers.into_iter().flat_map(u32::to_le_bytes);
    let bytes = numbers.chain(share.to_le_bytes());
    for (place, byte) in head[16..].iter_mut().zip(bytes) {
        *place = byte;
    }
    head
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u32::from_le_bytes(*word))
}

/// Where the first slot begins.
fn begin(slots: usize) -> Option<usize> {
    slots
        .checked_mul(ENTRY)?
        .checked_add(HEAD)?
        .checked_next_multiple_of(PAGE)
}

/// The bytes of a whole pack.
fn length(slots: usize, form: &Form) -> Option<usize> {
    begin(slots)?.checked_add(slots.checked_mul(form.bytes())?)
}
