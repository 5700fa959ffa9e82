//! What adapters write with: nodes ahead of and behind the one that they change, and constants.

use std::collections::HashMap;

use bytes::Bytes;

use crate::graph::{Attribute, Names};
use crate::onnx::messages::NodeProto;
use crate::onnx::{DataType, Model, Tensor};
use crate::surgery::node_key;

use super::super::known::{Env, Known, set};

/// Why a node stays as it is.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It has no such form, for this reason.
    Cannot(String),
    /// Nobody knows enough of this value.
    Unknown(String),
}

/// A refusal with a reason.
pub(super) fn cannot<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Cannot(reason.into()))
}

/// Whatever an adapter comes to.
pub(super) type Adapted = Result<(), Refusal>;

/// Writes nodes of one graph.
pub(super) struct Writer<'w> {
    pub model: &'w Model,
    /// The version that changed the operators at hand.
    pub version: i64,
    /// What is known in the graph.
    pub env: &'w mut Env,
    pub names: &'w mut Names,
    /// What is to be said.
    pub notes: &'w mut Vec<String>,
    /// Constants that come before all nodes.
    pub constants: Vec<NodeProto>,
    /// Nodes that come before the one at hand.
    pub ahead: Vec<NodeProto>,
    /// Nodes that come behind it.
    pub behind: Vec<NodeProto>,
    /// Values that a node does not read any more.
    pub let_go: Vec<String>,
    made: HashMap<(i32, Vec<usize>, Bytes), String>,
}

impl<'w> Writer<'w> {
    pub fn new(
        model: &'w Model,
        env: &'w mut Env,
        names: &'w mut Names,
        notes: &'w mut Vec<String>,
    ) -> Self {
        Writer {
            model,
            version: 0,
            env,
            names,
            notes,
            constants: Vec::new(),
            ahead: Vec::new(),
            behind: Vec::new(),
            let_go: Vec::new(),
            made: HashMap::new(),
        }
    }

    /// What is known of an input.
    pub fn known(&self, node: &NodeProto, index: usize) -> Known {
        node.input
            .get(index)
            .map_or_else(Known::default, |name| self.env.known(name))
    }

    /// The type of an input, of which somebody must know it.
    pub fn element(&self, node: &NodeProto, index: usize) -> Result<i32, Refusal> {
        match (self.known(node, index).element, node.input.get(index)) {
            (0, Some(name)) => Err(Refusal::Unknown(name.clone())),
            (0, None) => cannot(format!("input {index} is missing")),
            (element, _) => Ok(element),
        }
    }

    /// How many dimensions an input has, of which somebody must know it.
    pub fn rank(&self, node: &NodeProto, index: usize) -> Result<i64, Refusal> {
        match (self.known(node, index).dims, node.input.get(index)) {
            (Some(dims), _) => Ok(dims.len() as i64),
            (None, Some(name)) => Err(Refusal::Unknown(name.clone())),
            (None, None) => cannot(format!("input {index} is missing")),
        }
    }

    /// An input that is constant.
    pub fn constant(&self, node: &NodeProto, index: usize) -> Option<Tensor> {
        let proto = self.env.constants.get(node.input.get(index)?)?;
        self.model.tensor(proto).ok()
    }

    /// The numbers of an input that is there; none where it is not.
    pub fn ints(
        &self,
        node: &NodeProto,
        index: usize,
        what: &str,
    ) -> Result<Option<Vec<i64>>, Refusal> {
        if !reads(node, index) {
            return Ok(None);
        }
        match self
            .constant(node, index)
            .and_then(|tensor| tensor.to_i64())
        {
            Some(numbers) => Ok(Some(numbers)),
            None => cannot(format!("its {what} are computed, and were an attribute")),
        }
    }

    /// A constant.
    pub fn tensor(&mut self, node: &NodeProto, hint: &str, tensor: Tensor) -> String {
        let key = (
            tensor.dtype as i32,
            tensor.dims.clone(),
            tensor.data.clone(),
        );
        if let Some(name) = self.made.get(&key) {
            return name.clone();
        }
        let name = self.names.fresh(&format!("{}/{hint}", node_key(node)));
        let mut constant = NodeProto {
            name: Some(name.clone()),
            op_type: Some("Constant".to_owned()),
            output: vec![name.clone()],
            ..NodeProto::default()
        };
        self.env.constants.insert(name.clone(), tensor.to_proto(""));
        let known = Known {
            dims: Some(tensor.dims.iter().map(|&d| Some(d as i64)).collect()),
            ..Known::tensor(tensor.dtype as i32)
        };
        self.env.values.insert(name.clone(), known);
        set(&mut constant, "value", tensor);
        self.constants.push(constant);
        self.made.insert(key, name.clone());
        name
    }

