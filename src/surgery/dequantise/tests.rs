//! Small quantised models, in floats of both kinds.

use super::*;
use crate::graph::{Attribute, Graph, Node, Value};
use crate::onnx::{DataType, encode};

fn ints(dtype: DataType, dims: &[usize], values: &[u8]) -> Tensor {
    Tensor {
        dtype,
        dims: dims.to_vec(),
        data: values.to_vec().into(),
    }
}

/// A product with weights that are stored as integers, of data that is quantised before and behind it.
fn model() -> Model {
    let node = |op: &str, inputs: &[&str], output: &str| Node::new(output, op, inputs, &[output]);
    let mut graph = Graph {
        nodes: vec![
            node("QuantizeLinear", &["x", "s", "z"], "xq"),
            node("DequantizeLinear", &["xq", "s", "z"], "xf"),
            node("DequantizeLinear", &["wq", "ws"], "w").with("axis", Attribute::Int(0)),
            node("MatMul", &["xf", "w"], "p"),
            node("QuantizeLinear", &["p", "s", "z"], "pq"),
            node("DequantizeLinear", &["pq", "s", "z"], "y"),
        ],
        inputs: vec![Value::batched("x", &[2])],
        outputs: vec![Value::batched("y", &[3])],
        ..Graph::new(17)
    };
    for (name, tensor) in [
        ("s", Tensor::scalar_f32(0.5)),
        ("z", ints(DataType::Uint8, &[], &[0])),
        ("wq", ints(DataType::Int8, &[2, 3], &[1, 2, 255, 4, 5, 6])),
        ("ws", Tensor::f32(&[2], &[0.5, 2.0])),
    ] {
        graph.initializers.insert(name.to_owned(), tensor);
    }
    let bytes = encode(&graph.to_model(usize::MAX).0).unwrap();
    Model::decode(bytes.into(), "quantised.onnx".as_ref()).unwrap()
}

#[test]
fn stored_integers_become_floats_and_pairs_on_data_the_bounds_of_their_numbers() {
    let Dequantised {
        model,
        tensors,
        clips,
    } = dequantised(&model()).unwrap();
    assert_eq!((tensors, clips), (1, 2));
    let graph = Graph::from_model(&model).unwrap();
    let operators: Vec<&str> = graph.nodes.iter().map(|n| n.op_type.as_str()).collect();
    assert_eq!(operators, ["Clip", "MatMul", "Clip"]);
    let floats = |name: &str| graph.initializers[name].to_f32().unwrap();
    assert_eq!(floats("w"), [0.5, 1.0, -0.5, 8.0, 10.0, 12.0]);
    assert_eq!(graph.outputs[0].name, "y");
    let bounds: Vec<f32> = graph.nodes[2].inputs[1..]
        .iter()
        .flat_map(|n| floats(n))
        .collect();
    assert_eq!(bounds, [0.0, 127.5]);
    assert_eq!(graph.initializers.len(), 5, "no scale is left");
}

#[test]
fn in_floats_that_round_the_names_stay_and_what_is_added_is_named() {
    let Rounding {
        model,
        constants,
        inner,
        tensors,
        pairs,
    } = rounding(&model()).unwrap();
    assert_eq!((tensors.len(), pairs, constants.len()), (1, 2, 3));
    let [w] = &tensors[..] else { unreachable!() };
    assert_eq!(w.integers().unwrap().dims, [2, 3]);
    assert_eq!((w.value.as_str(), w.stored.as_str()), ("w", "wq"));
    let graph = Graph::from_model(&model).unwrap();
    let operators: Vec<&str> = graph.nodes.iter().map(|n| n.op_type.as_str()).collect();
    let pair = ["Div", "Clip", "Round", "Sub", "Add", "Mul"];
    let expected = [&pair[..], &pair, &["MatMul"], &pair].concat();
    assert_eq!(operators, expected);
    let made: Vec<&str> = graph.nodes.iter().flat_map(|n| n.output(0)).collect();
    let own: Vec<&&str> = made.iter().filter(|name| !inner.contains(**name)).collect();
    assert_eq!(own, [&"xf", &"w", &"p", &"y"]);
    assert!(constants.iter().all(|name| inner.contains(name)));
    // One scale for each row of the weight.
    let scale = graph.nodes[6].input(1).unwrap();
    assert_eq!(graph.initializers[scale].dims, [2, 1]);
}

#[test]
fn a_pair_on_probabilities_goes_and_what_is_dequantised_twice_stays() {
    let mut graph = Graph::from_model(&model()).unwrap();
    let softmax = Node::new("softmax", "Softmax", &["p"], &["shares"]);
    graph.nodes.insert(4, softmax);
    graph.nodes[5].inputs[0] = "shares".to_owned();
    let again = Node::new("again", "DequantizeLinear", &["wq", "ws"], &["w2"]);
    graph.nodes.insert(3, again.with("axis", Attribute::Int(0)));
    graph.nodes[4].inputs[1] = "w2".to_owned();
    let model = model().with_proto(graph.to_model(usize::MAX).0);
    let rounding = rounding(&model).unwrap();
    assert!(rounding.tensors.is_empty());
    for model in [rounding.model, dequantised(&model).unwrap().model] {
        let graph = Graph::from_model(&model).unwrap();
        let last = graph.nodes.last().unwrap();
        assert_eq!(
            (last.op_type.as_str(), last.output(0)),
            ("Identity", Some("y"))
        );
        assert_eq!(last.input(0), Some("shares"));
        let w2 = graph.initializers["w2"].to_f32().unwrap();
        assert_eq!(w2, [0.5, 1.0, -0.5, 8.0, 10.0, 12.0]);
    }
}

#[test]
fn what_no_scale_is_known_of_is_refused_by_its_node() {
    let mut proto = model().proto;
    let graph = proto.graph.as_mut().unwrap();
    graph
        .initializer
        .retain(|t| t.name.as_deref() != Some("ws"));
    let model = model().with_proto(proto);
    let error = dequantised(&model).unwrap_err();
    assert!(error.is_bad_input());
    let text = error.to_string();
    assert!(
        text.contains("`w` (DequantizeLinear)") && text.contains("scale"),
        "{text}"
    );
}
