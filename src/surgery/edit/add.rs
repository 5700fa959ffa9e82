//! Adding nodes and initializers.

use crate::graph::{GraphError, Value, value_to_proto};
use crate::onnx::Tensor;
use crate::onnx::messages::NodeProto;

use super::super::SurgeryError;
use super::super::difference::Part;
use super::{Editor, ensure_free, node_key, value_names};

impl Editor<'_> {
    /// Adds a node behind all others.
    ///
    /// # Errors
    /// When it has no operator or no output, an output or its name is taken, or it reads a value that
    /// the graph does not have.
    pub fn add_node(&mut self, node: NodeProto) -> Result<(), SurgeryError> {
        self.check_new(&node, &[])?;
        self.added.extend(node.output.iter().cloned());
        self.touch(Part::Node, node_key(&node));
        self.graph_mut().node.push(node);
        Ok(())
    }

    /// Checks a node that is to be added; it may read what `others` make, which are added with it.
    pub(super) fn check_new(
        &self,
        node: &NodeProto,
        others: &[NodeProto],
    ) -> Result<(), SurgeryError> {
        let shown = format!(
            "`{}` ({})",
            node.name.clone().unwrap_or_else(|| node_key(node)),
            node.op_type.as_deref().unwrap_or_default()
        );
        let refuse = |reason: &str| GraphError::Node {
            node: shown.clone(),
            reason: reason.to_owned(),
        };
        if node.op_type.as_deref().unwrap_or_default().is_empty() {
            return Err(refuse("it has no operator").into());
        }
        let outputs = || node.output.iter().filter(|o| !o.is_empty());
        if outputs().next().is_none() {
            return Err(refuse("it has no output").into());
        }
        let mut known = self.defined();
        known.extend(others.iter().flat_map(|n| &n.output).map(String::as_str));
        let unknown = |name: &&String| !name.is_empty() && !known.contains(name.as_str());
        if let Some(value) = node.input.iter().find(unknown) {
            return Err(GraphError::Undefined {
                node: shown,
                value: value.clone(),
            }
            .into());
        }
        let mut taken = value_names(self.graph());
        for output in outputs() {
            ensure_free(output, &taken)?;
            taken.insert(output.clone());
        }
        let name = node.name.as_deref().filter(|n| !n.is_empty());
        let mut nodes = self.graph().node.iter();
        if nodes.any(|other| name.is_some() && other.name.as_deref() == name) {
            return Err(SurgeryError::Taken {
                name: name.unwrap_or_default().to_owned(),
            });
        }
        Ok(())
    }

    /// Adds an initializer behind all others; before IR 4 also the graph input that stands for it.
    ///
    /// # Errors
    /// When its name is taken.
    pub fn add_tensor(&mut self, name: &str, tensor: &Tensor) -> Result<(), SurgeryError> {
        ensure_free(name, &value_names(self.graph()))?;
        let listed = self.proto.ir_version.unwrap_or(0) < 4;
        let graph = self.graph_mut();
        graph.initializer.push(tensor.to_proto(name));
        if listed {
            let value = Value::fixed(name, tensor.dtype, &tensor.dims);
            graph.input.push(value_to_proto(&value));
            self.touch(Part::Input, name);
        }
        self.touch(Part::Tensor, name);
        self.added.insert(name.to_owned());
        Ok(())
    }
}
