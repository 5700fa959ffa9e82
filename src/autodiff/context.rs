//! What a rule sees of its node, and the graph operations it builds with.

use crate::graph::{Attribute, Builder, GraphError, Node, Shapes, WindowError};
use crate::kernels::dialect::Kernel;
use crate::onnx::{DataType, Tensor};

use super::Operators;

/// Why a rule gives no gradient.
#[derive(Debug)]
pub enum Refusal {
    /// The rule does not cover this use of the operator.
    Unsupported(String),
    /// The node is malformed or its shapes are unknown.
    Graph(GraphError),
}

impl From<GraphError> for Refusal {
    fn from(e: GraphError) -> Self {
        Refusal::Graph(e)
    }
}

impl From<WindowError> for Refusal {
    fn from(e: WindowError) -> Self {
        match e {
            WindowError::Uncovered(reason) => Refusal::Unsupported(reason),
            WindowError::Graph(e) => Refusal::Graph(e),
        }
    }
}

/// A rule's result: for each input of the node the gradient with respect to it, where wanted.
pub type Contributions = Result<Vec<Option<String>>, Refusal>;

/// One node in the reverse sweep: its values, the gradients of its outputs, and the means to
/// append nodes. Values and gradients are referred to by name.
pub struct Context<'a, 'g> {
    builder: &'a mut Builder<'g>,
    shapes: &'a Shapes,
    operators: Operators,
    /// The forward node.
    pub node: &'a Node,
    index: usize,
    output_gradients: Vec<Option<String>>,
    wants: Vec<bool>,
}

impl<'a, 'g> Context<'a, 'g> {
    pub(super) fn new(
        builder: &'a mut Builder<'g>,
        shapes: &'a Shapes,
        operators: Operators,
        node: &'a Node,
        index: usize,
        output_gradients: Vec<Option<String>>,
        wants: Vec<bool>,
    ) -> Self {
        Context {
            builder,
            shapes,
            operators,
            node,
            index,
            output_gradients,
            wants,
        }
    }

    /// Whether the gradient with respect to input `index` is wanted.
    pub fn wants(&self, index: usize) -> bool {
        self.wants.get(index).copied().unwrap_or(false)
    }

