//! Convolutions of many channels with many: matrix products over neighbouring pixels.
//!
//! Nothing is copied into columns: `product` multiplies rows of pixels, which `gather` finds, with
//! weights that `pack` has arranged (forward and the input's gradient); `outer` sums the products of
//! two maps over pixels (the weight's gradient). `tile` holds the inner loops, on vectors; where there is
//! AMX, large weights are multiplied by `amx`, as `multiplier` tells. `finish` stores what is summed.

#[cfg_attr(
    not(all(target_arch = "x86_64", target_os = "linux")),
    path = "amx/absent.rs"
)]
mod amx;
mod bias;
mod finish;
pub(super) mod forward;
mod gather;
pub(super) mod input_gradient;
mod lanes;
mod layout;
mod multiplier;
mod outer;
mod pack;
mod padded;
mod product;
#[cfg(test)]
mod tests;
mod tile;
pub(super) mod weight_gradient;
mod winograd;

/// Whether products may run on AMX.
pub(super) fn has_tiles() -> bool {
    amx::available()
}

/// Floats in a vector.
pub(super) fn lanes() -> usize {
    product::lanes()
}

pub(super) use lanes::{Lanes, load, store};
pub(super) use tile::prefetch;
