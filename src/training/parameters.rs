//! Which initializers of a network can be trained, and buffers of them.

use indexmap::IndexSet;

use crate::autodiff::AutodiffError;
use crate::graph::{Graph, reaching, weights};
use crate::onnx::Model;
use crate::runtime::Buffer;
use crate::task::Task;

use super::TrainingError;
use super::program::{Objective, Prepared};

/// The [`weights`] of a classifier, in the order in which the forward pass reads them, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Those that the loss depends on.
    pub trainable: Vec<String>,
    /// Those that it does not depend on: of another output, or behind indices and comparisons.
    pub idle: Vec<String>,
}

impl Parameters {
    /// Those of `model`, which tells this of a sample or has another objective, for samples of dimensions `sample`.
    ///
    /// # Errors
    /// When the model cannot be brought to normal form at these input dimensions, or its outputs are not as the objective
    /// takes them.
    pub fn of(
        model: &Model,
        sample: &[usize],
        objective: impl Into<Objective>,
    ) -> Result<Self, TrainingError> {
        let graph = Graph::from_model(model)?;
        let prepared = Prepared::of(model, 1, sample, objective)?;
        let reached = reaching(&prepared.graph, &[&prepared.logits]);
        let names: IndexSet<&str> = weights(&graph).iter().map(|w| w.name).collect();
        let (trainable, idle) = names
            .into_iter()
            .map(str::to_owned)
            .partition(|name| reached.contains(name.as_str()));
        Ok(Parameters { trainable, idle })
    }
}

/// Names of the weights that the loss of a classifier of one label per sample depends on, see [`Parameters`].
///
/// # Errors
/// As [`Parameters::of`].
pub fn trainable_parameters(model: &Model, sample: &[usize]) -> Result<Vec<String>, TrainingError> {
    Ok(Parameters::of(model, sample, Task::SingleLabel)?.trainable)
}

/// Buffers with the values that the named initializers have in the model.
///
/// # Errors
/// When a name is no float initializer.
pub(super) fn parameter_buffers(
    prepared: &Prepared,
    names: &[String],
) -> Result<Vec<Buffer>, TrainingError> {
    names
        .iter()
        .map(|name| {
            let tensor = prepared.graph.initializers.get(name);
            let (dims, values) = tensor
                .and_then(|t| Some((t.dims.clone(), t.to_f32()?)))
                .ok_or_else(|| AutodiffError::NotAParameter(name.clone()))?;
            Ok(Buffer::from_f32(&dims, &values)?)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::Value as Json;

    use super::*;
    use crate::graph::{Builder, Value};
    use crate::onnx::{DataType, Tensor, encode};
    use crate::training::differentiate;

    fn model(graph: &Graph) -> Model {
        let bytes = encode(&graph.to_model(usize::MAX).0).unwrap();
        Model::decode(bytes.into(), Path::new("test.onnx")).unwrap()
    }

    /// A classifier of few channels whose weights are stored as `dtype` and cast where they are used, but
    /// for `gain`, a number per filter that the size of the filters scales.
    fn cast_where_used(dtype: DataType) -> Model {
        let mut graph = Graph {
            inputs: vec![Value::batched("x", &[3, 8, 8])],
            ..Graph::new(17)
        };
        for (name, dims) in [
            ("conv.w", &[8, 3, 3, 3][..]),
            ("conv.b", &[8]),
            ("fc.w", &[8, 5]),
            ("fc.b", &[5]),
            ("gain", &[8, 1, 1, 1]),
        ] {
            let count: usize = dims.iter().product();
            let values: Vec<f32> = (0..count).map(|i| (i as f32).sin()).collect();
            let dtype = if name == "gain" {
                DataType::Float
            } else {
                dtype
            };
            let zero = Tensor {
                dtype,
                dims: dims.to_vec(),
                data: vec![0; count * dtype.size()].into(),
            };
            let tensor = zero.with_f32_values(&values).unwrap();
            graph.initializers.insert(name.to_owned(), tensor);
        }
        let mut b = Builder::new(&mut graph);
        let cast = |b: &mut Builder, name: &str, to: i64| {
            b.op(
                &format!("{name}/cast"),
                "Cast",
                &[name],
                vec![("to", to.into())],
            )
        };
        let [cw, cb, fw, fb] = ["conv.w", "conv.b", "fc.w", "fc.b"].map(|n| cast(&mut b, n, 1));
        let part = vec![("start", 1.into())];
        let sizes = b.op("sizes", "Shape", &["conv.w"], part);
        let fan = b.op("fan", "ReduceProd", &[&sizes], vec![("keepdims", 0.into())]);
        let fan = cast(&mut b, &fan, 1);
        let root = b.op("root", "Sqrt", &[&fan], vec![]);
        let gain = b.op("scaled", "Div", &["gain", &root], vec![]);
        let filters = b.op("filters", "Mul", &[&cw, &gain], vec![]);
        let x = b.op("conv", "Conv", &["x", &filters, &cb], vec![]);
        let x = b.op("relu", "Relu", &[&x], vec![]);
        let x = b.op("pool", "GlobalAveragePool", &[&x], vec![]);
        let x = b.op("flat", "Flatten", &[&x], vec![]);
        let x = b.op("fc", "Gemm", &[&x, &fw, &fb], vec![]);
        graph.outputs.push(Value::batched(&x, &[5]));
        model(&graph)
    }

    /// The models of `fixtures/exporters` that can be trained, with the dimensions of a sample and the
    /// weights that their output depends on.
    fn exported() -> Vec<(String, Model, Vec<usize>, BTreeSet<String>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/exporters");
        let index = std::fs::read(folder.join("index.json")).unwrap();
        let index: Json = serde_json::from_slice(&index).unwrap();
        let entries = index.as_object().unwrap().iter();
        entries
            .filter(|(_, entry)| entry["refused"].is_null())
            .map(|(name, entry)| {
                let model = Model::open(&folder.join(format!("{name}.onnx"))).unwrap();
                let sample = entry["sample"].as_array().unwrap().iter();
                let sample = sample.map(|n| n.as_u64().unwrap() as usize).collect();
                let weights = entry["parameters"].as_array().unwrap().iter();
                let weights = weights.map(|w| w.as_str().unwrap().to_owned());
                (name.clone(), model, sample, weights.collect())
            })
            .collect()
    }

    #[test]
    fn no_weight_is_lost_on_the_way_to_a_step() {
        let mut models = exported();
        for dtype in [DataType::Float16, DataType::Double, DataType::Float] {
            let model = cast_where_used(dtype);
            let graph = Graph::from_model(&model).unwrap();
            let all = weights(&graph).into_iter().map(|w| w.name.to_owned());
            let all: BTreeSet<String> = all.collect();
            assert_eq!(all.len(), 5);
            models.push((format!("{dtype:?}"), model, vec![3, 8, 8], all));
        }
        for (name, model, sample, all) in models {
            let found = trainable_parameters(&model, &sample).unwrap();
            assert_eq!(BTreeSet::from_iter(found.clone()), all, "{name}");
            for batch in [1, 2] {
                let prepared = Prepared::new(&model, batch, &sample).unwrap();
                for weight in &all {
                    let held = prepared.graph.initializers.contains_key(weight);
                    assert!(held, "{name}: {weight}");
                }
            }
            let step = differentiate(&model, &found, 2, &sample, Task::SingleLabel).unwrap();
            assert_eq!(step.gradients.len(), all.len(), "{name}");
        }
    }
}
