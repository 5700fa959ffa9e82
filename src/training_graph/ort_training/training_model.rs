//! The graph of loss and gradients.
//!
//! onnxruntime tells its inputs and outputs apart by their names: a parameter by that in the checkpoint, what gathers the
//! gradient of parameter P as `P_grad.accumulation.buffer`, and what says that it was added to as `P_grad.accumulation.out`.
//! `lazy_reset_grad` says whether gathering begins anew. All other inputs are the user's, in their order, and all other
//! outputs what a step gives. Source: `orttraining/training_api/module.cc` and `utils.cc` of onnxruntime 1.19.

use std::collections::HashMap;

use crate::graph::{Graph, Names, Node, Value};
use crate::onnx::DataType;
use crate::training::program::{LABELS as CLASSES, Prepared, Program, TARGETS};
use crate::training::{GradientOutput, rename};

use super::super::TrainingGraphError;
use super::{MICROSOFT, Tensors};

const RESET: &str = "lazy_reset_grad";
const GRADIENT: &str = "_grad";
const BUFFER: &str = ".accumulation.buffer";
const ADDED: &str = ".accumulation.out";

/// Whether a value of this name would not be taken for the user's.
fn is_reserved(name: &str) -> bool {
    let gradient = [BUFFER, ADDED]
        .into_iter()
        .find_map(|end| name.strip_suffix(end));
    name == RESET || gradient.unwrap_or(name).ends_with(GRADIENT)
}

/// `program`, forward pass, loss and gradients of `prepared`, with parameters as inputs and a node behind each gradient that
/// gathers it. What the loss is held against, and the loss, get these names.
///
/// # Errors
/// Where the name of an input or a parameter means something else to onnxruntime.
pub(super) fn training_model(
    prepared: &Prepared,
    program: Program,
    (trained, frozen): (&Tensors, &Tensors),
    (labels, loss): (&str, &str),
) -> Result<Graph, TrainingGraphError> {
    let mut graph = program.graph;
    let own: Vec<String> = prepared
        .graph
        .inputs
        .iter()
        .map(|v| v.name.clone())
        .collect();
    let parameters = || trained.iter().chain(frozen).map(|(name, _)| name.clone());
    let mut names: Names = own.iter().cloned().chain(parameters()).collect();
    for name in own.iter().map(String::as_str).chain([labels, loss]) {
        if is_reserved(name) {
            return Err(reserved(name));
        }
    }
    let mut public = HashMap::new();
    if let Some((value, _)) = &program.loss {
        public.insert(value.clone(), loss.to_owned());
    }
    let is_input = |name: &&str| graph.inputs.iter().any(|v| v.name == **name);
    let ours = [CLASSES, TARGETS].into_iter().find(is_input);
    if let Some(ours) = ours {
        public.insert(ours.to_owned(), labels.to_owned());
    }
    // Of standard operators, so that each is one value.
    let made = program.loss.iter().flat_map(|(_, gradients)| gradients);
    let made = made
        .flat_map(GradientOutput::ports)
        .map(|port| port.name.clone());
    // A value that is not there, in whose favour inner values of the name give way.
    let of_ours = |name: &str| format!("{name}/ours");
    let mut gathered = Vec::new();
    for ((parameter, tensor), value) in trained.iter().zip(made) {
        let gradient = names.fresh(&format!("{parameter}{GRADIENT}"));
        public.insert(value, gradient.clone());
        let [buffer, added] = [BUFFER, ADDED].map(|end| format!("{parameter}{GRADIENT}{end}"));
        for name in [&buffer, &added] {
            if names.fresh(name) != *name {
                return Err(reserved(name));
            }
            public.insert(of_ours(name), name.clone());
        }
        gathered.push((gradient, [buffer, added], tensor.dims.as_slice()));
    }
    if names.fresh(RESET) != RESET {
        return Err(reserved(RESET));
    }
    public.insert(of_ours(RESET), RESET.to_owned());
    rename(&mut graph, public);

    // The order in which gradients stand is the one in which they take the least memory.
    let producers = graph.producers();
    let mut order: Vec<usize> = (0..gathered.len()).collect();
    order.sort_by_key(|&at| producers.get(gathered[at].0.as_str()).copied());
    for at in order {
        let (gradient, [buffer, added], _) = &gathered[at];
        let inputs = [buffer.as_str(), gradient, RESET];
        let mut node = Node::new(added, "InPlaceAccumulatorV2", &inputs, &[added]);
        MICROSOFT.clone_into(&mut node.domain);
        graph.nodes.push(node);
    }
    if !graph.domains.iter().any(|(domain, _)| domain == MICROSOFT) {
        graph.domains.push((MICROSOFT.to_owned(), 1));
    }

    let mut declared: HashMap<String, Value> = HashMap::new();
    for value in graph.inputs.drain(..) {
        declared.insert(value.name.clone(), value);
    }
    let users = own.into_iter().chain(ours.map(|_| labels.to_owned()));
    graph.inputs = users.filter_map(|name| declared.remove(&name)).collect();
    for (name, tensor) in trained.iter().chain(frozen) {
        graph.initializers.shift_remove(name);
        graph
            .inputs
            .push(Value::fixed(name, DataType::Float, &tensor.dims));
    }
    let flag = |name: &str| Value::fixed(name, DataType::Bool, &[1]);
    graph.outputs = vec![Value::fixed(loss, DataType::Float, &[])];
    for (_, [buffer, added], dims) in &gathered {
        graph
            .inputs
            .push(Value::fixed(buffer, DataType::Float, dims));
        graph.outputs.push(flag(added));
    }
    graph.inputs.push(flag(RESET));
    graph.sort()?;
    graph.prune();
    Ok(graph)
}

fn reserved(name: &str) -> TrainingGraphError {
    TrainingGraphError::Mismatch(format!(
        "the model has a value `{name}`, and that name means something else to onnxruntime's training API; give it another"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_onnxruntime_reads_are_known() {
        for name in [
            "lazy_reset_grad",
            "a_grad",
            "a_grad.accumulation.out",
            "_grad.accumulation.buffer",
        ] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["grad", "a_grad.b", "a.accumulation.out", "image"] {
            assert!(!is_reserved(name), "{name}");
        }
    }
}
