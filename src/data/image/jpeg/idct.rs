//! Blocks of coefficients to samples.
//!
//! Source: libjpeg's accurate integer transform (`jidctint.c`), after C. Loeffler, A. Ligtenberg and
//! G. Moschytz, "Practical fast 1-D DCT algorithms with 11 multiplications" (ICASSP 1989). The constants
//! have 13 binary places, what passes from columns to rows has 2. libjpeg's choice of rounding is part of
//! what it gives, so that it is kept here to the bit.

use pulp::{Simd, WithSimd};

const C0_298: i32 = 2446;
const C0_390: i32 = 3196;
const C0_541: i32 = 4433;
const C0_765: i32 = 6270;
const C0_899: i32 = 7373;
const C1_175: i32 = 9633;
const C1_501: i32 = 12299;
const C1_847: i32 = 15137;
const C1_961: i32 = 16069;
const C2_053: i32 = 16819;
const C2_562: i32 = 20995;
const C3_072: i32 = 25172;

/// One value of each of eight transforms that are made side by side.
type Lanes = [i32; 8];

/// A loop, as the compiler makes one instruction of it where `array::from_fn` stays a call.
#[inline(always)]
fn each(make: impl Fn(usize) -> i32) -> Lanes {
    let mut lanes = [0; 8];
    for (i, lane) in lanes.iter_mut().enumerate() {
        *lane = make(i);
    }
    lanes
}

#[inline(always)]
fn add(a: Lanes, b: Lanes) -> Lanes {
    each(|i| a[i].wrapping_add(b[i]))
}

#[inline(always)]
fn sub(a: Lanes, b: Lanes) -> Lanes {
    each(|i| a[i].wrapping_sub(b[i]))
}

#[inline(always)]
fn times(a: Lanes, factor: i32) -> Lanes {
    each(|i| a[i].wrapping_mul(factor))
}

/// Eight transforms of eight values, shifted right by `SHIFT` with rounding.
#[inline(always)]
fn pass<const SHIFT: u32>(x: [Lanes; 8]) -> [Lanes; 8] {
    let z1 = times(add(x[2], x[6]), C0_541);
    let t2 = sub(z1, times(x[6], C1_847));
    let t3 = add(z1, times(x[2], C0_765));
    let t0 = times(add(x[0], x[4]), 1 << 13);
    let t1 = times(sub(x[0], x[4]), 1 << 13);
    let even = [add(t0, t3), add(t1, t2), sub(t1, t2), sub(t0, t3)];

    let (a, b) = (add(x[7], x[3]), add(x[5], x[1]));
    let z5 = times(add(a, b), C1_175);
    let z1 = times(add(x[7], x[1]), -C0_899);
    let z2 = times(add(x[5], x[3]), -C2_562);
    let z3 = add(times(a, -C1_961), z5);
    let z4 = add(times(b, -C0_390), z5);
    let odd = [
        add(add(times(x[1], C1_501), z1), z4),
        add(add(times(x[3], C3_072), z2), z3),
        add(add(times(x[5], C2_053), z2), z4),
        add(add(times(x[7], C0_298), z1), z3),
    ];
    let mut out = [[0; 8]; 8];
    for k in 0..4 {
        let (sum, difference) = (add(even[k], odd[k]), sub(even[k], odd[k]));
        out[k] = each(|i| sum[i].wrapping_add(1 << (SHIFT - 1)) >> SHIFT);
        out[7 - k] = each(|i| difference[i].wrapping_add(1 << (SHIFT - 1)) >> SHIFT);
    }
    out
}

#[inline(always)]
fn corner([a, b, c, d, ..]: [Lanes; 8]) -> [Lanes; 8] {
    [a, b, c, d, [0; 8], [0; 8], [0; 8], [0; 8]]
}

#[inline(always)]
fn transposed(x: [Lanes; 8]) -> [Lanes; 8] {
    let mut out = [[0; 8]; 8];
    for row in 0..8 {
        out[row] = each(|column| x[column][row]);
    }
    out
}

/// Rows of `across` blocks each, which `table` scales, to samples.
pub(super) struct Blocks<'a> {
    pub(super) coefficients: &'a [i16],
    pub(super) table: &'a [u16; 64],
    pub(super) samples: &'a mut [u8],
    pub(super) across: usize,
}

impl WithSimd for Blocks<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let stride = 8 * self.across;
        let rows = self.coefficients.chunks_exact(8 * stride);
        for (row, samples) in rows.zip(self.samples.chunks_exact_mut(8 * stride)) {
            for (x, coefficients) in row.as_chunks::<64>().0.iter().enumerate() {
                block(coefficients, self.table, &mut samples[8 * x..], stride);
            }
        }
    }
}

/// The samples of the block `coefficients`, which `table` scales, to a plane whose rows are `stride` long.
#[inline(always)]
fn block(coefficients: &[i16; 64], table: &[u16; 64], plane: &mut [u8], stride: usize) {
    let level = |value: i32| value.wrapping_add(128).clamp(0, 255) as u8;
    if coefficients[1..].iter().all(|c| *c == 0) {
        let dc = i32::from(coefficients[0]).wrapping_mul(i32::from(table[0]));
        let sample = level(dc.wrapping_add(4) >> 3);
        for row in plane.chunks_mut(stride).take(8) {
            row[..8].fill(sample);
        }
        return;
    }
    let mut rows = [[0; 8]; 8];
    for y in 0..8 {
        rows[y] = each(|x| i32::from(coefficients[8 * y + x]) * i32::from(table[8 * y + x]));
    }
    // Most blocks have nothing but a corner of low frequencies; the compiler drops what is times zero.
    let mut beyond = 0;
    for (i, value) in coefficients.iter().enumerate() {
        beyond |= value & if i % 8 < 4 && i < 32 { 0 } else { -1 };
    }
    let columns = if beyond == 0 {
        pass::<18>(corner(transposed(pass::<11>(corner(rows)))))
    } else {
        pass::<18>(transposed(pass::<11>(rows)))
    };
    let rows = transposed(columns);
    for (row, values) in plane.chunks_mut(stride).take(8).zip(rows) {
        for (sample, value) in row[..8].iter_mut().zip(values) {
            *sample = level(value);
        }
    }
}
