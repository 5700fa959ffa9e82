//! The pictures of `fixtures/pictures` against the pixels that Pillow reads from them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;

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
    let pixels = load_image(path, height as usize, width as usize, 3)?;
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
        ("cut-off.jpg", "cut off"),
        ("data-missing.jpg", "missing"),
        ("deep-white-zero.tif", "zero is white"),
        ("float.tif", "float"),
        ("fractions.jpg", "sampled"),
        ("frame-beyond.gif", "larger than the picture"),
        ("frame-inside.gif", "no colour"),
        ("jpeg.tif", "jpeg"),
        ("lossless.jpg", "lossless"),
        ("multiplied-alpha.tif", "alpha"),
        ("no-offset.bmp", "begin before"),
        ("palette-not-counted.bmp", "begin before"),
        ("palette.tif", "palette"),
        ("scan-missing.jpg", "scans are missing"),
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
        let pixels = load_image(&source, height, width, channels).unwrap();
        let (largest, mean) = differences(&pixels, &expected.into_bytes());
        assert!(largest <= 1 && mean < 0.2, "{file}: {largest}, {mean}");
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
            let of = |path: &Path| load_image(path, height, width, channels).unwrap();
            assert_eq!(of(&grey), of(coloured.path()));
        }
    }
}

#[test]
fn a_file_without_its_end_marker_is_read_and_noted_and_a_cut_one_is_not() {
    let whole = std::fs::read(folder("right").join("420.separate.jpg")).unwrap();
    let size = Size::new(19, 27, 3).unwrap();
    let read = |bytes: &[u8]| {
        let mut out = vec![0; size.bytes()];
        decode(bytes, size, &mut out).map(|note| (note, out))
    };
    let (note, pixels) = read(&whole).unwrap();
    assert_eq!(note, None);
    let (note, same) = read(&whole[..whole.len() - 2]).unwrap();
    assert_eq!(note, Some(LACKS_END));
    assert_eq!(pixels, same);
    for end in 0..whole.len() - 3 {
        assert!(read(&whole[..end]).is_err(), "{end}");
    }
}

#[test]
fn damaged_pictures_of_every_kind_are_decoded_or_refused() {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let size = Size::new(8, 8, 3).unwrap();
    let mut out = vec![0; size.bytes()];
    for path in files(&folder("right")) {
        let whole = std::fs::read(&path).unwrap();
        for _ in 0..60 {
            let mut bytes = whole.clone();
            for _ in 0..rng.random_range(1..6) {
                let at = rng.random_range(2..bytes.len());
                bytes[at] = rng.random();
            }
            let start = std::time::Instant::now();
            if let Err(error) = decode_into(&path, &bytes, size, &mut out) {
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
        if let Err(error) = load_image(&hostile.join(file), 8, 8, 3) {
            assert!(error.is_bad_input() && error.to_string().contains(file));
        }
    }
}
