use super::super::super::edit::Editor;
use super::super::super::testing::*;
use super::super::tests::{emitted, grafted, others, output, plain};
use super::*;
use crate::graph::{Attribute, Value};
use crate::surgery::rewrite::{Number, Rewrite, Rewritten};

const WIDTH: usize = 5;

/// The small classifier with a second convolution, of 1 × 1 and without a bias, behind the first.
pub(super) fn two() -> Graph {
    let mut graph = plain();
    let at = graph.nodes.iter().position(|n| n.name == "pool").unwrap();
    let second = Node::new("second", "Conv", &["map", "second.weight"], &["second"]);
    let relu = Node::new("relu", "Relu", &["second"], &["relu"]);
    graph.nodes[at].inputs[0] = "relu".to_owned();
    graph.nodes.splice(at..at, [second, relu]);
    let tensor = weight(&[4, 4, 1, 1], 12);
    graph
        .initializers
        .insert("second.weight".to_owned(), tensor);
    graph
}

pub(super) fn adafilter(gate: FilterGate) -> AdaFilter {
    AdaFilter {
        weights: ["conv.weight", "second.weight"].map(str::to_owned).to_vec(),
        gate,
        start: GateStart::Half,
        width: WIDTH,
        share: None,
        seed: 3,
        dependent: None,
    }
}

fn applied(gate: FilterGate) -> (Rewrite, Rewritten) {
    let rewrite = Rewrite::AdaFilter(adafilter(gate));
    let rewritten = rewrite.apply(&grafted(&two())).unwrap();
    (rewrite, rewritten)
}

fn tuned() -> Vec<String> {
    let gateable = AdaFilter::gateable(&grafted(&two()).model).unwrap();
    let weights: Vec<&str> = gateable.iter().map(|g| g.weight.as_str()).collect();
    assert_eq!(weights, ["conv.weight", "second.weight"]);
    assert_eq!(gateable[0].tuned.len(), 4, "weight, bias, scale, shift");
    assert_eq!(gateable[1].tuned.len(), 1);
    for of in &gateable {
        let mut stand_for = of.tuned.iter().map(|t| Rewrite::stands_for(t));
        assert!(stand_for.all(|weight| weight == Some(&of.weight)));
    }
    gateable.into_iter().flat_map(|g| g.tuned).collect()
}

/// Values of the first image, as many as the output has for it.
pub(super) fn of(model: &Model, values: &str, count: usize, image: usize) -> Vec<f32> {
    let mut editor = Editor::new(model).unwrap();
    editor
        .set_outputs(&[Value::batched(values, &[count])])
        .unwrap();
    let x = numbers(2 * 3 * 64, 5);
    let one = &x[image * 192..][..192];
    run(&editor.finish().unwrap().proto, &[(&[1, 3, 8, 8], one)]).remove(0)
}

#[test]
fn without_open_gates_the_network_is_what_it_was_whatever_was_tuned() {
    let (_, rewritten) = applied(FilterGate::Zeros);
    assert_eq!(rewritten.parameters, tuned());
    let others = others(&rewritten.model, &tuned(), 4);
    let before = output(&grafted(&two()).model, &[]);
    assert_eq!(output(&rewritten.model, &others), before);
}

#[test]
fn with_all_gates_open_it_is_the_network_with_the_tuned_layers_in_place() {
    let (rewrite, rewritten) = applied(FilterGate::Ones);
    let before = output(&grafted(&two()).model, &[]);
    assert_close(&output(&rewritten.model, &[]), &before);
    let tuned = others(&rewritten.model, &tuned(), 4);
    let originals = [
        "conv.weight",
        "conv.bias",
        "bn.scale",
        "bn.bias",
        "second.weight",
    ];
    let in_place = originals.iter().zip(&tuned);
    let in_place: Vec<_> = in_place
        .map(|(name, (_, v))| ((*name).to_owned(), v.clone()))
        .collect();
    let expected = output(&grafted(&two()).model, &in_place);
    assert_ne!(expected, before);
    assert_close(&output(&rewritten.model, &tuned), &expected);
    let written = emitted(&rewrite, &grafted(&two()), &tuned);
    assert_close(&output(&written, &[]), &expected);
}

