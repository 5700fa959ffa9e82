//! Which values go to which inputs.

use std::collections::HashSet;

use crate::graph::messages::defined;
use crate::onnx::messages::{
    DimensionValue, GraphProto, ModelProto, TensorType, TypeValue, ValueInfoProto,
};

use super::super::{TransformError, types};
use super::{Merging, Parts, State};

/// Inputs of the next model, and the values so far that they are.
pub(super) fn joints(
    parts: &Parts,
    at: usize,
    state: &mut State<'_>,
    next: &ModelProto,
    merging: &Merging,
) -> Result<Vec<(String, String)>, TransformError> {
    let Some(graph) = &next.graph else {
        return Ok(Vec::new());
    };
    let inputs = inputs(graph);
    let path = parts.path(at).display().to_string();
    let outputs: Vec<&ValueInfoProto> = state.graph().output.iter().collect();
    let mut joints: Vec<(String, String)> = Vec::new();
    let mut made = state.made.clone();
    if !merging.connect.is_empty() {
        let known = defined(state.graph());
        for (place, (value, input)) in merging.connect.iter().enumerate() {
            let is_here = inputs.iter().any(|v| v.name() == input);
            if !made[place] && is_here && known.contains(value.as_str()) {
                if joints.iter().any(|(other, _)| other == input) {
                    return Err(TransformError::Unfit(format!(
                        "two values are to go to the input `{input}`"
                    )));
                }
                joints.push((input.clone(), value.clone()));
                made[place] = true;
            }
        }
        if joints.is_empty() && !merging.join {
            return Err(TransformError::Unfit(format!(
                "nothing goes from the models before to {path}, whose inputs are {}",
                listed(&inputs)
            )));
        }
    } else if !merging.join {
        let same = inputs
            .iter()
            .filter(|v| outputs.iter().any(|o| o.name() == v.name()));
        joints.extend(same.map(|v| (v.name().to_owned(), v.name().to_owned())));
        if joints.is_empty() {
            let left = |o: &&&ValueInfoProto| !state.connected.iter().any(|c| c == o.name());
            let open: Vec<&&ValueInfoProto> = outputs.iter().filter(left).collect();
            match (open.as_slice(), inputs.as_slice()) {
                ([output], [input]) => {
                    joints.push((input.name().to_owned(), output.name().to_owned()));
                }
                _ => {
                    return Err(TransformError::Unfit(format!(
                        "no input of {path} ({}) is called as an output before it ({}): --connect says what goes where, \
                         --join sets the models side by side",
                        listed(&inputs),
                        listed(&outputs)
                    )));
                }
            }
        }
    }
    state.made = made;
    for (input, value) in &joints {
        let declared = types::declared(state.graph(), value);
        let wanted = inputs.iter().find(|v| v.name() == input);
        if let (Some(declared), Some(wanted)) = (declared, wanted)
            && let Some(reason) = misfit(&declared, wanted)
        {
            return Err(TransformError::Unfit(format!(
                "`{value}` cannot go to the input `{input}` of {path}: {reason}"
            )));
        }
        if input != value {
            state
                .notes
                .push(format!("`{value}` goes to the input `{input}` of {path}"));
        }
    }
    Ok(joints)
}

/// Inputs that stand for no initializer.
pub(super) fn inputs(graph: &GraphProto) -> Vec<&ValueInfoProto> {
    let stored: HashSet<&str> = graph.initializer.iter().map(|t| t.name()).collect();
    let inputs = graph.input.iter();
    inputs.filter(|v| !stored.contains(v.name())).collect()
}

fn listed(values: &[&ValueInfoProto]) -> String {
    let names = values.iter().map(|v| format!("`{}`", v.name()));
    Vec::from_iter(names).join(", ")
}

/// Why a value of one declaration cannot be one of another.
pub(super) fn misfit(value: &ValueInfoProto, wanted: &ValueInfoProto) -> Option<String> {
    let kind = |v: &ValueInfoProto| v.r#type.as_ref().and_then(|t| t.value.clone());
    match (kind(value)?, kind(wanted)?) {
        (TypeValue::Tensor(a), TypeValue::Tensor(b)) => of_tensors(&a, &b),
        (a, b) => {
            let other = std::mem::discriminant(&a) != std::mem::discriminant(&b);
            other.then(|| "one is a tensor, the other is none".to_owned())
        }
    }
}

fn of_tensors(value: &TensorType, wanted: &TensorType) -> Option<String> {
    let number = |t: &TensorType| t.elem_type.filter(|&n| n != 0);
    if let (Some(a), Some(b)) = (number(value), number(wanted))
        && a != b
    {
        let name = |n: i32| match crate::onnx::DataType::from_number(n) {
            Some(known) => format!("{known:?}"),
            None => format!("type {n}"),
        };
        return Some(format!("it has elements of {}, not {}", name(a), name(b)));
    }
    let (a, b) = (value.shape.as_ref()?, wanted.shape.as_ref()?);
    if a.dim.len() != b.dim.len() {
        return Some(format!(
            "it has {} dimensions, not {}",
            a.dim.len(),
            b.dim.len()
        ));
    }
    let pairs = a.dim.iter().zip(&b.dim).enumerate();
    for (axis, (a, b)) in pairs {
        if let (Some(DimensionValue::DimValue(a)), Some(DimensionValue::DimValue(b))) =
            (&a.value, &b.value)
            && a != b
        {
            return Some(format!("its dimension {axis} is {a}, not {b}"));
        }
    }
    None
}
