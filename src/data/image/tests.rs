use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{ImageBuffer, Luma, Rgb, Rgba, RgbaImage};

use super::*;

pub(in crate::data) fn png(picture: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = Cursor::new(vec![]);
    picture
        .into()
        .write_to(&mut bytes, ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

pub(in crate::data) fn jpeg(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = vec![];
    JpegEncoder::new_with_quality(&mut bytes, 95)
        .encode_image(picture)
        .unwrap();
    bytes
}

/// Smooth, and different in every channel, direction and corner.
pub(in crate::data) fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (x * 255 / width, y * 255 / height);
        Rgb([x as u8, y as u8, ((x + y) / 2) as u8])
    })
}

fn decoded(bytes: &[u8], h: usize, w: usize, c: usize) -> Result<Vec<u8>, DataError> {
    let form = form(h, w, c);
    let mut out = vec![0; form.bytes()];
    decode_into(Path::new("some/file.jpg"), bytes, &form, &mut out).map(|_| out)
}

/// Squashed to this size.
pub(super) fn form(height: usize, width: usize, channels: usize) -> Form {
    Form {
        size: Size::new(height, width, channels).unwrap(),
        resize: Resize::SQUASH,
        with_photo: false,
    }
}

fn refusal(bytes: &[u8]) -> String {
    let error = decoded(bytes, 4, 4, 3).unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("some/file.jpg"));
    error.to_string()
}

fn assert_near(actual: &[u8], expected: &[u8], tolerance: u8) {
    assert_eq!(actual.len(), expected.len());
    for (a, e) in actual.iter().zip(expected) {
        assert!(
            a.abs_diff(*e) <= tolerance,
            "{actual:?} is not {expected:?}"
        );
    }
}

/// As [`jpeg`], with an EXIF segment that holds `orientation` and `filler` more bytes.
fn jpeg_with_exif(picture: &RgbImage, orientation: u8, filler: &[u8]) -> Vec<u8> {
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    exif.extend(filler);
    let plain = jpeg(picture);
    let mut bytes = plain[..2].to_vec();
    bytes.extend([0xFF, 0xE1]);
    bytes.extend((exif.len() as u16 + 2).to_be_bytes());
    bytes.extend(exif);
    bytes.extend(&plain[2..]);
    bytes
}

#[test]
fn png_of_the_wanted_size_keeps_its_pixels() {
    let picture = picture(7, 5);
    let bytes = png(picture.clone());
    assert_eq!(decoded(&bytes, 5, 7, 3).unwrap(), picture.into_raw());
}

#[test]
fn jpeg_pixels_are_near_those_encoded() {
    let picture = picture(32, 24);
    assert_near(
        &decoded(&jpeg(&picture), 24, 32, 3).unwrap(),
        picture.as_raw(),
        12,
    );
}

#[test]
fn reduction_averages_instead_of_picking_pixels() {
    let stripes = RgbImage::from_fn(64, 64, |x, _| Rgb([if x % 2 == 0 { 0 } else { 255 }; 3]));
    for value in decoded(&png(stripes), 8, 8, 3).unwrap() {
        assert!((118..=137).contains(&value), "{value}");
    }
}

#[test]
fn the_whole_image_is_squashed_to_the_wanted_size() {
    let mut wide = RgbImage::new(40, 10);
    for (x, _, pixel) in wide.enumerate_pixels_mut() {
        *pixel = if x < 20 {
            Rgb([255, 0, 0])
        } else {
            Rgb([0, 0, 255])
        };
    }
    let small = decoded(&png(wide), 2, 2, 3).unwrap();
    for row in small.chunks(6) {
        assert!(
            row[0] > 200 && row[2] < 55 && row[3] < 55 && row[5] > 200,
            "{small:?}"
        );
    }
}

#[test]
fn grey_images_fill_three_channels_and_colours_become_luma() {
    let grey = GrayImage::from_fn(4, 4, |x, y| Luma([(x * 16 + y) as u8]));
    let colours = decoded(&png(grey.clone()), 4, 4, 3).unwrap();
    assert!(
        colours
            .chunks(3)
            .zip(grey.as_raw())
            .all(|(p, g)| p == [*g; 3])
    );
    assert_eq!(
        decoded(&png(grey.clone()), 4, 4, 1).unwrap(),
        grey.into_raw()
    );
    let green = RgbImage::from_pixel(4, 4, Rgb([0, 255, 0]));
    assert_eq!(decoded(&png(green), 4, 4, 1).unwrap(), [150; 16]);
}

