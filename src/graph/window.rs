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

/// How a map is padded before windows slide over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Padding {
    /// By so many zeros: begins of all axes, then ends, as ONNX orders them.
    Explicit(Vec<usize>),
    /// So that every stride of the map has its window.
    Same {
        /// Whether the end gets the odd zero.
        upper: bool,
    },
}

/// What the attributes of a convolution or a pool, of canonical opset, say.
/// Source: <https://onnx.ai/onnx/operators/onnx__Conv.html> and those of ConvTranspose and the pools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowAttributes {
    /// Taps per axis, where it is said; the weight of a convolution tells, too.
    pub kernel: Option<Vec<usize>>,
    /// Steps of the window, per axis.
    pub strides: Vec<usize>,
    /// Distances of its taps, per axis.
    pub dilations: Vec<usize>,
    /// How the map is padded.
    pub padding: Padding,
    /// Rows that a transposed convolution adds at the end of each axis.
    pub output_padding: Vec<usize>,
    /// Sizes of the output of a transposed convolution per axis, where they are said.
    pub output_shape: Option<Vec<usize>>,
    /// Whether a last, partial window counts.
    pub ceil: bool,
    /// Groups of channels.
    pub group: usize,
}

impl WindowAttributes {
    /// Reads those of `node` over so many spatial axes.
    ///
    /// # Errors
    /// When an attribute is of another type than ONNX gives it, negative, not known or of another length, or
    /// a tap, stride, dilation or group is 0.
    pub fn read(node: &Node, axes: usize) -> Result<Self, WindowError> {
        let padding = match node.string("auto_pad", "NOTSET")? {
            "NOTSET" | "" => Padding::Explicit(sizes(node, "pads", 2 * axes, 0)?),
            "VALID" => Padding::Explicit(vec![0; 2 * axes]),
            "SAME_UPPER" => Padding::Same { upper: true },
            "SAME_LOWER" => Padding::Same { upper: false },
            other => return Err(WindowError::Uncovered(format!("auto_pad = {other}"))),
        };
        let kernel = match node.ints("kernel_shape")? {
            Some(_) => Some(sizes(node, "kernel_shape", axes, 1)?),
            None => None,
        };
        let output_shape = match node.ints("output_shape")? {
            None | Some([]) => None,
            // Some writers give the batch and channel dimensions too.
            Some(given) if given.len() == axes + 2 => {
                Some(sizes_of("output_shape", &given[2..], axes, 1)?)
            }
            Some(given) => Some(sizes_of("output_shape", given, axes, 1)?),
        };
        let group = node.int("group", 1)?;
        let groups = usize::try_from(group).ok().filter(|&g| g > 0);
        Ok(WindowAttributes {
            kernel,
            strides: sizes(node, "strides", axes, 1)?,
            dilations: sizes(node, "dilations", axes, 1)?,
            padding,
            output_padding: sizes(node, "output_padding", axes, 0)?,
            output_shape,
            ceil: node.int("ceil_mode", 0)? != 0,
            group: groups.ok_or_else(|| WindowError::Uncovered(format!("group = {group}")))?,
        })
    }
}

