//! Types of values, as ONNX writes them: `tensor(float)`.

use crate::graph::schemas::{Kind, type_element};
use crate::onnx::messages::{AttributeProto, NodeProto, TypeProto, TypeValue, ValueInfoProto};

/// The type of a tensor of these elements.
pub(super) fn tensor(number: i32) -> Option<String> {
    Kind::Tensor.of(number)
}

/// The type of a declaration; `None` where it is not said.
pub(super) fn of(kind: &TypeProto) -> Option<String> {
    match kind.value.as_ref()? {
        TypeValue::Tensor(t) => tensor(t.elem_type()),
        TypeValue::SparseTensor(t) => {
            Some(format!("sparse_tensor({})", type_element(t.elem_type())?))
        }
        TypeValue::Sequence(s) => Some(format!("seq({})", of(s.elem_type.as_deref()?)?)),
        TypeValue::Optional(o) => Some(format!("optional({})", of(o.elem_type.as_deref()?)?)),
        TypeValue::Map(m) => {
            let (key, value) = (type_element(m.key_type())?, of(m.value_type.as_deref()?)?);
            Some(format!("map({key},{value})"))
        }
        TypeValue::Opaque(_) => None,
    }
}

/// The declared type of a value.
pub(super) fn declared(value: &ValueInfoProto) -> Option<String> {
    value.r#type.as_ref().and_then(of)
}

/// The type that an attribute says, of operators whose outputs do not follow from their inputs.
pub(super) fn by_attribute(node: &NodeProto) -> Option<String> {
    let attribute = |name: &str| node.attribute.iter().find(|a| a.name() == name);
    let number = |name: &str| attribute(name).and_then(|a| i32::try_from(a.i?).ok());
    let of_tensor = |a: &AttributeProto| tensor(a.t.as_ref()?.data_type());
    match node.op_type() {
        "Cast" => tensor(number("to")?),
        "ConstantOfShape" => attribute("value").map_or_else(|| tensor(1), of_tensor),
        "Constant" => {
            let [attribute] = &node.attribute[..] else {
                return None;
            };
            match attribute.name() {
                "value" => of_tensor(attribute),
                "value_float" | "value_floats" => tensor(1),
                "value_int" | "value_ints" => tensor(7),
                "value_string" | "value_strings" => tensor(8),
                _ => None,
            }
        }
        "RandomNormal" | "RandomUniform" => tensor(number("dtype").unwrap_or(1)),
        "Multinomial" => tensor(number("dtype").unwrap_or(6)),
        "EyeLike" | "RandomNormalLike" | "RandomUniformLike" | "Bernoulli" => {
            tensor(number("dtype")?)
        }
        "SequenceEmpty" => Some(format!("seq({})", tensor(number("dtype").unwrap_or(1))?)),
        _ => None,
    }
}
