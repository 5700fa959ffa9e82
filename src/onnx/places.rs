//! Where the values of a tensor stand in a model's file.

use std::ops::Range;

use super::Model;
use super::messages::NodeProto;

impl Model {
    /// The bytes of the [file](Model::file_bytes) that are the values of a tensor of the main graph, little-endian and in
    /// row-major order: an initializer by its name, or a `Constant` by its output. Whoever has other values of as many bytes
    /// can put them there, and has the file of a model with these.
    ///
    /// `None` where the graph has no such tensor, its values are not in `raw_data` (but in a typed field, or in another file),
    /// or the model is a [changed copy](Model::with_proto), which has no file.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use ftsurgery::onnx::Model;
    /// # let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("onnx-models/fashion_mobilenet.onnx");
    /// let model = Model::open(&path)?;
    /// let place = model.place_of("classifier.bias").unwrap();
    /// assert_eq!(place.len(), 10 * size_of::<f32>());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn place_of(&self, name: &str) -> Option<Range<usize>> {
        let graph = self.graph();
        let mut initializers = graph.initializer.iter();
        let tensor = initializers.find(|tensor| tensor.name.as_deref() == Some(name));
        let constant = || {
            let makes = |node: &&NodeProto| node.output.first().is_some_and(|o| o == name);
            let node = graph.node.iter().find(makes)?;
            if node.op_type.as_deref() != Some("Constant") {
                return None;
            }
            node.attribute.iter().find_map(|value| value.t.as_ref())
        };
        let values = tensor.or_else(constant)?.raw_data.as_ref()?;
        // Messages share the bytes of what they are decoded from.
        let start = values.as_ptr().addr();
        let start = start.checked_sub(self.file_bytes().as_ptr().addr())?;
        let place = start..start.checked_add(values.len())?;
        (self.file_bytes().get(place.clone())? == values).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::onnx::messages::{GraphProto, ModelProto, TensorProto};
    use crate::onnx::{Tensor, encode};

    use super::*;

    #[test]
    fn values_put_at_the_place_of_a_tensor_are_those_of_the_model() {
        let floats = |name: &str, value: f32| Tensor::f32(&[2], &[value; 2]).to_proto(name);
        let typed = TensorProto {
            raw_data: None,
            float_data: vec![1.0, 1.0],
            ..floats("typed", 0.0)
        };
        let graph = GraphProto {
            node: vec![NodeProto {
                op_type: Some("Sum".to_owned()),
                output: vec!["y".to_owned()],
                input: ["a", "b", "typed"].map(str::to_owned).to_vec(),
                ..NodeProto::default()
            }],
            initializer: vec![floats("a", 1.0), floats("b", 1.0), typed],
            ..GraphProto::default()
        };
        let proto = ModelProto {
            graph: Some(graph),
            ..ModelProto::default()
        };
        let path = Path::new("m.onnx");
        let mut file = encode(&proto).unwrap();
        let model = Model::decode(file.clone().into(), path).unwrap();
        for (value, bytes) in file[model.place_of("b").unwrap()]
            .chunks_mut(4)
            .zip([2.0f32, 3.0])
        {
            value.copy_from_slice(&bytes.to_le_bytes());
        }
        let changed = Model::decode(file.into(), path).unwrap();
        let mut expected = proto.clone();
        expected.graph.as_mut().unwrap().initializer[1] =
            Tensor::f32(&[2], &[2.0, 3.0]).to_proto("b");
        assert_eq!(encode(&changed.proto).unwrap(), encode(&expected).unwrap());
        for nowhere in ["typed", "c"] {
            assert_eq!(model.place_of(nowhere), None, "{nowhere}");
        }
        assert_eq!(model.with_proto(proto).place_of("b"), None);
    }
}
