//! A model of `QuantizeLinear` and `DequantizeLinear` pairs as one of floats.
//!
//! Sources: <https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html>,
//! <https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html>.

mod rounding;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use crate::graph::messages::{all_graphs, inner_graphs, names};
use crate::graph::operators::named;
use crate::graph::{GraphError, Names};
use crate::onnx::messages::{AttributeProto, GraphProto, NodeProto};
use crate::onnx::{Model, Tensor};

use super::SurgeryError;
use rounding::Noted;
pub use rounding::{Latent, Rounding};
use steps::{Steps, like};

/// What became of a quantised model.
#[derive(Debug)]
pub struct Dequantised {
    /// The model of floats.
    pub model: Model,
    /// Tensors that were dequantised.
    pub tensors: usize,
    /// Pairs on data, each of which became a `Clip` to the numbers that it could hold.
    pub clips: usize,
}

/// The model with each dequantised tensor as an initializer of floats, under the name of what the
/// `DequantizeLinear` made, and each pair of a `QuantizeLinear` and a `DequantizeLinear` on data as a `Clip` to
/// what its numbers can say: quantisers leave out a ReLU that these bounds stand for. Nothing is rounded any
/// more. A pair on what a softmax or sigmoid gives out is left out. A model without such nodes stays as it is.
///
/// # Errors
/// When the file has fields that would be lost, a tensor is malformed, or the scale or zero point of a pair is
/// computed, of blocks, or on data one per channel.
pub fn dequantised(model: &Model) -> Result<Dequantised, SurgeryError> {
    let mut work = Work::new(model, None)?;
    let model = work.written(model)?;
    Ok(Dequantised {
        model,
        tensors: work.tensors,
        clips: work.pairs,
    })
}

/// The model with each pair on data as nodes of floats that round as it does, and each dequantised tensor as floats that
/// can be trained: see [`Rounding`]. The names of values stay. A pair on what a softmax or sigmoid gives out is left out.
///
/// # Errors
/// As [`dequantised`].
pub fn rounding(model: &Model) -> Result<Rounding, SurgeryError> {
    let mut work = Work::new(model, Some(Noted::default()))?;
    let model = work.written(model)?;
    let noted = work.rounding.unwrap_or_default();
    Ok(Rounding {
        model,
        constants: noted.constants,
        inner: noted.inner,
        tensors: noted.tensors,
        pairs: work.pairs,
    })
}

struct Work {
    constants: HashMap<String, Tensor>,
    /// Constants that more than one node dequantises.
    shared: HashSet<String>,
    names: Names,
    bounds_are_inputs: bool,
    /// Initializers that come to be.
    new: Vec<(String, Tensor)>,
    tensors: usize,
    pairs: usize,
    /// What is known of nodes that round, where there are to be such.
    rounding: Option<Noted>,
}

impl Work {
    fn new(model: &Model, rounding: Option<Noted>) -> Result<Self, SurgeryError> {
        model.ensure_fully_known()?;
        let nodes = model.graph().node.iter();
        let read = nodes.filter(|n| n.op_type() == "DequantizeLinear");
        let (mut seen, mut shared) = (HashSet::new(), HashSet::new());
        for name in read.filter_map(|n| n.input.first()) {
            if !seen.insert(name) {
                shared.insert(name.clone());
            }
        }
        Ok(Work {
            constants: constants(model)?,
            shared,
            names: names(model.graph()),
            bounds_are_inputs: model.opset() >= 11,
            new: Vec::new(),
            tensors: 0,
            pairs: 0,
            rounding,
        })
    }

