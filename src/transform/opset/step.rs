//! From one version of the operators to the next, or to the one before.

use std::collections::BTreeSet;

use crate::graph::schemas::{self, Parameter, Schema};
use crate::onnx::messages::NodeProto;
use crate::surgery::node_key;

use super::super::known::{Known, is_standard, remove};
use super::writer::{Adapted, cannot};
use super::{Refusal, Refused, Writer, decompose, down, shown, up};

/// Brings nodes of version `from` to version `to`; gives the keys of those that have changed or are new.
pub(super) fn all(
    nodes: &mut Vec<NodeProto>,
    w: &mut Writer<'_>,
    from: i64,
    to: i64,
) -> Result<BTreeSet<String>, Refused> {
    for node in nodes.iter().filter(|node| is_standard(node)) {
        let operator = node.op_type.as_deref().unwrap_or_default();
        if schemas::standard(operator, from).is_none() {
            let reason = format!("ONNX has no such operator in opset {from}");
            return Err((shown(node), Refusal::Cannot(reason)));
        }
    }
    let mut touched = BTreeSet::new();
    let mut at = from;
    while at != to {
        let next = if to > at { at + 1 } else { at - 1 };
        // The version that makes the difference.
        w.version = at.max(next);
        let mut written = Vec::with_capacity(nodes.len());
        for mut node in std::mem::take(nodes) {
            let before = node.clone();
            if is_standard(&node) {
                let stepped = match to > at {
                    true => raise(&mut node, w),
                    false => lower(&mut node, w),
                };
                stepped.map_err(|refusal| (shown(&before), refused(refusal, at, next)))?;
            }
            let others = w.ahead.iter().chain(&w.behind);
            touched.extend(others.map(node_key));
            if node != before {
                touched.extend([node_key(&before), node_key(&node)]);
            }
            written.append(&mut w.ahead);
            written.push(node);
            written.append(&mut w.behind);
        }
        // What adapters have made constant is in that version, too.
        let mut constants = std::mem::take(&mut w.constants);
        for node in &mut constants {
            let of = shown(node);
            if to < at {
                lower(node, w).map_err(|refusal| (of, refused(refusal, at, next)))?;
            }
        }
        constants.append(&mut w.constants);
        w.constants = constants;
        *nodes = written;
        at = next;
    }
    Ok(touched)
}

fn refused(refusal: Refusal, from: i64, to: i64) -> Refusal {
    match refusal {
        Refusal::Cannot(reason) => Refusal::Cannot(format!(
            "it cannot be brought from opset {from} to {to}: {reason}"
        )),
        unknown => unknown,
    }
}

/// A node's operator before the version and since, if that has changed it.
fn change(node: &NodeProto, version: i64) -> Option<(Option<&'static Schema>, &'static Schema)> {
    let operator = node.op_type.as_deref().unwrap_or_default();
    let now = schemas::standard(operator, version)?;
    (now.since == version).then(|| (schemas::standard(operator, version - 1), now))
}

fn raise(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let version = w.version;
    let Some((before, now)) = change(node, version) else {
        return Ok(());
    };
    let operator = node.op_type.clone().unwrap_or_default();
    let adapter = up::adapter(&operator, version);
    if let Some(adapter) = adapter {
        ensure_own_attributes(node)?;
        adapter(node, w)?;
        if node.op_type.as_deref() != Some(&operator) {
            return Ok(());
        }
    }
    if now.deprecated {
        return cannot("it is gone since");
    }
    if let Some(attribute) = node
        .attribute
        .iter()
        .find(|a| now.attribute(a.name()).is_none())
    {
        return cannot(format!("its attribute `{}` is gone", attribute.name()));
    }
    let taken = |place: &Parameter, known: &Known| {
        let was = before.is_some_and(|before| before.takes(place, known.kind, known.element));
        now.takes(place, known.kind, known.element) || !was
    };
    typed(node, w, |index| now.input(index), taken)
}

