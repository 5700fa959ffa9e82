//! Other sizes for a declared input.

use crate::onnx::messages::{DimensionValue, TypeValue, ValueInfoProto};

use super::super::SurgeryError;
use super::super::difference::Part;
use super::Editor;

impl Editor<'_> {
    /// Declares that `input` has `size` elements along `axis`, for each `(axis, size)`, where it declares
    /// another number; what it leaves open stays open. Where one changes, the noted types of inner values
    /// go, which held for the old size. Whether one did.
    ///
    /// # Errors
    /// When the graph declares no such input.
    pub fn set_input_size(
        &mut self,
        input: &str,
        sizes: &[(usize, usize)],
    ) -> Result<bool, SurgeryError> {
        let declared = self.graph_mut().input.iter_mut();
        let mut named = declared.filter(|v| v.name.as_deref() == Some(input));
        let Some(value) = named.next() else {
            return Err(SurgeryError::NoValue {
                value: input.to_owned(),
            });
        };
        if !set_sizes(value, sizes) {
            return Ok(false);
        }
        self.touch(Part::Input, input);
        for noted in std::mem::take(&mut self.graph_mut().value_info) {
            self.touch(Part::ValueInfo, noted.name.unwrap_or_default());
        }
        Ok(true)
    }
}

fn set_sizes(value: &mut ValueInfoProto, sizes: &[(usize, usize)]) -> bool {
    let mut shape = match value.r#type.as_mut().and_then(|t| t.value.as_mut()) {
        Some(TypeValue::Tensor(tensor)) => tensor.shape.as_mut(),
        _ => None,
    };
    let mut changed = false;
    for &(axis, size) in sizes {
        let dim = shape.as_deref_mut().and_then(|s| s.dim.get_mut(axis));
        if let Some(DimensionValue::DimValue(value)) = dim.and_then(|dim| dim.value.as_mut())
            && *value != size as i64
        {
            *value = size as i64;
            changed = true;
        }
    }
    changed
}
