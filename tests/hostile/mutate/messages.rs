//! Changes of messages: of the model, its graph, values, tensors, nodes and attributes.

use bytes::Bytes;
use ftsurgery::onnx::messages::{
    AttributeProto, DimensionValue, GraphProto, ModelProto, NodeProto, TypeValue, ValueInfoProto,
};

use super::Dice;

const INTS: [i64; 14] = [
    0,
    1,
    -1,
    2,
    -2,
    3,
    7,
    1000,
    i32::MAX as i64,
    1 << 40,
    1 << 62,
    i64::MAX,
    i64::MIN,
    -(1 << 40),
];
pub const FLOATS: [f32; 6] = [0.0, -1.0, 1e30, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE];
const DTYPES: [i32; 12] = [0, 1, 2, 6, 7, 8, 9, 10, 11, 16, 23, -5];
const OPS: [&str; 40] = [
    "Add",
    "ArgMax",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "ConstantOfShape",
    "Conv",
    "ConvTranspose",
    "CumSum",
    "DepthToSpace",
    "Dropout",
    "Einsum",
    "Expand",
    "Flatten",
    "Gather",
    "GatherND",
    "Gemm",
    "GlobalAveragePool",
    "If",
    "LRN",
    "LayerNormalization",
    "MatMul",
    "MaxPool",
    "OneHot",
    "Pad",
    "QLinearConv",
    "Range",
    "ReduceMean",
    "ReduceSum",
    "Reshape",
    "Resize",
    "Slice",
    "Softmax",
    "Split",
    "Tile",
    "TopK",
    "Transpose",
    "NoSuchOperator",
];

/// One to three changes of the messages, encoded; `None` if they cannot be.
pub fn mutate_message(proto: &ModelProto, number: u64) -> Option<Vec<u8>> {
    let mut dice = Dice::new(number);
    let mut proto = proto.clone();
    for _ in 0..=dice.below(3) {
        if dice.below(12) == 0 {
            change_model(&mut proto, &mut dice);
        } else if !proto.functions.is_empty() && dice.below(3) == 0 {
            change_function(&mut proto, &mut dice);
        } else {
            change_graph(proto.graph.as_mut()?, &mut dice);
        }
    }
    ftsurgery::onnx::encode(&proto).ok()
}

fn change_model(proto: &mut ModelProto, dice: &mut Dice) {
    match dice.below(4) {
        0 => proto.ir_version = Some(*dice.of(&INTS)),
        1 => proto.opset_import.clear(),
        2 => proto.graph = None,
        _ => {
            let version = *dice.of(&[0, 1, 7, 8, 9, 11, 13, 15, 18, 21, 22, 26, 99, i64::MIN]);
            if let Some(opset) = proto.opset_import.first_mut() {
                opset.version = Some(version);
            }
        }
    }
}

/// A change of a function's body, as of a graph.
fn change_function(proto: &mut ModelProto, dice: &mut Dice) {
    if let Some(function) = dice.of_mut(&mut proto.functions) {
        let mut body = GraphProto {
            node: std::mem::take(&mut function.node),
            ..GraphProto::default()
        };
        change_graph(&mut body, dice);
        function.node = body.node;
    }
}

