//! The model's own head.

use std::collections::HashSet;

use indexmap::IndexSet;

use crate::graph::{Dim, Graph, weights};
use crate::onnx::Model;

use super::{Features, Grafted, HeadSpec, Manifest, SurgeryError, own_dropout};

/// The model unchanged, with the parameters and the dropout that follow the feature map.
pub(super) fn keep(
    model: &Model,
    features: Option<&Features>,
    spec: &HeadSpec,
) -> Result<Grafted, SurgeryError> {
    let mut graph = Graph::from_model(model)?;
    graph.only_scores(&[]);
    let output = graph.outputs.first().ok_or(SurgeryError::NoOutput)?;
    // [N, classes], or [N, classes, 1, 1] of a convolution.
    if let Some(Dim::Known(own)) = output.dims.as_ref().and_then(|d| d.get(1))
        && *own < spec.outputs()
    {
        return Err(SurgeryError::Classes {
            output: output.name.clone(),
            model: *own,
            wanted: spec.outputs(),
        });
    }
    let head_parameters = match features {
        Some(features) => parameters_after(&graph, &features.value)?,
        None => Vec::new(),
    };
    Ok(Grafted {
        model: model.with_proto(model.proto.clone()),
        manifest: Manifest::default(),
        head_parameters,
        dropout: own_dropout(&graph, features.map(|f| f.value.as_str()))?.applied,
        output: output.name.clone(),
        task: spec.task,
    })
}

/// The weights that nodes which depend on `features` work with.
fn parameters_after(graph: &Graph, features: &str) -> Result<Vec<String>, SurgeryError> {
    let known =
        graph.producers().contains_key(features) || graph.inputs.iter().any(|i| i.name == features);
    if !known {
        return Err(SurgeryError::NoFeatures {
            value: features.to_owned(),
        });
    }
    let mut after: HashSet<&str> = HashSet::from([features]);
    let depends: Vec<bool> = graph
        .nodes
        .iter()
        .map(|node| {
            let depends = node.present_inputs().any(|i| after.contains(i));
            if depends {
                after.extend(node.present_outputs());
            }
            depends
        })
        .collect();
    let names = weights(graph).into_iter().filter(|w| depends[w.node]);
    let distinct: IndexSet<&str> = names.map(|w| w.name).collect();
    Ok(distinct.into_iter().map(str::to_owned).collect())
}
