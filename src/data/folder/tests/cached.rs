use std::path::PathBuf;

use super::super::super::{Augment, Augmenter, ImageCache, Preprocess, Resize, View};
use super::*;

fn with(images: ImageCache, folder: &Path) -> Limits {
    Limits {
        images,
        image_folder: Some(folder.to_owned()),
        ..Limits::default()
    }
}

fn on_disk(root: &Path, cache: &Path) -> Dataset {
    super::super::open(root, &OPTIONS, &with(ImageCache::Disk, cache)).unwrap()
}

fn packs(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache).unwrap().map(|e| e.unwrap().path());
    let mut packs: Vec<PathBuf> = entries.filter(|p| p.extension().is_some()).collect();
    packs.sort();
    packs
}

#[test]
fn the_data_set_is_the_same_wherever_its_pixels_are() {
    let root = garden();
    let damaged = png(picture(30, 30));
    let half = &damaged[..damaged.len() / 2];
    put(root.path(), "daisy/half.png", half);
    let damaged = &damaged[..40];
    put(root.path(), "daisy/a-cut.png", damaged);
    put(root.path(), "daisy/another-cut.png", damaged);
    let whole = jpeg(&picture(30, 30));
    put(root.path(), "daisy/cut.jpg", &whole[..whole.len() - 60]);
    put(root.path(), "daisy/no-end.jpg", &whole[..whole.len() - 2]);
    put(root.path(), "tulip/copy.png", png(picture(20, 20)));
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().join("a/b");
    let plain = open(root.path(), &OPTIONS).unwrap();
    assert!(plain.bytes() > 0 && plain.skipped().len() == 2);
    assert!(plain.notes().iter().any(|note| note.contains("cut off")));
    for images in [
        ImageCache::Disk,
        ImageCache::Disk,
        ImageCache::None,
        ImageCache::Auto,
    ] {
        let in_memory = images == ImageCache::Auto;
        let limits = with(images, &folder);
        let other = super::super::open(root.path(), &OPTIONS, &limits).unwrap();
        assert_eq!(pixels(&other), pixels(&plain));
        assert_eq!(names(&other), names(&plain));
        assert_eq!(other.labels(), plain.labels());
        assert_eq!(other.fingerprint(), plain.fingerprint());
        assert_eq!(other.groups(), plain.groups());
        assert_eq!(other.notes(), plain.notes());
        assert_eq!(other.skipped(), plain.skipped());
        assert_eq!(other.bytes() > 0, in_memory);
    }
    // The second time nothing was new.
    assert_eq!(packs(&folder).len(), 1);
}

#[test]
fn augmented_images_are_the_same_wherever_they_are_and_others_are_not_mistaken_for_them() {
    let root = garden();
    put(root.path(), "daisy/wide.jpg", jpeg(&picture(90, 31)));
    let cache = tempfile::tempdir().unwrap();
    let rules = [Resize::SQUASH, Resize::CROP, Resize::LETTERBOX];
    let mut plain = Vec::new();
    for resize in rules {
        let options = OpenOptions { resize, ..OPTIONS };
        let dataset = super::super::open(root.path(), &options, &Limits::default()).unwrap();
        plain.push(pixels(&dataset));
    }
    assert!(plain[0] != plain[1] && plain[1] != plain[2] && plain[0] != plain[2]);
    for (resize, plain) in rules.into_iter().zip(&plain) {
        let options = OpenOptions {
            resize,
            augment: Augment::Standard.into(),
            ..OPTIONS
        };
        let all = [
            ImageCache::Memory,
            ImageCache::Disk,
            ImageCache::Disk,
            ImageCache::None,
        ];
        let versions = all.map(|images| {
            let limits = with(images, cache.path());
            let dataset = super::super::open(root.path(), &options, &limits).unwrap();
            assert_eq!(&pixels(&dataset), plain);
            let views: Vec<View> = (0..dataset.len() * 3)
                .map(|i| View {
                    sample: i / 3,
                    number: Some(i as u64 % 3),
                })
                .collect();
            let augmenter = Augmenter {
                augment: Augment::Standard,
                seed: 1,
            };
            let mut out = vec![0.0; views.len() * dataset.sample_len()];
            let (unit, layout) = (Preprocess::UNIT, crate::data::Layout::Nhwc);
            dataset
                .write_views(&views, &augmenter, &unit, layout, &mut out)
                .unwrap();
            out
        });
        assert!(versions.iter().all(|version| *version == versions[0]));
    }
    // A pack for each rule; without crops there are others.
    assert_eq!(packs(cache.path()).len(), 3);
    for (resize, plain) in rules.into_iter().zip(&plain) {
        let options = OpenOptions { resize, ..OPTIONS };
        let limits = with(ImageCache::Disk, cache.path());
        let dataset = super::super::open(root.path(), &options, &limits).unwrap();
        assert_eq!(&pixels(&dataset), plain);
    }
    let names: Vec<String> = packs(cache.path())
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let begins = |with: &str| names.iter().filter(|name| name.starts_with(with)).count();
    assert_eq!(
        (
            names.len(),
            begins("8x6x3-v1-"),
            begins("8x6x3-crop0.875-photo-v1-")
        ),
        (6, 1, 1)
    );
}

