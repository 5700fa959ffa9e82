//! Blocks: runs of weighted layers between nodes that pool, activate or normalise.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::graph::operators::Class;

use super::AnalysisError;
use super::kinds::Index;
use super::layers::{Layer, WeightedLayer};

/// Pooling nodes that make a network one of pooling stages.
const STAGES: usize = 3;

/// A kind of node that ends a block.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Delimiter {
    /// Pooling over windows, on the main path (pools inside branches and squeeze-and-excitation
    /// do not divide a network).
    Pool,
    /// An activation function.
    Activation,
    /// A normalisation.
    Norm,
}

impl fmt::Display for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Delimiter::Pool => "pool",
            Delimiter::Activation => "activation",
            Delimiter::Norm => "norm",
        })
    }
}

/// Which nodes end a block.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum Delimiters {
    /// Pooling where the backbone has three pooling nodes or more on its main path, as VGG16 has:
    /// blocks are then the stages. Activations elsewhere. This is what the block-wise paper's
    /// reading of Keras graphs comes to, where VGG16's activations belong to its convolutions.
    #[default]
    Auto,
    /// These kinds.
    Kinds(BTreeSet<Delimiter>),
}

/// As they stand in a file: `"auto"`, or a list of kinds.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Written {
    Auto(Auto),
    Kinds(BTreeSet<Delimiter>),
}

#[derive(serde::Serialize, serde::Deserialize)]
enum Auto {
    #[serde(rename = "auto")]
    Auto,
}

impl From<Written> for Delimiters {
    fn from(written: Written) -> Self {
        match written {
            Written::Auto(Auto::Auto) => Delimiters::Auto,
            Written::Kinds(kinds) => Delimiters::Kinds(kinds),
        }
    }
}

impl From<Delimiters> for Written {
    fn from(delimiters: Delimiters) -> Self {
        match delimiters {
            Delimiters::Auto => Written::Auto(Auto::Auto),
            Delimiters::Kinds(kinds) => Written::Kinds(kinds),
        }
    }
}

impl FromStr for Delimiters {
    type Err = AnalysisError;

    fn from_str(text: &str) -> Result<Self, AnalysisError> {
        if text == "auto" {
            return Ok(Delimiters::Auto);
        }
        text.split(',')
            .map(|kind| match kind.trim() {
                "pool" => Ok(Delimiter::Pool),
                "activation" => Ok(Delimiter::Activation),
                "norm" => Ok(Delimiter::Norm),
                other => Err(AnalysisError::Setting {
                    flag: "delimiters",
                    value: text.to_owned(),
                    reason: format!(
                        "`{other}` is none of `pool`, `activation`, `norm`, or `auto` alone"
                    ),
                }),
            })
            .collect::<Result<_, _>>()
            .map(Delimiters::Kinds)
    }
}

/// A run of layers that is trained as one.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// `block1`, `block2`, … and `classifier`.
    pub name: String,
    /// Its weighted layers, indices into [`Analysis::weighted`](super::Analysis), in order.
    pub layers: Vec<usize>,
    /// Names of the trainable constants that no layer owns, in the order in which they meet the data:
    /// class tokens, position embeddings, biases of attention.
    pub tensors: Vec<String>,
    /// Elements of the trainable parameters of its nodes, those of no layer included.
    pub parameters: usize,
    /// Its part of all parameters, between 0 and 1.
    pub share: f64,
    /// Whether this is the classifier, which a new head replaces.
    pub is_classifier: bool,
}

/// The delimiters that `wish` comes to for a backbone. `chain`: the nodes all paths pass.
pub(super) fn choose(
    index: &Index,
    wish: &Delimiters,
    chain: &[usize],
    in_backbone: &[bool],
) -> BTreeSet<Delimiter> {
    let stages = chain
        .iter()
        .filter(|&&i| in_backbone[i] && index.node(i).is_a(Class::WindowPool))
        .count();
    match wish {
        Delimiters::Kinds(kinds) => kinds.clone(),
        Delimiters::Auto if stages >= STAGES => BTreeSet::from([Delimiter::Pool]),
        Delimiters::Auto => BTreeSet::from([Delimiter::Activation]),
    }
}

/// Divides the layers into blocks and notes each one's block. `loose`: constants that no layer owns, each
/// with its row.
pub(super) fn divide(
    index: &Index,
    kinds: &BTreeSet<Delimiter>,
    chain: &[usize],
    in_backbone: &[bool],
    layers: &mut [Layer],
    weighted: &mut [WeightedLayer],
    loose: &[(String, usize)],
) -> Vec<Block> {
    let ends_block = |node: usize| {
        kinds.iter().any(|kind| match kind {
            Delimiter::Pool => index.node(node).is_a(Class::WindowPool) && chain.contains(&node),
            Delimiter::Activation => index.node(node).is_a(Class::Activation),
            Delimiter::Norm => index.node(node).is_a(Class::Norm),
        })
    };
    let is_operator = |layer: &Layer| {
        layer
            .weighted
            .is_some_and(|w| weighted[w].node == layer.node)
    };
    // A block begins with its first weighted layer, so that one without joins the one before it,
    // and what precedes the first joins the first.
    let mut count = 0;
    let mut ended = true;
    for layer in layers.iter_mut().filter(|l| in_backbone[l.node]) {
        if is_operator(layer) && ended {
            count += 1;
            ended = false;
        }
        layer.block = usize::max(count, 1) - 1;
        ended |= ends_block(layer.node);
    }
    if count == 0 && layers.iter().any(|l| in_backbone[l.node]) {
        count = 1;
    }
    let has_classifier = layers.iter().any(|l| !in_backbone[l.node]);
    for layer in layers.iter_mut().filter(|l| !in_backbone[l.node]) {
        layer.block = count;
    }
    for layer in layers.iter() {
        if let Some(w) = layer.weighted
            && weighted[w].node == layer.node
        {
            weighted[w].block = layer.block;
        }
    }
    for layer in layers.iter_mut() {
        if let Some(w) = layer.weighted {
            layer.block = weighted[w].block;
        }
    }
    let total: usize = layers.iter().map(|l| l.parameters).sum();
    (0..count + usize::from(has_classifier))
        .map(|b| {
            let is_classifier = b == count;
            let inside = layers.iter().filter(|l| l.block == b);
            let parameters = inside.map(|l| l.parameters).sum();
            Block {
                name: match is_classifier {
                    true => "classifier".to_owned(),
                    false => format!("block{}", b + 1),
                },
                layers: (0..weighted.len())
                    .filter(|&w| weighted[w].block == b)
                    .collect(),
                tensors: loose
                    .iter()
                    .filter(|(_, row)| layers[*row].block == b)
                    .map(|(name, _)| name.clone())
                    .collect(),
                parameters,
                share: parameters as f64 / total.max(1) as f64,
                is_classifier,
            }
        })
        .collect()
}
