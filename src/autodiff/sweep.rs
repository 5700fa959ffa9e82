//! The reverse sweep.

use std::collections::{HashMap, HashSet};

use crate::graph::operators::Elements;
use crate::graph::{Builder, Graph, Shapes};

use crate::onnx::DataType;

use super::context::{Context, Refusal};
use super::rules::find_rule;
use super::{AutodiffError, Operators};

/// For each float value that depends on one of `sources`: the first source it depends on.
/// The sources themselves are included; the values `constants` depend on nothing.
pub fn dependents(
    graph: &Graph,
    shapes: &Shapes,
    sources: &[String],
    constants: &[String],
) -> HashMap<String, String> {
    let constants: HashSet<&str> = constants.iter().map(String::as_str).collect();
    let mut origin: HashMap<String, String> =
        sources.iter().map(|s| (s.clone(), s.clone())).collect();
    for node in &graph.nodes {
        let Some(source) = node.present_inputs().find_map(|i| origin.get(i)).cloned() else {
            continue;
        };
        for output in node.present_outputs() {
            // Integer and boolean values (shapes, indices, masks) carry no gradient.
            let carries = shapes.info(output).is_ok_and(|i| i.dtype.is_float());
            if carries && !constants.contains(output) {
                origin.insert(output.to_owned(), source.clone());
            }
        }
    }
    origin
}

/// Appends the gradients of a scalar with respect to `wrt` and returns their value names, in the
/// order of `wrt`, each name once. Each of `seeds` is a value of the graph and the name of the scalar's gradient
/// with respect to it. A gradient has the shape of its value.
///
/// The values `constants` count as constants though they may depend on `wrt` (`stop_gradient`, `detach`): no
/// gradient goes on behind them. With `d = step(s) − s` among them, `s + d` is `step(s)` with the gradient of
/// `s`: the straight-through estimator (Bengio et al. 2013).
///
/// # Errors
/// When an operator on the way has no rule or its rule does not cover its attributes, or when a
/// value of `wrt` does not influence a seed.
pub fn gradients(
    builder: &mut Builder,
    shapes: &Shapes,
    seeds: &[(&str, &str)],
    wrt: &[String],
    constants: &[String],
    operators: Operators,
) -> Result<Vec<String>, AutodiffError> {
    let origin = dependents(builder.graph(), shapes, wrt, constants);
    let forward = builder.graph().nodes.clone();
    let mut pending: HashMap<String, Vec<String>> = HashMap::new();
    for (value, gradient) in seeds {
        let terms = pending.entry((*value).to_owned()).or_default();
        terms.push((*gradient).to_owned());
    }
    let keep: HashSet<&str> = wrt.iter().map(String::as_str).collect();

    for (index, node) in forward.iter().enumerate().rev() {
        let wants: Vec<bool> = node
            .inputs
            .iter()
            .map(|i| !i.is_empty() && origin.contains_key(i))
            .collect();
        if !wants.contains(&true) {
            continue;
        }
        let mut output_gradients = Vec::with_capacity(node.outputs.len());
        for output in &node.outputs {
            let terms = if keep.contains(output.as_str()) {
                pending.get(output).cloned()
            } else {
                pending.remove(output)
            };
            output_gradients.push(terms.map(|terms| sum(builder, output, terms)));
        }
        if output_gradients.iter().all(Option::is_none) {
            continue;
        }
        let parameter = node
            .present_inputs()
            .find_map(|i| origin.get(i))
            .cloned()
            .unwrap_or_default();
        let rule = find_rule(node).ok_or_else(|| AutodiffError::NoRule {
            op_type: if node.domain.is_empty() {
                node.op_type.clone()
            } else {
                format!("{}.{}", node.domain, node.op_type)
            },
            node: node.name.clone(),
            parameter: parameter.clone(),
        })?;
        let refused = |reason: String| AutodiffError::Refused {
            node: node.to_string(),
            parameter: parameter.clone(),
            reason,
        };
        // Rules write float32 constants. A conversion has a foreign type on one side, by its nature.
        let foreign = node
            .present_outputs()
            .filter_map(|o| shapes.info(o).ok())
            .find(|i| i.dtype.is_float() && i.dtype != DataType::Float);
        if let Some(info) = foreign.filter(|_| node.elements() != Elements::Converted) {
            let reason = format!("it computes in {:?}; gradients are float32", info.dtype);
            return Err(refused(reason));
        }
        let mut context = Context::new(
            builder,
            shapes,
            operators,
            node,
            index,
            output_gradients,
            wants.clone(),
        );
        let contributions = (rule.backward)(&mut context).map_err(|refusal| match refusal {
            Refusal::Graph(e) => AutodiffError::Graph(e),
            Refusal::Unsupported(reason) => refused(reason),
        })?;
        let mut contributions = contributions.into_iter();
        for (index, (input, wanted)) in node.inputs.iter().zip(wants).enumerate() {
            match contributions.next().flatten() {
                Some(gradient) if wanted => {
                    pending.entry(input.clone()).or_default().push(gradient);
                }
                None if wanted => {
                    return Err(refused(format!(
                        "its rule gives no gradient for input {index}"
                    )));
                }
                _ => {}
            }
        }
    }
    let mut results: Vec<String> = Vec::with_capacity(wrt.len());
    for name in wrt {
        let terms = pending
            .remove(name)
            .ok_or_else(|| AutodiffError::Unused(name.clone()))?;
        let mut gradient = sum(builder, name, terms);
        // A graph's outputs have distinct names, which the gradients of two addends do not.
        if seeds.iter().any(|s| s.1 == gradient) || results.contains(&gradient) {
            gradient = builder.op(&format!("grad/{name}"), "Identity", &[&gradient], vec![]);
        }
        results.push(gradient);
    }
    Ok(results)
}

/// Fan-out adds: the sum of the gradients that reached one value.
fn sum(builder: &mut Builder, value: &str, mut terms: Vec<String>) -> String {
    let hint = format!("grad/{value}");
    match terms.len() {
        1 => terms.swap_remove(0),
        2 => builder.op(&hint, "Add", &[&terms[0], &terms[1]], vec![]),
        _ => {
            let borrowed: Vec<&str> = terms.iter().map(String::as_str).collect();
            builder.op(&hint, "Sum", &borrowed, vec![])
        }
    }
}
