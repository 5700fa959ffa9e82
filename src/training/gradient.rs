//! How a step gives gradients to the optimizer.

use std::ops::Range;

use crate::graph::{Builder, Graph, Node, Value};
use crate::kernels::dialect::Kernel;
use crate::kernels::gemm_weight_gradient_rows;
use crate::onnx::DataType;
use crate::runtime::{Buffer, RuntimeError};

use super::program::Port;

/// What a step puts out for the gradient of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum GradientOutput {
    /// The gradient, with the parameter's dimensions.
    Whole(Port),
    /// Its factors A `[rows, depth]` and dY `[rows, width]`, of which it is AᵀdY. For the few rows of a
    /// batch they are far smaller; the optimizer multiplies them where it needs the product.
    Factors([Port; 2]),
}

impl GradientOutput {
    /// The output `name` of `graph`, a gradient with the parameter's `dims`. Where it is such a product
    /// and nothing else reads it, the graph is made to put out its factors instead.
    pub(super) fn of(graph: &mut Graph, name: &str, dims: &[usize]) -> Self {
        Self::factored(graph, name, dims).unwrap_or_else(|| {
            Self::Whole(Port {
                name: name.to_owned(),
                dims: dims.to_vec(),
            })
        })
    }

    fn factored(graph: &mut Graph, name: &str, dims: &[usize]) -> Option<Self> {
        let &[depth, width] = dims else { return None };
        let made = |node: &Node| node.output(0) == Some(name);
        let index = graph.nodes.iter().position(made)?;
        let node = &graph.nodes[index];
        let Ok(Some(Kernel::GemmWeightGradient { rows })) = node.kernel() else {
            return None;
        };
        let only = !graph
            .nodes
            .iter()
            .any(|n| n.present_inputs().any(|input| input == name))
            && graph.outputs.iter().filter(|v| v.name == name).count() == 1;
        if !only {
            return None;
        }
        let inputs = node.inputs.clone();
        let mut builder = Builder::new(graph);
        let factors = [("a", depth), ("dy", width)].map(|(factor, columns)| Port {
            name: builder.fresh(&format!("{name}/{factor}")),
            dims: vec![rows, columns],
        });
        graph.nodes.remove(index);
        graph.outputs.retain(|v| v.name != name);
        // A factor may be an input of the graph, or belong to another product, too.
        for (input, Port { name, dims }) in inputs.iter().zip(&factors) {
            let node = Node::new(name, "Identity", &[input], &[name]);
            graph.nodes.insert(index, node);
            let value = Value::fixed(name, DataType::Float, dims);
            graph.outputs.push(value);
        }
        Some(Self::Factors(factors))
    }

    /// The graph's outputs of it.
    pub(crate) fn ports(&self) -> &[Port] {
        match self {
            Self::Whole(port) => std::slice::from_ref(port),
            Self::Factors(ports) => ports,
        }
    }

    /// Buffers for the graph's outputs of it.
    ///
    /// # Errors
    /// When there is no memory.
    pub(super) fn buffers(&self) -> Result<GradientBuffers, RuntimeError> {
        let zeros = |port: &Port| Buffer::zeros_f32(&port.dims);
        Ok(match self {
            Self::Whole(port) => GradientBuffers::Whole(zeros(port)?),
            Self::Factors([a, dy]) => GradientBuffers::Factors([zeros(a)?, zeros(dy)?]),
        })
    }

    /// The names of the graph's outputs, each with the buffer for it.
    pub(super) fn bound<'a>(
        &'a self,
        buffers: &'a GradientBuffers,
    ) -> impl Iterator<Item = (&'a str, &'a Buffer)> {
        let names = self.ports().iter().map(|port| port.name.as_str());
        names.zip(match buffers {
            GradientBuffers::Whole(buffer) => std::slice::from_ref(buffer),
            GradientBuffers::Factors(buffers) => buffers,
        })
    }
}

/// Where a session puts a [`GradientOutput`].
#[derive(Debug)]
pub(super) enum GradientBuffers {
    Whole(Buffer),
    Factors([Buffer; 2]),
}

impl GradientBuffers {
    /// Calls `visit` with the gradient of the last run.
    ///
    /// # Errors
    /// When a buffer is in use.
    pub fn read<T>(&self, visit: impl FnOnce(GradientValues<'_>) -> T) -> Result<T, RuntimeError> {
        Ok(match self {
            Self::Whole(buffer) => visit(GradientValues::Whole(&buffer.as_f32()?)),
            Self::Factors([a, dy]) => {
                let dims = [a.dims()[0], a.dims()[1], dy.dims()[1]];
                let (a, dy) = (&a.as_f32()?, &dy.as_f32()?);
                visit(GradientValues::Factors { a, dy, dims })
            }
        })
    }
}

/// A gradient as an optimizer reads it.
#[derive(Clone, Copy, Debug)]
pub enum GradientValues<'a> {
    /// All its values.
    Whole(&'a [f32]),
    /// Its factors A `[rows, depth]` and dY `[rows, width]`: the gradient is AᵀdY.
    Factors {
        /// A.
        a: &'a [f32],
        /// dY.
        dy: &'a [f32],
        /// rows, depth and width.
        dims: [usize; 3],
    },
}

/// Floats of a product that are made at a time, so that they stay in the first cache.
const PIECE: usize = 2048;

impl GradientValues<'_> {
    /// The elements that cannot be had apart: a row of a product.
    fn unit(self) -> usize {
        match self {
            Self::Whole(_) => 1,
            Self::Factors { dims, .. } => dims[2].max(1),
        }
    }

