//! Small networks for the tests of this room, with the shapes of well-known ones.

use crate::graph::{Attribute, Dim, Graph, Node, Value};
use crate::onnx::{DataType, Tensor};

/// Writes a graph node by node; every layer method returns the name of its output.
pub struct Net {
    pub graph: Graph,
}

impl Net {
    pub fn new(dims: [&str; 4]) -> Self {
        let dim = |d: &str| match d.parse() {
            Ok(size) => Dim::Known(size),
            Err(_) => Dim::Symbolic(d.to_owned()),
        };
        let input = Value {
            name: "x".to_owned(),
            dtype: DataType::Float,
            dims: Some(dims.map(dim).to_vec()),
        };
        let graph = Graph {
            inputs: vec![input],
            ..Graph::new(17)
        };
        Net { graph }
    }

    pub fn output(mut self, name: &str) -> Graph {
        self.graph.outputs.push(Value {
            name: name.to_owned(),
            dtype: DataType::Float,
            dims: None,
        });
        self.graph
    }

    pub fn weight(&mut self, name: &str, dims: &[usize]) -> String {
        let count = dims.iter().product();
        let tensor = Tensor::f32(dims, &vec![0.5; count]);
        self.graph.initializers.insert(name.to_owned(), tensor);
        name.to_owned()
    }

    pub fn ints(&mut self, name: &str, values: &[i64]) -> String {
        let tensor = Tensor::i64s(values);
        self.graph.initializers.insert(name.to_owned(), tensor);
        name.to_owned()
    }

    pub fn op(&mut self, name: &str, op: &str, inputs: &[&str], ints: &[(&str, &[i64])]) -> String {
        let mut node = Node::new(name, op, inputs, &[name]);
        for (key, values) in ints {
            node = node.with(key, Attribute::Ints(values.to_vec()));
        }
        self.graph.nodes.push(node);
        name.to_owned()
    }

    /// A convolution with bias that keeps the size at stride 1.
    pub fn conv(&mut self, name: &str, input: &str, dims: [usize; 4]) -> String {
        let bias = self.weight(&format!("{name}.b"), &[dims[0]]);
        self.conv_of(name, input, dims, &[&bias], 1)
    }

    /// A convolution without bias.
    pub fn bare_conv(&mut self, name: &str, input: &str, dims: [usize; 4]) -> String {
        self.conv_of(name, input, dims, &[], 1)
    }

    /// A depthwise convolution without bias.
    pub fn depthwise(&mut self, name: &str, input: &str, channels: usize) -> String {
        self.conv_of(name, input, [channels, 1, 3, 3], &[], channels as i64)
    }

    fn conv_of(
        &mut self,
        name: &str,
        input: &str,
        dims: [usize; 4],
        bias: &[&str],
        group: i64,
    ) -> String {
        let weight = self.weight(&format!("{name}.w"), &dims);
        let pad = (dims[2] / 2) as i64;
        let inputs = [&[input, &weight], bias].concat();
        let output = self.op(name, "Conv", &inputs, &[("pads", &[pad; 4])]);
        if let Some(node) = self.graph.nodes.last_mut() {
            node.attributes
                .insert("group".to_owned(), Attribute::Int(group));
        }
        output
    }

    pub fn norm(&mut self, name: &str, input: &str, channels: usize) -> String {
        let names = ["scale", "shift", "mean", "var"].map(|n| format!("{name}.{n}"));
        for n in &names {
            self.weight(n, &[channels]);
        }
        let [scale, shift, mean, var] = &names;
        let inputs = [input, scale, shift, mean, var];
        self.op(name, "BatchNormalization", &inputs, &[])
    }

    pub fn relu(&mut self, input: &str) -> String {
        self.op(&format!("{input}/relu"), "Relu", &[input], &[])
    }

    pub fn pool(&mut self, name: &str, input: &str) -> String {
        let two: &[i64] = &[2, 2];
        let attributes = [("kernel_shape", two), ("strides", two)];
        self.op(name, "MaxPool", &[input], &attributes)
    }

    /// A dense layer whose bias is added apart, by `NAME/add`.
    pub fn dense(&mut self, name: &str, input: &str, from: usize, to: usize) -> String {
        let weight = self.weight(&format!("{name}.w"), &[from, to]);
        let bias = self.weight(&format!("{name}.b"), &[to]);
        let x = self.op(name, "MatMul", &[input, &weight], &[]);
        self.op(&format!("{name}/add"), "Add", &[&x, &bias], &[])
    }

