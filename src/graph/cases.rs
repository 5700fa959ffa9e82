//! For tests: graphs of `fixtures/shapes/cases.json`, which `tools/make_shape_fixtures.py` makes, and
//! others of a few nodes.

use std::path::Path;

use serde_json::Value as Json;

use crate::onnx::{DataType, Tensor};

use super::{Attribute, Graph, Node, Value};

pub(crate) fn fixture(name: &str) -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/shapes")
        .join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub(crate) fn sizes(json: &Json) -> Vec<usize> {
    let list = json.as_array().unwrap();
    list.iter().map(|d| d.as_u64().unwrap() as usize).collect()
}

fn attribute(json: &Json) -> Attribute {
    match json {
        Json::String(s) => s.as_str().into(),
        Json::Array(list) => list
            .iter()
            .map(|v| v.as_i64().unwrap())
            .collect::<Vec<_>>()
            .into(),
        Json::Number(n) => match n.as_i64() {
            Some(i) => i.into(),
            None => (n.as_f64().unwrap() as f32).into(),
        },
        other => panic!("{other}"),
    }
}

/// Nodes that make something of the input `x`; the last one's first output is the graph's.
pub(crate) fn graph(opset: i64, input: &[usize], nodes: Vec<Node>) -> Graph {
    let last = nodes.last().unwrap().outputs[0].clone();
    Graph {
        nodes,
        inputs: vec![Value::fixed("x", DataType::Float, input)],
        outputs: vec![Value {
            name: last,
            dtype: DataType::Float,
            dims: None,
        }],
        ..Graph::new(opset)
    }
}

/// The one-node graph of a line of `cases.json`, in its own opset.
pub(crate) fn case_graph(case: &Json) -> Graph {
    let mut graph = Graph {
        nodes: vec![Node::new("n", "", &[], &[])],
        ..Graph::new(case["opset"].as_i64().unwrap())
    };
    let node = &mut graph.nodes[0];
    node.op_type = case["op"].as_str().unwrap().to_owned();
    let outputs = 0..case["outputs"].as_array().unwrap().len();
    node.outputs = outputs.map(|i| format!("o{i}")).collect();
    for (name, value) in case["attributes"].as_object().unwrap() {
        node.attributes.insert(name.clone(), attribute(value));
    }
    for (i, input) in case["inputs"].as_array().unwrap().iter().enumerate() {
        let name = format!("i{i}");
        node.inputs.push(if input.is_null() {
            String::new()
        } else {
            name.clone()
        });
        if input.is_array() {
            let dims = sizes(input);
            graph
                .inputs
                .push(Value::fixed(&name, DataType::Float, &dims));
        } else if input.is_object() {
            let dims = sizes(&input["dims"]);
            let values = input["values"].as_array().unwrap();
            let dtype = DataType::from_number(input["type"].as_i64().unwrap() as i32).unwrap();
            let tensor = if dtype == DataType::Float {
                let values: Vec<f32> = values.iter().map(|v| v.as_f64().unwrap() as f32).collect();
                Tensor::f32(&dims, &values)
            } else if dtype == DataType::Bool {
                let data = values.iter().map(|v| u8::from(v.as_bool().unwrap()));
                let data = data.collect();
                Tensor { dtype, dims, data }
            } else if dtype == DataType::Uint8 {
                let data = values.iter().map(|v| v.as_u64().unwrap() as u8);
                let data = data.collect();
                Tensor { dtype, dims, data }
            } else {
                assert_eq!(dtype, DataType::Int64, "{case}");
                let values: Vec<i64> = values.iter().map(|v| v.as_i64().unwrap()).collect();
                Tensor {
                    dims,
                    ..Tensor::i64s(&values)
                }
            };
            graph.initializers.insert(name, tensor);
        }
    }
    for (i, output) in case["outputs"].as_array().unwrap().iter().enumerate() {
        graph.outputs.push(Value {
            name: format!("o{i}"),
            dtype: DataType::from_number(output[0].as_i64().unwrap() as i32).unwrap(),
            dims: None,
        });
    }
    graph
}
