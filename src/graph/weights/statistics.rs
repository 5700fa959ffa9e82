//! Running statistics, also of batch normalisation that an exporter wrote out in arithmetic.

use std::collections::{HashMap, HashSet};

use crate::graph::{Graph, Node};

use super::{Constant, reads, takes_batch_statistics};

/// Names of the constants that are running means and variances.
///
/// Written out, `(x − mean) / √(variance + ε) · scale + shift`, or `x · r + (shift − mean · r)` with
/// r = scale / √(variance + ε), the variance is what a root is taken of, and the mean is subtracted before
/// that root divides, or as a product with it.
pub(super) fn names<'g>(
    graph: &'g Graph,
    constants: &HashMap<&'g str, Constant<'g>>,
    producers: &HashMap<&'g str, usize>,
    data: &HashSet<&'g str>,
) -> HashSet<&'g str> {
    let look = Look {
        graph,
        constants,
        producers,
    };
    let mut found = HashSet::new();
    // Values made of a root of a variance, without data.
    let mut roots: HashSet<&str> = HashSet::new();
    for node in &graph.nodes {
        if node.is("BatchNormalization") && !takes_batch_statistics(node, graph.opset) {
            let places = [3, 4].into_iter().filter_map(|place| node.input(place));
            found.extend(places.filter_map(|value| look.constant(value)));
        }
        let variance = look.variance(node);
        if variance.is_some() || reads(node, &roots) && !reads(node, data) {
            found.extend(variance);
            roots.extend(node.present_outputs());
        }
    }
    if roots.is_empty() {
        return found;
    }
    let mut differences: HashMap<&str, &str> = HashMap::new();
    for node in &graph.nodes {
        if node.is("Sub")
            && let (Some(second), Some(output)) = (node.input(1), node.output(0))
        {
            if let Some(mean) = look.constant(second) {
                differences.insert(output, mean);
            } else if let Some(product) = look.producer(second).filter(|n| n.is("Mul")) {
                let factors: Vec<&str> = product.present_inputs().collect();
                if factors.iter().any(|v| roots.contains(v)) {
                    found.extend(factors.iter().filter_map(|v| look.constant(v)));
                }
            }
        }
        if node.is("Div") || node.is("Mul") {
            let other = |v: &str| node.present_inputs().any(|o| o != v && roots.contains(o));
            let means = node.present_inputs().filter(|v| other(v));
            found.extend(means.filter_map(|v| differences.get(v).copied()));
        }
    }
    found
}

struct Look<'a, 'g> {
    graph: &'g Graph,
    constants: &'a HashMap<&'g str, Constant<'g>>,
    producers: &'a HashMap<&'g str, usize>,
}

impl<'g> Look<'_, 'g> {
    fn producer(&self, value: &str) -> Option<&'g Node> {
        self.producers.get(value).map(|&at| &self.graph.nodes[at])
    }

    /// The constant that `value` is, seen through what only rearranges it.
    fn constant(&self, value: &str) -> Option<&'g str> {
        let mut value = value;
        loop {
            if let Some((name, _)) = self.constants.get_key_value(value) {
                return Some(name);
            }
            let node = self.producer(value)?;
            if !node.elements().is_rearrangement() {
                return None;
            }
            value = node.input(0)?;
        }
    }

    /// The constant whose root `node` takes, with or without an epsilon.
    fn variance(&self, node: &Node) -> Option<&'g str> {
        if !node.is("Sqrt") && !node.is("Pow") {
            return None;
        }
        let base = node.input(0)?;
        let is_number = |name: &&str| self.constants[*name].len() == 1;
        if let Some(name) = self.constant(base) {
            return Some(name).filter(|_| node.is("Sqrt"));
        }
        let sum = self.producer(base).filter(|n| n.is("Add"))?;
        let terms: Vec<&str> = sum.present_inputs().collect();
        let terms: Vec<&'g str> = terms
            .into_iter()
            .map(|v| self.constant(v))
            .collect::<Option<_>>()?;
        terms.iter().find(|n| !is_number(n)).copied()
    }
}
