//! What a model's local functions come to.

use std::collections::HashMap;

use super::messages::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto};

/// Nodes beyond which a model is refused whose functions call one another.
pub(super) const MOST_NODES: u64 = 1 << 17;
/// Calls within calls beyond which it is refused.
const DEEPEST: usize = 100;

/// Whether the model has no more than [`MOST_NODES`] nodes once every call of a local function is
/// replaced by its nodes, as runtimes do. A few kilobytes of functions that call each other twice can
/// come to more than any memory holds.
pub(crate) fn stay_few(model: &ModelProto) -> bool {
    let Some(graph) = model.graph.as_ref().filter(|_| !model.functions.is_empty()) else {
        return true;
    };
    let functions = model.functions.iter().map(|f| (key(&f.domain, &f.name), f));
    let mut count = Count {
        functions: functions.collect(),
        known: HashMap::new(),
    };
    let nodes = count.graph(graph, 0);
    nodes.is_some_and(|nodes| nodes <= MOST_NODES)
}

/// All nodes of the model, those of inner graphs and functions, too.
pub(super) fn all_nodes(model: &ModelProto) -> Vec<&NodeProto> {
    let mut all = Vec::new();
    let mut graphs: Vec<&GraphProto> = model.graph.iter().collect();
    let mut nodes: Vec<&NodeProto> = model.functions.iter().flat_map(|f| &f.node).collect();
    loop {
        for node in std::mem::take(&mut nodes) {
            all.push(node);
            graphs.extend(node.attribute.iter().flat_map(AttributeProto::subgraphs));
        }
        match graphs.pop() {
            Some(graph) => nodes.extend(&graph.node),
            None => return all,
        }
    }
}

type Key<'a> = (&'a str, &'a str);

fn key<'a>(domain: &'a Option<String>, name: &'a Option<String>) -> Key<'a> {
    let text = |s: &'a Option<String>| s.as_deref().unwrap_or("");
    (text(domain), text(name))
}

struct Count<'a> {
    functions: HashMap<Key<'a>, &'a FunctionProto>,
    known: HashMap<Key<'a>, u64>,
}

impl<'a> Count<'a> {
    fn graph(&mut self, graph: &'a GraphProto, depth: usize) -> Option<u64> {
        self.nodes(&graph.node, depth)
    }

    /// `None` where functions call themselves, or calls go too deep.
    fn nodes(&mut self, nodes: &'a [NodeProto], depth: usize) -> Option<u64> {
        let mut sum = 0u64;
        for node in nodes {
            sum = sum.saturating_add(1);
            for attribute in &node.attribute {
                for graph in attribute.subgraphs() {
                    sum = sum.saturating_add(self.graph(graph, depth)?);
                }
            }
            sum = sum.saturating_add(self.call(key(&node.domain, &node.op_type), depth)?);
        }
        Some(sum)
    }

    /// The nodes of a function; none where it is an operator.
    fn call(&mut self, callee: Key<'a>, depth: usize) -> Option<u64> {
        let Some(&function) = self.functions.get(&callee) else {
            return Some(0);
        };
        if let Some(&known) = self.known.get(&callee) {
            return Some(known);
        }
        if depth >= DEEPEST {
            return None;
        }
        let nodes = self.nodes(&function.node, depth + 1)?;
        self.known.insert(callee, nodes);
        Some(nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(op_type: &str) -> NodeProto {
        NodeProto {
            op_type: Some(op_type.to_owned()),
            domain: Some("local".to_owned()),
            ..Default::default()
        }
    }

    /// A model that calls `F0`; each function calls the next `times` times, the last `ends_with`.
    fn model(functions: usize, times: usize, ends_with: &str) -> ModelProto {
        let function = |i: usize| {
            let callee = match i + 1 == functions {
                true => node(ends_with),
                false => node(&format!("F{}", i + 1)),
            };
            FunctionProto {
                name: Some(format!("F{i}")),
                domain: Some("local".to_owned()),
                node: vec![callee; times],
                ..Default::default()
            }
        };
        ModelProto {
            graph: Some(GraphProto {
                node: vec![node("F0")],
                ..Default::default()
            }),
            functions: (0..functions).map(function).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn functions_that_double_and_double_are_refused_and_real_ones_are_not() {
        assert!(stay_few(&model(0, 1, "Relu")));
        assert!(stay_few(&model(30, 1, "Relu")));
        assert!(stay_few(&model(1, 1000, "Relu")));
        assert!(stay_few(&model(10, 2, "Relu")));
        assert!(!stay_few(&model(40, 2, "Relu")));
        assert!(!stay_few(&model(90, 9, "Relu")));
        assert!(!stay_few(&model(2, 1, "F0")), "a circle");
        assert!(!stay_few(&model(100_000, 1, "Relu")), "a deep chain");
    }

    #[test]
    fn an_operator_is_found_in_functions() {
        let of = |op: &'static str| {
            let model = model(3, 1, op);
            all_nodes(&model)
                .iter()
                .any(|n| n.op_type.as_deref() == Some("Loop"))
        };
        assert!(of("Loop") && !of("Relu"));
    }
}