/// A change of the graph, or of one inside of its nodes.
fn change_graph(graph: &mut GraphProto, dice: &mut Dice) {
    let attributes = graph.node.iter_mut().flat_map(|n| &mut n.attribute);
    let mut inner: Vec<&mut GraphProto> =
        attributes.flat_map(AttributeProto::subgraphs_mut).collect();
    if !inner.is_empty() && dice.below(3) > 0 {
        if let Some(inner) = dice.of_mut(&mut inner) {
            change_graph(inner, dice);
        }
        return;
    }
    let nodes = graph.node.len();
    match dice.below(40) {
        0 => drop(remove(&mut graph.node, dice)),
        1 => drop(remove(&mut graph.initializer, dice)),
        2 => match dice.below(2) {
            0 => drop(remove(&mut graph.input, dice)),
            _ => drop(remove(&mut graph.output, dice)),
        },
        4..=9 => change_value(graph, dice),
        16..=26 => change_tensor(graph, dice),
        3 => {
            let copy = graph.node.get(dice.below(nodes)).cloned();
            graph.node.extend(copy);
        }
        10 => {
            let copy = graph.initializer.first().cloned();
            graph.initializer.extend(copy);
        }
        11 => graph.node.swap(dice.below(nodes), dice.below(nodes)),
        12 => {
            // Often a cycle.
            let name = value_name(graph, dice);
            if let Some(input) = dice
                .of_mut(&mut graph.node)
                .and_then(|n| n.input.first_mut())
            {
                *input = name;
            }
        }
        13 => nest(graph, dice),
        _ => {
            let name = value_name(graph, dice);
            if let Some(node) = dice.of_mut(&mut graph.node) {
                change_node(node, name, dice);
            }
        }
    }
}

fn remove<T>(list: &mut Vec<T>, dice: &mut Dice) -> Option<T> {
    let index = dice.below(list.len());
    (!list.is_empty()).then(|| list.remove(index))
}

/// The name of some value, or one that nothing has.
fn value_name(graph: &GraphProto, dice: &mut Dice) -> String {
    let mut names: Vec<&String> = graph.node.iter().flat_map(|n| &n.output).collect();
    names.extend(graph.initializer.iter().filter_map(|t| t.name.as_ref()));
    names.extend(graph.input.iter().filter_map(|v| v.name.as_ref()));
    let index = dice.below(names.len() + 2);
    names.get(index).map_or_else(
        || ["", "nowhere"][index % 2].to_owned(),
        |name| (*name).clone(),
    )
}

fn change_value(graph: &mut GraphProto, dice: &mut Dice) {
    let name = value_name(graph, dice);
    let list: &mut Vec<ValueInfoProto> = match dice.below(2) {
        0 => &mut graph.input,
        _ => &mut graph.output,
    };
    let Some(value) = dice.of_mut(list) else {
        return;
    };
    let kind = dice.below(6);
    if kind == 0 {
        value.name = Some(name);
        return;
    }
    let Some(TypeValue::Tensor(tensor)) = value.r#type.as_mut().and_then(|t| t.value.as_mut())
    else {
        return;
    };
    match (kind, tensor.shape.as_mut()) {
        (1, _) => tensor.elem_type = Some(*dice.of(&DTYPES)),
        (2, _) => tensor.shape = None,
        (3, Some(shape)) => drop(remove(&mut shape.dim, dice)),
        (_, Some(shape)) => {
            if let Some(dim) = dice.of_mut(&mut shape.dim) {
                dim.value = match dice.below(4) {
                    0 => Some(DimensionValue::DimParam("N+1*(".to_owned())),
                    _ => Some(DimensionValue::DimValue(*dice.of(&INTS))),
                };
            }
        }
        _ => {}
    }
}

fn change_tensor(graph: &mut GraphProto, dice: &mut Dice) {
    let in_nodes = graph.node.iter_mut().flat_map(|n| &mut n.attribute);
    let mut tensors: Vec<_> = in_nodes
        .filter_map(|a| a.t.as_mut())
        .chain(&mut graph.initializer)
        .collect();
    let Some(tensor) = dice.of_mut(&mut tensors) else {
        return;
    };
    let integers = tensor.data_type == Some(7);
    match dice.below(if integers { 14 } else { 9 }) {
        0 => tensor.data_type = Some(*dice.of(&DTYPES)),
        1 => tensor.dims.push(*dice.of(&INTS)),
        2 => drop(tensor.dims.pop()),
        3 => dice
            .of_mut(&mut tensor.dims)
            .into_iter()
            .for_each(|d| *d = 0),
        4 => {
            let value = *dice.of(&INTS);
            dice.of_mut(&mut tensor.dims)
                .into_iter()
                .for_each(|d| *d = value);
        }
        5 => tensor.raw_data = None,
        6 => {
            // The same elements in another arrangement.
            tensor.dims.reverse();
        }
        7 => tensor.data_location = Some(1),
        8 => {
            tensor.dims = vec![0; 1 + dice.below(5)];
            tensor.raw_data = Some(Bytes::new());
        }
        _ => {
            let Some(raw) = &mut tensor.raw_data else {
                return;
            };
            let mut data = raw.to_vec();
            let (numbers, _) = data.as_chunks_mut::<8>();
            if let Some(number) = dice.of_mut(numbers) {
                *number = dice.of(&INTS).to_le_bytes();
            }
            *raw = data.into();
        }
    }
}