    /// Where the gradient of `len` elements is best cut to `parts` parts.
    pub(super) fn parts(self, len: usize, parts: usize) -> impl Iterator<Item = Range<usize>> {
        let (unit, units) = (self.unit(), len / self.unit());
        (0..parts).map(move |i| i * units / parts * unit..(i + 1) * units / parts * unit)
    }

    /// Calls `visit` with all elements of one of the [`parts`](Self::parts), piece by piece and in
    /// order; `visit` gets where a piece begins.
    pub(super) fn pieces(self, part: Range<usize>, mut visit: impl FnMut(usize, &[f32])) {
        match self {
            Self::Whole(values) => visit(part.start, &values[part]),
            Self::Factors { a, dy, dims } => {
                let width = self.unit();
                let mut piece = vec![0.0; (PIECE / width).max(1) * width];
                for start in part.clone().step_by(piece.len()) {
                    let len = piece.len().min(part.end - start);
                    gemm_weight_gradient_rows(dims, start / width, a, dy, &mut piece[..len]);
                    visit(start, &piece[..len]);
                }
            }
        }
    }

    /// All elements.
    pub(super) fn to_vec(self) -> Vec<f32> {
        match self {
            Self::Whole(values) => values.to_vec(),
            Self::Factors { dims, .. } => {
                let mut values = Vec::with_capacity(dims[1] * dims[2]);
                let all = 0..dims[1] * dims[2];
                self.pieces(all, |_, piece| values.extend_from_slice(piece));
                values
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A graph that puts out the gradient `g` of a parameter, a product of three rows.
    fn graph() -> Graph {
        let kernel = Kernel::GemmWeightGradient { rows: 3 };
        let product = Node::of_kernel("g", &kernel, &["x", "dy"], &["g"]);
        let value = |name, dims: &[usize]| Value::fixed(name, DataType::Float, dims);
        Graph {
            domains: vec![(crate::kernels::dialect::DOMAIN.to_owned(), 1)],
            nodes: vec![product],
            inputs: vec![value("x", &[3, 5]), value("dy", &[3, 4])],
            outputs: vec![value("g", &[5, 4])],
            ..Graph::new(21)
        }
    }

    #[test]
    fn a_product_is_put_out_as_its_factors_unless_it_is_read_elsewhere() {
        let mut one = graph();
        let factors = GradientOutput::of(&mut one, "g", &[5, 4]);
        let dims: Vec<&[usize]> = factors.ports().iter().map(|p| &*p.dims).collect();
        assert_eq!(dims, [[3, 5], [3, 4]]);
        assert_eq!(one.outputs.len(), 2);
        one.sort().unwrap();
        assert!(one.nodes.iter().all(|n| n.is("Identity")));

        let mut read = graph();
        read.nodes.push(Node::new("r", "Neg", &["g"], &["r"]));
        let mut twice = graph();
        twice.outputs.push(twice.outputs[0].clone());
        let mut other = graph();
        other.nodes[0] = Node::new("g", "MatMul", &["x", "dy"], &["g"]);
        for mut graph in [read, twice, other] {
            let before = graph.nodes.len();
            let whole = GradientOutput::of(&mut graph, "g", &[5, 4]);
            assert!(matches!(whole, GradientOutput::Whole(_)));
            assert_eq!(graph.nodes.len(), before);
        }
    }

    #[test]
    fn pieces_of_a_product_cover_it_in_order() {
        let dims @ [rows, depth, width] = [2, 7, 1000];
        let a: Vec<f32> = (0..rows * depth).map(|i| i as f32).collect();
        let dy = vec![1.0; rows * width];
        let factors = GradientValues::Factors {
            a: &a,
            dy: &dy,
            dims,
        };
        let values = factors.to_vec();
        assert_eq!(values.len(), depth * width);
        for (row, values) in values.chunks(width).enumerate() {
            // Aᵀ · 1: the sum of A's column.
            assert!(values.iter().all(|&v| v == (row + row + depth) as f32));
        }
        let parts: Vec<_> = factors.parts(values.len(), 3).collect();
        assert_eq!(parts, [0..2000, 2000..4000, 4000..7000]);
    }
}
