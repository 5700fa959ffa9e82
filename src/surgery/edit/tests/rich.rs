//! A model with something of everything that a file may hold.

use std::path::Path;

use prost::Message;

use crate::graph::{Attribute, Node, Value, value_to_proto};
use crate::onnx::messages::{
    AttributeProto, FunctionProto, GraphProto, NodeProto, OperatorSetIdProto, SparseTensorProto,
    StringStringEntryProto, TensorAnnotation, TensorProto,
};
use crate::onnx::{DataType, Model, Tensor, save};
use crate::surgery::testing::{classifier, proto, value, weight};

pub fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    }
}

fn graph_attribute(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(5),
        g: Some(Box::new(graph)),
        ..AttributeProto::default()
    }
}

/// A tensor whose values lie in the file `weights`, from `offset` on; they are appended to `data`.
fn outside(tensor: &Tensor, name: &str, data: &mut Vec<u8>) -> TensorProto {
    let offset = data.len().to_string();
    let length = tensor.data.len().to_string();
    data.extend_from_slice(&tensor.data);
    TensorProto {
        raw_data: None,
        data_location: Some(1),
        external_data: vec![
            entry("location", "weights"),
            entry("offset", &offset),
            entry("length", &length),
        ],
        ..tensor.to_proto(name)
    }
}

/// A branch that adds a weight of its own to `map` of the graph around it.
fn branch(own: TensorProto) -> GraphProto {
    let name = own.name.clone().unwrap();
    let output = format!("{name}/sum");
    GraphProto {
        name: Some(format!("{name}/branch")),
        node: vec![Node::new(&output, "Add", &["map", &name], &[&output]).to_proto()],
        initializer: vec![own],
        output: vec![value_to_proto(&value(&output, &[0, 4, 8, 8]))],
        ..GraphProto::default()
    }
}

/// The classifier of these tests with, behind `map`, an `If` whose branches read it, a call of a local
/// function and constants in all forms; with external data in each of them; with a sparse initializer,
/// annotations, notes, metadata. Written in `folder` and read from there.
pub fn rich(folder: &Path) -> Model {
    let mut data = Vec::new();
    let mut model = proto(&classifier());
    model.ir_version = Some(9);
    model.doc_string = Some("all there is".to_owned());
    model.metadata_props = vec![entry("author", "someone"), entry("classes", "3")];
    let opset = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    };
    model.opset_import.push(opset("local", 1));
    let mut doubled = Node::new("", "Mul", &["a", "two"], &["b"]).to_proto();
    doubled.name = None;
    let two = AttributeProto {
        name: Some("value".to_owned()),
        r#type: Some(4),
        t: Some(outside(&Tensor::scalar_f32(2.0), "", &mut data)),
        ..AttributeProto::default()
    };
    model.functions = vec![FunctionProto {
        name: Some("Double".to_owned()),
        domain: Some("local".to_owned()),
        input: vec!["a".to_owned()],
        output: vec!["b".to_owned()],
        node: vec![
            NodeProto {
                op_type: Some("Constant".to_owned()),
                output: vec!["two".to_owned()],
                attribute: vec![two],
                ..NodeProto::default()
            },
            doubled,
        ],
        opset_import: vec![opset("", 17)],
        ..FunctionProto::default()
    }];

    let graph = model.graph.as_mut().unwrap();
    graph.doc_string = Some("a graph".to_owned());
    graph.metadata_props = vec![entry("made", "by hand")];
    for (i, tensor) in graph.initializer.iter_mut().enumerate() {
        let values = Tensor::from_proto(tensor).unwrap();
        let name = tensor.name.clone().unwrap();
        match i {
            0 => *tensor = outside(&values, &name, &mut data),
            1 => {
                tensor.raw_data = None;
                tensor.float_data = values.to_f32().unwrap();
                tensor.metadata_props = vec![entry("kind", "bias")];
            }
            2 => tensor.doc_string = Some("a scale".to_owned()),
            _ => {}
        }
    }
    graph.sparse_initializer = vec![SparseTensorProto {
        values: Some(outside(&weight(&[2], 3), "sparse", &mut data)),
        indices: Some(Tensor::i64s(&[0, 2]).to_proto("")),
        dims: vec![4],
    }];
    graph.value_info = vec![
        value_to_proto(&value("map", &[0, 4, 8, 8])),
        value_to_proto(&value("flat", &[0, 4])),
    ];
    graph.quantization_annotation = vec![TensorAnnotation {
        tensor_name: Some("map".to_owned()),
        quant_parameter_tensor_names: vec![entry("SCALE_TENSOR", "bn.scale")],
    }];
    let own = |name: &str, data: &mut Vec<u8>| outside(&weight(&[1], 2), name, data);
    let (then, other) = (own("then.weight", &mut data), own("else.weight", &mut data));
    let mut choice = Node::new("choice", "If", &["truth"], &["chosen"]).to_proto();
    choice.attribute = vec![
        graph_attribute("then_branch", branch(then)),
        graph_attribute("else_branch", branch(other)),
    ];
    choice.metadata_props = vec![entry("namespace", "gate")];
    let mut call = Node::new("call", "Double", &["chosen"], &["doubled"]).to_proto();
    call.domain = Some("local".to_owned());
    let constant = |name: &str, key: &str, value: Attribute| {
        let node = Node::new(name, "Constant", &[], &[name]);
        node.with(key, value).to_proto()
    };
    let tensor = Attribute::Tensor(weight(&[4, 1, 1], 5));
    let behind = 3;
    let nodes = [
        constant("truth", "value", Attribute::Tensor(truth())),
        choice,
        call,
        constant("shift", "value", tensor),
        constant("half", "value_float", Attribute::Float(0.5)),
        constant("list", "value_floats", Attribute::Floats(vec![1.0, 2.0])),
        constant("number", "value_int", Attribute::Int(7)),
        constant("numbers", "value_ints", Attribute::Ints(vec![1, 2])),
        Node::new("shifted", "Add", &["doubled", "shift"], &["shifted"]).to_proto(),
        Node::new("halved", "Mul", &["shifted", "half"], &["halved"]).to_proto(),
    ];
    graph.node.splice(behind..behind, nodes);
    for node in &mut graph.node {
        if node.op_type.as_deref() == Some("GlobalAveragePool") {
            node.input[0] = "halved".to_owned();
        }
    }
    std::fs::write(folder.join("weights"), &data).unwrap();
    let path = folder.join("rich.onnx");
    save(&model, &path).unwrap();
    let read = Model::open(&path).unwrap();
    assert_eq!(read.proto.encode_to_vec(), model.encode_to_vec());
    read
}

fn truth() -> Tensor {
    Tensor {
        dtype: DataType::Bool,
        dims: vec![],
        data: vec![1].into(),
    }
}

/// The classifier in the form of IR 3, where every initializer is an input, too.
pub fn old() -> Model {
    let mut model = proto(&classifier());
    model.ir_version = Some(3);
    let graph = model.graph.as_mut().unwrap();
    for tensor in &graph.initializer {
        let dims: Vec<usize> = tensor.dims.iter().map(|&d| d as usize).collect();
        let input = Value::fixed(tensor.name(), DataType::Float, &dims);
        graph.input.push(value_to_proto(&input));
    }
    crate::surgery::testing::decode(&model)
}
