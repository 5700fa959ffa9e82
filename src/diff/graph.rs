//! The walk over two graphs.

use std::collections::{HashMap, HashSet};

use crate::onnx::OnnxError;
use crate::onnx::messages::{
    AttributeProto, GraphProto, NodeProto, TensorAnnotation, TensorProto, ValueInfoProto,
};

use super::lists::{List, numbered, order};
use super::operand::{Operand, of_attribute};
use super::pairing::{Names, Side, pair, rewired};
use super::walk::{Walk, Walked, metadata, plain, text};
use super::{Change, Fate, Kind, NodeChange, Renamed, sequence, words};

impl Walk<'_> {
    pub fn graph(&mut self, before: &GraphProto, after: &GraphProto, outer: &Names) -> Walked {
        // Without `..`, so that a new field of the schema has to be named.
        let GraphProto {
            node,
            name,
            initializer,
            sparse_initializer: _,
            doc_string,
            input,
            output,
            value_info,
            quantization_annotation,
            metadata_props,
        } = before;
        self.note(text("graph.name", name, &after.name));
        self.note(text("graph.doc_string", doc_string, &after.doc_string));
        self.note(metadata(
            "graph metadata",
            metadata_props,
            &after.metadata_props,
        ));
        let inputs = |graph: &'_ [ValueInfoProto]| -> Vec<String> {
            graph.iter().map(|v| v.name().to_owned()).collect()
        };
        let names = [inputs(input), inputs(&after.input)];
        let sides = [(node, before, &names[0]), (&after.node, after, &names[1])];
        let [a, b] = sides.map(|(nodes, graph, inputs)| {
            let inputs = inputs.iter().map(String::as_str).collect();
            Side::new(nodes, Operand::of_graph(graph).collect(), inputs)
        });
        let names = self.body(&a, &b, outer)?;
        self.declared("input", input, &after.input, &names);
        self.declared("output", output, &after.output, &names);
        self.declared("noted type of", value_info, &after.value_info, &names);
        let list = List {
            part: "quantisation annotation of",
            key: &|note: &TensorAnnotation| note.tensor_name().to_owned(),
            words: &|note| words::entries(&note.quant_parameter_tensor_names),
            renamed: &|name| names.get(name).map_or(name, String::as_str).to_owned(),
            ordered: true,
        };
        let changes = list.changes(quantization_annotation, &after.quantization_annotation);
        self.note(changes);
        let order_now = numbered(after.initializer.iter().map(|t| t.name().to_owned()));
        let order_now: HashMap<&String, usize> = order_now.iter().zip(0..).collect();
        let now = initializer
            .iter()
            .map(|t| names.get(t.name()).map_or(t.name(), String::as_str));
        let now = numbered(now.map(str::to_owned));
        let places: Vec<usize> = now
            .iter()
            .filter_map(|name| order_now.get(name).copied())
            .collect();
        if sequence::increasing(&places).len() < places.len() {
            let names = |list: &[TensorProto]| list.iter().map(|t| t.name().to_owned()).collect();
            self.note([order(
                "initializers",
                names(initializer),
                names(&after.initializer),
            )]);
        }
        Ok(())
    }

    /// Declared values, by the names that they have after.
    pub fn declared(
        &mut self,
        part: &'static str,
        before: &[ValueInfoProto],
        after: &[ValueInfoProto],
        names: &Names,
    ) {
        // That a value is renamed is told once, for the graph.
        let renamed = |name: &str| names.get(name).map_or(name, String::as_str).to_owned();
        let as_now: Vec<ValueInfoProto> = before
            .iter()
            .map(|value| ValueInfoProto {
                name: value.name.as_deref().map(renamed),
                ..value.clone()
            })
            .collect();
        let list = List {
            part,
            key: &|value: &ValueInfoProto| value.name().to_owned(),
            words: &words::value_info,
            renamed: &str::to_owned,
            ordered: true,
        };
        let changes = list.changes(&as_now, after);
        self.note(changes);
    }

    /// The nodes and tensors of a graph or a function; gives what values are named after.
    pub fn body(&mut self, a: &Side, b: &Side, outer: &Names) -> Result<Names, OnnxError> {
        let pairing = pair(a, b, outer);
        let names = &pairing.names;
        for (count, side) in [a, b].into_iter().enumerate() {
            self.diff.counts.nodes[count] += side.nodes.len();
            self.diff.counts.tensors[count] += side.tensors.len();
            let contents = side.tensors.iter().map(|t| &t.content);
            self.diff.counts.add_elements(count, contents);
        }
        self.renames(a, b, &pairing.nodes, &pairing.tensors, names);
        let seconds: Vec<usize> = pairing.nodes.iter().flatten().copied().collect();
        let kept = sequence::increasing(&seconds);
        let in_order: HashSet<usize> = kept.into_iter().map(|place| seconds[place]).collect();
        for (i, partner) in pairing.nodes.iter().enumerate() {
            match *partner {
                None => self.node_change(a.nodes[i], Fate::Removed, Vec::new()),
                Some(j) => self.node(a.nodes[i], b.nodes[j], names, in_order.contains(&j))?,
            }
        }
        let taken: HashSet<usize> = seconds.into_iter().collect();
        for (_, node) in b
            .nodes
            .iter()
            .enumerate()
            .filter(|(j, _)| !taken.contains(j))
        {
            self.node_change(node, Fate::Added, Vec::new());
        }
        for (i, partner) in pairing.tensors.iter().enumerate() {
            let tensor = &a.tensors[i];
            match *partner {
                None => self.tensor_change(tensor, Fate::Removed),
                Some(j) => self.operand(tensor, &b.tensors[j])?,
            }
        }
        let taken: HashSet<usize> = pairing.tensors.iter().flatten().copied().collect();
        for (_, tensor) in b
            .tensors
            .iter()
            .enumerate()
            .filter(|(j, _)| !taken.contains(j))
        {
            self.tensor_change(tensor, Fate::Added);
        }
        Ok(pairing.names)
    }

    fn renames(
        &mut self,
        a: &Side,
        b: &Side,
        nodes: &[Option<usize>],
        tensors: &[Option<usize>],
        names: &Names,
    ) {
        let mut found: Vec<(Kind, &str, &str)> = Vec::new();
        for name in &a.inputs {
            found.extend(names.get(*name).map(|to| (Kind::Input, *name, to.as_str())));
        }
        for (node, partner) in a.nodes.iter().zip(nodes) {
            let Some(other) = partner.map(|j| b.nodes[j]) else {
                continue;
            };
            found.extend(names_of(node, other));
            let outputs = node.output.iter().zip(&other.output);
            found.extend(outputs.map(|(x, y)| (Kind::Value, x.as_str(), y.as_str())));
            if self.scope.is_empty() {
                self.diff
                    .pairs
                    .push([words::node(node), words::node(other)]);
            }
        }
        for (tensor, partner) in a.tensors.iter().zip(tensors) {
            let Some(other) = partner.map(|j| &b.tensors[j]) else {
                continue;
            };
            found.push((Kind::Tensor, tensor.name, other.name));
            let nodes = tensor.node.zip(other.node);
            found.extend(nodes.and_then(|(x, y)| names_of(x, y)));
        }
        let scope = &self.scope;
        let renamed = found
            .into_iter()
            .filter(|(_, from, to)| from != to && !from.is_empty());
        self.diff
            .renamed
            .extend(renamed.map(|(kind, from, to)| Renamed {
                scope: scope.clone(),
                kind,
                from: from.to_owned(),
                to: to.to_owned(),
            }));
    }

    fn node_change(&mut self, node: &NodeProto, what: Fate, changes: Vec<Change>) {
        self.diff.nodes.push(NodeChange {
            scope: self.scope.clone(),
            name: words::node(node),
            op_type: node.op_type().to_owned(),
            what,
            changes,
        });
    }

    /// Two nodes that belong to each other.
    fn node(
        &mut self,
        before: &NodeProto,
        after: &NodeProto,
        names: &Names,
        in_order: bool,
    ) -> Walked {
        // Without `..`, so that a new field of the schema has to be named.
        let NodeProto {
            input,
            output,
            name: _,
            op_type,
            domain,
            overload,
            attribute,
            doc_string,
            metadata_props,
            device_configurations,
        } = before;
        let mut changes = Vec::new();
        changes.extend(text("operator", op_type, &after.op_type));
        changes.extend(text("domain", domain, &after.domain));
        changes.extend(text("overload", overload, &after.overload));
        changes.extend(text("doc_string", doc_string, &after.doc_string));
        changes.extend(given_name("name", before, after));
        changes.extend(metadata("metadata", metadata_props, &after.metadata_props));
        if *device_configurations != after.device_configurations {
            let words = |node: &NodeProto| Some(format!("{:?}", node.device_configurations));
            changes.extend(plain("device_configurations", words(before), words(after)));
        }
        for (place, x, y) in rewired(before, after, names) {
            let read = |name: &str| (!name.is_empty()).then(|| name.to_owned());
            changes.extend(plain(&format!("input {place}"), read(x), read(y)));
        }
        let count = |list: &[String]| Some(list.len().to_string());
        let (old, new) = (count(input), count(&after.input));
        changes.extend(plain("number of inputs", old, new));
        // A name that is there on one side alone is an output that is.
        let given = |list: &[String]| -> Vec<bool> { list.iter().map(|o| !o.is_empty()).collect() };
        if given(output) != given(&after.output) {
            let (old, new) = (output.join(", "), after.output.join(", "));
            changes.extend(plain("outputs", Some(old), Some(new)));
        }
        let list = List {
            part: "attribute",
            key: &|a: &AttributeProto| a.name().to_owned(),
            words: &words::attribute,
            renamed: &str::to_owned,
            ordered: true,
        };
        let bare = |list: &[AttributeProto]| list.iter().map(bare).collect::<Vec<_>>();
        changes.extend(list.changes(&bare(attribute), &bare(&after.attribute)));
        let fate = match (changes.is_empty(), in_order) {
            (false, _) => Some(Fate::Changed),
            (true, false) => Some(Fate::Moved),
            (true, true) => None,
        };
        match fate {
            None => self.diff.counts.nodes_same += 1,
            Some(fate) => self.node_change(before, fate, changes),
        }
        self.inner(before, after, names)
    }

    /// The tensors and graphs in attributes of nodes that belong to each other.
    fn inner(&mut self, before: &NodeProto, after: &NodeProto, names: &Names) -> Walked {
        let node = words::node(before);
        for old in &before.attribute {
            let mut others = after.attribute.iter();
            let Some(new) = others.find(|a| a.name() == old.name()) else {
                continue;
            };
            let graphs = old.subgraphs().zip(new.subgraphs());
            for (i, (inner, other)) in graphs.enumerate() {
                let scope = match i {
                    0 => format!("`{}` of node `{node}`", old.name()),
                    i => format!("`{}` {i} of node `{node}`", old.name()),
                };
                self.within(scope, |walk| walk.graph(inner, other, names))?;
            }
            let (x, y) = (of_attribute(old), of_attribute(new));
            let own = format!("{node}.{}", old.name());
            let operand = |content| Operand {
                name: &own,
                content,
                node: None,
            };
            let counts = &mut self.diff.counts;
            for (count, list) in [&x, &y].into_iter().enumerate() {
                counts.tensors[count] += list.len();
                counts.add_elements(count, list.iter());
            }
            for (x, y) in x.into_iter().zip(y) {
                self.operand(&operand(x), &operand(y))?;
            }
        }
        Ok(())
    }
}

