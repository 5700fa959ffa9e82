//! Nodes of opsets 7 to 26 are brought to opset 21.
//!
//! Below, adapters rewrite the operators whose attributes, inputs or meaning changed up to 21; all
//! others are the same but for wider types. Above, an operator that shape inference knows changed
//! in types only (opsets 22 to 26, compared schema by schema), but for Cast; of the newer ones, those
//! that have a formula become it, and the rest is refused by name.
//! Source: <https://github.com/onnx/onnx/blob/main/docs/Changelog.md>.

use std::collections::{HashMap, HashSet};

use crate::graph::operators::{Class, Elements, Mixing, Operator};
use crate::graph::weights::takes_batch_statistics;
use crate::graph::{Attribute, Builder, Graph, GraphError, Node};
use crate::onnx::{DataType, Tensor};

use super::{NEWEST, OLDEST, OPSET, rewrite};

pub(super) fn raise(graph: &mut Graph) -> Result<(), GraphError> {
    let from = graph.opset;
    if !(OLDEST..=NEWEST).contains(&from) {
        return Err(GraphError::Unsupported(format!(
            "the model is of opset {from}; {OLDEST} to {NEWEST} are supported"
        )));
    }
    let stays = |n: &Node| {
        let operator = n.operator();
        operator.is_some_and(|o| o.knows_shapes() || o.adapted.is_some_and(|a| a.applies(from)))
    };
    let unknown = |n: &&Node| n.domain.is_empty() && !stays(n);
    if from > 22
        && let Some(node) = graph.nodes.iter().find(unknown)
    {
        return Err(node.error(format!("it cannot be brought from opset {from} to {OPSET}")));
    }
    if from != OPSET
        && let Some(node) = graph.nodes.iter().find(|n| n.subgraphs().next().is_some())
    {
        return Err(node.error("control flow cannot be brought to another opset"));
    }
    let ranks = known_ranks(graph);
    let float = float_type(graph);
    let inputs = graph.nodes.iter().flat_map(|n| n.inputs.iter());
    let read = inputs
        .chain(graph.outputs.iter().map(|o| &o.name))
        .cloned()
        .collect();
    let rows_of_weights = rows_of_weights(graph);
    let mut builder = Builder::new(graph);
    let nodes = std::mem::take(&mut builder.graph_mut().nodes);
    let mut raise = Raise {
        from,
        ranks,
        float,
        read,
        rows_of_weights,
        builder,
    };
    for node in nodes {
        if node.domain.is_empty() {
            raise.node(node)?;
        } else {
            raise.push(node);
        }
    }
    graph.opset = OPSET;
    Ok(())
}

struct Raise<'g> {
    from: i64,
    ranks: HashMap<String, usize>,
    float: DataType,
    /// Values that a node or the graph's outputs read.
    read: HashSet<String>,
    /// Values that are computed from initializers alone and whose first dimension is 1.
    rows_of_weights: HashSet<String>,
    builder: Builder<'g>,
}