#[test]
fn sixteen_bits_become_eight() {
    let deep =
        ImageBuffer::<Luma<u16>, _>::from_fn(3, 1, |x, _| Luma([(x * 32896).min(65535) as u16]));
    let bytes = png(DynamicImage::ImageLuma16(deep));
    assert_eq!(decoded(&bytes, 1, 3, 1).unwrap(), [0, 128, 255]);
}

#[test]
fn transparent_pixels_are_laid_on_white() {
    let mut glass = RgbaImage::from_pixel(3, 1, Rgba([100, 0, 200, 255]));
    glass.put_pixel(1, 0, Rgba([100, 0, 200, 0]));
    glass.put_pixel(2, 0, Rgba([0, 0, 0, 128]));
    assert_eq!(
        decoded(&png(glass), 1, 3, 3).unwrap(),
        [100, 0, 200, 255, 255, 255, 127, 127, 127]
    );
}

#[test]
fn exif_orientation_is_applied() {
    let upright = picture(16, 32);
    // Orientation 6: to be shown, the stored image is turned clockwise by a quarter.
    let stored = image::imageops::rotate270(&upright);
    let shown = decoded(&jpeg_with_exif(&stored, 6, b""), 32, 16, 3).unwrap();
    assert_near(&shown, upright.as_raw(), 12);
    let plain = decoded(&jpeg_with_exif(&stored, 1, b""), 16, 32, 3).unwrap();
    assert_near(&plain, stored.as_raw(), 12);
}

/// As Pillow with `LOAD_TRUNCATED_IMAGES`, but that there the rest of a palette's picture has its first colour.
#[test]
fn a_png_that_is_cut_off_has_its_first_rows_and_none_without_a_row() {
    let colours = picture(40, 40);
    let deep = ImageBuffer::from_fn(40, 40, |x, y| Luma([300 * (x + y) as u16 + 300]));
    for (bytes, wanted) in [
        (png(colours.clone()), DynamicImage::from(colours.clone())),
        (png(DynamicImage::from(colours.clone()).into_luma8()), {
            DynamicImage::from(DynamicImage::from(colours).into_luma8())
        }),
        (png(DynamicImage::ImageLuma16(deep.clone())), {
            DynamicImage::ImageLuma16(deep)
        }),
    ] {
        let whole = decoded(&bytes, 40, 40, 3).unwrap();
        assert_near(&whole, wanted.into_rgb8().as_raw(), 1);
        let mut rows = Vec::new();
        for end in 0..bytes.len() - 13 {
            let form = form(40, 40, 3);
            let mut out = vec![0; form.bytes()];
            match decode_into(Path::new("a.png"), &bytes[..end], &form, &mut out) {
                Err(_) => assert!(rows.is_empty(), "{end}"),
                Ok(note) => {
                    assert_eq!(note, Some(CUT_OFF_PNG), "{end}");
                    let same = out.iter().zip(&whole).take_while(|(a, b)| a == b).count();
                    assert!(out[same..].iter().all(|value| *value == 0), "{end}");
                    rows.push(same / (3 * 40));
                }
            }
        }
        assert!(rows.is_sorted() && rows[0] < 5, "{rows:?}");
        assert_eq!(rows.last(), Some(&40));
    }
}

#[test]
fn a_jpeg_cut_off_before_its_picture_is_refused() {
    let thumbnail = jpeg(&picture(8, 8));
    for whole in [
        jpeg(&picture(40, 40)),
        jpeg_with_exif(&picture(40, 40), 1, &thumbnail),
    ] {
        let scan = whole.windows(2).rposition(|w| w == [0xFF, 0xDA]).unwrap();
        for end in 0..scan + 16 {
            assert!(decoded(&whole[..end], 8, 8, 3).is_err(), "{end}");
        }
        assert!(refusal(&whole[..scan]).contains("cut off"));
        decoded(&whole[..whole.len() - 20], 8, 8, 3).unwrap();
    }
}

#[test]
fn bytes_after_the_image_do_no_harm() {
    for mut bytes in [jpeg(&picture(9, 9)), png(picture(9, 9))] {
        bytes.extend([0, 1, 2, 3]);
        decoded(&bytes, 9, 9, 3).unwrap();
    }
}

