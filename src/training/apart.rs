//! Whether a network computes each sample by itself, where that is in doubt: one that was freed from the batch size of its
//! export, and one of which [`free_batch`] cannot tell it by the operators, as of normalisations that were exported in training
//! mode, written out, and of products of all samples with each other. This looks at numbers.

use ndarray::{ArrayD, IxDyn};

use crate::autodiff::Operators;
use crate::batch::free_batch;
use crate::graph::{Graph, Node, Value};
use crate::onnx::{DataType, Model};
use crate::runtime::{Array, Device, Runtime};
use crate::surgery::extract;
use crate::task::Task;

use super::TrainingError;
use super::program::Prepared;
use super::sessions::SessionMaker;

/// Samples that are run together and apart.
const SAMPLES: usize = 3;
/// Nodes whose results are compared at once where the logits differ.
const NODES: usize = 32;

/// Runs `model`, which tells this of a sample, on random samples of dimensions `sample`, together and apart, and refuses it by
/// the first node whose results differ. A model that takes batches of any size, and whose operators keep samples apart, is
/// not run.
///
/// # Errors
/// [`TrainingError::Mixed`]; or when a model made for one batch size cannot be brought to normal form,
/// or the runtime fails.
pub fn samples_stay_apart(
    runtime: &Runtime,
    model: &Model,
    sample: &[usize],
    task: Task,
) -> Result<(), TrainingError> {
    let prepared = Prepared::of(model, SAMPLES, sample, task)?;
    if !is_in_doubt(&prepared) {
        return Ok(());
    }
    let sessions = SessionMaker::new(runtime, Device::Cpu, Operators::Standard);
    compare(&sessions, model, sample, task, 0)
}

/// Whether it is worth to look at numbers: the network was freed from the batch size of its export, or its operators do
/// not tell that it keeps samples apart.
pub(super) fn is_in_doubt(prepared: &Prepared) -> bool {
    prepared.freed.is_some() || free_batch(&mut prepared.graph.clone()).is_err()
}

/// As [`samples_stay_apart`], in sessions of `threads` threads (0 for all cores), of any model.
pub(super) fn compare(
    sessions: &SessionMaker,
    model: &Model,
    sample: &[usize],
    task: Task,
    threads: usize,
) -> Result<(), TrainingError> {
    let together = Prepared::of(model, SAMPLES, sample, task)?;
    let apart = Prepared::of(model, 1, sample, task)?;
    let exported = together.freed.or(apart.freed);
    let pair = Pair {
        sessions,
        threads,
        together: &together,
        apart: &apart,
    };
    if pair.differing(&[together.logits.as_str()])?.is_none() {
        return Ok(());
    }
    let mut node = format!("`{}`", together.logits);
    if let Some(first) = pair.first_node()? {
        node = first.to_string();
    }
    Err(TrainingError::Mixed { node, exported })
}

/// One network at two batch sizes.
struct Pair<'a> {
    sessions: &'a SessionMaker<'a>,
    threads: usize,
    together: &'a Prepared,
    apart: &'a Prepared,
}

impl Pair<'_> {
    /// The first node that gives samples together something else than each apart.
    fn first_node(&self) -> Result<Option<&Node>, TrainingError> {
        let known = |name: &str| {
            let info = self.apart.shapes.info(name);
            info.is_ok_and(|info| info.dtype == DataType::Float)
                && self.apart.graph.nodes.iter().any(|n| {
                    // What follows from the dimensions alone may be computed in one of the two only.
                    n.present_outputs().any(|o| o == name)
                })
        };
        for nodes in self.together.graph.nodes.chunks(NODES) {
            let outputs = nodes.iter().flat_map(Node::present_outputs);
            let names: Vec<&str> = outputs.filter(|name| known(name)).collect();
            if let Some(name) = self.differing(&names)? {
                let makes = |n: &&Node| n.present_outputs().any(|o| o == name);
                return Ok(nodes.iter().find(makes));
            }
        }
        Ok(None)
    }

    /// The first of these values that is another for samples together than for each apart.
    fn differing<'n>(&self, names: &[&'n str]) -> Result<Option<&'n str>, TrainingError> {
        if names.is_empty() {
            return Ok(None);
        }
        let together = self.values(self.together, names, 0..SAMPLES)?;
        let apart = (0..SAMPLES)
            .map(|i| self.values(self.apart, names, i..i + 1))
            .collect::<Result<Vec<_>, _>>()?;
        let differs = |at: &usize| {
            let parts: Option<Vec<_>> = apart.iter().map(|run| run[*at].as_f32()).collect();
            match (together[*at].as_f32(), parts) {
                (Some(all), Some(parts)) => !agree(all, &parts),
                _ => false,
            }
        };
        Ok((0..names.len()).find(differs).map(|at| names[at]))
    }

    /// Values of the network for some of the samples.
    fn values(
        &self,
        network: &Prepared,
        names: &[&str],
        samples: std::ops::Range<usize>,
    ) -> Result<Vec<Array>, TrainingError> {
        let outputs = names
            .iter()
            .map(|name| {
                Ok(Value::fixed(
                    name,
                    DataType::Float,
                    network.shapes.dims(name)?,
                ))
            })
            .collect::<Result<Vec<_>, TrainingError>>()?;
        let graph: Graph = extract(&network.graph, &network.graph.inputs, &outputs)?;
        let mut session = self
            .sessions
            .session(&graph, "check of the batch", self.threads)?;
        let dims = network.shapes.dims(&network.input)?;
        let size: usize = dims[1..].iter().product();
        let range = samples.start * size..samples.end * size;
        let input = ArrayD::from_shape_vec(IxDyn(dims), range.map(noise).collect());
        let input = input.map_err(|e| TrainingError::Mismatch(e.to_string()))?;
        Ok(session.run(&[(&network.input, &Array::from(input))])?)
    }
}

