//! Element types and dimensions of every value of a graph, for fixed input dimensions.

use std::collections::{HashMap, HashSet};

use crate::onnx::{DataType, Tensor};

use super::GraphError;

/// Element type and dimensions of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Element type.
    pub dtype: DataType,
    /// Dimensions; empty for a scalar.
    pub dims: Vec<usize>,
}

/// What is known of every value of a graph: its type and dimensions, and for small values that depend
/// on shapes and constants alone (`Shape`–`Gather`–`Concat` paths) the value itself.
#[derive(Clone, Debug, Default)]
pub struct Shapes {
    infos: HashMap<String, TensorInfo>,
    constants: HashMap<String, Tensor>,
    /// Known floats that a float initializer, which may be trained, had a part in.
    of_floats: HashSet<String>,
}

impl Shapes {
    /// Type and dimensions of a value.
    ///
    /// # Errors
    /// When the value is unknown.
    pub fn info(&self, value: &str) -> Result<&TensorInfo, GraphError> {
        self.infos
            .get(value)
            .ok_or_else(|| GraphError::Unsupported(format!("the shape of `{value}` is not known")))
    }

    /// Dimensions of a value.
    ///
    /// # Errors
    /// When the value is unknown.
    pub fn dims(&self, value: &str) -> Result<&[usize], GraphError> {
        Ok(&self.info(value)?.dims)
    }

    /// The value itself, where it is known before the graph runs.
    pub fn constant(&self, value: &str) -> Option<&Tensor> {
        self.constants.get(value)
    }

    /// Whether a known value is float and came of float initializers: it changes where one of them is
    /// trained.
    pub fn is_of_floats(&self, value: &str) -> bool {
        self.of_floats.contains(value)
    }

    /// Records that a known value is float and came of float initializers.
    pub fn note_of_floats(&mut self, value: &str) {
        self.of_floats.insert(value.to_owned());
    }

    /// Records the type and dimensions of a value.
    pub fn insert(&mut self, value: &str, dtype: DataType, dims: &[usize]) {
        let dims = dims.to_vec();
        self.infos
            .insert(value.to_owned(), TensorInfo { dtype, dims });
    }

    /// Records a value that is known before the graph runs.
    pub fn insert_constant(&mut self, value: &str, tensor: Tensor) {
        self.insert(value, tensor.dtype, &tensor.dims.clone());
        self.constants.insert(value.to_owned(), tensor);
    }
}
