//! What to train: the strategies, and the candidates each of them tries.
//!
//! A strategy is a file with a type that implements [`Strategy`], and a line of [`STRATEGIES`]; everything
//! else looks there. `docs/adding-a-strategy.md` adds one.

mod adafilter;
mod auto;
mod bias;
mod blocks;
mod count;
mod depth;
mod error;
mod freeze;
mod full;
mod head;
mod last;
mod last_share;
mod layers;
mod lora;
mod lora_blocks;
mod name;
mod network;
mod norm;
pub mod pattern;
mod random;
mod reach;
mod select;
mod spottune;
mod top;
mod windows;

#[cfg(test)]
mod tests;

pub use adafilter::AdaFilterOptions;
pub use count::CandidateCounts;
pub use depth::Depths;
pub use error::StrategyError;
pub use freeze::FreezeList;
pub use name::{StrategyName, names};
pub use network::{Candidate, Network};
pub use reach::{Reach, reach};
pub use spottune::SpotTuneOptions;

/// Every strategy, in the order in which people are told of them.
pub static STRATEGIES: &[&dyn Strategy] = &[
    &head::Head,
    &full::Full,
    &layers::Layers,
    &top::Top,
    &blocks::Blocks,
    &windows::Windows,
    &random::Random,
    &select::Select,
    &auto::Auto,
    &last::Last,
    &last_share::LastShare,
    &lora::Lora,
    &lora_blocks::LoraBlocks,
    &adafilter::Adaptive,
    &spottune::Spot,
    &bias::Bias,
    &norm::Norm,
];

/// A rule by which parts of the backbone are chosen for training. Each trains the head, too.
///
/// Where a method is given a `count`, it is the number behind the strategy's name, 1 or more; 0 of a strategy
/// without one.
pub trait Strategy: Send + Sync {
    /// Its name, without the number behind it: `top`; of a number in percent, with the sign behind that:
    /// `last%` of `last40%`.
    fn word(&self) -> &'static str;

    /// What it trains, for people: `the best 3 layers together`.
    fn trains(&self, count: usize) -> String;

    /// The number behind its name; `None` where none may stand there.
    fn number(&self) -> Option<Number> {
        None
    }

    /// The names under which `all` means it: those of the block-wise paper's Table I and its preliminary
    /// experiment. None of a strategy that the paper does not have.
    fn in_paper(&self) -> &'static [StrategyName] {
        &[]
    }

    /// What it tries, from the output end of the network to its input; empty where there is nothing to choose
    /// from. A single candidate needs no search.
    ///
    /// # Errors
    /// When what the user chose cannot be found.
    fn candidates(
        &self,
        network: &Network<'_>,
        count: usize,
    ) -> Result<Vec<Candidate>, StrategyError>;

    /// What is trained in the end, after a search ranked `candidates`: `ranking` holds the places of those
    /// that could be trained, the best first, and is not empty.
    #[expect(
        unused_variables,
        reason = "they are for winners made of several candidates"
    )]
    fn winner(
        &self,
        network: &Network<'_>,
        count: usize,
        candidates: &[Candidate],
        ranking: &[usize],
    ) -> Candidate {
        candidates[ranking[0]].clone()
    }

    /// A further candidate for a search that goes on, made of what it has tried so far: `ranking` holds the places
    /// of those of `candidates` that go on, the best first. It trains what none of `candidates` does; `None` where
    /// there is no such.
    #[expect(
        unused_variables,
        reason = "most strategies know what they try beforehand"
    )]
    fn joined(
        &self,
        network: &Network<'_>,
        candidates: &[Candidate],
        ranking: &[usize],
    ) -> Option<Candidate> {
        None
    }

    /// Whether the winner is made of several candidates, so that the search has not tried it itself. Its
    /// [`Candidate::id`] is then the strategy's name.
    fn is_composed(&self) -> bool {
        false
    }

    /// What one candidate of its search is, for the charts of a report; `None` where there is no search.
    fn searches(&self) -> Option<Unit> {
        None
    }

    /// Whether it looks at [`Network::promising`]. Its candidates then come in the order in which they are tried as
    /// far as a budget reaches, and its search may go on to what is [joined](Strategy::joined).
    fn wants_promising(&self) -> bool {
        false
    }

    /// Whether, of candidates that the search cannot tell from the best, it takes the one that trains the most parameters
    /// instead of the best: a short search says little of what a long training makes of many parameters.
    fn takes_the_largest(&self) -> bool {
        false
    }

    /// Whether, where candidates are trained whole (`--search whole`), the winner may be an average of the
    /// best of them.
    fn averages(&self) -> bool {
        false
    }

    /// Whether it trains what the user names by patterns, see [`Network::selection`].
    fn takes_patterns(&self) -> bool {
        false
    }

    /// Whether what it trains, besides the head, are updates beside frozen weights, see [`Network::lora_alpha`].
    fn updates_weights(&self) -> bool {
        false
    }

    /// Whether it gates filters, see [`Network::adafilter`].
    fn gates_filters(&self) -> bool {
        false
    }

    /// Whether it gates blocks, see [`Network::spottune`].
    fn gates_blocks(&self) -> bool {
        false
    }
}

/// The number behind a strategy's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// What it is where the name is given without one: `top` is `top3`.
    pub default: usize,
    /// Whether the default is written, too: `top3`, but `windows`.
    pub is_written: bool,
    /// The flag that gives it to a name without one: `window`.
    pub flag: &'static str,
    /// What it is, for the flag's help: `Number of layers`.
    pub means: &'static str,
}

/// What a search chooses among.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A weighted layer.
    Layer,
    /// A block.
    Block,
    /// Several weighted layers in a row.
    Window,
    /// Several blocks.
    Group,
}
