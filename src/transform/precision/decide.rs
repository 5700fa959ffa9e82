//! Which inputs and outputs of a node are to be of the other type.
//!
//! What an operator takes is in the table of ONNX's definitions: inputs and outputs of one type variable change together,
//! where it may stand for the other type; those whose type is fixed, as the scales of a `Resize`, stay.

use std::collections::{BTreeMap, HashSet};

use crate::graph::operators::{Gives, Mixing, Own, named as row};
use crate::graph::schemas::{self, Parameter, Schema};
use crate::onnx::messages::{AttributeProto, NodeProto};

use super::super::known::{Env, Known, TYPE_ATTRIBUTES, is_standard, named};
use super::Plan;

/// What an input is to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Want {
    /// What it is.
    Any,
    /// Elements of this type.
    Element(i32),
}

/// What an output becomes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Made {
    /// Elements of this type.
    Element(i32),
    /// Of the type that this input has then.
    As(usize),
}

/// What becomes of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Decision {
    pub inputs: Vec<Want>,
    pub outputs: Vec<Made>,
    /// The attribute that is to say the other type.
    pub typed: Option<&'static str>,
    /// Whether its tensor is to be of the other type.
    pub filled: bool,
    /// Whether graphs inside, or the function that is called, are to be of the other type.
    pub inside: bool,
}

/// What holds for the nodes of a graph.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    /// Tensors that stay as they are.
    pub stuck: HashSet<String>,
    /// Constants that stay as they are, whatever reads them.
    pub fixed: HashSet<String>,
    /// Values that are computed of sizes.
    pub sizes: HashSet<String>,
    /// Whether all stay.
    pub kept: bool,
}

/// Decides on a node.
pub(super) fn on(
    node: &NodeProto,
    env: &Env,
    opset: i64,
    marks: &Marks,
    plan: &Plan<'_>,
) -> Decision {
    let inputs: Vec<Known> = node.input.iter().map(|name| env.known(name)).collect();
    let outputs: Vec<Known> = node.output.iter().map(|name| env.known(name)).collect();
    let turns = |known: &Known| plan.turns(known.element);
    let as_it_is = Decision {
        inputs: inputs
            .iter()
            .map(|known| match turns(known) {
                true => Want::Element(known.element),
                false => Want::Any,
            })
            .collect(),
        outputs: outputs
            .iter()
            .map(|known| Made::Element(known.element))
            .collect(),
        ..Decision::default()
    };
    let stuck = node.input.iter().any(|name| marks.stuck.contains(name));
    let is_size = |name: &String| marks.sizes.contains(name);
    let floats = |(name, known): (&String, &Known)| is_size(name) && turns(known);
    let of_sizes = node.output.iter().any(is_size)
        && (node.output.iter().zip(&outputs).any(floats)
            || node.input.iter().zip(&inputs).any(floats));
    if marks.kept || plan.keeps(node) || of_sizes {
        return as_it_is;
    }
    let has_graphs = node
        .attribute
        .iter()
        .any(|a| a.subgraphs().next().is_some());
    if plan.calls(node) || has_graphs && is_standard(node) {
        if stuck {
            return as_it_is;
        }
        let turned = |known: &Known| if turns(known) { plan.to } else { known.element };
        return Decision {
            inputs: inputs
                .iter()
                .map(|known| match turns(known) {
                    true => Want::Element(plan.to),
                    false => Want::Any,
                })
                .collect(),
            outputs: outputs
                .iter()
                .map(|known| Made::Element(turned(known)))
                .collect(),
            inside: true,
            ..Decision::default()
        };
    }
    let operator = node.op_type.as_deref().unwrap_or_default();
    let schema = schemas::standard(operator, opset);
    let Some(schema) = schema.filter(|_| is_standard(node)) else {
        return as_it_is;
    };
    let mut decision = as_it_is;
    let fits = |p: &Parameter, known: &Known| schema.takes(p, known.kind, plan.to);
    // Inputs by their variable.
    let mut bound: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, known) in inputs.iter().enumerate() {
        if let Some(p) = schema.input(index).filter(|_| turns(known)) {
            bound.entry(p.kind).or_default().push(index);
        }
    }
    let is_stuck = |index: &usize| marks.stuck.contains(&node.input[*index]);
    for (kind, places) in &bound {
        let is_made = |&at: &usize| schema.output(at).is_some_and(|p| p.kind == *kind);
        let made: Vec<usize> = (0..outputs.len()).filter(is_made).collect();
        let taken = |at: usize| schema.input(at).is_some_and(|p| fits(p, &inputs[at]));
        let given = |at: usize| schema.output(at).is_some_and(|p| fits(p, &outputs[at]));
        let all_fit = places.iter().all(|&at| taken(at)) && made.iter().all(|&at| given(at));
        if !all_fit {
            continue;
        }
        if let ([only], true) = (places.as_slice(), made.is_empty()) {
            decision.inputs[*only] = Want::Any;
        } else if !places.iter().any(is_stuck) {
            places
                .iter()
                .for_each(|&at| decision.inputs[at] = Want::Element(plan.to));
            made.iter()
                .for_each(|&at| decision.outputs[at] = Made::Element(plan.to));
        }
    }
    let own = node
        .output
        .iter()
        .any(|o| marks.stuck.contains(o) || marks.fixed.contains(o));
    for (at, known) in outputs.iter().enumerate().filter(|(_, known)| turns(known)) {
        let Some(p) = schema.output(at) else {
            continue;
        };
        if bound.contains_key(p.kind) || !fits(p, known) || own {
            continue;
        }
        match said(node, schema) {
            Said::Type(name) => {
                decision.typed = Some(name);
                decision.outputs[at] = Made::Element(plan.to);
            }
            Said::Tensor => {
                decision.filled = true;
                decision.outputs[at] = Made::Element(plan.to);
            }
            Said::Input(index) => decision.outputs[at] = Made::As(index),
            Said::ByTheCall => {}
        }
    }
    decision
}

