//! Types and dimensions of every value, for given input dimensions.
//!
//! One file per family of operators. Sizes are computed so that no attribute or dimension of a
//! hostile model overflows: what does not fit is an error that names the node.

mod arithmetic;
pub(super) mod elementwise;
pub(super) mod gather;
#[cfg(test)]
mod hostile;
mod kernel;
mod known;
pub(super) mod layout;
pub(super) mod matrix;
mod op;
pub(super) mod parts;
pub(super) mod reduce;
pub(super) mod resize;
pub(super) mod source;
#[cfg(test)]
mod tests;
pub(super) mod window;

use std::collections::HashMap;

use crate::onnx::DataType;

use super::{Dim, Graph, GraphError, Node, Shapes};
use op::{Inferred, Op};

/// Values of more dimensions are refused: no real model has them.
const MAX_RANK: usize = 64;
/// A tensor of more than 1 TiB is a mistake of the model on any machine.
const MOST_BYTES: usize = 1 << 40;

/// Types and dimensions of every value of a normalised graph, and the values that follow from
/// shapes alone. `inputs` gives the dimensions of the graph's inputs; one that is declared with
/// fixed dimensions may be left out.
///
/// # Errors
/// When an input's dimensions are missing or contradict its declaration, when a node's inputs do
/// not fit it, or when an operator is not known. A graph that is not normalised is refused.
pub fn infer_shapes(
    graph: &Graph,
    inputs: &HashMap<String, Vec<usize>>,
) -> Result<Shapes, GraphError> {
    let mut shapes = start(graph, inputs)?;
    for node in &graph.nodes {
        step(graph, node, &mut shapes)?;
    }
    Ok(shapes)
}

/// As [`infer_shapes`], but going on behind nodes that cannot be inferred. Returns their indices too:
/// with the reason where a node's operator is not known or contradicts its inputs, without one where
/// the shape of an input is not known.
///
/// # Errors
/// When the graph is not normalised or the dimensions of an input are missing.
#[allow(clippy::type_complexity)]
pub fn infer_what_fits(
    graph: &Graph,
    inputs: &HashMap<String, Vec<usize>>,
) -> Result<(Shapes, Vec<(usize, Option<GraphError>)>), GraphError> {
    let mut shapes = start(graph, inputs)?;
    let mut left = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let known = |name: &str| shapes.info(name).is_ok();
        if !node.present_inputs().all(known) {
            left.push((index, None));
        } else if let Err(reason) = step(graph, node, &mut shapes) {
            left.push((index, Some(reason)));
        }
    }
    Ok((shapes, left))
}

/// What is known before the first node: initializers and inputs.
pub(crate) fn start(
    graph: &Graph,
    inputs: &HashMap<String, Vec<usize>>,
) -> Result<Shapes, GraphError> {
    if graph.opset != super::normalise::OPSET {
        return Err(GraphError::Unsupported(format!(
            "shapes are inferred on a graph of opset {}, not {}; normalise it first",
            super::normalise::OPSET,
            graph.opset
        )));
    }
    let mut shapes = Shapes::default();
    for (name, tensor) in &graph.initializers {
        if check_size(tensor.dtype, &tensor.dims).is_none() {
            return Err(GraphError::Unsupported(format!(
                "the initializer `{name}` has {} dimensions",
                tensor.dims.len()
            )));
        }
        if !tensor.dtype.is_float() && tensor.len() <= known::LIMIT {
            shapes.insert_constant(name, tensor.clone());
        } else {
            shapes.insert(name, tensor.dtype, &tensor.dims);
        }
    }
    for input in &graph.inputs {
        let refuse =
            |reason: String| GraphError::Unsupported(format!("input `{}`: {reason}", input.name));
        let dims = match (inputs.get(&input.name), &input.dims) {
            (Some(given), None) => given.clone(),
            (Some(given), Some(declared)) => {
                let fits = given.len() == declared.len()
                    && given.iter().zip(declared).all(|(g, d)| match d {
                        Dim::Known(d) => g == d,
                        Dim::Symbolic(_) => true,
                    });
                if !fits {
                    return Err(refuse(format!(
                        "dimensions {given:?} do not fit the declared {declared:?}"
                    )));
                }
                given.clone()
            }
            (None, declared) => declared
                .iter()
                .flatten()
                .map(|d| match d {
                    Dim::Known(d) => Some(*d),
                    Dim::Symbolic(_) => None,
                })
                .collect::<Option<Vec<_>>>()
                .filter(|_| declared.is_some())
                .ok_or_else(|| refuse("its dimensions are not fixed; give them".to_owned()))?,
        };
        check_size(input.dtype, &dims)
            .ok_or_else(|| refuse(format!("dimensions {dims:?} are too large")))?;
        shapes.insert(&input.name, input.dtype, &dims);
    }
    Ok(shapes)
}

