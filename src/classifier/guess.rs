//! What a model gives away of how it wants its pixels, where its metadata do not say.

use crate::data::{ChannelOrder, Preprocess};
use crate::graph::{Attribute, Graph, Node};
use crate::layout::Layout;
use crate::onnx::{DataType, Model, Tensor};

/// How a model itself says that it wants its pixels, but for the order of colours where [`Sign::order`] is `None`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sign {
    /// How they are scaled.
    pub preprocess: Preprocess,
    /// The order of the colours, where it says that, too.
    pub order: Option<ChannelOrder>,
    /// What says so: a clause.
    pub because: String,
}

/// What a model says: by the type of its input, by the range that it declares, by the tool that its metadata name, or by
/// the first steps of its graph, where these make one known range of another.
pub(super) fn sign(model: &Model, graph: &Graph, input: &str) -> Option<Sign> {
    let order = declared_order(model);
    let of = |preprocess: Preprocess, because: String| Sign {
        preprocess: match order {
            Some(ChannelOrder::Bgr) => preprocess.swapped(),
            _ => preprocess,
        },
        order,
        because,
    };
    let declared = graph.inputs.iter().find(|v| v.name == input)?;
    if matches!(declared.dtype, DataType::Uint8 | DataType::Int32) {
        let because = "its input is of integers".to_owned();
        return Some(of(Preprocess::RAW, because));
    }
    if let Some((preprocess, because)) = declared_range(model) {
        return Some(of(preprocess, because));
    }
    if let Some(sign) = of_ultralytics(model) {
        return Some(sign);
    }
    let (preprocess, because) = Scaling::of(graph, input)?.wanted()?;
    Some(of(preprocess, because))
}

/// Ways of scaling pixels that are likelier than the default, and what speaks for them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Likely {
    /// Names of presets: `` `signed` or `caffe` ``.
    pub presets: &'static str,
    /// Why: a clause.
    pub because: String,
}

/// What is likelier for a model than the default, where nothing [says](sign) how it is.
pub(super) fn likely(model: &Model, graph: &Graph, input: &str, layout: Layout) -> Option<Likely> {
    let scaling = Scaling::of(graph, input);
    if let Some(scaling) = scaling.filter(|s| !s.node.is("BatchNormalization")) {
        return Some(Likely {
            presets: "`unit` (0 to 1)",
            because: scaling.because(),
        });
    }
    let producer = model.proto.producer_name.as_deref().unwrap_or_default();
    let name = producer.to_ascii_lowercase();
    let because = if ["tf2onnx", "keras", "tensorflow"]
        .iter()
        .any(|p| name.contains(p))
    {
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
}

/// What ONNX's own metadata of image inputs say of their range.
/// Source: `docs/MetadataProps.md` of the ONNX repository.
fn declared_range(model: &Model) -> Option<(Preprocess, String)> {
    const RANGE: &str = "Image.NominalPixelRange";
    let range = model.metadata(RANGE)?;
    let preprocess = match range {
        "NominalRange_0_255" => Preprocess::RAW,
        "Normalized_0_1" => Preprocess::UNIT,
        "Normalized_1_1" => Preprocess::SIGNED,
        _ => return None,
    };
    Some((
        preprocess,
        format!("its metadata say `{RANGE}` is `{range}`"),
    ))
}

/// What Ultralytics' metadata come to, which say nothing of pixels: its classifiers are all fed the same.
/// Source: `classify_transforms` of its `data/augment.py`, which took ImageNet's mean before 8.1.
fn of_ultralytics(model: &Model) -> Option<Sign> {
    let mut version = model.metadata("version")?.split('.').map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (version.next(), version.next()) else {
        return None;
    };
    let says = |key: &str, value: &str| model.metadata(key) == Some(value);
    let is_known = says("author", "Ultralytics") && says("task", "classify");
    (is_known && (major, minor) >= (8, 1)).then(|| Sign {
        preprocess: Preprocess::UNIT,
        order: Some(ChannelOrder::Rgb),
        because: "its metadata say that Ultralytics wrote it, whose classifiers want that"
            .to_owned(),
    })
}

/// As [`declared_range`], of the order of colours.
fn declared_order(model: &Model) -> Option<ChannelOrder> {
    match model.metadata("Image.BitmapPixelFormat")? {
        "Bgr8" | "Bgra8" => Some(ChannelOrder::Bgr),
        "Rgb8" | "Rgba8" => Some(ChannelOrder::Rgb),
        _ => None,
    }
}

/// The first steps of a graph, as far as each multiplies its input by constants or adds some, one number or one per
/// channel: together `x * factor[c] + shift[c]`.
struct Scaling<'g> {
    /// The first of these nodes.
    node: &'g Node,
    /// Its numbers.
    constant: Vec<f32>,
    factor: [f64; CHANNELS],
    shift: [f64; CHANNELS],
}

