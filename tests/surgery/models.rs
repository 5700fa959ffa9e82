//! Small models, made by hand.

use std::path::Path;

use ftsurgery::graph::{Value, value_to_proto};
use ftsurgery::onnx::messages::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
};
use ftsurgery::onnx::{DataType, Model, Tensor, save};

/// A node, which has the name of its first output and `/node` behind it.
pub fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let strings = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
    NodeProto {
        op_type: Some(operator.to_owned()),
        name: Some(format!("{}/node", outputs[0])),
        input: strings(inputs),
        output: strings(outputs),
        ..NodeProto::default()
    }
}

pub trait With {
    fn int(self, name: &str, value: i64) -> Self;
    fn ints(self, name: &str, values: &[i64]) -> Self;
    fn float(self, name: &str, value: f32) -> Self;
    fn tensor(self, name: &str, value: &Tensor) -> Self;
    fn graph(self, name: &str, graph: GraphProto) -> Self;
    fn domain(self, domain: &str) -> Self;
}

impl With for NodeProto {
    fn int(mut self, name: &str, value: i64) -> Self {
        self.attribute.push(AttributeProto {
            name: Some(name.to_owned()),
            r#type: Some(2),
            i: Some(value),
            ..AttributeProto::default()
        });
        self
    }

    fn ints(mut self, name: &str, values: &[i64]) -> Self {
        self.attribute.push(AttributeProto {
            name: Some(name.to_owned()),
            r#type: Some(7),
            ints: values.to_vec(),
            ..AttributeProto::default()
        });
        self
    }

    fn float(mut self, name: &str, value: f32) -> Self {
        self.attribute.push(AttributeProto {
            name: Some(name.to_owned()),
            r#type: Some(1),
            f: Some(value),
            ..AttributeProto::default()
        });
        self
    }

    fn tensor(mut self, name: &str, value: &Tensor) -> Self {
        self.attribute.push(AttributeProto {
            name: Some(name.to_owned()),
            r#type: Some(4),
            t: Some(ftsurgery::onnx::messages::TensorProto {
                name: None,
                ..value.to_proto("")
            }),
            ..AttributeProto::default()
        });
        self
    }

    fn graph(mut self, name: &str, graph: GraphProto) -> Self {
        self.attribute.push(AttributeProto {
            name: Some(name.to_owned()),
            r#type: Some(5),
            g: Some(Box::new(graph)),
            ..AttributeProto::default()
        });
        self
    }

    fn domain(mut self, domain: &str) -> Self {
        self.domain = Some(domain.to_owned());
        self
    }
}

/// A node that holds a tensor.
pub fn constant(name: &str, value: &Tensor) -> NodeProto {
    node("Constant", &[], &[name]).tensor("value", value)
}

/// A float input or output of these dimensions; 0 stands for `N`.
pub fn floats(name: &str, dims: &[usize]) -> Value {
    typed(name, DataType::Float, dims)
}

pub fn typed(name: &str, dtype: DataType, dims: &[usize]) -> Value {
    let mut value = Value::fixed(name, dtype, dims);
    for dim in value.dims.iter_mut().flatten() {
        if *dim == ftsurgery::graph::Dim::Known(0) {
            *dim = ftsurgery::graph::Dim::Symbolic("N".to_owned());
        }
    }
    value
}

/// A graph of nodes, initializers, inputs and outputs.
pub fn graph(
    nodes: &[NodeProto],
    tensors: &[(&str, Tensor)],
    inputs: &[Value],
    outputs: &[Value],
) -> GraphProto {
    GraphProto {
        name: Some("graph".to_owned()),
        node: nodes.to_vec(),
        initializer: tensors
            .iter()
            .map(|(name, tensor)| tensor.to_proto(name))
            .collect(),
        input: inputs.iter().map(value_to_proto).collect(),
        output: outputs.iter().map(value_to_proto).collect(),
        ..GraphProto::default()
    }
}

/// A model of IR 8 and opset 17.
pub fn model(graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![opset("", 17)],
        graph: Some(graph),
        ..ModelProto::default()
    }
}

pub fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    }
}

/// A function of the domain `own`, of one input `x` and one output `y`.
pub fn function(name: &str, nodes: &[NodeProto]) -> FunctionProto {
    FunctionProto {
        name: Some(name.to_owned()),
        domain: Some("own".to_owned()),
        input: vec!["x".to_owned()],
        output: vec!["y".to_owned()],
        node: nodes.to_vec(),
        opset_import: vec![opset("", 17)],
        ..FunctionProto::default()
    }
}

/// Writes it and opens it again.
pub fn opened(folder: &Path, name: &str, proto: &ModelProto) -> Model {
    let path = folder.join(name);
    save(proto, &path).unwrap();
    Model::open_in_place(&path).unwrap()
}

/// Numbers that are not all alike.
pub fn numbers(dims: &[usize]) -> Tensor {
    let count: usize = dims.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|i| ((i * 37) % 23) as f32 / 23.0 - 0.4)
        .collect();
    Tensor::f32(dims, &values)
}

/// Positive ones.
pub fn positive(dims: &[usize]) -> Tensor {
    let count: usize = dims.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|i| ((i * 31) % 17) as f32 / 17.0 + 0.3)
        .collect();
    Tensor::f32(dims, &values)
}

/// The operators of a graph's nodes, in order.
pub fn operators(graph: &GraphProto) -> Vec<&str> {
    graph.node.iter().map(|n| n.op_type()).collect()
}

/// The names of its initializers.
pub fn tensors(graph: &GraphProto) -> Vec<&str> {
    graph.initializer.iter().map(|t| t.name()).collect()
}
