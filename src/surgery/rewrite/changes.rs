//! The changes that a rewrite comes to, as values that an editor makes.

use std::collections::HashSet;

use crate::graph::Node;
use crate::onnx::{DataType, Tensor};

use super::super::SurgeryError;
use super::super::edit::Editor;

/// How noise is distributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Uniform in [0, 1).
    Uniform,
    /// Standard Gumbel: −ln(−ln u) of a uniform u.
    Gumbel,
}

/// Random numbers that a step reads, drawn anew for every sample and step.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    /// Name of the value, float32 `[N, dims…]` in a step and `[1, dims…]` in a model as it is evaluated.
    pub name: String,
    /// Its dimensions for one sample.
    pub dims: Vec<usize>,
    /// How it is distributed.
    pub distribution: Distribution,
    /// Its value, everywhere, where nothing is drawn.
    pub rest: f32,
}

/// A value that is added to the loss.
#[derive(Clone, Debug, PartialEq)]
pub struct Penalty {
    /// Name of the value, of one element.
    pub value: String,
    /// What it is multiplied by.
    pub weight: f32,
}

/// Nodes behind a value, and what is read in its place.
#[derive(Clone, Debug)]
pub(super) struct Splice {
    pub value: String,
    pub nodes: Vec<Node>,
    pub instead: String,
}

/// All that a rewrite changes in a model, and what training is to know of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    /// Added initializers.
    pub tensors: Vec<(String, Tensor)>,
    pub splices: Vec<Splice>,
    /// Those of the initializers that can be trained.
    pub parameters: Vec<String>,
    /// Those of these that begin as a copy of a tensor, with its name.
    pub copies: Vec<(String, String)>,
    pub noise: Vec<Noise>,
    pub penalties: Vec<Penalty>,
    pub constants: Vec<String>,
}

impl Changes {
    /// Adds an initializer of these values and gives its name back.
    pub fn tensor(
        &mut self,
        name: String,
        dtype: DataType,
        dims: &[usize],
        values: &[f32],
    ) -> Result<String, SurgeryError> {
        let like = Tensor {
            dtype,
            dims: dims.to_vec(),
            data: vec![0; values.len() * dtype.size()].into(),
        };
        let tensor = like.with_f32_values(values);
        let tensor = tensor.ok_or_else(|| SurgeryError::NotFloat {
            tensor: name.clone(),
            dtype,
        })?;
        self.tensors.push((name.clone(), tensor));
        Ok(name)
    }

    /// Adds an initializer of whole numbers, int64 of one dimension, and gives its name back.
    pub fn ints(&mut self, name: String, values: &[i64]) -> String {
        let tensor = Tensor {
            dtype: DataType::Int64,
            dims: vec![values.len()],
            data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        self.tensors.push((name.clone(), tensor));
        name
    }

    /// Adds an initializer that can be trained, and gives its name back.
    pub fn parameter(
        &mut self,
        name: String,
        dtype: DataType,
        dims: &[usize],
        values: &[f32],
    ) -> Result<String, SurgeryError> {
        self.parameters.push(name.clone());
        self.tensor(name, dtype, dims, values)
    }

    /// Adds an initializer that can be trained and begins as a copy of the model's tensor `original`, and gives its name
    /// back.
    pub fn copy(
        &mut self,
        name: String,
        (original, tensor): (&str, &Tensor),
    ) -> Result<String, SurgeryError> {
        self.copies.push((name.clone(), original.to_owned()));
        let values = tensor.to_f32().unwrap_or_default();
        self.parameter(name, tensor.dtype, &tensor.dims, &values)
    }

    /// Adds noise, in a model whose values there are of type `dtype`.
    pub fn noise(&mut self, noise: Noise, dtype: DataType) -> Result<String, SurgeryError> {
        let dims: Vec<usize> = std::iter::once(1).chain(noise.dims.clone()).collect();
        let values = vec![noise.rest; dims.iter().product()];
        let name = self.tensor(noise.name.clone(), dtype, &dims, &values)?;
        self.noise.push(noise);
        Ok(name)
    }

    /// Makes the changes of the model. Its functions are [written out](Editor::inline) where they reach inside of one.
    pub fn make(&self, editor: &mut Editor<'_>) -> Result<(), SurgeryError> {
        let added: HashSet<String> = self.added().into_iter().collect();
        let nodes = self.splices.iter().flat_map(|splice| &splice.nodes);
        let read = nodes.flat_map(Node::present_inputs);
        let spliced = self.splices.iter().map(|splice| splice.value.as_str());
        if !editor.makes_all(spliced.chain(read).filter(|value| !added.contains(*value))) {
            editor.inline()?;
        }
        for (name, tensor) in &self.tensors {
            editor.add_tensor(name, tensor)?;
        }
        for Splice {
            value,
            nodes,
            instead,
        } in &self.splices
        {
            let nodes = nodes.iter().map(Node::to_proto).collect();
            editor.splice(value, nodes, instead)?;
        }
        Ok(())
    }

    /// What is read in place of `value`.
    pub fn instead_of(&self, value: &str) -> String {
        let splice = self.splices.iter().find(|s| s.value == value);
        splice.map_or(value, |s| &s.instead).to_owned()
    }

    /// The names of all added values.
    pub fn added(&self) -> Vec<String> {
        let tensors = self.tensors.iter().map(|(name, _)| name.as_str());
        let nodes = self.splices.iter().flat_map(|s| &s.nodes);
        let made = nodes.flat_map(Node::present_outputs);
        tensors.chain(made).map(str::to_owned).collect()
    }
}
