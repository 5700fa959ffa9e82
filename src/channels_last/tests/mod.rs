//! The rewritten graph computes what the graph of standard operators computes.

mod net;

use std::collections::HashMap;

use ndarray::{ArrayD, IxDyn};

use super::*;
use crate::graph::{Value, infer_shapes};
use crate::onnx::{DataType, Tensor, encode};
use crate::runtime::testing::runtime;
use crate::runtime::{Array, Session, SessionOptions};
use net::{Net, count};

#[test]
fn an_inverted_residual_needs_no_transposition_inside() {
    let Some(runtime) = runtime() else { return };
    let mut net = Net::new(&[2, 3, 9, 8]);
    net.conv("stem", "x", [6, 3, 3, 2, 1, 1]);
    net.relu6("stem6", "stem");
    net.conv("expand", "stem6", [10, 6, 1, 1, 0, 1]);
    net.relu6("expand6", "expand");
    net.conv("depthwise", "expand6", [10, 1, 3, 1, 1, 10]);
    net.relu6("depthwise6", "depthwise");
    net.conv("project", "depthwise6", [6, 10, 1, 1, 0, 1]);
    net.op("sum", "Add", &["project", "stem6"]);
    net.op("pool", "GlobalAveragePool", &["sum"]);
    let graph = net.check(&runtime, "pool");
    // X comes in and its gradient goes out channels first.
    assert_eq!(count(&graph, "Transpose"), 2);
    assert_eq!(count(&graph, "Clip") + count(&graph, "Add"), 0);
    assert_eq!(count(&graph, "ActivationGradient"), 0);
}

#[test]
fn residual_blocks_with_a_shortcut_convolution() {
    let Some(runtime) = runtime() else { return };
    let mut net = Net::new(&[3, 4, 7, 7]);
    net.conv("a", "x", [8, 4, 3, 2, 1, 1]);
    net.op("ra", "Relu", &["a"]);
    net.conv("b", "ra", [8, 8, 3, 1, 1, 1]);
    net.conv("shortcut", "x", [8, 4, 1, 2, 0, 1]);
    net.op("sum", "Add", &["b", "shortcut"]);
    net.op("y", "Relu", &["sum"]);
    net.conv("c", "y", [5, 8, 1, 1, 0, 1]);
    net.op("twice", "Add", &["y", "y"]);
    net.op("left", "ReduceSum", &["twice"]);
    net.op("right", "ReduceSum", &["c"]);
    net.op("loss", "Add", &["left", "right"]);
    let graph = net.check(&runtime, "loss");
    assert_eq!(count(&graph, "Relu"), 0);
}

#[test]
fn squeeze_and_excitation_with_smooth_activations() {
    let Some(runtime) = runtime() else { return };
    let mut net = Net::new(&[2, 4, 6, 5]);
    net.conv("a", "x", [6, 4, 3, 1, 1, 1]);
    net.op("ha", "HardSwish", &["a"]);
    net.op("squeeze", "GlobalAveragePool", &["ha"]);
    net.conv("reduce", "squeeze", [3, 6, 1, 1, 0, 1]);
    net.op("rr", "Relu", &["reduce"]);
    net.conv("excite", "rr", [6, 3, 1, 1, 0, 1]);
    net.op("gate", "HardSigmoid", &["excite"]);
    net.op("scaled", "Mul", &["ha", "gate"]);
    net.conv("b", "scaled", [6, 2, 3, 1, 1, 3]);
    net.op("flat", "Flatten", &["b"]);
    net.check(&runtime, "flat");
}

#[test]
fn broadcast_factors_concatenation_and_channels_last_sources() {
    let Some(runtime) = runtime() else { return };
    // As tf2onnx writes it: transpositions around every convolution.
    let mut net = Net::new(&[2, 6, 5, 4]);
    let first = net.op("first", "Transpose", &["x"]);
    *first = first.clone().with("perm", vec![0, 3, 1, 2]);
    net.conv("a", "first", [6, 4, 3, 1, 1, 1]);
    let last = net.op("last", "Transpose", &["a"]);
    *last = last.clone().with("perm", vec![0, 2, 3, 1]);
    net.parameter("shift", &[6]);
    net.op("shifted", "Add", &["last", "shift"]);
    let again = net.op("again", "Transpose", &["shifted"]);
    *again = again.clone().with("perm", vec![0, 3, 1, 2]);
    net.conv("b", "again", [3, 6, 2, 2, 0, 1]);
    net.parameter("scale", &[3, 1, 1]);
    net.op("scaled", "Mul", &["b", "scale"]);
    net.parameter("wide", &[2]);
    net.op("moved", "Add", &["scaled", "wide"]);
    let joined = net.op("joined", "Concat", &["moved", "b", "moved"]);
    *joined = joined.clone().with("axis", 1);
    net.op("soft", "Softmax", &["joined"]);
    net.check(&runtime, "soft");
}