const CHANNELS: usize = 3;

impl<'g> Scaling<'g> {
    fn of(graph: &'g Graph, input: &str) -> Option<Self> {
        let mut value = input;
        let mut found: Option<Self> = None;
        // A graph has no circles.
        while let Some(node) = only_reader(graph, value) {
            if !keeps_scale(node) {
                let Some((constant, factor, shift)) = step(graph, node, value) else {
                    break;
                };
                let all = found.get_or_insert(Scaling {
                    node,
                    constant,
                    factor: [1.0; CHANNELS],
                    shift: [0.0; CHANNELS],
                });
                for c in 0..CHANNELS {
                    all.shift[c] = all.shift[c] * factor[c] + shift[c];
                    all.factor[c] *= factor[c];
                }
            }
            let Some(output) = node.output(0) else { break };
            value = output;
        }
        found
    }

    /// The preset that pixels are to be scaled by before these steps: one of which they make another, else pixels as
    /// they are, where the first step's numbers are of bytes.
    fn wanted(&self) -> Option<(Preprocess, String)> {
        let presets = Preprocess::PRESETS.iter().filter_map(|p| p.parse().ok());
        let known: Vec<Preprocess> = presets
            .clone()
            .chain(presets.clone().map(|p: Preprocess| p.swapped()))
            .collect();
        let makes_known = |from: &Preprocess| {
            let own = affine(from);
            let made: [_; CHANNELS] = std::array::from_fn(|c| {
                let (factor, shift) = own[c];
                (
                    factor * self.factor[c],
                    shift * self.factor[c] + self.shift[c],
                )
            });
            let mut others = known.iter().map(affine).filter(|to| *to != own);
            others.any(|to| are_close(&made, &to))
        };
        let mut first = [Preprocess::RAW, Preprocess::UNIT, Preprocess::SIGNED].into_iter();
        let found = first.find(makes_known);
        let found = found.or_else(|| self.is_of_bytes().then_some(Preprocess::RAW))?;
        Some((found, self.because()))
    }

    fn is_of_bytes(&self) -> bool {
        let largest = self.constant.iter().fold(0f32, |top, v| top.max(v.abs()));
        match self.node.op_type.as_str() {
            "Mul" => largest < 0.1,
            "Div" | "BatchNormalization" => largest > 10.0,
            "Sub" | "Add" => largest > 2.0,
            _ => false,
        }
    }

    fn because(&self) -> String {
        let numbers: Vec<String> = self.constant.iter().map(f32::to_string).collect();
        format!(
            "it begins by scaling its input itself, in node {} with {}",
            self.node,
            numbers.join(", ")
        )
    }
}

/// Whether a node moves, crops, pads or resizes what it reads, which may be scaled before or behind it alike.
fn keeps_scale(node: &Node) -> bool {
    let resizes = node.is("Resize") || node.is("Upsample");
    node.elements().is_rearrangement() || node.is("Pad") || node.is("Slice") || resizes
}

/// The one node that reads a value, besides those that read its shape.
fn only_reader<'g>(graph: &'g Graph, value: &str) -> Option<&'g Node> {
    let reads = |n: &&Node| !n.is("Shape") && n.inputs.iter().any(|i| i == value);
    let mut readers = graph.nodes.iter().filter(reads);
    readers.next().filter(|_| readers.next().is_none())
}

type Step = (Vec<f32>, [f64; CHANNELS], [f64; CHANNELS]);

