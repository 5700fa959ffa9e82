//! What treats every channel by itself: depthwise convolutions, pools, activations.

mod bands;
mod channels;
pub(super) mod depthwise;
mod elementwise;
pub(super) mod mask;
pub mod pool;
pub(super) mod scale;
mod taps;
#[cfg(test)]
mod testing;
