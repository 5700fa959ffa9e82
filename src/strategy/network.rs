//! The network that candidates are made of, and what a candidate is.

use std::collections::{BTreeSet, HashSet};

use crate::analysis::{Analysis, Block, Role, WeightedLayer};
use crate::surgery::rewrite::{
    AdaFilter, BlockNodes, Gateable, GateableBlock, LowRank, SpotTune, Updatable,
};
use crate::surgery::{Grafted, HeadKind, Rewrite, SurgeryError};

use super::{AdaFilterOptions, FreezeList, SpotTuneOptions};

/// One choice of parameters to train.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Candidate {
    /// Unique within a run, and fit for a file name: `head`, `layers-07`, `blocks-block5`.
    pub id: String,
    /// What is trained besides the head, for people: `block5`.
    pub label: String,
    /// Names of the backbone's weighted layers that are trained, or have an update that is.
    pub layers: Vec<String>,
    /// Initializers (or constants, by their output) that are trained, the head's last.
    pub trainable: Vec<String>,
    /// What is changed in the network before; what that adds may be among `trainable`.
    #[serde(default, skip_serializing_if = "Rewrite::is_none")]
    pub rewrite: Rewrite,
}

impl Candidate {
    /// Whether the other trains the same parameters, in whatever order, of the network after the same rewrite:
    /// then all else is the same, too.
    pub fn trains_the_same(&self, other: &Candidate) -> bool {
        let sorted = |names: &'_ [String]| {
            let mut names = names.to_vec();
            names.sort_unstable();
            names
        };
        self.rewrite == other.rewrite
            && self.trainable.len() == other.trainable.len()
            && (self.trainable == other.trainable
                || sorted(&self.trainable) == sorted(&other.trainable))
    }
}

/// The network that candidates are made of.
#[derive(Clone, Debug)]
pub struct Network<'a> {
    /// Layers and blocks of the original model.
    pub analysis: &'a Analysis,
    /// The parameters of the head that is trained.
    pub head: Vec<String>,
    /// Decides what strategies draw: layers ([`StrategyName::random`](super::StrategyName::random)), first values
    /// ([`StrategyName::lora`](super::StrategyName::lora)).
    pub seed: u64,
    /// Patterns of the layers of [`StrategyName::SELECT`](super::StrategyName::SELECT).
    pub selection: &'a [String],
    /// The blocks before the classifier, by their place among them, that are most likely worth training, the best
    /// first; empty where nothing says so.
    pub promising: Vec<usize>,
    /// What of the backbone may be trained, where not all of it.
    pub freeze: Option<&'a FreezeList>,
    /// The weights that can have an update of low rank.
    pub updatable: Vec<Updatable>,
    /// α of the updates of strategies [that train them alone](super::Strategy::updates_weights); `None` for their rank.
    pub lora_alpha: Option<usize>,
    /// The convolutions whose filters can be gated.
    pub gateable: Vec<Gateable>,
    /// What [`StrategyName::ADAFILTER`](super::StrategyName::ADAFILTER) gates, and how.
    pub adafilter: AdaFilterOptions,
    /// The blocks that can be gated.
    pub blocks: Vec<GateableBlock>,
    /// What [`StrategyName::SPOTTUNE`](super::StrategyName::SPOTTUNE) gates, and how.
    pub spottune: SpotTuneOptions,
}

impl<'a> Network<'a> {
    /// The network that grafting gave, with seed 0 and no selection. Of a kept head, all layers of
    /// the model's own classifier are trained.
    ///
    /// # Errors
    /// When the grafted model's graph is malformed.
    pub fn new(
        analysis: &'a Analysis,
        grafted: &Grafted,
        head: HeadKind,
    ) -> Result<Self, SurgeryError> {
        Ok(Network {
            analysis,
            head: head_parameters(analysis, grafted, head),
            seed: 0,
            selection: &[],
            promising: Vec::new(),
            freeze: None,
            updatable: LowRank::updatable(&grafted.model)?,
            lora_alpha: None,
            gateable: AdaFilter::gateable(&grafted.model)?,
            adafilter: AdaFilterOptions::default(),
            blocks: SpotTune::gateable(&grafted.model, &block_nodes(analysis))?,
            spottune: SpotTuneOptions::default(),
        })
    }