/// The names of two nodes that have any.
fn names_of<'n>(before: &'n NodeProto, after: &'n NodeProto) -> Option<(Kind, &'n str, &'n str)> {
    let named = !before.name().is_empty() && !after.name().is_empty();
    named.then(|| (Kind::Node, before.name(), after.name()))
}

/// That only one of two nodes has a name.
pub(super) fn given_name(field: &str, before: &NodeProto, after: &NodeProto) -> Option<Change> {
    let name = |node: &NodeProto| node.name.clone().filter(|name| !name.is_empty());
    let (x, y) = (name(before), name(after));
    match x.is_some() == y.is_some() {
        true => None,
        false => plain(field, x, y),
    }
}

/// An attribute with nothing in what is looked into apart: its tensors and graphs.
fn bare(a: &AttributeProto) -> AttributeProto {
    AttributeProto {
        t: a.t.as_ref().map(|_| Default::default()),
        g: a.g.as_ref().map(|_| Default::default()),
        sparse_tensor: a.sparse_tensor.as_ref().map(|_| Default::default()),
        tensors: vec![Default::default(); a.tensors.len()],
        graphs: vec![Default::default(); a.graphs.len()],
        sparse_tensors: vec![Default::default(); a.sparse_tensors.len()],
        // Without `..`, so that a new field of the schema has to be named.
        name: a.name.clone(),
        ref_attr_name: a.ref_attr_name.clone(),
        doc_string: a.doc_string.clone(),
        r#type: a.r#type,
        f: a.f,
        i: a.i,
        s: a.s.clone(),
        tp: a.tp.clone(),
        floats: a.floats.clone(),
        ints: a.ints.clone(),
        strings: a.strings.clone(),
        type_protos: a.type_protos.clone(),
    }
}
