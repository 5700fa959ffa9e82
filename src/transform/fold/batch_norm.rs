//! Normalisations with fixed statistics, folded into the layer before them.
//!
//! With s = scale / √(variance + ε), the layer's weight becomes W·s and its bias (b − mean)·s + B, computed in double
//! precision. The weight keeps its name; the bias has that of the layer's, or of B where the layer had none.

use std::collections::HashMap;

use crate::onnx::messages::{AttributeProto, GraphProto, NodeProto};
use crate::onnx::{DataType, Tensor, element_count};
use crate::surgery::{Named, Part, reads};

use super::super::TransformError;
use super::put::set;
use super::{Constants, Pass, is_annotated};

/// A layer and a normalisation behind it that can be folded into it.
struct Pair {
    layer: usize,
    norm: usize,
    /// How many channels they have.
    count: usize,
    weight: String,
    /// The tensor that has the new bias.
    bias: String,
    /// Whether it is the layer's own.
    has_bias: bool,
}

/// How often each value is read.
type Readers = HashMap<String, usize>;

/// Folds those of the main graph, or counts them; how many.
pub(super) fn fold(
    pass: &mut Pass<'_>,
    graph: &mut GraphProto,
    wanted: bool,
) -> Result<usize, TransformError> {
    let is_norm = |node: &NodeProto| node.op_type() == "BatchNormalization";
    if !graph.node.iter().any(is_norm) {
        return Ok(0);
    }
    let constants = pass.constants(graph, None)?;
    let mut readers = Readers::new();
    let read = graph.node.iter().flat_map(reads);
    for name in read.chain(graph.output.iter().map(|o| o.name())) {
        *readers.entry(name.to_owned()).or_default() += 1;
    }
    let mut count = 0;
    let mut at = 0;
    while at < graph.node.len() {
        let pair = find(pass, graph, &constants, &readers, at);
        let Some(pair) = pair else {
            at += 1;
            continue;
        };
        if !wanted {
            count += 1;
            at += 1;
            continue;
        }
        match computed(pass, graph, &constants, &pair) {
            // One node is gone.
            Some((weight, bias)) => {
                apply(pass, graph, &pair, &weight, &bias);
                count += 1;
            }
            None => at += 1,
        }
    }
    match wanted {
        true => pass.counts.norms += count,
        false => pass.counts.open_norms = count,
    }
    Ok(count)
}

fn attribute<'n>(node: &'n NodeProto, name: &str) -> Option<&'n AttributeProto> {
    let mut attributes = node.attribute.iter();
    attributes.find(|a| a.name.as_deref() == Some(name))
}

fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).and_then(|a| a.i).unwrap_or(default)
}

fn find(
    pass: &Pass<'_>,
    graph: &GraphProto,
    constants: &Constants,
    readers: &Readers,
    at: usize,
) -> Option<Pair> {
    let norm = &graph.node[at];
    let is_fixed = pass.is(norm, "BatchNormalization")
        && pass.opset >= 7
        && int(norm, "training_mode", 0) == 0
        && int(norm, "spatial", 1) == 1
        && norm.output.iter().filter(|o| !o.is_empty()).count() == 1
        && norm.input.len() == 5;
    if !is_fixed {
        return None;
    }
    let value = &norm.input[0];
    let layer_at = graph.node.iter().position(|n| n.output.contains(value))?;
    let layer = &graph.node[layer_at];
    let is_whole = attribute(layer, "beta").and_then(|a| a.f).unwrap_or(1.0) == 1.0;
    if !pass.is_standard(layer) || layer.output.len() != 1 || layer_at > at || !is_whole {
        return None;
    }
    // What else reads it would read other numbers.
    let alone = |name: &str| readers.get(name) == Some(&1) && !is_annotated(graph, name);
    let own = |name: &str| alone(name) && graph.initializer.iter().any(|t| t.name() == name);
    let weight = layer.input.get(1)?;
    let own_bias = layer.input.get(2).filter(|b| !b.is_empty());
    let bias = own_bias.unwrap_or(&norm.input[2]);
    if !alone(value) || !own(weight) || !own(bias) {
        return None;
    }
    let dims = |name: &str| -> Option<Vec<usize>> {
        let dims = constants.get(name)?.dims.iter();
        let dims: Option<Vec<usize>> = dims.map(|&d| usize::try_from(d).ok()).collect();
        dims.filter(|dims| element_count(dims).is_some_and(|n| n > 0))
    };
    let count = dims(&norm.input[1])?.iter().product();
    let mut parameters = norm.input[1..].iter().chain([bias]);
    if !parameters.all(|name| dims(name).is_some_and(|d| d.iter().product::<usize>() == count)) {
        return None;
    }
    let _ = channels(layer, &dims(weight)?, count)?;
    Some(Pair {
        layer: layer_at,
        norm: at,
        count,
        weight: weight.clone(),
        bias: bias.clone(),
        has_bias: own_bias.is_some(),
    })
}

