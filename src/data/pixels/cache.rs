//! The folder of packs, and decoding of what is in none of them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::hex;

use super::super::form::Form;
use super::super::image::{Size, read_file};
use super::super::{DataError, Resize};
use super::pack::{FORMAT, Pack, Place, Unfinished};
use super::{Content, Decoded, Decoding, Pixels};

/// Images are decoded and kept in packs of about this many bytes, so that little is lost by a stop.
const PACK_BYTES: usize = 256 << 20;
const UNFINISHED: &str = ".decoding-";
const PACK: &str = ".pixels";

/// What has become of one content.
enum Known {
    At(Place, Content),
    /// Why it is no image.
    Unusable(String),
}

/// See [`Decoding::run`].
pub(super) fn decode(
    decoding: &Decoding<'_>,
    folder: &Path,
    files: &[&Path],
) -> Result<Decoded, DataError> {
    let form = &decoding.form;
    fs::create_dir_all(folder).map_err(|e| DataError::write(folder, e))?;
    let mut packs = found(folder, form).map_err(|e| DataError::read(folder, e))?;
    let mut known: HashMap<[u8; 32], Known> = HashMap::new();
    for (number, pack) in packs.iter().enumerate() {
        for (slot, content) in pack.contents() {
            let place = Place { pack: number, slot };
            known.insert(content.0, Known::At(place, content));
        }
    }
    let digests = decoding.each(files.par_iter(), files.len(), |file| {
        Ok(<[u8; 32]>::from(Sha256::digest(read_file(file)?)))
    })?;
    let mut missing: Vec<(&Path, [u8; 32])> = Vec::new();
    for (file, digest) in files.iter().zip(&digests) {
        if let Ok(digest) = digest
            && !known.contains_key(digest)
        {
            known.insert(*digest, Known::Unusable(String::new()));
            missing.push((file, *digest));
        }
    }
    let mut progress = Progress {
        decoding,
        done: 0,
        total: missing.len(),
    };
    for some in missing.chunks((PACK_BYTES / form.bytes()).max(1)) {
        let (pack, contents) = progress.pack(folder, some)?;
        for (slot, ((_, digest), content)) in some.iter().zip(contents).enumerate() {
            let pack = packs.len();
            let now = match content {
                Ok(content) => Known::At(Place { pack, slot }, content),
                Err(DataError::Image { reason, .. }) => Known::Unusable(reason),
                Err(other) => Known::Unusable(other.to_string()),
            };
            known.insert(*digest, now);
        }
        packs.push(pack);
    }
    let mut places = Vec::with_capacity(files.len());
    let mut contents = Vec::with_capacity(files.len());
    for (file, digest) in files.iter().zip(digests) {
        let (place, content) = match digest.map(|digest| known.get(&digest)) {
            Ok(Some(Known::At(place, content))) => (*place, Ok(*content)),
            Ok(Some(Known::Unusable(reason))) => (Place::NONE, Err(DataError::image(file, reason))),
            Ok(None) => (Place::NONE, Err(DataError::image(file, "it is not known"))),
            Err(error) => (Place::NONE, Err(error)),
        };
        places.push(place);
        contents.push(content);
    }
    Ok((contents, Pixels::Packed { packs, places }))
}

/// How far the decoding of all packs has come.
struct Progress<'a> {
    decoding: &'a Decoding<'a>,
    done: usize,
    total: usize,
}

impl Progress<'_> {
    /// Decodes `files` of these contents into a pack of their own, a slot each.
    fn pack(
        &mut self,
        folder: &Path,
        files: &[(&Path, [u8; 32])],
    ) -> Result<(Pack, Vec<Result<Content, DataError>>), DataError> {
        let form = &self.decoding.form;
        let failed = |source: io::Error| DataError::Pixels {
            folder: folder.to_owned(),
            bytes: files.len().saturating_mul(form.bytes()) as u64,
            source,
        };
        let named = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempfile_in(folder);
        let named = named.map_err(failed)?;
        // Tells other processes that somebody is at work on it; where there are no locks, nobody looks.
        let _ = named.as_file().try_lock();
        let mut pack =
            Unfinished::new(named.as_file(), folder, files.len(), form).map_err(failed)?;
        let (before, total) = (self.done, self.total);
        let outer = self.decoding.progress;
        let progress =
            |done: usize, _: usize| outer.is_none_or(|go_on| go_on(before + done, total));
        let decoding = Decoding {
            progress: Some(&progress),
            ..*self.decoding
        };
        let work = files.par_iter().zip(pack.slots());
        let contents = decoding.each(work, files.len(), |((file, digest), out)| {
            super::decode(file, Some(digest), form, out)
        })?;
        self.done += files.len();
        let usable: Vec<Option<Content>> =
            contents.iter().map(|c| c.as_ref().ok().copied()).collect();
        let pack = pack.finish(&usable).map_err(failed)?;
        if usable.iter().any(Option::is_some) {
            keep(named, folder, form, &usable);
        }
        Ok((pack, contents))
    }
}

/// Gives a finished pack its name. Where that fails, it serves this data set all the same and is gone
/// with it.
fn keep(named: tempfile::NamedTempFile, folder: &Path, form: &Form, contents: &[Option<Content>]) {
    let mut hash = Sha256::new();
    for (digest, _) in contents.iter().flatten() {
        hash.update(digest);
    }
    let name = hex::encode(&hash.finalize()[..8]);
    let kept = named.as_file().sync_all().is_ok()
        && named
            .persist(folder.join(prefix(form) + &name + PACK))
            .is_ok();
    if kept && let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

/// What the names of packs of this form begin with.
fn prefix(form: &Form) -> String {
    let Size {
        height,
        width,
        channels,
    } = form.size;
    // Without a colon, which not every file system takes.
    let rule = match form.resize {
        Resize::SQUASH => String::new(),
        other => format!("-{other}").replace(':', ""),
    };
    let photo = if form.with_photo { "-photo" } else { "" };
    format!("{height}x{width}x{channels}{rule}{photo}-v{FORMAT}-")
}

/// The packs of images of this `form`. What processes that were killed have left, and packs of another
/// format, are deleted.
fn found(folder: &Path, form: &Form) -> io::Result<Vec<Pack>> {
    let wanted = prefix(form);
    let format = format!("-v{FORMAT}-");
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if name.starts_with(UNFINISHED) {
            let abandoned = File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
            if abandoned {
                let _ = fs::remove_file(&path);
            }
        } else if name.ends_with(PACK) && !name.contains(&format) {
            let _ = fs::remove_file(&path);
        } else if name.ends_with(PACK) && name.starts_with(&wanted) {
            paths.push(path);
        }
    }
    paths.sort();
    // One that another process has just deleted, or that cannot be read, is decoded anew.
    let opened = paths.iter().filter_map(|path| Pack::open(path, form).ok());
    Ok(opened.flatten().collect())
}
