//! Which values are kept channels-last.
//!
//! One walk in topological order. A value of four dimensions exists *plain*, under its own name and
//! as the graph means it, or *turned*, channels-last, or both; each form is made when it is first
//! asked for. Convolutions and their like ask for turned inputs and make turned outputs; operators
//! that do not care follow their inputs; all others ask for plain ones.

use std::collections::HashMap;

use crate::graph::{Builder, Graph, GraphError, Node, Shapes};
use crate::kernels::DOMAIN;
use crate::onnx::DataType;

use super::window;

/// Where each plain axis lies when turned.
const TURNED_AXIS: [usize; 4] = [0, 3, 1, 2];
/// The permutation that turns a plain value.
const TURN: [i64; 4] = [0, 2, 3, 1];
/// The permutation that makes a turned value plain.
const TURN_BACK: [i64; 4] = [0, 3, 1, 2];

/// Operators whose output elements depend on the input elements at the same (broadcast) place.
const ELEMENTWISE: &[&str] = &[
    "Abs",
    "Add",
    "And",
    "Cast",
    "Celu",
    "Clip",
    "Div",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Gelu",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "Max",
    "Mean",
    "Min",
    "Mish",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "PRelu",
    "Pow",
    "Reciprocal",
    "Relu",
    "Selu",
    "Sigmoid",
    "Sign",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Sub",
    "Sum",
    "Tanh",
    "ThresholdedRelu",
    "Where",
];
/// Reductions whose axes are input 1.
const REDUCTIONS: &[&str] = &[
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceSum",
    "ReduceSumSquare",
];

/// Replaces the nodes of `graph`. Returns which value each turned one is a form of.
pub(super) fn rewrite(
    graph: &mut Graph,
    shapes: &Shapes,
) -> Result<HashMap<String, String>, GraphError> {
    let outputs: Vec<String> = graph.outputs.iter().map(|v| v.name.clone()).collect();
    let mut builder = Builder::new(graph);
    let nodes = std::mem::take(&mut builder.graph_mut().nodes);
    let mut walk = Walk {
        builder,
        shapes,
        plain: HashMap::new(),
        turned: HashMap::new(),
    };
    for node in &nodes {
        walk.node(node)?;
    }
    for output in &outputs {
        let plain = walk.plain(output)?;
        if plain != *output {
            let node = Node::new(output, "Identity", &[&plain], &[output]);
            walk.builder.graph_mut().nodes.push(node);
        }
    }
    Ok(walk.turned.into_iter().map(|(v, name)| (name, v)).collect())
}

struct Walk<'a, 'g> {
    builder: Builder<'g>,
    shapes: &'a Shapes,
    /// Names under which values exist plain; those not in here exist under their own name unless
    /// they are in `turned`.
    plain: HashMap<String, String>,
    /// Names under which values exist turned.
    turned: HashMap<String, String>,
}

impl Walk<'_, '_> {
    fn node(&mut self, node: &Node) -> Result<(), GraphError> {
        let done = if node.domain == DOMAIN {
            self.kernel(node)?;
            true
        } else if !node.domain.is_empty() {
            false
        } else {
            match node.op_type.as_str() {
                "Conv" => self.conv(node)?,
                "MaxPool" => self.max_pool(node)?,
                "Transpose" => self.transpose(node)?,
                "GlobalAveragePool" => self.global_pool(node, "ReduceMean")?,
                "GlobalMaxPool" => self.global_pool(node, "ReduceMax")?,
                "Concat" | "Split" => self.along_axis(node)?,
                "Expand" => self.expand(node)?,
                "BatchNormalization" => self.batch_norm(node)?,
                op if ELEMENTWISE.contains(&op) => self.elementwise(node)?,
                op if REDUCTIONS.contains(&op) => self.reduction(node)?,
                _ => false,
            }
        };
        if !done {
            self.keep(node)?;
        }
        Ok(())
    }

    /// The node as it is, on plain inputs.
    fn keep(&mut self, node: &Node) -> Result<(), GraphError> {
        let mut node = node.clone();
        for input in node.inputs.iter_mut().filter(|i| !i.is_empty()) {
            *input = self.plain(input)?;
        }
        // An inner graph reads outer values by their own names.
        let captured: Vec<String> = match node.subgraphs().next() {
            Some(_) => self.turned.keys().cloned().collect(),
            None => Vec::new(),
        };
        for name in captured {
            self.plain(&name)?;
        }
        self.builder.graph_mut().nodes.push(node);
        Ok(())
    }

