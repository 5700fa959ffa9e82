use rand::SeedableRng;

use super::super::dataset::{Samples, Workers};
use super::super::pixels::Pixels;
use super::super::preprocess::Preprocess;
use super::*;
use crate::layout::Layout;

const SHAPE: [usize; 3] = [3, 10, 14];

fn picture() -> Vec<u8> {
    (0..3 * 10 * 14)
        .map(|i| (i * 37 % 199 + 20) as u8)
        .collect()
}

fn version(augment: Augment, seed: u64, sample: usize, number: u64) -> Vec<u8> {
    let number = Some(number);
    let view = View { sample, number };
    Augmenter { augment, seed }
        .pixels(&picture(), SHAPE, view)
        .unwrap()
        .unwrap()
}

fn mean(pixels: &[u8]) -> f64 {
    pixels.iter().map(|&p| f64::from(p)).sum::<f64>() / pixels.len() as f64
}

#[test]
fn half_of_the_images_are_mirrored_and_the_others_left_alone() {
    let plain = picture();
    let mirrored: Vec<u8> = plain
        .chunks_exact(14 * 3)
        .flat_map(|row| row.chunks_exact(3).rev().flatten().copied())
        .collect();
    assert_ne!(plain, mirrored);
    let flips = (0..400)
        .filter(|&number| {
            let pixels = version(Augment::Flip, 1, 0, number);
            assert!(pixels == plain || pixels == mirrored);
            pixels == mirrored
        })
        .count();
    assert!((150..=250).contains(&flips), "{flips} of 400");
}

#[test]
fn a_version_depends_on_seed_sample_and_number_alone() {
    let first = version(Augment::Standard, 1, 2, 3);
    assert_eq!(first, version(Augment::Standard, 1, 2, 3));
    for (seed, sample, number) in [(0, 2, 3), (1, 0, 3), (1, 2, 0), (2, 1, 3), (1, 3, 2)] {
        assert_ne!(first, version(Augment::Standard, seed, sample, number));
    }
}

#[test]
fn crops_stay_inside_and_within_their_area_and_aspect() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut tops = [false; 2];
    for _ in 0..2000 {
        let (height, width) = (200, 220);
        let crop = Crop::draw(&mut rng, height, width);
        assert!(crop.top + crop.height <= height && crop.left + crop.width <= width);
        let area = (crop.height * crop.width) as f64 / (height * width) as f64;
        let aspect = crop.width as f64 / crop.height as f64;
        assert!((0.49..=1.0).contains(&area), "{crop:?}");
        assert!((0.74..=1.35).contains(&aspect), "{crop:?}");
        tops[usize::from(crop.top > 0)] = true;
    }
    assert_eq!(tops, [true; 2]);
}

#[test]
fn a_shape_that_no_crop_fits_gives_the_largest_in_the_middle() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let crop = Crop::draw(&mut rng, 100, 10);
    assert_eq!((crop.width, crop.left), (10, 0));
    assert_eq!((crop.height, crop.top), (13, 43));
    let crop = Crop::draw(&mut rng, 9, 300);
    assert_eq!((crop.height, crop.width, crop.left), (9, 12, 144));
    let crop = Crop::draw(&mut rng, 1, 1);
    assert_eq!((crop.height, crop.width), (1, 1));
}

#[test]
fn a_crop_is_that_part_of_the_image() {
    // Two halves of one colour each: a crop within the right one has no other colour.
    let (height, width) = (8, 8);
    let pixels: Vec<u8> = (0..64).map(|i| if i % 8 < 4 { 10 } else { 200 }).collect();
    let right = Crop {
        top: 1,
        left: 4,
        height: 5,
        width: 4,
    };
    let out = resized(&pixels, [1, height, width], &right).unwrap();
    assert_eq!(out, [200; 64]);
    let whole = Crop {
        top: 0,
        left: 0,
        height,
        width,
    };
    assert_eq!(
        resized(&pixels, [1, height, width], &whole).unwrap(),
        pixels
    );
}

