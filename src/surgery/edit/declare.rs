//! Other sizes for a declared input.

use std::collections::HashSet;

use crate::onnx::messages::{Dimension, DimensionValue, TypeValue, ValueInfoProto};

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

    /// Declares that the first dimension of every input that leaves it open is `size`, and so is every other dimension
    /// of that name, of inputs, outputs and noted types. How many inputs that concerns.
    pub fn fix_batch(&mut self, size: usize) -> usize {
        let stored: HashSet<String> = {
            let tensors = self.graph().initializer.iter();
            tensors.map(|t| t.name().to_owned()).collect()
        };
        let mut names = HashSet::new();
        let mut fixed = Vec::new();
        let graph = self.graph_mut();
        for input in graph
            .input
            .iter_mut()
            .filter(|v| !stored.contains(v.name()))
        {
            let name = input.name().to_owned();
            let Some(first) = dims(input).and_then(|dims| dims.first_mut()) else {
                continue;
            };
            match &first.value {
                Some(DimensionValue::DimValue(_)) => continue,
                Some(DimensionValue::DimParam(symbol)) if !symbol.is_empty() => {
                    names.insert(symbol.clone());
                }
                _ => {}
            }
            first.value = Some(DimensionValue::DimValue(size as i64));
            fixed.push((Part::Input, name));
        }
        let inputs = fixed.len();
        let declared = [
            (Part::Input, &mut graph.input),
            (Part::Output, &mut graph.output),
            (Part::ValueInfo, &mut graph.value_info),
        ];
        for (part, values) in declared {
            for value in values {
                let name = value.name().to_owned();
                for dim in dims(value).into_iter().flatten() {
                    if let Some(DimensionValue::DimParam(symbol)) = &dim.value
                        && names.contains(symbol)
                    {
                        dim.value = Some(DimensionValue::DimValue(size as i64));
                        fixed.push((part, name.clone()));
                    }
                }
            }
        }
        self.touched.extend(fixed);
        inputs
    }
}

/// The declared dimensions of a tensor.
fn dims(value: &mut ValueInfoProto) -> Option<&mut Vec<Dimension>> {
    match value.r#type.as_mut().and_then(|t| t.value.as_mut()) {
        Some(TypeValue::Tensor(tensor)) => tensor.shape.as_mut().map(|s| &mut s.dim),
        _ => None,
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
