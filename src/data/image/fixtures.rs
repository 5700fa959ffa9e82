//! The pictures of `fixtures/pictures` against the pixels that Pillow reads from them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::tests::form;
use super::*;
use crate::data::{GREY, ResizeMode};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/pictures")
        .join(name)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{}", folder.display());
    files
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// The picture in its own size.
fn whole(path: &Path) -> Result<(u32, u32, Vec<u8>), DataError> {
    let (width, height) = image_dimensions(path)?;
    let size = (height as usize, width as usize);
    let pixels = load_image(path, size.0, size.1, 3, Resize::SQUASH)?;
    Ok((width, height, pixels))
}

/// The largest difference, and the mean one.
fn differences(a: &[u8], b: &[u8]) -> (u8, f64) {
    assert_eq!(a.len(), b.len());
    let each = || a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    let sum: f64 = each().map(f64::from).sum();
    (each().max().unwrap_or(0), sum / a.len() as f64)
}

#[test]
fn every_kind_of_file_has_the_pixels_that_pillow_reads() {
    let mut kinds = BTreeMap::<String, usize>::new();
    for path in files(&folder("right")) {
        let file = name(&path);
        let (picture, _) = file.split_once('.').unwrap();
        let expected = image::open(folder("expected").join(format!("{picture}.png"))).unwrap();
        let expected = expected.into_rgb8();
        let (width, height, pixels) = whole(&path).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!((width, height), expected.dimensions(), "{file}");
        let (largest, mean) = differences(&pixels, expected.as_raw());
        let kind = file.rsplit('.').next().unwrap().to_owned();
        let allowed = match kind.as_str() {
            "jpg" => 0,
            // Alpha and 16 bits are rounded another way; the transform of lossy WebP is the same, what
            // becomes of its chroma is not prescribed.
            _ => 3,
        };
        assert!(
            largest <= allowed && mean <= 1.0,
            "{file}: {largest}, {mean}"
        );
        *kinds.entry(kind).or_default() += 1;
    }
    let all: Vec<&str> = kinds.keys().map(String::as_str).collect();
    assert_eq!(all, ["bmp", "gif", "jpg", "png", "tif", "tiff", "webp"]);
}