/// Adds the outputs of `node` to `shapes`.
pub(crate) fn step(graph: &Graph, node: &Node, shapes: &mut Shapes) -> Result<(), GraphError> {
    let op = Op {
        node,
        graph,
        shapes,
    };
    let rule = rule(node)
        .ok_or_else(|| node.error("the shapes that this operator makes are not known here"))?;
    let outputs = rule(&op)?;
    if let Some(extra) = node
        .outputs
        .iter()
        .skip(outputs.len())
        .find(|o| !o.is_empty())
    {
        return Err(node.error(format!("its output `{extra}` is not supported")));
    }
    if let Some(bad) = outputs
        .iter()
        .find(|o| check_size(o.dtype, &o.dims).is_none())
    {
        return Err(GraphError::TooLarge {
            node: node.to_string(),
            reason: format!("output dimensions {:?} are too large", bad.dims),
        });
    }
    let of_floats = node.present_inputs().any(|name| {
        let float = shapes.info(name).is_ok_and(|info| info.dtype.is_float());
        float && (shapes.constant(name).is_none() || shapes.is_of_floats(name))
    });
    let value = match (node.outputs.as_slice(), outputs.as_slice()) {
        ([_], [output, ..]) => known::evaluate(&op, output)?,
        _ => None,
    };
    for (name, info) in node.outputs.iter().zip(outputs) {
        if !name.is_empty() {
            shapes.insert(name, info.dtype, &info.dims);
        }
    }
    if let (Some(value), Some(name)) = (value, node.output(0)) {
        if of_floats && value.dtype.is_float() {
            shapes.note_of_floats(name);
        }
        shapes.insert_constant(name, value);
    }
    Ok(())
}

/// The bytes of a tensor, if a machine may have room for it.
fn check_size(dtype: DataType, dims: &[usize]) -> Option<usize> {
    // A dimension of 0 must not hide that the others overflow wherever a part of them is multiplied.
    dims.iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d.max(1)))
        .filter(|_| dims.len() <= MAX_RANK)?
        .checked_mul(dtype.size())
        .filter(|&bytes| bytes <= MOST_BYTES)
}

/// Gives the types and dimensions of a node's outputs.
pub(super) type ShapeRule = fn(&Op) -> Inferred;

fn rule(node: &Node) -> Option<ShapeRule> {
    match node.kernel_operator() {
        Some(operator) => kernel::rule(operator),
        None => node.operator()?.shapes,
    }
}

/// Replaces every computed value that `shapes` knows by an initializer and drops what then serves
/// nothing, but for floats that came of float initializers: those may be trained. The result holds for
/// the input dimensions that `shapes` was inferred for.
pub fn fold_constants(graph: &mut Graph, shapes: &Shapes) {
    let initializers = &mut graph.initializers;
    graph.nodes.retain(|node| {
        let known: Option<Vec<_>> = node
            .present_outputs()
            .map(|name| {
                let constant = shapes.constant(name)?;
                (!shapes.is_of_floats(name)).then_some((name, constant))
            })
            .collect();
        match known {
            Some(values) if !values.is_empty() => {
                for (name, tensor) in values {
                    initializers.insert(name.to_owned(), tensor.clone());
                }
                false
            }
            _ => true,
        }
    });
    graph.prune();
}
