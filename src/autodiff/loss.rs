//! Losses, with their gradients.

use crate::graph::{Builder, GraphError};
use crate::onnx::Tensor;

/// The values that [`cross_entropy`] and its like appended.
#[derive(Clone, Debug)]
pub struct Loss {
    /// The mean loss over the batch, a scalar.
    pub loss: String,
    /// Its gradient with respect to the logits, or the output, of their shape.
    pub gradient: String,
}

/// Which classes samples are of, by names of values.
#[derive(Clone, Copy, Debug)]
pub enum Labels<'a> {
    /// One of each: int64 `[N]`.
    One(&'a str),
    /// Two of each: int64 `[N]`, and the share of the first, float `[N, 1]`.
    Two {
        /// Labels.
        labels: [&'a str; 2],
        /// λ.
        share: &'a str,
    },
}

/// How the targets of a cross-entropy follow from the labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Targets {
    /// Weight of each class, 1 without them.
    pub class_weights: Option<Vec<f32>>,
    /// Share of a target that is spread over all classes, 0 to 1: label smoothing.
    pub smoothing: f32,
}

/// Appends the mean cross-entropy of `logits` (`[N, C]`, or `[N, C, 1, …]`) against `labels`:
///
/// `L = −1/N Σₙ Σ_c v_nc log softmax(zₙ)_c`, `∂L/∂zₙ = (softmax(zₙ) Σ_c v_nc − vₙ) / N`, `v_nc = w_c q_nc`,
///
/// where `w` are the class weights, and the targets `qₙ = (1 − ε) onehot(yₙ) + ε/C` for a smoothing of ε (Szegedy
/// et al., "Rethinking the Inception Architecture for Computer Vision", 2016). Of two labels, `onehot(yₙ)` is
/// `λₙ onehot(yₙ) + (1 − λₙ) onehot(y′ₙ)`. Weights and smoothing go together as
/// in PyTorch (`torch.nn.LossLoss`): each class's part of a target has the weight of that class. But the sum
/// is divided by the number of samples, as Keras does (`class_weight` of `Model.fit`), and not by the sum of their
/// weights, as PyTorch does: what a sample contributes does not depend on which others are in its batch.
///
/// # Errors
/// When the logits have another shape, or there is not one weight per class.
pub fn cross_entropy(
    builder: &mut Builder,
    logits: &str,
    dims: &[usize],
    labels: Labels<'_>,
    targets: &Targets,
) -> Result<Loss, GraphError> {
    let flat = rows(builder, logits, dims, targets)?;
    let (batch, classes) = (&dims[0], &dims[1]);
    let depth = builder.constant(Tensor::scalar_i64(*classes as i64));
    let spread = targets.smoothing / *classes as f32;
    let off_on = [spread, 1.0 - targets.smoothing + spread];
    let values = builder.constant(Tensor::f32(&[2], &off_on));
    let one_hot = |builder: &mut Builder, labels: &str| {
        builder.op("loss/target", "OneHot", &[labels, &depth, &values], vec![])
    };
    let mut target = match labels {
        Labels::One(labels) => one_hot(builder, labels),
        Labels::Two {
            labels: [first, second],
            share,
        } => {
            let [first, second] = [first, second].map(|labels| one_hot(builder, labels));
            let apart = builder.op("loss/apart", "Sub", &[&first, &second], vec![]);
            let part = builder.op("loss/part", "Mul", &[&apart, share], vec![]);
            builder.op("loss/mixed", "Add", &[&second, &part], vec![])
        }
    };
    let log_p = builder.op(
        "loss/log_softmax",
        "LogSoftmax",
        &[&flat],
        vec![("axis", 1.into())],
    );
    // What the target of a sample sums up to, where that is not 1.
    let mut total = None;
    if let Some(weights) = &targets.class_weights {
        let row = builder.constant(Tensor::f32(&[*classes], weights));
        target = builder.op("loss/weighted", "Mul", &[&target, &row], vec![]);
        let axis = builder.ints(&[1]);
        total = Some(builder.op("loss/total", "ReduceSum", &[&target, &axis], vec![]));
    }
    let picked = builder.op("loss/picked", "Mul", &[&log_p, &target], vec![]);
    let sum = builder.op(
        "loss/sum",
        "ReduceSum",
        &[&picked],
        vec![("keepdims", 0.into())],
    );
    let factor = builder.scalar(-1.0 / *batch as f32);
    let loss = builder.op("loss", "Mul", &[&sum, &factor], vec![]);
    let mut p = builder.op("loss/softmax", "Exp", &[&log_p], vec![]);
    if let Some(total) = &total {
        p = builder.op("loss/softmax/weighted", "Mul", &[&p, total], vec![]);
    }
    let difference = builder.op("loss/difference", "Sub", &[&p, &target], vec![]);
    let factor = builder.scalar(1.0 / *batch as f32);
    let gradient = builder.op("grad/logits", "Mul", &[&difference, &factor], vec![]);
    let gradient = as_logits(builder, gradient, dims);
    Ok(Loss { loss, gradient })
}