#[test]
fn files_that_would_have_wrong_pixels_are_refused_with_the_reason() {
    let reasons = [
        ("arithmetic.jpg", "arithmetic"),
        ("big.tif", "bigtiff"),
        ("bits-in-reverse.tif", "reverse"),
        ("data-missing.jpg", "missing"),
        ("deep-white-zero.tif", "zero is white"),
        ("float.tif", "floating-point numbers of 32 bits"),
        ("fractions.jpg", "sampled"),
        ("frame-beyond.gif", "larger than the picture"),
        ("frame-inside.gif", "no colour"),
        ("jpeg.tif", "jpeg"),
        ("lab.tif", "tiff of cie lab in 3 channels"),
        ("lossless.jpg", "lossless"),
        ("multiplied-alpha.tif", "alpha"),
        ("no-offset.bmp", "begin before"),
        ("palette-alpha.tif", "a palette in 2 channels"),
        ("palette-not-counted.bmp", "begin before"),
        ("scan-missing.jpg", "scans are missing"),
        ("signed.tif", "numbers with a sign"),
        ("twelve-bits.jpg", "12 bits"),
    ];
    let files = files(&folder("refused"));
    assert_eq!(files.len(), reasons.len());
    for (path, (file, reason)) in files.iter().zip(reasons) {
        assert_eq!(name(path), file);
        let error = whole(path).unwrap_err();
        let text = error.to_string().to_lowercase();
        assert!(error.is_bad_input() && text.contains(file), "{text}");
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn images_are_resized_as_pillow_does() {
    for path in files(&folder("resized")) {
        let file = name(&path);
        let expected = image::open(&path).unwrap();
        let (height, width) = (expected.height() as usize, expected.width() as usize);
        let channels = expected.color().channel_count() as usize;
        let source = folder("right").join("plain.png");
        let pixels = load_image(&source, height, width, channels, Resize::SQUASH).unwrap();
        let (largest, mean) = differences(&pixels, &expected.into_bytes());
        assert!(largest <= 1 && mean < 0.2, "{file}: {largest}, {mean}");
    }
}

/// The file of `right` that a file named `NAME-WIDTHxHEIGHT…` was made of, and what is behind the name.
fn made_of(file: &str) -> (PathBuf, &str) {
    let place = file.rfind('x').and_then(|x| file[..x].rfind('-')).unwrap();
    let (picture, rest) = file.split_at(place);
    let is_it = |path: &PathBuf| name(path).split_once('.').unwrap().0 == picture;
    let source = files(&folder("right")).into_iter().find(is_it);
    (source.unwrap(), &rest[1..])
}

#[test]
fn images_are_cropped_and_letterboxed_as_pillow_does_by_the_rules_of_torchvision_and_yolo() {
    let mut count = 0;
    for kind in ["cropped", "letterboxed"] {
        for path in files(&folder(kind)) {
            let file = name(&path);
            let (source, rest) = made_of(file.strip_suffix(".png").unwrap());
            let rule = match rest.split_once('-') {
                Some((_, share)) => format!("crop:{share}").parse().unwrap(),
                None => Resize::LETTERBOX,
            };
            let expected = image::open(&path).unwrap().into_rgb8();
            let (height, width) = (expected.height() as usize, expected.width() as usize);
            let pixels = load_image(&source, height, width, 3, rule).unwrap();
            let (largest, mean) = differences(&pixels, expected.as_raw());
            assert!(largest <= 1 && mean < 0.25, "{file}: {largest}, {mean}");
            let grey = |pixels: &[u8]| -> Vec<bool> {
                pixels.chunks(3).map(|pixel| pixel == [GREY; 3]).collect()
            };
            if rule == Resize::LETTERBOX {
                assert_eq!(grey(&pixels), grey(expected.as_raw()), "{file}");
            }
            count += 1;
        }
    }
    assert_eq!(count, 45);
}

/// Only what is kept is resized: the pixels are those of the whole image resized, of which the middle is cut out,
/// but for the last bit of a few, as weights are rounded more finely where none at the image's edge is among them.
#[test]
fn a_crop_has_the_pixels_of_the_whole_image_resized() {
    let grain =
        |x, y| image::Rgb([x * 7919 + y * 104_729, x * y * 31, (x ^ y) * 57].map(|v: u32| v as u8));
    let picture = RgbImage::from_fn(217, 143, grain);
    let raster = Raster {
        width: 217,
        height: 143,
        channels: 3,
        pixels: picture.as_raw(),
    };
    for (side, share) in [
        (32, 0.875),
        (100, 0.9),
        (120, 0.875),
        (160, 0.6),
        (143, 1.0),
    ] {
        let form = Form {
            resize: Resize::by(ResizeMode::Crop { share }),
            ..form(side, side, 3)
        };
        let mut crop = vec![0; form.bytes()];
        let placement = form.resize.placement([217, 143], [side; 2]);
        place(&raster, &placement, form.size, &mut crop).unwrap();
        let short = (side as f64 / share).floor() as usize;
        let long = short * 217 / 143;
        let all = resized(&raster, [0.0, 0.0, 217.0, 143.0], [long, short]).unwrap();
        let start = |length: usize| ((length - side) as f64 / 2.0).round_ties_even() as usize;
        let rows = all.chunks(long * 3).skip(start(short)).take(side);
        let middle: Vec<u8> = rows
            .flat_map(|row| &row[start(long) * 3..][..side * 3])
            .copied()
            .collect();
        let (largest, mean) = differences(&crop, &middle);
        assert!(
            largest <= 1 && mean < 0.002,
            "{side}, {share}: {largest}, {mean}"
        );
    }
}

#[test]
fn grey_pictures_are_resized_to_what_their_colours_would_be() {
    let grey = folder("right").join("grey-colours.png");
    let three = image::open(&grey).unwrap().into_rgb8();
    let coloured = tempfile::Builder::new().suffix(".png").tempfile().unwrap();
    three.save(coloured.path()).unwrap();
    for (height, width) in [(5, 8), (40, 64), (19, 7)] {
        for channels in [1, 3] {
            let of =
                |path: &Path| load_image(path, height, width, channels, Resize::SQUASH).unwrap();
            assert_eq!(of(&grey), of(coloured.path()));
        }
    }
}

#[test]
fn a_file_without_its_end_marker_is_read_and_noted() {
    let whole = std::fs::read(folder("right").join("420.separate.jpg")).unwrap();
    let (note, pixels) = read(&whole).unwrap();
    assert_eq!(note, None);
    let (note, same) = read(&whole[..whole.len() - 2]).unwrap();
    assert_eq!(note, Some(LACKS_END));
    assert_eq!(pixels, same);

    let whole = super::tests::png(super::tests::picture(27, 19));
    let (note, pixels) = read(&whole).unwrap();
    assert_eq!(note, None);
    // The last chunk has 12 bytes.
    for lack in 1..=12 {
        let (note, same) = read(&whole[..whole.len() - lack]).unwrap();
        assert_eq!((note, &same), (Some(LACKS_END), &pixels), "{lack}");
    }
}

/// A picture of 27 × 19 in that size, and what is noted.
fn read(bytes: &[u8]) -> Result<(Option<&'static str>, Vec<u8>), String> {
    let form = form(19, 27, 3);
    let mut out = vec![0; form.bytes()];
    decode(bytes, &form, &mut out).map(|note| (note, out))
}

#[test]
fn a_jpeg_that_is_cut_off_has_the_pixels_that_pillow_reads_as_far_as_it_goes() {
    let mut count = 0;
    for path in files(&folder("cut")) {
        if path.extension().is_some_and(|e| e == "png") {
            continue;
        }
        let expected = image::open(path.with_extension("png")).unwrap().into_rgb8();
        let (width, height) = image_dimensions(&path).unwrap();
        let size = (height as usize, width as usize);
        let (pixels, note) = load_image_and_note(&path, size.0, size.1, 3, Resize::SQUASH).unwrap();
        assert_eq!(note, Some(CUT_OFF), "{}", path.display());
        assert_eq!((width, height), expected.dimensions());
        assert!(pixels == *expected.as_raw(), "{}", path.display());
        count += 1;
    }
    assert_eq!(count, 6);
}

/// The more of a file is there, the nearer the picture is to the whole one, of whatever kind of scans; without a block
/// of it there is none.
#[test]
fn a_jpeg_may_be_cut_off_anywhere_behind_its_first_block() {
    for kind in ["interleaved", "separate", "restarts", "progressive"] {
        let file = folder("right").join(format!("420.{kind}.jpg"));
        let whole = std::fs::read(file).unwrap();
        let (_, pixels) = read(&whole).unwrap();
        let scan = whole.windows(2).position(|w| w == [0xFF, 0xDA]).unwrap();
        let mut errors = Vec::new();
        for end in 0..whole.len() - 3 {
            match read(&whole[..end]) {
                Err(reason) => assert!(end < scan + 200 && errors.is_empty(), "{end}: {reason}"),
                Ok((note, some)) => {
                    // Of the last bits of some kinds nothing is missing that cannot be told.
                    assert!(
                        note == Some(CUT_OFF) || end + 8 > whole.len(),
                        "{end}: {note:?}"
                    );
                    errors.push(differences(&some, &pixels).1);
                }
            }
        }
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        let parts: Vec<f64> = errors.chunks(errors.len().div_ceil(3)).map(mean).collect();
        assert!(
            parts[0] > parts[1] && parts[1] > parts[2],
            "{kind}: {parts:?}"
        );
        assert!(errors.last().is_some_and(|last| *last < 2.0), "{kind}");
    }
}

#[test]
fn damaged_pictures_of_every_kind_are_decoded_or_refused() {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let form = Form {
        with_photo: true,
        ..form(8, 8, 3)
    };
    let mut out = vec![0; form.bytes()];
    for path in files(&folder("right")) {
        let whole = std::fs::read(&path).unwrap();
        for _ in 0..60 {
            let mut bytes = whole.clone();
            for _ in 0..rng.random_range(1..6) {
                let at = rng.random_range(2..bytes.len());
                bytes[at] = rng.random();
            }
            let start = std::time::Instant::now();
            if let Err(error) = decode_into(&path, &bytes, &form, &mut out) {
                assert!(error.is_bad_input());
            }
            assert!(start.elapsed().as_secs() < 20, "{}", path.display());
        }
    }
}

/// The size and pixels that Pillow reads from a file.
fn by_pillow(python: &Path, path: &Path) -> Option<(u32, u32, Vec<u8>)> {
    const SCRIPT: &str = "import sys; sys.path.insert(0, sys.argv[1]); from pictures import Image, on_white; \
                          image = on_white(Image.open(sys.argv[2])); \
                          sys.stdout.buffer.write(b'%d %d\\n' % image.size + image.tobytes())";
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools");
    let ran = std::process::Command::new(python)
        .args(["-c", SCRIPT])
        .args([&tools, path])
        .output()
        .ok()
        .filter(|ran| ran.status.success())?;
    let end = ran.stdout.iter().position(|byte| *byte == b'\n')?;
    let size = std::str::from_utf8(&ran.stdout[..end]).ok()?;
    let (width, height) = size.split_once(' ')?;
    let pixels = ran.stdout[end + 1..].to_vec();
    Some((width.parse().ok()?, height.parse().ok()?, pixels))
}

#[test]
fn shared_pictures_have_the_pixels_that_pillow_reads() {
    let Some(shared) = crate::testing::shared() else {
        return;
    };
    let Some(python) = crate::testing::python(&["numpy", "PIL"]) else {
        crate::testing::skip("python", "one with Pillow and NumPy (FTSURGERY_PYTHON)");
        return;
    };
    for path in files(&shared.join("cases/images")) {
        let file = name(&path);
        let (width, height, pixels) = whole(&path).unwrap_or_else(|e| panic!("{file}: {e}"));
        let expected =
            by_pillow(&python, &path).unwrap_or_else(|| panic!("Pillow does not read {file}"));
        assert_eq!((width, height), (expected.0, expected.1), "{file}");
        let (largest, mean) = differences(&pixels, &expected.2);
        assert!(largest <= 3 && mean <= 1.0, "{file}: {largest}, {mean}");
    }
}

#[test]
fn shared_pictures_in_several_scans_equal_those_in_one() {
    let Some(shared) = crate::testing::shared() else {
        return;
    };
    let images = shared.join("cases/images");
    assert_eq!(
        whole(&images.join("ni_sep2.jpg")).unwrap(),
        whole(&images.join("ni_int2.jpg")).unwrap()
    );
    let hostile = shared.join("cases/hostile");
    for file in ["plte_7_bytes.png", "bomb_16384_grey.png"] {
        if let Err(error) = load_image(&hostile.join(file), 8, 8, 3, Resize::SQUASH) {
            assert!(error.is_bad_input() && error.to_string().contains(file));
        }
    }
}