/// Strides, dilations and pads of a sliding window over the spatial axes, with the output padding
/// that makes its transpose come out at the input's size.
#[derive(Clone, Debug)]
pub struct Window {
    /// Taps per axis.
    pub kernel: Vec<usize>,
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
    /// Whether `pads` follow from the size of the map (SAME_…).
    pub same: bool,
    /// Groups of channels.
    pub group: usize,
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
        let said = WindowAttributes::read(node, kernel.len())?;
        Window::said(node, said, kernel.to_vec(), x_dims, y_dims)
    }

    /// As [`Window::of`], of a pool: with the kernel that its attributes tell.
    ///
    /// # Errors
    /// As for [`Window::of`], and without a kernel.
    pub fn of_pool(node: &Node, x_dims: &[usize], y_dims: &[usize]) -> Result<Self, WindowError> {
        let mut said = WindowAttributes::read(node, x_dims.len().saturating_sub(2))?;
        match said.kernel.take() {
            Some(kernel) => Window::said(node, said, kernel, x_dims, y_dims),
            None => Err(WindowError::Uncovered("no kernel_shape".to_owned())),
        }
    }

    fn said(
        node: &Node,
        said: WindowAttributes,
        kernel: Vec<usize>,
        x_dims: &[usize],
        y_dims: &[usize],
    ) -> Result<Self, WindowError> {
        let refuse = |reason: String| Err(WindowError::Uncovered(reason));
        let axes = kernel.len();
        if [&kernel[..], x_dims, y_dims].iter().any(|d| d.contains(&0)) {
            return refuse("an empty input, kernel or output".to_owned());
        }
        if x_dims.len() != axes + 2 || y_dims.len() != axes + 2 {
            return Err(node
                .error("ranks of input, kernel and output do not fit")
                .into());
        }
        let WindowAttributes {
            strides,
            dilations,
            padding,
            group,
            ..
        } = said;
        let same = matches!(padding, Padding::Same { .. });
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
        let mut pads = match padding {
            Padding::Explicit(pads) => pads,
            Padding::Same { upper } => {
                let left_out = |a: usize| x_dims[a + 2].saturating_sub(reach(a));
                if (0..axes).any(|a| left_out(a) > 1) {
                    return refuse("auto_pad = SAME_… with a stride beyond the kernel".to_owned());
                }
                let total = |a: usize| reach(a).saturating_sub(x_dims[a + 2]);
                let small = |a: usize| total(a) / 2;
                let large = |a: usize| total(a) - small(a);
                let (begin, end): (Vec<_>, Vec<_>) = (0..axes)
                    .map(|a| match upper {
                        true => (small(a), large(a)),
                        false => (large(a), small(a)),
                    })
                    .unzip();
                begin.into_iter().chain(end).collect()
            }
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
            kernel,
            strides,
            dilations,
            pads,
            unreached,
            overhangs,
            same,
            group,
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

    /// This window of a convolution over a map of `x_dims` as the kernels have it, where it makes something of
    /// spatial dimensions `extent`; `None` where it is not for them: not over two axes, or not ordinary.
    pub fn conv_kernel(&self, x_dims: &[usize], extent: &[usize]) -> Option<dialect::ConvWindow> {
        let window = self
            .kernel_window(extent)
            .filter(|_| self.is_ordinary(x_dims))?;
        let group = self.group;
        Some(dialect::ConvWindow { window, group })
    }

    /// As [`Window::conv_kernel`], of a pool to `y_dims`, whose kernel has no weights that could justify its
    /// size; it has no more taps than a float counts exactly.
    pub fn pool_kernel(&self, x_dims: &[usize], y_dims: &[usize]) -> Option<dialect::PoolWindow> {
        let is_ordinary = self.is_ordinary(x_dims)
            && self.has_small_kernel(x_dims)
            && element_count(&self.kernel).is_some_and(|taps| taps <= 1 << f32::MANTISSA_DIGITS);
        let window = self
            .kernel_window(y_dims.get(2..)?)
            .filter(|_| is_ordinary)?;
        let kernel = self.kernel.as_slice().try_into().ok()?;
        Some(dialect::PoolWindow { window, kernel })
    }

    /// Whether no side of the kernel is much larger than that of a map of `x_dims`.
    pub fn has_small_kernel(&self, x_dims: &[usize]) -> bool {
        let mut sides = self.kernel.iter().zip(x_dims.iter().skip(2));
        sides.all(|(&k, &x)| k <= x.saturating_add(1).saturating_mul(2))
    }

    fn kernel_window(&self, extent: &[usize]) -> Option<dialect::Window> {
        Some(dialect::Window {
            strides: self.strides.as_slice().try_into().ok()?,
            pads: self.pads.get(..2)?.try_into().ok()?,
            dilations: self.dilations.as_slice().try_into().ok()?,
            extent: extent.try_into().ok()?,
        })
    }

    /// Whether a map of `x_dims` with its padding, and every step of the window, are of the size of the
    /// map or of the kernel: kernels that copy padding and walk all taps then take no more than a small
    /// multiple of their tensors' memory.
    ///
    /// What real networks have is: padding is there for the kernel, and dilations keep to the map.
    fn is_ordinary(&self, x_dims: &[usize]) -> bool {
        let axes = self.kernel.len();
        x_dims.len() == axes + 2
            && (0..axes).all(|a| {
                let x = x_dims[a + 2];
                let limit = x.max(self.kernel[a]).saturating_add(1).saturating_mul(2);
                let padded = x.saturating_add(self.pads[a]);
                (1..=limit).contains(&self.strides[a])
                    && (1..=limit).contains(&self.dilations[a])
                    && padded.saturating_add(self.pads[a + axes]) <= limit
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
fn sizes(node: &Node, name: &str, count: usize, least: usize) -> Result<Vec<usize>, WindowError> {
    match node.ints(name)? {
        None => Ok(vec![least; count]),
        Some(values) => sizes_of(name, values, count, least),
    }
}

/// `count` sizes of `least` or more.
fn sizes_of(
    name: &str,
    values: &[i64],
    count: usize,
    least: usize,
) -> Result<Vec<usize>, WindowError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn conv() -> Node {
        Node::new("y", "Conv", &["x", "w"], &["y"])
    }

    #[test]
    fn attributes_that_a_node_has_not_are_those_of_the_standard() {
        let said = WindowAttributes::read(&conv(), 2).unwrap();
        let expected = WindowAttributes {
            kernel: None,
            strides: vec![1, 1],
            dilations: vec![1, 1],
            padding: Padding::Explicit(vec![0; 4]),
            output_padding: vec![0, 0],
            output_shape: None,
            ceil: false,
            group: 1,
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn padding_is_told_by_auto_pad_before_pads() {
        let padding = |mode: &str| {
            let node = conv().with("auto_pad", mode).with("pads", vec![1i64, 2]);
            WindowAttributes::read(&node, 1).unwrap().padding
        };
        assert_eq!(padding("NOTSET"), Padding::Explicit(vec![1, 2]));
        assert_eq!(padding("VALID"), Padding::Explicit(vec![0, 0]));
        assert_eq!(padding("SAME_UPPER"), Padding::Same { upper: true });
        assert_eq!(padding("SAME_LOWER"), Padding::Same { upper: false });
    }

    #[test]
    fn what_is_no_window_is_refused_by_its_attribute() {
        for (name, value) in [
            ("strides", vec![0i64, 1].into()),
            ("dilations", vec![1i64].into()),
            ("pads", vec![0i64, 0, -1, 0].into()),
            ("kernel_shape", vec![3i64, 0].into()),
            ("output_padding", vec![-1i64, 0].into()),
            ("output_shape", vec![5i64, 0].into()),
            ("group", 0i64.into()),
            ("auto_pad", Attribute::from("SAME")),
        ] {
            let node = conv().with(name, value);
            match WindowAttributes::read(&node, 2) {
                Err(WindowError::Uncovered(reason)) => assert!(reason.starts_with(name)),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
