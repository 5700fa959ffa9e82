//! The sliding window of convolutions and pools.

use crate::kernels::dialect;
use crate::onnx::element_count;

use super::{Attribute, GraphError, Node};

/// Why a node has no [`Window`].
#[derive(Debug)]
pub enum WindowError {
    /// It is of a kind that no one here works with.
    Uncovered(String),
    /// The node is malformed.
    Graph(GraphError),
}

impl From<GraphError> for WindowError {
    fn from(e: GraphError) -> Self {
        WindowError::Graph(e)
    }
}

/// Strides, dilations and pads of a sliding window over the spatial axes, with the output padding
/// that makes its transpose come out at the input's size.
#[derive(Clone, Debug)]
pub struct Window {
    /// Steps of the window, per axis.
    pub strides: Vec<usize>,
    /// Distances of its taps, per axis.
    pub dilations: Vec<usize>,
    /// Begins of all axes, then ends, as ONNX orders them.
    pub pads: Vec<usize>,
    /// Rows at the end of each axis that no window reaches.
    pub unreached: Vec<usize>,
    /// Whether windows reach beyond the node's own pads (ceil_mode); `pads` cover that too.
    pub overhangs: bool,
}

impl Window {
    /// The window of `node`, a Conv or a pooling operator of canonical opset, with `kernel` taps per
    /// axis, from `x_dims` to `y_dims`.
    ///
    /// # Errors
    /// When something is empty, an attribute is negative or not known, a stride or dilation is 0, or ranks
    /// do not fit; and where SAME_… leaves out more than one row along an axis, because its stride goes
    /// beyond the kernel: which rows then depends on the operator and the runtime (onnxruntime begins a
    /// Conv elsewhere than a pool).
    pub fn of(
        node: &Node,
        kernel: &[usize],
        x_dims: &[usize],
        y_dims: &[usize],
    ) -> Result<Self, WindowError> {
        let refuse = |reason: String| Err(WindowError::Uncovered(reason));
        let axes = kernel.len();
        if [kernel, x_dims, y_dims].iter().any(|d| d.contains(&0)) {
            return refuse("an empty input, kernel or output".to_owned());
        }
        if x_dims.len() != axes + 2 || y_dims.len() != axes + 2 {
            return Err(node
                .error("ranks of input, kernel and output do not fit")
                .into());
        }
        let strides = sizes(node, "strides", axes, 1)?;
        let dilations = sizes(node, "dilations", axes, 1)?;
        // How far the windows reach over the padded input.
        let mut reaches = Vec::with_capacity(axes);
        for a in 0..axes {
            let span = (kernel[a] - 1).checked_mul(dilations[a]);
            let start = (y_dims[a + 2] - 1).checked_mul(strides[a]);
            let reach = span
                .zip(start)
                .and_then(|(span, start)| span.checked_add(start)?.checked_add(1));
            match reach {
                Some(reach) => reaches.push(reach),
                None => return refuse(format!("dilations = {dilations:?}")),
            }
        }
        let reach = |a: usize| reaches[a];
        let mut pads = match node.string("auto_pad", "NOTSET")? {
            "NOTSET" | "" => sizes(node, "pads", 2 * axes, 0)?,
            "VALID" => vec![0; 2 * axes],
            mode @ ("SAME_UPPER" | "SAME_LOWER") => {
                let left_out = |a: usize| x_dims[a + 2].saturating_sub(reach(a));
                if (0..axes).any(|a| left_out(a) > 1) {
                    return refuse(format!("auto_pad = {mode} with a stride beyond the kernel"));
                }
                let total = |a: usize| reach(a).saturating_sub(x_dims[a + 2]);
                let small = |a: usize| total(a) / 2;
                let large = |a: usize| total(a) - small(a);
                let (begin, end): (Vec<_>, Vec<_>) = (0..axes)
                    .map(|a| {
                        if mode == "SAME_UPPER" {
                            (small(a), large(a))
                        } else {
                            (large(a), small(a))
                        }
                    })
                    .unzip();
                begin.into_iter().chain(end).collect()
            }
            other => return refuse(format!("auto_pad = {other}")),
        };
        let mut unreached = Vec::with_capacity(axes);
        let mut overhangs = false;
        for a in 0..axes {
            let padded = x_dims[a + 2]
                .checked_add(pads[a])
                .and_then(|p| p.checked_add(pads[a + axes]));
            let Some(padded) = padded else {
                return refuse(format!("pads = {pads:?}"));
            };
            unreached.push(padded.saturating_sub(reach(a)));
            let missing = reach(a).saturating_sub(padded);
            overhangs |= missing > 0;
            pads[a + axes] += missing;
        }
        Ok(Window {
            strides,
            dilations,
            pads,
            unreached,
            overhangs,
        })
    }

