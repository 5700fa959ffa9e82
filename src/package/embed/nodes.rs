//! Nodes and constants that go into a model, under names that it does not have.

use crate::graph::{Attribute, Names, Node};
use crate::onnx::Tensor;

/// What the names of all that is added begin with.
const PREFIX: &str = "ftsurgery/pixels/";

/// Nodes for a model of an opset, each behind those whose outputs it reads.
pub(super) struct Nodes {
    pub opset: i64,
    names: Names,
    pub nodes: Vec<Node>,
    pub tensors: Vec<(String, Tensor)>,
}

impl Nodes {
    pub fn new(opset: i64, names: Names) -> Self {
        Nodes {
            opset,
            names,
            nodes: Vec::new(),
            tensors: Vec::new(),
        }
    }

    /// Adds a node of one output, and gives its name.
    pub fn with(
        &mut self,
        hint: &str,
        op_type: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> String {
        let output = self.names.fresh(&format!("{PREFIX}{hint}"));
        let mut node = Node::new(&output, op_type, inputs, &[&output]);
        for (name, value) in attributes {
            node = node.with(name, value.clone());
        }
        self.nodes.push(node);
        output
    }

    /// As [`Nodes::with`], without attributes.
    pub fn op(&mut self, hint: &str, op_type: &str, inputs: &[&str]) -> String {
        self.with(hint, op_type, inputs, &[])
    }

    /// A constant; equal ones are one.
    pub fn constant(&mut self, tensor: Tensor) -> String {
        if let Some((name, _)) = self.tensors.iter().find(|(_, other)| *other == tensor) {
            return name.clone();
        }
        let name = self.names.fresh(&format!("{PREFIX}constant"));
        self.tensors.push((name.clone(), tensor));
        name
    }

    /// A float32 scalar.
    pub fn number(&mut self, value: f32) -> String {
        self.constant(Tensor::scalar_f32(value))
    }

    /// An int64 scalar.
    pub fn whole(&mut self, value: usize) -> String {
        self.constant(Tensor::scalar_i64(value as i64))
    }

    pub fn cast(&mut self, hint: &str, value: &str, to: crate::onnx::DataType) -> String {
        self.with(hint, "Cast", &[value], &[("to", Attribute::Int(to as i64))])
    }

    /// The sum along an axis, which stays with the size 1.
    pub fn sum(&mut self, hint: &str, value: &str, axis: i64) -> String {
        // The axes are an input from opset 13 on.
        if self.opset < 13 {
            return self.with(hint, "ReduceSum", &[value], &[("axes", vec![axis].into())]);
        }
        let axes = self.constant(Tensor::i64s(&[axis]));
        self.op(hint, "ReduceSum", &[value, &axes])
    }

    /// The nearest whole number, halves upwards.
    pub fn rounded(&mut self, hint: &str, value: &str) -> String {
        let half = self.number(0.5);
        let raised = self.op(hint, "Add", &[value, &half]);
        self.op(hint, "Floor", &[&raised])
    }
}