    fn written(&mut self, model: &Model) -> Result<Model, SurgeryError> {
        let mut proto = model.proto.clone();
        let graph = proto.graph.get_or_insert_default();
        let nodes = std::mem::take(&mut graph.node);
        let at_end = |value: &String| graph.output.iter().any(|o| o.name.as_ref() == Some(value));
        let quantising = nodes.iter().filter(|n| n.op_type() == "QuantizeLinear");
        let quantising: HashMap<&str, &NodeProto> = quantising
            .filter_map(|n| Some((n.output.first()?.as_str(), n)))
            .collect();
        let makes_probabilities = |value: &String| {
            let mut makers = nodes.iter().filter(|n| n.output.contains(value));
            let range = makers
                .next()
                .and_then(|n| named(n.op_type()))
                .and_then(|o| o.range);
            range == Some([0.0, 1.0])
        };
        let mut kept = Vec::with_capacity(nodes.len());
        for node in &nodes {
            let input = node.input.first().map_or("", String::as_str);
            match quantising.get(input) {
                _ if node.op_type() != "DequantizeLinear" => kept.push(node.clone()),
                Some(&quantise) => {
                    let is_last = node.output.first().is_some_and(at_end)
                        && quantise.input.first().is_some_and(makes_probabilities);
                    // The file rounds there all the same.
                    self.pairs += usize::from(is_last && self.rounding.is_some());
                    kept.extend(match is_last {
                        true => vec![like_node(node, "Identity", &quantise.input[..1])],
                        false => self.pair(quantise, node)?,
                    });
                }
                None if self.constants.contains_key(input) => kept.extend(self.tensor(node)?),
                None => kept.push(node.clone()),
            }
        }
        graph.node = kept;
        let new = self.new.iter().map(|(name, tensor)| tensor.to_proto(name));
        graph.initializer.extend(new);
        drop_unread(graph, &nodes);
        Ok(model.with_proto(proto))
    }

    /// What a pair of nodes becomes.
    fn pair(
        &mut self,
        quantise: &NodeProto,
        node: &NodeProto,
    ) -> Result<Vec<NodeProto>, SurgeryError> {
        let [input, output] = [&quantise.input, &node.output].map(|v| v.first().cloned());
        let (input, output) = (input.unwrap_or_default(), output.unwrap_or_default());
        let steps = Steps::of(quantise, &self.constants)?;
        if let Some(floats) = self.constants.get(&input) {
            if self.rounding.is_none() {
                let tensor = steps.rounded(floats)?;
                self.new.push((output, tensor));
                self.tensors += 1;
                return Ok(Vec::new());
            }
            let dims = floats.dims.clone();
            let nodes = self.round([&input, &output], &steps, Some(&dims))?;
            if let Some(rounding) = self.rounding.as_mut().filter(|_| !nodes.is_empty()) {
                rounding.tensors.push(Latent::of_floats(input, output));
                return Ok(nodes);
            }
            let tensor = steps.rounded(&self.constants[&input])?;
            self.new.push((output, tensor));
            return Ok(Vec::new());
        }
        self.pairs += 1;
        if self.rounding.is_some() {
            return self.round([&input, &output], &steps, None);
        }
        let (scale, zero) = steps.single()?;
        let bounds = steps.reach(zero).map(|steps| steps * scale);
        let mut clip = like_node(node, "Clip", &[input]);
        self.bound(&mut clip, &steps, bounds);
        Ok(vec![clip])
    }

    /// What a node that dequantises a constant becomes.
    fn tensor(&mut self, node: &NodeProto) -> Result<Vec<NodeProto>, SurgeryError> {
        let [stored, output] = [&node.input, &node.output].map(|v| v.first().cloned());
        let (stored, output) = (stored.unwrap_or_default(), output.unwrap_or_default());
        let steps = Steps::of(node, &self.constants)?;
        let integers = self.constants[&stored].clone();
        let floats = steps.floats(&integers)?;
        self.tensors += 1;
        // What is read twice could not be trained apart.
        if self.rounding.is_none() || self.shared.contains(&stored) {
            self.new.push((output, floats));
            return Ok(Vec::new());
        }
        let dims = integers.dims.clone();
        let rounds = integers.dtype.size() < 4;
        let name = match rounds {
            true => self.names.fresh(&format!("{output}/floats")),
            false => output.clone(),
        };
        let nodes = match rounds {
            true => self.round([&name, &output], &steps, Some(&dims))?,
            false => Vec::new(),
        };
        if rounds && nodes.is_empty() {
            // It stays as it is.
            self.new.push((output, floats));
            return Ok(nodes);
        }
        self.new.push((name.clone(), floats));
        if let Some(rounding) = &mut self.rounding {
            let latent = Latent::of_integers([name, output, stored], integers, steps);
            rounding.tensors.push(latent);
        }
        Ok(nodes)
    }

