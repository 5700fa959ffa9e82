mod shapes;

use super::nets::{self, Net};
use super::*;
use crate::graph::Dim;
use crate::layout::Layout;
use crate::onnx::Tensor;

fn analyse(graph: &Graph) -> Analysis {
    Analysis::of_graph(graph, &[], &AnalyzeOptions::default()).unwrap()
}

fn with(graph: &Graph, delimiters: &str) -> Analysis {
    let options = AnalyzeOptions {
        delimiters: delimiters.parse().unwrap(),
        ..AnalyzeOptions::default()
    };
    Analysis::of_graph(graph, &[], &options).unwrap()
}

fn blocks(analysis: &Analysis) -> Vec<String> {
    let line = |b: &Block| format!("{}: {}", b.name, analysis.layer_names(b).join(" "));
    analysis.blocks.iter().map(line).collect()
}

fn parameters<'a>(analysis: &'a Analysis, layer: &str) -> Vec<&'a str> {
    let layer = analysis.weighted.iter().find(|w| w.name == layer).unwrap();
    layer.parameters.iter().map(String::as_str).collect()
}

fn assert_sums_agree(a: &Analysis) {
    let of_blocks: usize = a.blocks.iter().map(|b| b.parameters).sum();
    let of_weighted: usize = a.weighted.iter().map(|w| w.elements).sum();
    assert_eq!(of_blocks, a.totals.parameters);
    let loose = a.blocks.iter().flat_map(|b| &b.tensors);
    let of_no_layer: usize = loose.map(|name| a.elements[name]).sum();
    assert_eq!(of_weighted + of_no_layer, a.totals.parameters);
    for (i, block) in a.blocks.iter().enumerate() {
        let rows = a.layers.iter().filter(|l| l.block == i);
        assert_eq!(rows.map(|l| l.parameters).sum::<usize>(), block.parameters);
    }
    let shares: f64 = a.blocks.iter().map(|b| b.share).sum();
    assert!((shares - 1.0).abs() < 1e-9);
}

#[test]
fn the_blocks_of_a_network_with_pooling_stages_are_its_stages() {
    let a = analyse(&nets::vgg());
    assert_eq!(a.delimiters, [Delimiter::Pool]);
    let expected = [
        "block1: conv1 conv2",
        "block2: conv3",
        "block3: conv4",
        "classifier: fc1 fc2",
    ];
    assert_eq!(blocks(&a), expected);
    let backbone = a.backbone().unwrap();
    assert_eq!(backbone.features, "pool3");
    assert_eq!((backbone.channels, backbone.height), (8, Some(2)));
    assert_sums_agree(&a);
}

#[test]
fn a_flattening_to_a_computed_shape_ends_the_backbone() {
    let a = analyse(&nets::tf2onnx_vgg(["N", "16", "16", "3"]));
    let expected = [
        "block1: conv0",
        "block2: conv1",
        "block3: conv2",
        "classifier: fc1 fc2",
    ];
    assert_eq!(blocks(&a), expected);
    let backbone = a.backbone().unwrap();
    assert_eq!(backbone.features, "pool2");
    assert_eq!((backbone.channels, backbone.height), (8, Some(2)));
    assert_eq!(backbone.layout, Layout::Nchw);
    assert_eq!(backbone.input.layout, Layout::Nhwc);
    assert_eq!(a.warnings, [""; 0]);
    let row = |name: &str| a.layers.iter().find(|l| l.name == name).unwrap();
    let batch = Dim::Symbolic("N".to_owned());
    let shape = row("flat").output_shape.as_ref().unwrap();
    assert_eq!(shape, &[batch, Dim::Known(32)]);
    assert_eq!(row("fc1").macs, Some(32 * 6));
    assert!(a.layers.iter().all(|l| l.output_shape.is_some()));
}

