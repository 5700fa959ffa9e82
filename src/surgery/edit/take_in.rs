//! External data moves inside.

use crate::onnx::messages::{GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto};
use crate::onnx::{Model, is_external};

use super::super::SurgeryError;
use super::Editor;
use super::tensors::store;

impl Editor<'_> {
    /// Takes all external data into the model, which then stands alone: of initializers, sparse ones
    /// and attributes, in graphs inside of nodes, in functions and in training graphs.
    ///
    /// # Errors
    /// When it cannot be read, does not fit its declaration or leaves the model's folder.
    pub fn take_in(&mut self) -> Result<(), SurgeryError> {
        self.taken_in = true;
        of_model(self.original, &mut self.proto)
    }
}

/// A model with all its external data inside; in memory it may be of any size.
///
/// # Errors
/// As [`Editor::take_in`].
pub fn taken_in(model: &Model) -> Result<Model, SurgeryError> {
    let mut proto = model.proto.clone();
    of_model(model, &mut proto)?;
    Ok(model.with_proto(proto))
}

fn of_model(files: &Model, model: &mut ModelProto) -> Result<(), SurgeryError> {
    if let Some(graph) = &mut model.graph {
        of_graph(files, graph)?;
    }
    for function in &mut model.functions {
        of_nodes(files, &mut function.node)?;
        for attribute in &mut function.attribute_proto {
            if let Some(tensor) = &mut attribute.t {
                of_tensor(files, tensor)?;
            }
        }
    }
    for training in &mut model.training_info {
        let graphs = training.initialization.iter_mut();
        for graph in graphs.chain(&mut training.algorithm) {
            of_graph(files, graph)?;
        }
    }
    Ok(())
}

// Decoding refuses messages that nest so deeply that this could not.
fn of_graph(files: &Model, graph: &mut GraphProto) -> Result<(), SurgeryError> {
    for tensor in &mut graph.initializer {
        of_tensor(files, tensor)?;
    }
    for sparse in &mut graph.sparse_initializer {
        of_sparse(files, sparse)?;
    }
    of_nodes(files, &mut graph.node)
}

fn of_nodes(files: &Model, nodes: &mut [NodeProto]) -> Result<(), SurgeryError> {
    for attribute in nodes.iter_mut().flat_map(|n| &mut n.attribute) {
        for tensor in attribute.t.iter_mut().chain(&mut attribute.tensors) {
            of_tensor(files, tensor)?;
        }
        let sparse = attribute.sparse_tensor.iter_mut();
        for sparse in sparse.chain(&mut attribute.sparse_tensors) {
            of_sparse(files, sparse)?;
        }
        for graph in attribute.subgraphs_mut() {
            of_graph(files, graph)?;
        }
    }
    Ok(())
}

fn of_sparse(files: &Model, sparse: &mut SparseTensorProto) -> Result<(), SurgeryError> {
    for tensor in sparse.values.iter_mut().chain(&mut sparse.indices) {
        of_tensor(files, tensor)?;
    }
    Ok(())
}

fn of_tensor(files: &Model, proto: &mut TensorProto) -> Result<(), SurgeryError> {
    if is_external(proto) {
        let tensor = files.tensor(proto)?;
        store(proto, &tensor);
    }
    Ok(())
}
