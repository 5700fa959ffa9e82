//! Which values are kept channels-last.
//!
//! One walk in topological order. A value of four dimensions exists *plain*, under its own name and
//! as the graph means it, or *turned*, channels-last, or both; each form is made when it is first
//! asked for. Convolutions and their like ask for turned inputs and make turned outputs; operators
//! that do not care follow their inputs; all others ask for plain ones.

use std::collections::HashMap;

use crate::graph::{Builder, Graph, GraphError, Node, Shapes};
use crate::layout::{TO_NCHW, TO_NHWC};

/// Where each plain axis lies when turned.
pub(super) const TURNED_AXIS: [usize; 4] = [0, 3, 1, 2];

/// Replaces the nodes of `graph`. Returns which value each turned one is a form of.
pub(super) fn rewrite(
    graph: &mut Graph,
    shapes: &Shapes,
) -> Result<HashMap<String, String>, GraphError> {
    let outputs: Vec<String> = graph.outputs.iter().map(|v| v.name.clone()).collect();
    let mut builder = Builder::new(graph);
    let nodes = std::mem::take(&mut builder.graph_mut().nodes);
    let mut walk = Walk {
        builder,
        shapes,
        plain: HashMap::new(),
        turned: HashMap::new(),
    };
    for node in &nodes {
        walk.node(node)?;
    }
    for output in &outputs {
        let plain = walk.plain(output)?;
        if plain != *output {
            let node = Node::new(output, "Identity", &[&plain], &[output]);
            walk.push(node);
        }
    }
    Ok(walk.turned.into_iter().map(|(v, name)| (name, v)).collect())
}

/// The walk, with what exists so far.
pub(super) struct Walk<'a, 'g> {
    /// Appends to the new graph.
    pub builder: Builder<'g>,
    /// Of the values as the graph means them.
    pub shapes: &'a Shapes,
    /// Names under which values exist plain; those not in here exist under their own name unless
    /// they are in `turned`.
    pub plain: HashMap<String, String>,
    /// Names under which values exist turned.
    pub turned: HashMap<String, String>,
}

impl Walk<'_, '_> {
    /// The node as it is, on plain inputs.
    pub(super) fn keep(&mut self, node: &Node) -> Result<(), GraphError> {
        let mut node = node.clone();
        for input in node.inputs.iter_mut().filter(|i| !i.is_empty()) {
            *input = self.plain(input)?;
        }
        self.push(node);
        Ok(())
    }

    /// Lets a node read its inputs turned.
    pub(super) fn turn_inputs(&mut self, node: &mut Node) -> Result<(), GraphError> {
        for input in node.inputs.iter_mut().filter(|i| !i.is_empty()) {
            *input = self.turned(input)?;
        }
        Ok(())
    }

    /// Appends a node whose outputs come out turned.
    pub(super) fn push_turned(&mut self, mut node: Node) {
        for output in node.outputs.iter_mut().filter(|o| !o.is_empty()) {
            let name = self.builder.fresh(&format!("{output}/channels_last"));
            self.turned.insert(std::mem::take(output), name.clone());
            *output = name;
        }
        self.push(node);
    }

    pub(super) fn push(&mut self, node: Node) {
        self.builder.graph_mut().nodes.push(node);
    }

    /// Whether the value is of four dimensions and exists turned.
    pub(super) fn prefers_turned(&self, value: &str) -> bool {
        // Factors of fewer dimensions exist turned, too, for whom they broadcast with.
        self.turned.contains_key(value) && self.rank(value) == Some(4)
    }

    pub(super) fn rank(&self, value: &str) -> Option<usize> {
        Some(self.shapes.dims(value).ok()?.len())
    }

    /// Whether turning moves no element: a single position, or a single channel.
    pub(super) fn is_flat(&self, value: &str) -> bool {
        matches!(self.shapes.dims(value), Ok([_, c, h, w]) if *c == 1 || h * w == 1)
    }

    /// The value's name as the graph means it.
    pub(super) fn plain(&mut self, value: &str) -> Result<String, GraphError> {
        if let Some(name) = self.plain.get(value) {
            return Ok(name.clone());
        }
        if let Some(turned) = self.turned.get(value).cloned() {
            let node = self.moved(value, &turned, value, &TO_NCHW)?;
            self.push(node);
        }
        self.plain.insert(value.to_owned(), value.to_owned());
        Ok(value.to_owned())
    }

    /// The value's name channels-last. One of fewer dimensions is a factor that broadcasts.
    pub(super) fn turned(&mut self, value: &str) -> Result<String, GraphError> {
        if let Some(name) = self.turned.get(value) {
            return Ok(name.clone());
        }
        let dims = self.shapes.dims(value)?.to_vec();
        let plain = self.plain(value)?;
        if dims.len() < 2 && dims.iter().product::<usize>() == 1 {
            return Ok(plain);
        }
        let mut source = plain;
        if dims.len() < 4 {
            let mut wide = vec![1i64; 4 - dims.len()];
            wide.extend(dims.iter().map(|&d| d as i64));
            let shape = self.builder.ints(&wide);
            let hint = format!("{value}/wide");
            source = self
                .builder
                .op(&hint, "Reshape", &[&source, &shape], vec![]);
        }
        let name = self.builder.fresh(&format!("{value}/channels_last"));
        let node = match dims.len() {
            4 => self.moved(value, &source, &name, &TO_NHWC)?,
            _ => Node::new(&name, "Transpose", &[&source], &[&name]).with("perm", TO_NHWC.to_vec()),
        };
        self.push(node);
        self.turned.insert(value.to_owned(), name.clone());
        Ok(name)
    }

    /// The node that makes `to` from `from`, both forms of `value`.
    fn moved(
        &mut self,
        value: &str,
        from: &str,
        to: &str,
        perm: &[i64; 4],
    ) -> Result<Node, GraphError> {
        let name = self.builder.fresh(&format!("{to}/moved"));
        if !self.is_flat(value) {
            return Ok(Node::new(&name, "Transpose", &[from], &[to]).with("perm", perm.to_vec()));
        }
        let plain: Vec<i64> = self.shapes.dims(value)?.iter().map(|&d| d as i64).collect();
        let dims: Vec<i64> = match perm == &TO_NHWC {
            true => TO_NHWC.iter().map(|&a| plain[a as usize]).collect(),
            false => plain,
        };
        let shape = self.builder.ints(&dims);
        Ok(Node::new(&name, "Reshape", &[from, &shape], &[to]))
    }
}
