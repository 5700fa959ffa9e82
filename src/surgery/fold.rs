//! Folding BatchNormalization into the convolution before it.

use crate::graph::{Builder, Graph, GraphError, Node, Shapes};
use crate::onnx::{DataType, Tensor};

/// A BatchNormalization and the node it is folded into.
struct Fold {
    host: usize,
    norm: usize,
}

/// Folds every BatchNormalization with frozen statistics that follows a `Conv` (or `Gemm`) into it:
/// with s = scale / sqrt(variance + epsilon), the weight becomes W·s and the bias
/// (b − mean)·s + B. BatchNormalizations that follow anything else, or whose input has other
/// readers, stay, as do those whose output is in `except`.
///
/// W·s and the bias are computed by ordinary nodes from the parameters, which keep their names, so
/// that differentiating the graph gives the gradients of W, scale and B by the ordinary rules. These
/// nodes work on parameters only; the activations, which are far larger, are then read and written
/// once instead of twice in the forward pass, and likewise in the backward pass.
///
/// The graph must be normalised (one opset, no control flow around the folded nodes); the output of
/// the folded node is that of the BatchNormalization. Shapes of the new values are for the caller to
/// infer anew.
///
/// # Errors
/// When the shape of a parameter is not known, or an attribute has the wrong type.
pub fn fold_batch_norm(
    graph: &mut Graph,
    shapes: &Shapes,
    except: &[&str],
) -> Result<(), GraphError> {
    let mut folds = find(graph)?;
    folds.retain(|f| {
        !graph.nodes[f.norm]
            .present_outputs()
            .any(|o| except.contains(&o))
    });
    let mut builder = Builder::new(graph);
    for fold in &folds {
        rewrite(&mut builder, shapes, fold)?;
    }
    let norms: Vec<usize> = folds.iter().map(|f| f.norm).collect();
    let mut index = 0;
    graph.nodes.retain(|_| {
        index += 1;
        !norms.contains(&(index - 1))
    });
    graph.sort()
}

fn find(graph: &Graph) -> Result<Vec<Fold>, GraphError> {
    let mut folds = Vec::new();
    // An inner graph may read a convolution's output without being counted among its readers.
    if graph.nodes.iter().any(|n| n.subgraphs().next().is_some()) {
        return Ok(folds);
    }
    let producers = graph.producers();
    let consumers = graph.consumers();
    for (norm, node) in graph.nodes.iter().enumerate() {
        if !node.is("BatchNormalization")
            || node.int("training_mode", 0)? != 0
            || node.present_outputs().count() != 1
            || node.inputs.len() != 5
        {
            continue;
        }
        let Some(input) = node.input(0) else { continue };
        let Some(&host) = producers.get(input) else {
            continue;
        };
        let other = &graph.nodes[host];
        let foldable = other.is("Conv") || other.is("Gemm") && other.float("beta", 1.0)? == 1.0;
        let sole = consumers.get(input).is_some_and(|c| c.as_slice() == [norm])
            && node.present_inputs().filter(|i| *i == input).count() == 1
            && graph.outputs.iter().all(|o| o.name != input);
        if foldable && sole {
            folds.push(Fold { host, norm });
        }
    }
    Ok(folds)
}

