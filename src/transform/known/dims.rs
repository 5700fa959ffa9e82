//! Dimensions of values, mostly how many.

use crate::graph::operators::{Data, Mixing, Own, named as row};
use crate::onnx::Tensor;
use crate::onnx::messages::NodeProto;

use super::attributes::{int, ints};
use super::{Env, Known};

type Dims = Option<Vec<Option<i64>>>;

/// Dimensions of each output, of a node of ONNX's own operators.
pub(super) fn of(node: &NodeProto, inputs: &[Known], env: &Env) -> Vec<Dims> {
    let rank = |at: usize| {
        inputs
            .get(at)
            .and_then(|known| known.dims.as_ref())
            .map(Vec::len)
    };
    let unknown = |rank: usize| (rank <= MOST_AXES).then(|| vec![None; rank]);
    let numbers = |at: usize| {
        let tensor = env.constants.get(node.input.get(at)?)?;
        Tensor::from_proto(tensor).ok()?.to_i64()
    };
    // As many as a list of numbers has.
    let counted = |at: usize| {
        let listed = inputs.get(at)?.dims.as_ref()?.first().copied().flatten();
        listed.and_then(|n| usize::try_from(n).ok())
    };
    let axes = || {
        ints(node, "axes")
            .or_else(|| numbers(1))
            .map(|axes| axes.len())
            .or_else(|| counted(1))
    };
    let Some(operator) = row(node.op_type()) else {
        return Vec::new();
    };
    let same = || rank(0).and_then(unknown);
    let first = match node.op_type() {
        "Gemm" | "Flatten" => unknown(2),
        "Shape" => unknown(1),
        "Size" => unknown(0),
        "Reshape" => match numbers(1) {
            Some(shape) => Some(shape.iter().map(|&d| Some(d).filter(|&d| d > 0)).collect()),
            None => counted(1).and_then(unknown),
        },
        "Expand" => rank(0).zip(counted(1)).and_then(|(a, b)| unknown(a.max(b))),
        "ConstantOfShape" => counted(0).and_then(unknown),
        "MatMul" => match (rank(0), rank(1)) {
            (Some(a), Some(b)) if a > 1 && b > 1 => unknown(a.max(b)),
            _ => None,
        },
        "Gather" => rank(0)
            .zip(rank(1))
            .and_then(|(a, b)| unknown((a + b).checked_sub(1)?)),
        "Unsqueeze" => rank(0)
            .zip(axes())
            .and_then(|(rank, axes)| unknown(rank + axes)),
        "Squeeze" => rank(0)
            .zip(axes())
            .and_then(|(rank, axes)| unknown(rank.checked_sub(axes)?)),
        _ if operator.mixing == Mixing::Reduction => match int(node, "keepdims", 1) {
            1 => same(),
            _ => rank(0)
                .zip(axes())
                .and_then(|(rank, axes)| unknown(rank.checked_sub(axes)?)),
        },
        _ if operator.mixing == Mixing::Elementwise => {
            let ranks: Option<Vec<usize>> = (0..inputs.len()).map(rank).collect();
            let widest = ranks.and_then(|ranks| ranks.into_iter().max());
            // Those of one that is as it was.
            match inputs {
                [only] => only.dims.clone(),
                _ => widest.and_then(unknown),
            }
        }
        _ if operator.elements.is_copy() => inputs.first().and_then(|known| known.dims.clone()),
        _ if operator.data != Data::Any || keeps_axes(operator.mixing) => {
            return vec![same(); node.output.len()];
        }
        _ => None,
    };
    vec![first]
}

/// Dimensions beyond which what a file says of them is not believed.
const MOST_AXES: usize = 64;

/// Whether an output has as many axes as input 0.
fn keeps_axes(mixing: Mixing) -> bool {
    match mixing {
        Mixing::Along(_) => true,
        Mixing::Own(own) => matches!(
            own,
            Own::Transpose
                | Own::Concat
                | Own::Slice
                | Own::Pad
                | Own::Resize
                | Own::Tile
                | Own::Elements
        ),
        _ => false,
    }
}
