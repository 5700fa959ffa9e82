//! A model of `QuantizeLinear` and `DequantizeLinear` pairs as one of floats.
//!
//! Sources: <https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html>,
//! <https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html>.

use std::collections::{HashMap, HashSet};

use crate::graph::messages::{all_graphs, inner_graphs, names};
use crate::graph::{GraphError, Names};
use crate::onnx::messages::{AttributeProto, GraphProto, NodeProto};
use crate::onnx::{DataType, Model, Tensor};

use super::SurgeryError;

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
/// more. A model without such nodes stays as it is.
///
/// # Errors
/// When the file has fields that would be lost, a tensor is malformed, or the scale or zero point of a pair is
/// computed, of blocks, or on data one per channel.
pub fn dequantised(model: &Model) -> Result<Dequantised, SurgeryError> {
    model.ensure_fully_known()?;
    let mut proto = model.proto.clone();
    let graph = proto.graph.get_or_insert_default();
    let nodes = std::mem::take(&mut graph.node);
    let quantising = nodes.iter().filter(|n| n.op_type() == "QuantizeLinear");
    let quantising: HashMap<&str, &NodeProto> = quantising
        .filter_map(|n| Some((n.output.first()?.as_str(), n)))
        .collect();
    let mut work = Work {
        tensors: constants(model, &nodes)?,
        names: names(model.graph()),
        bounds_are_inputs: model.opset() >= 11,
        new: Vec::new(),
        clips: 0,
    };
    let mut kept = Vec::with_capacity(nodes.len());
    for node in &nodes {
        let written = match node.op_type() {
            "DequantizeLinear" => work.node(node, &quantising)?,
            _ => Written::Kept,
        };
        match written {
            Written::Kept => kept.push(node.clone()),
            Written::Clip(clip) => kept.push(*clip),
            Written::Tensor => {}
        }
    }
    graph.node = kept;
    let bounds = if work.bounds_are_inputs {
        2 * work.clips
    } else {
        0
    };
    let tensors = work.new.len() - bounds;
    let new = work.new.iter().map(|(name, tensor)| tensor.to_proto(name));
    graph.initializer.extend(new);
    let clips = work.clips;
    drop_unread(graph, &nodes);
    Ok(Dequantised {
        model: model.with_proto(proto),
        tensors,
        clips,
    })
}

/// What becomes of a node.
enum Written {
    Kept,
    Clip(Box<NodeProto>),
    Tensor,
}

struct Work {
    tensors: HashMap<String, Tensor>,
    names: Names,
    bounds_are_inputs: bool,
    /// Initializers that come to be.
    new: Vec<(String, Tensor)>,
    clips: usize,
}

