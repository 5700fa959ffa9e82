//! Whether there is memory for what a plan trains.

use std::collections::HashMap;

use crate::onnx::Model;
use crate::training::Optimizer;

use super::SearchError;
use super::plan::Plan;

/// Refuses a plan with a candidate whose trained values alone take more than `limit` bytes. Each is held as it
/// stands, at the best epoch and with what the optimizer remembers of it, 4 bytes each; what a step computes,
/// and weights that are mapped from a file, come on top.
///
/// # Errors
/// [`SearchError::NoRoom`] names the first such candidate.
pub(super) fn ensure_room(
    plan: &Plan,
    model: &Model,
    optimizer: &Optimizer,
    limit: u64,
) -> Result<(), SearchError> {
    let count = |dims: &[i64]| {
        dims.iter()
            .fold(1, |n: u64, &d| n.saturating_mul(d.unsigned_abs()))
    };
    let tensors = model.graph().initializer.iter();
    let elements: HashMap<&str, u64> = tensors.map(|t| (t.name(), count(&t.dims))).collect();
    let held = 2 + optimizer.moments() as u64;
    for planned in &plan.strategies {
        for candidate in &planned.candidates {
            let of = |name: &String| elements.get(name.as_str()).copied().unwrap_or(0);
            let values = candidate.trainable.iter().map(of).sum::<u64>();
            let bytes = values.saturating_mul(4 * held);
            if bytes > limit {
                return Err(SearchError::NoRoom {
                    strategy: planned.strategy,
                    candidate: candidate.label.clone(),
                    values,
                    bytes,
                    limit,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::messages::{GraphProto, ModelProto, NodeProto};
    use crate::onnx::{Tensor, encode};
    use crate::search::plan::StrategyPlan;
    use crate::strategy::{Candidate, StrategyName};
    use crate::surgery::Rewrite;
    use crate::training::OptimizerKind;

    #[test]
    fn what_does_not_fit_in_memory_is_refused_with_its_size_before_it_is_run() {
        let proto = ModelProto {
            graph: Some(GraphProto {
                node: vec![NodeProto::default()],
                initializer: vec![
                    Tensor::f32(&[10, 100], &[0.0; 1000]).to_proto("w"),
                    Tensor::f32(&[10], &[0.0; 10]).to_proto("b"),
                ],
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        };
        let bytes = encode(&proto).unwrap();
        let model = Model::decode(bytes.into(), "model.onnx".as_ref()).unwrap();
        let candidate = Candidate {
            id: "full".to_owned(),
            label: "all layers".to_owned(),
            layers: Vec::new(),
            trainable: vec!["w".to_owned(), "b".to_owned()],
            rewrite: Rewrite::None,
        };
        let plan = Plan {
            strategies: vec![StrategyPlan {
                strategy: StrategyName::FULL,
                candidates: vec![candidate],
                skipped: Vec::new(),
            }],
        };
        for (kind, momentum, held) in [
            (OptimizerKind::Adam, 0.9, 4),
            (OptimizerKind::Sgd, 0.9, 3),
            (OptimizerKind::Sgd, 0.0, 2),
        ] {
            let optimizer = Optimizer {
                kind,
                momentum,
                ..Optimizer::default()
            };
            let least = 1010 * 4 * held;
            ensure_room(&plan, &model, &optimizer, least).unwrap();
            let error = ensure_room(&plan, &model, &optimizer, least - 1).unwrap_err();
            let text = error.to_string();
            assert!(
                error.is_bad_input() && text.contains("all layers"),
                "{text}"
            );
            assert!(text.contains("1010 values"), "{text}");
        }
    }
}
