//! Nodes and their attributes.

use std::collections::BTreeMap;
use std::fmt;

use crate::onnx::Tensor;
use crate::onnx::messages::{AttributeProto, GraphProto, NodeProto};

use super::GraphError;

/// An attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// `f`
    Float(f32),
    /// `i`
    Int(i64),
    /// `s`, as UTF-8
    String(String),
    /// `t`
    Tensor(Tensor),
    /// `floats`
    Floats(Vec<f32>),
    /// `ints`
    Ints(Vec<i64>),
    /// Anything else (graphs, sparse tensors, types, references), kept as it came.
    Other(Box<AttributeProto>),
}

impl From<i64> for Attribute {
    fn from(v: i64) -> Self {
        Attribute::Int(v)
    }
}
impl From<f32> for Attribute {
    fn from(v: f32) -> Self {
        Attribute::Float(v)
    }
}
impl From<Vec<i64>> for Attribute {
    fn from(v: Vec<i64>) -> Self {
        Attribute::Ints(v)
    }
}
impl From<&str> for Attribute {
    fn from(v: &str) -> Self {
        Attribute::String(v.to_owned())
    }
}
impl From<Tensor> for Attribute {
    fn from(v: Tensor) -> Self {
        Attribute::Tensor(v)
    }
}

/// One operator application. An empty input or output name stands for an absent optional one.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The node's name; never empty (made from the first output if the model gave none).
    pub name: String,
    /// The operator, such as `Conv`.
    pub op_type: String,
    /// The operator's domain; `""` is the default ONNX domain.
    pub domain: String,
    /// Names of the values it reads.
    pub inputs: Vec<String>,
    /// Names of the values it defines.
    pub outputs: Vec<String>,
    /// Attributes by name.
    pub attributes: BTreeMap<String, Attribute>,
}

/// Prints as `` `name` (Op) `` for messages.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({})", self.name, self.op_type)
    }
}

impl Node {
    /// A node of the default domain.
    pub fn new(name: &str, op_type: &str, inputs: &[&str], outputs: &[&str]) -> Self {
        let own = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
        Node {
            name: name.to_owned(),
            op_type: op_type.to_owned(),
            domain: String::new(),
            inputs: own(inputs),
            outputs: own(outputs),
            attributes: BTreeMap::new(),
        }
    }

    /// This node with one more attribute.
    pub fn with(mut self, name: &str, value: impl Into<Attribute>) -> Self {
        self.attributes.insert(name.to_owned(), value.into());
        self
    }

    /// Name of input `index`, `None` when absent.
    pub fn input(&self, index: usize) -> Option<&str> {
        self.inputs
            .get(index)
            .map(String::as_str)
            .filter(|n| !n.is_empty())
    }

    /// Name of output `index`, `None` when absent.
    pub fn output(&self, index: usize) -> Option<&str> {
        self.outputs
            .get(index)
            .map(String::as_str)
            .filter(|n| !n.is_empty())
    }

    /// Names of the inputs that are present.
    pub fn present_inputs(&self) -> impl Iterator<Item = &str> {
        self.inputs
            .iter()
            .map(String::as_str)
            .filter(|n| !n.is_empty())
    }

    /// Names of the outputs that are present.
    pub fn present_outputs(&self) -> impl Iterator<Item = &str> {
        self.outputs
            .iter()
            .map(String::as_str)
            .filter(|n| !n.is_empty())
    }

    /// Whether this is `op_type` of the default ONNX domain.
    pub fn is(&self, op_type: &str) -> bool {
        self.op_type == op_type && self.domain.is_empty()
    }

    /// An integer attribute, or `default` when absent.
    pub fn int(&self, name: &str, default: i64) -> Result<i64, GraphError> {
        match self.attributes.get(name) {
            None => Ok(default),
            Some(Attribute::Int(i)) => Ok(*i),
            Some(_) => Err(self.attribute_error(name, "an integer")),
        }
    }

    /// A float attribute, or `default` when absent.
    pub fn float(&self, name: &str, default: f32) -> Result<f32, GraphError> {
        match self.attributes.get(name) {
            None => Ok(default),
            Some(Attribute::Float(f)) => Ok(*f),
            Some(_) => Err(self.attribute_error(name, "a float")),
        }
    }

    /// An integer-list attribute, `None` when absent.
    pub fn ints(&self, name: &str) -> Result<Option<&[i64]>, GraphError> {
        match self.attributes.get(name) {
            None => Ok(None),
            Some(Attribute::Ints(v)) => Ok(Some(v)),
            Some(_) => Err(self.attribute_error(name, "a list of integers")),
        }
    }

    /// A string attribute, or `default` when absent.
    pub fn string<'a>(&'a self, name: &str, default: &'a str) -> Result<&'a str, GraphError> {
        match self.attributes.get(name) {
            None => Ok(default),
            Some(Attribute::String(s)) => Ok(s),
            Some(_) => Err(self.attribute_error(name, "a string")),
        }
    }

