mod cached;
mod found;
mod listed;

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::image::tests::{broken_palette, jpeg, picture, png};
use super::*;

const OPTIONS: OpenOptions<'static> = OpenOptions::new(8, 6, 3);

fn open(root: &Path, options: &OpenOptions<'_>) -> Result<Dataset, DataError> {
    super::open(root, options, &Limits::default())
}

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

/// The pixels of all images, one after the other.
fn pixels(dataset: &Dataset) -> Vec<u8> {
    let Samples::Images { form, pixels } = &dataset.samples else {
        panic!("a folder holds images");
    };
    let plain = |image: &[u8]| Ok(form.parts(image).0.to_vec());
    let of = |i| pixels.with(i, form.bytes(), plain).unwrap();
    (0..dataset.len()).flat_map(of).collect()
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
    let whole = png(picture(30, 30));
    put(root.path(), "daisy/a-cut.png", &whole[..40]);
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
            "daisy/a-cut.png",
            "daisy/text.jpg",
            "readme.txt",
            "tulip/moving.gif"
        ]
    );
    assert_eq!(
        dataset.notes(),
        [
            "files of desktops and drives are left out: .DS_Store",
            "hidden files are left out: \".hidden\", \"daisy/.cache\""
        ]
    );
    assert!(dataset.skipped()[2].reason.contains("none of JPEG, PNG"));

    let sound = open(garden().path(), &OPTIONS).unwrap();
    assert_eq!(names(&dataset), names(&sound));
    assert_eq!(pixels(&dataset), pixels(&sound));
    let z = 8 * 6 * 3..2 * 8 * 6 * 3;
    assert_eq!(pixels(&dataset)[z], picture(6, 8).into_raw());
}

#[test]
fn one_file_that_makes_its_decoder_panic_costs_no_other_image() {
    let root = garden();
    put(root.path(), "daisy/palette.png", broken_palette());
    let dataset = open(root.path(), &OPTIONS).unwrap();
    assert_eq!(dataset.len(), 4);
    assert_eq!(dataset.skipped()[0].path, "daisy/palette.png");
}

#[test]
fn a_file_that_lacks_its_end_marker_is_read_and_told() {
    let root = garden();
    let whole = jpeg(&picture(30, 30));
    put(root.path(), "daisy/end.jpg", &whole[..whole.len() - 2]);
    let dataset = open(root.path(), &OPTIONS).unwrap();
    assert_eq!(dataset.len(), 5);
    let told = dataset.notes().join("\n");
    assert!(
        told.contains("end marker") && told.contains("daisy/end.jpg"),
        "{told}"
    );
}

#[test]
fn jpegs_that_are_cut_off_are_read_as_far_as_they_go_and_told_once() {
    let root = garden();
    let whole = jpeg(&picture(30, 30));
    put(root.path(), "daisy/cut.jpg", &whole[..whole.len() - 60]);
    put(root.path(), "tulip/cut.jpg", &whole[..whole.len() - 90]);
    put(root.path(), "daisy/no-scan.jpg", &whole[..100]);
    let dataset = open(root.path(), &OPTIONS).unwrap();
    assert_eq!(dataset.len(), 6);
    let told: Vec<&String> = dataset.notes().iter().collect();
    assert_eq!(
        told,
        [
            "the file is cut off; it is read as far as it goes, and what is missing of the picture is grey (2 images): \
             \"daisy/cut.jpg\", \"tulip/cut.jpg\""
        ]
    );
    assert_eq!(dataset.skipped().len(), 1);
    assert!(dataset.skipped()[0].reason.contains("cut off"));
}

#[test]
fn a_class_may_be_in_any_format_that_is_read() {
    let root = garden();
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pictures/right");
    for file in ["lossy.webp", "animated-gif.gif", "plain.bmp", "inks.tif"] {
        let bytes = fs::read(pictures.join(file)).unwrap();
        put(root.path(), &format!("rose/{file}"), bytes);
    }
    let dataset = open(root.path(), &OPTIONS).unwrap();
    assert_eq!(dataset.classes(), ["daisy", "rose", "tulip"]);
    assert_eq!(dataset.labels().iter().filter(|l| **l == 1).count(), 4);
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
}

