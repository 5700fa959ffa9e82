use super::super::super::edit::Editor;
use super::super::super::testing::*;
use super::super::tests::{emitted, grafted, others, output, plain};
use super::*;
use crate::analysis::nets::{self, Net};
use crate::graph::{Attribute, Value};
use crate::surgery::rewrite::{Rewrite, Rewritten};

/// The small classifier with a residual block of 1 × 1 behind the first convolution, and one of two whose shortcut is
/// computed.
fn residual() -> Graph {
    let mut graph = plain();
    let at = graph.nodes.iter().position(|n| n.name == "pool").unwrap();
    let node = |name: &str, op: &str, inputs: &[&str]| Node::new(name, op, inputs, &[name]);
    graph.nodes[at].inputs[0] = "projected".to_owned();
    graph.nodes.splice(
        at..at,
        [
            node("inner", "Conv", &["map", "inner.weight"]),
            node("sum", "Add", &["inner", "map"]),
            node("sum/relu", "Relu", &["sum"]),
            node("one", "Conv", &["sum/relu", "one.weight"]),
            node("one/relu", "Relu", &["one"]),
            node("two", "Conv", &["one/relu", "two.weight"]),
            node("shortcut", "Conv", &["sum/relu", "shortcut.weight"]),
            node("projected", "Add", &["two", "shortcut"]),
        ],
    );
    for (seed, name) in ["inner", "one", "two", "shortcut"].iter().enumerate() {
        let tensor = weight(&[4, 4, 1, 1], 12 + seed);
        graph.initializers.insert(format!("{name}.weight"), tensor);
    }
    graph
}

fn gateable(graph: &Graph) -> Vec<GateableBlock> {
    SpotTune::gateable(&grafted(graph).model, &[]).unwrap()
}

/// A choice of all residual blocks.
fn spottune(graph: &Graph, policy: Policy) -> SpotTune {
    let blocks = gateable(graph);
    let picture = PolicyInput {
        value: "x".to_owned(),
        rank: 4,
        channels: 3,
        channels_last: false,
    };
    SpotTune {
        reads: match policy {
            Policy::Conv => picture,
            Policy::Features => blocks[0].from.clone(),
        },
        blocks: blocks.iter().map(|b| b.gated(&b.to.0)).collect(),
        policy,
        width: 3,
        start: GateStart::Half,
        seed: 3,
    }
}

fn applied(graph: &Graph, policy: Policy) -> (Rewrite, Rewritten) {
    let rewrite = Rewrite::SpotTune(spottune(graph, policy));
    let rewritten = rewrite.apply(&grafted(graph)).unwrap();
    (rewrite, rewritten)
}

/// Begin, end and weights of the blocks that are found.
fn ends(graph: &Graph) -> Vec<(String, String, String)> {
    let blocks = gateable(graph).into_iter();
    let ends = blocks.map(|b| (b.from.value, b.to.0, b.weights.join(" ")));
    ends.collect()
}

fn block(from: &str, to: &str, weights: &str) -> (String, String, String) {
    (from.to_owned(), to.to_owned(), weights.to_owned())
}

/// Bias of the logits of the tuned blocks.
fn bias(values: &[f32]) -> (String, Vec<f32>) {
    (
        "ftsurgery/spottune/policy/tuned/bias".to_owned(),
        values.to_vec(),
    )
}

#[test]
fn a_residual_block_is_what_is_added_back_and_with_a_computed_shortcut_all_up_to_the_sum() {
    assert_eq!(
        ends(&residual()),
        [
            block("map", "inner", "inner.weight"),
            block(
                "sum/relu",
                "projected",
                "one.weight two.weight shortcut.weight"
            ),
        ]
    );
    // Before an activation in front (pre-activation), with squeeze and excitation, and none.
    let pre = ends(&nets::resnet_v2());
    let own = "c1.w c1/bn.scale c1/bn.shift c2.w c2.b shortcut.w shortcut.b";
    assert_eq!(pre, [block("pre/relu", "add", own)]);
    let excited = "dw.w dw/bn.scale dw/bn.shift se/conv.w se/conv.b project.w project/bn.scale project/bn.shift";
    let ends_of = ends(&nets::mobilenet());
    assert_eq!(ends_of, [block("stem/bn/relu", "project/bn", excited)]);
    assert_eq!(ends(&nets::vgg()), []);
}