#[test]
fn gates_are_those_of_an_lstm_over_the_layers() {
    let (_, rewritten) = applied(FilterGate::Learned);
    let values = others(&rewritten.model, &rewritten.parameters, 2);
    let mut editor = Editor::new(&rewritten.model).unwrap();
    for (name, values) in &values {
        editor.set_values(name, values).unwrap();
    }
    let model = decode(&editor.finish().unwrap().proto);
    let given = |name: &str| -> &Vec<f32> {
        &values
            .iter()
            .find(|(n, _)| n == name)
            .unwrap_or_else(|| panic!("{name}"))
            .1
    };
    let product = |of: &str, by: &str, x: &[f64]| -> Vec<f64> {
        let weight = given(&format!("{of}/{by}"));
        let sum = |row: &[f32]| row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum();
        weight.chunks(x.len()).map(sum).collect()
    };
    let plus = |a: Vec<f64>, bias: &[f32]| -> Vec<f64> {
        a.iter().zip(bias).map(|(a, b)| a + f64::from(*b)).collect()
    };
    let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
    for image in 0..2 {
        let x = numbers(2 * 3 * 64, 5);
        let mean = |v: &[f32]| v.iter().map(|&v| f64::from(v)).sum::<f64>() / v.len() as f64;
        let of_image: Vec<f64> = x[image * 192..][..192].chunks(64).map(mean).collect();
        let map: Vec<f64> = of(&model, "map", 256, image).chunks(64).map(mean).collect();
        let (mut hidden, mut cell) = (vec![0.0; WIDTH], vec![0.0; WIDTH]);
        for (weight, pooled) in [("conv.weight", of_image), ("second.weight", map)] {
            let layer = |part: &str| name(weight, part);
            let told = product(&layer("project"), "weight", &pooled);
            let told = plus(told, given(&layer("project/bias")));
            let sums = product("ftsurgery/adafilter-lstm", "weight", &told);
            let before = product("ftsurgery/adafilter-lstm", "recurrence", &hidden);
            let sums: Vec<f64> = sums.iter().zip(before).map(|(a, b)| a + b).collect();
            let sums = plus(sums, given("ftsurgery/adafilter-lstm/bias"));
            // As ONNX's LSTM has them.
            let [input, output, forget, new] =
                [0, 1, 2, 3].map(|part| &sums[part * WIDTH..][..WIDTH]);
            for i in 0..WIDTH {
                cell[i] = sigmoid(forget[i]) * cell[i] + sigmoid(input[i]) * new[i].tanh();
            }
            let squashed = output
                .iter()
                .zip(&cell)
                .map(|(o, c)| sigmoid(*o) * c.tanh());
            hidden = squashed.collect();
            let logits = product(&layer("logits"), "weight", &hidden);
            let logits = plus(logits, given(&layer("logits/bias")));
            let expected: Vec<f32> = logits.iter().map(|&l| sigmoid(l) as f32).collect();
            assert_close(&of(&model, &layer("soft"), 4, image), &expected);
            let expected: Vec<f32> = logits
                .iter()
                .map(|&l| f32::from(u8::from(l > 0.0)))
                .collect();
            assert_eq!(of(&model, &AdaFilter::gates_of(weight), 4, image), expected);
        }
    }
}

#[test]
fn two_images_of_a_batch_take_different_filters_each_as_it_does_alone() {
    let (rewrite, rewritten) = applied(FilterGate::Learned);
    let mut tuned = others(&rewritten.model, &rewritten.parameters, 2);
    // The threshold of each gate of the last layer between these two images.
    let bias = name("second.weight", "logits/bias");
    let place = tuned.iter().position(|(name, _)| *name == bias).unwrap();
    let logits = {
        let written = emitted(&rewrite, &grafted(&two()), &tuned);
        [0, 1].map(|image| of(&written, &name("second.weight", "logits"), 4, image))
    };
    for (channel, bias) in tuned[place].1.iter_mut().enumerate() {
        *bias -= (logits[0][channel] + logits[1][channel]) / 2.0;
    }
    let written = emitted(&rewrite, &grafted(&two()), &tuned);
    let open = |image| {
        let soft = |weight: &str| of(&written, &name(weight, "soft"), 4, image);
        let both = [soft("conv.weight"), soft("second.weight")].concat();
        both.into_iter().map(|s| s > 0.5).collect::<Vec<bool>>()
    };
    let (first, second) = (open(0), open(1));
    let differ = first.iter().zip(&second).filter(|(a, b)| a != b);
    assert!(differ.count() >= 4, "{first:?} {second:?}");
    let both = output(&written, &[]);
    let alone = [0, 1]
        .map(|image| of(&written, "probabilities", 3, image))
        .concat();
    assert_close(&both, &alone);
    assert_close(&output(&rewritten.model, &tuned), &both);
}