fn lower(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let version = w.version;
    let Some((before, now)) = change(node, version) else {
        return Ok(());
    };
    let operator = node.op_type.clone().unwrap_or_default();
    let Some(before) = before.filter(|before| !before.deprecated) else {
        let Some(adapter) = decompose::adapter(&operator) else {
            return cannot("it is new there, and nothing older is known for it");
        };
        ensure_own_attributes(node)?;
        return adapter(node, w);
    };
    if version == 11 {
        down::count_axes_from_the_front(node, w)?;
    }
    if let Some(adapter) = down::adapter(&operator, version) {
        ensure_own_attributes(node)?;
        adapter(node, w)?;
        if node.op_type.as_deref() != Some(&operator) {
            return Ok(());
        }
    }
    let news: Vec<String> = {
        let news = node
            .attribute
            .iter()
            .filter(|a| before.attribute(a.name()).is_none());
        news.map(|a| a.name().to_owned()).collect()
    };
    for name in news {
        match is_default(node, now, &name) {
            true => drop(remove(node, &name)),
            false => return cannot(format!("its attribute `{name}` is new there")),
        }
    }
    let fits = |index: usize| before.input(index).is_some();
    if let Some(index) = (0..node.input.len()).find(|&i| !node.input[i].is_empty() && !fits(i)) {
        return cannot(format!("its input `{}` is new there", node.input[index]));
    }
    while node.input.last().is_some_and(String::is_empty) && !fits(node.input.len() - 1) {
        node.input.pop();
    }
    let there = |index: usize| before.output(index).is_some();
    if let Some(index) = (0..node.output.len()).find(|&i| !node.output[i].is_empty() && !there(i)) {
        return cannot(format!("its output `{}` is new there", node.output[index]));
    }
    let taken = |place: &Parameter, known: &Known| before.takes(place, known.kind, known.element);
    typed(node, w, |index| before.input(index), taken)?;
    for (index, output) in node.output.iter().enumerate() {
        let known = w.env.known(output);
        if let Some(place) = before.output(index)
            && known.element != 0
            && !taken(place, &known)
        {
            return Err(down::newer_type("what it makes", &known));
        }
    }
    Ok(())
}

/// That an operator takes the inputs of a node, as far as their types are known.
fn typed(
    node: &NodeProto,
    w: &Writer<'_>,
    place: impl Fn(usize) -> Option<&'static Parameter>,
    taken: impl Fn(&Parameter, &Known) -> bool,
) -> Adapted {
    for (index, input) in node.input.iter().enumerate() {
        let known = w.env.known(input);
        if let Some(place) = place(index)
            && known.element != 0
            && !taken(place, &known)
        {
            return Err(down::newer_type(&format!("its input `{input}`"), &known));
        }
    }
    Ok(())
}

/// Whether an attribute says what would be so without it.
fn is_default(node: &NodeProto, schema: &Schema, name: &str) -> bool {
    let Some(attribute) = super::super::known::named(node, name) else {
        return true;
    };
    if !attribute
        .ref_attr_name
        .as_deref()
        .unwrap_or_default()
        .is_empty()
    {
        return false;
    }
    let is = |text: String| schema.default(name) == Some(&text);
    match (attribute.i, attribute.f, &attribute.s) {
        (Some(i), ..) => is(i.to_string()),
        (_, Some(f), _) => schema.default(name).and_then(|text| text.parse().ok()) == Some(f),
        (.., Some(s)) => is(String::from_utf8_lossy(s).into_owned()),
        // Steps between the elements of a window.
        _ => name == "dilations" && attribute.ints.iter().all(|&step| step == 1),
    }
}

/// That a node says what an adapter looks at, and not a call of the function that it is in.
fn ensure_own_attributes(node: &NodeProto) -> Adapted {
    let refers = |a: &&crate::onnx::messages::AttributeProto| {
        !a.ref_attr_name.as_deref().unwrap_or_default().is_empty()
    };
    match node.attribute.iter().find(refers) {
        None => Ok(()),
        Some(attribute) => cannot(format!(
            "its attribute `{}` is given by the calls of the function",
            attribute.name()
        )),
    }
}