    /// A network of which the analysis alone is known: with a new head, and nothing that rewrites could change.
    pub(super) fn of_analysis(analysis: &'a Analysis) -> Self {
        Network {
            analysis,
            head: vec!["head".to_owned()],
            seed: 0,
            selection: &[],
            promising: Vec::new(),
            freeze: None,
            updatable: Vec::new(),
            lora_alpha: None,
            gateable: Vec::new(),
            adafilter: AdaFilterOptions::default(),
            blocks: Vec::new(),
            spottune: SpotTuneOptions::default(),
        }
    }

    /// A candidate that trains these layers, given by their index, and the head. What belongs to a block
    /// alone is trained where all layers of that block are.
    pub(super) fn candidate(&self, id: String, label: &str, layers: &[usize]) -> Candidate {
        let chosen: HashSet<usize> = layers.iter().copied().collect();
        let of = |l: &usize| Some(self.analysis.weighted.get(*l)?.block);
        let touched: BTreeSet<usize> = layers.iter().filter_map(of).collect();
        let blocks = touched.iter().filter_map(|&b| self.analysis.blocks.get(b));
        let whole = |b: &&Block| !b.is_classifier && b.layers.iter().all(|l| chosen.contains(l));
        let tensors: Vec<&String> = blocks.filter(whole).flat_map(|b| &b.tensors).collect();
        self.candidate_of(id, label, layers, &tensors)
    }

    /// A candidate that trains these layers, these parameters of no layer, and the head.
    pub(super) fn candidate_of(
        &self,
        id: String,
        label: &str,
        layers: &[usize],
        tensors: &[&String],
    ) -> Candidate {
        let layers: Vec<&WeightedLayer> = layers
            .iter()
            .filter_map(|&i| self.analysis.weighted.get(i))
            .filter(|layer| layer.parameters.iter().any(|p| self.trains(p)))
            .collect();
        let trained = |name: &&String| self.trains(name);
        let owned = layers.iter().flat_map(|l| &l.parameters).filter(trained);
        let loose = tensors.iter().copied().filter(trained);
        Candidate {
            id,
            label: label.to_owned(),
            layers: layers.iter().map(|l| l.name.clone()).collect(),
            trainable: distinct(owned.chain(loose).chain(&self.head)),
            rewrite: Rewrite::None,
        }
    }

    /// The candidate that trains all parameters before the classifier that have one of these roles, and the head; none
    /// where there are no such.
    pub(super) fn of_roles(&self, id: &str, label: &str, roles: &[Role]) -> Vec<Candidate> {
        let has = |name: &&String| roles.contains(&self.analysis.role(name)) && self.trains(name);
        let layers = self.analysis.backbone_layers().into_iter();
        let layers = layers.map(|layer| &self.analysis.weighted[layer]);
        let layers: Vec<&WeightedLayer> = layers
            .filter(|layer| layer.parameters.iter().any(|p| has(&p)))
            .collect();
        let owned = layers.iter().flat_map(|l| &l.parameters).filter(has);
        let loose = self.loose().map(|(name, _)| name).filter(has);
        let trained: Vec<&String> = owned.chain(loose).collect();
        if trained.is_empty() {
            return Vec::new();
        }
        vec![Candidate {
            id: id.to_owned(),
            label: label.to_owned(),
            layers: layers.iter().map(|l| l.name.clone()).collect(),
            trainable: distinct(trained.into_iter().chain(&self.head)),
            rewrite: Rewrite::None,
        }]
    }

