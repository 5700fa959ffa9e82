//! The blocks of two networks.

use std::path::Path;

use crate::training::TrainingError;
use crate::training::program::Prepared;

use super::DistilError;
use super::ends::{ends, pairs};

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
        let [own, other] = [model.batch, original.batch].map(|p| (value(p), p.shapes.dims(value(p))));
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
    let own = ends(model.batch, model.single);
    let others = ends(original.batch, original.single);
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
    let ends = own.into_iter().zip(pairs).map(|(end, pair)| {
        let other = pair.map(|at| others[at].value.clone());
        (end.value, other)
    });
    Ok(divided(model.batch, original.batch, ends, parameters)?)
}

/// Blocks between ends that both networks have, each as short as it can be with parameters of its own: what has none joins
/// the block before it.
fn divided(
    model: &Prepared,
    original: &Prepared,
    ends: impl Iterator<Item = (String, Option<String>)>,
    parameters: &[String],
) -> Result<Vec<Block>, TrainingError> {
    let mut left: Vec<&String> = parameters.iter().collect();
    let mut blocks = Vec::new();
    let mut block = Block::from([&model.input, &original.input]);
    // The last end since the last parameters that both have, and the last at all.
    let (mut shared, mut last) = (None::<[String; 2]>, model.input.clone());
    let scores = (model.scores.clone(), Some(original.scores.clone()));
    for (value, other) in ends.chain([scores]) {
        let part = model.part(&last, &value)?;
        let is_in = |name: &&String| part.graph.initializers.contains_key(*name);
        let (new, others) = left.into_iter().partition::<Vec<_>, _>(is_in);
        left = others;
        if !new.is_empty() && !block.parameters.is_empty() {
            match shared.take() {
                Some(ends) => {
                    let next = Block::from([&ends[0], &ends[1]]);
                    let done = std::mem::replace(&mut block, next);
                    blocks.push(done.to(ends));
                }
                None => block.joined_at.push(last),
            }
        }
        block.parameters.extend(new.into_iter().cloned());
        if let Some(other) = other {
            shared = Some([value.clone(), other]);
        }
        last = value;
    }
    let ends = [model.scores.clone(), original.scores.clone()];
    blocks.push(block.to(ends));
    Ok(blocks)
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

    fn to(self, [own, original]: [String; 2]) -> Self {
        let [own_start, _] = self.own;
        let [original_start, _] = self.original;
        Block {
            own: [own_start, own],
            original: [original_start, original],
            ..self
        }
    }
}
