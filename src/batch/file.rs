//! What has to change in a model's file so that it takes batches of any size.

use std::collections::{HashMap, HashSet};

use crate::graph::{Graph, GraphError, Node, normalise};
use crate::onnx::messages::NodeProto;
use crate::onnx::{Model, Tensor};

use super::{batch_of_export, free_batch};

/// The first opset that has an `Expand`, of the nodes that are added the newest.
const EXPAND: i64 = 8;

/// Changes to a model that was exported for a fixed batch size, after which it takes any.
#[derive(Clone, Debug, Default)]
pub struct Freed {
    /// The batch size of the export.
    pub exported: usize,
    /// Initializers that the changed nodes read.
    pub tensors: Vec<(String, Tensor)>,
    /// The nodes that change.
    pub changes: Vec<Change>,
}

/// A node that carries the batch size, in the form of the newest opset that is trained in.
#[derive(Clone, Debug)]
pub struct Change {
    /// Nodes that come before it.
    pub ahead: Vec<Node>,
    /// As it was.
    pub was: Node,
    /// As it serves any batch size.
    pub now: Node,
}

/// What [`free_batch`] comes to in the file of a model; `None` where that takes any batch size.
///
/// # Errors
/// As [`free_batch`]; and where outputs are no tensors, what changes is inside of a function or of an `If`,
/// or what is added is not of the model's opset.
pub fn freed(model: &Model) -> Result<Option<Freed>, GraphError> {
    let mut before = Graph::from_model(model)?;
    let Some(exported) = before.inputs.iter().find_map(batch_of_export) else {
        return Ok(None);
    };
    let refuse = |reason: &str| Err(GraphError::Unsupported(reason.to_owned()));
    let file = model.graph();
    let scores = before.outputs.iter().filter(|o| {
        let mut declared = file.output.iter();
        declared.any(|d| d.name.as_deref() == Some(&o.name))
    });
    if scores.count() != file.output.len() {
        return refuse("an output of it is no tensor");
    }
    // Class scores that are no output are freed with what follows from them.
    before.outputs.retain(|o| {
        let mut declared = file.output.iter();
        declared.any(|d| d.name.as_deref() == Some(&o.name))
    });
    normalise(&mut before)?;
    let mut after = before.clone();
    free_batch(&mut after)?;
    let made: HashMap<Option<&str>, &Node> =
        before.nodes.iter().map(|n| (n.output(0), n)).collect();
    // By operator and first output, as identities that normal form removes hand their names on.
    let nodes = file.node.iter();
    let key = |n: &NodeProto| (n.op_type.clone(), n.output.first().cloned());
    let in_file: HashSet<_> = nodes.map(key).collect();
    let mut freed = Freed {
        exported,
        ..Freed::default()
    };
    let mut ahead: Vec<Node> = Vec::new();
    for node in &after.nodes {
        match made.get(&node.output(0)) {
            None => ahead.push(node.clone()),
            Some(was) if *was == node => {}
            Some(was) => {
                let own = (Some(was.op_type.clone()), was.outputs.first().cloned());
                if !in_file.contains(&own) {
                    return Err(was.error("it would have to change, and is no node of the file"));
                }
                freed.changes.push(Change {
                    ahead: std::mem::take(&mut ahead),
                    was: (*was).clone(),
                    now: node.clone(),
                });
            }
        }
    }
    let mut added = freed.changes.iter().flat_map(|c| &c.ahead).chain(&ahead);
    if model.opset() < EXPAND && added.any(|node| node.is("Expand")) {
        return refuse("it would take an `Expand`, which its opset does not have");
    }
    let tensors = after.initializers.into_iter();
    let new = tensors.filter(|(name, _)| !before.initializers.contains_key(name));
    freed.tensors = new.collect();
    Ok(Some(freed))
}
