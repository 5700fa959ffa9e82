use rand::SeedableRng;

use super::super::dataset::{Samples, Workers};
use super::super::image::{Picture, Size};
use super::super::pixels::Pixels;
use super::super::preprocess::Preprocess;
use super::super::{GREY, Resize};
use super::*;
use crate::layout::Layout;

const SHAPE: [usize; 3] = [3, 10, 14];

fn picture() -> Vec<u8> {
    (0..3 * 10 * 14)
        .map(|i| (i * 37 % 199 + 20) as u8)
        .collect()
}

fn form(resize: Resize, [channels, height, width]: [usize; 3]) -> Form {
    Form {
        size: Size::new(height, width, channels).unwrap(),
        resize,
        with_photo: true,
    }
}

/// What becomes of a picture of `width` × `height` pixels.
fn decoded(form: &Form, [width, height]: [u32; 2], pixels: Vec<u8>) -> Vec<u8> {
    let mut image = vec![0; form.bytes()];
    let picture = Picture::of(width, height, form.size.channels, pixels);
    form.write(&picture, &mut image).unwrap();
    image
}

fn version(augment: Augment, seed: u64, sample: usize, number: u64) -> Vec<u8> {
    let number = Some(number);
    let form = form(Resize::SQUASH, SHAPE);
    let image = decoded(&form, [14, 10], picture());
    let (pixels, photo) = form.parts(&image);
    Augmenter { augment, seed }
        .pixels(pixels, photo, &form, View { sample, number })
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
        let crop = Crop::draw(&mut rng, height, width, AREA);
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
    let crop = Crop::draw(&mut rng, 100, 10, AREA);
    assert_eq!((crop.width, crop.left), (10, 0));
    assert_eq!((crop.height, crop.top), (13, 43));
    let crop = Crop::draw(&mut rng, 9, 300, AREA);
    assert_eq!((crop.height, crop.width, crop.left), (9, 12, 144));
    let crop = Crop::draw(&mut rng, 1, 1, AREA);
    assert_eq!((crop.height, crop.width), (1, 1));
}

#[test]
fn a_crop_is_that_part_of_the_image() {
    // A photo of 30 × 20 pixels, of which as many are kept as 12 × 12: two halves of one colour each. A crop
    // within the right one has no other colour, but for what mixes at its border.
    let form = form(Resize::SQUASH, [1, 8, 8]);
    let halves = (0..600).map(|i| if i % 30 < 15 { 10 } else { 200 });
    let image = decoded(&form, [30, 20], halves.collect());
    let (_, photo) = form.parts(&image);
    let photo = photo.unwrap();
    assert_eq!((photo.own, photo.kept), ([30, 20], [12, 12]));
    let part = |crop: [u32; 4]| {
        let placement = form.crop(&photo, crop);
        assert_eq!(placement.to, [0, 0, 8, 8]);
        let raster = Raster {
            width: 12,
            height: 12,
            channels: 1,
            pixels: photo.pixels,
        };
        resized(&raster, placement.from, [8, 8])
            .unwrap()
            .into_owned()
    };
    assert_eq!(part([18, 3, 12, 12]), [200; 64]);
    for row in part([15, 0, 15, 20]).chunks(8) {
        assert!(row[0] > 100 && row[2..] == [200; 6], "{row:?}");
    }
    for row in part([0, 5, 30, 10]).chunks(8) {
        assert!(row[..3] == [10; 3] && row[5..] == [200; 3], "{row:?}");
    }
}

/// Crops keep the photo's geometry: a disc in a wide photo is as wide as high in a crop that is.
#[test]
fn crops_are_drawn_in_the_geometry_of_the_photo() {
    let form = form(Resize::SQUASH, [1, 32, 32]);
    let disc = |i: u32| {
        let [x, y] = [i % 160, i / 160].map(|at| f64::from(at) + 0.5);
        if (x - 80.0).hypot(y - 40.0) < 20.0 {
            255
        } else {
            0
        }
    };
    let image = decoded(&form, [160, 80], (0..160 * 80).map(disc).collect());
    let (plain, photo) = form.parts(&image);
    let extent = |pixels: &[u8]| {
        let rows = pixels.chunks(32).filter(|row| row.iter().any(|&v| v > 127));
        let columns = (0..32).filter(|x| pixels.iter().skip(*x).step_by(32).any(|&v| v > 127));
        [columns.count(), rows.count()]
    };
    assert_eq!(extent(plain), [8, 16]);
    let photo = photo.unwrap();
    let raster = Raster {
        width: photo.kept[0],
        height: photo.kept[1],
        channels: 1,
        pixels: photo.pixels,
    };
    let placement = form.crop(&photo, [40, 0, 80, 80]);
    let part = resized(&raster, placement.from, [32, 32]).unwrap();
    assert_eq!(extent(&part), [16, 16]);
}

