use ftsurgery::graph::Graph;
use ftsurgery::onnx::Tensor;
use ftsurgery::runtime::testing::has_runtime;

use crate::support::*;

/// Features `f` of one convolution, and `g` of another, both frozen in what follows.
fn gated(gate: &[(&str, &[&str], &str)]) -> Graph {
    let mut nodes = vec![
        node("Conv", &["x", "cw"], "c"),
        node("GlobalAveragePool", &["c"], "p"),
        node("Flatten", &["p"], "f"),
        node("Conv", &["x", "dw"], "d"),
        node("GlobalAveragePool", &["d"], "dp"),
        node("Flatten", &["dp"], "g"),
        node("Gemm", &["f", "w", "b"], "z"),
    ];
    for (op, inputs, output) in gate {
        let mut next = node(op, inputs, output);
        match *op {
            "ArgMax" => next = next.with("axis", 1).with("keepdims", 1),
            "Cast" => next = next.with("to", f32_type()),
            _ => {}
        }
        nodes.push(next);
    }
    let weights: [(&str, &[usize]); 4] = [
        ("cw", &[8, 3, 3, 3]),
        ("dw", &[5, 3, 3, 3]),
        ("w", &[8, 5]),
        ("b", &[5]),
    ];
    let mut graph = graph(nodes, &weights);
    for (name, value) in [("zero", 0.0), ("low", -1.0)] {
        graph
            .initializers
            .insert(name.to_owned(), Tensor::scalar_f32(value));
    }
    graph
}

#[test]
fn masks_and_indices_of_frozen_values_cross_into_the_trained_part() {
    if !has_runtime() {
        return;
    }
    let gates: [&[(&str, &[&str], &str)]; 5] = [
        &[
            ("Greater", &["g", "zero"], "mask"),
            ("Where", &["mask", "z", "low"], "y"),
        ],
        &[
            ("Greater", &["g", "zero"], "some"),
            ("Less", &["g", "low"], "others"),
            ("Or", &["some", "others"], "either"),
            ("Not", &["either"], "mask"),
            ("Where", &["mask", "low", "z"], "y"),
        ],
        &[
            ("ArgMax", &["g"], "k"),
            ("Cast", &["k"], "kf"),
            ("Mul", &["z", "kf"], "y"),
        ],
        &[
            ("ArgMax", &["f"], "k"),
            ("Cast", &["k"], "kf"),
            ("Mul", &["z", "kf"], "y"),
        ],
        &[
            ("ArgMax", &["g"], "k"),
            ("GatherElements", &["z", "k"], "one"),
            ("Sub", &["z", "one"], "y"),
        ],
    ];
    for gate in gates {
        let mut graph = gated(gate);
        for next in graph.nodes.iter_mut().filter(|n| n.is("GatherElements")) {
            next.attributes.insert("axis".to_owned(), 1.into());
        }
        for operators in ["kernels", "standard"] {
            let compute = |wrt: &str| gradients(&graph, &["--wrt", wrt, "--operators", operators]);
            let (output, some) = compute("{w,b}");
            assert!(output.status.success(), "{gate:?}: {}", stderr(&output));
            let (output, all) = compute("**");
            assert!(output.status.success(), "{gate:?}: {}", stderr(&output));
            assert_eq!(names(&some), ["b", "w"]);
            for (name, got) in &some {
                let off = got.iter().zip(&all[name]).map(|(g, w)| (g - w).abs());
                assert!(off.fold(0.0, f32::max) < 1e-6, "{gate:?}: {name}");
            }
            let slope = slope(&graph, &some, operators);
            assert!(slope < 1e-2, "{gate:?}: the slope is off by {slope}");
        }
    }
}

/// How far the slope of the loss along the gradient of `w` is from a central difference, relatively.
fn slope(
    graph: &Graph,
    found: &std::collections::BTreeMap<String, ndarray::ArrayD<f32>>,
    operators: &str,
) -> f32 {
    let gradient: Vec<f32> = found["grad/w"].iter().copied().collect();
    let norm = gradient.iter().map(|g| g * g).sum::<f32>();
    if norm < 1e-8 {
        return 0.0;
    }
    let step = 0.02 / norm.sqrt();
    let loss = |sign: f32| {
        let mut moved = graph.clone();
        let tensor = &graph.initializers["w"];
        let values = tensor.to_f32().unwrap();
        let values = values
            .iter()
            .zip(&gradient)
            .map(|(v, g)| v + sign * step * g);
        let values: Vec<f32> = values.collect();
        moved.initializers["w"] = Tensor::f32(&tensor.dims, &values);
        let (_, arrays) = gradients(&moved, &["--wrt", "w", "--operators", operators]);
        *arrays["loss"].iter().next().unwrap()
    };
    ((loss(1.0) - loss(-1.0)) / (2.0 * step * norm) - 1.0).abs()
}

#[test]
fn what_reaches_the_loss_through_indices_alone_is_left_out_or_refused_where_it_is_named() {
    if !has_runtime() {
        return;
    }
    let graph = gated(&[
        ("ArgMax", &["g"], "k"),
        ("Cast", &["k"], "kf"),
        ("Mul", &["z", "kf"], "y"),
    ]);
    let (output, arrays) = gradients(&graph, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(names(&arrays), ["b", "cw", "w"]);
    assert!(stderr(&output).contains("no influence on the loss: dw"));
    let (output, _) = gradients(&graph, &["--wrt", "dw"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("`dw` does not influence the loss"));
}
