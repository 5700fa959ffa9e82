//! Floats cut into three pieces of bfloat16, laid out as tiles.
//!
//! The pieces of x are h = x rounded to bfloat16, m = x − h rounded, and l = x − h − m, which is one. All
//! three differences are exact.

#![allow(unsafe_code)]

use super::tile::{LINES, PIECES, TILE};
use std::arch::x86_64::*;

/// Summed elements of a step.
pub(super) const STEP: usize = 32;
/// Summed elements of a tap are taken so many at a time.
const CHUNK: usize = 16;

/// Up to [`CHUNK`] summed elements that follow each other: `len` of a tap, from `first`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chunk {
    pub tap: usize,
    pub first: usize,
    pub len: usize,
}

/// The steps over `taps` times `depth` summed elements.
pub(super) fn steps(taps: usize, depth: usize) -> Vec<[Chunk; 2]> {
    let chunk = |tap, first| Chunk {
        tap,
        first,
        len: CHUNK.min(depth - first),
    };
    let chunks = (0..taps).flat_map(|tap| (0..depth).step_by(CHUNK).map(move |k| chunk(tap, k)));
    let chunks: Vec<Chunk> = chunks.collect();
    chunks
        .chunks(2)
        .map(|pair| [pair[0], pair.get(1).copied().unwrap_or_default()])
        .collect()
}

/// Floats of an arranged weight per 16 columns.
pub(in super::super) fn vector_len(taps: usize, depth: usize) -> usize {
    (taps * depth.div_ceil(CHUNK)).div_ceil(2) * PIECES * TILE
}

/// Upper halves of floats.
const UPPER: i32 = 0xffff_0000_u32 as i32;

/// The pieces of 16 floats, each in the upper halves of lanes whose lower halves are zero, but for
/// the last one's where a float is subnormal.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn pieces(x: __m512) -> [__m512i; PIECES] {
    let half = _mm512_set1_epi32(0x8000);
    let upper = _mm512_set1_epi32(UPPER);
    let round = |x: __m512| {
        let bits = _mm512_add_epi32(_mm512_castps_si512(x), half);
        _mm512_and_si512(bits, upper)
    };
    let high = round(x);
    let rest = _mm512_sub_ps(x, _mm512_castsi512_ps(high));
    let middle = round(rest);
    let low = _mm512_sub_ps(rest, _mm512_castsi512_ps(middle));
    [high, middle, _mm512_castps_si512(low)]
}

/// Writes tiles for rows, of which each gives two lots of up to 16 floats that are summed over.
///
/// # Safety
/// The processor has AVX-512 F and BW; either pointer of a row has as many floats as `lens` tells behind
/// `offsets`.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn split_rows(
    rows: &[[*const f32; 2]],
    offsets: [usize; 2],
    lens: [usize; 2],
    to: &mut [f32],
) {
    let tiles = rows.len() / LINES;
    assert!(rows.len().is_multiple_of(LINES) && to.len() == tiles * PIECES * TILE);
    for (line, row) in rows.iter().enumerate() {
        // SAFETY: the caller's promise.
        let words = unsafe { row_of(*row, offsets, lens) };
        for (piece, words) in words.into_iter().enumerate() {
            let at = (piece * tiles + line / LINES) * TILE + line % LINES * LINES;
            store_line(words, &mut to[at..at + LINES]);
        }
    }
}

/// Writes tiles for columns, whose elements lie as those of rows for [`split_rows`].
///
/// # Safety
/// As for [`split_rows`].
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn split_rows_to_columns(
    rows: &[[*const f32; 2]],
    offsets: [usize; 2],
    lens: [usize; 2],
    to: &mut [f32],
) {
    let vectors = rows.len() / LINES;
    assert!(rows.len().is_multiple_of(LINES) && to.len() == vectors * PIECES * TILE);
    for (vector, rows) in rows.chunks_exact(LINES).enumerate() {
        let mut tiles = [[_mm512_setzero_si512(); LINES]; PIECES];
        for (line, row) in rows.iter().enumerate() {
            // SAFETY: the caller's promise.
            let words = unsafe { row_of(*row, offsets, lens) };
            for (tile, words) in tiles.iter_mut().zip(words) {
                tile[line] = words;
            }
        }
        store_transposed(tiles, [vector, vectors], to);
    }
}

/// A row's lines of tiles: fours of elements of either lot by turns.
///
/// # Safety
/// As for [`split_rows`].
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn row_of(row: [*const f32; 2], offsets: [usize; 2], lens: [usize; 2]) -> [__m512i; PIECES] {
    let masks = lens.map(|len| ((1u32 << len.min(CHUNK)) - 1) as __mmask16);
    // SAFETY: the masks keep to the floats that are there.
    let [first, second] = unsafe {
        [
            pieces(_mm512_maskz_loadu_ps(masks[0], row[0].add(offsets[0]))),
            pieces(_mm512_maskz_loadu_ps(masks[1], row[1].add(offsets[1]))),
        ]
    };
    let mut words = first;
    for piece in 0..PIECES {
        let halves = [first[piece], second[piece]].map(|x| _mm512_srli_epi32::<16>(x));
        words[piece] = _mm512_packus_epi32(halves[0], halves[1]);
    }
    words
}

/// Stores a line of a tile.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn store_line(words: __m512i, to: &mut [f32]) {
    assert!(to.len() == LINES);
    // SAFETY: checked just now.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), words) };
}

