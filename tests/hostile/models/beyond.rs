//! Models that ask for more than there is: windows beyond the map, values beyond memory, loops without an
//! end, equations and truth values that are none.

use ftsurgery::graph::{Dim, Value};
use ftsurgery::onnx::DataType;
use ftsurgery::onnx::messages::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

use super::{Net, free, image, ints};

/// A 3 × 3 convolution of 16 channels whose dilations and pads are `size`; opset 17.
pub fn dilated(size: i64) -> ModelProto {
    window(1, |n, x| {
        let far = [("dilations", ints(&[size; 2])), ("pads", ints(&[size; 4]))];
        n.op("wide", "Conv", &[x, "wide.w"], &far)
    })
}

/// As [`dilated`], channel by channel.
pub fn dilated_depthwise(size: i64) -> ModelProto {
    window(16, |n, x| {
        let far = [
            ("dilations", ints(&[size; 2])),
            ("pads", ints(&[size; 4])),
            ("group", 16.into()),
        ];
        n.op("wide", "Conv", &[x, "wide.w"], &far)
    })
}

/// A pool over all of a map with `size` rows and columns of padding around it; opset 17.
pub fn padded_pool(size: i64) -> ModelProto {
    window(1, |n, x| {
        let whole = [
            ("kernel_shape", ints(&[8 + 2 * size; 2])),
            ("pads", ints(&[size; 4])),
        ];
        n.op("wide", "MaxPool", &[x], &whole)
    })
}

/// A map that is joined with itself so many times, and its sum; opset 17.
pub fn doubled(times: usize) -> ModelProto {
    window(1, |n, x| {
        let mut last = x.to_owned();
        for i in 0..times {
            let axis = [("axis", 1.into())];
            last = n.op(&format!("doubled{i}"), "Concat", &[&last, &last], &axis);
        }
        let sum = n.op("sum", "ReduceSum", &[&last], &[("keepdims", 0.into())]);
        n.op("both", "Add", &[x, &sum], &[])
    })
}

/// A map that is multiplied by the mean of so many numbers; opset 17.
pub fn grown(size: i64) -> ModelProto {
    window(1, |n, x| {
        n.ints("size", &[size]);
        let numbers = n.op("grown", "ConstantOfShape", &["size"], &[]);
        let mean = n.op("mean", "ReduceMean", &[&numbers], &[("keepdims", 0.into())]);
        n.op("scaled", "Mul", &[x, &mean], &[])
    })
}

/// A model of any image whose output is a tensor of truth values of these bytes; opset 17.
pub fn truths(bytes: &[u8]) -> ModelProto {
    let mut n = Net::new(17, image(free()));
    let dims = vec![Dim::Known(bytes.len())];
    let output = n.op("same", "Identity", &["truths"], &[]);
    n.0.outputs.push(Value {
        name: output,
        dtype: DataType::Bool,
        dims: Some(dims),
    });
    let mut proto = n.0.to_model(usize::MAX).0;
    proto.graph.as_mut().unwrap().initializer.push(TensorProto {
        name: Some("truths".to_owned()),
        dims: vec![bytes.len() as i64],
        data_type: Some(DataType::Bool as i32),
        raw_data: Some(bytes.to_vec().into()),
        ..TensorProto::default()
    });
    proto
}

/// A map that goes round a `Loop` whose condition stays true; opset 17.
pub fn endless() -> ModelProto {
    let mut proto = window(1, |n, x| n.op("endless", "Identity", &[x], &[]));
    let graph = proto.graph.as_mut().unwrap();
    graph.initializer.push(TensorProto {
        name: Some("on".to_owned()),
        data_type: Some(DataType::Bool as i32),
        raw_data: Some(vec![1_u8].into()),
        ..TensorProto::default()
    });
    let of = |name: &str, dtype, dims: Option<Vec<Dim>>| {
        let mut whole = Net::new(17, image(free())).0;
        whole.inputs = vec![Value {
            name: name.to_owned(),
            dtype,
            dims,
        }];
        whole.to_model(usize::MAX).0.graph.unwrap().input.remove(0)
    };
    let identity = |from: &str, to: &str| NodeProto {
        op_type: Some("Identity".to_owned()),
        input: vec![from.to_owned()],
        output: vec![to.to_owned()],
        ..NodeProto::default()
    };
    let body = GraphProto {
        name: Some("body".to_owned()),
        node: vec![identity("going", "go"), identity("map", "same")],
        input: vec![
            of("number", DataType::Int64, Some(vec![])),
            of("going", DataType::Bool, Some(vec![])),
            of("map", DataType::Float, None),
        ],
        output: vec![
            of("go", DataType::Bool, Some(vec![])),
            of("same", DataType::Float, None),
        ],
        ..GraphProto::default()
    };
    let node = graph
        .node
        .iter_mut()
        .find(|n| n.op_type.as_deref() == Some("Identity"));
    let node = node.unwrap();
    node.op_type = Some("Loop".to_owned());
    node.input = vec![String::new(), "on".to_owned(), node.input[0].clone()];
    node.attribute.push(AttributeProto {
        name: Some("body".to_owned()),
        r#type: Some(5),
        g: Some(Box::new(body)),
        ..AttributeProto::default()
    });
    proto
}

/// A map behind an `Einsum`; opset 17.
pub fn summed(equation: &str) -> ModelProto {
    window(1, |n, x| {
        n.op("summed", "Einsum", &[x], &[("equation", equation.into())])
    })
}

/// A pointwise convolution, what `wide` makes of its map, and a classifier.
fn window(group: usize, wide: impl FnOnce(&mut Net, &str) -> String) -> ModelProto {
    let mut n = Net::new(17, image(free()));
    n.weight("stem.w", &[16, 3, 1, 1]);
    n.weight("wide.w", &[16, 16 / group, 3, 3]);
    n.weight("fc.w", &[16, 3]);
    n.weight("fc.b", &[3]);
    let x = n.op("stem", "Conv", &["image", "stem.w"], &[]);
    let x = wide(&mut n, &x);
    let x = n.op("gap", "GlobalAveragePool", &[&x], &[]);
    let x = n.op("flat", "Flatten", &[&x], &[]);
    let x = n.op("fc", "Gemm", &[&x, "fc.w", "fc.b"], &[]);
    n.finish(&x)
}
