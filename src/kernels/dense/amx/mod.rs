//! Dense products on AMX, the matrix unit of Intel's server processors since 2023, as exact as on
//! vectors.
//!
//! AMX multiplies bfloat16 and sums in float32. A float32 is the exact sum of three bfloat16 (8 + 8 + 8
//! bits), so that a product of two is nine products of pieces, of which six matter: each of the others
//! is at most 2⁻²⁴ of it, the rounding of a float32. Those six are about twice as fast as one fused
//! multiply-add on vectors of 16 lanes. (G. Henry, P. T. P. Tang and A. Heinecke, "Leveraging the
//! bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations", 2019.)
//!
//! `split` cuts floats and lays the pieces out, for weights as `arrange` tells, `tile` multiplies;
//! `product` and `outer` stand for the loops of the same names on vectors. The unit takes subnormal
//! numbers for zero, so that floats below about 1e-33 lose their last bits; infinity times anything is
//! NaN.

mod arrange;
mod outer;
mod product;
mod split;
#[cfg(test)]
mod tests;
mod tile;

pub(super) use arrange::{arrange, arrange_stored};
pub(super) use outer::{suits_weight_gradient, weight_gradient};
pub(super) use product::multiply;
pub(super) use split::vector_len;

use super::product::lanes;
use std::sync::OnceLock;

/// Rows and columns from which the splitting pays.
const MANY: usize = 64;
/// Summed elements from which it does.
const DEEP: usize = 96;
/// Elements of a weight from which it does.
const ENOUGH: usize = 16_000;

/// Whether products of so many rows, summed elements and columns are faster here than on vectors.
pub(super) fn suits([rows, summed, columns]: [usize; 3]) -> bool {
    let many = rows.min(columns) >= MANY && summed >= DEEP;
    many && summed.saturating_mul(columns) >= ENOUGH && available()
}

/// Whether this processor has AMX with bfloat16, and this process may use it.
///
/// `FTSURGERY_AMX=off` in the environment makes this false, for measurements.
pub(super) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        let off = std::env::var_os("FTSURGERY_AMX").is_some_and(|value| value == "off");
        // The pieces are cut on vectors of 16 lanes.
        !off && lanes() == 16 && has_instructions() && tile::may_be_used()
    })
}

fn has_instructions() -> bool {
    use std::arch::x86_64::__cpuid_count;
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    // Processors with AVX-512 have leaf 7.
    let vectors = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
    // SAFETY: every x86-64 has the instruction; newer compilers know that.
    #[allow(unsafe_code, unused_unsafe)]
    let features = unsafe { __cpuid_count(7, 0) }.edx;
    vectors && features & (AMX_BF16 | AMX_TILE) == AMX_BF16 | AMX_TILE
}
