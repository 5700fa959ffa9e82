//! Which files of a folder are its images.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::super::DataError;
use super::super::dataset::{Skipped, relative_name};
use super::super::parts::Part;
use super::place::Place;

/// Files with these extensions are looked into; what they hold is told by their content.
const IMAGE_EXTENSIONS: [&str; 13] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "gif", "bmp", "tif", "tiff", "webp", "avif", "heic", "jp2",
];

/// What desktops, archives, notebooks and network drives leave in folders of images.
const JUNK: [&str; 12] = [
    ".DS_Store",
    ".ipynb_checkpoints",
    ".Trash",
    "__MACOSX",
    "@eaDir",
    "#recycle",
    "@Recycle",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
    "Thumbs.db",
    "desktop.ini",
];

/// An image file, before it is looked into.
pub(super) struct Candidate {
    pub path: PathBuf,
    /// Relative to the data set's folder, with forward slashes.
    pub name: String,
}

/// A class folder with its images, sorted by name.
pub(super) struct Class {
    pub name: String,
    /// The part that it lies in, where the folders give one.
    pub part: Option<Part>,
    pub images: Vec<Candidate>,
}

/// What was met besides images.
#[derive(Default)]
pub(super) struct Aside {
    pub skipped: Vec<Skipped>,
    /// How lists were read, for people.
    pub told: Vec<String>,
    /// Sentences for people.
    pub notes: Vec<String>,
    /// How often each kind of [`JUNK`] was met, but for files in plain sight, which are skipped.
    junk: BTreeMap<&'static str, usize>,
    /// Hidden files and folders besides.
    hidden: Vec<String>,
}

impl Aside {
    pub fn skip(&mut self, path: String, reason: impl Into<String>) {
        let reason = reason.into();
        self.skipped.push(Skipped { path, reason });
    }

    /// Whether a file or folder is hidden or junk, and so passed over.
    fn passes_over(&mut self, place: Place<'_>, path: &Path, is_folder: bool) -> bool {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        match junk(name) {
            Some(junk) if is_folder || junk.starts_with('.') => {
                *self.junk.entry(junk).or_default() += 1;
            }
            Some(_) => self.skip(place.shown(path), "left by a desktop, not an image file"),
            None if name.starts_with(b".") => self.hidden.push(place.shown(path)),
            None => return false,
        }
        true
    }
}

fn junk(name: &[u8]) -> Option<&'static str> {
    let same = |junk: &&&str| junk.as_bytes().eq_ignore_ascii_case(name);
    JUNK.iter().find(same).copied()
}

/// The classes of a folder with their images: its sub-folders, or those of its sub-folders where these are the parts
/// of a split.
///
/// # Errors
/// When a folder cannot be read, or two sub-folders are the same part.
pub(super) fn find(place: Place<'_>, aside: &mut Aside) -> Result<Vec<Class>, DataError> {
    let mut classes = Vec::new();
    let mut empty = Vec::new();
    let folders = folders(place, place.root, aside)?;
    let mut found = Vec::new();
    match parts(place, &folders, aside)? {
        None => found.extend(folders.into_iter().map(|name| (name.clone(), name, None))),
        Some(parts) => {
            for (folder, part) in parts {
                for name in self::folders(place, &place.root.join(&folder), aside)? {
                    found.push((format!("{folder}/{name}"), name, Some(part)));
                }
            }
        }
    }
    for (folder, name, part) in found {
        match images(place, &folder, aside)? {
            Some(images) => classes.push(Class { name, part, images }),
            None => empty.push(format!("{}{folder}", place.prefix)),
        }
    }
    if !empty.is_empty() {
        let note = format!(
            "class folders without a file are left out: {}",
            list(&empty)
        );
        aside.notes.push(note);
    }
    Ok(classes)
}

