//! Sliding windows: convolutions and pools.
//!
//! Every size is computed in 128 bits: a dimension or attribute is below 2⁶³, and no formula here
//! multiplies more than two of them, so nothing can overflow.

use crate::graph::{GraphError, Padding, TensorInfo, WindowAttributes, WindowError};
use crate::onnx::DataType;

use super::op::{Inferred, Op};

/// The window of a node, one entry per spatial axis.
struct Window {
    kernel: Vec<usize>,
    said: WindowAttributes,
}

impl Window {
    /// Reads the attributes for `spatial` axes; `kernel` is the weight's, where there is one.
    fn read(op: &Op, spatial: usize, kernel: Option<&[usize]>) -> Result<Self, GraphError> {
        let said = WindowAttributes::read(op.node, spatial).map_err(|error| match error {
            WindowError::Uncovered(given) => {
                op.error(format!("{given} is not usable over {spatial} spatial axes"))
            }
            WindowError::Graph(error) => error,
        })?;
        let kernel = match (kernel, &said.kernel) {
            (Some(weight), Some(declared)) if weight != declared => {
                return Err(op.error(format!(
                    "kernel_shape {declared:?} is not that of the weight, {weight:?}"
                )));
            }
            (Some(weight), _) => weight.to_vec(),
            (None, Some(declared)) => declared.clone(),
            (None, None) => return Err(op.error("attribute `kernel_shape` is missing")),
        };
        if kernel.contains(&0) {
            return Err(op.error(format!("the kernel {kernel:?} is empty")));
        }
        Ok(Window { kernel, said })
    }

    fn is_same(&self) -> bool {
        matches!(self.said.padding, Padding::Same { .. })
    }

    /// Padding before and after an axis, where it is told.
    fn pads(&self, axis: usize) -> (i128, i128) {
        match &self.said.padding {
            Padding::Explicit(pads) => (pads[axis] as i128, pads[axis + self.kernel.len()] as i128),
            Padding::Same { .. } => (0, 0),
        }
    }

    /// Extent of the dilated kernel along an axis.
    fn extent(&self, axis: usize) -> i128 {
        (self.kernel[axis] as i128 - 1) * self.said.dilations[axis] as i128 + 1
    }

    /// Number of window positions along each spatial axis.
    fn positions(&self, op: &Op, input: &[usize]) -> Result<Vec<usize>, GraphError> {
        input
            .iter()
            .enumerate()
            .map(|(i, &length)| {
                let (length, stride) = (length as i128, self.said.strides[i] as i128);
                if self.is_same() {
                    return op.size((length + stride - 1) / stride);
                }
                let (before, after) = self.pads(i);
                let room = length + before + after - self.extent(i);
                if room < 0 && !(self.said.ceil && room > -stride) {
                    return Err(op.error(format!(
                        "the window of {} is larger than the padded input of {}",
                        self.extent(i),
                        length + before + after
                    )));
                }
                let mut count = room.div_euclid(stride) + 1;
                // A last, partial window counts when it starts inside the input or the padding
                // before it.
                if self.said.ceil && room % stride != 0 && count * stride < length + before {
                    count += 1;
                }
                op.size(count)
            })
            .collect()
    }
}

/// Input and weight of a convolution, with its window.
fn operands<'a>(op: &Op<'a>) -> Result<(&'a [usize], &'a [usize], Window), GraphError> {
    let x = op.dims_at_least(0, 3)?;
    let w = op.dims(1)?;
    if w.len() != x.len() {
        return Err(op.error(format!(
            "the input {x:?} and the weight {w:?} differ in the number of dimensions"
        )));
    }
    if op.dtype(0)? != op.dtype(1)? {
        return Err(op.error("input and weight differ in type"));
    }
    let window = Window::read(op, x.len() - 2, Some(&w[2..]))?;
    Ok((x, w, window))
}

