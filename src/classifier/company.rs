//! Whether what a model says of a sample depends on the others in its batch.

use crate::graph::Graph;

/// A model of which samples are run one at a time, so that what it says of one depends on no other.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Company {
    /// Nothing speaks against batches so far.
    Unknown,
    /// A batch was run together and in parts, which came to the same.
    Apart,
    /// Each is run alone, for this reason: a sentence.
    Mixes(String),
}

impl Company {
    /// What the nodes of a model tell: what quantises by the numbers that it gets has one scale for all samples.
    pub fn of(graph: &Graph) -> Self {
        const BY_RANGE: [&str; 3] = [
            "DynamicQuantizeLinear",
            "DynamicQuantizeMatMul",
            "DynamicQuantizeLSTM",
        ];
        let quantises = |op: &str| BY_RANGE.contains(&op);
        let node = graph.nodes.iter().find(|node| quantises(&node.op_type));
        node.map_or(Company::Unknown, |node| {
            Company::Mixes(format!(
                "{node} quantises all samples of a batch by one range, so that what the model says of one would \
                 depend on the others: they are run one at a time"
            ))
        })
    }

    /// That so many samples together fail, where one does not.
    pub fn alone(samples: usize, error: &dyn std::error::Error) -> Self {
        Company::Mixes(format!(
            "the model says that it takes any number of samples, and fails on {samples}, as do models whose graph was \
             written down for one: they are run one at a time ({error})"
        ))
    }

    /// That samples together came to something else than alone.
    pub fn mixed() -> Self {
        Company::Mixes(
            "the model says something else of a sample beside others than of it alone: it computes with all samples of a \
             batch, as normalisations do in training mode. They are run one at a time, so that no result depends on \
             others; it may not be what the model is meant to say: export it for inference (in Keras after \
             `model.trainable = False`, in PyTorch after `model.eval()`)"
                .to_owned(),
        )
    }
}

/// Whether the scores of a sample, `alone`, are those that it has beside `others`, rows of as many. Rounding may differ between
/// batch sizes, by up to a hundredth of what samples differ by; `half` rounds more.
pub(super) fn agree(alone: &[f32], own: &[f32], others: &[f32], half: bool) -> bool {
    let mut allowed = 0f32;
    let share = if half { 2e-2 } else { 1e-4 };
    for row in others.chunks_exact(alone.len().max(1)) {
        for (other, one) in row.iter().zip(own) {
            let apart = (other - one).abs();
            allowed = allowed.max(apart * 1e-2).max(one.abs() * share);
        }
    }
    let mut pairs = alone.iter().zip(own);
    pairs.all(|(a, b)| (a - b).abs() <= allowed || a == b || (a.is_nan() && b.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_no_difference_and_another_score_is_one() {
        let others = [0.5, -0.5, 0.9, 0.1];
        let own = [0.5, -0.5];
        assert!(agree(&[0.50001, -0.5], &own, &others, false));
        assert!(!agree(&[0.52, -0.5], &own, &others, false));
        assert!(agree(&[f32::NAN, -0.5], &[f32::NAN, -0.5], &others, false));
        assert!(!agree(&[f32::NAN, -0.5], &own, &others, false));
        // Samples that are all alike are no excuse.
        assert!(!agree(&[0.6, -0.5], &own, &[0.5, -0.5], false));
    }
}
