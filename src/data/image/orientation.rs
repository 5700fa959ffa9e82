//! How a picture is to be turned, by what stands beside its pixels.
//!
//! As Pillow's `ImageOps.exif_transpose` takes it: the tag `Orientation` of EXIF's first directory
//! (EXIF 2.32, 4.6.4), or where that has none, `tiff:Orientation` of XMP.

use image::metadata::Orientation;

use super::directory::Directory;
use super::misread::chunks;

const ORIENTATION: usize = 0x112;

/// The orientation by an EXIF block and an XMP packet; values that mean nothing turn nothing.
pub(super) fn orientation(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Orientation {
    let value = exif
        .and_then(of_exif)
        .or_else(|| xmp.and_then(of_xmp))
        .and_then(Orientation::from_exif);
    value.unwrap_or(Orientation::NoTransforms)
}

fn of_exif(mut exif: &[u8]) -> Option<u8> {
    // JPEG has this before the block; some writers of PNG and WebP have taken it along.
    while let Some(rest) = exif.strip_prefix(b"Exif\0\0") {
        exif = rest;
    }
    let value = Directory::first(exif)?.number(ORIENTATION)?;
    Some(u8::try_from(value).unwrap_or(0))
}

/// The EXIF block of a PNG file, which may also stand behind the pixels (PNG, third edition, 11.3.4.5).
pub(super) fn exif_of_png(png: &[u8]) -> Option<&[u8]> {
    let mut blocks = chunks(png).filter(|(kind, _)| *kind == b"eXIf");
    blocks.next().map(|(_, data)| data)
}

fn of_xmp(xmp: &[u8]) -> Option<u8> {
    const NAME: &[u8] = b"tiff:Orientation";
    let mut values = xmp.windows(NAME.len()).enumerate();
    values.find_map(|(at, text)| {
        let behind = (text == NAME).then(|| &xmp[at + NAME.len()..])?;
        let digit = behind
            .strip_prefix(b"=\"")
            .or_else(|| behind.strip_prefix(b">"))?
            .first()?;
        digit.is_ascii_digit().then(|| digit - b'0')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block with one entry of the field type `kind`.
    fn exif(kind: u16, value: &[u8; 4]) -> Vec<u8> {
        let mut block = b"MM\0*\0\0\0\x08\0\x01\x01\x12".to_vec();
        block.extend(kind.to_be_bytes());
        block.extend([0, 0, 0, 1]);
        block.extend(value);
        block
    }

    #[test]
    fn a_tag_of_16_or_32_bits_is_read() {
        let turned = Orientation::Rotate90;
        let short = exif(3, &[0, 6, 0, 0]);
        assert_eq!(orientation(Some(&short), None), turned);
        assert_eq!(orientation(Some(&exif(4, &[0, 0, 0, 6])), None), turned);
        let prefixed = [b"Exif\0\0Exif\0\0", short.as_slice()].concat();
        assert_eq!(orientation(Some(&prefixed), None), turned);
        for damaged in [
            exif(3, &[0, 9, 0, 0]),
            exif(4, &[1, 0, 0, 6]),
            short[..14].to_vec(),
            b"MM\0*\xFF\xFF\xFF\xFF".to_vec(),
        ] {
            let none = Orientation::NoTransforms;
            assert_eq!(orientation(Some(&damaged), None), none, "{damaged:?}");
        }
    }

    #[test]
    fn xmp_counts_where_exif_says_nothing() {
        let attribute = br#"<rdf:Description xmlns:tiff="t" tiff:Orientation="6"/>"#;
        let element = b"tiff:OrientationX <tiff:Orientation>6</tiff:Orientation>";
        for xmp in [attribute.as_slice(), element] {
            assert_eq!(orientation(None, Some(xmp)), Orientation::Rotate90);
            let upright = exif(3, &[0, 1, 0, 0]);
            let said = orientation(Some(&upright), Some(xmp));
            assert_eq!(said, Orientation::NoTransforms);
        }
        assert_eq!(
            orientation(None, Some(b"tiff:Orientation")),
            Orientation::NoTransforms
        );
    }
}
