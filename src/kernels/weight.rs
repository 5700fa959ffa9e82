//! Weights, and what kernels make of those that do not change.

use std::sync::OnceLock;

use super::workspace::Aligned;

/// A convolution's weight.
#[derive(Clone, Copy, Debug)]
pub struct Weight<'a> {
    /// `[O, I/group, kH, kW]`
    pub values: &'a [f32],
    /// For a weight that is the same in every call with this: what can be made of it once.
    pub kept: Option<&'a Kept>,
}

/// What a kernel has made of a weight for its next calls, empty at first. Each weight, and each
/// kernel it is given to, needs its own.
#[derive(Debug, Default)]
pub struct Kept(OnceLock<Aligned>);

impl Kept {
    /// The `len` floats that `make` wrote when this was empty; `None` if there were more or fewer.
    pub(super) fn get(&self, len: usize, make: impl FnOnce(&mut [f32])) -> Option<&[f32]> {
        let kept = self.0.get_or_init(|| {
            let mut floats = Aligned::new(len);
            make(floats.get_mut());
            floats
        });
        Some(kept.get()).filter(|floats| floats.len() == len)
    }
}

impl<'a> From<&'a [f32]> for Weight<'a> {
    fn from(values: &'a [f32]) -> Self {
        Weight { values, kept: None }
    }
}

impl<'a> From<&'a Vec<f32>> for Weight<'a> {
    fn from(values: &'a Vec<f32>) -> Self {
        values.as_slice().into()
    }
}