/// The numbers of a node that scales or shifts `value`, and the factor and shift that they make of each channel.
fn step(graph: &Graph, node: &Node, value: &str) -> Option<Step> {
    let numbers = |name: Option<&str>| {
        let numbers = constant(graph, name?)?.to_f32()?;
        // One, or one per channel.
        let fits = matches!(numbers.len(), 1 | CHANNELS) && numbers.iter().all(|v| v.is_finite());
        fits.then_some(numbers)
    };
    let spread = |numbers: &[f32]| -> [f64; CHANNELS] {
        std::array::from_fn(|c| f64::from(numbers[c % numbers.len()]))
    };
    const ONE: [f64; CHANNELS] = [1.0; CHANNELS];
    const ZERO: [f64; CHANNELS] = [0.0; CHANNELS];
    if node.is("BatchNormalization") {
        let [scale, shift, mean, var] = [1, 2, 3, 4].map(|i| numbers(node.input(i)));
        let (scale, shift, mean, var) = (scale?, shift?, mean?, var?);
        let epsilon = f64::from(node.float("epsilon", 1e-5).ok()?);
        let [scale, shift, centre, var] = [&scale, &shift, &mean, &var].map(|n| spread(n));
        let factor: [f64; CHANNELS] = std::array::from_fn(|c| scale[c] / (var[c] + epsilon).sqrt());
        let shift = std::array::from_fn(|c| shift[c] - centre[c] * factor[c]);
        return Some((mean, factor, shift));
    }
    let is_first = node.input(0) == Some(value);
    let found = numbers(node.input(usize::from(is_first)))?;
    let each = spread(&found);
    let (factor, shift) = match node.op_type.as_str() {
        "Mul" => (each, ZERO),
        "Div" if is_first && each.iter().all(|&v| v != 0.0) => (each.map(f64::recip), ZERO),
        "Add" => (ONE, each),
        "Sub" if is_first => (ONE, each.map(|v| -v)),
        _ => return None,
    };
    Some((found, factor, shift))
}

/// Factor and shift of each channel, of a pixel of 0 to 255.
fn affine(preprocess: &Preprocess) -> [(f64, f64); CHANNELS] {
    let Preprocess {
        scale, mean, std, ..
    } = preprocess;
    let [scale, mean, std] = [&[*scale; 3], mean, std].map(|v| v.map(f64::from));
    std::array::from_fn(|c| (scale[c] / std[c], -mean[c] / std[c]))
}