#[test]
fn a_map_that_is_an_output_or_has_other_readers_keeps_its_value() {
    let Some(runtime) = runtime() else { return };
    let mut net = Net::new(&[1, 3, 5, 5]);
    net.conv("a", "x", [4, 3, 3, 1, 1, 1]);
    net.op("ra", "Relu", &["a"]);
    net.op("square", "Mul", &["a", "a"]);
    net.op("sum", "Add", &["ra", "square"]);
    net.conv("b", "sum", [4, 4, 1, 1, 0, 1]);
    net.op("y", "Add", &["b", "ra"]);
    net.check(&runtime, "y");
}

#[test]
fn windows_of_every_kind() {
    let Some(runtime) = runtime() else { return };
    for auto_pad in ["SAME_UPPER", "SAME_LOWER", "VALID"] {
        let mut net = Net::new(&[2, 3, 8, 7]);
        net.conv("a", "x", [4, 3, 3, 2, 0, 1]);
        let node = net.graph.nodes.last_mut().unwrap();
        node.attributes.remove("pads");
        *node = node.clone().with("auto_pad", auto_pad);
        net.check(&runtime, "a");
    }
    let mut net = Net::new(&[2, 4, 9, 8]);
    net.conv("a", "x", [4, 2, 3, 2, 0, 2]);
    let node = net.graph.nodes.last_mut().unwrap();
    *node = node
        .clone()
        .with("pads", vec![2, 0, 1, 3])
        .with("dilations", vec![2, 1]);
    net.check(&runtime, "a");
}

#[test]
fn automatic_pads_of_any_stride_give_what_onnxruntimes_own_operator_gives() {
    let Some(runtime) = runtime() else { return };
    let mut rewritten = 0;
    for op in ["Conv", "MaxPool"] {
        for mode in ["SAME_UPPER", "SAME_LOWER", "VALID"] {
            for (kernel, stride, size) in [
                (1, 2, 8),
                (1, 3, 9),
                (1, 3, 10),
                (1, 4, 8),
                (2, 4, 8),
                (2, 5, 10),
                (3, 2, 9),
                (3, 5, 11),
                (3, 6, 6),
            ] {
                // As many channels as onnxruntime has kernels of its own for.
                let mut net = Net::new(&[2, 16, size, size]);
                let values = net.numbers(256 * kernel * kernel);
                net.constant("w", Tensor::f32(&[16, 16, kernel, kernel], &values));
                let inputs: &[&str] = if op == "Conv" { &["x", "w"] } else { &["x"] };
                let node = net.op("y", op, inputs);
                *node = node
                    .clone()
                    .with("kernel_shape", vec![kernel as i64; 2])
                    .with("strides", vec![stride as i64; 2])
                    .with("auto_pad", mode);
                let mut plain = net.graph.clone();
                let shapes = infer_shapes(&plain, &HashMap::new()).unwrap();
                let dims = shapes.dims("y").unwrap();
                plain.outputs = vec![Value::fixed("y", DataType::Float, dims)];
                let mut kernels = plain.clone();
                channels_last(&mut kernels).unwrap();
                rewritten += kernels
                    .nodes
                    .iter()
                    .filter(|n| n.kernel_operator().is_some())
                    .count();
                let dims = [2, 16, size, size];
                let x = net.numbers(dims.iter().product());
                let x: Array = ArrayD::from_shape_vec(IxDyn(&dims), x).unwrap().into();
                let [a, b] = [plain, kernels].map(|graph| {
                    let options = SessionOptions {
                        threads: 1,
                        kernels: true,
                        ..SessionOptions::default()
                    };
                    let model = encode(&graph.to_model(usize::MAX).0).unwrap();
                    let mut session = Session::new(&runtime, &model, &[], &options).unwrap();
                    let y = session.run(&[("x", &x)]).unwrap();
                    y[0].as_f32().unwrap().clone()
                });
                let off = a.iter().zip(&b).map(|(a, b)| (a - b).abs());
                let off = off.fold(0.0, f32::max);
                assert!(
                    a.shape() == b.shape() && off < 1e-4,
                    "{op} {kernel} {stride} {size} {mode}: {off}"
                );
            }
        }
    }
    assert!(rewritten > 15, "{rewritten}");
}

