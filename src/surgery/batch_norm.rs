//! BatchNormalization with the statistics of the batch.

use crate::graph::{Builder, Graph, GraphError, Node, Shapes};
use crate::onnx::{DataType, Tensor};

/// A BatchNormalization whose running statistics are initializers that nothing else reads.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// The value it defines.
    pub output: String,
    /// Initializer of the running mean, `[channels]`.
    pub mean: String,
    /// Initializer of the running variance, `[channels]`.
    pub variance: String,
    /// The share of the running statistics that a step leaves: ONNX's `momentum`, which is 1 minus
    /// PyTorch's.
    pub momentum: f32,
}

/// The BatchNormalizations of a graph that are trained.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainedNorms {
    /// Those with running statistics of their own.
    pub own: Vec<BatchNorm>,
    /// The outputs of the others, whose statistics are computed or have another reader.
    pub shared: Vec<String>,
}

/// The BatchNormalizations of a normalised graph of which the scale or the bias is in `trainable`.
///
/// # Errors
/// When an attribute has the wrong type.
pub fn trained_batch_norms(
    graph: &Graph,
    trainable: &[String],
) -> Result<TrainedNorms, GraphError> {
    let consumers = graph.consumers();
    let trained = |name: Option<&str>| name.is_some_and(|n| trainable.iter().any(|t| t == n));
    let mut norms = TrainedNorms::default();
    for (index, node) in graph.nodes.iter().enumerate() {
        if !node.is("BatchNormalization") || !(trained(node.input(1)) || trained(node.input(2))) {
            continue;
        }
        let Some(output) = node.output(0) else {
            continue;
        };
        let own = |i: usize| {
            let name = node.input(i)?;
            let is_float = |t: &Tensor| t.dtype == DataType::Float;
            let sole = consumers.get(name)?.as_slice() == [index]
                && node.present_inputs().filter(|n| *n == name).count() == 1
                && graph.outputs.iter().all(|o| o.name != name);
            (sole && graph.initializers.get(name).is_some_and(is_float)).then(|| name.to_owned())
        };
        match (own(3), own(4)) {
            (Some(mean), Some(variance)) => norms.own.push(BatchNorm {
                output: output.to_owned(),
                mean,
                variance,
                momentum: node.float("momentum", 0.9)?,
            }),
            _ => norms.shared.push(output.to_owned()),
        }
    }
    Ok(norms)
}

/// Makes `norms` take the statistics of the batch, and returns for each the names under which its
/// node then gives their mean and (biased) variance, `[channels]` each.
///
/// The nodes are put in training mode with `momentum` 0, in which the operator's second and third
/// outputs are the statistics of the batch themselves; see [`lower_batch_norm`].
pub fn use_batch_statistics(graph: &mut Graph, norms: &[BatchNorm]) -> Vec<[String; 2]> {
    let mut builder = Builder::new(graph);
    let mut names = Vec::with_capacity(norms.len());
    for norm in norms {
        let statistics = ["batch_mean", "batch_variance"]
            .map(|part| builder.fresh(&format!("{}/{part}", norm.output)));
        let nodes = &mut builder.graph_mut().nodes;
        if let Some(node) = nodes.iter_mut().find(|n| n.output(0) == Some(&norm.output)) {
            node.outputs.truncate(1);
            node.outputs.extend(statistics.clone());
            node.attributes.insert("training_mode".into(), 1.into());
            node.attributes.insert("momentum".into(), 0f32.into());
        }
        names.push(statistics);
    }
    names
}

