use std::collections::{BTreeSet, HashMap};

use super::*;
use crate::autodiff::{Operators, gradients};
use crate::graph::{infer_shapes, normalise};
use crate::training::Objective;
use crate::training::program::Prepared;

/// The operators of a model, of which each has the default domain.
fn operators(model: &TrainingGraph) -> BTreeSet<String> {
    let nodes = model.model.graph.iter().flat_map(|g| &g.node);
    nodes
        .map(|node| {
            assert_eq!(node.domain(), "", "{}", node.op_type());
            node.op_type().to_owned()
        })
        .collect()
}

/// Operators that the gradients of a case of `fixtures/gradients` add.
fn of_rules(into: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(fixtures("gradients")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "onnx") {
            continue;
        }
        let file = Graph::from_model(&Model::open(&path).unwrap()).unwrap();
        for output in &file.outputs {
            let mut graph = file.clone();
            graph.outputs = vec![output.clone()];
            graph.prune();
            let is_trained =
                |name: &String| file.initializers.contains_key(&format!("grad/{name}"));
            let wrt: Vec<String> = graph
                .initializers
                .keys()
                .filter(|n| is_trained(n))
                .cloned()
                .collect();
            normalise(&mut graph).unwrap();
            let shapes = infer_shapes(&graph, &HashMap::new()).unwrap();
            for kind in [Operators::Standard, Operators::AnyBatch] {
                let mut graph = graph.clone();
                let before = graph.nodes.len();
                let mut builder = Builder::new(&mut graph);
                let seed =
                    builder.constant(file.initializers[&format!("seed/{}", output.name)].clone());
                let seeds = [(output.name.as_str(), seed.as_str())];
                gradients(&mut builder, &shapes, &seeds, &wrt, &[], kind).unwrap();
                into.extend(graph.nodes[before..].iter().map(|n| n.op_type.clone()));
            }
        }
    }
}

#[test]
fn no_operator_appears_that_is_not_promised_and_each_promised_one_does() {
    let promised: BTreeSet<String> = OPERATORS.iter().map(|&o| o.to_owned()).collect();
    assert_eq!(promised.len(), OPERATORS.len());
    let mut seen = BTreeSet::new();
    of_rules(&mut seen);
    for (name, model, sample) in networks() {
        let objective = Objective::Task(Task::SingleLabel);
        for batch in [Batch::Fixed(3), Batch::Any] {
            for kind in KINDS {
                let options = TrainingOptions::new(objective, Optimizer::new(kind))
                    .clip_norm(Some(1.0))
                    .ema(Some(0.99))
                    .batch_norm(BatchNormMode::Batch)
                    .batch(batch);
                let graph = made(&model, &sample, &options);
                let imports = &graph.model.opset_import;
                let imports: Vec<_> = imports.iter().map(|o| (o.domain(), o.version())).collect();
                assert_eq!(imports, [("", 21)], "{name}");
                let forward = Prepared::of(&model, 3, &sample, objective).unwrap();
                let forward = forward.graph.nodes.iter().map(|n| n.op_type.clone());
                let own = operators(&graph);
                seen.extend(own.difference(&forward.collect()).cloned());
            }
        }
    }
    for task in [Task::MultiLabel, Task::Binary] {
        let model = of_outputs(if task == Task::Binary { 1 } else { 3 });
        let mut options = TrainingOptions::new(task, Optimizer::new(OptimizerKind::Sgd));
        options.targets.class_weights = Some(vec![0.5; if task == Task::Binary { 2 } else { 3 }]);
        options.targets.smoothing = 0.1;
        seen.extend(operators(&made(&model, &[2, 4, 4], &options)));
    }
    let unseen: Vec<_> = promised.difference(&seen).collect();
    let beyond: Vec<_> = seen.difference(&promised).collect();
    assert!(beyond.is_empty(), "not promised: {beyond:?}");
    assert!(unseen.is_empty(), "promised for nothing: {unseen:?}");
    let shown = include_str!("../../../docs/training-graph.md");
    let (_, shown) = shown.split_once("<!-- operators -->").unwrap();
    let (shown, _) = shown.split_once("\n\n").unwrap();
    let shown = shown.split(',').map(|name| name.trim().to_owned());
    assert_eq!(
        shown.collect::<Vec<_>>(),
        OPERATORS,
        "docs/training-graph.md"
    );
}
