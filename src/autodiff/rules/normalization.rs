//! Normalisation.

use super::super::context::{Context, Contributions};
use super::Rule;

pub(super) const RULES: &[Rule] = &[Rule {
    op_type: "BatchNormalization",
    limits: "batch statistics (training_mode = 1); trained running statistics",
    backward: batch_normalization,
}];

/// BatchNormalization with stored statistics: Y = γ X̂ + β, X̂ = (X − μ) r, r = 1/√(σ² + ε), each of
/// γ, β, μ, σ² one number per channel.
///
/// dX = dY γ r, dγ = Σ dY X̂, dβ = Σ dY, the sums over all axes but the channels'.
/// Source: <https://onnx.ai/onnx/operators/onnx__BatchNormalization.html>.
fn batch_normalization(c: &mut Context) -> Contributions {
    if c.node.int("training_mode", 0)? != 0 {
        return c.refuse("it uses the batch's statistics");
    }
    if c.wants(3) || c.wants(4) {
        return c.refuse("running statistics are not trained by gradients");
    }
    let dims = c.input_dims(0)?;
    if dims.len() < 2 {
        return c.refuse(format!("an input of rank {}", dims.len()));
    }
    let mut per_channel = vec![1; dims.len() - 1];
    per_channel[0] = dims[1];
    let others: Vec<usize> = (0..dims.len()).filter(|&a| a != 1).collect();
    let dy = c.gradient()?;
    let (x, gamma) = (c.input(0)?, c.input(1)?);
    let (mean, variance) = (c.input(3)?, c.input(4)?);
    let mut inverse = || {
        let epsilon = c.node.float("epsilon", 1e-5)?;
        let epsilon = c.scalar(epsilon);
        let sum = c.op("Add", &[variance, &epsilon], vec![]);
        let deviation = c.op("Sqrt", &[&sum], vec![]);
        Ok::<_, super::super::context::Refusal>(c.op("Reciprocal", &[&deviation], vec![]))
    };
    let r = inverse()?;
    let dx = c.wants(0).then(|| {
        let factor = c.op("Mul", &[gamma, &r], vec![]);
        let factor = c.reshape(&factor, &per_channel);
        c.op("Mul", &[&dy, &factor], vec![])
    });
    let d_gamma = c.wants(1).then(|| {
        let mean = c.reshape(mean, &per_channel);
        let centred = c.op("Sub", &[x, &mean], vec![]);
        let product = c.op("Mul", &[&dy, &centred], vec![]);
        let sum = c.reduce_sum(&product, &others, false);
        c.op("Mul", &[&sum, &r], vec![])
    });
    let d_beta = c.wants(2).then(|| c.reduce_sum(&dy, &others, false));
    Ok(vec![dx, d_gamma, d_beta])
}