impl Raise<'_> {
    fn push(&mut self, node: Node) {
        self.builder.graph_mut().nodes.push(node);
    }

    fn node(&mut self, mut node: Node) -> Result<(), GraphError> {
        let from = self.from;
        if node.elements() == Elements::Converted {
            // Since opset 24, for a type that is not read here.
            node.attributes.remove("round_mode");
        }
        let changed = |o: &&Operator| o.adapted.is_some_and(|a| a.applies(from));
        let Some(operator) = node.operator().filter(changed) else {
            self.push(node);
            return Ok(());
        };
        match operator.name {
            "Squeeze" | "Unsqueeze" => self.ints_to_input(&mut node, "axes", 1)?,
            _ if operator.mixing == Mixing::Reduction => {
                self.ints_to_input(&mut node, "axes", 1)?;
            }
            "Split" => {
                self.ints_to_input(&mut node, "split", 1)?;
                if node.input(1).is_none() {
                    let count = node.outputs.len() as i64;
                    node = node.with("num_outputs", count);
                }
            }
            "Clip" => {
                node.inputs.truncate(1);
                self.float_to_input(&mut node, "min", 1)?;
                self.float_to_input(&mut node, "max", 2)?;
            }
            "Pad" => {
                node.inputs.truncate(1);
                self.ints_to_input(&mut node, "pads", 1)?;
                if node.float("value", 0.0)? == 0.0 {
                    node.attributes.remove("value");
                }
                self.float_to_input(&mut node, "value", 2)?;
            }
            "Slice" => {
                node.inputs.truncate(1);
                self.ints_to_input(&mut node, "starts", 1)?;
                self.ints_to_input(&mut node, "ends", 2)?;
                self.ints_to_input(&mut node, "axes", 3)?;
            }
            "TopK" => {
                if let Some(Attribute::Int(k)) = node.attributes.remove("k") {
                    let k = self.builder.ints(&[k]);
                    set_input(&mut node, 1, k);
                }
            }
            "Upsample" => return self.old_resize(node),
            "Resize" if from < 11 => return self.old_resize(node),
            "Resize" => {
                let mode = node.string("coordinate_transformation_mode", "half_pixel")?;
                if mode == "tf_half_pixel_for_nn" {
                    return Err(node.error(format!("its {mode} is gone since opset 13")));
                }
            }
            "Scatter" => node.op_type = "ScatterElements".to_owned(),
            "Softmax" | "LogSoftmax" | "Hardmax" => return self.old_softmax(node),
            "BatchNormalization" => {
                let of_weights = |x| self.rows_of_weights.contains(x);
                let of_weights = node.input(0).is_some_and(of_weights);
                batch_norm(&mut node, (from, of_weights), &self.read)?;
            }
            "GridSample" => {
                let mode = match node.string("mode", "bilinear")? {
                    "bilinear" => "linear",
                    "bicubic" => "cubic",
                    other => other,
                }
                .to_owned();
                node = node.with("mode", mode.as_str());
            }
            "RoiAlign" => {
                node = node.with("coordinate_transformation_mode", "output_half_pixel");
            }
            "GroupNormalization" => rewrite::group_norm(&mut self.builder, &mut node)?,
            "Swish" => return rewrite::swish(&mut self.builder, node, self.float),
            "RMSNormalization" => {
                let rank = node.input(0).and_then(|x| self.ranks.get(x)).copied();
                return rewrite::rms_norm(&mut self.builder, node, self.float, rank);
            }
            _ => {
                let change = operator.adapted.map_or("", |a| a.change);
                let reason = format!("it cannot be raised from opset {from}, where {change}");
                return Err(node.error(reason));
            }
        }
        self.push(node);
        Ok(())
    }

    /// Moves an integer-list attribute, if there, to input `index`.
    fn ints_to_input(
        &mut self,
        node: &mut Node,
        name: &str,
        index: usize,
    ) -> Result<(), GraphError> {
        if let Some(values) = node.ints(name)? {
            let input = self.builder.ints(values);
            set_input(node, index, input);
            node.attributes.remove(name);
        }
        Ok(())
    }

    /// Moves a float attribute, if there, to input `index`, in the model's float type.
    fn float_to_input(
        &mut self,
        node: &mut Node,
        name: &str,
        index: usize,
    ) -> Result<(), GraphError> {
        if node.attributes.contains_key(name) {
            let value = node.float(name, 0.0)?;
            let zero = Tensor {
                dtype: self.float,
                dims: Vec::new(),
                data: vec![0; self.float.size()].into(),
            };
            if let Some(tensor) = zero.with_f32_values(&[value]) {
                let input = self.builder.constant(tensor);
                set_input(node, index, input);
            }
            node.attributes.remove(name);
        }
        Ok(())
    }

    /// `Upsample` and `Resize` of opset 10 take positions as `asymmetric`, rounded down along axes
    /// that grow and up along those that shrink: where both are there, in two steps.
    fn old_resize(&mut self, mut node: Node) -> Result<(), GraphError> {
        // Before opset 9 of Upsample.
        if let Some(Attribute::Floats(scales)) = node.attributes.remove("scales") {
            let scales = self.builder.constant(Tensor::f32(&[scales.len()], &scales));
            set_input(&mut node, 1, scales);
        }
        let (Some(scales), Some(output)) = (node.input(1), node.output(0).map(str::to_owned))
        else {
            return Err(node.error("its scales or output are missing"));
        };
        let known = self.builder.graph().initializers.get(scales);
        let known = known.and_then(Tensor::to_f32);
        let nearest = node.string("mode", "nearest")? == "nearest";
        if known.is_none() && nearest && node.op_type != "Upsample" {
            return Err(node.error(
                "its scales are computed, and decide how it rounds; export the model at opset 11 or \
                 later",
            ));
        }
        let mut steps = vec![("floor", scales.to_owned())];
        if let Some(known) = known.filter(|k| nearest && k.iter().any(|&s| s < 1.0)) {
            let mut part = |limit: fn(f32, f32) -> f32| {
                let scales: Vec<f32> = known.iter().map(|&s| limit(s, 1.0)).collect();
                self.builder.constant(Tensor::f32(&[scales.len()], &scales))
            };
            steps = vec![("floor", part(f32::max)), ("ceil", part(f32::min))];
            if known.iter().all(|&s| s <= 1.0) {
                steps.remove(0);
            }
        }
        node.op_type = "Resize".to_owned();
        node = node.with("coordinate_transformation_mode", "asymmetric");
        let count = steps.len();
        for (step, (rounding, scales)) in steps.into_iter().enumerate() {
            let mut part = node.clone().with("nearest_mode", rounding);
            part.inputs.truncate(1);
            set_input(&mut part, 2, scales);
            if step + 1 < count {
                let between = self.builder.fresh(&format!("{output}/enlarged"));
                part.name.clone_from(&between);
                part.outputs = vec![between.clone()];
                node.inputs[0] = between;
            }
            self.push(part);
        }
        Ok(())
    }

    /// Before opset 13 the softmax ran over all axes from `axis` (1 by default) on.
    fn old_softmax(&mut self, mut node: Node) -> Result<(), GraphError> {
        let axis = node.int("axis", 1)?;
        let (Some(input), Some(output)) = (
            node.input(0).map(str::to_owned),
            node.output(0).map(str::to_owned),
        ) else {
            return Err(node.error("its input or output is missing"));
        };
        let last = self
            .ranks
            .get(&input)
            .is_some_and(|&rank| i128::from(axis) + 1 == rank as i128);
        node.attributes.insert("axis".to_owned(), (-1).into());
        if axis == -1 || last {
            self.push(node);
            return Ok(());
        }
        let b = &mut self.builder;
        let shape = b.op(&format!("{output}/shape"), "Shape", &[&input], vec![]);
        let rows = b.op(
            &format!("{output}/rows"),
            "Flatten",
            &[&input],
            vec![("axis", axis.into())],
        );
        let result = b.fresh(&format!("{output}/flat"));
        node.inputs = vec![rows];
        node.outputs = vec![result.clone()];
        let name = b.fresh(&format!("{}/restore", node.name));
        self.push(node);
        self.push(Node::new(&name, "Reshape", &[&result, &shape], &[&output]));
        Ok(())
    }
}