    pub fn gemm(&mut self, name: &str, input: &str, from: usize, to: usize) -> String {
        let weight = self.weight(&format!("{name}.w"), &[from, to]);
        let bias = self.weight(&format!("{name}.b"), &[to]);
        self.op(name, "Gemm", &[input, &weight, &bias], &[])
    }
}

/// Three pooling stages of two, one and one convolutions, two dense layers, without averaging.
pub fn vgg() -> Graph {
    let mut n = Net::new(["N", "3", "16", "16"]);
    let mut x = n.conv("conv1", "x", [4, 3, 3, 3]);
    x = n.relu(&x);
    x = n.conv("conv2", &x, [4, 4, 3, 3]);
    x = n.relu(&x);
    x = n.pool("pool1", &x);
    x = n.conv("conv3", &x, [8, 4, 3, 3]);
    x = n.relu(&x);
    x = n.pool("pool2", &x);
    x = n.conv("conv4", &x, [8, 8, 3, 3]);
    x = n.relu(&x);
    x = n.pool("pool3", &x);
    x = n.op("drop", "Dropout", &[&x], &[]);
    x = n.op("flat", "Flatten", &[&x], &[]);
    x = n.gemm("fc1", &x, 32, 10);
    x = n.relu(&x);
    x = n.gemm("fc2", &x, 10, 5);
    n.output(&x)
}

/// Depthwise-separable, with a squeeze-and-excitation branch and a 1×1 convolution as classifier.
pub fn mobilenet() -> Graph {
    let mut n = Net::new(["N", "3", "8", "8"]);
    let mut x = n.bare_conv("stem", "x", [4, 3, 3, 3]);
    x = n.norm("stem/bn", &x, 4);
    let stem = n.relu(&x);
    x = n.depthwise("dw", &stem, 4);
    x = n.norm("dw/bn", &x, 4);
    let wide = n.relu(&x);
    x = n.op("se/pool", "GlobalAveragePool", &[&wide], &[]);
    x = n.conv("se/conv", &x, [4, 4, 1, 1]);
    x = n.op("se/gate", "HardSigmoid", &[&x], &[]);
    x = n.op("se/mul", "Mul", &[&wide, &x], &[]);
    x = n.bare_conv("project", &x, [4, 4, 1, 1]);
    x = n.norm("project/bn", &x, 4);
    let sum = n.op("add", "Add", &[&x, &stem], &[]);
    x = n.op("gap", "GlobalAveragePool", &[&sum], &[]);
    x = n.conv("logits", &x, [5, 4, 1, 1]);
    let axes = n.ints("axes", &[2, 3]);
    x = n.op("squeeze", "Squeeze", &[&x, &axes], &[]);
    x = n.op("softmax", "Softmax", &[&x], &[]);
    n.output(&x)
}

/// Pre-activation residual blocks with a projection shortcut and a normalisation at the end.
pub fn resnet_v2() -> Graph {
    let mut n = Net::new(["N", "3", "8", "8"]);
    let mut x = n.conv("stem", "x", [4, 3, 3, 3]);
    x = n.pool("pool", &x);
    x = n.norm("pre", &x, 4);
    let pre = n.relu(&x);
    x = n.bare_conv("c1", &pre, [4, 4, 3, 3]);
    x = n.norm("c1/bn", &x, 4);
    x = n.relu(&x);
    x = n.conv("c2", &x, [8, 4, 1, 1]);
    let shortcut = n.conv("shortcut", &pre, [8, 4, 1, 1]);
    x = n.op("add", "Add", &[&x, &shortcut], &[]);
    x = n.norm("post", &x, 8);
    x = n.relu(&x);
    x = n.op("gap", "GlobalAveragePool", &[&x], &[]);
    x = n.op("flat", "Flatten", &[&x], &[]);
    x = n.gemm("fc", &x, 8, 5);
    n.output(&x)
}

/// A fire module, and a convolution before the last pooling as classifier.
pub fn squeezenet() -> Graph {
    let mut n = Net::new(["N", "3", "8", "8"]);
    let mut x = n.conv("stem", "x", [4, 3, 3, 3]);
    x = n.relu(&x);
    x = n.pool("pool", &x);
    x = n.conv("squeeze", &x, [2, 4, 1, 1]);
    let s = n.relu(&x);
    x = n.conv("expand1", &s, [4, 2, 1, 1]);
    let a = n.relu(&x);
    x = n.conv("expand3", &s, [4, 2, 3, 3]);
    let b = n.relu(&x);
    x = n.op("concat", "Concat", &[&a, &b], &[]);
    if let Some(node) = n.graph.nodes.last_mut() {
        node.attributes.insert("axis".to_owned(), 1.into());
    }
    x = n.op("drop", "Dropout", &[&x], &[]);
    x = n.conv("conv10", &x, [5, 8, 1, 1]);
    x = n.relu(&x);
    x = n.op("gap", "GlobalAveragePool", &[&x], &[]);
    x = n.op("flat", "Flatten", &[&x], &[]);
    n.output(&x)
}