#[test]
fn pools_and_hard_swish_stay_channels_last() {
    let Some(runtime) = runtime() else { return };
    for (pads, ceil) in [(vec![1, 1, 1, 1], 0), (vec![0, 1, 1, 0], 1)] {
        let mut net = Net::new(&[2, 3, 10, 9]);
        net.conv("a", "x", [6, 3, 3, 1, 1, 1]);
        net.op("ha", "HardSwish", &["a"]);
        let pool = net.op("pool", "MaxPool", &["ha"]);
        *pool = pool
            .clone()
            .with("kernel_shape", vec![3, 3])
            .with("strides", vec![2, 2])
            .with("pads", pads)
            .with("ceil_mode", ceil);
        net.conv("b", "pool", [4, 6, 1, 1, 0, 1]);
        net.op("hb", "HardSwish", &["b"]);
        let graph = net.check(&runtime, "hb");
        assert_eq!(count(&graph, "ScatterElements"), 0);
        // X and its gradient, and the output.
        assert_eq!(count(&graph, "Transpose"), 4);
    }
}

#[test]
fn a_weight_that_is_scaled_by_filters_has_the_gradients_of_both() {
    let Some(runtime) = runtime() else { return };
    let mut net = Net::new(&[2, 3, 6, 5]);
    net.parameter("w", &[4, 3, 3, 3]);
    net.parameter("s", &[4, 1, 1, 1]);
    net.op("scaled", "Mul", &["w", "s"]);
    net.op("y", "Conv", &["x", "scaled"]);
    let graph = net.check(&runtime, "y");
    assert_eq!(count(&graph, "RowScaleGradient"), 1);
    assert_eq!(count(&graph, "ReduceSum"), 0);
}

#[test]
fn stored_batch_statistics_become_a_scale_and_a_shift() {
    let Some(runtime) = runtime() else { return };
    let mut net = Net::new(&[2, 3, 6, 5]);
    net.conv("a", "x", [4, 3, 3, 1, 1, 1]);
    net.parameter("scale", &[4]);
    net.parameter("bias", &[4]);
    net.constant("mean", Tensor::f32(&[4], &[0.5, -0.25, 1.0, 0.0]));
    net.constant("variance", Tensor::f32(&[4], &[0.5, 2.0, 1.0, 0.1]));
    let inputs = ["a", "scale", "bias", "mean", "variance"];
    net.op("n", "BatchNormalization", &inputs);
    net.op("y", "Relu", &["n"]);
    let graph = net.check(&runtime, "y");
    assert_eq!(count(&graph, "BatchNormalization"), 0);
}

#[test]
fn a_factor_of_fewer_dimensions_keeps_its_own_axes_elsewhere() {
    let Some(runtime) = runtime() else { return };
    let mut net = Net::new(&[2, 3, 6, 5]);
    net.conv("a", "x", [4, 3, 3, 1, 1, 1]);
    net.parameter("scale", &[4, 1, 5]);
    net.op("scaled", "Mul", &["a", "scale"]);
    net.constant("axes", Tensor::i64s(&[0]));
    net.op("sum", "ReduceSum", &["scale", "axes"]);
    let joined = net.op("joined", "Concat", &["scale", "scale"]);
    *joined = joined.clone().with("axis", 2);
    net.constant("last", Tensor::i64s(&[2]));
    net.op("mean", "ReduceMean", &["joined", "last"]);
    net.op("lifted", "Add", &["scaled", "sum"]);
    net.op("y", "Mul", &["lifted", "mean"]);
    net.check(&runtime, "y");
}

#[test]
fn products_of_few_rows_read_a_large_matrix_as_it_lies() {
    let Some(runtime) = runtime() else { return };
    for (rows, kernels) in [(3, [7, 4]), (16, [7, 4]), (17, [0, 0])] {
        let mut net = Net::new(&[rows, 2, 11, 13]);
        net.op("flat", "Flatten", &["x"]);
        net.parameter("w1", &[286, 301]);
        net.parameter("b1", &[301]);
        net.op("h1", "Gemm", &["flat", "w1", "b1"]);
        net.parameter("w2", &[280, 301]);
        let h2 = net.op("h2", "Gemm", &["h1", "w2"]);
        *h2 = h2.clone().with("transB", 1);
        net.parameter("w3", &[280, 300]);
        net.op("h3", "MatMul", &["h2", "w3"]);
        // Scaled, transposed, with a matrix of biases, or small: as they are.
        net.parameter("w4", &[300, 280]);
        let h4 = net.op("h4", "Gemm", &["h3", "w4"]);
        *h4 = h4.clone().with("alpha", 0.5);
        net.parameter("b5", &[rows, 240]);
        net.parameter("w5", &[280, 240]);
        net.op("h5", "Gemm", &["h4", "w5", "b5"]);
        net.parameter("w6", &[240, 4]);
        net.op("y", "MatMul", &["h5", "w6"]);
        let graph = net.check(&runtime, "y");
        let found = ["Gemm", "GemmWeightGradient"].map(|op| {
            let mut nodes = graph.nodes.iter();
            nodes
                .by_ref()
                .filter(|n| n.kernel_operator().is_some() && n.op_type == op)
                .count()
        });
        assert_eq!(found, kernels, "{rows}");
    }
}
