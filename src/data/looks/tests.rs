//! Images by other rules.

use image::{Rgb, RgbImage};
use tempfile::tempdir;

use super::*;
use crate::choice::Choice;
use crate::data::{ImageCache, Layout, Limits, OpenOptions, Preprocess};

/// Four images of a class each, 16 × 8 pixels, red from left to right in steps of 10 and green from the sides to the
/// middle.
fn wide() -> (tempfile::TempDir, Dataset) {
    let folder = tempdir().unwrap();
    for (class, blue) in [("a", 0), ("b", 200)] {
        std::fs::create_dir(folder.path().join(class)).unwrap();
        for name in ["0.png", "1.png"] {
            let picture = RgbImage::from_fn(16, 8, |x, _| {
                Rgb([10 * x as u8, 10 * x.min(15 - x) as u8, blue])
            });
            picture.save(folder.path().join(class).join(name)).unwrap();
        }
    }
    let options = OpenOptions {
        resize: Resize::CROP,
        ..OpenOptions::new(8, 8, 3)
    };
    let dataset = Dataset::open(folder.path(), &options).unwrap();
    (folder, dataset)
}

/// The red of a row of pixels.
fn red(dataset: &Dataset, sample: usize) -> Vec<f32> {
    let mut values = vec![0.0; dataset.sample_len()];
    dataset
        .write_sample(sample, &Preprocess::RAW, Layout::Nchw, &mut values)
        .unwrap();
    values[..8].to_vec()
}

#[test]
fn some_images_are_resized_as_the_whole_set_would_be() {
    let (folder, dataset) = wide();
    let squashed = dataset.resized(&[1, 2], Resize::SQUASH).unwrap();
    let whole = Dataset::open(folder.path(), &OpenOptions::new(8, 8, 3)).unwrap();
    assert_eq!(red(&squashed, 0), red(&whole, 1));
    assert_eq!(red(&squashed, 1), red(&whole, 2));
    assert_ne!(red(&squashed, 0), red(&dataset, 1));
    assert_eq!(squashed.labels(), [0, 1]);
    assert_eq!(squashed.name(0), "a/1.png");
    let same = dataset.resized(&[3], Resize::CROP).unwrap();
    assert_eq!(red(&same, 0), red(&dataset, 3));
    // What is not as it was cannot be compared.
    std::fs::remove_file(folder.path().join("b/0.png")).unwrap();
    assert!(dataset.resized(&[2], Resize::SQUASH).is_err());
}

#[test]
fn mirrored_images_are_the_same_from_right_to_left() {
    let (_folder, dataset) = wide();
    let mirrored = dataset.mirrored(&[0, 3]).unwrap();
    let mut reversed = red(&dataset, 3);
    reversed.reverse();
    assert_eq!(red(&mirrored, 1), reversed);
    assert_ne!(red(&mirrored, 1), red(&dataset, 3));
    assert_eq!(mirrored.labels(), [0, 1]);
}

#[test]
fn images_have_the_shape_of_the_input_or_not() {
    let (folder, dataset) = wide();
    assert!(!dataset.have_input_shape(&[0, 3]).unwrap());
    let wide = OpenOptions::new(100, 200, 3);
    let dataset = Dataset::open(folder.path(), &wide).unwrap();
    assert!(dataset.have_input_shape(&[0, 1, 2, 3]).unwrap());
}

#[test]
fn where_it_is_open_whole_photos_are_kept_if_there_is_memory_for_them() {
    let (folder, _) = wide();
    let options = OpenOptions {
        augment: Choice::Auto,
        ..OpenOptions::new(8, 8, 3)
    };
    let kept = |bytes, images| {
        let limits = Limits {
            bytes,
            images,
            ..Limits::default()
        };
        Dataset::open_within(folder.path(), &options, &limits)
            .unwrap()
            .has_photos()
    };
    // Of each the input, the photo's sides, and the photo at 1.5 times the input's sides.
    let all = 4 * (8 * 8 * 3 + 8 + 12 * 12 * 3);
    assert!(kept(all, ImageCache::Auto));
    assert!(!kept(all - 1, ImageCache::Auto));
    assert!(!kept(all, ImageCache::None));
}