/// Channels-last outside, as tf2onnx writes Keras networks; the bias of the dense layer apart.
pub fn keras() -> Graph {
    let mut n = Net::new(["N", "8", "8", "3"]);
    let mut x = n.op("in", "Transpose", &["x"], &[("perm", &[0, 3, 1, 2])]);
    x = n.conv("conv1", &x, [4, 3, 3, 3]);
    x = n.relu(&x);
    x = n.conv("conv2", &x, [6, 4, 3, 3]);
    x = n.relu(&x);
    x = n.op("out", "Transpose", &[&x], &[("perm", &[0, 2, 3, 1])]);
    x = n.op("mean", "ReduceMean", &[&x], &[("axes", &[1, 2])]);
    if let Some(node) = n.graph.nodes.last_mut() {
        node.attributes.insert("keepdims".to_owned(), 0.into());
    }
    let weight = n.weight("dense.w", &[6, 5]);
    let bias = n.weight("dense.b", &[5]);
    x = n.op("dense", "MatMul", &[&x, &weight], &[]);
    x = n.op("bias", "Add", &[&x, &bias], &[]);
    x = n.op("softmax", "Softmax", &[&x], &[]);
    n.output(&x)
}

/// Three pooling stages as tf2onnx writes Keras' VGG networks: channels last outside, the flattening
/// a `Reshape` to a shape computed from the feature map's, dense layers of `MatMul` and `Add`, and
/// behind the first one's ReLU a batch normalisation written out as `Mul` and `Add`. The pixels
/// are scaled in the model.
pub fn tf2onnx_vgg(dims: [&str; 4]) -> Graph {
    let mut n = Net::new(dims);
    for (name, dims) in [("pixel.scale", [1, 1, 3]), ("pixel.shift", [1, 1, 3])] {
        n.weight(name, &dims);
    }
    let mut x = n.op("scale", "Mul", &["x", "pixel.scale"], &[]);
    x = n.op("shift", "Add", &[&x, "pixel.shift"], &[]);
    x = n.op("in", "Transpose", &[&x], &[("perm", &[0, 3, 1, 2])]);
    for (i, pair) in [3, 4, 4, 8].windows(2).enumerate() {
        x = n.conv(&format!("conv{i}"), &x, [pair[1], pair[0], 3, 3]);
        x = n.relu(&x);
        x = n.pool(&format!("pool{i}"), &x);
    }
    let order = n.ints("order", &[0, 2, 3, 1]);
    let (zero, one) = (n.ints("zero", &[0]), n.ints("one", &[1]));
    n.graph.initializers.insert(
        "features".to_owned(),
        Tensor {
            dtype: DataType::Int32,
            dims: vec![1],
            data: 32i32.to_le_bytes().to_vec().into(),
        },
    );
    let back = n.op("out", "Transpose", &[&x], &[("perm", &[0, 2, 3, 1])]);
    let mut with = |name: &str, op: &str, inputs: &[&str], key: &str, value: i64| {
        let node = Node::new(name, op, inputs, &[name]);
        let node = if key.is_empty() {
            node
        } else {
            node.with(key, value)
        };
        n.graph.nodes.push(node);
        name.to_owned()
    };
    let mut shape = with("shape", "Shape", &[&x], "", 0);
    shape = with("ordered", "Gather", &[&shape, &order], "", 0);
    shape = with("narrow", "Cast", &[&shape], "to", 6);
    shape = with("batch", "Slice", &[&shape, &zero, &one, &zero], "", 0);
    shape = with("joined", "Concat", &[&shape, "features"], "axis", 0);
    shape = with("target", "Cast", &[&shape], "to", 7);
    x = n.op("flat", "Reshape", &[&back, &shape], &[]);
    x = n.dense("fc1", &x, 32, 6);
    x = n.relu(&x);
    for (name, op) in [("gain", "Mul"), ("offset", "Add")] {
        let constant = n.weight(&format!("{name}.c"), &[6]);
        x = n.op(name, op, &[&x, &constant], &[]);
    }
    x = n.dense("fc2", &x, 6, 4);
    x = n.op("softmax", "Softmax", &[&x], &[]);
    n.output(&x)
}
