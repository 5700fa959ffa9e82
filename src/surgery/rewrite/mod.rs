//! Rewrites: what a candidate changes in the graph, besides which tensors it trains.
//!
//! A [`Rewrite`] is a description, small, comparable and stored with a run. From it and a grafted model
//! [`Rewrite::apply`] makes the model that is trained. What leaves is first [merged](Rewrite::merge) into the
//! model's own tensors where that can be; what is left of the changes [`Rewrite::emit`] makes in the original.
//!
//! To add a kind: write a file with a struct and its `Changes`, then its variant of [`Rewrite`] and its arms
//! below.
//!
//! A rewrite adds tensors and nodes, and has readers of a value read another one instead
//! ([`Editor::splice`]). No value gets another name or another meaning: what does not follow from an added
//! value is what it is in the model without the rewrite, so that trials of several rewrites share it.

/// Reads the names of flags and files.
macro_rules! named {
    ($kind:ty, $expected:literal, $($name:literal => $value:expr),+) => {
        impl std::str::FromStr for $kind {
            type Err = String;

            fn from_str(name: &str) -> Result<Self, String> {
                match name {
                    $($name => Ok($value),)+
                    _ => Err(format!("`{name}` is none of {}", $expected)),
                }
            }
        }
    };
}

mod adafilter;
mod changes;
mod choice;
mod layer;
mod low_rank;
mod number;
mod spottune;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::graph::Graph;
use crate::onnx::Model;

use super::edit::{Edited, Editor};
use super::{Dropout, Grafted, SurgeryError, as_stored};

pub use adafilter::{AdaFilter, FilterGate, Gateable, TunedShare};
use changes::Changes;
pub use changes::{Distribution, Noise, Penalty};
pub use choice::GateStart;
pub use low_rank::{LowRank, Updatable};
pub use number::Number;
pub use spottune::{BlockNodes, GateableBlock, GatedBlock, Policy, PolicyInput, SpotTune};

/// Values of tensors by name.
type Values = [(String, Vec<f32>)];

/// The widest gate network.
const MOST_WIDTH: usize = 1024;
/// The largest layer of one that reads channels of the model.
const MOST_WEIGHTS: usize = 1 << 24;
/// The most dimensions of a value.
const MOST_AXES: usize = 16;

/// What a candidate changes in the grafted model before it is trained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rewrite {
    /// Nothing.
    #[default]
    None,
    /// Layers get an update of low rank beside their frozen weight.
    LowRank(LowRank),
    /// Convolutions get a tuned copy, and a network that chooses between the filters for each sample.
    AdaFilter(AdaFilter),
    /// Blocks get a tuned copy, and a network that chooses between the two for each sample.
    SpotTune(SpotTune),
}

/// The form in which a model's changes are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// With noise and penalties, to be trained.
    Training,
    /// Without them, to be emitted.
    Inference,
}

/// A grafted model after a rewrite.
#[derive(Debug)]
pub struct Rewritten {
    /// The model to be trained, as it is evaluated: noise is in it as initializers that hold its
    /// [value at rest](Noise::rest).
    pub model: Model,
    /// Where training applies dropout.
    pub dropout: Vec<Dropout>,
    /// The added initializers that can be trained.
    pub parameters: Vec<String>,
    /// Those of these that begin as a copy of a tensor of the grafted model, with its name.
    pub copies: Vec<(String, String)>,
    /// The noise.
    pub noise: Vec<Noise>,
    /// What is added to the loss.
    pub penalties: Vec<Penalty>,
    /// Values that count as constants for [gradients](crate::autodiff::gradients).
    pub constants: Vec<String>,
    /// All values that the model has and the grafted one has not: added initializers, and what added nodes
    /// make.
    pub added: Vec<String>,
}

/// A tuned network as it leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// What is left of the rewrite.
    pub rewrite: Rewrite,
    /// The tuned values after it, as [`export`](super::export) stores them.
    pub values: Vec<(String, Vec<f32>)>,
}

impl Rewrite {
    /// The tensor of the model that a parameter of a rewrite, by its name, is for: the weight that it updates, the tensor that
    /// it is a copy of, for all copies of a gated convolution and its normalisation the convolution's weight. `None` of any
    /// other name.
    pub fn stands_for(parameter: &str) -> Option<&str> {
        LowRank::stands_for(parameter)
            .or_else(|| AdaFilter::stands_for(parameter))
            .or_else(|| SpotTune::stands_for(parameter))
    }

    /// The parameters of what chooses for each sample.
    pub fn choosers(&self) -> Vec<String> {
        match self {
            Rewrite::AdaFilter(adafilter) => adafilter.gate_parameters(),
            Rewrite::SpotTune(spottune) => spottune.policy_parameters(),
            Rewrite::None | Rewrite::LowRank(_) => Vec::new(),
        }
    }

    /// Whether nothing is changed.
    pub fn is_none(&self) -> bool {
        *self == Rewrite::None
    }