    /// Name of input `index`.
    ///
    /// # Errors
    /// When the node has no such input.
    pub fn input(&self, index: usize) -> Result<&'a str, Refusal> {
        let node = self.node;
        node.input(index)
            .ok_or_else(|| node.error(format!("input {index} is missing")).into())
    }

    /// Name of output `index`.
    ///
    /// # Errors
    /// When the node has no such output.
    pub fn output(&self, index: usize) -> Result<&'a str, Refusal> {
        let node = self.node;
        node.output(index)
            .ok_or_else(|| node.error(format!("output {index} is missing")).into())
    }

    /// The gradient of output 0.
    ///
    /// # Errors
    /// When only another output of the node has a gradient.
    pub fn gradient(&self) -> Result<String, Refusal> {
        self.output_gradient(0)
            .ok_or_else(|| Refusal::Unsupported("only a secondary output reaches the loss".into()))
    }

    /// The gradient of output `index`, if the loss depends on it.
    pub fn output_gradient(&self, index: usize) -> Option<String> {
        self.output_gradients.get(index).cloned().flatten()
    }

    /// Dimensions of a forward value.
    ///
    /// # Errors
    /// When they are unknown.
    pub fn dims(&self, value: &str) -> Result<Vec<usize>, Refusal> {
        Ok(self.shapes.dims(value)?.to_vec())
    }

    /// Element type of a forward value.
    ///
    /// # Errors
    /// When it is unknown.
    pub fn dtype(&self, value: &str) -> Result<DataType, Refusal> {
        Ok(self.shapes.info(value)?.dtype)
    }

    /// Dimensions of input `index`.
    ///
    /// # Errors
    /// When the node has no such input or they are unknown.
    pub fn input_dims(&self, index: usize) -> Result<Vec<usize>, Refusal> {
        self.dims(self.input(index)?)
    }

    /// Dimensions of output 0.
    ///
    /// # Errors
    /// When they are unknown.
    pub fn output_dims(&self) -> Result<Vec<usize>, Refusal> {
        self.dims(self.output(0)?)
    }

    /// Input `index` where it is a constant of the graph; `None` when absent.
    ///
    /// # Errors
    /// When the input is computed.
    pub fn constant_input(&self, index: usize) -> Result<Option<Tensor>, Refusal> {
        let Some(name) = self.node.input(index) else {
            return Ok(None);
        };
        self.builder
            .graph()
            .initializers
            .get(name)
            .or_else(|| self.shapes.constant(name))
            .cloned()
            .map(Some)
            .ok_or_else(|| Refusal::Unsupported(format!("input {index} is not a constant")))
    }

    /// The integers of input `index`, a constant of the graph; `None` when absent.
    ///
    /// # Errors
    /// When the input is computed or holds no integers.
    pub fn int_input(&self, index: usize) -> Result<Option<Vec<i64>>, Refusal> {
        match self.constant_input(index)? {
            None => Ok(None),
            Some(tensor) => match tensor.to_i64() {
                Some(values) => Ok(Some(values)),
                None => Err(self
                    .node
                    .error(format!("input {index} does not hold integers"))
                    .into()),
            },
        }
    }

    /// The axes of input `index` (or of the attribute `axes`), made non-negative; `None` when
    /// neither is there.
    ///
    /// # Errors
    /// When they are computed or out of range.
    pub fn axes(&self, index: usize, rank: usize) -> Result<Option<Vec<usize>>, Refusal> {
        let axes = match self.int_input(index)? {
            Some(axes) => axes,
            None => match self.node.ints("axes")? {
                Some(axes) => axes.to_vec(),
                None => return Ok(None),
            },
        };
        axes.iter()
            .map(|&a| self.axis(a, rank))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// `axis` made non-negative.
    ///
    /// # Errors
    /// When it is out of range.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize, Refusal> {
        let positive = if axis < 0 { axis + rank as i64 } else { axis };
        usize::try_from(positive)
            .ok()
            .filter(|&a| a < rank)
            .ok_or_else(|| {
                self.node
                    .error(format!("axis {axis} of a value of rank {rank}"))
                    .into()
            })
    }

    /// Refuses this use of the operator.
    pub fn refuse<T>(&self, reason: impl Into<String>) -> Result<T, Refusal> {
        Err(Refusal::Unsupported(reason.into()))
    }

    /// Gives the forward node a further output and returns its name.
    pub fn add_output(&mut self, index: usize) -> String {
        if let Some(name) = self.node.output(index) {
            return name.to_owned();
        }
        let name = self
            .builder
            .fresh(&format!("{}/output{index}", self.node.name));
        let node = &mut self.builder.graph_mut().nodes[self.index];
        node.outputs
            .resize(node.outputs.len().max(index + 1), String::new());
        node.outputs[index].clone_from(&name);
        name
    }

    /// Appends a node and returns its output.
    pub fn op(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: Vec<(&str, Attribute)>,
    ) -> String {
        let hint = format!("grad/{}/{op_type}", self.node.name);
        self.builder.op(&hint, op_type, inputs, attributes)
    }

    /// Appends a node without attributes and returns its output.
    pub fn call(&mut self, op_type: &str, inputs: &[&str]) -> String {
        self.op(op_type, inputs, vec![])
    }

    /// Whether the gradient may use nodes of the [kernels' domain](crate::kernels::dialect).
    pub fn has_kernels(&self) -> bool {
        self.operators == Operators::Kernels
    }

    /// Whether of the gradient's nodes only constants may follow from the batch size.
    pub fn takes_any_batch(&self) -> bool {
        self.operators == Operators::AnyBatch
    }

    /// Appends a node that runs `kernel`, with `outputs` outputs, and returns them.
    pub fn kernel(&mut self, kernel: &Kernel, inputs: &[&str], outputs: usize) -> Vec<String> {
        let hint = format!("grad/{}/{}", self.node.name, kernel.operator().name());
        self.builder.kernel(&hint, kernel, inputs, outputs)
    }

    /// A float scalar constant.
    pub fn scalar(&mut self, value: f32) -> String {
        self.builder.scalar(value)
    }

    /// An int64 vector constant.
    pub fn ints(&mut self, values: &[i64]) -> String {
        self.builder.ints(values)
    }

    /// A constant tensor.
    pub fn constant(&mut self, tensor: Tensor) -> String {
        self.builder.constant(tensor)
    }

    /// `value` reshaped to `dims`.
    pub fn reshape(&mut self, value: &str, dims: &[usize]) -> String {
        // A 0 in a target means "as it was" otherwise.
        let attributes = match dims.contains(&0) {
            true => vec![("allowzero", 1.into())],
            false => vec![],
        };
        let dims: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
        let shape = self.ints(&dims);
        self.op("Reshape", &[value, &shape], attributes)
    }

    /// `value` with its axes permuted.
    pub fn transpose(&mut self, value: &str, permutation: &[usize]) -> String {
        let perm: Vec<i64> = permutation.iter().map(|&d| d as i64).collect();
        self.op("Transpose", &[value], vec![("perm", perm.into())])
    }

    /// `value` times a constant; `value` itself for a factor of 1.
    pub fn scale(&mut self, value: &str, factor: f32) -> String {
        if factor == 1.0 {
            return value.to_owned();
        }
        let factor = self.scalar(factor);
        self.op("Mul", &[value, &factor], vec![])
    }

    /// `value` summed over `axes`.
    pub fn reduce_sum(&mut self, value: &str, axes: &[usize], keep_dims: bool) -> String {
        if axes.is_empty() {
            return value.to_owned();
        }
        let axes: Vec<i64> = axes.iter().map(|&a| a as i64).collect();
        let axes = self.ints(&axes);
        self.op(
            "ReduceSum",
            &[value, &axes],
            vec![("keepdims", i64::from(keep_dims).into())],
        )
    }

    /// `value` broadcast to `dims`.
    pub fn expand(&mut self, value: &str, dims: &[usize]) -> String {
        let dims: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
        let shape = self.ints(&dims);
        self.op("Expand", &[value, &shape], vec![])
    }

    /// Undoes broadcasting: `gradient` of dimensions `from`, summed to dimensions `to`.
    pub fn unbroadcast(&mut self, gradient: &str, from: &[usize], to: &[usize]) -> String {
        if from == to {
            return gradient.to_owned();
        }
        let lead = from.len() - to.len().min(from.len());
        let axes: Vec<usize> = (0..from.len())
            .filter(|&i| i < lead || (to[i - lead] == 1 && from[i] != 1))
            .collect();
        let summed = self.reduce_sum(gradient, &axes, true);
        if lead == 0 {
            summed
        } else {
            self.reshape(&summed, to)
        }
    }

    /// `gradient` (of the output's shape) summed to the shape of input `index`.
    ///
    /// # Errors
    /// When a shape is unknown.
    pub fn sum_to_input(&mut self, gradient: &str, index: usize) -> Result<String, Refusal> {
        let (from, to) = (self.output_dims()?, self.input_dims(index)?);
        Ok(self.unbroadcast(gradient, &from, &to))
    }

    /// `gradient` where `condition` holds, 0 elsewhere.
    pub fn masked(&mut self, condition: &str, gradient: &str) -> String {
        let zero = self.scalar(0.0);
        self.op("Where", &[condition, gradient, &zero], vec![])
    }
}