#[test]
fn a_flattening_to_a_computed_shape_is_found_at_an_open_image_size() {
    let a = analyse(&nets::tf2onnx_vgg(["N", "H", "W", "3"]));
    assert_eq!(a.backbone().unwrap().features, "pool2");
    assert_eq!(a.blocks.len(), 4);
    assert!(a.warnings.iter().any(|w| w.contains("--image-size")));
}

#[test]
fn a_normalisation_written_out_belongs_to_a_layer_but_the_scaling_of_pixels_to_none() {
    let a = analyse(&nets::tf2onnx_vgg(["N", "16", "16", "3"]));
    assert_eq!(parameters(&a, "fc1"), ["fc1.w", "fc1.b"]);
    let mut found = parameters(&a, "fc2");
    found.sort_unstable();
    assert_eq!(found, ["fc2.b", "fc2.w", "gain.c", "offset.c"]);
    assert_eq!(parameters(&a, "conv0"), ["conv0.w", "conv0.b"]);
    assert_sums_agree(&a);
}

#[test]
fn a_bias_behind_a_product_belongs_to_it_however_the_weight_is_written() {
    let (mut n, x) = tokens();
    let weight = n.weight("up.w", &[6, 4]);
    let turned = n.op("turned", "Transpose", &[&weight], &[("perm", &[1, 0])]);
    let mut x = n.op("up", "MatMul", &[&x, &turned], &[]);
    let bias = n.weight("up.b", &[6]);
    x = n.op("up/add", "Add", &[&bias, &x], &[]);
    let scale = n.weight("up.scale", &[6]);
    x = n.op("up/scale", "Mul", &[&x, &scale], &[]);
    let places = n.weight("places", &[8, 6]);
    x = n.op("placed", "Add", &[&x, &places], &[]);
    x = n.op("flat", "Flatten", &[&x], &[]);
    x = n.gemm("fc", &x, 48, 5);
    let a = analyse(&n.output(&x));
    assert_eq!(parameters(&a, "up"), ["up.w", "up.b", "up.scale"]);
    assert_eq!(a.blocks[0].tensors, ["places"]);
    assert_sums_agree(&a);
}

#[test]
fn delimiters_can_be_chosen() {
    let a = with(&nets::vgg(), "activation");
    assert_eq!(a.blocks.len(), 5);
    let a = with(&nets::mobilenet(), "pool");
    assert_eq!(blocks(&a)[0], "block1: stem dw se/conv project");
    let a = with(&nets::mobilenet(), "norm,activation");
    assert_eq!(a.delimiters, [Delimiter::Activation, Delimiter::Norm]);
    assert!("pool,auto".parse::<Delimiters>().is_err());
}

#[test]
fn squeeze_and_excitation_pools_end_no_backbone() {
    let a = analyse(&nets::mobilenet());
    assert_eq!(a.backbone().unwrap().features, "add");
    assert_eq!(a.delimiters, [Delimiter::Activation]);
    let expected = [
        "block1: stem",
        "block2: dw",
        "block3: se/conv",
        "block4: project",
        "classifier: logits",
    ];
    assert_eq!(blocks(&a), expected);
    assert_eq!(parameters(&a, "dw"), ["dw.w", "dw/bn.scale", "dw/bn.shift"]);
    assert_eq!(a.totals.buffers, 3 * 8);
    assert_sums_agree(&a);
}

#[test]
fn pre_activation_norms_belong_to_the_next_layer_and_the_last_to_the_one_before() {
    let a = analyse(&nets::resnet_v2());
    assert_eq!(a.backbone().unwrap().features, "post/relu");
    assert_eq!(
        parameters(&a, "c1"),
        [
            "pre.scale",
            "pre.shift",
            "c1.w",
            "c1/bn.scale",
            "c1/bn.shift"
        ]
    );
    assert_eq!(parameters(&a, "stem"), ["stem.w", "stem.b"]);
    assert_eq!(
        parameters(&a, "shortcut"),
        ["shortcut.w", "shortcut.b", "post.scale", "post.shift"]
    );
    assert_eq!(a.weighted[1].nodes[0], a.weighted[1].node);
    assert_eq!(
        blocks(&a),
        [
            "block1: stem",
            "block2: c1",
            "block3: c2 shortcut",
            "classifier: fc"
        ]
    );
    assert_sums_agree(&a);
}

