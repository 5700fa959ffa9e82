//! Normalisation.

use super::super::context::{Context, Contributions};
use super::Rule;

pub(super) const RULES: &[Rule] = &[
    Rule {
        op_type: "BatchNormalization",
        limits: "training_mode = 1 with a momentum other than 0",
        backward: batch_normalization,
    },
    Rule {
        op_type: "LayerNormalization",
        limits: "a loss that depends on the mean or deviation outputs",
        backward: layer_normalization,
    },
    Rule {
        op_type: "InstanceNormalization",
        limits: "",
        backward: instance_normalization,
    },
    Rule {
        op_type: "GroupNormalization",
        limits: "",
        backward: group_normalization,
    },
    Rule {
        op_type: "LpNormalization",
        limits: "",
        backward: lp_normalization,
    },
    Rule {
        op_type: "LRN",
        limits: "",
        backward: local_response,
    },
];

/// BatchNormalization: Y = γ X̂ + β, X̂ = (X − μ) r, r = 1/√(σ² + ε), each of γ, β, μ, σ² one number
/// per channel.
///
/// dγ = Σ dY X̂, dβ = Σ dY, the sums over all axes but the channels'. With statistics that are given
/// dX = γ r dY, and where they are computed, as those of a standardised weight, dμ = −γ r dβ and
/// dσ² = −½ γ r² dγ. With those of the batch (`training_mode`), which depend on X, too,
/// dX = γ r (dY − dβ/n − X̂ dγ/n), n the number of values per channel; μ and σ² are then the
/// node's second and third outputs, which hold them as they are where `momentum` is 0.
/// Sources: <https://onnx.ai/onnx/operators/onnx__BatchNormalization.html>; Ioffe & Szegedy 2015,
/// section 3.
fn batch_normalization(c: &mut Context) -> Contributions {
    let of_batch = c.node.int("training_mode", 0)? != 0;
    if of_batch && c.node.float("momentum", 0.9)? != 0.0 {
        return c.refuse("it is in training mode with a momentum other than 0");
    }
    if c.output_gradient(1).is_some() || c.output_gradient(2).is_some() {
        return c.refuse("the loss depends on its statistics");
    }
    let computed = !of_batch && (c.wants(3) || c.wants(4));
    let dims = c.input_dims(0)?;
    if dims.len() < 2 {
        return c.refuse(format!("an input of rank {}", dims.len()));
    }
    let mut per_channel = vec![1; dims.len() - 1];
    per_channel[0] = dims[1];
    let others: Vec<usize> = (0..dims.len()).filter(|&a| a != 1).collect();
    let count: usize = others.iter().map(|&a| dims[a]).product();
    let dy = c.gradient()?;
    let (x, gamma) = (c.input(0)?, c.input(1)?);
    let (mean, variance) = match of_batch {
        true => (c.add_output(1), c.add_output(2)),
        false => (c.input(3)?.to_owned(), c.input(4)?.to_owned()),
    };
    let epsilon = c.node.float("epsilon", 1e-5)?;
    let through = of_batch && c.wants(0);

    let epsilon = c.scalar(epsilon);
    let sum = c.call("Add", &[&variance, &epsilon]);
    let deviation = c.call("Sqrt", &[&sum]);
    let r = c.call("Reciprocal", &[&deviation]);
    let d_beta = (through || computed || c.wants(2)).then(|| c.reduce_sum(&dy, &others, false));
    // X − μ, and dγ.
    let slope = (through || computed || c.wants(1)).then(|| {
        let mean = c.reshape(&mean, &per_channel);
        let centred = c.call("Sub", &[x, &mean]);
        let product = c.call("Mul", &[&dy, &centred]);
        let sum = c.reduce_sum(&product, &others, false);
        (centred, c.call("Mul", &[&sum, &r]))
    });
    let dx = c.wants(0).then(|| {
        let factor = c.call("Mul", &[gamma, &r]);
        let wide = c.reshape(&factor, &per_channel);
        let direct = c.call("Mul", &[&dy, &wide]);
        let (true, Some(d_beta), Some((centred, d_gamma))) = (of_batch, &d_beta, &slope) else {
            return direct;
        };
        let share = c.scale(&factor, 1.0 / count as f32);
        let level = c.call("Mul", &[&share, d_beta]);
        let level = c.reshape(&level, &per_channel);
        let tilt = c.call("Mul", &[&share, d_gamma]);
        let tilt = c.call("Mul", &[&tilt, &r]);
        let tilt = c.reshape(&tilt, &per_channel);
        let along = c.call("Mul", &[centred, &tilt]);
        let rest = c.call("Sub", &[&direct, &along]);
        c.call("Sub", &[&rest, &level])
    });
    let d_gamma = slope.map(|(_, d_gamma)| d_gamma);
    let mut grads = vec![dx, d_gamma.clone(), d_beta.clone()];
    if let (true, Some(d_gamma), Some(d_beta)) = (computed, d_gamma, d_beta) {
        let factor = c.call("Mul", &[gamma, &r]);
        let product = c.call("Mul", &[&factor, &d_beta]);
        grads.push(Some(c.call("Neg", &[&product])));
        let factor = c.call("Mul", &[&factor, &r]);
        let product = c.call("Mul", &[&factor, &d_gamma]);
        grads.push(Some(c.scale(&product, -0.5)));
    }
    Ok(grads)
}

