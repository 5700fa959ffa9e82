//! Small networks with the layers of well-known ones, for images of 3 × 16 × 16 and 5 classes.

use ftsurgery::graph::{Attribute, Builder, Graph, Node, Value};
use ftsurgery::onnx::Tensor;

/// The names of a small network for images of 2 × 4 × 4: a convolution, an activation, pooling and a dense layer.
pub struct Small {
    pub input: &'static str,
    /// What the convolution gives.
    pub map: &'static str,
    pub output: &'static str,
    /// Those of the convolution and of the dense layer.
    pub weights: [&'static str; 2],
}

impl Small {
    /// With so many outputs.
    pub fn graph(&self, activation: &str, outputs: usize) -> Graph {
        let mut graph = Graph {
            inputs: vec![Value::batched(self.input, &[2, 4, 4])],
            outputs: vec![Value::batched(self.output, &[outputs])],
            ..Graph::new(17)
        };
        let [conv, dense] = self.weights;
        for (name, dims) in [(conv, &[5, 2, 3, 3][..]), (dense, &[5, outputs])] {
            let count: usize = dims.iter().product();
            let values: Vec<f32> = (0..count).map(|i| (i as f32 * 0.7).sin()).collect();
            let tensor = Tensor::f32(dims, &values);
            graph.initializers.insert(name.to_owned(), tensor);
        }
        let mut b = Builder::new(&mut graph);
        b.op(self.map, "Conv", &[self.input, conv], vec![]);
        let x = b.op("soft", activation, &[self.map], vec![]);
        let x = b.op("pool", "GlobalAveragePool", &[&x], vec![]);
        let x = b.op("flat", "Flatten", &[&x], vec![]);
        b.op(self.output, "Gemm", &[&x, dense], vec![]);
        graph
    }
}

/// Writes a network layer by layer; each method gives the name of its output.
struct Net {
    graph: Graph,
    seed: u32,
}

impl Net {
    fn new() -> Self {
        Net {
            graph: Graph {
                inputs: vec![Value::batched("image", &[3, 16, 16])],
                ..Graph::new(17)
            },
            seed: 1,
        }
    }

    fn finish(mut self, scores: &str) -> Graph {
        self.graph.outputs.push(Value::batched(scores, &[5]));
        self.graph
    }

    /// A tensor of numbers around `mean`, up to `reach` from it.
    fn tensor(&mut self, name: &str, dims: &[usize], [mean, reach]: [f32; 2]) -> String {
        let count: usize = dims.iter().product();
        let mut next = || {
            self.seed = self
                .seed
                .wrapping_mul(1_664_525)
                .wrapping_add(1_013_904_223);
            mean + reach * ((self.seed >> 8) as f32 / (1 << 23) as f32 - 1.0)
        };
        let values: Vec<f32> = (0..count).map(|_| next()).collect();
        let tensor = Tensor::f32(dims, &values);
        self.graph.initializers.insert(name.to_owned(), tensor);
        name.to_owned()
    }

    /// Weights for `from` inputs of each output.
    fn weight(&mut self, name: &str, dims: &[usize], from: usize) -> String {
        self.tensor(name, dims, [0.0, (3.0 / from as f32).sqrt()])
    }

    fn constant(&mut self, name: &str, tensor: Tensor) -> String {
        self.graph.initializers.insert(name.to_owned(), tensor);
        name.to_owned()
    }

