use super::super::tests::form;
use super::super::{Path, decode_into};
use super::*;

/// A file of one page of one strip: the entries beside those of all, each of numbers of 16 bits.
fn file(sides: [u16; 2], entries: &[(usize, &[u16])], strip: &[u8]) -> Vec<u8> {
    let [width, height] = sides;
    let mut all: Vec<(usize, Vec<u16>)> = vec![
        (256, vec![width]),
        (257, vec![height]),
        (259, vec![1]),
        (273, vec![8]),
        (278, vec![height]),
        (279, vec![strip.len() as u16]),
    ];
    all.extend(entries.iter().map(|(tag, values)| (*tag, values.to_vec())));
    all.sort();
    let start = 8 + strip.len().next_multiple_of(2);
    let mut elsewhere = start + 2 + 12 * all.len() + 4;
    let mut bytes = [&b"II*\0"[..], &(start as u32).to_le_bytes(), strip].concat();
    bytes.resize(start, 0);
    bytes.extend((all.len() as u16).to_le_bytes());
    let mut behind = Vec::new();
    for (tag, values) in all {
        let values: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        bytes.extend((tag as u16).to_le_bytes());
        bytes.extend(3_u16.to_le_bytes());
        bytes.extend((values.len() as u32 / 2).to_le_bytes());
        match values.len() {
            ..=4 => bytes.extend([&values[..], &[0; 4][values.len()..]].concat()),
            _ => bytes.extend((elsewhere as u32).to_le_bytes()),
        }
        if values.len() > 4 {
            elsewhere += values.len();
            behind.extend(values);
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(behind);
    bytes
}

fn pixels(bytes: &[u8], height: usize, width: usize) -> Result<Vec<u8>, String> {
    let form = form(height, width, 3);
    let mut out = vec![0; form.bytes()];
    let read = decode_into(Path::new("a.tif"), bytes, &form, &mut out);
    read.map(|_| out).map_err(|e| e.to_string())
}

/// Reds, greens and blues that differ, of so many bits.
fn map(bits: usize, scale: u16) -> Vec<u16> {
    let colours = 1 << bits;
    (0..3 * colours).map(|i| (i * 5) as u16 * scale).collect()
}

#[test]
fn palettes_of_any_number_of_bits_give_their_colours() {
    for (bits, strip) in [
        (1, vec![0b1010_0000, 0b0110_0000]),
        (2, vec![0b0110_1100, 0b1100_0100]),
        (4, vec![0x1A, 0xF0, 0x30, 0x20]),
        (8, vec![1, 2, 3, 9, 0, 4]),
    ] {
        let width = 3;
        let numbers: Vec<usize> = match bits {
            1 => vec![1, 0, 1, 0, 1, 1],
            2 => vec![1, 2, 3, 3, 0, 1],
            4 => vec![1, 10, 15, 3, 0, 2],
            _ => vec![1, 2, 3, 9, 0, 4],
        };
        // The colours of 16 bits are those of 8 times 256; some writers leave them as 8.
        let narrow = if bits == 8 { 256 } else { 1 };
        for scale in [256, narrow] {
            let map: Vec<u16> = map(bits, 1).iter().map(|v| v % 256 * scale).collect();
            let entries: [(usize, &[u16]); 4] = [
                (BITS, &[bits as u16]),
                (MEANING, &[3]),
                (SAMPLES, &[1]),
                (320, &map),
            ];
            let read = pixels(&file([width, 2], &entries, &strip), 2, 3).unwrap();
            let colour = |&n: &usize| [0, 1, 2].map(|c| (((c << bits) + n) * 5 % 256) as u8);
            let expected: Vec<u8> = numbers.iter().flat_map(colour).collect();
            assert_eq!(read, expected, "{bits} bits, {scale}");
        }
    }
}

#[test]
fn a_turned_palette_is_turned_and_one_that_lacks_colours_is_refused() {
    let map = map(8, 1).iter().map(|v| v % 256 * 256).collect::<Vec<_>>();
    let turned: [(usize, &[u16]); 5] = [
        (BITS, &[8]),
        (MEANING, &[3]),
        (SAMPLES, &[1]),
        (320, &map),
        (ORIENTATION, &[3]),
    ];
    let upright: [(usize, &[u16]); 4] =
        [(BITS, &[8]), (MEANING, &[3]), (SAMPLES, &[1]), (320, &map)];
    let read = pixels(&file([2, 1], &turned, &[7, 9]), 1, 2).unwrap();
    assert_eq!(
        read,
        pixels(&file([2, 1], &upright, &[9, 7]), 1, 2).unwrap()
    );
    let short: [(usize, &[u16]); 4] = [
        (BITS, &[8]),
        (MEANING, &[3]),
        (SAMPLES, &[1]),
        (320, &map[..30]),
    ];
    let text = pixels(&file([2, 1], &short, &[7, 9]), 1, 2).unwrap_err();
    assert!(text.contains("lacks colours"), "{text}");
}

#[test]
fn only_the_luma_and_chroma_of_jpeg_are_colours() {
    let with = |more: (usize, &[u16])| {
        let entries: [(usize, &[u16]); 4] =
            [(BITS, &[8, 8, 8]), (MEANING, &[6]), (SAMPLES, &[3]), more];
        pixels(&file([2, 1], &entries, &[76, 85, 255, 150, 44, 21]), 1, 2)
    };
    let whole = (530, &[1, 1][..]);
    let read = with(whole).unwrap();
    let near = |(a, b): (&u8, &u8)| a.abs_diff(*b) <= 1;
    assert!(
        read.iter().zip(&[254, 0, 0, 0, 255, 1]).all(near),
        "{read:?}"
    );
    assert!(with((530, &[2, 2])).unwrap_err().contains("YCbCr"));
    let entries: [(usize, &[u16]); 5] = [
        (BITS, &[8, 8, 8]),
        (MEANING, &[6]),
        (SAMPLES, &[3]),
        whole,
        (532, &[16, 235, 128, 240, 128, 240]),
    ];
    let studio = file([2, 1], &entries, &[76, 85, 255, 150, 44, 21]);
    assert!(
        pixels(&studio, 1, 2)
            .unwrap_err()
            .contains("other than JPEG's")
    );
}

#[test]
fn grey_with_alpha_of_16_bits_is_laid_on_white() {
    let strip: Vec<u8> = [0x8000_u16, 0xFFFF, 0x1234, 0]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let with = |extra: &[u16]| {
        let entries: [(usize, &[u16]); 4] = [
            (BITS, &[16, 16]),
            (MEANING, &[1]),
            (SAMPLES, &[2]),
            (EXTRA_SAMPLES, extra),
        ];
        pixels(&file([2, 1], &entries, &strip), 1, 2)
    };
    assert_eq!(with(&[2]).unwrap(), [128, 128, 128, 255, 255, 255]);
    assert!(with(&[1]).unwrap_err().contains("no plain alpha"));
}
