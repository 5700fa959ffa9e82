//! Names of nodes, each once in its graph.

use std::collections::HashSet;

use super::messages::{ModelProto, NodeProto};

/// Gives nodes whose name another node of the same graph has a name of their own, as onnxruntime demands; nodes
/// without a name are left. Gives how many were renamed.
pub(super) fn tell_apart(model: &mut ModelProto) -> usize {
    let graph = model.graph.iter_mut().map(|graph| &mut graph.node);
    let bodies = model.functions.iter_mut().map(|body| &mut body.node);
    graph.chain(bodies).map(|nodes| in_graph(nodes)).sum()
}

fn in_graph(nodes: &mut [NodeProto]) -> usize {
    let mut renamed = 0;
    let mut taken: HashSet<String> = HashSet::new();
    let mut repeated = Vec::new();
    for (place, node) in nodes.iter_mut().enumerate() {
        let inner = node.attribute.iter_mut().flat_map(|a| a.subgraphs_mut());
        renamed += inner.map(|graph| in_graph(&mut graph.node)).sum::<usize>();
        if !node.name().is_empty() && !taken.insert(node.name().to_owned()) {
            repeated.push(place);
        }
    }
    for &place in &repeated {
        let name = nodes[place].name();
        // The place tells those of one name apart; a file may have used even that.
        let mut fresh = format!("{name}_{place}");
        while !taken.insert(fresh.clone()) {
            fresh.push('_');
        }
        nodes[place].name = Some(fresh);
    }
    renamed + repeated.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::messages::{AttributeProto, GraphProto};

    fn nodes(names: &[&str]) -> Vec<NodeProto> {
        let node = |name: &&str| NodeProto {
            name: Some((*name).to_owned()),
            ..NodeProto::default()
        };
        names.iter().map(node).collect()
    }

    fn names(nodes: &[NodeProto]) -> Vec<&str> {
        nodes.iter().map(NodeProto::name).collect()
    }

    #[test]
    fn repeated_names_are_told_apart_in_each_graph_and_others_are_left() {
        let mut outer = nodes(&["a", "", "a", "a_2", "", "b", "a"]);
        let body = GraphProto {
            node: nodes(&["a", "b", "b"]),
            ..GraphProto::default()
        };
        outer[1].attribute.push(AttributeProto {
            g: Some(Box::new(body)),
            ..AttributeProto::default()
        });
        let mut model = ModelProto {
            graph: Some(GraphProto {
                node: outer,
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        };
        assert_eq!(tell_apart(&mut model), 3);
        let graph = model.graph.as_ref().unwrap();
        assert_eq!(names(&graph.node), ["a", "", "a_2_", "a_2", "", "b", "a_6"]);
        let inner = graph.node[1].attribute[0].subgraphs().next().unwrap();
        assert_eq!(names(&inner.node), ["a", "b", "b_2"]);
        assert_eq!(tell_apart(&mut model), 0);
    }
}