    /// A node of the kernels' domain as the reverse sweep wrote it.
    fn kernel(&mut self, node: &Node) -> Result<(), GraphError> {
        let mut node = node.clone();
        match node.op_type.as_str() {
            "ConvInputGradient" => {
                node.inputs[0] = self.turned(&node.inputs[0])?;
                self.push_turned(node)
            }
            "ConvWeightGradient" => {
                for input in &mut node.inputs {
                    *input = self.turned(input)?;
                }
                self.builder.graph_mut().nodes.push(node);
                Ok(())
            }
            "RowScaleGradient" => self.keep(&node),
            "ActivationGradient" | "HardSwishGradient" => match self.elementwise(&node)? {
                true => Ok(()),
                false => self.keep(&node),
            },
            _ => {
                for input in &mut node.inputs {
                    *input = self.turned(input)?;
                }
                self.push_turned(node)
            }
        }
    }

    fn conv(&mut self, node: &Node) -> Result<bool, GraphError> {
        let (Some(x), Some(w)) = (node.input(0), node.input(1)) else {
            return Ok(false);
        };
        let Some(output) = node.output(0) else {
            return Ok(false);
        };
        let Some(sizes) = window::of(node, self.shapes, x, w, output)? else {
            return Ok(false);
        };
        let mut turned = Node::new(&node.name, "Conv", &[], &[output]);
        turned.domain = DOMAIN.to_owned();
        turned.attributes = sizes;
        turned.inputs = vec![self.turned(x)?, self.plain(w)?];
        if let Some(bias) = node.input(2) {
            turned.inputs.push(self.plain(bias)?);
        }
        self.push_turned(turned)?;
        Ok(true)
    }

    fn max_pool(&mut self, node: &Node) -> Result<bool, GraphError> {
        let (Some(x), Some(output)) = (node.input(0), node.output(0)) else {
            return Ok(false);
        };
        let one_output = node.present_outputs().count() == 1;
        if !one_output || !self.prefers_turned(x) || node.int("storage_order", 0)? != 0 {
            return Ok(false);
        }
        let Some(sizes) = window::of_pool(node, self.shapes, x, output)? else {
            return Ok(false);
        };
        let mut turned = Node::new(&node.name, "MaxPool", &[&self.turned(x)?], &[output]);
        turned.domain = DOMAIN.to_owned();
        turned.attributes = sizes;
        self.push_turned(turned)?;
        Ok(true)
    }

    /// A transposition between the two layouts costs nothing: it only renames.
    fn transpose(&mut self, node: &Node) -> Result<bool, GraphError> {
        let (Some(x), Some(y)) = (node.input(0), node.output(0)) else {
            return Ok(false);
        };
        let perm = node.ints("perm")?.unwrap_or_default();
        if perm == TURN_BACK.as_slice() {
            // Its input is its output turned.
            let plain = self.plain(x)?;
            self.turned.insert(y.to_owned(), plain);
            return Ok(true);
        }
        if perm == TURN.as_slice() && self.prefers_turned(x) {
            let turned = self.turned(x)?;
            self.plain.insert(y.to_owned(), turned);
            return Ok(true);
        }
        Ok(false)
    }

    fn global_pool(&mut self, node: &Node, reduction: &str) -> Result<bool, GraphError> {
        let (Some(x), Some(y)) = (node.input(0), node.output(0)) else {
            return Ok(false);
        };
        if !self.prefers_turned(x) {
            return Ok(false);
        }
        let axes = self.builder.ints(&[1, 2]);
        let x = self.turned(x)?;
        let pool = Node::new(&node.name, reduction, &[&x, &axes], &[y]).with("keepdims", 1);
        self.push_turned(pool)?;
        Ok(true)
    }

    fn along_axis(&mut self, node: &Node) -> Result<bool, GraphError> {
        let concat = node.is("Concat");
        let values: Vec<&str> = match concat {
            true => node.present_inputs().collect(),
            false => node.input(0).into_iter().collect(),
        };
        if !values.iter().any(|v| self.prefers_turned(v)) {
            return Ok(false);
        }
        let axis = node.int("axis", 0)?;
        let plain_axis = if axis < 0 { axis + 4 } else { axis };
        let Some(&axis) = usize::try_from(plain_axis)
            .ok()
            .and_then(|a| TURNED_AXIS.get(a))
        else {
            return Ok(false);
        };
        let mut turned = node.clone().with("axis", axis as i64);
        let count = if concat { node.inputs.len() } else { 1 };
        for input in &mut turned.inputs[..count] {
            *input = self.turned(input)?;
        }
        self.push_turned(turned)?;
        Ok(true)
    }

