//! Where there is no AMX.

use super::pack::Panel;
use super::product::Product;
use crate::kernels::shared::Shared;
use crate::kernels::{ConvShape, Parallel};

/// Never.
pub(super) fn available() -> bool {
    false
}

/// Never.
pub(super) fn suits(_: [usize; 3]) -> bool {
    false
}

/// Never.
pub(super) fn suits_weight_gradient(_: &ConvShape) -> bool {
    false
}

pub(super) fn vector_len(_: usize, _: usize) -> usize {
    unreachable!("nothing suits")
}

pub(super) fn arrange(_: &[f32], _: usize, _: usize, _: &mut [f32]) {
    unreachable!("nothing suits")
}

pub(super) fn arrange_stored(
    _: &[f32],
    _: [usize; 2],
    _: [usize; 2],
    _: usize,
    _: &mut [f32],
) -> bool {
    unreachable!("nothing suits")
}

pub(super) fn multiply(_: &Product, _: Shared, _: &[Panel], _: [&[f32]; 2], _: &dyn Parallel) {
    unreachable!("nothing suits")
}

pub(super) fn weight_gradient(
    _: &ConvShape,
    _: &[f32],
    _: &[f32],
    _: &mut [f32],
    _: Option<&mut [f32]>,
    _: &dyn Parallel,
) {
    unreachable!("nothing suits")
}