fn rewrite(builder: &mut Builder, shapes: &Shapes, fold: &Fold) -> Result<(), GraphError> {
    let norm = builder.graph().nodes[fold.norm].clone();
    let host = builder.graph().nodes[fold.host].clone();
    let required = |node: &Node, i: usize| {
        node.input(i)
            .map(str::to_owned)
            .ok_or_else(|| node.error(format!("input {i} is missing")))
    };
    let (scale, bias) = (required(&norm, 1)?, required(&norm, 2)?);
    let (mean, variance) = (required(&norm, 3)?, required(&norm, 4)?);
    let weight = required(&host, 1)?;
    let output = required_output(&norm)?;

    let (_, rank) = describe(builder.graph(), shapes, &weight)?;
    let (dtype, _) = describe(builder.graph(), shapes, &variance)?;
    let epsilon = Tensor {
        dtype,
        dims: Vec::new(),
        data: vec![0; dtype.size()].into(),
    }
    .with_f32_values(&[norm.float("epsilon", 1e-5)?])
    .ok_or_else(|| norm.error(format!("its variance is {dtype:?}, which is no float type")))?;

    // Where the output channels lie in the weight: first in a Conv's, in a Gemm's as it says.
    let mut broadcast = vec![1; rank];
    let channel = if host.is("Conv") || host.int("transB", 0)? != 0 {
        0
    } else {
        rank.saturating_sub(1)
    };
    if let Some(size) = broadcast.get_mut(channel) {
        *size = -1;
    }

    let hint = |part: &str| format!("{output}/folded/{part}");
    let epsilon = builder.constant(epsilon);
    let sum = builder.op(&hint("variance"), "Add", &[&variance, &epsilon], vec![]);
    let deviation = builder.op(&hint("deviation"), "Sqrt", &[&sum], vec![]);
    let s = builder.op(&hint("scale"), "Div", &[&scale, &deviation], vec![]);
    let shape = builder.ints(&broadcast);
    let wide = builder.op(&hint("scale_wide"), "Reshape", &[&s, &shape], vec![]);
    let weight = builder.op(&hint("weight"), "Mul", &[&weight, &wide], vec![]);
    let bias = match host.input(2) {
        Some(own) => {
            let centred = builder.op(&hint("centred"), "Sub", &[own, &mean], vec![]);
            let scaled = builder.op(&hint("shift"), "Mul", &[&centred, &s], vec![]);
            builder.op(&hint("bias"), "Add", &[&scaled, &bias], vec![])
        }
        None => {
            let shift = builder.op(&hint("shift"), "Mul", &[&mean, &s], vec![]);
            builder.op(&hint("bias"), "Sub", &[&bias, &shift], vec![])
        }
    };

    let node = &mut builder.graph_mut().nodes[fold.host];
    node.inputs.resize(3, String::new());
    node.inputs[1] = weight;
    node.inputs[2] = bias;
    node.outputs = vec![output];
    Ok(())
}

fn required_output(node: &Node) -> Result<String, GraphError> {
    node.output(0)
        .map(str::to_owned)
        .ok_or_else(|| node.error("output 0 is missing"))
}

