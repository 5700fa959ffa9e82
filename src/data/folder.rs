//! A folder of images, one sub-folder per class.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use walkdir::{DirEntry, WalkDir};

use super::dataset::{Dataset, OpenOptions, Samples, Skipped, hex, relative_name, reserve};
use super::image::{Size, decode_into, read_file};
use super::{DataError, seen};

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
    let mut digests = Vec::new();
    let mut digest = Fingerprint::new(&classes);
    for (index, (candidate, result)) in candidates.into_iter().zip(decoded).enumerate() {
        match result {
            Ok(content) => {
                let kept = names.len();
                pixels.copy_within(index * bytes..(index + 1) * bytes, kept * bytes);
                digest.add(&candidate.name, candidate.class, &content);
                labels.push(candidate.class as i64);
                names.push(candidate.name);
                digests.push(seen::shortened(&content));
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
        digests,
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Mutex;

    use super::super::image::tests::{jpeg, picture, png};
    use super::*;

    const OPTIONS: OpenOptions<'static> = OpenOptions {
        height: 8,
        width: 6,
        channels: 3,
        progress: None,
    };

    fn put(root: &Path, name: &str, bytes: impl AsRef<[u8]>) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Two classes of sound images.
    fn garden() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "tulip/b.png", png(picture(20, 20)));
        put(root.path(), "tulip/a.jpg", jpeg(&picture(30, 10)));
        put(root.path(), "daisy/deep/down/c.JPEG", jpeg(&picture(9, 9)));
        put(root.path(), "daisy/z.jpg", png(picture(6, 8)));
        root
    }

    fn names(dataset: &Dataset) -> Vec<String> {
        (0..dataset.len()).map(|i| dataset.name(i)).collect()
    }

    fn open_error(root: &Path) -> String {
        let error = open(root, &OPTIONS).unwrap_err();
        assert!(error.is_bad_input(), "{error}");
        error.to_string()
    }

    #[test]
    fn classes_and_samples_are_sorted_by_name() {
        let root = garden();
        let dataset = open(root.path(), &OPTIONS).unwrap();
        assert_eq!(dataset.classes(), ["daisy", "tulip"]);
        assert_eq!(
            names(&dataset),
            [
                "daisy/deep/down/c.JPEG",
                "daisy/z.jpg",
                "tulip/a.jpg",
                "tulip/b.png"
            ]
        );
        assert_eq!(dataset.labels(), [0, 0, 1, 1]);
        assert_eq!(dataset.sample_shape(), [3, 8, 6]);
        assert!(dataset.skipped().is_empty() && dataset.is_images());
    }

    #[test]
    fn unusable_files_are_skipped_with_their_reason_and_the_rest_keeps_its_pixels() {
        let root = garden();
        let whole = jpeg(&picture(30, 30));
        put(root.path(), "daisy/a-cut.jpg", &whole[..whole.len() / 2]);
        put(root.path(), "daisy/text.jpg", "not an image");
        put(root.path(), "daisy/Thumbs.db", "x");
        put(
            root.path(),
            "tulip/moving.gif",
            b"GIF89a\x01\0\x01\0\0\0\0;",
        );
        put(root.path(), "readme.txt", "x");
        put(root.path(), ".hidden/a.png", png(picture(4, 4)));
        put(root.path(), "daisy/.DS_Store", "x");
        put(root.path(), "daisy/.cache/a.png", png(picture(4, 4)));
        let dataset = open(root.path(), &OPTIONS).unwrap();
        let skipped: Vec<&str> = dataset.skipped().iter().map(|s| s.path.as_str()).collect();
        assert_eq!(
            skipped,
            [
                "daisy/Thumbs.db",
                "daisy/a-cut.jpg",
                "daisy/text.jpg",
                "readme.txt",
                "tulip/moving.gif"
            ]
        );
        assert!(dataset.skipped()[1].reason.contains("cut off"));
        assert!(dataset.skipped()[2].reason.contains("neither JPEG nor PNG"));

        let sound = open(garden().path(), &OPTIONS).unwrap();
        assert_eq!(names(&dataset), names(&sound));
        let (Samples::Images(left), Samples::Images(right)) = (&dataset.samples, &sound.samples)
        else {
            panic!("a folder holds images");
        };
        assert_eq!(left, right);
        let z = 8 * 6 * 3..2 * 8 * 6 * 3;
        assert_eq!(left[z], picture(6, 8).into_raw());
    }

    #[test]
    fn a_class_without_a_usable_image_is_named_with_the_reason() {
        let root = garden();
        put(root.path(), "rose/text.png", "not an image");
        let error = open_error(root.path());
        assert!(
            error.contains("\"rose\"") && error.contains("rose/text.png"),
            "{error}"
        );
        fs::remove_file(root.path().join("rose/text.png")).unwrap();
        let error = open_error(root.path());
        assert!(
            error.contains("\"rose\"") && error.contains("no files"),
            "{error}"
        );
    }

    #[test]
    fn fewer_than_two_classes_are_refused() {
        let root = garden();
        fs::remove_dir_all(root.path().join("tulip")).unwrap();
        assert!(open_error(root.path()).contains("found 1"));
        fs::remove_dir_all(root.path().join("daisy")).unwrap();
        assert!(open_error(root.path()).contains("found 0"));
    }

    #[test]
    fn the_fingerprint_tells_any_change_of_the_samples_but_not_their_size() {
        let root = garden();
        let print = || open(root.path(), &OPTIONS).unwrap().fingerprint();
        let first = print();
        assert_eq!((first.len(), &first), (64, &print()));
        let larger = OpenOptions {
            height: 9,
            ..OPTIONS
        };
        assert_eq!(open(root.path(), &larger).unwrap().fingerprint(), first);

        put(root.path(), "tulip/b.png", png(picture(20, 21)));
        let changed = print();
        fs::rename(
            root.path().join("tulip/b.png"),
            root.path().join("tulip/c.png"),
        )
        .unwrap();
        let renamed = print();
        fs::rename(
            root.path().join("tulip/c.png"),
            root.path().join("daisy/c.png"),
        )
        .unwrap();
        let moved = print();
        let all = [&first, &changed, &renamed, &moved];
        assert!((0..4).all(|i| (0..i).all(|j| all[i] != all[j])));
    }

    #[test]
    fn progress_counts_every_image_once() {
        let root = garden();
        put(root.path(), "daisy/text.jpg", "not an image");
        let calls = Mutex::new(vec![]);
        let progress = |done, total| calls.lock().unwrap().push((done, total));
        open(
            root.path(),
            &OpenOptions {
                progress: Some(&progress),
                ..OPTIONS
            },
        )
        .unwrap();
        let mut calls = calls.into_inner().unwrap();
        calls.sort_unstable();
        assert_eq!(calls, [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_loops_skipped() {
        use std::os::unix::fs::symlink;
        let root = garden();
        symlink(
            root.path().join("tulip/b.png"),
            root.path().join("daisy/link.png"),
        )
        .unwrap();
        symlink(root.path().join("daisy"), root.path().join("daisy/loop")).unwrap();
        symlink("nowhere", root.path().join("daisy/broken.png")).unwrap();
        let dataset = open(root.path(), &OPTIONS).unwrap();
        assert!(names(&dataset).contains(&"daisy/link.png".to_owned()));
        let skipped: Vec<&str> = dataset.skipped().iter().map(|s| s.path.as_str()).collect();
        assert_eq!(skipped, ["daisy/broken.png", "daisy/loop"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_are_not_utf8_are_skipped() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let root = garden();
        let name = OsStr::from_bytes(b"caf\xe9.png");
        fs::write(root.path().join("daisy").join(name), png(picture(4, 4))).unwrap();
        let dataset = open(root.path(), &OPTIONS).unwrap();
        assert_eq!(dataset.len(), 4);
        assert!(dataset.skipped()[0].reason.contains("UTF-8"));
    }

    /// The published flowers, where the shared test data is at hand.
    #[test]
    #[ignore = "decodes thousands of photographs"]
    fn flowers_are_read_whole() {
        let Some(shared) = crate::testing::shared() else {
            return;
        };
        let path = shared.join("data/tf_flowers");
        let size = OpenOptions {
            height: 160,
            width: 160,
            ..OPTIONS
        };
        let start = std::time::Instant::now();
        let dataset = open(&path, &size).unwrap();
        eprintln!("{} images in {:?}", dataset.len(), start.elapsed());
        assert_eq!(
            dataset.classes(),
            ["daisy", "dandelion", "roses", "sunflowers", "tulips"]
        );
        assert_eq!(dataset.len(), 3670);
        assert_eq!(dataset.skipped(), []);
    }
}
