//! The small models that are mutated.

mod beyond;

use bytes::Bytes;
use ftsurgery::graph::{Attribute, Builder, Dim, Graph, Node, Value};
use ftsurgery::onnx::messages::ModelProto;
use ftsurgery::onnx::{DataType, Model, Tensor, encode};

pub use beyond::*;

/// A model to mutate, as messages and as bytes.
pub struct Seed {
    pub name: String,
    pub proto: ModelProto,
    pub bytes: Bytes,
}

impl Seed {
    fn new(name: &str, proto: ModelProto) -> Self {
        let bytes = encode(&proto).unwrap().into();
        let name = name.to_owned();
        Seed { name, proto, bytes }
    }
}

/// Models made here.
pub fn own() -> Vec<Seed> {
    vec![
        Seed::new("plain", plain()),
        Seed::new("residual", residual()),
        Seed::new("old", old()),
        Seed::new("shapely", shapely()),
    ]
}

/// Models of the project with graphs inside of nodes, functions, odd types, annotations.
pub fn kept() -> Vec<Seed> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/surgery");
    let names = ["functions", "ir3", "notes", "odd", "subgraphs"];
    let seed = |name: &&str| {
        let model = Model::open(&folder.join(format!("{name}.onnx"))).unwrap();
        Seed::new(name, model.proto)
    };
    names.iter().map(seed).collect()
}

/// Some models of the shared reference folder, where it is.
pub fn shared() -> Vec<Seed> {
    let Some(root) = ftsurgery::testing::shared() else {
        return Vec::new();
    };
    let names = ["conv_zoo", "mobilenet_v2", "mobilenet_v3"];
    let seeds: Vec<Seed> = names
        .iter()
        .filter_map(|name| {
            let path = root.join("reference").join(name).join("model.onnx");
            let model = Model::open(&path).ok()?;
            Some(Seed::new(name, model.proto))
        })
        .collect();
    seeds
}

struct Net(Graph);

impl Net {
    fn new(opset: i64, dims: Vec<Dim>) -> Self {
        Net(Graph {
            inputs: vec![value("image", Some(dims))],
            ..Graph::new(opset)
        })
    }

    /// Numbers that are neither all equal nor large.
    fn weight(&mut self, name: &str, dims: &[usize]) -> String {
        let count: usize = dims.iter().product();
        let values: Vec<f32> = (0..count).map(|i| 0.1 + (i % 7) as f32 / 16.0).collect();
        self.tensor(name, Tensor::f32(dims, &values))
    }

    fn tensor(&mut self, name: &str, tensor: Tensor) -> String {
        self.0.initializers.insert(name.to_owned(), tensor);
        name.to_owned()
    }

    fn ints(&mut self, name: &str, values: &[i64]) -> String {
        self.tensor(name, Tensor::i64s(values))
    }