#[test]
fn classes_of_few_images_are_left_out_where_asked_for() {
    let root = garden();
    put(root.path(), "rose/a.png", png(picture(5, 5)));
    put(root.path(), "rose/b.png", "not an image");
    put(root.path(), "aster/text.png", "not an image");
    let at_least = |min_per_class| Limits {
        min_per_class,
        ..Limits::default()
    };
    let dataset = super::open(root.path(), &OPTIONS, &at_least(2)).unwrap();
    assert_eq!(dataset.classes(), ["daisy", "tulip"]);
    assert_eq!(dataset.labels(), [0, 0, 1, 1]);
    let note = &dataset.notes()[0];
    assert!(
        note.contains("fewer than 2 usable images are left out: \"aster\", \"rose\""),
        "{note}"
    );
    let sound = open(garden().path(), &OPTIONS).unwrap();
    assert_eq!(dataset.fingerprint(), sound.fingerprint());
    assert_eq!(pixels(&dataset), pixels(&sound));
    assert!(super::open(root.path(), &OPTIONS, &at_least(3)).is_err());
}

#[test]
fn exact_copies_are_told_and_belong_together() {
    let root = garden();
    put(root.path(), "tulip/copy.png", png(picture(20, 20)));
    put(root.path(), "daisy/copy.png", png(picture(20, 20)));
    let dataset = open(root.path(), &OPTIONS).unwrap();
    let group = |name: &str| {
        let place = names(&dataset).iter().position(|n| n == name).unwrap();
        dataset.groups()[place]
    };
    assert_eq!(group("daisy/copy.png"), group("tulip/b.png"));
    assert_eq!(group("tulip/copy.png"), group("tulip/b.png"));
    assert_ne!(group("tulip/a.jpg"), group("tulip/b.png"));
    let note = &dataset.notes()[0];
    assert!(note.contains("2 of 6 samples are exact copies"), "{note}");
    assert!(note.contains("2 of them in another class"), "{note}");
    assert!(open(garden().path(), &OPTIONS).unwrap().notes().is_empty());
}

#[test]
fn more_images_than_memory_may_hold_are_refused_before_one_is_decoded() {
    let root = garden();
    let called = AtomicUsize::new(0);
    let progress = |_, _| {
        called.fetch_add(1, Ordering::Relaxed);
        true
    };
    let options = OpenOptions {
        progress: Some(&progress),
        ..OPTIONS
    };
    let limits = Limits {
        bytes: 4 * 8 * 6 * 3 - 1,
        ..Limits::default()
    };
    let error = super::open(root.path(), &options, &limits).unwrap_err();
    assert!(error.is_bad_input(), "{error}");
    assert!(error.to_string().contains("4 samples"), "{error}");
    assert_eq!(called.into_inner(), 0);
}

#[test]
fn images_are_decoded_by_as_many_threads_as_asked_for() {
    let root = garden();
    for i in 0..40 {
        put(
            root.path(),
            &format!("tulip/{i}.png"),
            png(picture(30, 30 + i)),
        );
    }
    let threads = Mutex::new(std::collections::HashSet::new());
    let progress = |_, _| {
        threads.lock().unwrap().insert(std::thread::current().id());
        true
    };
    let options = OpenOptions {
        progress: Some(&progress),
        ..OPTIONS
    };
    let limits = Limits {
        threads: 1,
        ..Limits::default()
    };
    super::open(root.path(), &options, &limits).unwrap();
    assert_eq!(threads.into_inner().unwrap().len(), 1);
}

#[test]
fn fewer_than_two_classes_are_refused() {
    let root = garden();
    fs::remove_dir_all(root.path().join("tulip")).unwrap();
    let error = open_error(root.path());
    assert!(
        error.contains("found 1") && error.contains("inside \"daisy\""),
        "{error}"
    );
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
    let progress = |done, total| {
        calls.lock().unwrap().push((done, total));
        true
    };
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

#[test]
fn decoding_ends_when_progress_says_so() {
    let root = garden();
    let options = OpenOptions {
        progress: Some(&|_, _| false),
        ..OPTIONS
    };
    let stopped = open(root.path(), &options);
    assert!(matches!(stopped, Err(DataError::Stopped)));
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
