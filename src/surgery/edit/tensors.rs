//! New values for tensors.

use crate::onnx::messages::{AttributeProto, GraphProto, NodeProto, TensorProto};
use crate::onnx::{DataType, Model, Tensor};

use super::super::SurgeryError;
use super::super::difference::Part;
use super::Editor;

impl Editor<'_> {
    /// Gives an initializer, or what a `Constant` node holds (by its output), the values of `tensor`. They
    /// lie inside the model then. One that has these values already keeps its message.
    ///
    /// # Errors
    /// When the model has no such tensor, it has another element type or other dimensions, or a value
    /// is not finite.
    pub fn set_tensor(&mut self, name: &str, tensor: &Tensor) -> Result<(), SurgeryError> {
        self.set(name, &|old| {
            if (old.dtype, &old.dims) != (tensor.dtype, &tensor.dims) {
                return Err(SurgeryError::OtherTensor {
                    tensor: name.to_owned(),
                    expected: (old.dtype, old.dims.clone()),
                    given: (tensor.dtype, tensor.dims.clone()),
                });
            }
            ensure_finite(name, tensor)?;
            Ok(tensor.clone())
        })
    }

    /// As [`Editor::set_tensor`], with values that are rounded to the tensor's own float type, to the
    /// nearest, ties to even.
    ///
    /// # Errors
    /// When the model has no such tensor, it is no float tensor or has another number of elements, or a
    /// value is not finite in its type.
    pub fn set_values(&mut self, name: &str, values: &[f32]) -> Result<(), SurgeryError> {
        self.set(name, &|old| converted(name, old, values))
    }

    fn set(
        &mut self,
        name: &str,
        new: &dyn Fn(&Tensor) -> Result<Tensor, SurgeryError>,
    ) -> Result<(), SurgeryError> {
        let place = find(self.graph(), name).ok_or_else(|| SurgeryError::NoTensor {
            tensor: name.to_owned(),
        })?;
        let tensor = new(&read(self.original, self.graph(), place)?)?;
        let original = match &self.before.graph {
            Some(graph) if !self.added.contains(name) => find(graph, name).map(|p| (graph, p)),
            _ => None,
        };
        let unchanged = match original {
            Some((graph, place)) => {
                let old = read(self.original, graph, place)?;
                (old == tensor).then_some((graph, place))
            }
            None => None,
        };
        let graph = self.proto.graph.get_or_insert_default();
        match (place, unchanged) {
            (Place::Initializer(i), Some((before, Place::Initializer(old)))) => {
                before.initializer[old].clone_into(&mut graph.initializer[i]);
            }
            (Place::Constant(i), Some((before, Place::Constant(old)))) => {
                before.node[old].clone_into(&mut graph.node[i]);
            }
            (Place::Initializer(i), _) => store(&mut graph.initializer[i], &tensor),
            (Place::Constant(i), _) => {
                let attributes = graph.node[i].attribute.iter_mut();
                attributes.for_each(|attribute| fill(attribute, &tensor));
            }
        }
        self.touch(Part::Tensor, name);
        Ok(())
    }
}

/// Where a graph has a tensor: among its initializers, or among its nodes.
#[derive(Clone, Copy)]
enum Place {
    Initializer(usize),
    Constant(usize),
}

fn find(graph: &GraphProto, name: &str) -> Option<Place> {
    let mut tensors = graph.initializer.iter();
    let constant = |n: &NodeProto| is_constant(n) && n.output.first().is_some_and(|o| o == name);
    match tensors.position(|t| t.name.as_deref() == Some(name)) {
        Some(place) => Some(Place::Initializer(place)),
        None => graph.node.iter().position(constant).map(Place::Constant),
    }
}

/// The tensor at a place of `graph`, with the external data of `files`.
fn read(files: &Model, graph: &GraphProto, place: Place) -> Result<Tensor, SurgeryError> {
    let node = match place {
        Place::Initializer(i) => return Ok(files.tensor(&graph.initializer[i])?),
        Place::Constant(i) => &graph.node[i],
    };
    for attribute in &node.attribute {
        if let Some(tensor) = held(files, attribute)? {
            return Ok(tensor);
        }
    }
    Err(SurgeryError::NoTensor {
        tensor: node.output.first().cloned().unwrap_or_default(),
    })
}