    fn expand(&mut self, node: &Node) -> Result<bool, GraphError> {
        let (Some(x), Some(shape), Some(y)) = (node.input(0), node.input(1), node.output(0)) else {
            return Ok(false);
        };
        if self.rank(x) != Some(4) || !self.prefers_turned(x) && !self.is_flat(x) {
            return Ok(false);
        }
        let target = self
            .shapes
            .constant(shape)
            .or_else(|| self.builder.graph().initializers.get(shape))
            .and_then(|t| t.to_i64());
        let Some([n, c, h, w]) = target.as_deref().and_then(|t| <[i64; 4]>::try_from(t).ok())
        else {
            return Ok(false);
        };
        let shape = self.builder.ints(&[n, h, w, c]);
        let x = self.turned(x)?;
        let expand = Node::new(&node.name, "Expand", &[&x, &shape], &[y]);
        self.push_turned(expand)?;
        Ok(true)
    }

    /// With stored statistics: X·s + (B − mean·s), s = scale / sqrt(variance + epsilon).
    fn batch_norm(&mut self, node: &Node) -> Result<bool, GraphError> {
        let (Some(x), Some(y)) = (node.input(0), node.output(0)) else {
            return Ok(false);
        };
        let stored = node.int("training_mode", 0)? == 0 && node.present_outputs().count() == 1;
        let parameters: Vec<&str> = node.present_inputs().skip(1).collect();
        if !stored || !self.prefers_turned(x) || parameters.len() != 4 {
            return Ok(false);
        }
        let parameters: Vec<String> = parameters
            .iter()
            .map(|p| self.plain(p))
            .collect::<Result<_, _>>()?;
        let x = self.turned(x)?;
        let epsilon = self.builder.scalar(node.float("epsilon", 1e-5)?);
        let mut op = |part: &str, op: &str, inputs: &[&str]| {
            let hint = format!("{y}/{part}");
            self.builder.op(&hint, op, inputs, vec![])
        };
        let sum = op("variance", "Add", &[&parameters[3], &epsilon]);
        let deviation = op("deviation", "Sqrt", &[&sum]);
        let s = op("scale", "Div", &[&parameters[0], &deviation]);
        let mean = op("mean", "Mul", &[&parameters[2], &s]);
        let shift = op("shift", "Sub", &[&parameters[1], &mean]);
        let scaled = op("scaled", "Mul", &[&x, &s]);
        self.push_turned(Node::new(&node.name, "Add", &[&scaled, &shift], &[y]))?;
        Ok(true)
    }

    fn elementwise(&mut self, node: &Node) -> Result<bool, GraphError> {
        let fits = node.present_outputs().all(|o| self.rank(o) == Some(4))
            && node.present_inputs().all(|i| self.rank(i).is_some())
            && node.present_inputs().any(|i| self.prefers_turned(i));
        if !fits {
            return Ok(false);
        }
        let mut turned = node.clone();
        for input in turned.inputs.iter_mut().filter(|i| !i.is_empty()) {
            *input = self.turned(input)?;
        }
        // onnxruntime writes this one out as two operators.
        if node.is("HardSwish") && self.is_float(node.input(0)) {
            turned.domain = DOMAIN.to_owned();
        }
        self.push_turned(turned)?;
        Ok(true)
    }

    fn is_float(&self, value: Option<&str>) -> bool {
        value
            .and_then(|v| self.shapes.info(v).ok())
            .is_some_and(|i| i.dtype == DataType::Float)
    }

