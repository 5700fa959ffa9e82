//! Flags of strategy `adafilter`.

use crate::strategy::{AdaFilterOptions, pattern};
use crate::surgery::rewrite::{FilterGate, GateStart};
use clap::Args;

use super::set_some;
use super::values::{self, set};

#[derive(Args)]
pub struct AdaFilterArgs {
    /// Convolutions whose filters `adafilter` has twice: names or patterns of layers, weights or blocks, as for
    /// --train, or `all`; without it those of the last half
    #[arg(long, value_name = "GLOB")]
    adafilter_layers: Vec<String>,
    /// What takes the tuned filters of `adafilter`: `learned` (a network, for each image), `random` (the same, as it
    /// was drawn), `ones` (all of them, always: ordinary fine-tuning) or `zeros` (none: the frozen backbone) [default:
    /// learned]
    #[arg(long, value_name = "GATE")]
    adafilter_gate: Option<FilterGate>,
    /// Where the training of `adafilter` begins: `tuned` (with all of the tuned filters), or `half` (with about half
    /// of them) [default: tuned]
    #[arg(long, value_name = "WHERE")]
    adafilter_start: Option<GateStart>,
    /// Width of the network that chooses the filters of `adafilter` [default: a quarter of the mean number of channels,
    /// 16 to 64]
    #[arg(long, value_name = "N", value_parser = values::count)]
    adafilter_width: Option<usize>,
    /// Hold the share of the tuned filters that `adafilter` takes near this one, by a penalty
    #[arg(long, value_name = "SHARE", value_parser = values::fraction)]
    adafilter_share: Option<f64>,
    /// Take gates of `adafilter` that are the same for all validation images out of the model that leaves, with the
    /// filters that are never taken, so that it pays only for what depends on the image
    #[arg(long)]
    adafilter_bake: bool,
}

impl AdaFilterArgs {
    /// The first flag that is given.
    pub fn given(&self) -> Option<&'static str> {
        let all = [
            ("adafilter-layers", !self.adafilter_layers.is_empty()),
            ("adafilter-gate", self.adafilter_gate.is_some()),
            ("adafilter-start", self.adafilter_start.is_some()),
            ("adafilter-width", self.adafilter_width.is_some()),
            ("adafilter-share", self.adafilter_share.is_some()),
            ("adafilter-bake", self.adafilter_bake),
        ];
        all.iter().find(|(_, given)| *given).map(|(flag, _)| *flag)
    }

    /// Puts what is given into `options`.
    pub fn apply(&self, options: &mut AdaFilterOptions) {
        if !self.adafilter_layers.is_empty() {
            let patterns = self.adafilter_layers.iter().flat_map(|l| pattern::split(l));
            options.layers = patterns.collect();
        }
        set(&mut options.gate, &self.adafilter_gate);
        set(&mut options.start, &self.adafilter_start);
        set_some(&mut options.width, &self.adafilter_width);
        set_some(&mut options.share, &self.adafilter_share.map(|s| s as f32));
        options.bake |= self.adafilter_bake;
    }
}