/// Stores the pieces' tiles of one of some vectors, transposed.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn store_transposed(
    tiles: [[__m512i; LINES]; PIECES],
    [vector, vectors]: [usize; 2],
    to: &mut [f32],
) {
    for (piece, tile) in tiles.into_iter().enumerate() {
        for (line, words) in transposed(tile).into_iter().enumerate() {
            let at = (piece * vectors + vector) * TILE + line * LINES;
            store_line(words, &mut to[at..at + LINES]);
        }
    }
}

/// The pieces of two vectors of a tile's column pair: the first's in the lower halves of lanes.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn pairs(first: __m512, second: __m512) -> [__m512i; PIECES] {
    let upper = _mm512_set1_epi32(UPPER);
    let [first, second] = [pieces(first), pieces(second)];
    let mut words = first;
    for piece in 0..PIECES {
        let lower = _mm512_srli_epi32::<16>(first[piece]);
        // lower | (second & upper)
        words[piece] = _mm512_ternarylogic_epi32::<0xf8>(lower, second[piece], upper);
    }
    words
}

/// Writes tiles for columns: `width` floats, in up to `vectors` vectors, of each of the summed lines.
///
/// # Safety
/// The processor has AVX-512 F and BW; every line has `width` floats.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn split_columns(
    lines: &[*const f32; STEP],
    [vectors, width]: [usize; 2],
    to: &mut [f32],
) {
    assert!(to.len() == vectors * PIECES * TILE);
    for vector in 0..vectors {
        let mask = mask(width, vector);
        for pair in 0..LINES {
            // SAFETY: the mask keeps to the line's floats.
            let words = unsafe { pair_at(lines, pair, vector, mask) };
            for (piece, words) in words.into_iter().enumerate() {
                let at = (piece * vectors + vector) * TILE + pair * LINES;
                store_line(words, &mut to[at..at + LINES]);
            }
        }
    }
}

/// Writes tiles for rows, whose elements lie as those of columns for [`split_columns`].
///
/// # Safety
/// As for [`split_columns`].
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn split_columns_to_rows(
    lines: &[*const f32; STEP],
    [vectors, width]: [usize; 2],
    to: &mut [f32],
) {
    assert!(to.len() == vectors * PIECES * TILE);
    for vector in 0..vectors {
        let mask = mask(width, vector);
        let mut tiles = [[_mm512_setzero_si512(); LINES]; PIECES];
        for pair in 0..LINES {
            // SAFETY: the mask keeps to the line's floats.
            let words = unsafe { pair_at(lines, pair, vector, mask) };
            for (tile, words) in tiles.iter_mut().zip(words) {
                tile[pair] = words;
            }
        }
        store_transposed(tiles, [vector, vectors], to);
    }
}

/// The lanes of a vector that are among `width`.
fn mask(width: usize, vector: usize) -> __mmask16 {
    let left = width.saturating_sub(vector * LINES).min(LINES);
    ((1u32 << left) - 1) as __mmask16
}

/// # Safety
/// The lanes of `mask` are floats of both lines of the pair.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn pair_at(
    lines: &[*const f32; STEP],
    pair: usize,
    vector: usize,
    mask: __mmask16,
) -> [__m512i; PIECES] {
    let [first, second] = [lines[2 * pair], lines[2 * pair + 1]];
    let at = vector * LINES;
    // SAFETY: the caller's promise.
    unsafe {
        pairs(
            _mm512_maskz_loadu_ps(mask, first.wrapping_add(at)),
            _mm512_maskz_loadu_ps(mask, second.wrapping_add(at)),
        )
    }
}

/// A square of 16 × 16 lanes, transposed.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn transposed(mut rows: [__m512i; LINES]) -> [__m512i; LINES] {
    let mut other = rows;
    // Within fours of lanes: neighbouring rows, then every second one.
    for i in (0..LINES).step_by(2) {
        other[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        other[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    for i in (0..LINES).step_by(4) {
        rows[i] = _mm512_unpacklo_epi64(other[i], other[i + 2]);
        rows[i + 1] = _mm512_unpackhi_epi64(other[i], other[i + 2]);
        rows[i + 2] = _mm512_unpacklo_epi64(other[i + 1], other[i + 3]);
        rows[i + 3] = _mm512_unpackhi_epi64(other[i + 1], other[i + 3]);
    }
    // rows[4a + c], lane 4b + d, is element (4a + d, 4b + c): the fours themselves are left.
    for i in 0..4 {
        let [a, b, c, d] = [rows[i], rows[i + 4], rows[i + 8], rows[i + 12]];
        let even = [
            _mm512_shuffle_i32x4::<0x88>(a, b),
            _mm512_shuffle_i32x4::<0x88>(c, d),
        ];
        let odd = [
            _mm512_shuffle_i32x4::<0xdd>(a, b),
            _mm512_shuffle_i32x4::<0xdd>(c, d),
        ];
        other[i] = _mm512_shuffle_i32x4::<0x88>(even[0], even[1]);
        other[i + 8] = _mm512_shuffle_i32x4::<0xdd>(even[0], even[1]);
        other[i + 4] = _mm512_shuffle_i32x4::<0x88>(odd[0], odd[1]);
        other[i + 12] = _mm512_shuffle_i32x4::<0xdd>(odd[0], odd[1]);
    }
    other
}