impl Work {
    fn node(
        &mut self,
        node: &NodeProto,
        quantising: &HashMap<&str, &NodeProto>,
    ) -> Result<Written, SurgeryError> {
        let input = |node: &NodeProto| node.input.first().cloned().unwrap_or_default();
        let output = node.output.first().cloned().unwrap_or_default();
        if let Some(stored) = self.tensors.get(&input(node)) {
            let steps = Steps::of(node, self)?;
            let tensor = steps.floats(node, stored)?;
            self.new.push((output, tensor));
            return Ok(Written::Tensor);
        }
        let Some(&quantise) = quantising.get(input(node).as_str()) else {
            return Ok(Written::Kept);
        };
        let steps = Steps::of(quantise, self)?;
        if let Some(floats) = self.tensors.get(&input(quantise)) {
            let tensor = steps.rounded(quantise, floats)?;
            self.new.push((output, tensor));
            return Ok(Written::Tensor);
        }
        let bounds = steps.bounds(quantise)?;
        self.clips += 1;
        let mut clip = NodeProto {
            name: node.name.clone(),
            op_type: Some("Clip".to_owned()),
            input: vec![input(quantise)],
            output: node.output.clone(),
            ..NodeProto::default()
        };
        for (name, bound) in ["min", "max"].into_iter().zip(bounds) {
            if self.bounds_are_inputs {
                let fresh = self.names.fresh(&format!("{output}/{name}"));
                let tensor = like(steps.dtype, &[], &[bound]);
                self.new.push((fresh.clone(), tensor));
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
        Ok(Written::Clip(Box::new(clip)))
    }
}

/// Scale and zero point of a node, one number or one along an axis each.
struct Steps {
    scale: Vec<f32>,
    zero: Vec<i64>,
    axis: i64,
    /// The type of the floats.
    dtype: DataType,
    /// The least and the largest number.
    range: [i64; 2],
}

impl Steps {
    fn of(node: &NodeProto, work: &Work) -> Result<Self, SurgeryError> {
        let refuse = |reason: &str| Err(refused(node, reason));
        let number = |name: &str, default: i64| {
            let mut all = node.attribute.iter();
            let found = all.find(|a| a.name.as_deref() == Some(name));
            found.and_then(|a| a.i).unwrap_or(default)
        };
        if number("block_size", 0) != 0 {
            return refuse("its scales are those of blocks");
        }
        let named = |place: usize| node.input.get(place).filter(|name| !name.is_empty());
        let scale = named(1).and_then(|name| work.tensors.get(name));
        let Some((scale, values)) = scale.and_then(|t| Some((t, t.to_f32()?))) else {
            return refuse("its scale is computed");
        };
        let zero = match named(2) {
            None => None,
            Some(name) => match work.tensors.get(name) {
                Some(tensor) => Some(tensor),
                None => {
                    return refuse(
                        "its zero point is computed, or of a type that is not known here",
                    );
                }
            },
        };
        let stored = match zero {
            Some(tensor) => tensor.dtype,
            None => {
                DataType::from_number(number("output_dtype", 2) as i32).unwrap_or(DataType::Uint8)
            }
        };
        let range = match stored {
            DataType::Uint8 => [0, 255],
            DataType::Int8 => [-128, 127],
            DataType::Uint16 => [0, 65_535],
            DataType::Int16 => [-32_768, 32_767],
            _ => [i64::from(i32::MIN), i64::from(i32::MAX)],
        };
        Ok(Steps {
            zero: match zero {
                None => vec![0; values.len()],
                Some(tensor) => tensor
                    .to_i64()
                    .ok_or_else(|| refused(node, "its zero point is no integer"))?,
            },
            scale: values,
            axis: number("axis", 1),
            dtype: scale.dtype,
            range,
        })
    }

    /// Scale and zero point of each element of a tensor, row by row.
    fn each(&self, node: &NodeProto, dims: &[usize]) -> Result<Vec<(f32, i64)>, SurgeryError> {
        let count: usize = dims.iter().product();
        let misfit = || refused(node, "scale, zero point and tensor do not fit each other");
        if self.zero.len() != self.scale.len() {
            return Err(misfit());
        }
        if let [scale] = self.scale.as_slice() {
            return Ok(vec![(*scale, self.zero[0]); count]);
        }
        let rank = dims.len() as i64;
        let axis = usize::try_from(if self.axis < 0 {
            self.axis + rank
        } else {
            self.axis
        });
        let axis = axis
            .ok()
            .filter(|&a| dims.get(a) == Some(&self.scale.len()));
        let axis = axis.ok_or_else(misfit)?;
        let behind: usize = dims[axis + 1..].iter().product();
        let at = |i: usize| (i / behind.max(1)) % self.scale.len();
        Ok((0..count)
            .map(|i| (self.scale[at(i)], self.zero[at(i)]))
            .collect())
    }

    /// What stored integers stand for.
    fn floats(&self, node: &NodeProto, stored: &Tensor) -> Result<Tensor, SurgeryError> {
        let values = stored
            .to_i64()
            .ok_or_else(|| refused(node, "its input holds no integers"))?;
        let each = self.each(node, &stored.dims)?;
        let floats = values.iter().zip(each);
        let floats: Vec<f32> = floats.map(|(&v, (s, z))| (v - z) as f32 * s).collect();
        Ok(like(self.dtype, &stored.dims, &floats))
    }

    /// Floats, rounded to what integers stand for.
    fn rounded(&self, node: &NodeProto, tensor: &Tensor) -> Result<Tensor, SurgeryError> {
        let values = tensor
            .to_f32()
            .ok_or_else(|| refused(node, "its input holds no floats"))?;
        let each = self.each(node, &tensor.dims)?;
        let [low, high] = self.range;
        let round = |(&v, (s, z)): (&f32, (f32, i64))| {
            let stored = ((v / s).round_ties_even() as i64)
                .saturating_add(z)
                .clamp(low, high);
            (stored - z) as f32 * s
        };
        let rounded: Vec<f32> = values.iter().zip(each).map(round).collect();
        Ok(like(self.dtype, &tensor.dims, &rounded))
    }

    /// The least and the largest float that integers stand for.
    fn bounds(&self, node: &NodeProto) -> Result<[f32; 2], SurgeryError> {
        match (self.scale.as_slice(), self.zero.as_slice()) {
            ([scale], [zero]) => Ok(self.range.map(|v| (v - zero) as f32 * scale)),
            _ => Err(refused(
                node,
                "it quantises data with a scale for each channel",
            )),
        }
    }
}

fn like(dtype: DataType, dims: &[usize], values: &[f32]) -> Tensor {
    let zero = Tensor {
        dtype,
        dims: dims.to_vec(),
        data: vec![0; values.len() * dtype.size()].into(),
    };
    zero.with_f32_values(values)
        .unwrap_or_else(|| Tensor::f32(dims, values))
}

fn refused(node: &NodeProto, reason: &str) -> SurgeryError {
    let output = node.output.first().map_or("", String::as_str);
    let name = node
        .name
        .as_deref()
        .filter(|n| !n.is_empty())
        .unwrap_or(output);
    GraphError::Node {
        node: format!("`{name}` ({})", node.op_type()),
        reason: format!("it cannot be dequantised: {reason}"),
    }
    .into()
}

/// The constants that quantising nodes read.
fn constants(model: &Model, nodes: &[NodeProto]) -> Result<HashMap<String, Tensor>, SurgeryError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Attribute, Graph, Node, Value};
    use crate::onnx::encode;

