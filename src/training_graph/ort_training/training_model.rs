//! The graph of loss and gradients.
//!
//! onnxruntime tells its inputs and outputs apart by their names: a parameter by that in the checkpoint, what gathers the
//! gradient of parameter P as `P_grad.accumulation.buffer`, and what says that it was added to as `P_grad.accumulation.out`.
//! `lazy_reset_grad` says whether gathering begins anew. All other inputs are the user's, in their order, and all other
//! outputs what a step gives. Source: `orttraining/training_api/module.cc` and `utils.cc` of onnxruntime 1.19.

use std::collections::HashMap;

use crate::graph::{Graph, Names, Node, Value};
use crate::onnx::DataType;
use crate::training::program::{LABELS as CLASSES, Port, Program, TARGETS};
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

/// What goes into a training model besides parameters, and the loss.
pub(super) struct Ports<'a> {
    /// The user's inputs, in their order, by the names that the program has for them.
    pub inputs: &'a [String],
    /// What that is called which the loss is held against.
    pub labels: &'a str,
    /// What the loss is called.
    pub loss: &'a str,
}

/// `program`, forward pass, loss and gradients, with parameters as inputs and a node behind each gradient that gathers it:
/// those that it trains, and `frozen` ones.
///
/// # Errors
/// Where the name of an input or a parameter means something else to onnxruntime.
pub(super) fn training_model(
    program: Program,
    frozen: &Tensors,
    ports: &Ports<'_>,
) -> Result<Graph, TrainingGraphError> {
    let mut graph = program.graph;
    let Ports { labels, loss, .. } = *ports;
    let trained = &program.parameters;
    let frozen: Vec<Port> = frozen
        .iter()
        .map(|(name, tensor)| Port {
            name: name.clone(),
            dims: tensor.dims.clone(),
        })
        .collect();
    let mut public = HashMap::new();
    let mut inputs = ports.inputs.to_vec();
    for input in inputs
        .iter_mut()
        .filter(|name| [CLASSES, TARGETS].contains(&name.as_str()))
    {
        public.insert(
            std::mem::replace(input, labels.to_owned()),
            labels.to_owned(),
        );
    }
    let parameters = || trained.iter().chain(&frozen).map(|port| port.name.clone());
    let mut names: Names = inputs.iter().cloned().chain(parameters()).collect();
    for name in inputs.iter().map(String::as_str).chain([loss]) {
        if is_reserved(name) {
            return Err(reserved(name));
        }
    }
    if let Some((value, _)) = &program.loss {
        public.insert(value.clone(), loss.to_owned());
    }
    // Of standard operators, so that each is one value.
    let made = program.loss.iter().flat_map(|(_, gradients)| gradients);
    let made = made
        .flat_map(GradientOutput::ports)
        .map(|port| port.name.clone());
    // A value that is not there, in whose favour inner values of the name give way.
    let of_ours = |name: &str| format!("{name}/ours");
    let mut gathered = Vec::new();
    for (port, value) in trained.iter().zip(made) {
        let parameter = &port.name;
        let gradient = names.fresh(&format!("{parameter}{GRADIENT}"));
        public.insert(value, gradient.clone());
        let [buffer, added] = [BUFFER, ADDED].map(|end| format!("{parameter}{GRADIENT}{end}"));
        for name in [&buffer, &added] {
            if names.fresh(name) != *name {
                return Err(reserved(name));
            }
            public.insert(of_ours(name), name.clone());
        }
        gathered.push((gradient, [buffer, added], port.dims.as_slice()));
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
    let users = inputs.iter().filter_map(|name| declared.remove(name));
    graph.inputs = users.collect();
    for Port { name, dims } in trained.iter().chain(&frozen) {
        graph.initializers.shift_remove(name);
        graph.inputs.push(Value::fixed(name, DataType::Float, dims));
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
