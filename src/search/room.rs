//! Whether there is memory for what a plan trains.

use std::collections::HashMap;

use crate::run::Settings;
use crate::runtime::Device;
use crate::strategy::{Candidate, StrategyName};
use crate::surgery::Grafted;

use super::SearchError;

/// Refuses trials of which one trains values that alone take more than `limit` bytes. Each is held as it
/// stands, at the best epoch, averaged where that is asked for, with what it decays to where that is not 0, and with what the
/// optimizer remembers of it, 4 bytes each, where the optimizer is in the graph two more times; what a step computes, and weights that are mapped from a file, come on top.
///
/// # Errors
/// [`SearchError::NoRoom`] names the first such candidate.
pub(super) fn ensure_room<'c>(
    trials: impl IntoIterator<Item = (StrategyName, &'c Candidate)>,
    grafted: &Grafted,
    settings: &Settings,
    limit: u64,
) -> Result<(), SearchError> {
    let averages = u64::from(settings.ema.is_some());
    let of_groups = settings.group_filters.is_some() && settings.optimizer.weight_decay != 0.0;
    let targets = u64::from(settings.l2_sp.is_some() || of_groups);
    let moments = settings.optimizer.moments() as u64;
    let in_steps = match settings.updates_in_graph() && settings.device == Device::Cpu {
        true => 2 * (1 + averages + moments),
        false => 0,
    };
    let held = 2 + averages + targets + moments + in_steps;
    for (strategy, candidate) in trials {
        let rewritten;
        let model = match candidate.rewrite.is_none() {
            true => &grafted.model,
            false => {
                rewritten = candidate.rewrite.apply(grafted)?.model;
                &rewritten
            }
        };
        let tensors = model.graph().initializer.iter();
        let elements: HashMap<&str, u64> = tensors.map(|t| (t.name(), count(&t.dims))).collect();
        let of = |name: &String| elements.get(name.as_str()).copied().unwrap_or(0);
        let values = candidate.trainable.iter().map(of).sum::<u64>();
        let bytes = values.saturating_mul(4 * held);
        if bytes > limit {
            return Err(SearchError::NoRoom {
                strategy,
                candidate: candidate.label.clone(),
                values,
                bytes,
                limit,
            });
        }
    }
    Ok(())
}

fn count(dims: &[i64]) -> u64 {
    let dims = dims.iter().map(|d| d.unsigned_abs());
    dims.fold(1, u64::saturating_mul)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Graph, Node, Value};
    use crate::onnx::{Model, Tensor, encode};
    use crate::surgery::Rewrite;
    use crate::surgery::rewrite::LowRank;
    use crate::training::{Optimizer, OptimizerKind};

    /// A dense layer of 100 inputs and 10 outputs.
    fn grafted() -> Grafted {
        let mut graph = Graph::new(17);
        graph.inputs = vec![Value::batched("x", &[100])];
        graph.outputs = vec![Value::batched("scores", &[10])];
        for (name, dims) in [("w", &[100, 10][..]), ("b", &[10])] {
            let zeros = vec![0.0; dims.iter().product()];
            let tensor = Tensor::f32(dims, &zeros);
            graph.initializers.insert(name.to_owned(), tensor);
        }
        let product = Node::new("product", "MatMul", &["x", "w"], &["product"]);
        let sum = Node::new("sum", "Add", &["product", "b"], &["scores"]);
        graph.nodes = vec![product, sum];
        let bytes = encode(&graph.to_model(usize::MAX).0).unwrap();
        Grafted {
            model: Model::decode(bytes.into(), "model.onnx".as_ref()).unwrap(),
            manifest: Default::default(),
            head_parameters: Vec::new(),
            dropout: Vec::new(),
            output: "scores".to_owned(),
            task: Default::default(),
        }
    }

    fn candidate(trainable: &[&str], rewrite: Rewrite) -> Candidate {
        Candidate {
            id: "candidate".to_owned(),
            label: "all layers".to_owned(),
            layers: Vec::new(),
            trainable: trainable.iter().map(|&name| name.to_owned()).collect(),
            rewrite,
        }
    }

    #[test]
    fn what_does_not_fit_in_memory_is_refused_with_its_size_before_it_is_run() {
        let grafted = grafted();
        let [a, b] = LowRank::parameters_of("w");
        let low_rank = Rewrite::LowRank(LowRank {
            weights: vec!["w".to_owned()],
            rank: 2,
            alpha: 2,
            seed: 0,
        });
        let full = candidate(&["w", "b"], Rewrite::None);
        let lora = candidate(&[&a, &b], low_rank);
        for (candidate, values) in [(&full, 1010), (&lora, 220)] {
            for (kind, momentum, ema, held) in [
                (OptimizerKind::Adam, 0.9, None, 4),
                (OptimizerKind::Adam, 0.9, Some(0.9), 5),
                (OptimizerKind::Sgd, 0.9, None, 3),
                (OptimizerKind::Sgd, 0.0, None, 2),
            ] {
                let optimizer = Optimizer {
                    kind,
                    momentum,
                    ..Optimizer::default()
                };
                let settings = Settings::default().optimizer(optimizer).ema(ema);
                let of = |limit| {
                    ensure_room(
                        [(StrategyName::FULL, candidate)],
                        &grafted,
                        &settings,
                        limit,
                    )
                };
                let least = values * 4 * held;
                of(least).unwrap();
                let error = of(least - 1).unwrap_err();
                let text = error.to_string();
                assert!(error.is_bad_input(), "{text}");
                assert!(
                    text.contains(&format!("{values} values (`all layers`)")),
                    "{text}"
                );
                // Where it decays to is held as well.
                let anchored = settings.clone().l2_sp(Some(0.1));
                for (limit, fits) in [(least, false), (least + values * 4, true)] {
                    let trials = [(StrategyName::FULL, candidate)];
                    let found = ensure_room(trials, &grafted, &anchored, limit);
                    assert_eq!(found.is_ok(), fits);
                }
            }
        }
    }
}
