//! Losses, with their gradients.

use crate::graph::{Builder, GraphError};
use crate::onnx::Tensor;

/// The values that [`cross_entropy`] appended.
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    /// The mean loss over the batch, a scalar.
    pub loss: String,
    /// Its gradient with respect to the logits, of their shape.
    pub gradient: String,
}

/// Appends the mean cross-entropy of `logits` (`[N, C]`, or `[N, C, 1, …]`) against int64 `labels`
/// (`[N]`):
///
/// `L = −1/N Σₙ w[yₙ] log softmax(zₙ)[yₙ]`, `∂L/∂zₙ = w[yₙ] (softmax(zₙ) − onehot(yₙ)) / N`,
///
/// where `w` are the `class_weights` (`[C]`), or 1 without them. The sum is divided by the number of
/// samples, as Keras does (`class_weight` of `Model.fit`), and not by the sum of their weights, as
/// PyTorch does (`torch.nn.CrossEntropyLoss`): what a sample contributes does not depend on which
/// others are in its batch.
///
/// # Errors
/// When the logits have another shape, or there is not one weight per class.
pub fn cross_entropy(
    builder: &mut Builder,
    logits: &str,
    dims: &[usize],
    labels: &str,
    class_weights: Option<&[f32]>,
) -> Result<CrossEntropy, GraphError> {
    let [batch, classes, rest @ ..] = dims else {
        return Err(not_logits(logits, dims));
    };
    if rest.iter().any(|&d| d != 1) || *batch == 0 {
        return Err(not_logits(logits, dims));
    }
    if let Some(weights) = class_weights
        && weights.len() != *classes
    {
        return Err(GraphError::Unsupported(format!(
            "`{logits}` has {classes} classes, but there are weights for {}",
            weights.len()
        )));
    }
    let shape = |dims: &[usize]| dims.iter().map(|&d| d as i64).collect::<Vec<_>>();
    let flat = if rest.is_empty() {
        logits.to_owned()
    } else {
        let target = builder.ints(&shape(&dims[..2]));
        builder.op("loss/logits", "Reshape", &[logits, &target], vec![])
    };
    let depth = builder.constant(Tensor::scalar_i64(*classes as i64));
    let values = builder.constant(Tensor::f32(&[2], &[0.0, 1.0]));
    let one_hot = builder.op("loss/one_hot", "OneHot", &[labels, &depth, &values], vec![]);
    let log_p = builder.op(
        "loss/log_softmax",
        "LogSoftmax",
        &[&flat],
        vec![("axis", 1.into())],
    );
    let mut picked = builder.op("loss/picked", "Mul", &[&log_p, &one_hot], vec![]);
    let weights = class_weights.map(|weights| {
        let column = builder.constant(Tensor::f32(&[*classes, 1], weights));
        builder.op("loss/weights", "Gather", &[&column, labels], vec![])
    });
    if let Some(weights) = &weights {
        picked = builder.op("loss/weighted", "Mul", &[&picked, weights], vec![]);
    }
    let sum = builder.op(
        "loss/sum",
        "ReduceSum",
        &[&picked],
        vec![("keepdims", 0.into())],
    );
    let factor = builder.scalar(-1.0 / *batch as f32);
    let loss = builder.op("loss", "Mul", &[&sum, &factor], vec![]);
    let p = builder.op("loss/softmax", "Exp", &[&log_p], vec![]);
    let mut difference = builder.op("loss/difference", "Sub", &[&p, &one_hot], vec![]);
    if let Some(weights) = &weights {
        let names = [difference.as_str(), weights];
        difference = builder.op("grad/logits/weighted", "Mul", &names, vec![]);
    }
    let factor = builder.scalar(1.0 / *batch as f32);
    let mut gradient = builder.op("grad/logits", "Mul", &[&difference, &factor], vec![]);
    if !rest.is_empty() {
        let target = builder.ints(&shape(dims));
        gradient = builder.op(
            "grad/logits/reshaped",
            "Reshape",
            &[&gradient, &target],
            vec![],
        );
    }
    Ok(CrossEntropy { loss, gradient })
}

fn not_logits(logits: &str, dims: &[usize]) -> GraphError {
    GraphError::Unsupported(format!(
        "`{logits}` has dimensions {dims:?}; cross-entropy needs one row of class scores per example"
    ))
}