/// Element type and rank of a parameter.
fn describe(graph: &Graph, shapes: &Shapes, value: &str) -> Result<(DataType, usize), GraphError> {
    if let Some(tensor) = graph.initializers.get(value) {
        return Ok((tensor.dtype, tensor.dims.len()));
    }
    let info = shapes.info(value)?;
    Ok((info.dtype, info.dims.len()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::onnx::Model;

    #[test]
    fn weight_and_bias_are_those_computed_by_hand() {
        // 1×1 convolution of one channel into two; variance + epsilon is 4 and 9.
        let tensors = [
            ("w", Tensor::f32(&[2, 1, 1, 1], &[2.0, 3.0])),
            ("b", Tensor::f32(&[2], &[1.0, 1.0])),
            ("scale", Tensor::f32(&[2], &[1.0, 2.0])),
            ("bias", Tensor::f32(&[2], &[0.5, -1.0])),
            ("mean", Tensor::f32(&[2], &[1.0, 2.0])),
            ("var", Tensor::f32(&[2], &[3.0, 8.0])),
        ];
        for (inputs, bias) in [
            (vec!["x", "w", "b"], [0.5, -5.0 / 3.0]),
            (vec!["x", "w"], [0.0, -7.0 / 3.0]),
        ] {
            let mut graph = classifier();
            graph.opset = 21;
            graph.initializers = tensors
                .iter()
                .map(|(n, t)| ((*n).to_owned(), t.clone()))
                .collect();
            graph.inputs = vec![value("x", &[0, 1, 1, 1])];
            graph.outputs = vec![value("y", &[0, 2, 1, 1])];
            let parameters = ["c", "scale", "bias", "mean", "var"];
            graph.nodes = vec![
                Node::new("conv", "Conv", &inputs, &["c"]),
                Node::new("bn", "BatchNormalization", &parameters, &["y"]).with("epsilon", 1.0),
            ];
            fold_batch_norm(&mut graph, &Shapes::default(), &[]).unwrap();
            let conv = graph.nodes.iter().find(|n| n.is("Conv")).unwrap();
            assert_eq!(conv.outputs, ["y"]);
            graph.outputs = vec![
                value(&conv.inputs[1], &[2, 1, 1, 1]),
                value(&conv.inputs[2], &[2]),
            ];
            graph.inputs.clear();
            graph.prune();
            let folded = run(&proto(&graph), &[]);
            assert_close(&folded[0], &[1.0, 2.0]);
            assert_close(&folded[1], &bias);
        }
    }

    #[test]
    fn a_folded_graph_computes_the_same_and_reads_the_same_parameters() {
        for host in ["Conv", "Gemm", "Gemm transB"] {
            let mut graph = classifier();
            if host != "Conv" {
                let transposed = host != "Gemm";
                graph.inputs = vec![value("x", &[0, 3])];
                let dims: &[usize] = if transposed { &[4, 3] } else { &[3, 4] };
                graph
                    .initializers
                    .insert("conv.weight".into(), weight(dims, 1));
                graph.nodes.truncate(3);
                graph.nodes[0] = Node::new(
                    "conv",
                    "Gemm",
                    &["x", "conv.weight", "conv.bias"],
                    &["conv"],
                )
                .with("alpha", 2.0)
                .with("transB", i64::from(transposed));
                graph.outputs = vec![value("map", &[0, 4])];
            }
            let before = graph.clone();
            fold_batch_norm(&mut graph, &Shapes::default(), &[]).unwrap();
            assert!(!graph.nodes.iter().any(|n| n.is("BatchNormalization")));
            for name in ["conv.weight", "conv.bias", "bn.scale", "bn.bias"] {
                assert!(graph.initializers.contains_key(name));
                assert!(graph.consumers().contains_key(name));
            }
            let dims: &[usize] = if host == "Conv" {
                &[2, 3, 8, 8]
            } else {
                &[2, 3]
            };
            let x = numbers(dims.iter().product(), 9);
            let outputs = |g| run(&proto(g), &[(dims, &x)]);
            assert_close(&outputs(&graph)[0], &outputs(&before)[0]);
        }
    }

    #[test]
    fn normalisations_that_are_not_alone_behind_a_convolution_stay() {
        let stays = |change: fn(&mut Graph)| {
            let mut graph = classifier();
            change(&mut graph);
            let before = graph.clone();
            fold_batch_norm(&mut graph, &Shapes::default(), &[]).unwrap();
            assert_eq!(graph, before);
        };
        stays(|g| g.outputs.push(value("conv", &[0, 4, 8, 8])));
        stays(|g| g.nodes[4].inputs[0] = "conv".to_owned());
        stays(|g| g.nodes[0].op_type = "ConvTranspose".to_owned());
        stays(|g| g.nodes[1] = g.nodes[1].clone().with("training_mode", 1));
    }

    #[test]
    fn normalisations_that_are_excepted_stay() {
        let mut graph = classifier();
        let before = graph.clone();
        fold_batch_norm(&mut graph, &Shapes::default(), &["bn"]).unwrap();
        assert_eq!(graph, before);
    }

    #[test]
    fn shared_models_compute_the_same_when_folded() {
        let count = |g: &Graph| {
            let norms = g.nodes.iter().filter(|n| n.is("BatchNormalization"));
            norms.count()
        };
        for (path, _, size) in shared_models() {
            let Some(size) = size else { continue };
            let mut graph = Graph::from_model(&Model::open(&path).unwrap()).unwrap();
            let before = graph.clone();
            fold_batch_norm(&mut graph, &Shapes::default(), &[]).unwrap();
            // The networks with no activation between a convolution and its normalisation.
            if path.to_string_lossy().contains("mobilenet") {
                assert!(count(&before) > 0);
                assert_eq!(count(&graph), 0);
            }
            let x = numbers(2 * 3 * size * size, 1);
            let outputs = |g| run(&proto(g), &[(&[2, 3, size, size], &x)]);
            assert_close(&outputs(&graph)[0], &outputs(&before)[0]);
        }
    }
}
