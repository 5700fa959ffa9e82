//! Operator sets.

use crate::graph::messages::all_graphs;
use crate::graph::operators::named;
use crate::onnx::messages::{ModelProto, NodeProto};
use crate::surgery::{Named, Part};

use super::super::{Runtimes, TransformError, opset};
use super::{Parts, State};

/// The newest version in which the table of operators tells what has changed.
const TOLD: i64 = 26;

/// Brings the operator sets of the models so far and of the next to the higher version of each: nodes that mean something
/// else in it are [written](opset) in that version.
///
/// # Errors
/// When a node cannot be, or is of an operator set that is not ONNX's own.
pub(super) fn bring_together(
    parts: &Parts,
    at: usize,
    state: &mut State<'_>,
    next: &mut ModelProto,
    runtimes: &dyn Runtimes,
) -> Result<(), TransformError> {
    for own in next.opset_import.clone() {
        let key = own.key();
        let mut imports = state.proto.opset_import.iter();
        let Some(import) = imports.find(|import| import.key() == key) else {
            state.told.part(Part::OperatorSet, &key);
            state.proto.opset_import.push(own);
            continue;
        };
        let (so_far, version) = (import.version.unwrap_or(1), own.version.unwrap_or(1));
        if so_far == version {
            continue;
        }
        let (low, high) = (so_far.min(version), so_far.max(version));
        let path = parts.path(at).display();
        let lower = match so_far < version {
            true => &state.proto,
            false => &*next,
        };
        match changed(lower, &key, low, high) {
            None => state.notes.push(format!(
                "`{key}` is of version {high}, in which all nodes of version {low} mean the same"
            )),
            Some(node) if key != "ai.onnx" => {
                return Err(TransformError::Unfit(format!(
                    "{path} is of version {version} of `{key}`, what is before it of {so_far}, and node `{}` ({}) may \
                     mean something else in {high}",
                    node.key(),
                    node.op_type(),
                )));
            }
            Some(_) => {
                let model = parts.host.with_proto(lower.clone());
                let raised = opset(&model, high, runtimes)?;
                state.notes.push(format!(
                    "nodes of version {low} of `{key}` are written in version {high}"
                ));
                state.notes.extend(raised.notes);
                if so_far > version {
                    *next = raised.proto;
                    continue;
                }
                state.proto = raised.proto;
                for change in raised.manifest.changes {
                    match change.scope.first() {
                        None => state.told.part(change.part, &change.name),
                        Some(scope) => state.told.inside(scope),
                    }
                }
            }
        }
        if so_far < version {
            let mut imports = state.proto.opset_import.iter_mut();
            if let Some(import) = imports.find(|import| import.key() == key) {
                import.version = Some(high);
                state.told.part(Part::OperatorSet, &key);
            }
        }
    }
    Ok(())
}

/// A node of a model that may mean something else in a higher version of its operator set. Bodies of functions have
/// operator sets of their own.
fn changed<'m>(model: &'m ModelProto, key: &str, low: i64, high: i64) -> Option<&'m NodeProto> {
    let graphs = model.graph.iter().flat_map(all_graphs);
    let mut nodes = graphs.flat_map(|g| &g.node).filter(|node| {
        let domain = node.domain.as_deref().unwrap_or_default();
        let domain = if domain.is_empty() { "ai.onnx" } else { domain };
        let is_own = |f: &crate::onnx::messages::FunctionProto| {
            f.name() == node.op_type() && f.domain() == node.domain.as_deref().unwrap_or_default()
        };
        domain == key && !model.functions.iter().any(is_own)
    });
    nodes.find(|node| {
        let known = named(node.op_type()).filter(|_| key == "ai.onnx" && high <= TOLD);
        let is_same = known.is_some_and(|operator| match operator.adapted {
            None => true,
            Some(adapted) => adapted.below.is_some_and(|below| low >= below),
        });
        !is_same
    })
}