/// Whether two ways of scaling differ by less than a fiftieth of their range.
fn are_close(one: &[(f64, f64)], other: &[(f64, f64)]) -> bool {
    one.iter().zip(other).all(|(a, b)| {
        let range = 255.0 * b.0;
        (255.0 * (a.0 - b.0)).abs() < range / 50.0 && (a.1 - b.1).abs() < range / 50.0
    })
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

    /// A graph that begins with these steps, behind a `Transpose` and a `Cast`.
    fn graph(steps: &[(&str, &[f32])]) -> Graph {
        let mut graph = Graph {
            inputs: vec![Value::batched("image", &[8, 8, 3])],
            ..Graph::new(17)
        };
        let mut b = Builder::new(&mut graph);
        let perm = vec![("perm", vec![0i64, 3, 1, 2].into())];
        let x = b.op("turn", "Transpose", &["image"], perm);
        let mut x = b.op("cast", "Cast", &[&x], vec![("to", 1i64.into())]);
        for (i, (op, constant)) in steps.iter().enumerate() {
            let dims: &[usize] = match constant.len() {
                1 => &[],
                _ => &[3, 1, 1],
            };
            let c = b.constant(Tensor::f32(dims, constant));
            x = b.op(&format!("step{i}"), op, &[&x, &c], vec![]);
        }
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

    fn signed_by(graph: &Graph) -> Option<Sign> {
        let (_folder, model) = written(graph.to_model(usize::MAX).0);
        sign(&model, graph, "image")
    }

    #[test]
    fn a_graph_that_scales_its_input_itself_wants_what_it_makes_a_known_range_of() {
        let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        let unit = 1.0 / 255.0;
        for (steps, preset) in [
            (&[("Mul", &[unit][..])][..], "raw"),
            (&[("Mul", &[1.0 / 127.5])], "raw"),
            (&[("Div", &[255.0])], "raw"),
            (&[("Sub", &[103.9, 116.8, 123.7])], "raw"),
            (&[("Add", &[-127.5])], "raw"),
            (&[("Sub", &[127.5]), ("Div", &[128.0])], "raw"),
            (&[("Mul", &[unit]), ("Sub", &mean), ("Div", &std)], "raw"),
            (&[("Sub", &mean), ("Div", &std)], "unit"),
            (&[("Mul", &[2.0]), ("Sub", &[1.0])], "unit"),
            (&[("Mul", &[255.0])], "unit"),
            (&[("Add", &[1.0]), ("Mul", &[127.5])], "signed"),
            (&[("Mul", &[0.5]), ("Add", &[0.5])], "signed"),
        ] {
            let found = signed_by(&graph(steps)).unwrap();
            assert_eq!(found.preprocess.to_string(), preset, "{steps:?}: {found:?}");
            assert!(found.because.contains("`step0`"), "{found:?}");
        }
        // Keras' `Resizing` before its `Rescaling`.
        let mut resized = graph(&[("Mul", &[unit])]);
        let scale = resized
            .nodes
            .iter_mut()
            .find(|n| n.name == "step0")
            .unwrap();
        let read = std::mem::replace(&mut scale.inputs[0], "resized".to_owned());
        let resize = Node::new("resize", "Resize", &[&read, "", "", "sizes"], &["resized"]);
        resized.nodes.insert(2, resize);
        assert_eq!(signed_by(&resized).unwrap().preprocess, Preprocess::RAW);
        // The shape of the input is read by many exporters' graphs.
        let mut shaped = graph(&[("Div", &[255.0])]);
        Builder::new(&mut shaped).op("sizes", "Shape", &["image"], vec![]);
        assert!(signed_by(&shaped).is_some());
        // Numbers that make nothing known of anything are no more than a hint.
        let odd = graph(&[("Mul", &[2.0])]);
        assert_eq!(signed_by(&odd), None);
        let (_folder, model) = written(odd.to_model(usize::MAX).0);
        let found = likely(&model, &odd, "image", Layout::Nhwc).unwrap();
        assert!(found.presets.contains("`unit`"), "{found:?}");
    }

    #[test]
    fn a_normalisation_of_bytes_in_front_is_a_sign_and_one_of_nothing_is_none() {
        for (mean, var, preset) in [(120.0, 3600.0, Some("raw")), (0.0, 1.0, None)] {
            let mut graph = graph(&[]);
            let mut b = Builder::new(&mut graph);
            let of = |b: &mut Builder, v: f32| b.constant(Tensor::f32(&[3], &[v; 3]));
            let inputs = [1.0, 0.0, mean, var].map(|v| of(&mut b, v));
            let inputs: Vec<&str> = ["cast"]
                .into_iter()
                .chain(inputs.iter().map(String::as_str))
                .collect();
            b.op("norm", "BatchNormalization", &inputs, vec![]);
            let reader = graph.nodes.iter_mut().find(|n| n.name == "mean").unwrap();
            reader.inputs[0] = "norm".to_owned();
            let found = signed_by(&graph).map(|sign| sign.preprocess.to_string());
            assert_eq!(found.as_deref(), preset);
        }
    }

    #[test]
    fn an_input_of_bytes_wants_them_as_they_are() {
        let mut graph = graph(&[]);
        graph.inputs[0].dtype = DataType::Uint8;
        let found = signed_by(&graph).unwrap();
        assert_eq!(found.preprocess, Preprocess::RAW);
        assert_eq!(found.order, None);
    }

    #[test]
    fn a_declared_range_of_pixels_is_believed_and_so_is_an_order_of_colours() {
        let graph = graph(&[("Mul", &[2.0])]);
        let mut proto = graph.to_model(usize::MAX).0;
        set_metadata(&mut proto, "Image.NominalPixelRange", "NominalRange_0_255");
        let (_folder, model) = written(proto.clone());
        let found = sign(&model, &graph, "image").unwrap();
        assert_eq!((found.preprocess, found.order), (Preprocess::RAW, None));
        set_metadata(&mut proto, "Image.BitmapPixelFormat", "Bgr8");
        let (_folder, model) = written(proto);
        let found = sign(&model, &graph, "image").unwrap();
        assert_eq!(found.preprocess.to_string(), "raw-bgr");
    }

    #[test]
    fn a_classifier_of_ultralytics_wants_what_all_of_them_are_fed() {
        for (task, version, preset) in [
            ("classify", "8.4.190", Some("unit")),
            ("classify", "8.0.40", None),
            ("classify", "new", None),
            ("detect", "8.4.190", None),
        ] {
            let graph = graph(&[]);
            let mut proto = graph.to_model(usize::MAX).0;
            for (key, value) in [
                ("author", "Ultralytics"),
                ("task", task),
                ("version", version),
            ] {
                set_metadata(&mut proto, key, value);
            }
            let (_folder, model) = written(proto);
            let found = sign(&model, &graph, "image").map(|s| s.preprocess.to_string());
            assert_eq!(found.as_deref(), preset, "{task} {version}");
        }
    }

    #[test]
    fn keras_and_tensorflow_are_known_by_layout_and_by_name() {
        let graph = graph(&[]);
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
