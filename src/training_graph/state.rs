//! The state of a training graph.

use crate::onnx::{DataType, Tensor};

use super::{Role, Slot};

/// What training goes on from: parameters, moments, the number of steps and the rest, in the order of the graph's inputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    tensors: Vec<(Role, Tensor)>,
}

impl State {
    /// Takes a tensor up, in place of one of the same role.
    pub fn put(&mut self, role: Role, tensor: Tensor) {
        match self.tensors.iter_mut().find(|(known, _)| *known == role) {
            Some((_, known)) => *known = tensor,
            None => self.tensors.push((role, tensor)),
        }
    }

    /// The tensor of a role.
    pub fn get(&self, role: &Role) -> Option<&Tensor> {
        let mut all = self.tensors.iter();
        all.find(|(known, _)| known == role)
            .map(|(_, tensor)| tensor)
    }

    /// All tensors.
    pub fn tensors(&self) -> &[(Role, Tensor)] {
        &self.tensors
    }

    /// What each tensor is to a graph.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        self.tensors.iter().map(|(role, tensor)| Slot {
            role: role.clone(),
            dtype: tensor.dtype,
            dims: tensor.dims.clone(),
        })
    }

    /// Steps that are done; `None` where it does not say.
    pub fn steps(&self) -> Option<i64> {
        let values = self.get(&Role::Step)?.to_i64()?;
        values.first().copied()
    }

    /// Whether it has averages, which are then what was trained.
    pub fn has_averages(&self) -> bool {
        let mut roles = self.tensors.iter();
        roles.any(|(role, _)| matches!(role, Role::Average(_)))
    }

    /// What was trained, by the names of initializers: the averages where there are any, else parameters and running
    /// statistics.
    pub fn trained(&self) -> Vec<(&str, &Tensor)> {
        let has_averages = self.has_averages();
        let all = self.tensors.iter();
        all.filter_map(|(role, tensor)| match role {
            Role::Average(of) if has_averages => Some((of.as_str(), tensor)),
            Role::Parameter(of) | Role::Running(of) if !has_averages => Some((of.as_str(), tensor)),
            _ => None,
        })
        .collect()
    }
}

/// The tensor of [`Role::Backbone`] for a hash.
pub(super) fn backbone(hash: Vec<u8>) -> Tensor {
    Tensor {
        dtype: DataType::Uint8,
        dims: vec![hash.len()],
        data: hash.into(),
    }
}