#[test]
fn what_was_decoded_is_found_by_content_and_only_new_images_are_decoded() {
    let root = garden();
    let cache = tempfile::tempdir().unwrap();
    let first = pixels(&on_disk(root.path(), cache.path()));
    let [pack] = packs(cache.path()).try_into().unwrap();
    // Pixels that no decoder gives tell where they come from.
    let mut bytes = fs::read(&pack).unwrap();
    let begin = bytes.len() - first.len();
    bytes[begin..].fill(7);
    fs::write(&pack, bytes).unwrap();
    fs::rename(
        root.path().join("tulip/b.png"),
        root.path().join("tulip/z.png"),
    )
    .unwrap();
    put(root.path(), "tulip/new.png", png(picture(12, 12)));
    let counted = AtomicUsize::new(0);
    let count = |_: usize, total: usize| {
        counted.store(total, Ordering::Relaxed);
        true
    };
    let options = OpenOptions {
        progress: Some(&count),
        ..OPTIONS
    };
    let limits = with(ImageCache::Disk, cache.path());
    let second = super::super::open(root.path(), &options, &limits).unwrap();
    assert_eq!(counted.into_inner(), 1);
    let second = pixels(&second);
    let each = 8 * 6 * 3;
    assert!(
        second[..3 * each].iter().all(|&v| v == 7) && second[4 * each..].iter().all(|&v| v == 7)
    );
    assert_ne!(second[3 * each..4 * each], [7; 8 * 6 * 3]);
    assert_eq!(packs(cache.path()).len(), 2);
    // Another size has packs of its own.
    let options = OpenOptions {
        width: 7,
        ..OPTIONS
    };
    let other = super::super::open(root.path(), &options, &limits).unwrap();
    assert!(pixels(&other).iter().any(|&v| v != 7));
    assert_eq!(packs(cache.path()).len(), 3);
}

#[test]
fn packs_that_are_damaged_of_another_form_or_left_unfinished_do_no_harm() {
    let root = garden();
    let cache = tempfile::tempdir().unwrap();
    let sound = pixels(&on_disk(root.path(), cache.path()));
    let [pack] = packs(cache.path()).try_into().unwrap();
    let whole = fs::read(&pack).unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = cache.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let old = put("8x6x3-v0-00.pixels", &whole);
    let left = put(".decoding-abc", &whole);
    let busy = put(".decoding-def", &whole);
    let at_work = fs::File::open(&busy).unwrap();
    at_work.try_lock().unwrap();
    let mut claims = whole.clone();
    claims[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
    for bytes in [&whole[..40], &whole[..whole.len() - 1], &claims, b""] {
        fs::write(&pack, bytes).unwrap();
        assert_eq!(pixels(&on_disk(root.path(), cache.path())), sound);
        assert_eq!(fs::read(&pack).unwrap(), whole, "{} bytes", bytes.len());
    }
    assert!(!old.exists() && !left.exists() && busy.exists());
}

#[test]
fn an_image_that_is_decoded_when_needed_must_be_what_it_was() {
    let root = garden();
    let dataset =
        super::super::open(root.path(), &OPTIONS, &with(ImageCache::None, root.path())).unwrap();
    put(root.path(), "daisy/z.jpg", png(picture(6, 9)));
    let mut out = vec![0.0; dataset.sample_len()];
    let preprocess = crate::data::Preprocess::UNIT;
    let mut write = |i| dataset.write_sample(i, &preprocess, crate::data::Layout::Nchw, &mut out);
    assert!(write(0).is_ok());
    let error = write(1).unwrap_err();
    assert!(error.is_bad_input());
    assert!(
        error.to_string().contains("z.jpg: it has changed"),
        "{error}"
    );
}

#[test]
fn images_beyond_the_memory_that_they_may_take_go_to_the_disk() {
    let root = garden();
    let cache = tempfile::tempdir().unwrap();
    let limits = Limits {
        bytes: 4 * 8 * 6 * 3 - 1,
        ..with(ImageCache::Auto, cache.path())
    };
    let dataset = super::super::open(root.path(), &OPTIONS, &limits).unwrap();
    assert_eq!((dataset.bytes(), packs(cache.path()).len()), (0, 1));
    // What is no folder is told by name.
    let file = cache.path().join("file");
    fs::write(&file, "").unwrap();
    let no_folder = Limits {
        image_folder: None,
        ..with(ImageCache::Disk, &file)
    };
    for (limits, told) in [
        (with(ImageCache::Disk, &file), "file"),
        (no_folder, "no folder"),
        (with(ImageCache::Memory, &file), ""),
    ] {
        let limits = Limits {
            bytes: 99,
            ..limits
        };
        let error = super::super::open(root.path(), &OPTIONS, &limits).unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
        assert_eq!(matches!(error, DataError::TooLarge { .. }), told.is_empty());
    }
}