/// A tensor as the editor's graph has it.
#[cfg(test)]
pub(super) fn tensor_of(editor: &Editor<'_>, name: &str) -> Option<Tensor> {
    let place = find(editor.graph(), name)?;
    read(editor.original, editor.graph(), place).ok()
}

/// What an attribute of a `Constant` holds, where it is one that holds its value.
pub(crate) fn held(
    model: &Model,
    attribute: &AttributeProto,
) -> Result<Option<Tensor>, SurgeryError> {
    Ok(Some(match attribute.name.as_deref() {
        Some("value") => match &attribute.t {
            Some(tensor) => model.tensor(tensor)?,
            None => return Ok(None),
        },
        Some("value_float") => Tensor::scalar_f32(attribute.f.unwrap_or_default()),
        Some("value_floats") => Tensor::f32(&[attribute.floats.len()], &attribute.floats),
        Some("value_int") => Tensor::scalar_i64(attribute.i.unwrap_or_default()),
        Some("value_ints") => Tensor::i64s(&attribute.ints),
        _ => return Ok(None),
    }))
}

/// Puts the values of `tensor` in an attribute, where [`held`] finds them.
fn fill(attribute: &mut AttributeProto, tensor: &Tensor) {
    let floats = || tensor.to_f32().unwrap_or_default();
    let ints = || tensor.to_i64().unwrap_or_default();
    match attribute.name.as_deref() {
        Some("value") => {
            if let Some(held) = &mut attribute.t {
                store(held, tensor);
            }
        }
        Some("value_float") => attribute.f = floats().first().copied(),
        Some("value_floats") => attribute.floats = floats(),
        Some("value_int") => attribute.i = ints().first().copied(),
        Some("value_ints") => attribute.ints = ints(),
        _ => {}
    }
}

/// Whether a node is the standard operator `Constant`.
pub(in crate::surgery) fn is_constant(node: &NodeProto) -> bool {
    node.op_type.as_deref() == Some("Constant")
        && matches!(node.domain.as_deref().unwrap_or(""), "" | "ai.onnx")
}

/// `values` in the type of `old`, checked.
pub(in crate::surgery) fn converted(
    name: &str,
    old: &Tensor,
    values: &[f32],
) -> Result<Tensor, SurgeryError> {
    if old.len() != values.len() {
        return Err(SurgeryError::Length {
            tensor: name.to_owned(),
            expected: old.len(),
            given: values.len(),
        });
    }
    let new = old.with_f32_values(values).ok_or(SurgeryError::NotFloat {
        tensor: name.to_owned(),
        dtype: old.dtype,
    })?;
    ensure_finite(name, &new)?;
    Ok(new)
}

/// Looks at values in the type in which they are stored: a finite f32 may be infinite as f16.
fn ensure_finite(name: &str, tensor: &Tensor) -> Result<(), SurgeryError> {
    // A double beyond the range of f32 is finite.
    let index = match tensor.dtype {
        DataType::Double => {
            let mut values = tensor.data.as_chunks::<8>().0.iter();
            values.position(|bytes| !f64::from_le_bytes(*bytes).is_finite())
        }
        _ => {
            let values = tensor.to_f32().unwrap_or_default();
            values.iter().position(|value| !value.is_finite())
        }
    };
    match index {
        None => Ok(()),
        Some(index) => Err(SurgeryError::NotFinite {
            tensor: name.to_owned(),
            dtype: tensor.dtype,
            index,
        }),
    }
}

/// Puts the values of `tensor` in the message, where it is stored inside the model.
pub(super) fn store(proto: &mut TensorProto, tensor: &Tensor) {
    proto.float_data.clear();
    proto.int32_data.clear();
    proto.int64_data.clear();
    proto.double_data.clear();
    proto.uint64_data.clear();
    proto.external_data.clear();
    proto.data_location = None;
    proto.raw_data = Some(tensor.data.clone());
}