/// Appends the mean binary cross-entropy of `logits` (`[N, C]`, or `[N, C, 1, …]`) against `of`, float `[N, C]` from 0
/// to 1:
///
/// `L = 1/NC Σₙ Σ_c (1 − t) z + l (ln(1 + e^−|z|) + max(−z, 0))`, `∂L/∂z = ((1 − t) − l (1 − σ(z))) / NC`,
/// `l = 1 + (w_c − 1) t`,
///
/// where `w` are the class weights, which count what a sample is of and not what it is not of, and the targets
/// `t = (1 − ε) y + ε/2` for a smoothing of ε. Source: `torch.nn.BCEWithLogitsLoss` with its `pos_weight`.
///
/// # Errors
/// As [`cross_entropy`].
pub fn binary_cross_entropy(
    builder: &mut Builder,
    logits: &str,
    dims: &[usize],
    of: &str,
    targets: &Targets,
) -> Result<Loss, GraphError> {
    let flat = rows(builder, logits, dims, targets)?;
    let (batch, classes) = (dims[0], dims[1]);
    let mut target = of.to_owned();
    if targets.smoothing > 0.0 {
        let kept = builder.scalar(1.0 - targets.smoothing);
        let spread = builder.scalar(targets.smoothing / 2.0);
        let part = builder.op("loss/kept", "Mul", &[&target, &kept], vec![]);
        target = builder.op("loss/smoothed", "Add", &[&part, &spread], vec![]);
    }
    let one = builder.scalar(1.0);
    let absent = builder.op("loss/absent", "Sub", &[&one, &target], vec![]);
    let linear = builder.op("loss/linear", "Mul", &[&absent, &flat], vec![]);
    let size = builder.op("loss/size", "Abs", &[&flat], vec![]);
    let negative = builder.op("loss/negative", "Neg", &[&flat], vec![]);
    let small = builder.op("loss/small", "Neg", &[&size], vec![]);
    let soft = builder.op("loss/soft", "Softplus", &[&small], vec![]);
    let hard = builder.op("loss/hard", "Relu", &[&negative], vec![]);
    let mut missed = builder.op("loss/missed", "Add", &[&soft, &hard], vec![]);
    // The probability of the other side.
    let mut rest = builder.op("loss/rest", "Sigmoid", &[&negative], vec![]);
    if let Some(weights) = &targets.class_weights {
        let beyond: Vec<f32> = weights.iter().map(|w| w - 1.0).collect();
        let beyond = builder.constant(Tensor::f32(&[classes], &beyond));
        let more = builder.op("loss/more", "Mul", &[&target, &beyond], vec![]);
        let weight = builder.op("loss/weight", "Add", &[&one, &more], vec![]);
        missed = builder.op("loss/weighted", "Mul", &[&missed, &weight], vec![]);
        rest = builder.op("loss/rest/weighted", "Mul", &[&rest, &weight], vec![]);
    }
    let each = builder.op("loss/each", "Add", &[&linear, &missed], vec![]);
    let sum = builder.op(
        "loss/sum",
        "ReduceSum",
        &[&each],
        vec![("keepdims", 0.into())],
    );
    let factor = builder.scalar(1.0 / (batch * classes) as f32);
    let loss = builder.op("loss", "Mul", &[&sum, &factor], vec![]);
    let difference = builder.op("loss/difference", "Sub", &[&absent, &rest], vec![]);
    let gradient = builder.op("grad/logits", "Mul", &[&difference, &factor], vec![]);
    let gradient = as_logits(builder, gradient, dims);
    Ok(Loss { loss, gradient })
}

/// Appends the mean of the squared differences of `output`, of dimensions `dims`, from `targets` of the same:
///
/// `L = 1/n Σᵢ (yᵢ − tᵢ)²`, `∂L/∂yᵢ = 2 (yᵢ − tᵢ) / n`.
///
/// Source: `torch.nn.MSELoss`.
pub fn squared_error(builder: &mut Builder, output: &str, dims: &[usize], targets: &str) -> Loss {
    let count = dims.iter().product::<usize>() as f32;
    let difference = builder.op("loss/difference", "Sub", &[output, targets], vec![]);
    let square = builder.op("loss/square", "Mul", &[&difference, &difference], vec![]);
    let sum = vec![("keepdims", 0.into())];
    let sum = builder.op("loss/sum", "ReduceSum", &[&square], sum);
    let factor = builder.scalar(1.0 / count);
    let loss = builder.op("loss", "Mul", &[&sum, &factor], vec![]);
    let factor = builder.scalar(2.0 / count);
    let gradient = builder.op("grad/output", "Mul", &[&difference, &factor], vec![]);
    Loss { loss, gradient }
}

/// The logits as `[N, C]`.
fn rows(
    builder: &mut Builder,
    logits: &str,
    dims: &[usize],
    targets: &Targets,
) -> Result<String, GraphError> {
    let [batch, classes, rest @ ..] = dims else {
        return Err(not_logits(logits, dims));
    };
    if rest.iter().any(|&d| d != 1) || *batch == 0 {
        return Err(not_logits(logits, dims));
    }
    if let Some(weights) = &targets.class_weights
        && weights.len() != *classes
    {
        return Err(GraphError::Unsupported(format!(
            "`{logits}` has {classes} classes, but there are weights for {}",
            weights.len()
        )));
    }
    if rest.is_empty() {
        return Ok(logits.to_owned());
    }
    let target = builder.ints(&[*batch as i64, *classes as i64]);
    Ok(builder.op("loss/logits", "Reshape", &[logits, &target], vec![]))
}

/// A gradient of `[N, C]` in the dimensions of the logits.
fn as_logits(builder: &mut Builder, gradient: String, dims: &[usize]) -> String {
    if dims.len() == 2 {
        return gradient;
    }
    let target: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
    let target = builder.ints(&target);
    let hint = "grad/logits/reshaped";
    builder.op(hint, "Reshape", &[&gradient, &target], vec![])
}

fn not_logits(logits: &str, dims: &[usize]) -> GraphError {
    GraphError::Unsupported(format!(
        "`{logits}` has dimensions {dims:?}; cross-entropy needs one row of class scores per example"
    ))
}
