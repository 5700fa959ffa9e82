//! The graph of the update.
//!
//! onnxruntime asks for these names in this order, and for one node that is its optimizer. It gives parameters, gradients
//! and moments as sequences, which the node changes in place, and the number of the step from 1.
//! Source: `orttraining/training_api/optimizer.cc` of onnxruntime 1.19, and of its operators
//! <https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>.

use crate::graph::{Graph, Node, Value, value_to_proto};
use crate::onnx::DataType;
use crate::onnx::messages::{
    ModelProto, SequenceType, TensorShapeProto, TensorType, TypeProto, TypeValue, ValueInfoProto,
};
use crate::training::{BETA1, BETA2, EPSILON, Optimizer, OptimizerKind};

use super::super::TrainingGraphError;
use super::MICROSOFT;

const RATE: &str = "learning_rate";
const STEP: &str = "step";
const PARAMETERS: &str = "params";
const GRADIENTS: &str = "gradients";
const FIRST: &str = "first_order_moments";
const SECOND: &str = "second_order_moments";
const UPDATED: &str = "updated";

/// `optimizer`, behind clipping of the gradients to a norm where one is given.
///
/// # Errors
/// Where onnxruntime has no such optimizer.
pub(super) fn optimizer_model(
    optimizer: &Optimizer,
    clip_norm: Option<f32>,
) -> Result<ModelProto, TrainingGraphError> {
    let Optimizer {
        kind,
        weight_decay,
        momentum,
        ..
    } = *optimizer;
    let missing = match kind {
        OptimizerKind::Sgd if momentum != 0.0 => Some("SGD with momentum"),
        OptimizerKind::Sgd if weight_decay != 0.0 => Some("SGD with weight decay"),
        OptimizerKind::Adam if weight_decay != 0.0 => {
            Some("Adam with weight decay in its gradient (AdamW has it apart)")
        }
        _ => None,
    };
    if let Some(missing) = missing {
        return Err(TrainingGraphError::Mismatch(format!(
            "onnxruntime's training API has no {missing}"
        )));
    }
    let mut nodes = Vec::new();
    let mut gradients = GRADIENTS;
    if let Some(norm) = clip_norm {
        gradients = "clipped";
        let node = Node::new(gradients, "InplaceClipGradNorm", &[GRADIENTS], &[gradients]);
        nodes.push(node.with("max_norm", norm));
    }
    let moments: &[&str] = match kind {
        // It is given some, and leaves them.
        OptimizerKind::Sgd => &[FIRST],
        OptimizerKind::Adam | OptimizerKind::Adamw => &[FIRST, SECOND],
    };
    nodes.push(match kind {
        OptimizerKind::Sgd => {
            let inputs = [RATE, PARAMETERS, gradients];
            Node::new(UPDATED, "SGDOptimizerV2", &inputs, &[UPDATED])
        }
        OptimizerKind::Adam | OptimizerKind::Adamw => {
            let inputs = [RATE, STEP, PARAMETERS, gradients, FIRST, SECOND];
            Node::new(UPDATED, "AdamWOptimizer", &inputs, &[UPDATED])
                .with("alpha", BETA1 as f32)
                .with("beta", BETA2 as f32)
                .with("epsilon", EPSILON)
                .with("weight_decay", weight_decay)
                .with("correct_bias", 1)
                // As PyTorch does it: the parameter decays before its step.
                .with("adam_mode", 0)
        }
    });
    for node in &mut nodes {
        MICROSOFT.clone_into(&mut node.domain);
    }
    let mut graph = Graph::new(21);
    graph.domains.push((MICROSOFT.to_owned(), 1));
    graph.inputs.push(Value::fixed(RATE, DataType::Float, &[1]));
    graph.inputs.push(Value::fixed(STEP, DataType::Int64, &[1]));
    // The inferred dimensions differ with the node.
    graph.outputs.push(Value {
        dims: None,
        ..Value::fixed(UPDATED, DataType::Bool, &[])
    });
    graph.nodes = nodes;
    let mut model = graph.to_model(usize::MAX).0;
    if let Some(graph) = &mut model.graph {
        let lists = [PARAMETERS, GRADIENTS]
            .into_iter()
            .chain(moments.iter().copied());
        graph.input.extend(lists.map(sequence));
        if clip_norm.is_some() {
            graph.value_info.push(sequence(gradients));
        }
    }
    Ok(model)
}

/// A sequence of float tensors of any dimensions.
fn sequence(name: &str) -> ValueInfoProto {
    let tensor = TypeValue::Tensor(TensorType {
        elem_type: Some(DataType::Float as i32),
        shape: None::<TensorShapeProto>,
    });
    let list = TypeValue::Sequence(SequenceType {
        elem_type: Some(Box::new(TypeProto {
            value: Some(tensor),
            ..TypeProto::default()
        })),
    });
    ValueInfoProto {
        r#type: Some(TypeProto {
            value: Some(list),
            ..TypeProto::default()
        }),
        ..value_to_proto(&Value::fixed(name, DataType::Float, &[]))
    }
}
