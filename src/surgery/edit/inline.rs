//! The model's own functions, written out.

use crate::graph::{GraphError, write_out_functions};

use super::super::SurgeryError;
use super::super::difference::Part;
use super::{Editor, Named, node_key};

impl Editor<'_> {
    /// Writes out each call of a function that the model carries, in its graph and in the graphs inside of
    /// nodes, as runtimes do before they run it, and removes the functions. What a call makes keeps its
    /// names; values and nodes inside of it get those of the function behind the name of the call, with a
    /// number where that is taken: `call/value`.
    ///
    /// # Errors
    /// When a function does not fit its call, reads what it does not have, was written for another version
    /// of an operator set than the model, calls itself; and when the model carries training graphs, which
    /// may call it. Nothing is changed then.
    pub fn inline(&mut self) -> Result<(), SurgeryError> {
        let Some(written) = write_out_functions(&self.proto)? else {
            return Ok(());
        };
        if !self.proto.training_info.is_empty() {
            let function = self.proto.functions.first().map(Named::key);
            return Err(GraphError::Function {
                function: function.unwrap_or_default(),
                reason: "the model carries training graphs, which may call it".to_owned(),
            }
            .into());
        }
        for node in written.calls.iter().chain(&written.nodes) {
            self.touch(Part::Node, node_key(node));
        }
        let kept = |output: &&String| !written.calls.iter().any(|c| c.output.contains(output));
        let made = written.nodes.iter().flat_map(|n| &n.output);
        self.added.extend(made.filter(kept).cloned());
        for function in std::mem::take(&mut self.proto.functions) {
            self.touch(Part::Function, function.key());
        }
        for import in &written.imports {
            self.touch(Part::OperatorSet, import.key());
        }
        self.inlined = true;
        self.proto.graph = Some(written.graph);
        self.proto.opset_import.extend(written.imports);
        Ok(())
    }
}
