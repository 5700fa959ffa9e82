//! The dimensions of a graph's values at two batch sizes.

use std::collections::HashMap;

use crate::graph::{Graph, GraphError, Node, Shapes};

use super::places::Place;

/// What is known of the graph's values at the batch size that it was exported for, and at another.
pub(super) struct Sizes {
    pub old: usize,
    pub new: usize,
    pub at_old: Shapes,
    pub at_new: Shapes,
    /// Elements of the batch's axis that come before the batch in it, where there are any.
    ahead: HashMap<String, usize>,
}

impl Sizes {
    pub fn new([old, new]: [usize; 2], [at_old, at_new]: [Shapes; 2]) -> Self {
        Sizes {
            old,
            new,
            at_old,
            at_new,
            ahead: HashMap::new(),
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

    /// Whether what a node reads grows with the batch and what it gives does not, sizes that it asks for
    /// apart.
    pub fn loses_batch(&self, node: &Node) -> bool {
        let reads = node.present_inputs().any(|name| self.follows(name));
        let gives = node.present_outputs().any(|name| self.follows(name));
        reads && !gives && !matches!(node.op_type.as_str(), "Shape" | "Size")
    }

    /// Where the batch is in a value: in the one axis that grows as it does.
    pub fn place(&self, name: &str) -> Option<Place> {
        let (before, after) = self.dims(name).ok()?;
        if before.len() != after.len() {
            return None;
        }
        let mut grown = (0..before.len()).filter(|&axis| before[axis] != after[axis]);
        let (axis, None) = (grown.next()?, grown.next()) else {
            return None;
        };
        let [was, is] = [before[axis] as u128, after[axis] as u128];
        let ahead = self.ahead.get(name).copied().unwrap_or(1);
        (was * self.new as u128 == is * self.old as u128).then_some(Place { axis, ahead })
    }

    /// Takes note of what comes before the batch in its axis.
    pub fn set_ahead(&mut self, name: String, ahead: usize) {
        if ahead != 1 {
            self.ahead.insert(name, ahead);
        }
    }

    /// Other nodes than `Reshape` leave the batch where it is in its axis.
    pub fn carry(&mut self, node: &Node) {
        if node.is("Reshape") {
            return;
        }
        let read = node.present_inputs().find_map(|name| self.ahead.get(name));
        if let Some(&ahead) = read {
            for name in node.present_outputs() {
                self.ahead.insert(name.to_owned(), ahead);
            }
        }
    }
}