#[test]
fn what_leaves_has_the_original_and_gates_without_what_only_training_needs() {
    for opset in [8, 17] {
        let graph = Graph { opset, ..two() };
        let rewrite = Rewrite::AdaFilter(AdaFilter {
            share: Some(TunedShare {
                target: Number(0.5),
                weight: Number(1.0),
            }),
            ..adafilter(FilterGate::Learned)
        });
        let grafted = grafted(&graph);
        let rewritten = rewrite.apply(&grafted).unwrap();
        assert_eq!(
            rewritten.penalties[0].value,
            "ftsurgery/adafilter-share/square"
        );
        assert_eq!(rewritten.constants.len(), 2);
        let tuned = others(&rewritten.model, &rewritten.parameters, 2);
        let written = emitted(&rewrite, &grafted, &tuned);
        assert_close(&output(&written, &[]), &output(&rewritten.model, &tuned));
        let values: Vec<&str> = written
            .graph()
            .node
            .iter()
            .flat_map(|n| &n.output)
            .map(String::as_str)
            .collect();
        for part in ["jump", "straight", "share"] {
            assert!(
                !values.contains(&name("conv.weight", part).as_str()),
                "{part}"
            );
        }
        for node in &graph.nodes {
            assert!(values.contains(&node.outputs[0].as_str()), "{node:?}");
        }
        let chooses = |n: &crate::onnx::messages::NodeProto| n.op_type() == "Where";
        assert_eq!(written.graph().node.iter().any(chooses), opset > 8);
    }
}

#[test]
fn a_layer_alone_has_no_recurrence_and_groups_and_depth_keep_their_form() {
    let mut graph = two();
    let grouped = graph.nodes.iter().position(|n| n.name == "second").unwrap();
    graph.nodes[grouped] = graph.nodes[grouped].clone().with("group", 4);
    let tensor = weight(&[4, 1, 1, 1], 12);
    graph
        .initializers
        .insert("second.weight".to_owned(), tensor);
    let alone = AdaFilter {
        weights: vec!["second.weight".to_owned()],
        ..adafilter(FilterGate::Learned)
    };
    let grafted = grafted(&graph);
    let rewrite = Rewrite::AdaFilter(alone.clone());
    let rewritten = rewrite.apply(&grafted).unwrap();
    let mut parameters = rewritten.parameters.clone();
    parameters.retain(|p| !p.ends_with("second.weight/weight"));
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(parameters), sorted(alone.gate_parameters()));
    assert!(
        !rewritten
            .parameters
            .iter()
            .any(|p| p.contains("recurrence") || p.contains("forget"))
    );
    let read = Graph::from_model(&rewritten.model).unwrap();
    let project = &read.initializers[&name("second.weight", "project/weight")];
    assert_eq!(project.dims, [WIDTH, 4], "of all groups");
    let copy = read
        .nodes
        .iter()
        .find(|n| n.name == name("second.weight", "conv"));
    assert_eq!(copy.unwrap().attributes["group"], Attribute::Int(4));
    let tuned = others(&rewritten.model, &rewritten.parameters, 2);
    let written = emitted(&rewrite, &grafted, &tuned);
    assert_close(&output(&written, &[]), &output(&rewritten.model, &tuned));
}

#[test]
fn what_cannot_be_gated_is_told_by_its_weight() {
    let refused = |graph: &Graph, weight: &str| {
        let rewrite = Rewrite::AdaFilter(AdaFilter {
            weights: vec![weight.to_owned()],
            ..adafilter(FilterGate::Learned)
        });
        rewrite.apply(&grafted(graph)).unwrap_err().to_string()
    };
    assert!(refused(&two(), "fc.weight").contains("fc.weight"));
    assert!(refused(&two(), "none").contains("no float tensor"));
    let old = Graph { opset: 6, ..two() };
    assert!(refused(&old, "conv.weight").contains("operator set 7"));
}

#[test]
fn names_of_what_all_layers_share_are_those_of_no_layer() {
    let mut graph = two();
    for (old, new) in [("conv.weight", "lstm"), ("second.weight", "share")] {
        let tensor = graph.initializers.shift_remove(old).unwrap();
        graph.initializers.insert(new.to_owned(), tensor);
        graph.replace_uses(old, new);
    }
    let rewrite = Rewrite::AdaFilter(AdaFilter {
        weights: ["lstm", "share"].map(str::to_owned).to_vec(),
        share: Some(TunedShare {
            target: Number(0.5),
            weight: Number(1.0),
        }),
        ..adafilter(FilterGate::Learned)
    });
    let rewritten = rewrite.apply(&grafted(&graph)).unwrap();
    let mut names = rewritten.added;
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for parameter in &rewritten.parameters {
        let stands_for = Rewrite::stands_for(parameter);
        let is_shared = parameter.starts_with("ftsurgery/adafilter-");
        assert_eq!(stands_for.is_none(), is_shared, "{parameter}");
    }
}