    fn op(
        &mut self,
        name: &str,
        op_type: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> String {
        let attributes = attributes.iter().map(|(n, a)| (*n, a.clone())).collect();
        Builder::new(&mut self.0).op(name, op_type, inputs, attributes)
    }

    fn finish(mut self, output: &str) -> ModelProto {
        let dims = vec![Dim::Symbolic(String::new()), Dim::Known(3)];
        self.0.outputs.push(value(output, Some(dims)));
        self.0.to_model(usize::MAX).0
    }
}

fn value(name: &str, dims: Option<Vec<Dim>>) -> Value {
    Value {
        name: name.to_owned(),
        dtype: DataType::Float,
        dims,
    }
}

fn image(batch: Dim) -> Vec<Dim> {
    vec![batch, Dim::Known(3), Dim::Known(8), Dim::Known(8)]
}

fn free() -> Dim {
    Dim::Symbolic("batch".to_owned())
}

fn ints(values: &[i64]) -> Attribute {
    values.to_vec().into()
}

/// Conv, BatchNormalization, Relu, MaxPool, Conv, pooling, dense, Softmax; opset 17.
pub fn plain() -> ModelProto {
    let mut n = Net::new(17, image(free()));
    n.weight("conv1.w", &[4, 3, 3, 3]);
    n.weight("conv1.b", &[4]);
    for part in ["bn.scale", "bn.bias", "bn.mean", "bn.var"] {
        n.weight(part, &[4]);
    }
    n.weight("conv2.w", &[6, 4, 3, 3]);
    n.weight("fc.w", &[3, 6]);
    n.weight("fc.b", &[3]);
    let pads = ints(&[1, 1, 1, 1]);
    let x = n.op(
        "conv1",
        "Conv",
        &["image", "conv1.w", "conv1.b"],
        &[("pads", pads)],
    );
    let norm = [&x, "bn.scale", "bn.bias", "bn.mean", "bn.var"];
    let x = n.op("bn", "BatchNormalization", &norm, &[]);
    let x = n.op("relu1", "Relu", &[&x], &[]);
    let window = [("kernel_shape", ints(&[2, 2])), ("strides", ints(&[2, 2]))];
    let x = n.op("pool", "MaxPool", &[&x], &window);
    let x = n.op(
        "conv2",
        "Conv",
        &[&x, "conv2.w"],
        &[("strides", ints(&[1, 1]))],
    );
    let x = n.op("relu2", "Relu", &[&x], &[]);
    let x = n.op("gap", "GlobalAveragePool", &[&x], &[]);
    let x = n.op("flat", "Flatten", &[&x], &[]);
    let x = n.op("fc", "Gemm", &[&x, "fc.w", "fc.b"], &[("transB", 1.into())]);
    let x = n.op("softmax", "Softmax", &[&x], &[("axis", 1.into())]);
    n.finish(&x)
}

/// Depthwise and strided convolutions, a residual, squeeze and excitation, an averaging pool with
/// pads, a target computed from shapes; opset 13.
pub fn residual() -> ModelProto {
    let mut n = Net::new(13, image(free()));
    n.weight("stem.w", &[4, 3, 3, 3]);
    n.weight("dw.w", &[4, 1, 3, 3]);
    n.weight("se.w", &[4, 4, 1, 1]);
    n.weight("pw.w", &[4, 4, 1, 1]);
    n.weight("fc.w", &[4, 3]);
    n.weight("fc.b", &[3]);
    n.tensor("zero", Tensor::scalar_f32(0.0));
    n.tensor("six", Tensor::scalar_f32(6.0));
    let same = [
        ("auto_pad", "SAME_UPPER".into()),
        ("strides", ints(&[2, 2])),
    ];
    let x = n.op("stem", "Conv", &["image", "stem.w"], &same);
    let skip = n.op("clip", "Clip", &[&x, "zero", "six"], &[]);
    let grouped = [("group", 4.into()), ("pads", ints(&[1, 1, 1, 1]))];
    let x = n.op("dw", "Conv", &[&skip, "dw.w"], &grouped);
    let s = n.op("squeeze", "GlobalAveragePool", &[&x], &[]);
    let s = n.op("excite", "Conv", &[&s, "se.w"], &[]);
    let s = n.op("gate", "HardSigmoid", &[&s], &[("alpha", 0.2.into())]);
    let x = n.op("scaled", "Mul", &[&x, &s], &[]);
    let x = n.op("pw", "Conv", &[&x, "pw.w"], &[]);
    let x = n.op("sum", "Add", &[&x, &skip], &[]);
    let window = [
        ("kernel_shape", ints(&[3, 3])),
        ("strides", ints(&[2, 2])),
        ("pads", ints(&[1, 1, 1, 1])),
    ];
    let x = n.op("avg", "AveragePool", &[&x], &window);
    let x = n.op("relu", "Relu", &[&x], &[]);
    let mean = [("axes", ints(&[2, 3])), ("keepdims", 1.into())];
    let x = n.op("mean", "ReduceMean", &[&x], &mean);
    n.ints("first", &[0]);
    n.ints("rest", &[4]);
    let shape = n.op("shape", "Shape", &[&x], &[]);
    let rows = n.op("rows", "Gather", &[&shape, "first"], &[]);
    let target = n.op("target", "Concat", &[&rows, "rest"], &[("axis", 0.into())]);
    let x = n.op("flat", "Reshape", &[&x, &target], &[]);
    let x = n.op("fc", "MatMul", &[&x, "fc.w"], &[]);
    let x = n.op("logits", "Add", &[&x, "fc.b"], &[]);
    n.finish(&x)
}

/// Opset 9 with initializers among the inputs (IR 3), a fixed batch, attributes that later became
/// inputs, channels last.
pub fn old() -> ModelProto {
    let dims = [1, 8, 8, 3].map(Dim::Known).to_vec();
    let mut n = Net::new(9, dims);
    n.weight("conv.w", &[4, 3, 3, 3]);
    n.weight("fc.w", &[4, 3]);
    n.weight("fc.b", &[3]);
    let perm = ints(&[0, 3, 1, 2]);
    let x = n.op("nchw", "Transpose", &["image"], &[("perm", perm)]);
    let pads = [
        ("pads", ints(&[0, 0, 1, 1, 0, 0, 1, 1])),
        ("value", 0.0.into()),
    ];
    let x = n.op("pad", "Pad", &[&x], &pads);
    let x = n.op(
        "conv",
        "Conv",
        &[&x, "conv.w"],
        &[("strides", ints(&[2, 2]))],
    );
    let bounds = [("min", 0.0.into()), ("max", 6.0.into())];
    let x = n.op("relu6", "Clip", &[&x], &bounds);
    let x = n.op("gap", "GlobalAveragePool", &[&x], &[]);
    let axes = ints(&[2, 3]);
    let x = n.op("squeeze", "Squeeze", &[&x], &[("axes", axes)]);
    n.ints("target", &[1, 4]);
    let x = n.op("flat", "Reshape", &[&x, "target"], &[]);
    let x = n.op("fc", "Gemm", &[&x, "fc.w", "fc.b"], &[]);
    let x = n.op("softmax", "Softmax", &[&x], &[("axis", 1.into())]);
    let listed: Vec<Value> =
        n.0.initializers
            .iter()
            .map(|(name, t)| Value::fixed(name, t.dtype, &t.dims))
            .collect();
    n.0.inputs.extend(listed);
    let mut proto = n.finish(&x);
    proto.ir_version = Some(3);
    proto
}

/// Operators whose results depend on the values of constants; opset 18.
pub fn shapely() -> ModelProto {
    let mut n = Net::new(18, image(free()));
    n.ints("sizes", &[1, 2]);
    let parts = Builder::new(&mut n.0).multi_op(
        "parts",
        "Split",
        &["image", "sizes"],
        2,
        vec![("axis", 1.into())],
    );
    let x = n.op(
        "joined",
        "Concat",
        &[&parts[1], &parts[0]],
        &[("axis", 1.into())],
    );
    n.ints("starts", &[0, 0]);
    n.ints("ends", &[8, i64::MAX]);
    n.ints("axes", &[2, 3]);
    let x = n.op("cut", "Slice", &[&x, "starts", "ends", "axes"], &[]);
    n.ints("pads", &[0, 0, 1, 1, 0, 0, 1, 1]);
    let x = n.op("padded", "Pad", &[&x, "pads"], &[]);
    n.tensor("scales", Tensor::f32(&[4], &[1.0, 1.0, 2.0, 2.0]));
    let x = n.op(
        "big",
        "Resize",
        &[&x, "", "scales"],
        &[("mode", "nearest".into())],
    );
    n.ints("repeats", &[1, 2, 1, 1]);
    let x = n.op("tiled", "Tile", &[&x, "repeats"], &[]);
    n.ints("wide", &[1, 6, 1, 1]);
    let zeros = n.op("zeros", "ConstantOfShape", &["wide"], &[]);
    let x = n.op("shifted", "Add", &[&x, &zeros], &[]);
    n.tensor("from", Tensor::scalar_i64(0));
    n.tensor("to", Tensor::scalar_i64(4));
    n.tensor("by", Tensor::scalar_i64(1));
    let order = n.op("order", "Range", &["from", "to", "by"], &[]);
    let x = n.op("chosen", "Gather", &[&x, &order], &[("axis", 1.into())]);
    n.ints("expanded", &[1, 4, 20, 20]);
    let x = n.op("expand", "Expand", &[&x, "expanded"], &[]);
    let bound = Node::new("bound", "Constant", &[], &["bound"]);
    n.0.nodes.push(bound.with("value", Tensor::scalar_f32(0.5)));
    let test = n.op("test", "Greater", &[&x, "bound"], &[]);
    let x = n.op("where", "Where", &[&test, &x, "bound"], &[]);
    let x = n.op("cast", "Cast", &[&x], &[("to", 1.into())]);
    n.weight("conv.w", &[5, 4, 3, 3]);
    let x = n.op(
        "conv",
        "Conv",
        &[&x, "conv.w"],
        &[("dilations", ints(&[2, 2]))],
    );
    let x = n.op("relu", "LeakyRelu", &[&x], &[("alpha", 0.1.into())]);
    let x = n.op("gap", "GlobalAveragePool", &[&x], &[]);
    n.ints("spatial", &[2, 3]);
    let x = n.op("flat", "Squeeze", &[&x, "spatial"], &[]);
    let x = n.op("drop", "Dropout", &[&x], &[]);
    n.weight("fc.w", &[5, 3]);
    let x = n.op("fc", "Gemm", &[&x, "fc.w"], &[]);
    let x = n.op("same", "Identity", &[&x], &[]);
    n.finish(&x)
}