/// The statistics that training mode puts out are dropped; reading them is refused, and so is training
/// mode, but where it standardises weights laid out as one sample: that is InstanceNormalization (NFNet,
/// BiT; S. Qiao et al., "Weight Standardization", 2019).
fn batch_norm(
    node: &mut Node,
    (from, of_weights): (i64, bool),
    read: &HashSet<String>,
) -> Result<(), GraphError> {
    let training = takes_batch_statistics(node, from);
    // Of opsets before 9; onnxruntime refuses them since.
    for name in ["spatial", "is_test"] {
        if node.int(name, 1)? != 1 {
            return Err(node.error(format!("it has {name}=0, which no opset since 9 knows")));
        }
        node.attributes.remove(name);
    }
    if training && !of_weights {
        let why = match from {
            14.. => "training_mode=1".to_owned(),
            _ => format!("it has {} outputs", node.present_outputs().count()),
        };
        return Err(GraphError::TrainingMode {
            node: node.to_string(),
            why,
        });
    }
    node.attributes.remove("training_mode");
    if training {
        node.op_type = "InstanceNormalization".to_owned();
        node.inputs.truncate(3);
        node.attributes.remove("momentum");
    }
    if let Some(used) = node.present_outputs().skip(1).find(|o| read.contains(*o)) {
        return Err(node.error(format!("its training output `{used}` is used")));
    }
    node.outputs.truncate(1);
    Ok(())
}

/// Values that are computed from initializers alone and whose first dimension is 1, as far as that is plain.
fn rows_of_weights(graph: &Graph) -> HashSet<String> {
    let mut constant: HashSet<&str> = graph.initializers.keys().map(String::as_str).collect();
    let mut rows: HashSet<String> = HashSet::new();
    let leads =
        |name: &String, tensor: &Tensor| (tensor.dims.first() == Some(&1)).then(|| name.clone());
    rows.extend(graph.initializers.iter().filter_map(|(n, t)| leads(n, t)));
    for node in &graph.nodes {
        if !node.present_inputs().all(|name| constant.contains(name)) {
            continue;
        }
        constant.extend(node.present_outputs());
        let target = node
            .input(1)
            .and_then(|t| graph.initializers.get(t)?.to_i64());
        if node.is("Reshape") && target.is_some_and(|t| t.first() == Some(&1)) {
            rows.extend(node.present_outputs().map(str::to_owned));
        }
    }
    rows
}

fn set_input(node: &mut Node, index: usize, name: String) {
    if node.inputs.len() <= index {
        node.inputs.resize(index + 1, String::new());
    }
    node.inputs[index] = name;
}

/// Ranks that are plain from declarations and producers.
fn known_ranks(graph: &Graph) -> HashMap<String, usize> {
    let mut ranks: HashMap<String, usize> = graph
        .inputs
        .iter()
        .filter_map(|v| Some((v.name.clone(), v.dims.as_ref()?.len())))
        .collect();
    for node in &graph.nodes {
        let rank = match node.op_type.as_str() {
            _ if !node.domain.is_empty() => None,
            "Gemm" | "Flatten" => Some(2),
            "Reshape" => node
                .input(1)
                .and_then(|shape| graph.initializers.get(shape))
                .map(Tensor::len),
            _ if node.is_a(Class::Activation) => node.input(0).and_then(|i| ranks.get(i)).copied(),
            _ => None,
        };
        if let (Some(rank), Some(output)) = (rank, node.output(0)) {
            ranks.insert(output.to_owned(), rank);
        }
    }
    ranks
}

/// The type of the model's weights: that of its first float initializer.
fn float_type(graph: &Graph) -> DataType {
    let mut types = graph.initializers.values().map(|t| t.dtype);
    types.find(|t| t.is_float()).unwrap_or(DataType::Float)
}
