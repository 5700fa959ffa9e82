//! A folder of images, one sub-folder per class.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use walkdir::{DirEntry, WalkDir};

use super::DataError;
use super::dataset::{Dataset, OpenOptions, Samples, Skipped, hex, relative_name, reserve};
use super::image::{Size, decode_into, read_file};

/// Files with these extensions are looked into; what they hold is told by their content.
const IMAGE_EXTENSIONS: [&str; 13] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "gif", "bmp", "tif", "tiff", "webp", "avif", "heic", "jp2",
];

struct Candidate {
    path: PathBuf,
    name: String,
    class: usize,
}

/// See [`Dataset::open`].
pub(super) fn open(root: &Path, options: &OpenOptions<'_>) -> Result<Dataset, DataError> {
    let size = Size::new(options.height, options.width, options.channels)?;
    let mut skipped = Vec::new();
    let classes = find_classes(root, &mut skipped)?;
    if classes.len() < 2 {
        return Err(DataError::not_a_dataset(
            root,
            format!(
                "expected at least 2 class sub-folders, found {}",
                classes.len()
            ),
        ));
    }
    let mut candidates = Vec::new();
    for (class, name) in classes.iter().enumerate() {
        find_images(root, class, name, &mut candidates, &mut skipped);
    }

    let total = candidates.len();
    let bytes = size.bytes();
    let mut pixels = reserve(root, total.saturating_mul(bytes))?;
    pixels.resize(total * bytes, 0);
    let done = AtomicUsize::new(0);
    let decoded: Vec<Result<[u8; 32], DataError>> = candidates
        .par_iter()
        .zip(pixels.par_chunks_exact_mut(bytes))
        .map(|(candidate, out)| {
            let result = read_file(&candidate.path).and_then(|bytes| {
                decode_into(&candidate.path, &bytes, size, out)?;
                Ok(Sha256::digest(&bytes).into())
            });
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some(progress) = options.progress {
                progress(done, total);
            }
            result
        })
        .collect();

    let mut names = Vec::new();
    let mut labels = Vec::new();
    let mut digest = Fingerprint::new(&classes);
    for (index, (candidate, result)) in candidates.into_iter().zip(decoded).enumerate() {
        match result {
            Ok(content) => {
                let kept = names.len();
                pixels.copy_within(index * bytes..(index + 1) * bytes, kept * bytes);
                digest.add(&candidate.name, candidate.class, &content);
                labels.push(candidate.class as i64);
                names.push(candidate.name);
            }
            Err(error) => {
                skipped.push(Skipped {
                    path: candidate.name,
                    reason: reason(&error),
                });
            }
        }
    }
    pixels.truncate(names.len() * bytes);
    skipped.sort_by(|a, b| a.path.cmp(&b.path));

    for (class, name) in classes.iter().enumerate() {
        if !labels.contains(&(class as i64)) {
            let prefix = format!("{name}/");
            let first = skipped.iter().find(|s| s.path.starts_with(&prefix));
            return Err(DataError::EmptyClass {
                path: root.to_owned(),
                class: name.clone(),
                first_skipped: first.map(|s| format!("{}: {}", s.path, s.reason)),
            });
        }
    }
    Ok(Dataset {
        classes,
        labels,
        names,
        skipped,
        fingerprint: digest.finish(),
        shape: [size.channels, size.height, size.width],
        samples: Samples::Images(pixels),
    })
}

/// The sorted names of the class folders; files beside them are skipped.
fn find_classes(root: &Path, skipped: &mut Vec<Skipped>) -> Result<Vec<String>, DataError> {
    let read = |source| DataError::read(root, source);
    let mut classes = Vec::new();
    for entry in std::fs::read_dir(root).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let Some(name) = relative_name(root, &path) else {
            return Err(DataError::not_a_dataset(
                &path,
                "the name is not valid UTF-8",
            ));
        };
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            classes.push(name);
        } else {
            let reason = "not inside a class folder".to_owned();
            skipped.push(Skipped { path: name, reason });
        }
    }
    classes.sort_unstable();
    Ok(classes)
}

/// Adds the images of one class, sorted by name; links are followed.
fn find_images(
    root: &Path,
    class: usize,
    folder: &str,
    candidates: &mut Vec<Candidate>,
    skipped: &mut Vec<Skipped>,
) {
    let first = candidates.len();
    let walk = WalkDir::new(root.join(folder))
        .min_depth(1)
        .follow_links(true);
    for entry in walk.into_iter().filter_entry(|entry| !is_hidden(entry)) {
        let (path, problem) = match entry {
            Ok(entry) if entry.file_type().is_dir() => continue,
            Ok(entry) => (entry.into_path(), None),
            Err(error) => {
                let path = error.path().unwrap_or(Path::new(folder)).to_owned();
                (path, Some(error.to_string()))
            }
        };
        let (name, problem) = match relative_name(root, &path) {
            Some(name) => (name, problem),
            None => {
                let name = path
                    .strip_prefix(root)
                    .unwrap_or(&path)
                    .to_string_lossy()
                    .into_owned();
                (name, Some("the name is not valid UTF-8".to_owned()))
            }
        };
        match problem.or_else(|| (!is_image_name(&path)).then(|| "not an image file".to_owned())) {
            Some(reason) => skipped.push(Skipped { path: name, reason }),
            None => candidates.push(Candidate { path, name, class }),
        }
    }
    candidates[first..].sort_by(|a, b| a.name.cmp(&b.name));
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(b".")
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

/// What is wrong, without the file's name, which stands beside it.
fn reason(error: &DataError) -> String {
    match error {
        DataError::Image { reason, .. } => reason.clone(),
        DataError::Read { source, .. } => format!("cannot be read: {source}"),
        other => other.to_string(),
    }
}

struct Fingerprint(Sha256);

impl Fingerprint {
    fn new(classes: &[String]) -> Self {
        let mut digest = Sha256::new();
        for class in classes {
            digest.update((class.len() as u64).to_le_bytes());
            digest.update(class);
        }
        Self(digest)
    }

    fn add(&mut self, name: &str, class: usize, content: &[u8; 32]) {
        self.0.update((name.len() as u64).to_le_bytes());
        self.0.update(name);
        self.0.update((class as u64).to_le_bytes());
        self.0.update(content);
    }

    fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}