#[test]
fn a_convolution_before_the_last_pooling_is_the_classifier() {
    let a = analyse(&nets::squeezenet());
    assert_eq!(a.backbone().unwrap().features, "concat");
    assert_eq!(blocks(&a).last().unwrap(), "classifier: conv10");
    assert_eq!(a.backbone_layers().len(), 4);
    assert_sums_agree(&a);
}

#[test]
fn features_of_channels_last_models_are_found_before_the_transpose() {
    let a = analyse(&nets::keras());
    let backbone = a.backbone().unwrap();
    assert_eq!(backbone.features, "conv2/relu");
    assert_eq!(
        (backbone.layout, backbone.channels, backbone.input.layout),
        (Layout::Nchw, 6, Layout::Nhwc)
    );
    assert_eq!(parameters(&a, "dense"), ["dense.w", "dense.b"]);
    assert_sums_agree(&a);
}

#[test]
fn a_feature_map_may_be_named() {
    let of = |value: &str| {
        let options = AnalyzeOptions {
            features: Some(value.to_owned()),
            ..AnalyzeOptions::default()
        };
        Analysis::of_graph(&nets::mobilenet(), &[], &options)
    };
    let a = of("stem/bn").unwrap();
    assert_eq!(a.backbone_layers().len(), 1);
    assert_sums_agree(&a);
    let vector = of("squeeze").unwrap();
    let backbone = vector.backbone().unwrap();
    assert_eq!((backbone.height, backbone.width), (Some(1), Some(1)));
    for (value, reason) in [("se/conv", "passes it by"), ("nowhere", "defines")] {
        let error = of(value).unwrap_err();
        assert!(error.is_bad_input());
        assert!(error.to_string().contains(reason), "{error}");
    }
}

/// Patches of an image mixed as tokens, [N, 8, 4].
fn tokens() -> (nets::Net, String) {
    let mut n = Net::new(["N", "3", "4", "4"]);
    let mut x = n.conv("patches", "x", [8, 3, 1, 1]);
    let shape = n.ints("shape", &[0, 8, 16]);
    x = n.op("tokens", "Reshape", &[&x, &shape], &[]);
    let weight = n.weight("mix.w", &[16, 4]);
    x = n.op("mix", "MatMul", &[&x, &weight], &[]);
    (n, x)
}

#[test]
fn a_network_of_tokens_ends_with_the_vector_that_its_last_layer_reads() {
    let (mut n, mut x) = tokens();
    x = n.op("flat", "Flatten", &[&x], &[]);
    x = n.op("dropped", "Dropout", &[&x], &[]);
    x = n.gemm("fc", &x, 32, 5);
    let a = analyse(&n.output(&x));
    let backbone = a.backbone().unwrap();
    assert_eq!(
        (backbone.features.as_str(), backbone.channels),
        ("flat", 32)
    );
    assert_eq!((backbone.height, backbone.width), (Some(1), Some(1)));
    assert_eq!(blocks(&a), ["block1: patches mix", "classifier: fc"]);
    assert!(a.warnings.is_empty(), "{:?}", a.warnings);
    let (mut n, x) = tokens();
    let x = n.op("flat", "Flatten", &[&x], &[]);
    let options = AnalyzeOptions {
        features: Some("tokens".to_owned()),
        ..AnalyzeOptions::default()
    };
    let error = Analysis::of_graph(&n.output(&x), &[], &options).unwrap_err();
    assert!(error.to_string().contains("rank is 3"), "{error}");
}

