//! Which files of a folder are its images.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::super::DataError;
use super::super::dataset::{Skipped, relative_name};

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

/// Names of the parts of a split; also with a word such as `set` or `images` behind them.
const PARTS: [&str; 12] = [
    "train",
    "training",
    "trn",
    "val",
    "valid",
    "validation",
    "dev",
    "test",
    "testing",
    "tst",
    "eval",
    "holdout",
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
    pub images: Vec<Candidate>,
}

/// What was met besides images.
#[derive(Default)]
pub(super) struct Aside {
    pub skipped: Vec<Skipped>,
    /// Sentences for people.
    pub notes: Vec<String>,
    /// How often each kind of [`JUNK`] was met, but for files in plain sight, which are skipped.
    junk: BTreeMap<&'static str, usize>,
    /// Hidden files and folders besides.
    hidden: Vec<String>,
}

impl Aside {
    fn skip(&mut self, path: String, reason: impl Into<String>) {
        let reason = reason.into();
        self.skipped.push(Skipped { path, reason });
    }

    /// Whether a file or folder is hidden or junk, and so passed over.
    fn passes_over(&mut self, root: &Path, path: &Path, is_folder: bool) -> bool {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        match junk(name) {
            Some(junk) if is_folder || junk.starts_with('.') => {
                *self.junk.entry(junk).or_default() += 1;
            }
            Some(_) => self.skip(shown(root, path), "left by a desktop, not an image file"),
            None if name.starts_with(b".") => self.hidden.push(shown(root, path)),
            None => return false,
        }
        true
    }
}

fn junk(name: &[u8]) -> Option<&'static str> {
    let same = |junk: &&&str| junk.as_bytes().eq_ignore_ascii_case(name);
    JUNK.iter().find(same).copied()
}

/// A path below `root` for people, also where it is not valid UTF-8.
fn shown(root: &Path, path: &Path) -> String {
    relative_name(root, path).unwrap_or_else(|| {
        let inside = path.strip_prefix(root).unwrap_or(path);
        inside.to_string_lossy().into_owned()
    })
}

/// The classes of the folder `root`, sorted by name, with their images.
///
/// # Errors
/// When a folder cannot be read, or its sub-folders are the parts of a split.
pub(super) fn find(root: &Path, aside: &mut Aside) -> Result<Vec<Class>, DataError> {
    let mut classes = Vec::new();
    let mut empty = Vec::new();
    for name in class_folders(root, aside)? {
        match images(root, &name, aside)? {
            Some(images) => classes.push(Class { name, images }),
            None => empty.push(name),
        }
    }
    if !empty.is_empty() {
        let note = format!(
            "class folders without a file are left out: {}",
            list(&empty)
        );
        aside.notes.push(note);
    }
    if !aside.junk.is_empty() {
        let junk: Vec<String> = std::mem::take(&mut aside.junk)
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
        aside.notes.push(note);
    }
    if !aside.hidden.is_empty() {
        let mut hidden = std::mem::take(&mut aside.hidden);
        hidden.sort_unstable();
        let note = format!("hidden files are left out: {}", list(&hidden));
        aside.notes.push(note);
    }
    Ok(classes)
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

/// The sorted names of the class folders; files beside them are skipped.
fn class_folders(root: &Path, aside: &mut Aside) -> Result<Vec<String>, DataError> {
    let read = |source| DataError::read(root, source);
    let real_root = root.canonicalize().map_err(read)?;
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(root).map_err(read)? {
        let entry = entry.map_err(read)?;
        let path = entry.path();
        let is_folder = path.is_dir();
        if aside.passes_over(root, &path, is_folder) {
            continue;
        }
        if !is_folder {
            aside.skip(shown(root, &path), "not inside a class folder");
            continue;
        }
        let Some(name) = relative_name(root, &path) else {
            return Err(DataError::not_a_dataset(
                &path,
                "the name is not valid UTF-8",
            ));
        };
        if leads_back(&entry, &real_root) {
            aside.skip(name, "a link back into the data, which is not followed");
        } else {
            folders.push(name);
        }
    }
    folders.sort_unstable();
    let holds_folders = |name: &String| has_folder(&root.join(name));
    if !folders.is_empty()
        && folders.iter().all(|name| is_part(name))
        && folders.iter().any(holds_folders)
    {
        return Err(DataError::PartsForClasses {
            path: root.to_owned(),
            folders,
        });
    }
    Ok(folders)
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

/// Whether there is a folder in a folder that is neither hidden nor junk.
pub(super) fn has_folder(path: &Path) -> bool {
    let is_visible = |entry: &std::fs::DirEntry| {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        !name.starts_with(b".") && junk(name).is_none()
    };
    std::fs::read_dir(path).is_ok_and(|entries| {
        let mut visible = entries.flatten().filter(is_visible);
        visible.any(|entry| entry.path().is_dir())
    })
}

/// Whether a folder is named as a part of a split is: `train`, `Validation`, `test_set`, `valset`.
fn is_part(name: &str) -> bool {
    let name = name.to_lowercase();
    let words: Vec<&str> = name
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let Some((&first, rest)) = words.split_first() else {
        return false;
    };
    let is_noun = |word: &&str| ["set", "data", "images", "img", "split"].contains(word);
    let bare = first.strip_suffix("set").unwrap_or(first);
    PARTS.contains(&bare) && rest.iter().all(is_noun)
}

/// The images of one class, sorted by name; `None` where its folder holds no file. Links to files are
/// followed, links to folders are not.
fn images(
    root: &Path,
    class: &str,
    aside: &mut Aside,
) -> Result<Option<Vec<Candidate>>, DataError> {
    let folder = root.join(class);
    let mut images = Vec::new();
    let mut is_empty = true;
    let mut walk = WalkDir::new(&folder).into_iter();
    while let Some(entry) = walk.next() {
        let (path, problem) = match entry {
            Ok(entry) if entry.depth() > 0 && is_aside(root, &entry, aside) => {
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
        let Some(name) = relative_name(root, &path) else {
            aside.skip(shown(root, &path), "the name is not valid UTF-8");
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

fn is_aside(root: &Path, entry: &DirEntry, aside: &mut Aside) -> bool {
    aside.passes_over(root, entry.path(), entry.file_type().is_dir())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_split_are_known_by_their_names() {
        for name in [
            "train",
            "Val",
            "TEST",
            "validation",
            "training_set",
            "test set",
            "valset",
            "train-images",
        ] {
            assert!(is_part(name), "{name}");
        }
        for name in [
            "cat",
            "trains",
            "test tube",
            "train_station",
            "valley",
            "",
            "set",
        ] {
            assert!(!is_part(name), "{name}");
        }
    }
}
