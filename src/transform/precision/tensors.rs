//! What tensors become.

use std::collections::{HashMap, HashSet};

use crate::onnx::messages::{AttributeProto, GraphProto, NodeProto, TensorProto};
use crate::onnx::{Tensor, element_name};
use crate::surgery::Part;

use super::super::known::{held, is_standard, named};
use super::decide::{self, Marks, Want};
use super::range;
use super::walk::{Scope, Site, Walk, Walked};

impl Walk<'_> {
    /// Decides on the tensors of a graph, and changes its initializers.
    pub(super) fn tensors(
        &mut self,
        graph: &mut GraphProto,
        site: &Site<'_>,
        scope: &mut Scope,
    ) -> Walked<()> {
        let plan = self.plan;
        let sparse = graph
            .sparse_initializer
            .iter()
            .filter_map(|s| s.values.as_ref());
        let constants = graph
            .node
            .iter()
            .filter(|n| n.op_type.as_deref() == Some("Constant"));
        let constants = constants
            .filter(|n| is_standard(n))
            .filter_map(|node| Some((node.output.first()?.clone(), held(node)?)));
        let own = graph.initializer.iter().chain(sparse);
        let own = own
            .map(|t| (t.name().to_owned(), t.clone()))
            .chain(constants);
        let own: HashMap<String, TensorProto> = own
            .filter(|(_, tensor)| plan.turns(tensor.data_type.unwrap_or(0)))
            .collect();
        scope
            .marks
            .stuck
            .extend(own.keys().filter(|name| plan.keeps_name(name)).cloned());
        for node in &graph.node {
            decide::mark_sizes(node, site.env, &mut scope.marks);
        }
        let mut seen = HashSet::new();
        let wants = loop {
            let mut wants = Wants::default();
            self.wants(graph, site, &scope.marks, &mut wants);
            let mut stuck = Vec::new();
            for (name, tensor) in &own {
                if !wants.turn(name) || !seen.insert(name.clone()) {
                    continue;
                }
                if let Some(why) = range::unfit(plan.model, tensor, plan.dtype)? {
                    stuck.push((name.clone(), why));
                }
            }
            if stuck.is_empty() {
                break wants;
            }
            stuck.sort();
            for (name, why) in stuck {
                let note = format!(
                    "`{name}` stays {}, with what reads it: {why}",
                    element_name(1)
                );
                if self.told.insert(note.clone()) {
                    self.notes.push(note);
                }
                scope.marks.stuck.insert(name);
            }
        };
        let given: HashSet<String> = graph.output.iter().map(|o| o.name().to_owned()).collect();
        let turn = |name: &str| own.contains_key(name) && wants.turn(name) && !given.contains(name);
        let sparse = graph
            .sparse_initializer
            .iter_mut()
            .filter_map(|s| s.values.as_mut());
        let all = graph.initializer.iter_mut().map(|t| (Part::Tensor, t));
        for (part, tensor) in all.chain(sparse.map(|t| (Part::SparseTensor, t))) {
            let name = tensor.name().to_owned();
            let mut element = tensor.data_type.unwrap_or(0);
            if turn(&name) {
                *tensor = plan.model.cast(tensor, plan.dtype)?;
                element = plan.to;
                self.places.push((site.scope.to_vec(), part, name.clone()));
            }
            scope.types.insert(name, element);
        }
        scope
            .marks
            .fixed
            .extend(own.keys().filter(|name| !turn(name)).cloned());
        Ok(())
    }

    /// What nodes of a graph, and of those inside, want of the values that they read.
    fn wants(&self, graph: &GraphProto, site: &Site<'_>, marks: &Marks, wants: &mut Wants) {
        let plan = self.plan;
        let mut marks = marks.clone();
        for node in &graph.node {
            decide::mark_sizes(node, site.env, &mut marks);
            let decision = decide::on(node, site.env, site.opset, &marks, plan);
            for (input, want) in node.input.iter().zip(&decision.inputs) {
                if let Want::Element(element) = want {
                    wants.0.entry(input.clone()).or_default()[usize::from(*element == plan.to)] =
                        true;
                }
            }
            for inner in node.attribute.iter().flat_map(AttributeProto::subgraphs) {
                let env = plan
                    .reading
                    .graph(inner, site.opset, site.env, &[], site.call);
                let inside = Site { env: &env, ..*site };
                let marks = Marks {
                    kept: !decision.inside,
                    ..marks.clone()
                };
                self.wants(inner, &inside, &marks, wants);
            }
        }
    }

    /// Gives a node that holds a tensor one of the other type.
    pub(super) fn fill(&mut self, node: &mut NodeProto) -> Walked<()> {
        let plan = self.plan;
        let tensor = match node.op_type.as_deref() {
            Some("Constant") => held(node),
            _ => named(node, "value").and_then(|a| a.t.clone()),
        };
        let tensor = match tensor {
            Some(tensor) => plan.model.cast(&tensor, plan.dtype)?,
            // 0 is what is filled in without one.
            None => Tensor {
                dtype: plan.dtype,
                dims: vec![1],
                data: vec![0; plan.dtype.size()].into(),
            }
            .to_proto(""),
        };
        node.attribute.retain(|a| !a.name().starts_with("value_"));
        let attribute = AttributeProto {
            name: Some("value".to_owned()),
            r#type: Some(4),
            t: Some(tensor),
            ..AttributeProto::default()
        };
        match node.attribute.iter_mut().find(|a| a.name() == "value") {
            Some(old) => old.t = attribute.t,
            None => node.attribute.push(attribute),
        }
        Ok(())
    }
}

/// What readers want of values: whether some want them as they are, and some of the other type.
#[derive(Default)]
struct Wants(HashMap<String, [bool; 2]>);

impl Wants {
    fn turn(&self, name: &str) -> bool {
        self.0.get(name) == Some(&[false, true])
    }
}