#[test]
fn brightness_scales_the_mean_contrast_keeps_it_and_saturation_moves_towards_grey() {
    let changed = |factors| {
        let mut pixels: Vec<u8> = picture().iter().map(|p| p / 2 + 40).collect();
        let before = pixels.clone();
        jitter(&mut pixels, 3, factors);
        (before, pixels)
    };
    let (before, after) = changed([1.2, 1.0, 1.0]);
    assert!((mean(&after) / mean(&before) - 1.2).abs() < 0.01);
    let (before, after) = changed([1.0, 0.8, 1.0]);
    assert!((mean(&after) - mean(&before)).abs() < 1.0);
    let spread = |p: &[u8]| p.iter().max().unwrap() - p.iter().min().unwrap();
    assert!(spread(&after) < spread(&before));
    let (before, after) = changed([1.0, 1.0, 0.0]);
    for (pixel, old) in after.chunks_exact(3).zip(before.chunks_exact(3)) {
        assert!(pixel.iter().all(|&v| f32::from(v) == luma(old).round()));
    }
    assert_eq!(changed([1.0; 3]).1, changed([1.0; 3]).0);
    let mut ends = [0, 255, 250];
    jitter(&mut ends, 1, [1.2, 1.2, 1.2]);
    assert_eq!((ends[0], ends[1]), (0, 255), "no value wraps around");
}

#[test]
fn standard_moves_the_mean_by_no_more_than_its_factors() {
    let before = mean(&picture());
    let means: Vec<f64> = (0..50)
        .map(|n| mean(&version(Augment::Standard, 1, 0, n)) / before)
        .collect();
    assert!(means.iter().all(|m| (0.7..1.3).contains(m)), "{means:?}");
    let (low, high) = means
        .iter()
        .fold((2f64, 0f64), |(l, h), &m| (l.min(m), h.max(m)));
    assert!(low < 0.9 && high > 1.1, "{low} to {high}");
}

fn dataset(samples: Samples) -> Dataset {
    Dataset {
        classes: vec!["a".into(), "b".into()],
        labels: vec![0, 1],
        names: vec![],
        digests: vec![],
        groups: vec![0, 1],
        skipped: vec![],
        notes: vec![],
        fingerprint: String::new(),
        shape: SHAPE,
        samples,
        workers: Workers::default(),
    }
}

#[test]
fn a_batch_of_views_is_its_versions_one_after_the_other() {
    let dataset = dataset(Samples::Images(Pixels::Memory(
        [picture(), picture()].concat(),
    )));
    let augmenter = Augmenter {
        augment: Augment::Standard,
        seed: 5,
    };
    let views = [
        View::plain(1),
        View {
            sample: 1,
            number: Some(4),
        },
    ];
    let raw = Preprocess {
        scale: 1.0,
        ..Preprocess::UNIT
    };
    let mut out = vec![0.0; 2 * 420];
    dataset
        .write_views(&views, &augmenter, &raw, Layout::Nhwc, &mut out)
        .unwrap();
    let expected = [picture(), version(Augment::Standard, 5, 1, 4)].concat();
    assert!(out.iter().zip(expected).all(|(&a, b)| a == f32::from(b)));
    let none = Augmenter::default();
    dataset
        .write_views(&views, &none, &raw, Layout::Nhwc, &mut out)
        .unwrap();
    let plain = [picture(), picture()].concat();
    assert!(out.iter().zip(plain).all(|(&a, b)| a == f32::from(b)));
}

#[test]
fn arrays_are_refused() {
    let arrays = dataset(Samples::Arrays(vec![0.0; 840]));
    assert!(Augment::None.check(&arrays).is_ok());
    let error = Augment::Flip.check(&arrays).unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("arrays"));
    let augmenter = Augmenter {
        augment: Augment::Flip,
        seed: 1,
    };
    let view = View {
        sample: 0,
        number: Some(0),
    };
    let write = arrays.write_views(
        &[view],
        &augmenter,
        &Preprocess::UNIT,
        Layout::Nchw,
        &mut [0.0; 420],
    );
    assert!(write.is_err());
}