    /// Gives a `Clip` its bounds.
    fn bound(&mut self, clip: &mut NodeProto, steps: &Steps, bounds: [f32; 2]) {
        for (name, bound) in ["min", "max"].into_iter().zip(bounds) {
            if self.bounds_are_inputs {
                let fresh = self.names.fresh(&format!("{}/{name}", clip.output[0]));
                self.new
                    .push((fresh.clone(), like(steps.dtype, &[], &[bound])));
                clip.input.push(fresh);
            } else {
                clip.attribute.push(AttributeProto {
                    name: Some(name.to_owned()),
                    r#type: Some(1),
                    f: Some(bound),
                    ..AttributeProto::default()
                });
            }
        }
    }
}

/// A node in the place of `node`, of another operator and without attributes.
fn like_node(node: &NodeProto, operator: &str, inputs: &[String]) -> NodeProto {
    NodeProto {
        name: node.name.clone(),
        op_type: Some(operator.to_owned()),
        input: inputs.to_vec(),
        output: node.output.clone(),
        ..NodeProto::default()
    }
}

/// The constants that quantising nodes read.
fn constants(model: &Model) -> Result<HashMap<String, Tensor>, SurgeryError> {
    let nodes = &model.graph().node;
    let mut read: HashSet<&str> = HashSet::new();
    for node in nodes.iter().filter(|n| quantises(n)) {
        read.extend(node.input.iter().map(String::as_str));
    }
    let mut found = HashMap::new();
    for tensor in &model.graph().initializer {
        let name = tensor.name.as_deref().unwrap_or_default();
        if read.contains(name) {
            found.insert(
                name.to_owned(),
                model.tensor(tensor).map_err(GraphError::from)?,
            );
        }
    }
    for node in nodes.iter().filter(|n| n.op_type() == "Constant") {
        let value = node.attribute.iter().find_map(|a| a.t.as_ref());
        if let (Some(value), Some(output)) = (value, node.output.first())
            && read.contains(output.as_str())
        {
            found.insert(
                output.clone(),
                model.tensor(value).map_err(GraphError::from)?,
            );
        }
    }
    Ok(found)
}

fn quantises(node: &NodeProto) -> bool {
    matches!(node.op_type(), "QuantizeLinear" | "DequantizeLinear")
}

/// Drops the quantising nodes and the constants of such that nothing reads any more, with what is noted of them.
fn drop_unread(graph: &mut GraphProto, before: &[NodeProto]) {
    let mut of_pairs: HashSet<&str> = HashSet::new();
    for node in before.iter().filter(|n| quantises(n)) {
        of_pairs.extend(node.input.iter().chain(&node.output).map(String::as_str));
    }
    loop {
        let mut read: HashSet<String> = HashSet::new();
        for graph in all_graphs(graph) {
            let nodes = graph.node.iter().flat_map(|n| &n.input);
            let outputs = graph.output.iter().filter_map(|o| o.name.as_ref());
            read.extend(nodes.chain(outputs).cloned());
        }
        let count = graph.node.len();
        graph.node.retain(|node| {
            let droppable = quantises(node) || node.op_type() == "Constant";
            let of_pair = node.output.iter().all(|o| of_pairs.contains(o.as_str()));
            let idle = !node.output.iter().any(|o| read.contains(o));
            inner_graphs(node).next().is_some() || !(droppable && of_pair && idle)
        });
        if graph.node.len() < count {
            continue;
        }
        let mut gone: HashSet<String> = HashSet::new();
        let idle = |name: &str| of_pairs.contains(name) && !read.contains(name);
        graph.initializer.retain(|tensor| {
            let name = tensor.name.clone().unwrap_or_default();
            let goes = idle(&name);
            if goes {
                gone.insert(name);
            }
            !goes
        });
        graph
            .input
            .retain(|v| !gone.contains(v.name.as_deref().unwrap_or_default()));
        graph
            .value_info
            .retain(|v| !idle(v.name.as_deref().unwrap_or_default()));
        graph.quantization_annotation.clear();
        return;
    }
}
