//! Operators that opset 21 does not have, or has otherwise, written in operators that it has.

use crate::graph::{Attribute, Builder, GraphError, Node};
use crate::onnx::{DataType, Tensor};

/// A scalar constant of the model's float type.
fn scalar(b: &mut Builder, float: DataType, value: f32) -> String {
    let zero = Tensor {
        dtype: float,
        dims: Vec::new(),
        data: vec![0; float.size()].into(),
    };
    let tensor = zero.with_f32_values(&[value]);
    b.constant(tensor.unwrap_or_else(|| Tensor::scalar_f32(value)))
}

fn ends(node: &Node) -> Result<(String, String), GraphError> {
    match (node.input(0), node.output(0)) {
        (Some(input), Some(output)) => Ok((input.to_owned(), output.to_owned())),
        _ => Err(node.error("its input or output is missing")),
    }
}

/// Makes the last node, which bears the name of the one it replaces.
fn finish(b: &mut Builder, node: &Node, op_type: &str, inputs: &[&str], output: &str) {
    let last = Node::new(&node.name, op_type, inputs, &[output]);
    b.graph_mut().nodes.push(last);
}

/// Swish: Y = X σ(αX).
/// Source: <https://onnx.ai/onnx/operators/onnx__Swish.html>.
pub(super) fn swish(b: &mut Builder, node: Node, float: DataType) -> Result<(), GraphError> {
    let (x, y) = ends(&node)?;
    let alpha = node.float("alpha", 1.0)?;
    let mut scaled = x.clone();
    if alpha != 1.0 {
        let alpha = scalar(b, float, alpha);
        scaled = b.op(&format!("{y}/scaled"), "Mul", &[&x, &alpha], vec![]);
    }
    let gate = b.op(&format!("{y}/gate"), "Sigmoid", &[&scaled], vec![]);
    finish(b, &node, "Mul", &[&x, &gate], &y);
    Ok(())
}

/// RMSNormalization: Y = γ X / √(mean X² + ε), the mean over the axes from `axis` on.
/// Source: <https://onnx.ai/onnx/operators/onnx__RMSNormalization.html>.
pub(super) fn rms_norm(
    b: &mut Builder,
    node: Node,
    float: DataType,
    rank: Option<usize>,
) -> Result<(), GraphError> {
    let (x, y) = ends(&node)?;
    let Some(gamma) = node.input(1).map(str::to_owned) else {
        return Err(node.error("input 1, the scale, is missing"));
    };
    let axis = node.int("axis", -1)?;
    let axes: Vec<i64> = match rank {
        _ if axis < 0 => (axis.max(-64)..0).collect(),
        Some(rank) if axis < rank as i64 => (axis..rank as i64).collect(),
        Some(rank) => return Err(node.error(format!("axis {axis} of {rank} dimensions"))),
        None => return Err(node.error(format!("axis {axis} of an input of unknown rank"))),
    };
    let epsilon = scalar(b, float, node.float("epsilon", 1e-5)?);
    let op = |b: &mut Builder, op_type: &str, inputs: &[&str]| {
        b.op(&format!("{y}/{op_type}"), op_type, inputs, vec![])
    };
    let axes = b.ints(&axes);
    let square = op(b, "Mul", &[&x, &x]);
    let mean = op(b, "ReduceMean", &[&square, &axes]);
    let sum = op(b, "Add", &[&mean, &epsilon]);
    let root = op(b, "Sqrt", &[&sum]);
    let normal = op(b, "Div", &[&x, &root]);
    finish(b, &node, "Mul", &[&normal, &gamma], &y);
    Ok(())
}

/// GroupNormalization of opsets 18 to 20, whose scale and bias have a number per group: each number
/// is repeated for the channels of its group.
/// Source: <https://onnx.ai/onnx/operators/text_diff_GroupNormalization_18_21.html>.
pub(super) fn group_norm(b: &mut Builder, node: &mut Node) -> Result<(), GraphError> {
    let (x, y) = ends(node)?;
    let groups = b.ints(&[node.int("num_groups", 0)?]);
    let part: Vec<(&str, Attribute)> = vec![("start", 1.into()), ("end", 2.into())];
    let channels = b.op(&format!("{y}/channels"), "Shape", &[&x], part);
    let each = b.op(&format!("{y}/each"), "Div", &[&channels, &groups], vec![]);
    let axis: Vec<(&str, Attribute)> = vec![("axis", 0.into())];
    let target = b.op(&format!("{y}/target"), "Concat", &[&groups, &each], axis);
    let (column, flat) = (b.ints(&[-1, 1]), b.ints(&[-1]));
    for index in 1..3 {
        let Some(value) = node.input(index).map(str::to_owned) else {
            return Err(node.error(format!("input {index} is missing")));
        };
        let mut op = |op_type: &str, value: &str, shape: &str| {
            b.op(
                &format!("{value}/{op_type}"),
                op_type,
                &[value, shape],
                vec![],
            )
        };
        let value = op("Reshape", &value, &column);
        let value = op("Expand", &value, &target);
        node.inputs[index] = op("Reshape", &value, &flat);
    }
    Ok(())
}