/// What says the type of an output that is of no input's type.
enum Said {
    /// This attribute, or its default.
    Type(&'static str),
    /// The tensor that it is filled with.
    Tensor,
    /// That of this input.
    Input(usize),
    /// Whoever calls the function that it is in.
    ByTheCall,
}

fn said(node: &NodeProto, schema: &Schema) -> Said {
    let refers = |name: &str| {
        let attribute = named(node, name);
        attribute.is_some_and(|a: &AttributeProto| {
            !a.ref_attr_name.as_deref().unwrap_or_default().is_empty()
        })
    };
    if schema.attribute("value").is_some() {
        let any = node.attribute.iter().any(|a| refers(a.name()));
        return if any { Said::ByTheCall } else { Said::Tensor };
    }
    let known = |name: &&str| schema.attribute(name).is_some();
    for name in TYPE_ATTRIBUTES.into_iter().filter(known) {
        let given = named(node, name).and_then(|a| a.i).filter(|&i| i != 0);
        let default = schema
            .default(name)
            .and_then(|text| text.parse::<i64>().ok());
        if refers(name) {
            return Said::ByTheCall;
        }
        if given.is_some() || default.is_some_and(|i| i != 0) {
            return Said::Type(name);
        }
    }
    // The scale tells what numbers are made of quantised ones.
    Said::Input(usize::from(
        node.op_type.as_deref() == Some("DequantizeLinear"),
    ))
}

/// Marks what a node computes of sizes: such numbers are exact, and large ones are not in 16 bits.
pub(super) fn mark_sizes(node: &NodeProto, env: &Env, marks: &mut Marks) {
    let Some(operator) = row(node.op_type.as_deref().unwrap_or_default()) else {
        return;
    };
    if !is_standard(node) {
        return;
    }
    let is_size = |name: &String| marks.sizes.contains(name);
    let is_fixed =
        |name: &String| name.is_empty() || is_size(name) || env.constants.contains_key(name);
    let together =
        operator.mixing == Mixing::Elementwise || operator.mixing == Mixing::Own(Own::Concat);
    let sizes = match operator.gives {
        Gives::Sizes => true,
        _ if together => node.input.iter().any(is_size) && node.input.iter().all(is_fixed),
        _ => {
            node.input.first().is_some_and(is_size) && operator.mixing != Mixing::Own(Own::Repeated)
        }
    };
    if sizes {
        marks
            .sizes
            .extend(node.output.iter().filter(|o| !o.is_empty()).cloned());
    }
}