/// A number between ±√3 that looks random, the same in every run: mean 0, variance 1.
fn noise(index: usize) -> f32 {
    // The finaliser of MurmurHash3 (A. Appleby, public domain).
    let mut bits = index as u64 ^ 0x9e37_79b9_7f4a_7c15;
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        bits = (bits ^ (bits >> 33)).wrapping_mul(factor);
    }
    ((bits >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * 3f32.sqrt()
}

/// Whether a value of samples together holds what it is for each apart: in one axis, which is as many
/// times longer as there are samples, with each sample's part behind any number of equal blocks.
///
/// Rounding may differ between batch sizes, by up to a hundredth of what samples differ by.
fn agree(all: &ArrayD<f32>, parts: &[&ArrayD<f32>]) -> bool {
    let Some(one) = parts.first() else {
        return true;
    };
    let mut grown = (0..one.ndim()).filter(|&axis| one.shape()[axis] != all.shape()[axis]);
    let (axis, None) = (grown.next(), grown.next()) else {
        return false;
    };
    let all: Vec<f32> = all.iter().copied().collect();
    let values: Vec<Vec<f32>> = parts.iter().map(|p| p.iter().copied().collect()).collect();
    let mut allowed = 0f32;
    for value in &values {
        for (v, first) in value.iter().zip(&values[0]) {
            allowed = allowed.max((v - first).abs() * 1e-2).max(v.abs() * 1e-4);
        }
    }
    let close = |a: f32, b: f32| (a - b).abs() <= allowed || a == b || (a.is_nan() && b.is_nan());
    let Some(axis) = axis else {
        // It has no part for each sample.
        let same = |value: &Vec<f32>| {
            value.len() == all.len() && value.iter().zip(&all).all(|(v, a)| close(*v, *a))
        };
        return values.iter().all(same);
    };
    let (outer, length) = (&one.shape()[..axis], one.shape()[axis]);
    let outer: usize = outer.iter().product();
    if all.len() != values[0].len() * parts.len() {
        return false;
    }
    (1..=length)
        .filter(|ahead| length.is_multiple_of(*ahead))
        .any(|ahead| {
            let blocks = outer * ahead;
            let size = (values[0].len() / blocks.max(1)).max(1);
            all.chunks(size).enumerate().all(|(index, chunk)| {
                let (block, sample) = (index / values.len(), index % values.len());
                let own = &values[sample][block * size..(block + 1) * size];
                own.iter().zip(chunk).all(|(v, a)| close(*v, *a))
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Builder;
    use crate::onnx::{Tensor, encode};
    use crate::runtime::testing::runtime;

    /// Rows of pixels of one image, which `mix` does something to, summed to 2 classes.
    fn network(mix: impl Fn(&mut Builder, &str) -> String) -> Model {
        let mut graph = Graph {
            inputs: vec![Value::fixed("x", DataType::Float, &[1, 2, 3, 3])],
            ..Graph::new(17)
        };
        let mut b = Builder::new(&mut graph);
        let turned = b.op(
            "turned",
            "Transpose",
            &["x"],
            vec![("perm", vec![0, 2, 3, 1].into())],
        );
        let mixed = mix(&mut b, &turned);
        let axes = vec![("axes", vec![1i64, 2].into()), ("keepdims", 0.into())];
        let y = b.op("y", "ReduceMean", &[&mixed], axes);
        graph
            .outputs
            .push(Value::fixed(&y, DataType::Float, &[1, 2]));
        let bytes = encode(&graph.to_model(usize::MAX).0).unwrap();
        Model::decode(bytes.into(), std::path::Path::new("test.onnx")).unwrap()
    }

    #[test]
    fn a_network_that_treats_each_sample_by_itself_passes() {
        let Some(runtime) = runtime() else { return };
        let network = network(|b, x| {
            let rows = b.ints(&[9, 2]);
            let back = b.ints(&[1, 3, 3, 2]);
            let rows = b.op("rows", "Reshape", &[x, &rows], vec![]);
            let weight = b.constant(Tensor::f32(&[2, 2], &[1.0, -2.0, 0.5, 3.0]));
            let product = b.op("product", "MatMul", &[&rows, &weight], vec![]);
            let soft = b.op("soft", "Softmax", &[&product], vec![("axis", 1.into())]);
            let scored = b.op("scored", "MatMul", &[&soft, &weight], vec![]);
            b.op("back", "Reshape", &[&scored, &back], vec![])
        });
        samples_stay_apart(&runtime, &network, &[2, 3, 3], Task::SingleLabel).unwrap();
    }

    #[test]
    fn a_first_axis_may_be_another_than_the_batch() {
        let Some(runtime) = runtime() else { return };
        let network = network(|b, x| {
            let turn = vec![("perm", vec![1i64, 0, 2, 3].into())];
            let rows = b.op("rows", "Transpose", &[x], turn);
            let axes = vec![("axes", vec![0i64].into()), ("keepdims", 0.into())];
            let mean = b.op("mean", "ReduceMean", &[&rows], axes);
            let third = b.ints(&[1]);
            b.op("back", "Unsqueeze", &[&mean, &third], vec![])
        });
        let mut proto = network.proto.clone();
        let graph = proto.graph.as_mut().unwrap();
        graph.input[0] = crate::graph::value_to_proto(&Value::batched("x", &[2, 3, 3]));
        let bytes = encode(&proto).unwrap();
        let model = Model::decode(bytes.into(), std::path::Path::new("test.onnx")).unwrap();
        let prepared = Prepared::new(&model, SAMPLES, &[2, 3, 3]).unwrap();
        assert!(!is_in_doubt(&prepared));
        samples_stay_apart(&runtime, &model, &[2, 3, 3], Task::SingleLabel).unwrap();
    }

    #[test]
    fn samples_that_differ_in_company_are_told_by_the_first_node() {
        let Some(runtime) = runtime() else { return };
        let sessions = SessionMaker::new(&runtime, Device::Cpu, Operators::Standard);
        // Of any batch size by its declaration, which `free_batch` therefore does not look at.
        let model = network(|b, x| {
            let mean = b.op(
                "mean",
                "ReduceMean",
                &[x],
                vec![("axes", vec![0i64].into())],
            );
            let moved = b.op("moved", "Sub", &[x, &mean], vec![]);
            b.op("exp", "Exp", &[&moved], vec![])
        });
        let mut proto = model.proto.clone();
        let graph = proto.graph.as_mut().unwrap();
        graph.input[0] = crate::graph::value_to_proto(&Value::batched("x", &[2, 3, 3]));
        let bytes = encode(&proto).unwrap();
        let model = Model::decode(bytes.into(), std::path::Path::new("test.onnx")).unwrap();
        let prepare = |batch| Prepared::new(&model, batch, &[2, 3, 3]).unwrap();
        let (together, apart) = (prepare(SAMPLES), prepare(1));
        let pair = Pair {
            sessions: &sessions,
            threads: 1,
            together: &together,
            apart: &apart,
        };
        let logits = together.logits.as_str();
        assert_eq!(pair.differing(&[logits]).unwrap(), Some(logits));
        assert_eq!(pair.first_node().unwrap().unwrap().name, "mean");
        let error =
            samples_stay_apart(&runtime, &model, &[2, 3, 3], Task::SingleLabel).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("`mean`") && text.contains("for inference"),
            "{text}"
        );
    }

    #[test]
    fn a_part_may_lie_behind_others_in_its_axis() {
        let array = |dims: &[usize], values: &[f32]| {
            ArrayD::from_shape_vec(IxDyn(dims), values.to_vec()).unwrap()
        };
        let (one, two) = (
            array(&[4], &[1.0, 2.0, 3.0, 4.0]),
            array(&[4], &[5.0, 6.0, 7.0, 8.0]),
        );
        let words = array(&[8], &[1.0, 2.0, 5.0, 6.0, 3.0, 4.0, 7.0, 8.0]);
        let samples = array(&[8], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let other = array(&[8], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 9.0]);
        assert!(agree(&words, &[&one, &two]));
        assert!(agree(&samples, &[&one, &two]));
        assert!(!agree(&other, &[&one, &two]));
        assert!(!agree(&one, &[&one, &two]));
    }
}