#[test]
fn what_is_not_an_image_is_refused() {
    for text in [
        &b""[..],
        b"hello",
        b"GIF89a",
        b"\xFF\xD8",
        b"\xFF\xD8\xFF\xD9",
    ] {
        refusal(text);
    }
    assert!(refusal(b"hello").contains("none of JPEG, PNG"));
}

/// A PNG whose header claims `width` × `height` pixels, with a correct checksum.
fn claiming(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png(picture(4, 4));
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = checksum(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// PNG's, of a chunk.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |mut sum, byte| {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 {
                sum >> 1 ^ 0xEDB8_8320
            } else {
                sum >> 1
            };
        }
        sum
    })
}

#[test]
fn images_claiming_to_be_huge_are_refused_before_they_take_memory() {
    assert!(decoded(&claiming(4, 4), 4, 4, 3).is_ok());
    assert!(refusal(&claiming(60_000, 60_000)).contains("exceed"));
    assert!(refusal(&claiming(16_384, 16_384)).contains("MiB"));
    assert!(refusal(&claiming(16_384, 12_000)).contains("MiB"));
    let mut wide = jpeg(&picture(16, 16));
    let frame = wide.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    wide[frame + 5..frame + 9].copy_from_slice(&[0xFF; 4]);
    refusal(&wide);
}

#[test]
fn files_over_the_limit_and_what_is_no_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big.png");
    File::create(&path)
        .unwrap()
        .set_len(MAX_FILE_BYTES + 1)
        .unwrap();
    let error = load_image(&path, 4, 4, 3, Resize::SQUASH).unwrap_err();
    assert!(error.to_string().contains("big.png") && error.to_string().contains("64 MiB"));
    assert!(
        load_image(folder.path(), 4, 4, 3, Resize::SQUASH)
            .unwrap_err()
            .is_bad_input()
    );
    assert!(
        load_image(&folder.path().join("no.png"), 4, 4, 3, Resize::SQUASH)
            .unwrap_err()
            .is_bad_input()
    );
    assert!(
        load_image(&path, 0, 4, 3, Resize::SQUASH)
            .unwrap_err()
            .to_string()
            .contains("height")
    );
    assert!(
        load_image(&path, 4, 4, 2, Resize::SQUASH)
            .unwrap_err()
            .to_string()
            .contains("channels")
    );
}

/// A PNG of two pixels whose palette of two colours and a byte makes its decoder panic.
pub(in crate::data) fn broken_palette() -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        bytes.extend((data.len() as u32).to_be_bytes());
        let start = bytes.len();
        bytes.extend(kind);
        bytes.extend(data);
        let sum = checksum(&bytes[start..]);
        bytes.extend(sum.to_be_bytes());
    };
    chunk(b"IHDR", &[0, 0, 0, 2, 0, 0, 0, 1, 8, 3, 0, 0, 0]);
    chunk(b"PLTE", &[1, 2, 3, 4, 5, 6, 7]);
    // One stored block: no filter, indices 0 and 2.
    chunk(
        b"IDAT",
        &[0x78, 1, 1, 3, 0, 0xFC, 0xFF, 0, 0, 2, 0, 5, 0, 3],
    );
    chunk(b"IEND", &[]);
    bytes
}

#[test]
fn a_png_of_very_many_texts_is_refused() {
    let whole = png(picture(4, 4));
    let mut text = b"\0\0\0\x03tEXta\0b".to_vec();
    text.extend(checksum(&text[4..]).to_be_bytes());
    let with = |texts: usize| [&whole[..33], &text.repeat(texts), &whole[33..]].concat();
    decoded(&with(10_000), 4, 4, 3).unwrap();
    assert!(refusal(&with(10_001)).contains("texts"));
}