    fn ints(dtype: DataType, dims: &[usize], values: &[u8]) -> Tensor {
        Tensor {
            dtype,
            dims: dims.to_vec(),
            data: values.to_vec().into(),
        }
    }

    /// A product with weights that are stored as integers, of data that is quantised before and behind it.
    fn model() -> Model {
        let node =
            |op: &str, inputs: &[&str], output: &str| Node::new(output, op, inputs, &[output]);
        let mut graph = Graph {
            nodes: vec![
                node("QuantizeLinear", &["x", "s", "z"], "xq"),
                node("DequantizeLinear", &["xq", "s", "z"], "xf"),
                node("DequantizeLinear", &["wq", "ws"], "w").with("axis", Attribute::Int(0)),
                node("MatMul", &["xf", "w"], "p"),
                node("QuantizeLinear", &["p", "s", "z"], "pq"),
                node("DequantizeLinear", &["pq", "s", "z"], "y"),
            ],
            inputs: vec![Value::batched("x", &[2])],
            outputs: vec![Value::batched("y", &[3])],
            ..Graph::new(17)
        };
        for (name, tensor) in [
            ("s", Tensor::scalar_f32(0.5)),
            ("z", ints(DataType::Uint8, &[], &[0])),
            ("wq", ints(DataType::Int8, &[2, 3], &[1, 2, 255, 4, 5, 6])),
            ("ws", Tensor::f32(&[2], &[0.5, 2.0])),
        ] {
            graph.initializers.insert(name.to_owned(), tensor);
        }
        let bytes = encode(&graph.to_model(usize::MAX).0).unwrap();
        Model::decode(bytes.into(), "quantised.onnx".as_ref()).unwrap()
    }

    #[test]
    fn stored_integers_become_floats_and_pairs_on_data_the_bounds_of_their_numbers() {
        let Dequantised {
            model,
            tensors,
            clips,
        } = dequantised(&model()).unwrap();
        assert_eq!((tensors, clips), (1, 2));
        let graph = Graph::from_model(&model).unwrap();
        let operators: Vec<&str> = graph.nodes.iter().map(|n| n.op_type.as_str()).collect();
        assert_eq!(operators, ["Clip", "MatMul", "Clip"]);
        let floats = |name: &str| graph.initializers[name].to_f32().unwrap();
        assert_eq!(floats("w"), [0.5, 1.0, -0.5, 8.0, 10.0, 12.0]);
        assert_eq!(graph.outputs[0].name, "y");
        let bounds: Vec<f32> = graph.nodes[2].inputs[1..]
            .iter()
            .flat_map(|n| floats(n))
            .collect();
        assert_eq!(bounds, [0.0, 127.5]);
        assert_eq!(graph.initializers.len(), 5, "no scale is left");
    }

    #[test]
    fn what_no_scale_is_known_of_is_refused_by_its_node() {
        let mut proto = model().proto;
        let graph = proto.graph.as_mut().unwrap();
        graph
            .initializer
            .retain(|t| t.name.as_deref() != Some("ws"));
        let model = model().with_proto(proto);
        let error = dequantised(&model).unwrap_err();
        assert!(error.is_bad_input());
        let text = error.to_string();
        assert!(
            text.contains("`w` (DequantizeLinear)") && text.contains("scale"),
            "{text}"
        );
    }
}
