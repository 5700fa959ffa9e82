//! Folds what follows a convolution, or the gradient of its input, into it.

use std::collections::{HashMap, HashSet};

use crate::graph::{Graph, Node};
use crate::kernels::Activation;
use crate::kernels::dialect::{Kernel, Operator, Optional};

/// What a node lets its producer do.
enum Step {
    /// Add this value.
    Add(String),
    /// Apply an activation to the sum.
    Activate(Activation),
    /// Multiply with the activation's slope at this value.
    Slope(String, Activation),
}

/// Folds, wherever the value between has no other reader: into `Conv` the addition of another map
/// and then an activation; into `ConvInputGradient` the addition of another gradient and then the
/// gradient of the activation that made the convolution's input.
///
/// `dims` tells the dimensions of a value, whatever its layout. The graph is left unsorted: a host may
/// read what is computed behind it.
pub(super) fn fuse<'a>(graph: &mut Graph, dims: &dyn Fn(&str) -> Option<&'a [usize]>) {
    let mut hosts: HashMap<String, usize> = graph
        .nodes
        .iter()
        .enumerate()
        .filter(|(_, n)| is_host(n))
        .filter_map(|(i, n)| Some((n.output(0)?.to_owned(), i)))
        .collect();
    let mut readers: HashMap<String, usize> = HashMap::new();
    let outputs = graph.outputs.iter().map(|v| v.name.as_str());
    for name in graph
        .nodes
        .iter()
        .flat_map(Node::present_inputs)
        .chain(outputs)
    {
        *readers.entry(name.to_owned()).or_default() += 1;
    }
    let mut gone = HashSet::new();
    for (index, node) in graph.nodes.clone().iter().enumerate() {
        let Some(output) = node.output(0) else {
            continue;
        };
        let candidates: Vec<(usize, String)> = node
            .present_inputs()
            .filter(|i| readers.get(*i) == Some(&1))
            .filter_map(|i| Some((*hosts.get(i)?, i.to_owned())))
            .collect();
        // Of two convolutions that are added the later one can take the sum of the earlier.
        let Some((host, value)) = candidates.into_iter().max_by_key(|(host, _)| *host) else {
            continue;
        };
        let Some(step) = step(graph, node, &value, dims) else {
            continue;
        };
        if !apply(&mut graph.nodes[host], step) {
            continue;
        }
        graph.nodes[host].outputs[0] = output.to_owned();
        hosts.remove(&value);
        hosts.insert(output.to_owned(), host);
        gone.insert(index);
    }
    let mut index = 0;
    graph.nodes.retain(|_| {
        index += 1;
        !gone.contains(&(index - 1))
    });
}

fn is_host(node: &Node) -> bool {
    let operator = node.kernel_operator();
    matches!(operator, Some(Operator::Conv | Operator::ConvInputGradient))
}

/// What `node` does to its input `value`, if a host can do it.
fn step<'a>(
    graph: &Graph,
    node: &Node,
    value: &str,
    dims: &dyn Fn(&str) -> Option<&'a [usize]>,
) -> Option<Step> {
    let bound = |index: usize, absent: f32| match node.input(index) {
        None => Some(absent),
        Some(name) => match graph.initializers.get(name)?.to_f32()?.as_slice() {
            [bound] => Some(*bound),
            _ => None,
        },
    };
    if let Ok(Some(Kernel::ActivationGradient(of))) = node.kernel() {
        let y = node.input(1).filter(|_| node.input(0) == Some(value))?;
        return Some(Step::Slope(y.to_owned(), of));
    }
    if node.is("Relu") {
        return Some(Step::Activate(Activation::Relu));
    }
    if node.is("Clip") && node.input(0) == Some(value) {
        let bounds = (bound(1, f32::NEG_INFINITY)?, bound(2, f32::INFINITY)?);
        return Some(Step::Activate(Activation::between(bounds.0, bounds.1)));
    }
    if (node.is("Add") || node.is("Sum")) && node.inputs.len() == 2 {
        let other = node.present_inputs().find(|i| *i != value)?;
        let same = dims(other).is_some() && dims(other) == dims(value);
        return same.then(|| Step::Add(other.to_owned()));
    }
    None
}

/// Lets `host` take a step, if it has room for it.
fn apply(host: &mut Node, step: Step) -> bool {
    let Ok(Some(mut kernel)) = host.kernel() else {
        return false;
    };
    let (activation, forward) = match &mut kernel {
        Kernel::Conv { activation, .. } => (activation, true),
        Kernel::ConvInputGradient { activation, .. } => (activation, false),
        _ => return false,
    };
    if *activation != Activation::None {
        return false;
    }
    let input = match step {
        Step::Activate(of) if forward => {
            *activation = of;
            None
        }
        Step::Slope(y, of) if !forward => {
            *activation = of;
            Some((Optional::X, y))
        }
        Step::Add(other) if forward => Some((Optional::Residual, other)),
        Step::Add(other) => Some((Optional::Addend, other)),
        Step::Activate(_) | Step::Slope(..) => return false,
    };
    if let Some((kind, name)) = input {
        let place = kernel.operator().place(kind);
        let Some(place) = place.filter(|&place| host.input(place).is_none()) else {
            return false;
        };
        let count = host.inputs.len().max(place + 1);
        host.inputs.resize(count, String::new());
        host.inputs[place] = name;
    }
    host.set_kernel(&kernel);
    true
}
