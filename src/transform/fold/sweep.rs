//! What served nothing but what is gone.

use std::collections::HashSet;

use crate::onnx::messages::GraphProto;
use crate::surgery::{Named, Part, reads, serving};

use super::{Pass, Place};

/// What of a graph served no output before something was folded: that is not what a fold takes away.
pub(super) struct Dead {
    /// Nodes, by their keys.
    nodes: HashSet<String>,
    /// Initializers.
    tensors: HashSet<String>,
}

impl Dead {
    pub fn of(graph: &GraphProto) -> Self {
        let outputs: Vec<&str> = graph.output.iter().map(|o| o.name()).collect();
        let (serves, read) = serving(graph, &outputs);
        let nodes = graph.node.iter().zip(serves);
        let tensors = graph.initializer.iter().map(|t| t.name());
        let sparse = graph.sparse_initializer.iter().map(Named::key);
        Dead {
            nodes: nodes
                .filter(|(_, s)| !s)
                .map(|(node, _)| node.key())
                .collect(),
            tensors: tensors
                .map(str::to_owned)
                .chain(sparse)
                .filter(|name| !read.contains(name.as_str()))
                .collect(),
        }
    }

    /// Whether a node served nothing.
    pub fn has(&self, node: &crate::onnx::messages::NodeProto) -> bool {
        self.nodes.contains(&node.key())
    }

    /// Takes away what serves nothing now.
    pub fn sweep(&self, pass: &mut Pass<'_>, graph: &mut GraphProto, place: Place<'_>) {
        let mut roots: Vec<&str> = graph.output.iter().map(|o| o.name()).collect();
        for node in graph.node.iter().filter(|node| self.has(node)) {
            roots.extend(reads(node));
        }
        let (serves, read) = serving(graph, &roots);
        let read: HashSet<String> = read.into_iter().map(str::to_owned).collect();
        let mut gone: HashSet<String> = HashSet::new();
        let mut serves = serves.into_iter();
        let mut nodes = std::mem::take(&mut graph.node);
        nodes.retain(|node| {
            let stays = serves.next().unwrap_or(true) || self.has(node);
            if !stays {
                gone.extend(node.output.iter().filter(|o| !o.is_empty()).cloned());
                pass.touch_node(place, node);
            }
            stays
        });
        graph.node = nodes;
        let mut dropped: HashSet<String> = HashSet::new();
        let mut goes = |pass: &mut Pass<'_>, part: Part, name: &str| {
            let goes = !read.contains(name) && !self.tensors.contains(name);
            if goes {
                pass.touch(place, part, name);
                dropped.insert(name.to_owned());
            }
            goes
        };
        // Of one that is among the inputs of a newer model, others may give the values.
        let listed: HashSet<String> = match pass.ir < 4 {
            true => HashSet::new(),
            false => graph.input.iter().map(|v| v.name().to_owned()).collect(),
        };
        let tensors = std::mem::take(&mut graph.initializer).into_iter();
        graph.initializer = tensors
            .filter(|t| listed.contains(t.name()) || !goes(pass, Part::Tensor, t.name()))
            .collect();
        let sparse = std::mem::take(&mut graph.sparse_initializer).into_iter();
        graph.sparse_initializer = sparse
            .filter(|t| !goes(pass, Part::SparseTensor, &t.key()))
            .collect();
        if pass.ir < 4 {
            graph.input.retain(|input| {
                let goes = dropped.contains(input.name());
                if goes {
                    pass.touch(place, Part::Input, input.name());
                }
                !goes
            });
        }
        gone.extend(dropped);
        if gone.is_empty() {
            return;
        }
        graph.value_info.retain(|noted| {
            let goes = gone.contains(noted.name());
            if goes {
                pass.touch(place, Part::ValueInfo, noted.name());
            }
            !goes
        });
        graph.quantization_annotation.retain(|note| {
            let name = note.tensor_name.as_deref().unwrap_or_default();
            let goes = gone.contains(name);
            if goes {
                pass.touch(place, Part::Annotation, name);
            }
            !goes
        });
    }
}
