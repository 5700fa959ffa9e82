//! Nodes of the kernels' domain ([`dialect`]).

use crate::kernels::dialect::{self, Attributes, DOMAIN, Kernel, Operator, Value};

use super::{Attribute, Graph, GraphError, Node};

impl From<Value> for Attribute {
    fn from(value: Value) -> Self {
        match value {
            Value::Int(v) => Attribute::Int(v),
            Value::Float(v) => Attribute::Float(v),
            Value::Ints(v) => Attribute::Ints(v),
        }
    }
}

impl Attributes for Node {
    fn int(&self, name: &str) -> Option<i64> {
        match self.attributes.get(name)? {
            Attribute::Int(v) => Some(*v),
            _ => None,
        }
    }

    fn float(&self, name: &str) -> Option<f32> {
        match self.attributes.get(name)? {
            Attribute::Float(v) => Some(*v),
            _ => None,
        }
    }

    fn ints(&self, name: &str) -> Option<Vec<i64>> {
        match self.attributes.get(name)? {
            Attribute::Ints(v) => Some(v.clone()),
            _ => None,
        }
    }
}

impl Node {
    /// A node that runs `kernel`.
    pub fn of_kernel(name: &str, kernel: &Kernel, inputs: &[&str], outputs: &[&str]) -> Self {
        let mut node = Node::new(name, kernel.operator().name(), inputs, outputs);
        node.domain = DOMAIN.to_owned();
        node.set_kernel(kernel);
        node
    }

    /// The kernels' operator that this is a node of, if it is.
    pub fn kernel_operator(&self) -> Option<Operator> {
        let name = Some(&self.op_type).filter(|_| self.domain == DOMAIN)?;
        Operator::named(name)
    }

    /// The kernel that this node runs, if it is one of theirs.
    ///
    /// # Errors
    /// When its attributes are no kernel's.
    pub fn kernel(&self) -> Result<Option<Kernel>, GraphError> {
        let kernel = self.kernel_operator().map(|o| Kernel::read(o, self));
        kernel.transpose().map_err(|e| self.error(e.to_string()))
    }

    /// Lets a node of a kernel say another thing of it; what `kernel` does not mention stays.
    pub fn set_kernel(&mut self, kernel: &Kernel) {
        let attributes = kernel.attributes().into_iter();
        self.attributes
            .extend(attributes.map(|(name, value)| (name.to_owned(), value.into())));
    }

    /// Takes absent inputs out and notes where the optional ones now are: older versions of onnxruntime
    /// (1.19 to 1.22) end the process where a custom operator's input is left out before another.
    pub(crate) fn close_gaps(&mut self, operator: Operator) {
        let signature = operator.signature();
        let mut inputs = std::mem::take(&mut self.inputs);
        let optional = inputs.split_off(signature.inputs.min(inputs.len()));
        for (input, kind) in optional.into_iter().zip(signature.optional) {
            if !input.is_empty() {
                let place = inputs.len() as i64;
                self.attributes.insert(kind.name().to_owned(), place.into());
                inputs.push(input);
            }
        }
        self.inputs = inputs;
    }

    /// Notes the dimensions of output `index`.
    pub(crate) fn note_shape(&mut self, index: usize, dims: Vec<i64>) {
        self.attributes
            .insert(dialect::shape_attribute(index), dims.into());
    }
}

impl Graph {
    /// Whether the graph declares the kernels' domain, so that a session of it needs them.
    pub fn has_kernels(&self) -> bool {
        self.domains.iter().any(|(domain, _)| domain == DOMAIN)
    }

    /// Declares the kernels' domain where a node is of it.
    pub(crate) fn declare_kernels(&mut self) {
        if !self.has_kernels() && self.nodes.iter().any(|n| n.domain == DOMAIN) {
            self.domains.push((DOMAIN.to_owned(), 1));
        }
    }
}