    /// An error about this node.
    pub fn error(&self, reason: impl Into<String>) -> GraphError {
        GraphError::Node {
            node: self.to_string(),
            reason: reason.into(),
        }
    }

    fn attribute_error(&self, name: &str, expected: &str) -> GraphError {
        self.error(format!("attribute `{name}` is not {expected}"))
    }

    /// The graphs in this node's attributes (control flow).
    pub fn subgraphs(&self) -> impl Iterator<Item = &GraphProto> {
        let others = self.attributes.values().filter_map(|a| match a {
            Attribute::Other(proto) => Some(proto),
            _ => None,
        });
        others.flat_map(|proto| proto.subgraphs())
    }

    pub(crate) fn from_proto(proto: &NodeProto, index: usize) -> Result<Self, GraphError> {
        let outputs = proto.output.clone();
        let op_type = proto.op_type.clone().unwrap_or_default();
        let name = match proto.name.as_deref() {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => match outputs.iter().find(|o| !o.is_empty()) {
                Some(output) => output.clone(),
                None => format!("{op_type}_{index}"),
            },
        };
        let domain = match proto.domain.as_deref() {
            None | Some("ai.onnx") => "",
            Some(domain) => domain,
        };
        let mut attributes = BTreeMap::new();
        for attribute in &proto.attribute {
            let key = attribute.name.clone().unwrap_or_default();
            let value = attribute_from_proto(attribute).map_err(|e| GraphError::Node {
                node: format!("`{name}` ({op_type})"),
                reason: format!("attribute `{key}`: {e}"),
            })?;
            attributes.insert(key, value);
        }
        Ok(Node {
            name,
            op_type,
            domain: domain.to_owned(),
            inputs: proto.input.clone(),
            outputs,
            attributes,
        })
    }

    /// The node as a message.
    pub fn to_proto(&self) -> NodeProto {
        NodeProto {
            name: Some(self.name.clone()),
            op_type: Some(self.op_type.clone()),
            domain: Some(self.domain.clone()).filter(|d| !d.is_empty()),
            input: self.inputs.clone(),
            output: self.outputs.clone(),
            attribute: self
                .attributes
                .iter()
                .map(|(name, value)| attribute_to_proto(name, value))
                .collect(),
            ..NodeProto::default()
        }
    }
}

fn attribute_from_proto(proto: &AttributeProto) -> Result<Attribute, crate::onnx::OnnxError> {
    let other = || Attribute::Other(Box::new(proto.clone()));
    if proto
        .ref_attr_name
        .as_deref()
        .is_some_and(|r| !r.is_empty())
    {
        return Ok(other());
    }
    // Writers before IR version 2 left the type out.
    let kind = match proto.r#type.unwrap_or(0) {
        0 if proto.f.is_some() => 1,
        0 if proto.i.is_some() => 2,
        0 if proto.s.is_some() => 3,
        0 if proto.t.is_some() => 4,
        0 if !proto.floats.is_empty() => 6,
        0 if !proto.ints.is_empty() => 7,
        kind => kind,
    };
    Ok(match kind {
        1 => Attribute::Float(proto.f.unwrap_or_default()),
        2 => Attribute::Int(proto.i.unwrap_or_default()),
        3 => match std::str::from_utf8(proto.s.as_deref().unwrap_or_default()) {
            Ok(s) => Attribute::String(s.to_owned()),
            Err(_) => other(),
        },
        4 => match &proto.t {
            // Strings, sparse and other rare constants stay as they are.
            Some(t) => match Tensor::from_proto(t) {
                Ok(t) => Attribute::Tensor(t),
                Err(e) if crate::onnx::is_external(t) || t.data_type != Some(8) => return Err(e),
                Err(_) => other(),
            },
            None => other(),
        },
        6 => Attribute::Floats(proto.floats.clone()),
        7 => Attribute::Ints(proto.ints.clone()),
        _ => other(),
    })
}

/// An attribute as a message.
pub(crate) fn attribute_to_proto(name: &str, value: &Attribute) -> AttributeProto {
    let mut proto = AttributeProto {
        name: Some(name.to_owned()),
        ..AttributeProto::default()
    };
    let kind = match value {
        Attribute::Float(f) => {
            proto.f = Some(*f);
            1
        }
        Attribute::Int(i) => {
            proto.i = Some(*i);
            2
        }
        Attribute::String(s) => {
            proto.s = Some(s.clone().into());
            3
        }
        Attribute::Tensor(t) => {
            proto.t = Some(t.to_proto(""));
            4
        }
        Attribute::Floats(v) => {
            proto.floats = v.clone();
            6
        }
        Attribute::Ints(v) => {
            proto.ints = v.clone();
            7
        }
        Attribute::Other(other) => return (**other).clone(),
    };
    proto.r#type = Some(kind);
    proto
}
