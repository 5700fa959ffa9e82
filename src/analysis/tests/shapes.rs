//! Shapes that are open, unknown or contradict each other.

use super::*;

#[test]
fn an_unknown_operator_leaves_unknown_shapes_and_no_error() {
    let mut graph = nets::vgg();
    graph.nodes[3].op_type = "Wobble".to_owned();
    graph.nodes[3].domain = "com.example".to_owned();
    let a = analyse(&graph);
    assert_eq!(a.layers[3].output_shape, None);
    assert!(a.layers[2].output_shape.is_some());
    assert_eq!(a.totals.macs, None);
    assert_eq!(a.totals.weighted_layers, 6);
    assert!(a.warnings.iter().any(|w| w.contains("conv2/relu")));
}

#[test]
fn activations_and_norms_that_tract_does_not_know_keep_the_shape() {
    for op in ["Mish", "Gelu", "Swish", "RMSNormalization"] {
        let mut graph = nets::vgg();
        graph.nodes[3].op_type = op.to_owned();
        let a = analyse(&graph);
        assert_eq!(a.warnings, [""; 0], "{op}");
        assert_eq!(a.totals, analyse(&nets::vgg()).totals, "{op}");
    }
}

#[test]
fn shapes_that_contradict_each_other_are_a_warning() {
    let mut n = Net::new(["N", "3", "8", "8"]);
    let x = n.conv("conv", "x", [4, 7, 3, 3]);
    let y = n.gemm("fc", &x, 9, 5);
    let a = analyse(&n.output(&y));
    assert!(!a.warnings.is_empty());
    assert_eq!(a.totals.weighted_layers, 2);
}

#[test]
fn a_node_that_contradicts_its_inputs_is_named_in_a_warning() {
    let mut n = Net::new(["N", "3", "8", "8"]);
    n.graph
        .nodes
        .push(crate::graph::Node::new("y", "Gemm", &["x"], &["y"]));
    let a = analyse(&n.output("y"));
    let told = |w: &String| w.contains("shapes are not known") && w.contains("`y` (Gemm)");
    assert!(a.warnings.iter().any(told), "{:?}", a.warnings);
}

#[test]
fn constants_of_any_claimed_size_take_no_memory() {
    let huge = [1 << 40, 1, 1, 1];
    for (op, inputs) in [
        ("ConstantOfShape", &["sizes"][..]),
        ("Expand", &["small", "sizes"]),
        ("Tile", &["small", "sizes"]),
        ("Range", &["zero", "many", "one"]),
        ("RandomNormalLike", &["small"]),
    ] {
        let mut n = Net::new(["N", "3", "8", "8"]);
        let scalar = Tensor::scalar_i64;
        for (name, tensor) in [
            ("sizes", Tensor::i64s(&huge)),
            ("small", Tensor::f32(&[1, 1, 1, 1], &[1.0])),
            ("zero", scalar(0)),
            ("many", scalar(1 << 40)),
            ("one", scalar(1)),
        ] {
            n.graph.initializers.insert(name.to_owned(), tensor);
        }
        let node = crate::graph::Node::new("huge", op, inputs, &["huge"]);
        n.graph.nodes.push(node);
        let add = crate::graph::Node::new("y", "Add", &["x", "huge"], &["y"]);
        n.graph.nodes.push(add);
        let a = analyse(&n.output("y"));
        assert!(!a.warnings.is_empty(), "{op}");
    }
}

#[test]
fn a_norm_of_a_vector_is_analysed() {
    let mut n = Net::new(["N", "3", "8", "8"]);
    n.graph.inputs[0].dims.as_mut().unwrap().truncate(1);
    for name in ["s", "b", "m", "v"] {
        let tensor = Tensor::f32(&[3], &[1.0; 3]);
        n.graph.initializers.insert(name.to_owned(), tensor);
    }
    let inputs = ["x", "s", "b", "m", "v"];
    let node = crate::graph::Node::new("y", "BatchNormalization", &inputs, &["y"]);
    n.graph.nodes.push(node);
    assert_eq!(analyse(&n.output("y")).totals.buffers, 6);
}

#[test]
fn an_open_number_of_channels_is_told_by_the_first_weight() {
    let mut graph = nets::vgg();
    graph.inputs[0] = Net::new(["a b", "c", "16", "16"]).graph.inputs.remove(0);
    assert_eq!(analyse(&graph).totals, analyse(&nets::vgg()).totals);
}

#[test]
fn an_open_image_size_can_be_given() {
    let mut graph = nets::mobilenet();
    graph.inputs[0] = Net::new(["N", "3", "H", "W"]).graph.inputs.remove(0);
    let open = analyse(&graph);
    assert_eq!(open.backbone().unwrap().height, None);
    assert_eq!(open.totals.macs, None);
    let options = AnalyzeOptions {
        image_size: Some((8, 8)),
        ..AnalyzeOptions::default()
    };
    let fixed = Analysis::of_graph(&graph, &[], &options).unwrap();
    assert_eq!(fixed.totals, analyse(&nets::mobilenet()).totals);
}

#[test]
fn a_batch_that_is_baked_into_the_graph_is_accepted() {
    let mut n = Net::new(["2", "3", "4", "4"]);
    let x = n.conv("conv", "x", [4, 3, 3, 3]);
    let x = n.op("gap", "GlobalAveragePool", &[&x], &[]);
    let shape = n.ints("shape", &[2, 4]);
    let x = n.op("flat", "Reshape", &[&x, &shape], &[]);
    let x = n.gemm("fc", &x, 4, 5);
    let a = analyse(&n.output(&x));
    assert_eq!(a.backbone().unwrap().features, "conv");
    assert!(a.warnings.is_empty(), "{:?}", a.warnings);
}