    fn reduction(&mut self, node: &Node) -> Result<bool, GraphError> {
        let (Some(x), Some(axes)) = (node.input(0), node.input(1)) else {
            return Ok(false);
        };
        if !self.prefers_turned(x) {
            return Ok(false);
        }
        let axes = self
            .builder
            .graph()
            .initializers
            .get(axes)
            .and_then(|t| t.to_i64());
        let Some(axes) = axes.filter(|a| a.iter().all(|a| (-4..4).contains(a)) && !a.is_empty())
        else {
            return Ok(false);
        };
        let gone: Vec<usize> = axes.iter().map(|a| a.rem_euclid(4) as usize).collect();
        let keep = node.int("keepdims", 1)? != 0;
        let left: Vec<usize> = (0..4)
            .filter(|a| !gone.contains(a))
            .map(|a| TURNED_AXIS[a])
            .collect();
        if !keep && !left.is_sorted() {
            return Ok(false);
        }
        let mut axes: Vec<i64> = gone.iter().map(|&a| TURNED_AXIS[a] as i64).collect();
        axes.sort_unstable();
        let axes = self.builder.ints(&axes);
        let mut reduced = node.clone();
        reduced.inputs[0] = self.turned(x)?;
        reduced.inputs[1] = axes;
        match keep {
            true => self.push_turned(reduced)?,
            false => self.builder.graph_mut().nodes.push(reduced),
        }
        Ok(true)
    }

    /// Appends a node whose first outputs come out turned.
    fn push_turned(&mut self, mut node: Node) -> Result<(), GraphError> {
        for output in node.outputs.iter_mut().filter(|o| !o.is_empty()) {
            let name = self.builder.fresh(&format!("{output}/channels_last"));
            self.turned.insert(std::mem::take(output), name.clone());
            *output = name;
        }
        self.builder.graph_mut().nodes.push(node);
        Ok(())
    }

    /// Whether the value is of four dimensions and exists turned.
    fn prefers_turned(&self, value: &str) -> bool {
        self.turned.contains_key(value)
    }

    fn rank(&self, value: &str) -> Option<usize> {
        Some(self.shapes.dims(value).ok()?.len())
    }

    /// Whether turning moves no element: a single position, or a single channel.
    fn is_flat(&self, value: &str) -> bool {
        matches!(self.shapes.dims(value), Ok([_, c, h, w]) if *c == 1 || h * w == 1)
    }

    /// The value's name as the graph means it.
    fn plain(&mut self, value: &str) -> Result<String, GraphError> {
        if let Some(name) = self.plain.get(value) {
            return Ok(name.clone());
        }
        if let Some(turned) = self.turned.get(value).cloned() {
            let node = self.moved(value, &turned, value, &TURN_BACK)?;
            self.builder.graph_mut().nodes.push(node);
        }
        self.plain.insert(value.to_owned(), value.to_owned());
        Ok(value.to_owned())
    }

    /// The value's name channels-last. One of fewer dimensions is a factor that broadcasts.
    fn turned(&mut self, value: &str) -> Result<String, GraphError> {
        if let Some(name) = self.turned.get(value) {
            return Ok(name.clone());
        }
        let dims = self.shapes.dims(value)?.to_vec();
        let plain = self.plain(value)?;
        if dims.len() < 2 && dims.iter().product::<usize>() == 1 {
            return Ok(plain);
        }
        let mut source = plain;
        if dims.len() < 4 {
            let mut wide = vec![1i64; 4 - dims.len()];
            wide.extend(dims.iter().map(|&d| d as i64));
            let shape = self.builder.ints(&wide);
            let hint = format!("{value}/wide");
            source = self
                .builder
                .op(&hint, "Reshape", &[&source, &shape], vec![]);
        }
        let name = self.builder.fresh(&format!("{value}/channels_last"));
        let node = match dims.len() {
            4 => self.moved(value, &source, &name, &TURN)?,
            _ => Node::new(&name, "Transpose", &[&source], &[&name]).with("perm", TURN.to_vec()),
        };
        self.builder.graph_mut().nodes.push(node);
        self.turned.insert(value.to_owned(), name.clone());
        Ok(name)
    }

    /// The node that makes `to` from `from`, both forms of `value`.
    fn moved(
        &mut self,
        value: &str,
        from: &str,
        to: &str,
        perm: &[i64; 4],
    ) -> Result<Node, GraphError> {
        let name = self.builder.fresh(&format!("{to}/moved"));
        if !self.is_flat(value) {
            return Ok(Node::new(&name, "Transpose", &[from], &[to]).with("perm", perm.to_vec()));
        }
        let plain: Vec<i64> = self.shapes.dims(value)?.iter().map(|&d| d as i64).collect();
        let dims: Vec<i64> = match perm == &TURN {
            true => TURN.iter().map(|&a| plain[a as usize]).collect(),
            false => plain,
        };
        let shape = self.builder.ints(&dims);
        Ok(Node::new(&name, "Reshape", &[from, &shape], &[to]))
    }
}