#[test]
fn a_sum_inside_of_a_block_is_part_of_it_and_a_skip_around_several_blocks_is_none() {
    let mut n = Net::new(["N", "3", "8", "8"]);
    let mut x = n.conv("stem", "x", [4, 3, 3, 3]);
    let stem = n.relu(&x);
    for block in ["a", "b"] {
        let before = x;
        let one = n.conv(&format!("{block}1"), &before, [4, 4, 1, 1]);
        let two = n.conv(&format!("{block}2"), &before, [4, 4, 3, 3]);
        let both = n.op(&format!("{block}/both"), "Add", &[&one, &two], &[]);
        let last = n.conv(&format!("{block}3"), &both, [4, 4, 1, 1]);
        x = n.op(&format!("{block}/sum"), "Add", &[&last, &before], &[]);
    }
    x = n.op("around", "Add", &[&x, &stem], &[]);
    x = n.op("gap", "GlobalAveragePool", &[&x], &[]);
    x = n.op("flat", "Flatten", &[&x], &[]);
    x = n.gemm("fc", &x, 4, 5);
    let found = ends(&n.output(&x));
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(a, b, _)| (a.as_str(), b.as_str()))
        .collect();
    assert_eq!(found, [("stem", "a3"), ("a/sum", "b3")]);
}

#[test]
fn what_something_else_reads_the_inside_of_is_no_block() {
    let mut graph = residual();
    let side = Node::new("side", "GlobalAveragePool", &["one/relu"], &["side"]);
    graph.nodes.push(side);
    graph.outputs.push(value("side", &[0, 4, 1, 1]));
    assert_eq!(ends(&graph), [block("map", "inner", "inner.weight")]);
}

#[test]
fn where_there_is_no_residual_block_the_analyser_divides_the_network() {
    let names = |list: &[&str]| -> BlockNodes { list.iter().map(|&n| n.to_owned()).collect() };
    let graph = nets::vgg();
    let divided = [
        names(&["conv1", "conv2"]),
        names(&["conv3"]),
        names(&["conv9"]),
    ];
    let found = SpotTune::gateable(&grafted(&graph).model, &divided).unwrap();
    let ends: Vec<(&str, &str, usize)> = found
        .iter()
        .map(|b| (b.from.value.as_str(), b.to.0.as_str(), b.place.unwrap()))
        .collect();
    assert_eq!(ends, [("x", "conv2", 0), ("pool1", "conv3", 1)]);
    // Of branches those that end for themselves.
    let graph = nets::squeezenet();
    let divided = [names(&["expand1"]), names(&["squeeze", "expand3"])];
    let found = SpotTune::gateable(&grafted(&graph).model, &divided).unwrap();
    let found: Vec<&str> = found.iter().map(|b| b.to.0.as_str()).collect();
    assert_eq!(
        found,
        ["expand1"],
        "what reads `squeeze` has another weight"
    );
}

#[test]
fn with_no_block_chosen_the_network_is_what_it_was_and_with_all_that_with_tuned_blocks_in_place() {
    let graph = residual();
    for policy in [Policy::Conv, Policy::Features] {
        let (rewrite, rewritten) = applied(&graph, policy);
        let before = output(&grafted(&graph).model, &[]);
        let blocks = gateable(&graph);
        let tuned: Vec<String> = blocks.iter().flat_map(|b| b.tuned.clone()).collect();
        assert_close(&output(&rewritten.model, &[]), &before);
        let mut values = others(&rewritten.model, &tuned, 4);
        values.push(bias(&[-9.0; 2]));
        assert_eq!(output(&rewritten.model, &values), before);
        values.pop();
        let weights = blocks.iter().flat_map(|b| &b.weights).zip(&values);
        let in_place: Vec<_> = weights.map(|(w, (_, v))| (w.clone(), v.clone())).collect();
        let expected = output(&grafted(&graph).model, &in_place);
        assert_ne!(expected, before);
        values.push(bias(&[9.0; 2]));
        assert_close(&output(&rewritten.model, &values), &expected);
        assert_close(
            &output(&emitted(&rewrite, &grafted(&graph), &values), &[]),
            &expected,
        );
        // One block alone.
        values.pop();
        values.push(bias(&[-9.0, 9.0]));
        let expected = output(&grafted(&graph).model, &in_place[1..]);
        assert_close(&output(&rewritten.model, &values), &expected);
    }
}

#[test]
fn a_tensor_that_blocks_share_has_a_copy_in_each() {
    let mut graph = residual();
    let bias = weight(&[4], 20);
    graph.initializers.insert("bias".to_owned(), bias);
    for node in graph
        .nodes
        .iter_mut()
        .filter(|n| ["inner", "two"].contains(&n.name.as_str()))
    {
        node.inputs.push("bias".to_owned());
    }
    let found = gateable(&graph);
    let shares = |block: &GateableBlock| block.weights.contains(&"bias".to_owned());
    assert!(found.len() == 2 && found.iter().all(shares));
    let (rewrite, rewritten) = applied(&graph, Policy::Features);
    let copies = rewritten
        .parameters
        .iter()
        .filter(|p| p.ends_with("/copy/bias"));
    assert_eq!(copies.count(), 2);
    let tuned = others(&rewritten.model, &rewritten.parameters, 2);
    let written = emitted(&rewrite, &grafted(&graph), &tuned);
    assert_close(&output(&written, &[]), &output(&rewritten.model, &tuned));
}

