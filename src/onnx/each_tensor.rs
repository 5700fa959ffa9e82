//! All tensors of a model.

use super::messages::{
    AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto,
};

/// Visits every tensor that a model has, to change it: initializers, sparse ones and attributes, in its graph, in graphs
/// inside of nodes, in functions and in training graphs.
///
/// # Errors
/// The first of `visit`.
pub(crate) fn each_tensor<E>(
    model: &mut ModelProto,
    mut visit: impl FnMut(&mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    let visit = &mut visit;
    if let Some(graph) = &mut model.graph {
        of_graph(graph, visit)?;
    }
    for function in &mut model.functions {
        of_nodes(&mut function.node, visit)?;
        let defaults = function.attribute_proto.iter_mut();
        defaults.flat_map(|a| &mut a.t).try_for_each(&mut *visit)?;
    }
    for training in &mut model.training_info {
        let graphs = training.initialization.iter_mut();
        for graph in graphs.chain(&mut training.algorithm) {
            of_graph(graph, visit)?;
        }
    }
    Ok(())
}

// Decoding refuses messages that nest so deeply that this could not.
fn of_graph<E>(
    graph: &mut GraphProto,
    visit: &mut impl FnMut(&mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    graph.initializer.iter_mut().try_for_each(&mut *visit)?;
    let mut sparse = graph.sparse_initializer.iter_mut();
    sparse.try_for_each(|sparse| of_sparse(sparse, visit))?;
    of_nodes(&mut graph.node, visit)
}

fn of_nodes<E>(
    nodes: &mut [NodeProto],
    visit: &mut impl FnMut(&mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    for attribute in nodes.iter_mut().flat_map(|n| &mut n.attribute) {
        let tensors = attribute.t.iter_mut().chain(&mut attribute.tensors);
        for tensor in tensors {
            visit(tensor)?;
        }
        let sparse = attribute.sparse_tensor.iter_mut();
        for sparse in sparse.chain(&mut attribute.sparse_tensors) {
            of_sparse(sparse, visit)?;
        }
        for graph in AttributeProto::subgraphs_mut(attribute) {
            of_graph(graph, visit)?;
        }
    }
    Ok(())
}

fn of_sparse<E>(
    sparse: &mut SparseTensorProto,
    visit: &mut impl FnMut(&mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    let mut tensors = sparse.values.iter_mut().chain(&mut sparse.indices);
    tensors.try_for_each(visit)
}
