//! Small networks of pictures of 16 pixels in colour, with ten classes.

use ftsurgery::graph::{Graph, Node, Value};
use ftsurgery::onnx::{DataType, Tensor};

pub const CLASSES: usize = 10;

/// Numbers that look random and are always the same, between -1 and 1.
pub fn noise(name: &str, count: usize) -> Vec<f32> {
    let mut state = name
        .bytes()
        .fold(777u32, |s, b| s.wrapping_mul(31).wrapping_add(b.into()));
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

pub fn node(op: &str, inputs: &[&str], output: &str) -> Node {
    Node::new(output, op, inputs, &[output])
}

fn conv(inputs: &[&str], output: &str, stride: i64) -> Node {
    node("Conv", inputs, output)
        .with("kernel_shape", vec![3, 3])
        .with("pads", vec![1, 1, 1, 1])
        .with("strides", vec![stride, stride])
}

fn graph(nodes: Vec<Node>, weights: &[(&str, &[usize])]) -> Graph {
    let tensor = |&(name, dims): &(&str, &[usize])| {
        let count: usize = dims.iter().product();
        let fan_in: usize = dims.iter().skip(1).product();
        // Variances must be above 0, and so are gains.
        let (middle, spread) = match name.rsplit('.').next() {
            Some("var" | "gain") => (1.0, 0.3),
            _ if dims.len() == 1 => (0.0, 0.2),
            _ => (0.0, (6.0 / fan_in.max(1) as f32).sqrt()),
        };
        let values = noise(name, count).into_iter().map(|v| middle + spread * v);
        (
            name.to_owned(),
            Tensor::f32(dims, &values.collect::<Vec<_>>()),
        )
    };
    Graph {
        nodes,
        inputs: vec![Value::batched("x", &[3, 16, 16])],
        outputs: vec![Value::batched("y", &[CLASSES])],
        initializers: weights.iter().map(tensor).collect(),
        ..Graph::new(17)
    }
}

fn head(nodes: &mut Vec<Node>, from: &str) {
    nodes.extend([
        node("GlobalAveragePool", &[from], "pool"),
        node("Flatten", &["pool"], "flat"),
        node("Gemm", &["flat", "fc.w", "fc.b"], "y").with("transB", 1),
    ]);
}

/// Three convolutions, the first with batch normalisation, with ReLUs and a pooling.
pub fn plain() -> Graph {
    let bn = ["c1", "bn.gain", "bn.b", "bn.mean", "bn.var"];
    let mut nodes = vec![
        conv(&["x", "c1.w", "c1.b"], "c1", 2),
        node("BatchNormalization", &bn, "n1"),
        node("Relu", &["n1"], "r1"),
        conv(&["r1", "c2.w", "c2.b"], "c2", 1),
        node("Relu", &["c2"], "r2"),
        node("MaxPool", &["r2"], "p2")
            .with("kernel_shape", vec![2, 2])
            .with("strides", vec![2, 2]),
        conv(&["p2", "c3.w", "c3.b"], "c3", 1),
        node("Relu", &["c3"], "r3"),
    ];
    head(&mut nodes, "r3");
    graph(
        nodes,
        &[
            ("c1.w", &[8, 3, 3, 3]),
            ("c1.b", &[8]),
            ("bn.gain", &[8]),
            ("bn.b", &[8]),
            ("bn.mean", &[8]),
            ("bn.var", &[8]),
            ("c2.w", &[8, 8, 3, 3]),
            ("c2.b", &[8]),
            ("c3.w", &[12, 8, 3, 3]),
            ("c3.b", &[12]),
            ("fc.w", &[CLASSES, 12]),
            ("fc.b", &[CLASSES]),
        ],
    )
}

/// A convolution and two residual blocks.
pub fn residual() -> Graph {
    let mut nodes = vec![
        conv(&["x", "c0.w", "c0.b"], "c0", 2),
        node("Relu", &["c0"], "b0"),
    ];
    let mut weights: Vec<(&str, &[usize])> = vec![("c0.w", &[8, 3, 3, 3]), ("c0.b", &[8])];
    for [from, to, a, b, aw, ab, bw, bb, act, sum] in [
        [
            "b0", "b1", "a1", "e1", "a1.w", "a1.b", "e1.w", "e1.b", "h1", "s1",
        ],
        [
            "b1", "b2", "a2", "e2", "a2.w", "a2.b", "e2.w", "e2.b", "h2", "s2",
        ],
    ] {
        nodes.extend([
            conv(&[from, aw, ab], a, 1),
            node("Relu", &[a], act),
            conv(&[act, bw, bb], b, 1),
            node("Add", &[b, from], sum),
            node("Relu", &[sum], to),
        ]);
        let new: [(&str, &[usize]); 4] = [
            (aw, &[8, 8, 3, 3]),
            (ab, &[8]),
            (bw, &[8, 8, 3, 3]),
            (bb, &[8]),
        ];
        weights.extend(new);
    }
    head(&mut nodes, "b2");
    let last: [(&str, &[usize]); 2] = [("fc.w", &[CLASSES, 8]), ("fc.b", &[CLASSES])];
    weights.extend(last);
    graph(nodes, &weights)
}

/// Patches, an attention of one head and two dense layers, each beside a path around it.
pub fn attention() -> Graph {
    let dense = |from: &str, weight: &str, to: &str| node("MatMul", &[from, weight], to);
    let norm = |inputs: &[&str], to: &str| node("LayerNormalization", inputs, to).with("axis", -1);
    let mut nodes = vec![
        node("Conv", &["x", "patch.w", "patch.b"], "patches")
            .with("kernel_shape", vec![4, 4])
            .with("strides", vec![4, 4]),
        node("Reshape", &["patches", "rows"], "flat_patches"),
        node("Transpose", &["flat_patches"], "tokens").with("perm", vec![0, 2, 1]),
        norm(&["tokens", "n1.gain", "n1.b"], "n1"),
        dense("n1", "q.w", "q"),
        dense("n1", "k.w", "k"),
        dense("n1", "v.w", "v"),
        node("Transpose", &["k"], "kt").with("perm", vec![0, 2, 1]),
        node("MatMul", &["q", "kt"], "scores"),
        node("Softmax", &["scores"], "weights").with("axis", -1),
        node("MatMul", &["weights", "v"], "mixed"),
        dense("mixed", "o.w", "o"),
        node("Add", &["tokens", "o"], "t1"),
        norm(&["t1", "n2.gain", "n2.b"], "n2"),
        dense("n2", "m1.w", "m1"),
        node("Relu", &["m1"], "m1r"),
        dense("m1r", "m2.w", "m2"),
        node("Add", &["t1", "m2"], "t2"),
        node("ReduceMean", &["t2"], "mean")
            .with("axes", vec![1])
            .with("keepdims", 0),
    ];
    nodes.push(node("Gemm", &["mean", "fc.w", "fc.b"], "y").with("transB", 1));
    let mut graph = graph(
        nodes,
        &[
            ("patch.w", &[12, 3, 4, 4]),
            ("patch.b", &[12]),
            ("n1.gain", &[12]),
            ("n1.b", &[12]),
            ("q.w", &[12, 12]),
            ("k.w", &[12, 12]),
            ("v.w", &[12, 12]),
            ("o.w", &[12, 12]),
            ("n2.gain", &[12]),
            ("n2.b", &[12]),
            ("m1.w", &[12, 24]),
            ("m2.w", &[24, 12]),
            ("fc.w", &[CLASSES, 12]),
            ("fc.b", &[CLASSES]),
        ],
    );
    let rows = Tensor::i64s(&[0, 12, -1]);
    graph.initializers.insert("rows".to_owned(), rows);
    graph
}

/// The network with noise on its weights of rank 2 and more: of a uniform distribution, `share` of their largest.
pub fn noisy(of: &Graph, share: f32) -> Graph {
    changed(of, |name, values| {
        let most = values.iter().fold(0f32, |top, v| top.max(v.abs()));
        let noise = noise(&format!("noise on {name}"), values.len());
        let noisy = values.iter().zip(noise).map(|(v, n)| v + share * most * n);
        noisy.collect()
    })
}

/// The network with other values of its float weights of rank 2 and more.
pub fn changed(of: &Graph, change: impl Fn(&str, &[f32]) -> Vec<f32>) -> Graph {
    let mut graph = of.clone();
    for (name, tensor) in &mut graph.initializers {
        if tensor.dtype == DataType::Float && tensor.dims.len() > 1 {
            let values = change(name, &tensor.to_f32().unwrap());
            *tensor = Tensor::f32(&tensor.dims.clone(), &values);
        }
    }
    graph
}

/// The network in float16, from behind its input to before its output.
pub fn half(of: &Graph) -> Graph {
    let mut graph = of.clone();
    for tensor in graph.initializers.values_mut() {
        if tensor.dtype == DataType::Float {
            let half = Tensor {
                dtype: DataType::Float16,
                dims: tensor.dims.clone(),
                data: vec![0; 2 * tensor.len()].into(),
            };
            *tensor = half.with_f32_values(&tensor.to_f32().unwrap()).unwrap();
        }
    }
    for name in graph.nodes.iter_mut().flat_map(|n| &mut n.inputs) {
        if name == "x" {
            *name = "x.half".to_owned();
        }
    }
    for name in graph.nodes.iter_mut().flat_map(|n| &mut n.outputs) {
        if name == "y" {
            *name = "y.half".to_owned();
        }
    }
    let cast = |from: &str, to: &str, dtype: i64| node("Cast", &[from], to).with("to", dtype);
    graph.nodes.insert(0, cast("x", "x.half", 10));
    graph.nodes.push(cast("y.half", "y", 1));
    graph
}