    /// Fails where a description, which may be a stranger's, would take memory by what it says alone.
    fn ensure_modest(&self) -> Result<(), SurgeryError> {
        let (value, width, channels, rank) = match self {
            Rewrite::None | Rewrite::LowRank(_) => return Ok(()),
            Rewrite::AdaFilter(of) => (of.weights.first(), of.width, 1, 1),
            Rewrite::SpotTune(of) => {
                let ranks = of.blocks.iter().map(|block| block.rank);
                let rank = ranks.chain([of.reads.rank]).max().unwrap_or_default();
                (Some(&of.reads.value), of.width, of.reads.channels, rank)
            }
        };
        match width > MOST_WIDTH
            || width.saturating_mul(channels) > MOST_WEIGHTS
            || rank > MOST_AXES
        {
            false => Ok(()),
            true => layer::refuse(
                value.map_or("", String::as_str),
                format!(
                    "a gate network of width {width} on {channels} channels, or values of {rank} dimensions"
                ),
            ),
        }
    }

    fn changes(&self, graph: &Graph, form: Form) -> Result<Changes, SurgeryError> {
        self.ensure_modest()?;
        match self {
            Rewrite::None => Ok(Changes::default()),
            Rewrite::LowRank(low_rank) => low_rank.changes(graph),
            Rewrite::AdaFilter(adafilter) => adafilter.changes(graph, form),
            Rewrite::SpotTune(spottune) => spottune.changes(graph, form),
        }
    }

    /// The model that is trained.
    ///
    /// # Errors
    /// When the rewrite does not fit the model: a layer that it names is not there or of another kind, or a
    /// name that it gives is taken.
    pub fn apply(&self, grafted: &Grafted) -> Result<Rewritten, SurgeryError> {
        let changes = self.changes(&Graph::from_model(&grafted.model)?, Form::Training)?;
        let mut editor = Editor::new(&grafted.model)?;
        changes.make(&mut editor)?;
        let Edited { proto, .. } = editor.finish()?;
        let dropout = grafted.dropout.iter().map(|dropout| Dropout {
            value: changes.instead_of(&dropout.value),
            ..*dropout
        });
        Ok(Rewritten {
            model: grafted.model.with_proto(proto),
            dropout: dropout.collect(),
            added: changes.added(),
            parameters: changes.parameters,
            copies: changes.copies,
            noise: changes.noise,
            penalties: changes.penalties,
            constants: changes.constants,
        })
    }

    /// The graph of that model; where nothing is changed, of the grafted one.
    ///
    /// # Errors
    /// As [`Rewrite::apply`].
    pub fn graph(&self, grafted: &Grafted) -> Result<Graph, SurgeryError> {
        match self.is_none() {
            true => Ok(Graph::from_model(&grafted.model)?),
            false => Ok(Graph::from_model(&self.apply(grafted)?.model)?),
        }
    }

    /// A tuned network as it leaves: what can be merged into the model's own tensors is, and values are what the
    /// file will hold.
    ///
    /// # Errors
    /// As [`Rewrite::apply`], and as [`as_stored`]: when values are not as many as their tensor has, or are not
    /// finite in its type.
    pub fn merge(&self, grafted: &Grafted, tuned: &Values) -> Result<Merged, SurgeryError> {
        let values = match self {
            Rewrite::None => as_stored(&grafted.model, tuned.to_vec())?,
            Rewrite::LowRank(low_rank) => {
                let merged = low_rank.merged(&Graph::from_model(&grafted.model)?, tuned)?;
                as_stored(&grafted.model, merged)?
            }
            Rewrite::AdaFilter(_) | Rewrite::SpotTune(_) => {
                as_stored(&self.apply(grafted)?.model, tuned.to_vec())?
            }
        };
        let rewrite = match self {
            Rewrite::None | Rewrite::LowRank(_) => Rewrite::None,
            Rewrite::AdaFilter(_) | Rewrite::SpotTune(_) => self.clone(),
        };
        Ok(Merged { rewrite, values })
    }

    /// What is left of a network where gates are the same for every sample: `constant` says so of each gated layer, in the
    /// order of the rewrite, and each of its filters (`None`: its gate depends on the sample). The tuned filters that are
    /// always taken become the model's own, those that never are go. Rewrites without such gates are what they were.
    ///
    /// # Errors
    /// As [`Rewrite::apply`], and as [`as_stored`].
    pub fn bake(
        &self,
        grafted: &Grafted,
        values: &Values,
        constant: &[Vec<Option<bool>>],
    ) -> Result<Merged, SurgeryError> {
        let Merged { rewrite, values } = match self {
            Rewrite::AdaFilter(adafilter) => {
                let graph = Graph::from_model(&grafted.model)?;
                adafilter.baked(&graph, values, constant)?
            }
            other => Merged {
                rewrite: other.clone(),
                values: values.to_vec(),
            },
        };
        let model = rewrite.apply(grafted)?.model;
        let values = as_stored(&model, values)?;
        Ok(Merged { rewrite, values })
    }

    /// Makes the changes, without what only training needs, in what is to be emitted, with an editor that goes
    /// on where [grafting ended](Grafted::editor).
    ///
    /// # Errors
    /// As [`Rewrite::apply`].
    pub fn emit(&self, grafted: &Grafted, editor: &mut Editor<'_>) -> Result<(), SurgeryError> {
        if self.is_none() {
            return Ok(());
        }
        let graph = Graph::from_model(&grafted.model)?;
        self.changes(&graph, Form::Inference)?.make(editor)
    }
}