#[test]
fn a_photo_with_fewer_pixels_than_are_kept_is_kept_as_it_is() {
    let form = form(Resize::SQUASH, SHAPE);
    // Kept are 21 × 15 at most.
    for (sides, kept) in [
        ([14, 10], [14, 10]),
        ([1, 1], [1, 1]),
        ([21, 15], [21, 15]),
        ([40, 7], [21, 7]),
    ] {
        let pixels: Vec<u8> = (0..sides[0] * sides[1] * 3)
            .map(|i| (i % 251) as u8)
            .collect();
        let image = decoded(&form, sides, pixels.clone());
        let (_, photo) = form.parts(&image);
        let photo = photo.unwrap();
        assert_eq!((photo.own, photo.kept), (sides, kept));
        assert_eq!(photo.pixels.len(), (kept[0] * kept[1] * 3) as usize);
        assert!(sides != kept || photo.pixels == pixels);
    }
}

#[test]
fn crops_of_what_is_evaluated_on_a_share_may_be_smaller() {
    let areas = |resize| areas(&form(resize, SHAPE));
    assert_eq!(areas(Resize::SQUASH), [0.5, 1.0]);
    assert_eq!(areas(Resize::LETTERBOX), [0.5, 1.0]);
    assert_eq!(areas(Resize::CROP), [0.5 * 0.875 * 0.875, 1.0]);
}

#[test]
fn crops_of_letterboxed_images_lie_in_grey() {
    let form = form(Resize::LETTERBOX, [1, 20, 20]);
    let image = decoded(&form, [60, 40], vec![250; 2400]);
    let (_, photo) = form.parts(&image);
    let placement = form.crop(&photo.unwrap(), [0, 0, 40, 30]);
    assert_eq!(placement.to, [0, 2, 20, 15]);
    let augmenter = Augmenter {
        augment: Augment::Standard,
        seed: 3,
    };
    let mut bars = 0;
    for number in 0..20 {
        let view = View {
            sample: 0,
            number: Some(number),
        };
        let pixels = augmenter.pixels(&[], photo, &form, view).unwrap().unwrap();
        let grey = |row: &&[u8]| row.iter().all(|&v| v == GREY);
        // Bars are what they are when the network is used; brightness is the photo's.
        let rows = pixels.chunks(20).filter(grey).count();
        let columns = (0..20).filter(|x| pixels.iter().skip(*x).step_by(20).all(|&v| v == GREY));
        let columns = columns.count();
        assert!(rows <= 5 && columns <= 5, "{rows} {columns}");
        let of_photo = pixels.iter().filter(|&&v| v != GREY).count();
        assert_eq!(of_photo, (20 - rows) * (20 - columns));
        bars += rows + columns;
    }
    assert!(bars > 10, "{bars}");
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

/// Two images of this form.
fn images(form: Form) -> Samples {
    let image = decoded(&form, [14, 10], picture());
    let pixels = Pixels::Memory([image.clone(), image].concat());
    Samples::Images { form, pixels }
}

fn dataset(samples: Samples) -> Dataset {
    Dataset {
        classes: vec!["a".into(), "b".into()],
        labels: vec![0, 1],
        sets: None,
        names: vec![],
        digests: vec![],
        groups: vec![0, 1],
        copies: Vec::new(),
        group_names: Vec::new(),
        given: None,
        roots: Default::default(),
        skipped: vec![],
        told: Vec::new(),
        notes: vec![],
        fingerprint: String::new(),
        shape: SHAPE,
        samples,
        workers: Workers::default(),
    }
}

#[test]
fn a_batch_of_views_is_its_versions_one_after_the_other() {
    let dataset = dataset(images(form(Resize::SQUASH, SHAPE)));
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
fn crops_of_photos_that_are_not_there_are_refused() {
    let without = Form {
        with_photo: false,
        ..form(Resize::SQUASH, SHAPE)
    };
    let without = dataset(images(without));
    assert!(Augment::Flip.check(&without).is_ok());
    let error = Augment::Standard.check(&without).unwrap_err();
    assert!(error.to_string().contains("photos"), "{error}");
    let with = dataset(images(form(Resize::SQUASH, SHAPE)));
    assert!(Augment::Standard.check(&with).is_ok());
    assert_eq!(with.bytes(), without.bytes() + 2 * (8 + 21 * 15 * 3));
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
