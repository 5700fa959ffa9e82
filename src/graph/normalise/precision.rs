//! Graphs in float16 or double become float32, the one type that gradients are computed in.

use crate::graph::{Attribute, Graph, GraphError};
use crate::onnx::{DataType, Tensor};

/// Makes every float16 and double value of a normalised graph float32: initializers, tensors in
/// attributes, the targets of `Cast`, inputs and outputs. What a `Cast` to float16 would round is
/// then not rounded.
///
/// # Errors
/// When something is bfloat16, which onnxruntime does not compute with on a processor; names the
/// initializer, value or node. The graph is then unusable.
pub fn to_float32(graph: &mut Graph) -> Result<(), GraphError> {
    for (name, tensor) in &mut graph.initializers {
        if let Some(changed) = widened(tensor, || format!("initializer `{name}`"))? {
            *tensor = changed;
        }
    }
    for value in graph.inputs.iter_mut().chain(&mut graph.outputs) {
        if needs_change(value.dtype, || format!("`{}`", value.name))? {
            value.dtype = DataType::Float;
        }
    }
    for node in &mut graph.nodes {
        let named = node.to_string();
        let cast = node.is("Cast");
        for (name, attribute) in &mut node.attributes {
            match attribute {
                Attribute::Tensor(tensor) => {
                    if let Some(changed) = widened(tensor, || format!("node {named}"))? {
                        *tensor = changed;
                    }
                }
                Attribute::Int(number) if cast && name == "to" => {
                    let to = i32::try_from(*number).ok().and_then(DataType::from_number);
                    if let Some(dtype) = to
                        && needs_change(dtype, || format!("node {named}"))?
                    {
                        *number = DataType::Float as i64;
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn widened(tensor: &Tensor, what: impl Fn() -> String) -> Result<Option<Tensor>, GraphError> {
    if !needs_change(tensor.dtype, what)? {
        return Ok(None);
    }
    Ok(tensor
        .to_f32()
        .map(|values| Tensor::f32(&tensor.dims, &values)))
}

fn needs_change(dtype: DataType, what: impl Fn() -> String) -> Result<bool, GraphError> {
    match dtype {
        DataType::Float16 | DataType::Double => Ok(true),
        DataType::Bfloat16 => Err(GraphError::Unsupported(format!(
            "{} is bfloat16, which is not supported; float32, float16 and double are",
            what()
        ))),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Node, Value};

    fn graph(dtype: DataType) -> Graph {
        let weight = Tensor {
            dtype,
            dims: vec![2],
            data: vec![0; 2 * dtype.size()].into(),
        };
        let weight = weight.with_f32_values(&[0.5, -2.0]).unwrap();
        let cast = Node::new("c", "Cast", &["x"], &["y"]).with("to", dtype as i64);
        let fill = Node::new("f", "ConstantOfShape", &["n"], &["z"]).with("value", weight.clone());
        Graph {
            opset: 21,
            domains: vec![],
            nodes: vec![cast, fill],
            inputs: vec![Value::fixed("x", dtype, &[2])],
            outputs: vec![Value::fixed("y", dtype, &[2])],
            initializers: [
                ("w".to_owned(), weight),
                ("n".to_owned(), Tensor::i64s(&[1])),
            ]
            .into(),
        }
    }

    #[test]
    fn narrow_and_wide_floats_become_float32_with_their_values() {
        for dtype in [DataType::Float16, DataType::Double] {
            let mut graph = graph(dtype);
            to_float32(&mut graph).unwrap();
            let expected = Tensor::f32(&[2], &[0.5, -2.0]);
            assert_eq!(graph.initializers["w"], expected);
            assert_eq!(graph.initializers["n"], Tensor::i64s(&[1]));
            assert_eq!(graph.nodes[0].int("to", 0).unwrap(), 1);
            assert_eq!(graph.nodes[1].attributes["value"], expected.into());
            assert_eq!(graph.inputs[0].dtype, DataType::Float);
            assert_eq!(graph.outputs[0].dtype, DataType::Float);
        }
    }

    #[test]
    fn bfloat16_is_refused_by_name() {
        let error = to_float32(&mut graph(DataType::Bfloat16)).unwrap_err();
        assert!(error.to_string().contains("`w` is bfloat16"), "{error}");
    }
}