    /// The candidate that trains the last so many blocks before the head, or all there are; none where there is
    /// no block.
    pub(super) fn last_blocks(&self, id: String, count: usize) -> Vec<Candidate> {
        let blocks: Vec<&Block> = self.analysis.backbone_blocks().collect();
        let last = &blocks[blocks.len().saturating_sub(count)..];
        let label = match last.len() {
            0 => return Vec::new(),
            1 => "last block".to_owned(),
            n => format!("last {n} blocks"),
        };
        let layers: Vec<usize> = last.iter().flat_map(|b| &b.layers).copied().collect();
        vec![self.candidate(id, &label, &layers)]
    }

    /// The candidate that trains an update of this rank, beside the frozen weight, of each of these layers, given by
    /// their index, that can have one, and the head; `None` where none can.
    ///
    /// Without an α that is given it is the rank, so that an update counts once: the authors do not tune α either, since
    /// with Adam that is much the same as to tune the learning rate (section 4.1).
    pub(super) fn updates(
        &self,
        id: String,
        label: String,
        layers: &[usize],
        rank: usize,
    ) -> Option<Candidate> {
        let layers = layers.iter().map(|&layer| &self.analysis.weighted[layer]);
        let (layers, weights): (Vec<String>, Vec<String>) = layers
            .filter_map(|layer| Some((layer.name.clone(), self.updatable_weight(layer, rank)?)))
            .unzip();
        let added = weights.iter().flat_map(|w| LowRank::parameters_of(w));
        let trainable = added.chain(self.head.clone()).collect();
        (!weights.is_empty()).then(|| Candidate {
            id,
            label,
            layers,
            trainable,
            rewrite: Rewrite::LowRank(LowRank {
                weights,
                rank,
                alpha: self.lora_alpha.unwrap_or(rank),
                seed: self.seed,
            }),
        })
    }

    /// Whether a parameter before the classifier may be trained.
    pub(super) fn trains(&self, parameter: &str) -> bool {
        self.freeze.is_none_or(|list| list.trains(parameter))
    }

    /// The weight of a layer that can have an update of this rank; `None` where it has none.
    pub(super) fn updatable_weight(&self, layer: &WeightedLayer, rank: usize) -> Option<String> {
        let fits = |u: &&Updatable| {
            u.highest_rank >= rank && layer.parameters.contains(&u.weight) && self.trains(&u.weight)
        };
        let updatable = self.updatable.iter().find(fits)?;
        Some(updatable.weight.clone())
    }

    /// The parameters before the classifier that no layer owns, with the name of their block.
    pub(super) fn loose(&self) -> impl Iterator<Item = (&'a String, &'a str)> {
        let blocks = self.analysis.blocks.iter().filter(|b| !b.is_classifier);
        blocks.flat_map(|b| b.tensors.iter().map(|t| (t, b.name.as_str())))
    }
}

/// The nodes of the layers of each block before the classifier.
pub(super) fn block_nodes(analysis: &Analysis) -> Vec<BlockNodes> {
    let of_block = |block: &Block| {
        let layers = block
            .layers
            .iter()
            .filter_map(|&l| analysis.weighted.get(l));
        let nodes: HashSet<usize> = layers.flat_map(|l| &l.nodes).copied().collect();
        let rows = analysis
            .layers
            .iter()
            .filter(|row| nodes.contains(&row.node));
        rows.map(|row| row.name.clone()).collect()
    };
    analysis.backbone_blocks().map(of_block).collect()
}

/// The parameters of the head that is trained: of a kept one, all layers of the model's own classifier.
pub(super) fn head_parameters(
    analysis: &Analysis,
    grafted: &Grafted,
    head: HeadKind,
) -> Vec<String> {
    if head != HeadKind::Keep {
        return grafted.head_parameters.clone();
    }
    let layers = analysis.weighted.iter().filter(|w| w.in_classifier);
    let blocks = analysis.blocks.iter().filter(|b| b.is_classifier);
    let owned = layers.flat_map(|w| &w.parameters);
    distinct(owned.chain(blocks.flat_map(|b| &b.tensors)))
}

/// Layers may share a parameter; it is trained once.
fn distinct<'s>(names: impl Iterator<Item = &'s String>) -> Vec<String> {
    let set: indexmap::IndexSet<&String> = names.collect();
    set.into_iter().cloned().collect()
}