/// Some values of an image, as many as it has there.
fn of(model: &Model, values: &str, count: usize, image: usize) -> Vec<f32> {
    let mut editor = Editor::new(model).unwrap();
    editor
        .set_outputs(&[Value::batched(values, &[count])])
        .unwrap();
    let x = numbers(2 * 3 * 64, 5);
    let one = &x[image * 192..][..192];
    run(&editor.finish().unwrap().proto, &[(&[1, 3, 8, 8], one)]).remove(0)
}

#[test]
fn two_images_of_a_batch_take_different_blocks_each_as_it_does_alone() {
    for policy in [Policy::Conv, Policy::Features] {
        let graph = residual();
        let (rewrite, rewritten) = applied(&graph, policy);
        let mut tuned = others(&rewritten.model, &rewritten.parameters, 2);
        // The thresholds between the two images, and the second the other way round.
        let logits = |tuned: &[(String, Vec<f32>)], image| {
            let written = emitted(&rewrite, &grafted(&graph), tuned);
            of(&written, "ftsurgery/spottune/policy/ahead", 2, image)
        };
        let (first, second) = (logits(&tuned, 0), logits(&tuned, 1));
        let place = tuned
            .iter()
            .position(|(name, _)| *name == bias(&[]).0)
            .unwrap();
        for block in 0..2 {
            assert!(
                (first[block] - second[block]).abs() > 1e-4,
                "{first:?} {second:?}"
            );
            tuned[place].1[block] -= (first[block] + second[block]) / 2.0;
        }
        let (first, second) = (logits(&tuned, 0), logits(&tuned, 1));
        for (a, b) in first.iter().zip(&second) {
            assert!(a * b < 0.0, "{first:?} {second:?}");
        }
        let written = emitted(&rewrite, &grafted(&graph), &tuned);
        let both = output(&written, &[]);
        let alone = [0, 1]
            .map(|image| of(&written, "probabilities", 3, image))
            .concat();
        assert_close(&both, &alone);
        assert_close(&output(&rewritten.model, &tuned), &both);
    }
}

#[test]
fn what_leaves_has_the_original_and_choices_without_noise() {
    for opset in [8, 17] {
        let graph = Graph {
            opset,
            ..residual()
        };
        let rewrite = Rewrite::SpotTune(spottune(&graph, Policy::Conv));
        let grafted = grafted(&graph);
        let rewritten = rewrite.apply(&grafted).unwrap();
        assert_eq!(rewritten.noise.len(), 2);
        assert_eq!(rewritten.constants.len(), 2);
        let tuned = others(&rewritten.model, &rewritten.parameters, 2);
        let written = emitted(&rewrite, &grafted, &tuned);
        assert_close(&output(&written, &[]), &output(&rewritten.model, &tuned));
        let read = Graph::from_model(&written).unwrap();
        let makes = |name: &str| {
            read.nodes
                .iter()
                .any(|n| n.outputs.iter().any(|o| o == name))
        };
        assert!(!makes("ftsurgery/spottune/inner/jump"));
        assert!(
            !read
                .initializers
                .keys()
                .any(|name| name.ends_with("/noise"))
        );
        assert!(graph.nodes.iter().all(|n| makes(&n.outputs[0])));
        for (name, tensor) in &graph.initializers {
            assert_eq!(read.initializers[name], *tensor, "{name}");
        }
        let chooses = read.nodes.iter().filter(|n| n.is("Where")).count();
        assert_eq!(chooses, if opset > 8 { 2 } else { 0 });
    }
}