    /// A constant list of integers.
    pub fn numbers(&mut self, node: &NodeProto, hint: &str, values: &[i64]) -> String {
        self.tensor(node, hint, Tensor::i64s(values))
    }

    /// A constant float of this type.
    pub fn float(
        &mut self,
        node: &NodeProto,
        hint: &str,
        element: i32,
        value: f32,
    ) -> Result<String, Refusal> {
        match float_tensor(element, &[], &[value]) {
            Some(tensor) => Ok(self.tensor(node, hint, tensor)),
            None => cannot("it is not of floats"),
        }
    }

    /// A node ahead of the one at hand, whose output is like this.
    pub fn op(
        &mut self,
        node: &NodeProto,
        (hint, op_type): (&str, &str),
        inputs: &[&str],
        attributes: Vec<(&str, Attribute)>,
        known: Known,
    ) -> String {
        let name = self.names.fresh(&format!("{}/{hint}", node_key(node)));
        let made = made(&name, op_type, inputs, &name, attributes);
        self.env.values.insert(name.clone(), known);
        self.ahead.push(made);
        name
    }

    /// A value for an output of the node at hand, which another node is to make of it.
    pub fn between(&mut self, node: &NodeProto, hint: &str, known: Known) -> String {
        let name = self.names.fresh(&format!("{}/{hint}", node_key(node)));
        self.env.values.insert(name.clone(), known);
        name
    }

    /// Leaves an input out.
    pub fn drop_input(&mut self, node: &mut NodeProto, index: usize) {
        if reads(node, index) {
            self.let_go.push(std::mem::take(&mut node.input[index]));
        }
        while node.input.last().is_some_and(String::is_empty) {
            node.input.pop();
        }
    }

    /// Something to be said of a node.
    pub fn note(&mut self, node: &NodeProto, text: &str) {
        self.notes.push(format!("node {}: {text}", shown(node)));
    }
}

/// A node.
pub(super) fn made(
    name: &str,
    op_type: &str,
    inputs: &[&str],
    output: &str,
    attributes: Vec<(&str, Attribute)>,
) -> NodeProto {
    let mut node = NodeProto {
        name: Some(name.to_owned()),
        op_type: Some(op_type.to_owned()),
        input: inputs.iter().map(|&i| i.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    };
    for (name, value) in attributes {
        set(&mut node, name, value);
    }
    node
}

/// A tensor of floats of this type.
pub(super) fn float_tensor(element: i32, dims: &[usize], values: &[f32]) -> Option<Tensor> {
    let dtype = DataType::from_number(element).filter(|d| d.is_float())?;
    let zero = Tensor {
        dtype,
        dims: dims.to_vec(),
        data: vec![0; dtype.size() * values.len()].into(),
    };
    zero.with_f32_values(values)
}

/// Whether a node has an input there.
pub(super) fn reads(node: &NodeProto, index: usize) -> bool {
    node.input.get(index).is_some_and(|name| !name.is_empty())
}

/// Whether a node makes an output there.
pub(super) fn makes(node: &NodeProto, index: usize) -> bool {
    node.output.get(index).is_some_and(|name| !name.is_empty())
}

/// Gives a node an input at a place.
pub(super) fn put(node: &mut NodeProto, index: usize, name: String) {
    if node.input.len() <= index {
        node.input.resize(index + 1, String::new());
    }
    node.input[index] = name;
}

/// Makes a node another one, which makes what it made.
pub(super) fn become_(
    node: &mut NodeProto,
    op_type: &str,
    inputs: &[&str],
    attributes: Vec<(&str, Attribute)>,
) {
    node.op_type = Some(op_type.to_owned());
    node.input = inputs.iter().map(|&i| i.to_owned()).collect();
    node.attribute.clear();
    for (name, value) in attributes {
        set(node, name, value);
    }
}

/// A node in messages.
pub(super) fn shown(node: &NodeProto) -> String {
    let name = match node.name.as_deref().unwrap_or_default() {
        "" => node_key(node),
        name => name.to_owned(),
    };
    format!("`{name}` ({})", node.op_type.as_deref().unwrap_or_default())
}