#[test]
fn a_model_without_a_feature_map_is_analysed_with_its_last_layer_as_classifier() {
    let (mut n, mut x) = tokens();
    x = n.dense("fc", &x, 4, 5);
    x = n.op("mean", "ReduceMean", &[&x], &[("axes", &[1])]);
    let a = analyse(&n.output(&x));
    let error = a.backbone().unwrap_err();
    assert!(error.to_string().contains("--head keep"), "{error}");
    assert_eq!(blocks(&a), ["block1: patches mix", "classifier: fc"]);
    assert!(a.warnings.iter().any(|w| w.contains("--features")));
}

#[test]
fn a_network_of_tokens_without_a_classifier_ends_with_its_output() {
    let of = |width: usize, softmax: bool| {
        let (mut n, mut x) = tokens();
        x = n.dense("mlp", &x, 4, width);
        x = n.op("token", "ReduceMean", &[&x], &[("axes", &[1])]);
        x = n.op("vector", "Flatten", &[&x], &[]);
        if softmax {
            x = n.op("shares", "Softmax", &[&x], &[]);
        }
        analyse(&n.output(&x))
    };
    let a = of(16, false);
    let backbone = a.backbone().unwrap();
    assert_eq!(
        (backbone.features.as_str(), backbone.channels),
        ("vector", 16)
    );
    assert!(backbone.is_whole);
    assert_eq!(blocks(&a), ["block1: patches mix mlp"]);
    // A classifier of each token, by a number of classes that is no width of a layer, or by a softmax.
    for (width, softmax) in [(5, false), (1000, false), (16, true)] {
        of(width, softmax).backbone().unwrap_err();
    }
}

#[test]
fn of_two_classifiers_of_two_tokens_a_new_head_reads_what_the_first_or_the_named_one_does() {
    // A distilled transformer: the mean of what both give.
    let (mut n, x) = tokens();
    let of = |n: &mut Net, name: &str, index: i64| {
        let place = n.ints(&format!("{name}.i"), &[index]);
        let mut token = n.op(&format!("{name}.t"), "Gather", &[&x, &place], &[]);
        n.graph
            .nodes
            .last_mut()
            .unwrap()
            .attributes
            .insert("axis".into(), 1i64.into());
        let axes = n.ints(&format!("{name}.a"), &[1]);
        token = n.op(&format!("{name}.s"), "Squeeze", &[&token, &axes], &[]);
        n.gemm(name, &token, 4, 5)
    };
    let (one, other) = (of(&mut n, "head", 0), of(&mut n, "head_dist", 1));
    let sum = n.op("sum", "Add", &[&one, &other], &[]);
    let model = n.output(&sum);
    let a = analyse(&model);
    let backbone = a.backbone().unwrap();
    assert_eq!(
        (backbone.features.as_str(), backbone.channels),
        ("head.s", 4)
    );
    let doubt = backbone.doubt.as_deref().unwrap();
    assert!(doubt.contains("`head` (Gemm) and `head_dist`"), "{doubt}");
    assert!(doubt.contains("--features 'head_dist.s'"), "{doubt}");
    let replaced = a.weighted.iter().filter(|l| l.in_classifier);
    let replaced = Vec::from_iter(replaced.map(|l| l.name.as_str()));
    assert_eq!(replaced, ["head", "head_dist"]);
    for (features, is_taken) in [("head_dist.s", true), ("head_dist.t", false)] {
        let options = AnalyzeOptions {
            features: Some(features.to_owned()),
            ..AnalyzeOptions::default()
        };
        let found = Analysis::of_graph(&model, &[], &options);
        let found = found.and_then(|a| Ok(a.backbone().cloned()?));
        assert_eq!(
            found.is_ok_and(|b| b.features == features),
            is_taken,
            "{features}"
        );
    }
}