/// The new weight and bias; `None` where they would not be finite in their types.
fn computed(
    pass: &Pass<'_>,
    graph: &GraphProto,
    constants: &Constants,
    pair: &Pair,
) -> Option<(Tensor, Tensor)> {
    let (layer, norm) = (&graph.node[pair.layer], &graph.node[pair.norm]);
    let tensor = |name: &str| pass.tensor(constants.get(name)?);
    let values = |at: usize| numbers(&tensor(&norm.input[at])?);
    let (scale, shift, mean, variance) = (values(1)?, values(2)?, values(3)?, values(4)?);
    let epsilon = attribute(norm, "epsilon").and_then(|a| a.f).unwrap_or(1e-5);
    let deviation = variance.iter().map(|v| (v + f64::from(epsilon)).sqrt());
    let factors: Vec<f64> = scale.iter().zip(deviation).map(|(s, d)| s / d).collect();
    let weight = tensor(&pair.weight)?;
    let channel = channels(layer, &weight.dims, pair.count)?;
    let new = numbers(&weight)?;
    let new = new.iter().enumerate().map(|(i, v)| v * factors[channel(i)]);
    let new_weight = with(&weight, &Vec::from_iter(new))?;
    let like = match pair.has_bias {
        true => tensor(&pair.bias)?,
        false => Tensor {
            dtype: weight.dtype,
            dims: vec![pair.count],
            data: vec![0; pair.count * weight.dtype.size()].into(),
        },
    };
    let old = numbers(&like)?;
    let new = (0..pair.count).map(|c| (old[c] - mean[c]) * factors[c] + shift[c]);
    Some((new_weight, with(&like, &Vec::from_iter(new))?))
}

/// The output channel of each element of a layer's weight, where there are `count`.
fn channels(
    layer: &NodeProto,
    dims: &[usize],
    count: usize,
) -> Option<Box<dyn Fn(usize) -> usize>> {
    let inner = |from: usize| dims[from..].iter().product::<usize>().max(1);
    match layer.op_type() {
        "Conv" if dims.first() == Some(&count) => {
            let inner = inner(1);
            Some(Box::new(move |i| i / inner))
        }
        "ConvTranspose" if dims.len() > 2 => {
            let groups = usize::try_from(int(layer, "group", 1))
                .ok()
                .filter(|&g| g > 0)?;
            let (rows, own, inner) = (dims[0], dims[1], inner(2));
            if !rows.is_multiple_of(groups) || own.checked_mul(groups) != Some(count) {
                return None;
            }
            let rows = (rows / groups).max(1);
            Some(Box::new(move |i| {
                let (row, column) = (i / inner / own, i / inner % own);
                row / rows * own + column
            }))
        }
        "Gemm" if dims.len() == 2 => {
            let transposed = int(layer, "transB", 0) != 0;
            let columns = dims[1];
            match transposed {
                true if dims[0] == count => Some(Box::new(move |i| i / columns.max(1))),
                false if columns == count => Some(Box::new(move |i| i % columns.max(1))),
                _ => None,
            }
        }
        _ => None,
    }
}

fn apply(pass: &mut Pass<'_>, graph: &mut GraphProto, pair: &Pair, weight: &Tensor, bias: &Tensor) {
    set(pass, graph, None, &pair.weight, weight);
    set(pass, graph, None, &pair.bias, bias);
    let norm = graph.node[pair.norm].clone();
    let mut layer = graph.node[pair.layer].clone();
    let value = std::mem::replace(&mut layer.output, vec![norm.output[0].clone()]);
    if layer.input.len() < 3 {
        layer.input.resize(3, String::new());
    }
    layer.input[2].clone_from(&pair.bias);
    pass.touch_node(None, &graph.node[pair.layer]);
    pass.touch_node(None, &norm);
    // What reads the normalisation stands behind it, and what the layer reads before the layer.
    graph.node[pair.norm] = layer;
    graph.node.remove(pair.layer);
    pass.forget(graph, None, &value[0]);
    pass.touch(None, Part::Node, &norm.key());
}

/// Elements in double precision.
fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    match tensor.dtype {
        DataType::Double => {
            let chunks = tensor.data.as_chunks::<8>().0.iter();
            Some(chunks.map(|b| f64::from_le_bytes(*b)).collect())
        }
        _ => Some(tensor.to_f32()?.into_iter().map(f64::from).collect()),
    }
}

/// A tensor with other elements, all finite in its type.
fn with(tensor: &Tensor, values: &[f64]) -> Option<Tensor> {
    let new = match tensor.dtype {
        DataType::Double => Tensor {
            data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ..tensor.clone()
        },
        _ => tensor.with_f32_values(&Vec::from_iter(values.iter().map(|&v| v as f32)))?,
    };
    numbers(&new)?.iter().all(|v| v.is_finite()).then_some(new)
}
