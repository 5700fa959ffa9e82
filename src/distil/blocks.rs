//! The blocks of two networks.

use std::collections::HashSet;
use std::path::Path;

use crate::training::program::Prepared;
use crate::training::{TrainingError, differentiable_of};

use super::DistilError;
use super::ends::{ends, pairs, products};

/// Convolutions and products of a block, at most, where the network can be divided finer.
const MOST_PRODUCTS: usize = 5;

/// A block of the model and the same of the original.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    /// Where it begins and ends in the model.
    pub own: [String; 2],
    /// Where in the original.
    pub original: [String; 2],
    /// Values in it at which a block of the model would end, if the original had them.
    pub joined_at: Vec<String>,
    /// Its parameters, those of earlier blocks left out.
    pub parameters: Vec<String>,
}

/// A network for a batch, and for one sample.
pub(super) struct Network<'a> {
    pub path: &'a Path,
    pub batch: &'a Prepared,
    pub single: &'a Prepared,
    /// Values on the way of rounding, which stand for nothing in another network.
    pub inner: &'a HashSet<String>,
}

/// The blocks of `model`, whose parameters are `parameters`. Each has parameters of its own, but where the model has none.
///
/// # Errors
/// [`DistilError::Architecture`] names where the two are not of one architecture.
pub(super) fn blocks(
    model: &Network<'_>,
    original: &Network<'_>,
    parameters: &[String],
) -> Result<Vec<Block>, DistilError> {
    let differ = |reason: String| DistilError::Architecture {
        model: model.path.to_owned(),
        original: original.path.to_owned(),
        reason,
    };
    let sizes = |value: fn(&Prepared) -> &str| -> Result<(), DistilError> {
        let [own, other] =
            [model.batch, original.batch].map(|p| (value(p), p.shapes.dims(value(p))));
        let ((name, dims), (others_name, others)) = (own, other);
        let (dims, others) = (dims?, others?);
        if dims == others {
            return Ok(());
        }
        Err(differ(format!(
            "`{name}` has dimensions {:?} for a sample, and `{others_name}` of the original {:?}",
            &dims[1..],
            &others[1..]
        )))
    };
    sizes(|prepared| &prepared.input)?;
    sizes(|prepared| &prepared.scores)?;
    let own = ends(model.batch, model.single, model.inner);
    let others = ends(original.batch, original.single, original.inner);
    let pairs = pairs(&own, &others);
    if let (Some(first), Some(other)) = (own.first(), others.first())
        && own.len() > 1
        && others.len() > 1
        && pairs.iter().all(Option::is_none)
    {
        return Err(differ(format!(
            "none of its values is one of the original's; the first that all of its paths pass is `{}`, and `{}` there",
            first.value, other.value
        )));
    }
    let scores = &model.batch.scores;
    let last = Seen {
        value: scores.clone(),
        original: Some(original.batch.scores.clone()),
        products: products(&model.batch.graph),
        size: model.batch.shapes.dims(scores)?.iter().skip(1).product(),
    };
    let ends = own.into_iter().zip(pairs).map(|(end, pair)| Seen {
        original: pair.map(|at| others[at].value.clone()),
        value: end.value,
        products: end.products,
        size: end.size,
    });
    let ends: Vec<Seen> = ends.chain([last]).collect();
    let mut layers = divided(model.batch, original.batch, &ends, parameters)?;
    for layer in &mut layers {
        let [from, to] = &layer.block.own;
        let part = model.batch.part(from, to)?;
        let (_, obstacle) = differentiable_of(&part, &layer.block.parameters)?;
        layer.is_alone = obstacle.is_some();
    }
    Ok(joined(layers))
}

/// An end of the model.
struct Seen {
    value: String,
    /// The same of the original, if it has one.
    original: Option<String>,
    products: usize,
    size: usize,
}

/// A block between neighbouring ends.
struct Layer {
    block: Block,
    /// How many convolutions and products are before its end.
    products: usize,
    /// How many numbers its end has for a sample.
    size: usize,
    /// Whether no gradient passes it, so that a neighbour would lose by joining it.
    is_alone: bool,
}