#[test]
fn a_webp_whose_metadata_are_said_to_be_larger_than_the_file_is_refused_before_they_take_memory() {
    let picture = picture(4, 3);
    let mut plain = Cursor::new(vec![]);
    picture.write_to(&mut plain, ImageFormat::WebP).unwrap();
    let image = &plain.get_ref()[12..];
    let with = |size: u32, data: &[u8]| {
        let part = |name: &[u8; 4], size: u32, data: &[u8]| {
            [name.as_slice(), &size.to_le_bytes(), data].concat()
        };
        // Canvas of 4 × 3, with EXIF data.
        let canvas = part(b"VP8X", 10, &[8, 0, 0, 0, 3, 0, 0, 2, 0, 0]);
        let parts = [b"WEBP", &*canvas, image, &part(b"EXIF", size, data)].concat();
        [b"RIFF", &(parts.len() as u32).to_le_bytes(), &*parts].concat()
    };
    // An odd size is filled up, which some writers forget.
    for good in [
        with(8, b"Exif\0\0II"),
        with(7, b"Exif\0\0I\0"),
        with(7, b"Exif\0\0I"),
    ] {
        assert_eq!(decoded(&good, 3, 4, 3).unwrap(), picture.as_raw()[..]);
    }
    for size in [9, 1 << 20, u32::MAX - 200, u32::MAX] {
        let mut bad = with(size, b"Exif\0\0II");
        assert!(refusal(&bad).contains("larger than the file"), "{size}");
        bad[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(refusal(&bad).contains("larger than the file"), "{size}");
    }
}

#[test]
fn a_panic_of_a_decoder_is_the_error_of_that_file() {
    refusal(&broken_palette());
    // Whatever a later decoder makes of that one.
    let path = Path::new("some/file.jpg");
    let error = protected::<()>(path, || panic!("as a decoder may")).unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("some/file.jpg"));
}

#[test]
fn a_file_of_very_many_scans_is_refused_in_no_time() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pictures/right/420.progressive.jpg");
    let bytes = std::fs::read(path).unwrap();
    let scan = bytes.windows(2).rposition(|w| w == [0xFF, 0xDA]).unwrap();
    let last = &bytes[scan..bytes.len() - 2];
    let mut many = bytes[..scan].to_vec();
    for _ in 0..20_000 {
        many.extend(last);
    }
    many.extend([0xFF, 0xD9]);
    assert!(refusal(&many).contains("scans"));
}

#[test]
fn damaged_files_are_decoded_or_refused_but_never_panic() {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    let sources = [
        jpeg(&picture(40, 24)),
        jpeg_with_exif(&picture(24, 24), 6, &jpeg(&picture(8, 8))),
        png(picture(40, 24)),
        png(RgbaImage::from_pixel(9, 9, Rgba([1, 2, 3, 4]))),
    ];
    for source in sources {
        for _ in 0..500 {
            let mut bytes = source.clone();
            for _ in 0..rng.random_range(1..8) {
                let at = rng.random_range(2..bytes.len());
                bytes[at] = rng.random();
            }
            let _ = decoded(&bytes, 8, 8, 3);
        }
    }
}

#[test]
fn alpha_is_kept_where_it_is_asked_for_and_255_where_a_file_has_none() {
    let see_through = RgbaImage::from_fn(4, 4, |x, y| match y < 2 {
        true => Rgba([200, 100, (x * 20) as u8, 255]),
        false => Rgba([0, 0, 255, 0]),
    });
    let bytes = png(see_through.clone());
    assert_eq!(decoded(&bytes, 4, 4, 4).unwrap(), see_through.into_raw());
    // The colour of what is not seen does not bleed into what is.
    let small = decoded(&bytes, 1, 1, 4).unwrap();
    assert_near(&small, &[200, 100, 30, 128], 2);

    let opaque = picture(4, 4);
    let expected: Vec<u8> = opaque
        .pixels()
        .flat_map(|Rgb([r, g, b])| [*r, *g, *b, 255])
        .collect();
    assert_eq!(decoded(&png(opaque), 4, 4, 4).unwrap(), expected);
    let grey = ImageBuffer::from_pixel(2, 2, Luma([7u8]));
    assert_eq!(decoded(&png(grey), 1, 1, 4).unwrap(), [7, 7, 7, 255]);
    let grey = ImageBuffer::from_pixel(2, 2, image::LumaA([7u8, 9]));
    assert_eq!(decoded(&png(grey), 2, 2, 4).unwrap()[..4], [7, 7, 7, 9]);
    // Around a letterbox nothing is transparent.
    let form = Form {
        resize: Resize::LETTERBOX,
        ..form(4, 2, 4)
    };
    let mut out = vec![0; form.bytes()];
    decode_into(Path::new("a.png"), &png(picture(4, 4)), &form, &mut out).unwrap();
    assert_eq!(out[..4], [114, 114, 114, 255]);
}