fn check_bias(op: &Op, channels: usize) -> Result<(), GraphError> {
    match op.optional(2)? {
        Some(bias) if bias.dims != [channels] => Err(op.error(format!(
            "the bias has dimensions {:?}, not [{channels}]",
            bias.dims
        ))),
        _ => Ok(()),
    }
}

/// `Conv`: X [N, C, …], W [M, C/group, …], B [M].
pub(in crate::graph) fn conv(op: &Op) -> Inferred {
    let (x, w, window) = operands(op)?;
    let group = window.said.group;
    if w[1].checked_mul(group) != Some(x[1]) || !w[0].is_multiple_of(group) {
        return Err(op.error(format!(
            "the weight {w:?} in {group} groups does not fit the input {x:?}"
        )));
    }
    check_bias(op, w[0])?;
    let mut dims = vec![x[0], w[0]];
    dims.extend(window.positions(op, &x[2..])?);
    Op::one(op.dtype(0)?, dims)
}

/// `ConvTranspose`: X [N, C, …], W [C, M/group, …], B [M].
pub(in crate::graph) fn conv_transpose(op: &Op) -> Inferred {
    let (x, w, window) = operands(op)?;
    let group = window.said.group;
    if w[0] != x[1] || !x[1].is_multiple_of(group) {
        return Err(op.error(format!(
            "the weight {w:?} in {group} groups does not fit the input {x:?}"
        )));
    }
    let channels = op.size(w[1] as i128 * group as i128)?;
    check_bias(op, channels)?;
    let mut dims = vec![x[0], channels];
    if let Some(given) = &window.said.output_shape {
        dims.extend(given);
        return Op::one(op.dtype(0)?, dims);
    }
    for (i, &length) in x[2..].iter().enumerate() {
        let stride = window.said.strides[i] as i128;
        let length = length as i128;
        let size = if window.is_same() {
            length * stride
        } else {
            let (before, after) = window.pads(i);
            let extra = window.said.output_padding[i] as i128;
            stride * (length - 1) + extra + window.extent(i) - before - after
        };
        dims.push(op.size(size)?);
    }
    Op::one(op.dtype(0)?, dims)
}

/// The most taps of a pool along an axis: onnxruntime walks them all, also beyond the map.
const MOST_TAPS: usize = 1 << 22;

/// `MaxPool`, `AveragePool` and `LpPool`; only `MaxPool` has the second output, the indices.
pub(in crate::graph) fn pool(op: &Op) -> Inferred {
    let x = op.dims_at_least(0, 3)?;
    let window = Window::read(op, x.len() - 2, None)?;
    if window.kernel.iter().any(|&taps| taps > MOST_TAPS) {
        return Err(GraphError::TooLarge {
            node: op.node.to_string(),
            reason: format!("its window of {:?} is larger than any map", window.kernel),
        });
    }
    if window.is_same() && window.said.dilations.iter().any(|&d| d != 1) {
        // By the ONNX standard every stride of the input has its window; onnxruntime pads as if nothing
        // were dilated, so that its map is smaller.
        return Err(op.error(
            "auto_pad = SAME_… with dilations: runtimes make maps of different sizes of it",
        ));
    }
    let mut dims = x[..2].to_vec();
    dims.extend(window.positions(op, &x[2..])?);
    let mut outputs = vec![TensorInfo {
        dtype: op.dtype(0)?,
        dims: dims.clone(),
    }];
    if op.node.op_type == "MaxPool" {
        outputs.push(TensorInfo {
            dtype: DataType::Int64,
            dims,
        });
    }
    Ok(outputs)
}

/// `GlobalAveragePool`, `GlobalMaxPool` and `GlobalLpPool`: every spatial dimension becomes 1.
pub(in crate::graph) fn global_pool(op: &Op) -> Inferred {
    let x = op.dims_at_least(0, 2)?;
    let mut dims = x[..2].to_vec();
    dims.resize(x.len(), 1);
    Op::one(op.dtype(0)?, dims)
}