/// Blocks between ends that both networks have, each as short as it can be with a convolution or product of parameters of its
/// own: what has none joins the block before it.
fn divided(
    model: &Prepared,
    original: &Prepared,
    ends: &[Seen],
    parameters: &[String],
) -> Result<Vec<Layer>, TrainingError> {
    let mut left: Vec<&String> = parameters.iter().collect();
    let mut layers = Vec::new();
    let mut block = Block::from([&model.input, &original.input]);
    // The last end since the last such that both have, and the last at all.
    let mut shared: Option<&Seen> = None;
    let mut last: Option<&Seen> = None;
    for end in ends {
        let (from, products) = match last {
            Some(last) => (&last.value, last.products),
            None => (&model.input, 0),
        };
        let part = model.part(from, &end.value)?;
        let is_in = |name: &&String| part.graph.initializers.contains_key(*name);
        let (new, others) = left.into_iter().partition::<Vec<_>, _>(is_in);
        left = others;
        let begins = !new.is_empty() && end.products > products;
        if begins && !block.parameters.is_empty() {
            match shared.take() {
                Some(end) => {
                    let ends = [&end.value, end.original.as_ref().unwrap_or(&end.value)];
                    let done = std::mem::replace(&mut block, Block::from(ends));
                    layers.push(done.to(end));
                }
                None => block.joined_at.extend(last.map(|last| last.value.clone())),
            }
        }
        block.parameters.extend(new.into_iter().cloned());
        if end.original.is_some() {
            shared = Some(end);
        }
        last = Some(end);
    }
    layers.extend(last.map(|end| block.to(end)));
    Ok(layers)
}

/// Joins neighbours to blocks of at most [`MOST_PRODUCTS`], so that the values at which they end are the smallest: between an
/// expansion and the projection behind it no block ends.
fn joined(layers: Vec<Layer>) -> Vec<Block> {
    // The least size of all ends, for the layers up to each, and where the last block of these begins.
    let mut least: Vec<(usize, usize)> = vec![(0, 0)];
    let before = |at: usize| match at {
        0 => 0,
        at => layers[at - 1].products,
    };
    for (at, layer) in layers.iter().enumerate() {
        let begins = (0..=at).filter(|&from| {
            let is_small = layer.products - before(from) <= MOST_PRODUCTS;
            from == at || is_small && !layers[from..=at].iter().any(|layer| layer.is_alone)
        });
        let sizes = begins.map(|from| (least[from].0.saturating_add(layer.size), from));
        // Of equal ones the shorter block.
        let best = sizes.min_by_key(|&(size, from)| (size, at - from));
        least.push(best.unwrap_or_default());
    }
    let mut begins = vec![false; layers.len()];
    let mut at = layers.len();
    while at > 0 {
        at = least[at].1;
        if let Some(begin) = begins.get_mut(at) {
            *begin = true;
        }
    }
    let mut blocks: Vec<Block> = Vec::new();
    for (begins, Layer { block, .. }) in begins.into_iter().zip(layers) {
        match blocks.last_mut().filter(|_| !begins) {
            None => blocks.push(block),
            Some(before) => {
                let [_, own] = block.own;
                let [_, original] = block.original;
                before.own[1] = own;
                before.original[1] = original;
                before.joined_at.extend(block.joined_at);
                before.parameters.extend(block.parameters);
            }
        }
    }
    blocks
}

impl Block {
    /// An empty one.
    fn from([own, original]: [&String; 2]) -> Self {
        let begin = |value: &String| [value.clone(), value.clone()];
        Block {
            own: begin(own),
            original: begin(original),
            joined_at: Vec::new(),
            parameters: Vec::new(),
        }
    }

    fn to(mut self, end: &Seen) -> Layer {
        self.own[1].clone_from(&end.value);
        self.original[1].clone_from(end.original.as_ref().unwrap_or(&end.value));
        Layer {
            block: self,
            products: end.products,
            size: end.size,
            is_alone: false,
        }
    }
}