fn change_node(node: &mut NodeProto, name: String, dice: &mut Dice) {
    match dice.below(22) {
        0 => dice
            .of_mut(&mut node.input)
            .into_iter()
            .for_each(|i| i.clone_from(&name)),
        1 => dice
            .of_mut(&mut node.output)
            .into_iter()
            .for_each(|o| o.clone_from(&name)),
        2 => drop(remove(&mut node.input, dice)),
        3 => drop(remove(&mut node.output, dice)),
        4 => node.input.push(name),
        5 => node.output.push("one_more".to_owned()),
        6..=8 => node.op_type = Some((*dice.of(&OPS)).to_owned()),
        9 => drop(remove(&mut node.attribute, dice)),
        10 => node.domain = Some("com.example".to_owned()),
        _ => match dice.of_mut(&mut node.attribute) {
            Some(attribute) => change_attribute(attribute, dice),
            None => node.attribute.push(attribute(dice)),
        },
    }
}

fn attribute(dice: &mut Dice) -> AttributeProto {
    const NAMES: [&str; 12] = [
        "axis",
        "group",
        "strides",
        "dilations",
        "pads",
        "kernel_shape",
        "auto_pad",
        "perm",
        "ceil_mode",
        "keepdims",
        "to",
        "output_padding",
    ];
    let mut made = AttributeProto {
        name: Some((*dice.of(&NAMES)).to_owned()),
        ..AttributeProto::default()
    };
    let value = *dice.of(&INTS);
    match dice.below(3) {
        0 => (made.r#type, made.i) = (Some(2), Some(value)),
        1 => (made.r#type, made.ints) = (Some(7), vec![value; 1 + dice.below(4)]),
        _ => (made.r#type, made.s) = (Some(3), Some("SAME_LOWER".into())),
    }
    made
}

fn change_attribute(attribute: &mut AttributeProto, dice: &mut Dice) {
    let value = *dice.of(&INTS);
    match dice.below(6) {
        0 => attribute.r#type = Some(dice.below(16) as i32),
        1 => *attribute = self::attribute(dice),
        2 => attribute.name = Some("axis".to_owned()),
        3 => attribute.f = attribute.f.map(|_| *dice.of(&FLOATS)),
        _ if attribute.i.is_some() => attribute.i = Some(value),
        4 => attribute.ints.push(value),
        _ => dice
            .of_mut(&mut attribute.ints)
            .into_iter()
            .for_each(|i| *i = value),
    }
}

/// A node becomes an `If` whose branches nest, down to where decoding gives up.
fn nest(graph: &mut GraphProto, dice: &mut Dice) {
    let Some(node) = dice.of_mut(&mut graph.node) else {
        return;
    };
    let mut inner = GraphProto {
        node: vec![node.clone()],
        ..GraphProto::default()
    };
    for _ in 0..dice.below(40) {
        inner = GraphProto {
            node: vec![branch(node, inner)],
            ..GraphProto::default()
        };
    }
    *node = branch(node, inner);
}

fn branch(like: &NodeProto, inner: GraphProto) -> NodeProto {
    NodeProto {
        op_type: Some("If".to_owned()),
        input: like.input.iter().take(1).cloned().collect(),
        output: like.output.clone(),
        attribute: vec![AttributeProto {
            name: Some("then_branch".to_owned()),
            r#type: Some(5),
            g: Some(Box::new(inner)),
            ..AttributeProto::default()
        }],
        ..NodeProto::default()
    }
}
