//! What is known of a graph's values at two batch sizes.

use std::collections::HashMap;

use crate::graph::{Graph, GraphError, Node, Shapes};
use crate::onnx::Tensor;

use super::places::Place;

/// What is known of the graph's values at the batch size that it was exported for, and at another.
pub(super) struct Sizes {
    pub old: usize,
    pub new: usize,
    pub at_old: Shapes,
    pub at_new: Shapes,
    /// Where the batch is in the values that have a part for each sample.
    places: HashMap<String, Place>,
}

/// What a value has to do with the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// It is the same for every sample and every batch size, as a weight.
    Fixed,
    /// It has a part for each sample, which lies there.
    Batched(Place),
    /// It depends on the batch size, as what was asked of a shape.
    Varying,
}

impl Sizes {
    pub fn new([old, new]: [usize; 2], [at_old, at_new]: [Shapes; 2]) -> Self {
        Sizes {
            old,
            new,
            at_old,
            at_new,
            places: HashMap::new(),
        }
    }

    /// Dimensions at both batch sizes.
    pub fn dims(&self, name: &str) -> Result<(&[usize], &[usize]), GraphError> {
        Ok((self.at_old.dims(name)?, self.at_new.dims(name)?))
    }

    /// Whether a value's dimensions depend on the batch size.
    pub fn follows(&self, name: &str) -> bool {
        self.dims(name).is_ok_and(|(before, after)| before != after)
    }

    /// Whether a value follows from shapes and integers, at both batch sizes.
    pub fn is_known(&self, name: &str) -> bool {
        self.at_old.constant(name).is_some() && self.at_new.constant(name).is_some()
    }

    /// Integers that are known before the graph runs and are the same at any batch size.
    pub fn fixed_ints(&self, name: &str) -> Option<Vec<i64>> {
        let value = self.at_old.constant(name)?;
        (self.at_new.constant(name) == Some(value)).then(|| value.to_i64())?
    }

    /// Takes note of constants that were made for a node.
    pub fn learn_constants(&mut self, graph: &Graph, node: &Node) {
        for name in node.present_inputs() {
            if let Some(tensor) = graph.initializers.get(name)
                && self.at_new.info(name).is_err()
            {
                self.at_old.insert_constant(name, tensor.clone());
                self.at_new.insert_constant(name, tensor.clone());
            }
        }
    }

    /// What a value has to do with the batch.
    pub fn value(&self, name: &str) -> Value {
        if let Some(&place) = self.places.get(name) {
            return Value::Batched(place);
        }
        let constants = (self.at_old.constant(name), self.at_new.constant(name));
        if !self.follows(name) && constants.0 == constants.1 {
            return Value::Fixed;
        }
        // As many equal numbers as there are samples, and nothing else.
        match (constants, self.grown(name)) {
            ((Some(before), Some(after)), Some(place))
                if self.is_batch(name, place.axis) && is_uniform(before, after) =>
            {
                Value::Batched(place)
            }
            _ => Value::Varying,
        }
    }

    /// Where the batch is in a value.
    pub fn place(&self, name: &str) -> Option<Place> {
        self.places.get(name).copied()
    }

    pub fn set_place(&mut self, name: &str, place: Place) {
        self.places.insert(name.to_owned(), place);
    }

    /// The one axis that grows as the batch does, taken to have nothing ahead of the batch.
    pub fn grown(&self, name: &str) -> Option<Place> {
        let (before, after) = self.dims(name).ok()?;
        if before.len() != after.len() {
            return None;
        }
        let mut grown = (0..before.len()).filter(|&axis| before[axis] != after[axis]);
        let (axis, None) = (grown.next()?, grown.next()) else {
            return None;
        };
        let [was, is] = [before[axis] as u128, after[axis] as u128];
        (was * self.new as u128 == is * self.old as u128).then_some(Place { axis, ahead: 1 })
    }

    /// Whether an axis has an element for each sample.
    pub fn is_batch(&self, name: &str, axis: usize) -> bool {
        self.dims(name).is_ok_and(|(before, after)| {
            before.get(axis) == Some(&self.old) && after.get(axis) == Some(&self.new)
        })
    }
}

/// Whether all elements of both tensors are one and the same.
fn is_uniform(before: &Tensor, after: &Tensor) -> bool {
    let size = before.dtype.size();
    let Some(first) = before.data.get(..size) else {
        return false;
    };
    let mut elements = before.data.chunks(size).chain(after.data.chunks(size));
    before.dtype == after.dtype && elements.all(|e| e == first)
}