/// LayerNormalization: Y = γ X̂ + β, X̂ = (X − μ) r, with mean μ and r = 1/√(σ² + ε) over the axes
/// from `axis` on.
///
/// With G = dY γ: dX = r (G − mean G − X̂ mean(G X̂)), dγ = Σ dY X̂, dβ = Σ dY.
/// Source: <https://onnx.ai/onnx/operators/onnx__LayerNormalization.html>.
fn layer_normalization(c: &mut Context) -> Contributions {
    if c.output_gradient(1).is_some() || c.output_gradient(2).is_some() {
        return c.refuse("the loss depends on its mean or deviation");
    }
    let dims = c.input_dims(0)?;
    let first = c.axis(c.node.int("axis", -1)?, dims.len())?;
    let axes: Vec<usize> = (first..dims.len()).collect();
    let (dy, x, gamma) = (c.gradient()?, c.input(0)?, c.input(1)?);
    let mean = c.add_output(1);
    let inverse = c.add_output(2);
    let centred = c.call("Sub", &[x, &mean]);
    let normal = c.call("Mul", &[&centred, &inverse]);
    let mut grads = vec![None, None, None];
    if c.wants(0) {
        let g = c.call("Mul", &[&dy, gamma]);
        grads[0] = Some(through_statistics(c, &g, &normal, &inverse, &axes));
    }
    if c.wants(1) {
        let product = c.call("Mul", &[&dy, &normal]);
        grads[1] = Some(c.sum_to_input(&product, 1)?);
    }
    if c.wants(2) {
        grads[2] = Some(c.sum_to_input(&dy, 2)?);
    }
    Ok(grads)
}

/// InstanceNormalization: as LayerNormalization, with statistics over the spatial axes of each
/// example and channel, and γ and β one number per channel.
/// Source: <https://onnx.ai/onnx/operators/onnx__InstanceNormalization.html>.
fn instance_normalization(c: &mut Context) -> Contributions {
    let channels = *c.input_dims(0)?.get(1).unwrap_or(&1);
    per_group(c, channels)
}

/// GroupNormalization: as LayerNormalization, with statistics over the spatial axes and the
/// channels of each group, and γ and β one number per channel.
/// Source: <https://onnx.ai/onnx/operators/onnx__GroupNormalization.html>.
fn group_normalization(c: &mut Context) -> Contributions {
    let groups = c.node.int("num_groups", 0)?;
    match usize::try_from(groups) {
        Ok(groups) => per_group(c, groups),
        Err(_) => Err(c.node.error(format!("num_groups is {groups}")).into()),
    }
}

fn per_group(c: &mut Context, groups: usize) -> Contributions {
    let dims = c.input_dims(0)?;
    if dims.len() < 3 || groups == 0 || !dims[1].is_multiple_of(groups) || dims.contains(&0) {
        return c.refuse(format!("an input {dims:?} in {groups} groups"));
    }
    let (batch, channels) = (dims[0], dims[1]);
    let size = dims[2..].iter().product::<usize>() * channels / groups;
    let grouped = [batch, groups, size];
    let mut per_channel = vec![1; dims.len() - 1];
    per_channel[0] = channels;
    let epsilon = c.node.float("epsilon", 1e-5)?;
    let (dy, x, gamma) = (c.gradient()?, c.input(0)?, c.input(1)?);
    let mean_over = |c: &mut Context, value: &str| {
        let sum = c.reduce_sum(value, &[2], true);
        c.scale(&sum, 1.0 / size as f32)
    };
    let x = c.reshape(x, &grouped);
    let mean = mean_over(c, &x);
    let centred = c.call("Sub", &[&x, &mean]);
    let square = c.call("Mul", &[&centred, &centred]);
    let variance = mean_over(c, &square);
    let epsilon = c.scalar(epsilon);
    let variance = c.call("Add", &[&variance, &epsilon]);
    let deviation = c.call("Sqrt", &[&variance]);
    let inverse = c.call("Reciprocal", &[&deviation]);
    let normal = c.call("Mul", &[&centred, &inverse]);
    let mut grads = vec![None, None, None];
    if c.wants(0) {
        let gamma = c.reshape(gamma, &per_channel);
        let g = c.call("Mul", &[&dy, &gamma]);
        let g = c.reshape(&g, &grouped);
        let dx = through_statistics(c, &g, &normal, &inverse, &[2]);
        grads[0] = Some(c.reshape(&dx, &dims));
    }
    let others: Vec<usize> = (0..dims.len()).filter(|&a| a != 1).collect();
    if c.wants(1) {
        let normal = c.reshape(&normal, &dims);
        let product = c.call("Mul", &[&dy, &normal]);
        grads[1] = Some(c.reduce_sum(&product, &others, false));
    }
    if c.wants(2) {
        grads[2] = Some(c.reduce_sum(&dy, &others, false));
    }
    Ok(grads)
}