impl Aside {
    /// Tells of what was passed over in all folders.
    pub fn tell_passed_over(&mut self) {
        if !self.junk.is_empty() {
            let junk: Vec<String> = std::mem::take(&mut self.junk)
                .into_iter()
                .map(|(name, count)| match count {
                    1 => name.to_owned(),
                    _ => format!("{name} ({count})"),
                })
                .collect();
            let note = format!(
                "files of desktops and drives are left out: {}",
                junk.join(", ")
            );
            self.notes.push(note);
        }
        if !self.hidden.is_empty() {
            let mut hidden = std::mem::take(&mut self.hidden);
            hidden.sort_unstable();
            let note = format!("hidden files are left out: {}", list(&hidden));
            self.notes.push(note);
        }
    }
}

/// The first of several names, and how many more there are.
pub(super) fn list(names: &[String]) -> String {
    const NAMED: usize = 5;
    let mut text: Vec<String> = names.iter().take(NAMED).map(|n| format!("{n:?}")).collect();
    if names.len() > NAMED {
        text.push(format!("and {} more", names.len() - NAMED));
    }
    text.join(", ")
}

/// The sorted names of the folders in `folder`; files beside them are skipped.
fn folders(place: Place<'_>, folder: &Path, aside: &mut Aside) -> Result<Vec<String>, DataError> {
    let read = |source| DataError::read(folder, source);
    let real_root = place.root.canonicalize().map_err(read)?;
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        let path = entry.path();
        let is_folder = path.is_dir();
        if aside.passes_over(place, &path, is_folder) {
            continue;
        }
        if !is_folder {
            aside.skip(place.shown(&path), "not inside a class folder");
            continue;
        }
        let Some(name) = relative_name(folder, &path) else {
            return Err(DataError::not_a_dataset(
                &path,
                "the name is not valid UTF-8",
            ));
        };
        if leads_back(&entry, &real_root) {
            let reason = "a link back into the data, which is not followed";
            aside.skip(place.shown(&path), reason);
        } else {
            folders.push(name);
        }
    }
    folders.sort_unstable();
    Ok(folders)
}

/// The parts of a split that some of the sub-folders `folders` are; `None` where these are classes.
///
/// They are parts where all have the name of one and some hold folders; or where two of them, one to train on, hold
/// folders of the same name: others are then left out.
fn parts(
    Place { root, prefix }: Place<'_>,
    folders: &[String],
    aside: &mut Aside,
) -> Result<Option<Vec<(String, Part)>>, DataError> {
    let named = folders.iter().map(|name| Some((name, Part::named(name)?)));
    let named: Vec<Option<(&String, Part)>> = named.collect();
    let all = !named.is_empty() && named.iter().all(Option::is_some);
    let inner = |name: &str| sub_folders(&root.join(name));
    let (with, without): (Vec<_>, Vec<_>) = named
        .into_iter()
        .flatten()
        .partition(|(name, _)| !inner(name).is_empty());
    let of_train = with.iter().filter(|(_, part)| *part == Part::Train);
    let of_train: Vec<String> = of_train.flat_map(|(name, _)| inner(name)).collect();
    let mut others = with.iter().filter(|(_, part)| *part != Part::Train);
    let share = others.any(|(name, _)| inner(name).iter().any(|class| of_train.contains(class)));
    if with.is_empty() || !(all || share) {
        return Ok(None);
    }
    for (place, (name, part)) in with.iter().enumerate() {
        if let Some((first, _)) = with[..place].iter().find(|(_, other)| other == part) {
            return Err(DataError::not_a_dataset(
                root,
                format!("its folders {first:?} and {name:?} are both the part {part} of a split"),
            ));
        }
    }
    let mut left: Vec<String> = without.into_iter().map(|(name, _)| name.clone()).collect();
    let is_part = |folder: &&String| Part::named(folder).is_some();
    left.extend(folders.iter().filter(|f| !is_part(f)).cloned());
    if !left.is_empty() {
        left = left.iter().map(|name| format!("{prefix}{name}")).collect();
        aside.notes.push(format!(
            "the folders are the parts of a split; left out, as they hold no class folders of a part: {}",
            list(&left)
        ));
    }
    let owned = with.into_iter().map(|(name, part)| (name.clone(), part));
    Ok(Some(owned.collect()))
}

