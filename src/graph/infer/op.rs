//! What a shape rule sees of its node: input types, dimensions, known values and attributes.

use crate::graph::{Graph, GraphError, Node, Shapes, TensorInfo};
use crate::onnx::{DataType, Tensor};

/// Types and dimensions of a node's outputs, in order.
pub(in crate::graph) type Inferred = Result<Vec<TensorInfo>, GraphError>;

/// A node among what is known of its inputs.
pub(in crate::graph) struct Op<'a> {
    pub node: &'a Node,
    pub graph: &'a Graph,
    pub shapes: &'a Shapes,
}

impl<'a> Op<'a> {
    pub fn error(&self, reason: impl Into<String>) -> GraphError {
        self.node.error(reason)
    }

    /// Type and dimensions of input `index`; an error when it is absent.
    pub fn info(&self, index: usize) -> Result<&'a TensorInfo, GraphError> {
        self.optional(index)?
            .ok_or_else(|| self.error(format!("input {index} is missing")))
    }

    /// Type and dimensions of input `index`, `None` when it is absent.
    pub fn optional(&self, index: usize) -> Result<Option<&'a TensorInfo>, GraphError> {
        match self.node.input(index) {
            None => Ok(None),
            Some(name) => match self.shapes.info(name) {
                Ok(info) => Ok(Some(info)),
                Err(_) => Err(self.error(format!("the shape of its input `{name}` is not known"))),
            },
        }
    }

    pub fn dims(&self, index: usize) -> Result<&'a [usize], GraphError> {
        Ok(&self.info(index)?.dims)
    }

    pub fn dtype(&self, index: usize) -> Result<DataType, GraphError> {
        Ok(self.info(index)?.dtype)
    }

    /// Value of input `index` where it is known: computed from shapes, or an initializer.
    pub fn known(&self, index: usize) -> Option<&'a Tensor> {
        let name = self.node.input(index)?;
        self.shapes
            .constant(name)
            .or_else(|| self.graph.initializers.get(name))
    }

    /// Integers of input `index`: `None` when absent, an error when not known or not integers.
    pub fn int_input(&self, index: usize) -> Result<Option<Vec<i64>>, GraphError> {
        let Some(name) = self.node.input(index) else {
            return Ok(None);
        };
        let values = self.known(index).ok_or_else(|| {
            self.error(format!(
                "its input `{name}` is computed at run time; the output's shape depends on it"
            ))
        })?;
        values
            .to_i64()
            .map(Some)
            .ok_or_else(|| self.error(format!("its input `{name}` does not hold integers")))
    }

    /// As [`Op::int_input`], with an absent input an error.
    pub fn required_ints(&self, index: usize) -> Result<Vec<i64>, GraphError> {
        self.int_input(index)?
            .ok_or_else(|| self.error(format!("input {index} is missing")))
    }

    /// A possibly negative axis of a value of `rank` dimensions.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize, GraphError> {
        let absolute = if axis < 0 {
            i128::from(axis) + rank as i128
        } else {
            i128::from(axis)
        };
        usize::try_from(absolute)
            .ok()
            .filter(|&a| a < rank)
            .ok_or_else(|| self.error(format!("axis {axis} is outside of {rank} dimensions")))
    }

    /// Several axes, in the order given; one named twice is an error.
    pub fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>, GraphError> {
        let mut seen = vec![false; rank];
        axes.iter()
            .map(|&axis| {
                let axis = self.axis(axis, rank)?;
                if std::mem::replace(&mut seen[axis], true) {
                    return Err(self.error(format!("axis {axis} is given twice")));
                }
                Ok(axis)
            })
            .collect()
    }

    /// A computed dimension as a size.
    pub fn size(&self, dimension: i128) -> Result<usize, GraphError> {
        usize::try_from(dimension)
            .ok()
            .filter(|&d| d <= isize::MAX as usize)
            .ok_or_else(|| self.error(format!("an output dimension would be {dimension}")))
    }

    /// The product of dimensions.
    pub fn product(&self, dims: &[usize]) -> Result<usize, GraphError> {
        crate::onnx::element_count(dims)
            .ok_or_else(|| self.error(format!("dimensions {dims:?} are too large")))
    }

    /// A value of at least `rank` dimensions.
    pub fn dims_at_least(&self, index: usize, rank: usize) -> Result<&'a [usize], GraphError> {
        let dims = self.dims(index)?;
        if dims.len() < rank {
            return Err(self.error(format!(
                "input {index} has dimensions {dims:?}; at least {rank} are needed"
            )));
        }
        Ok(dims)
    }

    /// A result of one output.
    pub fn one(dtype: DataType, dims: Vec<usize>) -> Inferred {
        Ok(vec![TensorInfo { dtype, dims }])
    }

    /// One output like input 0.
    pub fn same(&self) -> Inferred {
        Ok(vec![self.info(0)?.clone()])
    }
}