/// dX = r (G − mean G − X̂ mean(G X̂)), the means over `axes`, G the gradient with respect to X̂.
fn through_statistics(
    c: &mut Context,
    g: &str,
    normal: &str,
    inverse: &str,
    axes: &[usize],
) -> String {
    let list: Vec<i64> = axes.iter().map(|&a| a as i64).collect();
    let list = c.ints(&list);
    let mean = c.call("ReduceMean", &[g, &list]);
    let product = c.call("Mul", &[g, normal]);
    let slope = c.call("ReduceMean", &[&product, &list]);
    let along = c.call("Mul", &[normal, &slope]);
    let centred = c.call("Sub", &[g, &mean]);
    let rest = c.call("Sub", &[&centred, &along]);
    c.call("Mul", &[&rest, inverse])
}

/// LpNormalization: Y = X / n, n = Σ|X| (p = 1) or √ΣX² (p = 2) along an axis, Y = 0 where n = 0.
///
/// dX = (dY − S Σ dY Y) / n with S = sign X (p = 1) or Y (p = 2), and 0 where n = 0.
/// Source: <https://onnx.ai/onnx/operators/onnx__LpNormalization.html>.
fn lp_normalization(c: &mut Context) -> Contributions {
    let rank = c.input_dims(0)?.len();
    let axis = c.axis(c.node.int("axis", -1)?, rank)?;
    let norm = match c.node.int("p", 2)? {
        1 => "ReduceL1",
        2 => "ReduceL2",
        p => return c.refuse(format!("p = {p}")),
    };
    let (dy, x, y) = (c.gradient()?, c.input(0)?, c.output(0)?);
    let axes = c.ints(&[axis as i64]);
    let size = c.call(norm, &[x, &axes]);
    let slope = match norm {
        "ReduceL1" => c.call("Sign", &[x]),
        _ => y.to_owned(),
    };
    let product = c.call("Mul", &[&dy, y]);
    let along = c.reduce_sum(&product, &[axis], true);
    let radial = c.call("Mul", &[&slope, &along]);
    let rest = c.call("Sub", &[&dy, &radial]);
    let zero = c.scalar(0.0);
    let there = c.call("Greater", &[&size, &zero]);
    let scaled = c.call("Div", &[&rest, &size]);
    Ok(vec![Some(c.masked(&there, &scaled))])
}

/// LRN: Yᵢ = Xᵢ Sᵢ^(−β), Sᵢ = bias + α/n Σⱼ Xⱼ² over the n channels j around channel i.
///
/// dXᵢ = dYᵢ Sᵢ^(−β) − 2αβ/n Xᵢ Σⱼ dYⱼ Xⱼ Sⱼ^(−β−1), over the channels j around which i lies.
/// Source: <https://onnx.ai/onnx/operators/onnx__LRN.html>.
fn local_response(c: &mut Context) -> Contributions {
    let dims = c.input_dims(0)?;
    let size = c.node.int("size", 1)?;
    if dims.len() < 2 || size < 1 {
        return Err(c.node.error(format!("size {size}, input {dims:?}")).into());
    }
    let alpha = c.node.float("alpha", 1e-4)?;
    let beta = c.node.float("beta", 0.75)?;
    let bias = c.node.float("bias", 1.0)?;
    let flat = [dims[0], 1, dims[1], dims[2..].iter().product()];
    let (before, after) = ((size - 1) / 2, size / 2);
    // The mean over a window of channels; zeros beyond the first and last count.
    let mean = |c: &mut Context, value: &str, [before, after]: [i64; 2]| {
        let value = c.reshape(value, &flat);
        let attributes = vec![
            ("kernel_shape", vec![size, 1].into()),
            ("pads", vec![before, 0, after, 0].into()),
            ("count_include_pad", 1.into()),
        ];
        let mean = c.op("AveragePool", &[&value], attributes);
        c.reshape(&mean, &dims)
    };
    let (dy, x) = (c.gradient()?, c.input(0)?);
    let square = c.call("Mul", &[x, x]);
    let energy = mean(c, &square, [before, after]);
    let energy = c.scale(&energy, alpha);
    let bias = c.scalar(bias);
    let s = c.call("Add", &[&energy, &bias]);
    let exponent = c.scalar(-beta);
    let power = c.call("Pow", &[&s, &exponent]);
    let direct = c.call("Mul", &[&dy, &power]);
    let product = c.call("Mul", &[&direct, x]);
    let share = c.call("Div", &[&product, &s]);
    let spread = mean(c, &share, [after, before]);
    let spread = c.scale(&spread, 2.0 * alpha * beta);
    let indirect = c.call("Mul", &[x, &spread]);
    Ok(vec![Some(c.call("Sub", &[&direct, &indirect]))])
}
