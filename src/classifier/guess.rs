//! What a model gives away of how it wants its pixels, where its metadata do not say.

use crate::graph::{Attribute, Graph, Node};
use crate::layout::Layout;
use crate::onnx::{Model, Tensor};

/// Ways of scaling pixels that are likelier than the default, and the sign that speaks for them.
#[derive(Clone, Debug, PartialEq)]
pub struct Likely {
    /// Names of presets: `` `signed` or `caffe` ``.
    pub presets: &'static str,
    /// Why: a clause.
    pub because: String,
}

/// What is likelier for a model than the default. The range that it declares tells the most, then the first
/// steps of the graph: one that itself divides by 255 wants pixels as they are.
pub fn likely(model: &Model, graph: &Graph, input: &str, layout: Layout) -> Option<Likely> {
    declared(model).or_else(|| own_scaling(graph, input)).or_else(|| {
        let producer = model.proto.producer_name.as_deref().unwrap_or_default();
        let name = producer.to_ascii_lowercase();
        let because = if ["tf2onnx", "keras", "tensorflow"].iter().any(|p| name.contains(p)) {
            format!("it was made by {producer}")
        } else if layout == Layout::Nhwc {
            "its input has the channels last, as in Keras and TensorFlow".to_owned()
        } else {
            return None;
        };
        Some(Likely {
            presets: "`signed` (MobileNet, Inception, EfficientNet-Lite) or `caffe` (VGG16, ResNet50)",
            because,
        })
    })
}

/// What follows from ONNX's own metadata of image inputs.
/// Source: `docs/MetadataProps.md` of the ONNX repository.
fn declared(model: &Model) -> Option<Likely> {
    const RANGE: &str = "Image.NominalPixelRange";
    let range = model.metadata(RANGE)?;
    let presets = match range {
        "NominalRange_0_255" => "`raw` (0 to 255)",
        "Normalized_0_1" => "`unit` (0 to 1)",
        "Normalized_1_1" => "`signed` (-1 to 1)",
        _ => return None,
    };
    Some(Likely {
        presets,
        because: format!("its metadata say `{RANGE}` is `{range}`"),
    })
}

/// What follows from a first step that scales or shifts the input.
fn own_scaling(graph: &Graph, input: &str) -> Option<Likely> {
    let mut value = input;
    let node = loop {
        let mut readers = graph
            .nodes
            .iter()
            .filter(|n| n.inputs.iter().any(|i| i == value));
        let node = readers.next().filter(|_| readers.next().is_none())?;
        // As many times as there are nodes at most: a graph has no circles.
        let moves = node.elements().is_rearrangement() || node.is("Pad");
        match moves {
            true => value = node.output(0)?,
            false => break node,
        }
    };
    let other = node.inputs.iter().find(|i| *i != value)?;
    let constant = constant(graph, other)?.to_f32()?;
    // One number, or one per channel.
    if constant.is_empty() || constant.len() > 4 || !constant.iter().all(|v| v.is_finite()) {
        return None;
    }
    let largest = constant.iter().fold(0f32, |top, v| top.max(v.abs()));
    let of_bytes = match node.op_type.as_str() {
        "Mul" => largest < 0.1,
        "Div" => largest > 10.0,
        "Sub" | "Add" => largest > 2.0,
        _ => return None,
    };
    Some(Likely {
        presets: match of_bytes {
            true => "`raw` (0 to 255)",
            false => "`unit` (0 to 1)",
        },
        because: format!(
            "it begins by scaling its input itself, in {}",
            told(node, &constant)
        ),
    })
}

fn told(node: &Node, constant: &[f32]) -> String {
    let numbers: Vec<String> = constant.iter().map(f32::to_string).collect();
    format!("node {node} with {}", numbers.join(", "))
}

fn constant<'g>(graph: &'g Graph, value: &str) -> Option<&'g Tensor> {
    graph.initializers.get(value).or_else(|| {
        let makes = |n: &&Node| n.is("Constant") && n.output(0) == Some(value);
        match graph.nodes.iter().find(makes)?.attributes.get("value")? {
            Attribute::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Value};
    use crate::onnx::messages::ModelProto;
    use crate::onnx::{save, set_metadata};

    fn graph(first: &str, constant: &[f32]) -> Graph {
        let mut graph = Graph {
            inputs: vec![Value::batched("image", &[8, 8, 3])],
            ..Graph::new(17)
        };
        let mut b = Builder::new(&mut graph);
        let c = b.constant(Tensor::f32(&[constant.len()], constant));
        let perm = vec![("perm", vec![0i64, 3, 1, 2].into())];
        let x = b.op("turn", "Transpose", &["image"], perm);
        let x = match first {
            "" => x,
            first => b.op("first", first, &[&x, &c], vec![]),
        };
        let y = b.op("mean", "GlobalAveragePool", &[&x], vec![]);
        graph.outputs.push(Value::batched(&y, &[3, 1, 1]));
        graph
    }

    fn written(proto: ModelProto) -> (tempfile::TempDir, Model) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        save(&proto, &path).unwrap();
        let model = Model::open(&path).unwrap();
        (folder, model)
    }

    #[test]
    fn a_graph_that_scales_its_input_itself_wants_what_it_scales() {
        for (first, constant, preset) in [
            ("Mul", vec![1.0 / 255.0], "`raw`"),
            ("Mul", vec![1.0 / 127.5], "`raw`"),
            ("Div", vec![255.0], "`raw`"),
            ("Sub", vec![103.9, 116.8, 123.7], "`raw`"),
            ("Add", vec![-127.5], "`raw`"),
            ("Sub", vec![0.485, 0.456, 0.406], "`unit`"),
            ("Mul", vec![2.0], "`unit`"),
            ("Div", vec![0.229, 0.224, 0.225], "`unit`"),
        ] {
            let graph = graph(first, &constant);
            let (_folder, model) = written(graph.to_model(usize::MAX).0);
            let found = likely(&model, &graph, "image", Layout::Nhwc).unwrap();
            assert!(
                found.presets.contains(preset),
                "{first} {constant:?}: {found:?}"
            );
            assert!(found.because.contains("`first`"), "{found:?}");
        }
    }

    #[test]
    fn a_declared_range_of_pixels_is_believed() {
        let graph = graph("Mul", &[2.0]);
        let mut proto = graph.to_model(usize::MAX).0;
        set_metadata(&mut proto, "Image.NominalPixelRange", "NominalRange_0_255");
        let (_folder, model) = written(proto);
        let found = likely(&model, &graph, "image", Layout::Nhwc).unwrap();
        assert!(found.presets.contains("`raw`"), "{found:?}");
    }

    #[test]
    fn keras_and_tensorflow_are_known_by_layout_and_by_name() {
        let graph = graph("", &[0.0]);
        let mut proto = graph.to_model(usize::MAX).0;
        let (_folder, model) = written(proto.clone());
        let nhwc = likely(&model, &graph, "image", Layout::Nhwc).unwrap();
        assert!(nhwc.presets.contains("`signed`") && nhwc.presets.contains("`caffe`"));
        assert_eq!(likely(&model, &graph, "image", Layout::Nchw), None);
        proto.producer_name = Some("tf2onnx".to_owned());
        let (_folder, model) = written(proto);
        let named = likely(&model, &graph, "image", Layout::Nchw).unwrap();
        assert!(named.because.contains("tf2onnx"), "{named:?}");
    }
}
