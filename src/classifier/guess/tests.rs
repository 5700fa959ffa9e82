use super::*;
use crate::data::ChannelOrder;
use crate::graph::{Builder, Node, Value};
use crate::onnx::messages::ModelProto;
use crate::onnx::{Tensor, save, set_metadata};

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
        (&[("Sub", &[103.9, 116.8, 123.7])], "raw-bgr"),
        (&[("Sub", &[123.7, 116.8, 103.9])], "raw"),
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
fn colours_that_are_turned_inside_come_in_the_other_order() {
    let bgr = [103.939, 116.779, 123.68];
    let gather = |axis: i64, order: &[i64]| {
        let mut node = Node::new("turned", "Gather", &["", "order"], &["turned"]);
        node.attributes.insert("axis".to_owned(), axis.into());
        (node, vec![("order", order.to_vec())])
    };
    let slice = |axis: i64| {
        let inputs = ["", "from", "to", "axes", "steps"];
        let node = Node::new("turned", "Slice", &inputs, &["turned"]);
        let numbers = [
            ("from", -1),
            ("to", i64::MIN),
            ("axes", axis),
            ("steps", -1),
        ];
        (node, Vec::from(numbers.map(|(name, n)| (name, vec![n]))))
    };
    for ((mut turn, numbers), before, preset) in [
        // Behind the transposition the channels stand at 1, before it at 3.
        (gather(1, &[2, 1, 0]), "step0", "raw"),
        (gather(-1, &[2, 1, 0]), "turn", "raw"),
        (slice(1), "step0", "raw"),
        (slice(-1), "turn", "raw"),
        (slice(1), "mean", "raw"),
        // An image that is mirrored keeps its colours.
        (slice(3), "step0", "raw-bgr"),
        (slice(2), "turn", "raw-bgr"),
        (gather(1, &[0, 1, 2]), "step0", ""),
    ] {
        // What is shifted before it is turned has the means in the order in which it comes.
        let means = match before {
            "mean" => [bgr[2], bgr[1], bgr[0]],
            _ => bgr,
        };
        let mut graph = graph(&[("Sub", &means)]);
        let tensors = numbers
            .iter()
            .map(|(name, n)| ((*name).to_owned(), Tensor::i64s(n)));
        graph.initializers.extend(tensors);
        let at = graph.nodes.iter().position(|n| n.name == before).unwrap();
        turn.inputs[0] = std::mem::replace(&mut graph.nodes[at].inputs[0], "turned".to_owned());
        graph.nodes.insert(at, turn);
        let found = signed_by(&graph).map(|sign| sign.preprocess.to_string());
        assert_eq!(found.unwrap_or_default(), preset, "{before}");
    }
}

#[test]
fn bytes_that_are_shifted_by_means_of_other_colours_are_wanted_in_that_order() {
    for (means, order) in [
        ([103.9, 116.8, 123.7], Some(ChannelOrder::Bgr)),
        ([123.7, 116.8, 103.9], Some(ChannelOrder::Rgb)),
        ([127.5; 3], None),
    ] {
        let mut graph = graph(&[("Sub", &means)]);
        graph.inputs[0].dtype = DataType::Uint8;
        let found = signed_by(&graph).unwrap();
        assert_eq!(found.order, order, "{found:?}");
        assert_eq!(found.preprocess.order, order.unwrap_or(ChannelOrder::Rgb));
        assert_eq!(found.because.contains("`step0`"), order.is_some());
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