/// Replaces each BatchNormalization that [`use_batch_statistics`] has made: mean and variance are
/// computed by nodes of their own, and the operator is given them in inference mode.
///
/// Of onnxruntime's execution providers only the CPU's has a kernel for training mode; those for
/// GPUs refuse it. The variance is the mean of (X − μ)², not E\[X²\] − μ², which would cancel.
/// The graph must be sorted afterwards.
///
/// # Errors
/// When the shape of an input is not known.
pub fn lower_batch_norm(builder: &mut Builder, shapes: &Shapes) -> Result<(), GraphError> {
    for index in 0..builder.graph().nodes.len() {
        let node = &builder.graph().nodes[index];
        if !node.is("BatchNormalization") || node.int("training_mode", 0)? == 0 {
            continue;
        }
        let mut node = node.clone();
        let required = |name: Option<&str>| {
            name.map(str::to_owned)
                .ok_or_else(|| node.error("an input or output is missing"))
        };
        let x = required(node.input(0))?;
        let (mean, variance) = (required(node.output(1))?, required(node.output(2))?);
        let dims = shapes.dims(&x)?;
        let axes: Vec<i64> = (0..dims.len() as i64).filter(|&a| a != 1).collect();
        let mut per_channel = vec![1i64; dims.len() - 1];
        per_channel[0] = dims[1] as i64;
        let (axes, shape) = (builder.ints(&axes), builder.ints(&per_channel));
        let average = |of: &str, to: &str| {
            Node::new(to, "ReduceMean", &[of, &axes], &[to]).with("keepdims", 0)
        };
        builder.graph_mut().nodes.push(average(&x, &mean));
        let wide = builder.op(&format!("{mean}/wide"), "Reshape", &[&mean, &shape], vec![]);
        let centred = builder.op(&format!("{x}/centred"), "Sub", &[&x, &wide], vec![]);
        let square = builder.op(&format!("{x}/square"), "Mul", &[&centred, &centred], vec![]);
        builder.graph_mut().nodes.push(average(&square, &variance));
        node.inputs.truncate(3);
        node.inputs.extend([mean, variance]);
        node.outputs.truncate(1);
        node.attributes.remove("training_mode");
        builder.graph_mut().nodes[index] = node;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayD;

    use super::super::testing::{assert_close, classifier, proto};
    use super::*;
    use crate::graph::{Value, infer_shapes};
    use crate::onnx::encode;
    use crate::runtime::testing::runtime;
    use crate::runtime::{Array, Runtime, Session, SessionOptions};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&n| n.to_owned()).collect()
    }

    fn classifier_with(momentum: f32) -> Graph {
        let mut graph = classifier();
        graph.nodes[1] = graph.nodes[1].clone().with("momentum", momentum);
        graph
    }

    #[test]
    fn a_norm_is_trained_with_its_scale_or_its_bias() {
        let graph = classifier_with(0.75);
        let expected = BatchNorm {
            output: "bn".into(),
            mean: "bn.mean".into(),
            variance: "bn.var".into(),
            momentum: 0.75,
        };
        for trainable in [&["bn.scale"][..], &["conv.weight", "bn.bias"]] {
            let found = trained_batch_norms(&graph, &names(trainable)).unwrap();
            assert_eq!(found.own, std::slice::from_ref(&expected));
            assert!(found.shared.is_empty());
        }
        let others = names(&["conv.weight", "conv.bias", "fc.weight"]);
        let found = trained_batch_norms(&graph, &others).unwrap();
        assert_eq!(found, TrainedNorms::default());
    }

    #[test]
    fn statistics_that_are_computed_or_have_another_reader_are_not_its_own() {
        let changes: [fn(&mut Graph); 4] = [
            |g| g.nodes[1].inputs[4] = "bn.mean".to_owned(),
            |g| g.nodes[1].inputs[3] = "bn.bias".to_owned(),
            |g| g.nodes[6].inputs[2] = "bn.var".to_owned(),
            |g| {
                let double = Node::new("double", "Add", &["bn.var", "bn.var"], &["double"]);
                g.nodes[1].inputs[4] = "double".to_owned();
                g.nodes.insert(0, double);
            },
        ];
        for change in changes {
            let mut graph = classifier();
            change(&mut graph);
            let found = trained_batch_norms(&graph, &names(&["bn.scale"])).unwrap();
            assert_eq!(found.shared, ["bn"]);
            assert!(found.own.is_empty());
        }
    }

    /// Runs a graph of the input `x` in onnxruntime; tract has no computed statistics.
    fn run(runtime: &Runtime, graph: &Graph, x: ArrayD<f32>) -> Vec<Vec<f32>> {
        let bytes = encode(&proto(graph)).unwrap();
        let mut session = Session::new(runtime, &bytes, &[], &SessionOptions::default()).unwrap();
        let outputs = session.run(&[("x", &x.into())]).unwrap();
        let floats = |array: &Array| match array {
            Array::F32(values) => values.iter().copied().collect(),
            _ => Vec::new(),
        };
        outputs.iter().map(floats).collect()
    }

    #[test]
    fn what_replaces_training_mode_gives_the_statistics_of_the_batch() {
        let Some(runtime) = runtime() else { return };
        // Two samples of two channels of two values.
        let x = [1.0, 2.0, 10.0, 10.0, 3.0, 6.0, 14.0, 30.0];
        let mut graph = classifier_with(0.9);
        graph.opset = 21;
        graph.nodes = vec![graph.nodes[1].clone().with("epsilon", 0.25)];
        graph.nodes[0].inputs[0] = "x".to_owned();
        let per_channel = |a, b| Tensor::f32(&[2], &[a, b]);
        graph.initializers = [
            ("bn.scale", per_channel(1.0, 2.0)),
            ("bn.bias", per_channel(0.5, -1.0)),
            ("bn.mean", per_channel(100.0, 100.0)),
            ("bn.var", per_channel(100.0, 100.0)),
        ]
        .map(|(name, tensor)| (name.to_owned(), tensor))
        .into_iter()
        .collect();
        graph.inputs = vec![Value::fixed("x", DataType::Float, &[2, 2, 2])];
        graph.outputs = vec![Value::fixed("bn", DataType::Float, &[2, 2, 2])];
        let norms = trained_batch_norms(&graph, &names(&["bn.scale"])).unwrap();
        let [[mean, variance]] = &use_batch_statistics(&mut graph, &norms.own)[..] else {
            panic!("one norm");
        };
        let shapes = infer_shapes(&graph, &Default::default()).unwrap();
        assert_eq!(shapes.dims(variance).unwrap(), [2]);
        for name in [mean, variance] {
            graph
                .outputs
                .push(Value::fixed(name, DataType::Float, &[2]));
        }
        let mut lowered = graph.clone();
        lower_batch_norm(&mut Builder::new(&mut lowered), &shapes).unwrap();
        lowered.sort().unwrap();
        lowered.prune();
        assert!(!lowered.initializers.contains_key("bn.mean"));
        let expected: Vec<f32> = x
            .iter()
            .enumerate()
            .map(|(i, x)| match i / 2 % 2 {
                0 => (x - 3.0) / 3.75f32.sqrt() + 0.5,
                _ => 2.0 * (x - 16.0) / 68.25f32.sqrt() - 1.0,
            })
            .collect();
        for graph in [graph, lowered] {
            let x = ArrayD::from_shape_vec(vec![2, 2, 2], x.to_vec()).unwrap();
            let outputs = run(&runtime, &graph, x);
            assert_close(&outputs[0], &expected);
            assert_close(&outputs[1], &[3.0, 16.0]);
            assert_close(&outputs[2], &[3.5, 68.0]);
        }
    }
}