/// Whether an entry of the data set's folder is a link to that folder, to one above it or to one
/// inside it: its images are already those of other classes.
fn leads_back(entry: &std::fs::DirEntry, real_root: &Path) -> bool {
    let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
    is_link
        && entry
            .path()
            .canonicalize()
            .is_ok_and(|target| target.starts_with(real_root) || real_root.starts_with(target))
}

/// The names of the folders in a folder that are neither hidden nor junk; none where it cannot be read.
fn sub_folders(path: &Path) -> Vec<String> {
    let is_visible = |entry: &std::fs::DirEntry| {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        !name.starts_with(b".") && junk(name).is_none()
    };
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| is_visible(entry) && entry.path().is_dir());
    let names = folders.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.collect()
}

/// Whether there is a folder in a folder that is neither hidden nor junk.
pub(super) fn has_folder(path: &Path) -> bool {
    !sub_folders(path).is_empty()
}

/// The parts that the sub-folders of a folder are, without those that are trained on.
pub(in crate::data) fn parts_beside(root: &Path) -> Vec<Part> {
    let folders = sub_folders(root);
    let place = Place { root, prefix: "" };
    let found = parts(place, &folders, &mut Aside::default());
    let parts = found.ok().flatten().unwrap_or_default().into_iter();
    let beside = parts
        .map(|(_, part)| part)
        .filter(|part| *part != Part::Train);
    beside.collect()
}

/// The images of one class, sorted by name; `None` where its folder holds no file. Links to files are
/// followed, links to folders are not.
pub(super) fn images(
    place: Place<'_>,
    class: &str,
    aside: &mut Aside,
) -> Result<Option<Vec<Candidate>>, DataError> {
    let folder = place.root.join(class);
    let mut images = Vec::new();
    let mut is_empty = true;
    let mut walk = WalkDir::new(&folder).into_iter();
    while let Some(entry) = walk.next() {
        let (path, problem) = match entry {
            Ok(entry) if entry.depth() > 0 && is_aside(place, &entry, aside) => {
                if entry.file_type().is_dir() {
                    walk.skip_current_dir();
                }
                continue;
            }
            // A class may be a link itself.
            Ok(entry) if entry.depth() == 0 || entry.file_type().is_dir() => continue,
            Ok(entry) => {
                let to_folder = entry.path_is_symlink() && entry.path().is_dir();
                let problem = "a link to a folder, which is not followed";
                (entry.into_path(), to_folder.then(|| problem.to_owned()))
            }
            Err(error) if error.depth() == 0 => {
                return Err(DataError::read(&folder, io::Error::from(error)));
            }
            Err(error) => {
                let reason = match error.io_error() {
                    Some(source) => format!("cannot be read: {source}"),
                    None => error.to_string(),
                };
                let path = error.path().unwrap_or(&folder).to_owned();
                (path, Some(reason))
            }
        };
        is_empty = false;
        let Some(name) = place.name(&path) else {
            aside.skip(place.shown(&path), "the name is not valid UTF-8");
            continue;
        };
        match problem.or_else(|| (!is_image_name(&path)).then(|| "not an image file".to_owned())) {
            Some(reason) => aside.skip(name, reason),
            None => images.push(Candidate { path, name }),
        }
    }
    images.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((!is_empty).then_some(images))
}

fn is_aside(place: Place<'_>, entry: &DirEntry, aside: &mut Aside) -> bool {
    aside.passes_over(place, entry.path(), entry.file_type().is_dir())
}

fn is_image_name(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| {
            IMAGE_EXTENSIONS
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        })
}