#[test]
fn why_no_feature_is_found_is_told() {
    let mut n = Net::new(["N", "3", "8", "8"]);
    let mut x = n.conv("conv", "x", [8, 3, 3, 3]);
    x = n.op("erfc", "Erfc", &[&x], &[]);
    x = n.op("flat", "Flatten", &[&x], &[]);
    x = n.gemm("fc", &x, 512, 5);
    let error = analyse(&n.output(&x)).backbone().unwrap_err();
    assert!(error.to_string().contains("`erfc` (Erfc)"), "{error}");
}

#[test]
fn work_and_memory_are_those_of_one_image() {
    let a = analyse(&nets::mobilenet());
    let row = |name: &str| a.layers.iter().find(|l| l.name == name).unwrap();
    assert_eq!(row("stem").macs, Some(4 * 8 * 8 * 3 * 9));
    assert_eq!(row("dw").macs, Some(4 * 8 * 8 * 9));
    assert_eq!(row("stem").activation_bytes, Some(4 * 8 * 8 * 4));
    let symbolic = Dim::Symbolic("N".to_owned());
    assert_eq!(row("gap").output_shape.as_ref().unwrap()[0], symbolic);
    let a = analyse(&nets::keras());
    let row = |name: &str| a.layers.iter().find(|l| l.name == name).unwrap();
    assert_eq!(row("dense").macs, Some(6 * 5));
}

#[test]
fn a_shared_weight_counts_once() {
    let mut n = Net::new(["N", "4", "4", "4"]);
    let mut x = n.bare_conv("first", "x", [4, 4, 3, 3]);
    x = n.op("second", "Conv", &[&x, "first.w"], &[("pads", &[1; 4])]);
    x = n.op("gap", "GlobalAveragePool", &[&x], &[]);
    x = n.op("flat", "Flatten", &[&x], &[]);
    x = n.gemm("fc", &x, 4, 5);
    let a = analyse(&n.output(&x));
    assert_eq!(a.totals.parameters, 4 * 4 * 9 + 25);
    assert_eq!(parameters(&a, "second"), ["first.w"]);
    assert_sums_agree(&a);
}

#[test]
fn weights_in_constant_nodes_count() {
    let mut graph = nets::vgg();
    let expected = analyse(&graph).totals;
    for name in ["conv4.w", "fc1.w"] {
        let tensor = graph.initializers.shift_remove(name).unwrap();
        let node = crate::graph::Node::new(name, "Constant", &[], &[name]).with("value", tensor);
        graph.nodes.insert(0, node);
    }
    assert_eq!(analyse(&graph).totals, expected);
}

#[test]
fn real_models_are_analysed_without_a_warning() {
    let Some(shared) = crate::testing::shared() else {
        return;
    };
    for (file, weighted, features) in [
        ("models/mobilenet_v1.onnx", 28, "Conv2d_13_pointwise/relu6"),
        ("models/mobilenet_v2.onnx", 53, "out_relu"),
        ("models/efficientnet_lite0.onnx", 50, "head/relu6"),
        ("reference/vgg/model.onnx", 5, "/f/f.7/MaxPool_output_0"),
        ("reference/resnet_v2/model.onnx", 13, "/Relu_output_0"),
        (
            "reference/mobilenet_v3/model.onnx",
            19,
            "/f/f.4/f.4.2/HardSwish_output_0",
        ),
        ("reference/conv_zoo/model.onnx", 5, "/Elu_output_0"),
    ] {
        let model = Model::open(&shared.join(file)).unwrap();
        let a = Analysis::of(&model, &AnalyzeOptions::default()).unwrap();
        assert_eq!(a.warnings, [""; 0], "{file}");
        assert_eq!(a.totals.weighted_layers, weighted, "{file}");
        assert_eq!(a.backbone().unwrap().features, features, "{file}");
        assert!(a.layers.iter().all(|l| l.output_shape.is_some()), "{file}");
        assert_sums_agree(&a);
    }
}
