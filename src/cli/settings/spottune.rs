//! Flags of strategy `spottune`.

use crate::strategy::{SpotTuneOptions, pattern};
use crate::surgery::rewrite::{GateStart, Policy};
use clap::Args;

use super::values::set;

#[derive(Args)]
pub struct SpotTuneArgs {
    /// Blocks that `spottune` has twice: patterns of their names, or of layers, weights or blocks as for --train in them, or
    /// `all`; without it the residual ones, where there are any, else all
    #[arg(long, value_name = "GLOB")]
    spottune_blocks: Vec<String>,
    /// What chooses the blocks of `spottune` for each image: `conv` (a small convolutional network on the image), or
    /// `features` (two dense layers on the mean of what the first of its blocks reads) [default: conv]
    #[arg(long, value_name = "POLICY")]
    spottune_policy: Option<Policy>,
    /// Where the training of `spottune` begins: `tuned` (with the tuned form of nearly all blocks), or `half` (with that of
    /// about half of them) [default: tuned]
    #[arg(long, value_name = "WHERE")]
    spottune_start: Option<GateStart>,
}

impl SpotTuneArgs {
    /// The first flag that is given.
    pub fn given(&self) -> Option<&'static str> {
        if !self.spottune_blocks.is_empty() {
            return Some("spottune-blocks");
        }
        let policy = self.spottune_policy.map(|_| "spottune-policy");
        policy.or_else(|| self.spottune_start.map(|_| "spottune-start"))
    }

    /// Puts what is given into `options`.
    pub fn apply(&self, options: &mut SpotTuneOptions) {
        if !self.spottune_blocks.is_empty() {
            let patterns = self.spottune_blocks.iter().flat_map(|b| pattern::split(b));
            options.blocks = patterns.collect();
        }
        set(&mut options.policy, &self.spottune_policy);
        set(&mut options.start, &self.spottune_start);
    }
}