/// Patches of an image as tokens, a block of normalisation and two dense layers, one of a weight that is turned over first,
/// and the mean of the tokens.
fn tokens() -> Graph {
    let mut n = Net::new(["N", "3", "8", "8"]);
    let shape = n.ints("shape", &[0, 4, 16]);
    let mut x = n.bare_conv("patches", "x", [4, 3, 1, 1]);
    x = n.op("flat", "Reshape", &[&x, &shape], &[]);
    let tokens = n.op("tokens", "Transpose", &[&x], &[("perm", &[0, 2, 1])]);
    for (name, dims) in [
        ("ln.scale", &[4][..]),
        ("ln.shift", &[4]),
        ("out.w", &[4, 6]),
    ] {
        n.weight(name, dims);
    }
    x = n.op(
        "ln",
        "LayerNormalization",
        &[&tokens, "ln.scale", "ln.shift"],
        &[],
    );
    x = n.dense("in", &x, 4, 6);
    x = n.op("act", "Sigmoid", &[&x], &[]);
    n.op("turned", "Transpose", &["out.w"], &[("perm", &[1, 0])]);
    x = n.op("out", "MatMul", &[&x, "turned"], &[]);
    x = n.op("sum", "Add", &[&tokens, &x], &[]);
    x = n.op("back", "Transpose", &[&x], &[("perm", &[0, 2, 1])]);
    x = n.op("mean", "GlobalAveragePool", &[&x], &[]);
    let two = n.ints("two", &[0, 4]);
    x = n.op("row", "Reshape", &[&x, &two], &[]);
    x = n.gemm("fc", &x, 4, 3);
    let mut graph = n.output(&x);
    let names: Vec<String> = graph.initializers.keys().cloned().collect();
    for (seed, name) in names.iter().enumerate().filter(|(_, n)| n.contains('.')) {
        let dims = graph.initializers[name].dims.clone();
        graph.initializers.insert(name.clone(), weight(&dims, seed));
    }
    let patches = graph.nodes.iter_mut().find(|n| n.name == "flat").unwrap();
    patches.inputs[0] = "pooled".to_owned();
    let window = Attribute::Ints(vec![2, 2]);
    let pool = Node::new("pooled", "AveragePool", &["patches"], &["pooled"]);
    let pool = pool
        .with("kernel_shape", window.clone())
        .with("strides", window);
    graph.nodes.insert(1, pool);
    graph
}

#[test]
fn blocks_of_tokens_are_copied_with_what_brings_their_weights_into_form() {
    let graph = tokens();
    let own = "ln.scale ln.shift in.w in.b out.w";
    assert_eq!(ends(&graph), [block("tokens", "out", own)]);
    let reads = gateable(&graph).remove(0).from;
    assert_eq!(
        (reads.rank, reads.channels, reads.channels_last),
        (3, 4, true)
    );
    let (rewrite, rewritten) = applied(&graph, Policy::Features);
    let before = output(&grafted(&graph).model, &[]);
    let mut tuned = others(&rewritten.model, &gateable(&graph)[0].tuned, 4);
    let in_place: Vec<_> = own
        .split(' ')
        .zip(&tuned)
        .map(|(name, (_, values))| (name.to_owned(), values.clone()))
        .collect();
    let expected = output(&grafted(&graph).model, &in_place);
    tuned.push(bias(&[-9.0]));
    assert_close(&output(&rewritten.model, &tuned), &before);
    tuned.pop();
    tuned.push(bias(&[9.0]));
    assert_close(&output(&rewritten.model, &tuned), &expected);
    assert_close(
        &output(&emitted(&rewrite, &grafted(&graph), &tuned), &[]),
        &expected,
    );
    assert_ne!(expected, before);
}

#[test]
fn what_cannot_be_gated_is_told_by_what_it_makes() {
    let graph = residual();
    let refused = |graph: &Graph, change: &dyn Fn(&mut SpotTune)| {
        let mut spottune = spottune(&residual(), Policy::Conv);
        change(&mut spottune);
        let error = Rewrite::SpotTune(spottune).apply(&grafted(graph));
        error.unwrap_err().to_string()
    };
    let other = refused(&graph, &|s| {
        s.blocks.swap(0, 1);
        s.blocks[0].from = "two".to_owned();
    });
    assert!(
        other.contains("`projected`") && other.contains("leads from `two`"),
        "{other}"
    );
    let twice = refused(&graph, &|s| s.blocks[1] = s.blocks[0].clone());
    assert!(twice.contains("share a node"), "{twice}");
    let old = Graph { opset: 6, ..graph };
    assert!(refused(&old, &|_| ()).contains("operator set 7"));
}

#[test]
fn training_begins_at_the_tuned_form_of_the_blocks_or_at_half_of_them() {
    let begins = |start: GateStart| {
        let rewrite = Rewrite::SpotTune(SpotTune {
            start,
            ..spottune(&residual(), Policy::Features)
        });
        let rewritten = rewrite.apply(&grafted(&residual())).unwrap();
        let graph = Graph::from_model(&rewritten.model).unwrap();
        ["frozen", "tuned"].map(|of| {
            let bias = &graph.initializers[&format!("ftsurgery/spottune/policy/{of}/bias")];
            bias.to_f32().unwrap()
        })
    };
    assert_eq!(begins(GateStart::Half), [[0.0; 2]; 2]);
    assert_eq!(begins(GateStart::Tuned), [[0.0; 2], [2.0; 2]]);
}
