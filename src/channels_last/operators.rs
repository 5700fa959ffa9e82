//! How each operator takes to channels-last values.

use crate::graph::operators::ChannelsLast;
use crate::graph::{GraphError, Node};
use crate::kernels::dialect::{Kernel, Operator};
use crate::kernels::{Activation, MANY_ROWS};
use crate::layout::{TO_NCHW, TO_NHWC};
use crate::onnx::DataType;

use super::layout::{TURNED_AXIS, Walk};
use super::window;

/// Elements of a matrix from which to read it takes longer than anything else.
const LARGE_MATRIX: usize = 1 << 16;

impl Walk<'_, '_> {
    /// Appends what `node` becomes.
    pub(super) fn node(&mut self, node: &Node) -> Result<(), GraphError> {
        let done = if let Some(operator) = node.kernel_operator() {
            self.kernel(node, operator)?;
            true
        } else {
            let how = node
                .operator()
                .map_or(ChannelsLast::Plain, |o| o.channels_last);
            match how {
                ChannelsLast::Plain => false,
                ChannelsLast::Elementwise => self.elementwise(node)?,
                ChannelsLast::Reduction => self.reduction(node)?,
                ChannelsLast::Conv => self.conv(node)?,
                ChannelsLast::MaxPool => self.max_pool(node)?,
                ChannelsLast::GlobalPool(reduction) => self.global_pool(node, reduction)?,
                ChannelsLast::Transpose => self.transpose(node)?,
                ChannelsLast::Product => self.few_rows(node)?,
                ChannelsLast::AlongAxis => self.along_axis(node)?,
                ChannelsLast::Expand => self.expand(node)?,
                ChannelsLast::BatchNorm => self.batch_norm(node)?,
            }
        };
        if !done {
            self.keep(node)?;
        }
        Ok(())
    }

    /// A node of the kernels' domain as the reverse sweep wrote it.
    fn kernel(&mut self, node: &Node, operator: Operator) -> Result<(), GraphError> {
        let mut node = node.clone();
        match operator {
            Operator::ConvInputGradient => {
                node.inputs[0] = self.turned(&node.inputs[0])?;
                self.push_turned(node);
            }
            Operator::ConvWeightGradient => {
                self.turn_inputs(&mut node)?;
                self.push(node);
            }
            Operator::ActivationGradient | Operator::HardSwishGradient => {
                if !self.elementwise(&node)? {
                    self.keep(&node)?;
                }
            }
            Operator::MaxPoolGradient => {
                self.turn_inputs(&mut node)?;
                self.push_turned(node);
            }
            Operator::RowScaleGradient => self.keep(&node)?,
            // Of these no gradient rule is made: they are written here, channels-last already.
            Operator::Conv
            | Operator::Gemm
            | Operator::GemmWeightGradient
            | Operator::HardSwish
            | Operator::MaxPool => self.push(node),
        }
        Ok(())
    }

    fn conv(&mut self, node: &Node) -> Result<bool, GraphError> {
        let (Some(x), Some(w)) = (node.input(0), node.input(1)) else {
            return Ok(false);
        };
        let Some(output) = node.output(0) else {
            return Ok(false);
        };
        let Some(window) = window::of(node, self.shapes, x, w, output)? else {
            return Ok(false);
        };
        let kernel = Kernel::Conv {
            window,
            activation: Activation::None,
            coarse: false,
        };
        let mut turned = Node::of_kernel(&node.name, &kernel, &[], &[output]);
        turned.inputs = vec![self.turned(x)?, self.plain(w)?];
        if let Some(bias) = node.input(2) {
            turned.inputs.push(self.plain(bias)?);
        }
        self.push_turned(turned);
        Ok(true)
    }

    /// A · B, A · Bᵀ, with or without a bias, and Aᵀ · B, of few rows and a large matrix.
    fn few_rows(&mut self, node: &Node) -> Result<bool, GraphError> {
        let (Some(a), Some(b), Some(y)) = (node.input(0), node.input(1), node.output(0)) else {
            return Ok(false);
        };
        let dims = |value| self.shapes.dims(value);
        let (Ok(&[rows, _]), Ok(&[_, _]), Ok(&[height, width])) = (dims(a), dims(b), dims(y))
        else {
            return Ok(false);
        };
        let bias = node.input(2);
        let [turns_a, turns_b] = [node.int("transA", 0)?, node.int("transB", 0)?];
        let large = match turns_a {
            0 => self.shapes.dims(b).map_or(0, |dims| dims.iter().product()),
            _ => height.saturating_mul(width),
        };
        let plain = (turns_a == 0 || turns_b == 0 && bias.is_none())
            && node.float("alpha", 1.0)? == 1.0
            && node.float("beta", 1.0)? == 1.0
            && bias.is_none_or(|c| self.shapes.dims(c).is_ok_and(|dims| dims == [width]));
        let pays = rows < MANY_ROWS && large >= LARGE_MATRIX;
        if !plain || !pays || !self.is_float(Some(a)) {
            return Ok(false);
        }
        let kernel = match turns_a {
            0 => Kernel::Gemm {
                transposed: turns_b == 1,
            },
            _ => Kernel::GemmWeightGradient { rows },
        };
        let mut product = Node::of_kernel(&node.name, &kernel, &[], &[y]);
        for input in [Some(a), Some(b), bias].into_iter().flatten() {
            product.inputs.push(self.plain(input)?);
        }
        self.push(product);
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
        let Some(window) = window::of_pool(node, self.shapes, x, output)? else {
            return Ok(false);
        };
        let (kernel, x) = (Kernel::MaxPool(window), self.turned(x)?);
        self.push_turned(Node::of_kernel(&node.name, &kernel, &[&x], &[output]));
        Ok(true)
    }

    /// A transposition between the two layouts costs nothing: it only renames.
    fn transpose(&mut self, node: &Node) -> Result<bool, GraphError> {
        let (Some(x), Some(y)) = (node.input(0), node.output(0)) else {
            return Ok(false);
        };
        let perm = node.ints("perm")?.unwrap_or_default();
        if perm == TO_NCHW.as_slice() {
            // Its input is its output turned.
            let plain = self.plain(x)?;
            self.turned.insert(y.to_owned(), plain);
            return Ok(true);
        }
        if perm == TO_NHWC.as_slice() && self.prefers_turned(x) {
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
        self.push_turned(pool);
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
        self.push_turned(turned);
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
        self.push_turned(expand);
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
        self.push_turned(Node::new(&node.name, "Add", &[&scaled, &shift], &[y]));
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
        // onnxruntime writes this one out as two operators.
        if node.is("HardSwish") && self.is_float(node.input(0)) {
            turned = Node::of_kernel(&node.name, &Kernel::HardSwish, &[], &[]);
            turned.inputs.clone_from(&node.inputs);
            turned.outputs.clone_from(&node.outputs);
        }
        self.turn_inputs(&mut turned)?;
        self.push_turned(turned);
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
            true => self.push_turned(reduced),
            false => self.push(reduced),
        }
        Ok(true)
    }
}
