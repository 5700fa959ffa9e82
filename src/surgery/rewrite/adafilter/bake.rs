//! Gates that are the same for every sample leave the network.

use std::collections::HashSet;

use indexmap::IndexMap;

use crate::graph::Graph;

use super::super::super::SurgeryError;
use super::super::layer::tensor;
use super::super::{Form, Merged, Rewrite, Values};
use super::part::rows;
use super::unit::Unit;
use super::{AdaFilter, name};

impl AdaFilter {
    /// What is left of the gates, and the values with it, where `constant` says of each weight and filter that its gate is
    /// always open or always closed; `None`: it depends on the sample. Filters that are always the tuned ones are in the
    /// model's own tensors then.
    ///
    /// All filters of a layer keep their gate where it has groups and one of them depends, and where tuned filters would
    /// have to go into a tensor that is not the layer's alone.
    pub(in super::super) fn baked(
        &self,
        graph: &Graph,
        values: &Values,
        constant: &[Vec<Option<bool>>],
    ) -> Result<Merged, SurgeryError> {
        let given = |name: &str| values.iter().find(|(n, _)| n == name).map(|(_, v)| v);
        let mut left: IndexMap<String, Vec<f32>> = values.iter().cloned().collect();
        // Place in the graph, weight, filters.
        let mut layers = Vec::new();
        for (place, weight) in self.weights.iter().enumerate() {
            let unit = Unit::of(graph, weight)?;
            let channels = unit.channels();
            let of = |filter: usize| constant.get(place).and_then(|c| *c.get(filter)?);
            let are = |gate: Option<bool>| (0..channels).filter(move |&f| of(f) == gate);
            let tuned: Vec<usize> = are(Some(true)).collect();
            let mut depends: Vec<usize> = are(None).collect();
            let has_groups = unit.layer.node.int("group", 1)? != 1;
            if has_groups && !depends.is_empty() || !tuned.is_empty() && unit.is_shared(graph) {
                depends = (0..channels).collect();
            } else {
                for (original, (copy, _)) in unit.originals().into_iter().zip(unit.copies(weight)) {
                    // What was not tuned is what it was.
                    let Some(of_copy) = given(&copy) else {
                        continue;
                    };
                    if !tuned.is_empty() {
                        let old = || tensor(graph, original).and_then(|t| t.to_f32());
                        let mut merged = given(original).cloned().or_else(old).unwrap_or_default();
                        let each = merged.len() / channels.max(1);
                        for own in tuned.iter().map(|f| f * each..(f + 1) * each) {
                            merged[own.clone()].copy_from_slice(&of_copy[own]);
                        }
                        left.insert(original.to_owned(), merged);
                    }
                    left.insert(copy, rows(of_copy, channels, &depends));
                }
                for part in ["logits/weight", "logits/bias"].map(|part| name(weight, part)) {
                    if let Some(values) = given(&part) {
                        left.insert(part, rows(values, channels, &depends));
                    }
                }
            }
            layers.push((unit.place, weight.clone(), depends));
        }
        // What is remembered behind the last gate is of no use.
        let gated = layers.iter().filter(|(.., depends)| !depends.is_empty());
        let last = gated.map(|(place, ..)| *place).max();
        layers.retain(|(place, ..)| last.is_some_and(|last| *place <= last));
        let rewrite = (!layers.is_empty()).then(|| AdaFilter {
            weights: layers.iter().map(|(_, weight, _)| weight.clone()).collect(),
            dependent: Some(layers.into_iter().map(|(.., depends)| depends).collect()),
            ..self.clone()
        });
        let added =
            |of: &AdaFilter| Ok::<_, SurgeryError>(of.changes(graph, Form::Training)?.added());
        let stay: HashSet<String> = match &rewrite {
            Some(rewrite) => added(rewrite)?.into_iter().collect(),
            None => HashSet::new(),
        };
        for name in added(self)?.iter().filter(|name| !stay.contains(*name)) {
            left.shift_remove(name);
        }
        Ok(Merged {
            rewrite: rewrite.map_or(Rewrite::None, Rewrite::AdaFilter),
            values: left.into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{emitted, grafted, others, output};
    use super::super::tests::{adafilter, of, two};
    use super::*;
    use crate::onnx::Model;
    use crate::surgery::rewrite::FilterGate;
    use crate::surgery::testing::*;

    const OPEN: Option<bool> = Some(true);
    const CLOSED: Option<bool> = Some(false);

    /// A trained network whose gates are open or closed for both images, as `constant` says, or open for one of them.
    fn trained(
        graph: &Graph,
        rewrite: &Rewrite,
        constant: &[Vec<Option<bool>>],
    ) -> Vec<(String, Vec<f32>)> {
        let grafted = grafted(graph);
        let rewritten = rewrite.apply(&grafted).unwrap();
        let mut values = others(&rewritten.model, &rewritten.parameters, 2);
        for (weight, constant) in ["conv.weight", "second.weight"].iter().zip(constant) {
            let written = emitted(rewrite, &grafted, &values);
            let logits = [0, 1].map(|image| of(&written, &name(weight, "logits"), 4, image));
            let bias = name(weight, "logits/bias");
            let bias = values.iter_mut().find(|(name, _)| *name == bias).unwrap();
            for (filter, bias) in bias.1.iter_mut().enumerate() {
                *bias += match constant[filter] {
                    Some(true) => 100.0,
                    Some(false) => -100.0,
                    None => -(logits[0][filter] + logits[1][filter]) / 2.0,
                };
            }
        }
        values
    }

    fn baked(graph: &Graph, constant: &[Vec<Option<bool>>; 2]) -> (Model, Model, Merged) {
        let rewrite = Rewrite::AdaFilter(adafilter(FilterGate::Learned));
        let values = trained(graph, &rewrite, constant);
        let grafted = grafted(graph);
        let before = emitted(&rewrite, &grafted, &values);
        let merged = rewrite.bake(&grafted, &values, constant).unwrap();
        let after = emitted(&merged.rewrite, &grafted, &merged.values);
        // As it is measured.
        let measured = merged.rewrite.apply(&grafted).unwrap().model;
        assert_close(&output(&measured, &merged.values), &output(&after, &[]));
        (before, after, merged)
    }

    fn names(model: &Model) -> Vec<String> {
        let nodes = &model.graph().node;
        nodes.iter().map(|n| n.name().to_owned()).collect()
    }

    #[test]
    fn filters_whose_gate_is_constant_are_the_models_own_and_the_others_keep_theirs() {
        for opset in [8, 17] {
            let graph = Graph { opset, ..two() };
            let constant = [
                vec![OPEN, None, CLOSED, None],
                vec![CLOSED, OPEN, None, OPEN],
            ];
            let (before, after, merged) = baked(&graph, &constant);
            assert_close(&output(&after, &[]), &output(&before, &[]));
            let Rewrite::AdaFilter(left) = &merged.rewrite else {
                panic!("{merged:?}")
            };
            assert_eq!(left.dependent, Some(vec![vec![1, 3], vec![2]]));
            let read = Graph::from_model(&after).unwrap();
            let own = |part: &str| &read.initializers[&name("conv.weight", part)];
            assert_eq!(own("weight").dims, [2, 3, 3, 3]);
            assert_eq!(own("scale").dims, [2]);
            assert_eq!(own("logits/weight").dims[0], 2);
        }
    }

    #[test]
    fn a_layer_without_gates_is_still_told_to_those_behind_it_and_one_behind_all_gates_is_not() {
        let constant = [vec![OPEN; 4], vec![None, CLOSED, CLOSED, CLOSED]];
        let (before, after, merged) = baked(&two(), &constant);
        assert_close(&output(&after, &[]), &output(&before, &[]));
        let all = names(&after);
        assert!(!all.contains(&name("conv.weight", "conv")));
        assert!(!all.contains(&name("conv.weight", "logits")));
        assert!(all.contains(&name("conv.weight", "hidden")));
        assert!(merged.values.iter().any(|(name, _)| name == "bn.scale"));

        let constant = [vec![None; 4], vec![OPEN, CLOSED, CLOSED, CLOSED]];
        let (before, after, _) = baked(&two(), &constant);
        assert_close(&output(&after, &[]), &output(&before, &[]));
        let of_second = |n: &&String| n.contains("second.weight");
        assert_eq!(names(&after).iter().find(of_second), None);
    }

    #[test]
    fn with_constant_gates_alone_the_model_has_the_nodes_of_the_original() {
        let constant = [vec![OPEN, CLOSED, OPEN, OPEN], vec![CLOSED; 4]];
        let (before, after, merged) = baked(&two(), &constant);
        assert_close(&output(&after, &[]), &output(&before, &[]));
        assert!(merged.rewrite.is_none());
        assert_eq!(names(&after), names(&grafted(&two()).model));
        let changed: Vec<&str> = merged
            .values
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(changed, ["conv.weight", "conv.bias", "bn.scale", "bn.bias"]);
        // What was never open is byte by byte what it was.
        let tensor = |model: &Model| {
            let graph = Graph::from_model(model).unwrap();
            graph.initializers["conv.weight"].to_f32().unwrap()
        };
        let (new, old) = (tensor(&after), tensor(&grafted(&two()).model));
        assert_eq!(new[27..54], old[27..54]);
        assert_ne!(new[..27], old[..27]);
    }

    #[test]
    fn a_depthwise_layer_and_one_whose_tensors_are_shared_keep_their_gates() {
        let mut graph = two();
        let at = graph.nodes.iter().position(|n| n.name == "second").unwrap();
        graph.nodes[at] = graph.nodes[at].clone().with("group", 4);
        let tensor = weight(&[4, 1, 1, 1], 12);
        graph
            .initializers
            .insert("second.weight".to_owned(), tensor);
        // As PyTorch's exporter writes equal tensors once.
        graph.nodes[at].inputs.push("conv.bias".to_owned());
        let constant = [
            vec![OPEN, None, None, None],
            vec![CLOSED, CLOSED, CLOSED, None],
        ];
        let (before, after, merged) = baked(&graph, &constant);
        assert_close(&output(&after, &[]), &output(&before, &[]));
        let Rewrite::AdaFilter(left) = &merged.rewrite else {
            panic!("{merged:?}")
        };
        let all: Vec<usize> = (0..4).collect();
        assert_eq!(left.dependent, Some(vec![all.clone(), all]));
        assert_eq!(left.weights.len(), 2);
    }

    #[test]
    fn open_and_closed_networks_are_baked_without_a_look_at_samples() {
        let of_gate = |gate, constant: Option<bool>| {
            let rewrite = Rewrite::AdaFilter(adafilter(gate));
            let grafted = grafted(&two());
            let rewritten = rewrite.apply(&grafted).unwrap();
            let values = others(&rewritten.model, &rewritten.parameters, 2);
            let before = emitted(&rewrite, &grafted, &values);
            let merged = rewrite
                .bake(&grafted, &values, &vec![vec![constant; 4]; 2])
                .unwrap();
            assert!(merged.rewrite.is_none());
            let after = emitted(&merged.rewrite, &grafted, &merged.values);
            assert_close(&output(&after, &[]), &output(&before, &[]));
            merged.values.len()
        };
        assert_eq!(of_gate(FilterGate::Zeros, CLOSED), 0);
        assert_eq!(of_gate(FilterGate::Ones, OPEN), 5);
    }
}
