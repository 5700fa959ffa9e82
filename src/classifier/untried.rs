//! What onnxruntime is not given to try: models that it does not come back from, or comes back from with
//! all memory taken or with numbers that differ from run to run.

use std::collections::HashMap;
use std::time::Duration;

use crate::data::{memory_limit, show_bytes};
use crate::graph::{Dim, Graph, GraphError, Shapes, infer_what_fits, is_equation, normalise};
use crate::onnx::Model;

/// How long a run of a model with a loop may take, whose end nobody can foresee.
const LOOP_LIMIT: Duration = Duration::from_secs(20);
/// onnxruntime's optimiser takes time by the square of a node's inputs.
const MANY_INPUTS: usize = 1000;
/// Height and width where a model leaves them open.
const OPEN_SIDE: usize = 224;

/// Refuses a model, for one sample.
///
/// # Errors
/// The first node that is in training mode, has no equation where it is to have one, has a window that
/// takes no end, or makes a value that this process has no memory for.
pub(super) fn refuse(model: &Model, graph: &Graph) -> Result<(), GraphError> {
    equations(model)?;
    let mut normal = graph.clone();
    match normalise(&mut normal) {
        Ok(()) => {}
        Err(refused @ GraphError::TrainingMode { .. }) => return Err(refused),
        // onnxruntime may know what is not known here.
        Err(_) => return Ok(()),
    }
    let mut inputs = HashMap::new();
    for input in &normal.inputs {
        let dims = input.dims.iter().flatten().enumerate();
        let dims = dims.map(|(axis, dim)| match dim {
            Dim::Known(size) => *size,
            Dim::Symbolic(_) if axis == 0 => 1,
            Dim::Symbolic(_) => OPEN_SIDE,
        });
        inputs.insert(input.name.clone(), dims.collect());
    }
    let Ok((shapes, left)) = infer_what_fits(&normal, &inputs) else {
        return Ok(());
    };
    let mut refusals = left.into_iter().filter_map(|(_, refusal)| refusal);
    match refusals.find(|refusal| matches!(refusal, GraphError::TooLarge { .. })) {
        Some(refusal) => Err(refusal),
        None => room(&normal, &shapes, 1),
    }
}

/// Why a model is to be given to no runtime at all: it would not come back from it, or with all memory taken. A graph that is
/// none here is none of these: the runtime says what is wrong.
pub(crate) fn harm(model: &Model) -> Option<GraphError> {
    let mut graph = Graph::from_model(model).ok()?;
    // One in training mode gives other numbers each time, and comes back.
    for norm in graph
        .nodes
        .iter_mut()
        .filter(|n| n.is("BatchNormalization"))
    {
        norm.attributes.remove("training_mode");
        norm.outputs.truncate(1);
    }
    refuse(model, &graph).err()
}

/// Refuses a graph with a value that takes more memory for one of its `batch` samples than this process
/// may use.
///
/// # Errors
/// The first node that makes such a value.
pub(crate) fn room(graph: &Graph, shapes: &Shapes, batch: usize) -> Result<(), GraphError> {
    let Some(limit) = memory_limit() else {
        return Ok(());
    };
    for node in &graph.nodes {
        for info in node.present_outputs().filter_map(|o| shapes.info(o).ok()) {
            let sizes = info.dims.iter().map(|&size| size as u64);
            let bytes = sizes.fold(info.dtype.size() as u64, u64::saturating_mul);
            let samples = match info.dims.first() {
                Some(&first) if first == batch => batch.max(1) as u64,
                _ => 1,
            };
            if bytes / samples > limit {
                return Err(node.error(format!(
                    "a value of dimensions {:?} takes {}, more than the memory that there is ({})",
                    info.dims,
                    show_bytes(bytes),
                    show_bytes(limit)
                )));
            }
        }
    }
    Ok(())
}

/// From an equation of another form onnxruntime 1.32 does not return.
fn equations(model: &Model) -> Result<(), GraphError> {
    for node in model.nodes_of("Einsum") {
        let equations = node
            .attribute
            .iter()
            .filter(|a| a.name.as_deref() == Some("equation"));
        let texts = equations.filter_map(|a| a.s.as_deref());
        for text in texts.map(String::from_utf8_lossy) {
            if !is_equation(&text) {
                let output = node.output.first().map_or("", String::as_str);
                return Err(GraphError::Node {
                    node: format!("`{}` (Einsum)", node.name.as_deref().unwrap_or(output)),
                    reason: format!("`{text}` is no equation"),
                });
            }
        }
    }
    Ok(())
}

/// How long a run may take, where the model has a loop.
pub(crate) fn limit(model: &Model) -> Option<Duration> {
    let loops = ["Loop", "Scan"];
    let has_one = loops.iter().any(|op| !model.nodes_of(op).is_empty());
    has_one.then_some(LOOP_LIMIT)
}

/// Whether onnxruntime's optimiser comes back from a graph in reasonable time.
pub(crate) fn may_be_optimized(graph: &Graph) -> bool {
    graph.nodes.iter().all(|n| n.inputs.len() <= MANY_INPUTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::encode;
    use crate::onnx::messages::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto};

    fn node(op_type: &str) -> NodeProto {
        NodeProto {
            op_type: Some(op_type.to_owned()),
            ..NodeProto::default()
        }
    }

    fn opened(nodes: Vec<NodeProto>, functions: Vec<FunctionProto>) -> Model {
        let proto = ModelProto {
            graph: Some(GraphProto {
                node: nodes,
                ..GraphProto::default()
            }),
            functions,
            ..ModelProto::default()
        };
        Model::decode(encode(&proto).unwrap().into(), "loop.onnx".as_ref()).unwrap()
    }

    #[test]
    fn a_loop_anywhere_in_a_model_limits_its_runs() {
        for op in ["Loop", "Scan"] {
            let mut outer = node("If");
            outer.attribute.push(AttributeProto {
                name: Some("then_branch".to_owned()),
                g: Some(Box::new(GraphProto {
                    node: vec![node(op)],
                    ..GraphProto::default()
                })),
                ..AttributeProto::default()
            });
            let function = FunctionProto {
                node: vec![node(op)],
                ..FunctionProto::default()
            };
            for model in [
                opened(vec![node(op)], vec![]),
                opened(vec![outer], vec![]),
                opened(vec![node("Relu")], vec![function]),
            ] {
                assert_eq!(limit(&model), Some(LOOP_LIMIT), "{op}");
            }
        }
        assert_eq!(limit(&opened(vec![node("Relu")], vec![])), None);
    }
}
