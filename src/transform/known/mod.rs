//! What is known of the values in a model's messages before it runs: types, dimensions, constants; in its graph, in graphs
//! inside of nodes and in the bodies of functions.

mod attributes;
mod constants;
mod dims;
mod infer;

use std::collections::HashMap;

use crate::graph::schemas::Kind;
use crate::onnx::element_name;
use crate::onnx::messages::{
    DimensionValue, FunctionProto, GraphProto, NodeProto, TensorProto, TypeProto, TypeValue,
    ValueInfoProto,
};

pub(super) use attributes::{Attributes, float, int, ints, named, remove, set, string};
pub(super) use constants::held;
pub(super) use infer::{Reading, TYPE_ATTRIBUTES, bound};

/// What is known of a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Known {
    /// What it is.
    pub kind: Kind,
    /// The number of its element type, 0 where it is not known.
    pub element: i32,
    /// Its dimensions, as far as they are known; `None` where their number is not.
    pub dims: Option<Vec<Option<i64>>>,
}

impl Known {
    /// A tensor of which only the type of its elements is known.
    pub fn tensor(element: i32) -> Self {
        Known {
            element,
            ..Known::default()
        }
    }

    /// A tensor of this many dimensions.
    pub fn of_rank(element: i32, rank: usize) -> Self {
        Known {
            dims: Some(vec![None; rank]),
            ..Known::tensor(element)
        }
    }

    /// Takes over what another knows and this does not; whether there was something.
    pub fn learn(&mut self, other: &Known) -> bool {
        let mut learnt = false;
        if self.element == 0 && other.element != 0 {
            (self.element, self.kind) = (other.element, other.kind);
            learnt = true;
        }
        if self.dims.is_none() && other.dims.is_some() {
            self.dims.clone_from(&other.dims);
            learnt = true;
        }
        learnt
    }

    /// What holds of both.
    fn common(&self, other: &Known) -> Known {
        let same = (self.kind, self.element) == (other.kind, other.element);
        let dims = match (&self.dims, &other.dims) {
            (Some(a), Some(b)) if a.len() == b.len() => {
                let dims = a.iter().zip(b);
                Some(dims.map(|(a, b)| a.filter(|_| a == b)).collect())
            }
            _ => None,
        };
        Known {
            kind: self.kind,
            element: if same { self.element } else { 0 },
            dims,
        }
    }

    /// In words.
    pub fn described(&self) -> String {
        let element = element_name(self.element);
        match self.kind {
            Kind::Tensor => element,
            Kind::Sequence => format!("sequence of {element}"),
            Kind::Optional => format!("optional {element}"),
            Kind::OptionalSequence => format!("optional sequence of {element}"),
        }
    }

    /// What a declaration says.
    pub fn declared(value: &ValueInfoProto) -> Option<Self> {
        value.r#type.as_ref().and_then(of_type)
    }

    fn of_tensor(tensor: &TensorProto) -> Self {
        Known {
            dims: Some(tensor.dims.iter().map(|&d| Some(d)).collect()),
            ..Known::tensor(tensor.data_type.unwrap_or(0))
        }
    }
}

fn of_type(r#type: &TypeProto) -> Option<Known> {
    match r#type.value.as_ref()? {
        TypeValue::Tensor(tensor) => {
            let dims = tensor.shape.as_ref().map(|shape| {
                let dims = shape.dim.iter();
                dims.map(|dim| match dim.value {
                    Some(DimensionValue::DimValue(size)) => Some(size),
                    _ => None,
                })
                .collect()
            });
            Some(Known {
                dims,
                ..Known::tensor(tensor.elem_type.unwrap_or(0))
            })
        }
        TypeValue::Sequence(sequence) => {
            let inner = of_type(sequence.elem_type.as_ref()?)?;
            Some(Known {
                kind: Kind::Sequence,
                dims: None,
                ..inner
            })
        }
        TypeValue::Optional(optional) => {
            let inner = of_type(optional.elem_type.as_ref()?)?;
            let kind = match inner.kind {
                Kind::Tensor => Kind::Optional,
                _ => Kind::OptionalSequence,
            };
            Some(Known {
                kind,
                dims: None,
                ..inner
            })
        }
        _ => None,
    }
}

/// All that is known inside of a graph.
#[derive(Clone, Debug, Default)]
pub(super) struct Env {
    /// Of values.
    pub values: HashMap<String, Known>,
    /// Tensors that are constant.
    pub constants: HashMap<String, TensorProto>,
}

impl Env {
    /// Of a value; nothing where there is none.
    pub fn known(&self, name: &str) -> Known {
        self.values.get(name).cloned().unwrap_or_default()
    }

    /// What holds in both.
    pub fn common(&mut self, other: &Env) {
        self.values.retain(|name, known| {
            let there = other.values.get(name);
            if let Some(there) = there {
                *known = known.common(there);
            }
            there.is_some()
        });
        let same =
            |name: &String, tensor: &mut TensorProto| other.constants.get(name) == Some(tensor);
        self.constants.retain(same);
    }
}

/// By what a call finds its function: domain, name, overload.
pub(super) type Callee = (String, String, String);

/// By what a function is called.
pub(super) fn callee_of(function: &FunctionProto) -> Callee {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    (
        text(&function.domain),
        text(&function.name),
        text(&function.overload),
    )
}

/// What a node calls, if that is a function.
pub(super) fn called_by(node: &NodeProto) -> Callee {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    (
        text(&node.domain),
        text(&node.op_type),
        text(&node.overload),
    )
}

/// Whether a node is of ONNX's own operators.
pub(super) fn is_standard(node: &NodeProto) -> bool {
    is_own(node.domain.as_deref())
}

/// Whether a domain is ONNX's own.
pub(super) fn is_own(domain: Option<&str>) -> bool {
    matches!(domain.unwrap_or_default(), "" | "ai.onnx")
}

/// A function's body, taken out of it, as a graph whose inputs and outputs have no types.
pub(super) fn take_body(function: &mut FunctionProto) -> GraphProto {
    let value = |name: &String| ValueInfoProto {
        name: Some(name.clone()),
        ..ValueInfoProto::default()
    };
    GraphProto {
        node: std::mem::take(&mut function.node),
        value_info: std::mem::take(&mut function.value_info),
        input: function.input.iter().map(value).collect(),
        output: function.output.iter().map(value).collect(),
        ..GraphProto::default()
    }
}

/// Puts a body back.
pub(super) fn put_body(function: &mut FunctionProto, body: GraphProto) {
    function.node = body.node;
    function.value_info = body.value_info;
}