    fn op(
        &mut self,
        name: &str,
        op_type: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> String {
        let mut node = Node::new(name, op_type, inputs, &[name]);
        for (key, value) in attributes {
            node = node.with(key, value.clone());
        }
        self.graph.nodes.push(node);
        name.to_owned()
    }

    fn conv_of(
        &mut self,
        name: &str,
        x: &str,
        [to, from, size]: [usize; 3],
        [stride, group]: [i64; 2],
        bias: bool,
    ) -> String {
        let of = from * size * size;
        let mut inputs = vec![self.weight(&format!("{name}.weight"), &[to, from, size, size], of)];
        if bias {
            inputs.push(self.tensor(&format!("{name}.bias"), &[to], [0.0, 0.1]));
        }
        let pad = size as i64 / 2;
        let inputs: Vec<&str> = [x]
            .into_iter()
            .chain(inputs.iter().map(String::as_str))
            .collect();
        let attributes = [
            ("pads", Attribute::Ints(vec![pad; 4])),
            ("strides", Attribute::Ints(vec![stride; 2])),
            ("group", group.into()),
        ];
        self.op(name, "Conv", &inputs, &attributes)
    }

    fn norm(&mut self, name: &str, x: &str, channels: usize) -> String {
        let [weight, bias, mean, var] = ["weight", "bias", "mean", "var"];
        let mut of =
            |part: &str, numbers| self.tensor(&format!("{name}.{part}"), &[channels], numbers);
        let inputs = [
            of(weight, [1.0, 0.2]),
            of(bias, [0.1, 0.2]),
            of(mean, [0.0, 0.2]),
            of(var, [1.0, 0.5]),
        ];
        let inputs: Vec<&str> = [x]
            .into_iter()
            .chain(inputs.iter().map(String::as_str))
            .collect();
        self.op(name, "BatchNormalization", &inputs, &[])
    }

    /// A convolution without bias, BatchNormalization and an activation.
    fn block(
        &mut self,
        name: &str,
        x: &str,
        [to, from, size]: [usize; 3],
        stride: i64,
        act: &str,
    ) -> String {
        let x = self.conv_of(name, x, [to, from, size], [stride, 1], false);
        let x = self.norm(&format!("{name}.norm"), &x, to);
        self.act(&x, act)
    }

    /// The same, depthwise.
    fn depthwise(
        &mut self,
        name: &str,
        x: &str,
        channels: usize,
        stride: i64,
        act: &str,
    ) -> String {
        let x = self.conv_of(name, x, [channels, 1, 3], [stride, channels as i64], false);
        let x = self.norm(&format!("{name}.norm"), &x, channels);
        self.act(&x, act)
    }

    fn act(&mut self, x: &str, act: &str) -> String {
        let name = format!("{x}.act");
        match act {
            "" => x.to_owned(),
            "Relu6" => {
                let low = self.constant("zero", Tensor::scalar_f32(0.0));
                let high = self.constant("six", Tensor::scalar_f32(6.0));
                self.op(&name, "Clip", &[x, &low, &high], &[])
            }
            act => self.op(&name, act, &[x], &[]),
        }
    }

    fn dense(&mut self, name: &str, x: &str, to: usize, from: usize) -> String {
        let weight = self.weight(&format!("{name}.weight"), &[to, from], from);
        let bias = self.tensor(&format!("{name}.bias"), &[to], [0.0, 0.1]);
        let transposed = [("transB", 1.into())];
        self.op(name, "Gemm", &[x, &weight, &bias], &transposed)
    }

    /// A product over the last axis and a bias, of tokens.
    fn linear(&mut self, name: &str, x: &str, to: usize, from: usize) -> String {
        let weight = self.weight(&format!("{name}.weight"), &[from, to], from);
        let bias = self.tensor(&format!("{name}.bias"), &[to], [0.0, 0.1]);
        let x = self.op(&format!("{name}.product"), "MatMul", &[x, &weight], &[]);
        self.op(name, "Add", &[&x, &bias], &[])
    }

    fn pooled(&mut self, x: &str) -> String {
        let x = self.op("pool", "GlobalAveragePool", &[x], &[]);
        self.op("flat", "Flatten", &[&x], &[])
    }

    fn layer_norm(&mut self, name: &str, x: &str, width: usize) -> String {
        let scale = self.tensor(&format!("{name}.weight"), &[width], [1.0, 0.2]);
        let bias = self.tensor(&format!("{name}.bias"), &[width], [0.0, 0.2]);
        let last = [("axis", (-1).into())];
        self.op(name, "LayerNormalization", &[x, &scale, &bias], &last)
    }
}

/// Depthwise-separable convolutions.
pub fn mobilenet_v1() -> Graph {
    let mut n = Net::new();
    let mut x = n.block("stem", "image", [8, 3, 3], 2, "Relu6");
    for (at, (from, to, stride)) in [(8, 16, 1), (16, 24, 2)].into_iter().enumerate() {
        x = n.depthwise(&format!("depth{at}"), &x, from, stride, "Relu6");
        x = n.block(&format!("point{at}"), &x, [to, from, 1], 1, "Relu6");
    }
    x = n.pooled(&x);
    x = n.dense("fc", &x, 5, 24);
    n.finish(&x)
}

/// Inverted residuals.
pub fn mobilenet_v2() -> Graph {
    let mut n = Net::new();
    let mut x = n.block("stem", "image", [8, 3, 3], 2, "Relu6");
    for (at, (to, stride)) in [(8, 1), (12, 2)].into_iter().enumerate() {
        let wide = n.block(&format!("expand{at}"), &x, [24, 8, 1], 1, "Relu6");
        let wide = n.depthwise(&format!("depth{at}"), &wide, 24, stride, "Relu6");
        let narrow = n.block(&format!("project{at}"), &wide, [to, 24, 1], 1, "");
        x = match stride {
            1 => n.op(&format!("add{at}"), "Add", &[&x, &narrow], &[]),
            _ => narrow,
        };
    }
    x = n.block("last", &x, [20, 12, 1], 1, "Relu6");
    x = n.pooled(&x);
    x = n.dense("fc", &x, 5, 20);
    n.finish(&x)
}

/// Inverted residuals with squeeze-and-excitation and HardSwish.
pub fn mobilenet_v3() -> Graph {
    let mut n = Net::new();
    let stem = n.block("stem", "image", [8, 3, 3], 2, "HardSwish");
    let wide = n.block("expand", &stem, [16, 8, 1], 1, "HardSwish");
    let wide = n.depthwise("depth", &wide, 16, 1, "HardSwish");
    let mut gate = n.op("squeeze", "GlobalAveragePool", &[&wide], &[]);
    gate = n.conv_of("reduce", &gate, [4, 16, 1], [1, 1], true);
    gate = n.act(&gate, "Relu");
    gate = n.conv_of("excite", &gate, [16, 4, 1], [1, 1], true);
    let slope = [("alpha", (1.0f32 / 6.0).into())];
    gate = n.op("gate", "HardSigmoid", &[&gate], &slope);
    let wide = n.op("gated", "Mul", &[&wide, &gate], &[]);
    let narrow = n.block("project", &wide, [8, 16, 1], 1, "");
    let sum = n.op("add", "Add", &[&stem, &narrow], &[]);
    let x = n.block("last", &sum, [16, 8, 1], 1, "HardSwish");
    let x = n.pooled(&x);
    let x = n.dense("hidden", &x, 12, 16);
    let x = n.act(&x, "HardSwish");
    let x = n.dense("fc", &x, 5, 12);
    n.finish(&x)
}

/// Stages of convolutions with biases and a pooling, two dense layers, probabilities as output.
pub fn vgg() -> Graph {
    let mut n = Net::new();
    let mut x = "image".to_owned();
    for (at, [from, to]) in [[3, 8], [8, 12]].into_iter().enumerate() {
        for (part, from) in [from, to].into_iter().enumerate() {
            x = n.conv_of(&format!("conv{at}{part}"), &x, [to, from, 3], [1, 1], true);
            x = n.act(&x, "Relu");
        }
        let two = || Attribute::Ints(vec![2, 2]);
        let windows = [("kernel_shape", two()), ("strides", two())];
        x = n.op(&format!("pool{at}"), "MaxPool", &[&x], &windows);
    }
    x = n.op("flat", "Flatten", &[&x], &[]);
    x = n.dense("hidden", &x, 16, 192);
    x = n.act(&x, "Relu");
    x = n.op("dropout", "Dropout", &[&x], &[]);
    x = n.dense("fc", &x, 5, 16);
    x = n.op("probabilities", "Softmax", &[&x], &[]);
    n.finish(&x)
}

/// A transformer on patches with a class token: LayerNormalization, attention of two heads, Gelu.
pub fn vit() -> Graph {
    const WIDTH: usize = 16;
    let mut n = Net::new();
    let ints = |n: &mut Net, name: &str, values: &[i64]| n.constant(name, Tensor::i64s(values));
    let perm = |axes: &[i64]| [("perm", Attribute::Ints(axes.to_vec()))];
    let weight = n.weight("patch.weight", &[WIDTH, 3, 4, 4], 48);
    let bias = n.tensor("patch.bias", &[WIDTH], [0.0, 0.1]);
    let strides = [("strides", Attribute::Ints(vec![4, 4]))];
    let x = n.op("patch", "Conv", &["image", &weight, &bias], &strides);
    let rows = ints(&mut n, "rows", &[0, WIDTH as i64, 16]);
    let x = n.op("patches", "Reshape", &[&x, &rows], &[]);
    let x = n.op("tokens", "Transpose", &[&x], &perm(&[0, 2, 1]));
    let batch = [("start", 0.into()), ("end", 1.into())];
    let batch = n.op("batch", "Shape", &["image"], &batch);
    let one = ints(&mut n, "one", &[1, WIDTH as i64]);
    let first = n.op(
        "class.dims",
        "Concat",
        &[&batch, &one],
        &[("axis", 0.into())],
    );
    let class = n.tensor("class", &[1, 1, WIDTH], [0.0, 0.5]);
    let class = n.op("class.each", "Expand", &[&class, &first], &[]);
    let x = n.op("all", "Concat", &[&class, &x], &[("axis", 1.into())]);
    let place = n.tensor("place", &[1, 17, WIDTH], [0.0, 0.5]);
    let x = n.op("placed", "Add", &[&x, &place], &[]);

    let y = n.layer_norm("norm1", &x, WIDTH);
    let heads = ints(&mut n, "heads", &[0, 0, 2, WIDTH as i64 / 2]);
    let [q, k, v] = ["query", "key", "value"].map(|name| {
        let y = match name {
            // A bias would change no attention: its gradient is rounding, of which Adam makes steps.
            "key" => {
                let weight = n.weight("key.weight", &[WIDTH, WIDTH], WIDTH);
                n.op(name, "MatMul", &[&y, &weight], &[])
            }
            _ => n.linear(name, &y, WIDTH, WIDTH),
        };
        let y = n.op(&format!("{name}.heads"), "Reshape", &[&y, &heads], &[]);
        n.op(
            &format!("{name}.first"),
            "Transpose",
            &[&y],
            &perm(&[0, 2, 1, 3]),
        )
    });
    let k = n.op("key.transposed", "Transpose", &[&k], &perm(&[0, 1, 3, 2]));
    let y = n.op("products", "MatMul", &[&q, &k], &[]);
    let scale = n.constant("scale", Tensor::scalar_f32((2.0 / WIDTH as f32).sqrt()));
    let y = n.op("scaled", "Mul", &[&y, &scale], &[]);
    let y = n.op("attention", "Softmax", &[&y], &[("axis", (-1).into())]);
    let y = n.op("attended", "MatMul", &[&y, &v], &[]);
    let y = n.op("attended.last", "Transpose", &[&y], &perm(&[0, 2, 1, 3]));
    let joined = ints(&mut n, "joined", &[0, 0, WIDTH as i64]);
    let y = n.op("attended.joined", "Reshape", &[&y, &joined], &[]);
    let y = n.linear("output", &y, WIDTH, WIDTH);
    let x = n.op("residual1", "Add", &[&x, &y], &[]);

    let y = n.layer_norm("norm2", &x, WIDTH);
    let y = n.linear("wide", &y, 2 * WIDTH, WIDTH);
    let [root, one, half] = [("root", 2.0f32.sqrt()), ("unit", 1.0), ("half", 0.5)]
        .map(|(name, value)| n.constant(name, Tensor::scalar_f32(value)));
    let z = n.op("gelu.scaled", "Div", &[&y, &root], &[]);
    let z = n.op("gelu.erf", "Erf", &[&z], &[]);
    let z = n.op("gelu.more", "Add", &[&z, &one], &[]);
    let y = n.op("gelu.product", "Mul", &[&y, &z], &[]);
    let y = n.op("gelu", "Mul", &[&y, &half], &[]);
    let y = n.linear("narrow", &y, WIDTH, 2 * WIDTH);
    let x = n.op("residual2", "Add", &[&x, &y], &[]);

    let x = n.layer_norm("norm3", &x, WIDTH);
    let zero = n.constant("zero", Tensor::scalar_i64(0));
    let x = n.op("token", "Gather", &[&x, &zero], &[("axis", 1.into())]);
    let x = n.dense("fc", &x, 5, WIDTH);
    n.finish(&x)
}
