//! The state of a training graph.

use std::collections::BTreeMap;

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

    /// Fails unless the state is whole in itself: it has parameters and says of which model they are; if it says how many
    /// steps are done, that is a number of 0 or more; a moment or an average is of a tensor that is there, of its dimensions,
    /// and where one tensor has one all have.
    ///
    /// # Errors
    /// What is not so.
    pub(super) fn ensure_whole(&self) -> Result<(), String> {
        let parameters = self.dims_of(|role| matches!(role, Role::Parameter(_)));
        if parameters.is_empty() {
            return Err("it has no parameter, `param/…`".to_owned());
        }
        match self.get(&Role::Backbone).map(|hash| hash.dims.as_slice()) {
            Some([32]) => {}
            Some(dims) => return Err(format!("its `{}` is {dims:?}, not [32]", Role::Backbone)),
            None => {
                return Err(format!(
                    "it has no `{}`, which says of which model it is",
                    Role::Backbone
                ));
            }
        }
        let is_number = |step: &Tensor| step.len() == 1 && self.steps() >= Some(0);
        if !self.get(&Role::Step).is_none_or(is_number) {
            return Err(format!("its `{}` is no number of 0 or more", Role::Step));
        }
        let trained = self.dims_of(|role| matches!(role, Role::Parameter(_) | Role::Running(_)));
        self.ensure_of_all(Role::FirstMoment, &parameters)?;
        self.ensure_of_all(Role::SecondMoment, &parameters)?;
        self.ensure_of_all(Role::Average, &trained)
    }

    /// Fails unless there is no tensor of a kind, or one for each of these, of its dimensions.
    fn ensure_of_all(
        &self,
        kind: fn(String) -> Role,
        expected: &BTreeMap<&str, &[usize]>,
    ) -> Result<(), String> {
        let found = self
            .dims_of(|role| role.of_tensor().map(|of| kind(of.to_owned())).as_ref() == Some(role));
        if found.is_empty() {
            return Ok(());
        }
        let mut all = expected.keys().chain(found.keys()).copied();
        let Some(name) = all.find(|name| found.get(name) != expected.get(name)) else {
            return Ok(());
        };
        let role = kind(name.to_owned());
        Err(match (found.get(name), expected.get(name)) {
            (None, _) => format!("it has no `{role}`, but the like of other tensors"),
            (_, None) => format!("it has a `{role}`, but not the tensor that this is of"),
            (Some(found), Some(expected)) => {
                format!("its `{role}` is {found:?}, and what this is of {expected:?}")
            }
        })
    }

    /// The dimensions of tensors of such roles, by the names of the initializers that they are of.
    fn dims_of(&self, is_such: impl Fn(&Role) -> bool) -> BTreeMap<&str, &[usize]> {
        let all = self.tensors.iter().filter(|(role, _)| is_such(role));
        all.filter_map(|(role, tensor)| Some((role.of_tensor()?, tensor.dims.as_slice())))
            .collect()
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