    /// Attributes of the ConvTranspose that spreads an output gradient back over the input.
    pub fn transposed_attributes(&self, group: usize) -> Vec<(&'static str, Attribute)> {
        // ONNX wants the output padding below the stride; what goes beyond is taken off the end pad,
        // which may then not be negative, but padded rows that no window reaches are cut first.
        let axes = self.strides.len();
        let mut pads = self.pads.clone();
        let mut output_padding = self.unreached.clone();
        for a in 0..axes {
            let cut = pads[a + axes].min(output_padding[a]);
            pads[a + axes] -= cut;
            output_padding[a] -= cut;
        }
        vec![
            ("strides", to_i64(&self.strides).into()),
            ("dilations", to_i64(&self.dilations).into()),
            ("pads", to_i64(&pads).into()),
            ("output_padding", to_i64(&output_padding).into()),
            ("group", (group as i64).into()),
        ]
    }

    /// Whether every stride is 1.
    pub fn is_dense(&self) -> bool {
        self.strides.iter().all(|&s| s == 1)
    }

    /// Whether a map of `x_dims` with its padding, and every step of the window, are of the size of the
    /// map or of the kernel: kernels that copy padding and walk all taps then take no more than a small
    /// multiple of their tensors' memory. `kernel` is that of [`Window::of`].
    ///
    /// What real networks have is: padding is there for the kernel, and dilations keep to the map.
    pub fn is_ordinary(&self, kernel: &[usize], x_dims: &[usize]) -> bool {
        let axes = kernel.len();
        x_dims.len() == axes + 2
            && (0..axes).all(|a| {
                let x = x_dims[a + 2];
                let limit = x.max(kernel[a]).saturating_add(1).saturating_mul(2);
                let padded = x.saturating_add(self.pads[a]);
                (1..=limit).contains(&self.strides[a])
                    && (1..=limit).contains(&self.dilations[a])
                    && padded.saturating_add(self.pads[a + axes]) <= limit
            })
    }

    /// As [`Window::is_ordinary`], for a pool, whose kernel has no weights that could justify its size
    /// and no more taps than a float counts exactly.
    pub fn is_ordinary_pool(&self, kernel: &[usize], x_dims: &[usize]) -> bool {
        let mut sides = kernel.iter().zip(x_dims.iter().skip(2));
        self.is_ordinary(kernel, x_dims)
            && sides.all(|(&k, &x)| k <= x.saturating_add(1).saturating_mul(2))
            && element_count(kernel).is_some_and(|taps| taps <= 1 << f32::MANTISSA_DIGITS)
    }

    /// This window as the kernels have it, where it makes something of spatial dimensions `extent`; `None`
    /// where it is not over two axes.
    pub fn for_kernels(&self, extent: &[usize]) -> Option<dialect::Window> {
        Some(dialect::Window {
            strides: self.strides.as_slice().try_into().ok()?,
            pads: self.pads.get(..2)?.try_into().ok()?,
            dilations: self.dilations.as_slice().try_into().ok()?,
            extent: extent.try_into().ok()?,
        })
    }

    /// Whether nothing is padded.
    pub fn is_unpadded(&self) -> bool {
        self.pads.iter().all(|&p| p == 0)
    }
}

/// An attribute of `count` sizes of `least` or more, all `least` when absent.
///
/// # Errors
/// When it is of another type, or its numbers are not so many or not so large.
pub fn sizes(
    node: &Node,
    name: &str,
    count: usize,
    least: usize,
) -> Result<Vec<usize>, WindowError> {
    let Some(values) = node.ints(name)? else {
        return Ok(vec![least; count]);
    };
    let sizes: Vec<usize> = values
        .iter()
        .filter_map(|&v| usize::try_from(v).ok().filter(|&v| v >= least))
        .collect();
    if sizes.len() != count || values.len() != count {
        return Err(WindowError::Uncovered(format!("{name} = {values:?}")));
    }
    Ok(sizes)
}

/// Sizes as attributes have them.
pub fn to_i64(values: &[usize]) -> Vec<i64> {
    values.iter().map(|&v| v as i64).collect()
}
