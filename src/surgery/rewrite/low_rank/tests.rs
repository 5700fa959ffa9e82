use super::super::Rewrite;
use super::super::tests::{
    as_float16, chosen, emitted, grafted, low_rank, others, output, plain, reading_inside,
};
use super::*;
use crate::onnx::{DataType, Tensor};
use crate::surgery::testing::{assert_close, classifier, model, weight};

/// Weights in float16, each read through a `Cast`, in a model that computes in float32.
fn stored_as_float16() -> Graph {
    let mut graph = plain();
    for weight in ["conv.weight", "fc.weight"] {
        let tensor = &graph.initializers[weight];
        let like = Tensor {
            dtype: DataType::Float16,
            dims: tensor.dims.clone(),
            data: vec![0; tensor.len() * 2].into(),
        };
        let stored = like.with_f32_values(&tensor.to_f32().unwrap()).unwrap();
        graph.initializers.insert(weight.to_owned(), stored);
        let read = format!("{weight}/read");
        graph.replace_uses(weight, &read);
        let cast = Node::new(&read, "Cast", &[weight], &[&read]);
        let float = DataType::Float as i64;
        graph.nodes.insert(0, cast.with("to", float));
    }
    graph
}

#[test]
fn a_weight_that_is_stored_in_another_type_is_updated_in_that_in_which_it_is_read() {
    let graph = stored_as_float16();
    let grafted = grafted(&graph);
    let names = ["conv.weight", "fc.weight"];
    let found = LowRank::updatable(&grafted.model).unwrap();
    let found: Vec<&str> = found.iter().map(|u| u.weight.as_str()).collect();
    assert_eq!(found, names);
    let rewrite = Rewrite::LowRank(low_rank(&names, 2, 3));
    let rewritten = rewrite.apply(&grafted).unwrap();
    let network = Graph::from_model(&rewritten.model).unwrap();
    let types = rewritten
        .parameters
        .iter()
        .map(|p| network.initializers[p].dtype);
    assert_eq!(types.collect::<Vec<_>>(), [DataType::Float; 4]);
    let tuned = others(&rewritten.model, &rewritten.parameters, 3);
    let written = emitted(&rewrite, &grafted, &tuned);
    let file = Graph::from_model(&written).unwrap();
    assert!(
        names
            .iter()
            .all(|&name| file.initializers[name].dtype == DataType::Float16)
    );
    let (trained, merged) = (output(&rewritten.model, &tuned), output(&written, &[]));
    assert_ne!(merged, output(&grafted.model, &[]));
    for (trained, merged) in trained.iter().zip(&merged) {
        assert!((trained - merged).abs() < 5e-3, "{trained} {merged}");
    }
    // What a graph inside of a node reads, or two casts, is left alone.
    let mut twice = stored_as_float16();
    let again = Node::new("again", "Cast", &["fc.weight"], &["again"]);
    twice.nodes.push(again.with("to", DataType::Float as i64));
    let found = LowRank::updatable(&model(&twice)).unwrap();
    assert_eq!(found.len(), 1);
    let mut inside = stored_as_float16();
    inside.nodes.push(reading_inside("fc.weight"));
    assert_eq!(LowRank::updatable(&model(&inside)).unwrap().len(), 1);
}

/// As where normalisations are folded and bottlenecks are linear.
#[test]
fn of_two_layers_with_nothing_between_the_second_reads_what_the_first_comes_to_with_its_update() {
    let mut graph = plain();
    let conv = graph.nodes.iter().position(|n| n.name == "conv").unwrap();
    let made = graph.nodes[conv].outputs[0].clone();
    graph.replace_uses(&made, "second");
    let second = Node::new("second", "Conv", &[&made, "second.weight"], &["second"]);
    graph.nodes.insert(conv + 1, second);
    let tensor = weight(&[4, 4, 1, 1], 12);
    graph
        .initializers
        .insert("second.weight".to_owned(), tensor);
    let grafted = grafted(&graph);
    for names in [
        ["conv.weight", "second.weight"],
        ["second.weight", "conv.weight"],
    ] {
        let rewrite = Rewrite::LowRank(low_rank(&names, 2, 2));
        let rewritten = rewrite.apply(&grafted).unwrap();
        let tuned = others(&rewritten.model, &rewritten.parameters, 3);
        let written = emitted(&rewrite, &grafted, &tuned);
        assert_close(&output(&rewritten.model, &tuned), &output(&written, &[]));
    }
}

/// The classifier with its dense layer in each of its forms: the weight straight or turned, of a `Gemm` with
/// a factor of its own or of a `MatMul`.
fn dense_forms() -> Vec<Graph> {
    let base = plain();
    let at = base.nodes.iter().position(|n| n.name == "fc").unwrap();
    let mut turned = base.clone();
    turned.nodes[at] = turned.nodes[at]
        .clone()
        .with("transB", 1)
        .with("alpha", 0.5);
    let straight = base.initializers["fc.weight"].to_f32().unwrap();
    let values: Vec<f32> = (0..12).map(|i| straight[i % 4 * 3 + i / 4]).collect();
    let tensor = Tensor::f32(&[3, 4], &values);
    turned.initializers.insert("fc.weight".to_owned(), tensor);
    let mut product = base.clone();
    product.nodes[at] = Node::new("fc", "MatMul", &["flat", "fc.weight"], &["fc"]);
    vec![base, turned, product]
}

#[test]
fn an_update_of_low_rank_begins_at_nothing_and_is_merged_into_its_weights() {
    for graph in dense_forms() {
        let grafted = grafted(&graph);
        for (weights, rank, alpha) in [
            (&["conv.weight", "fc.weight"][..], 2, 3),
            (&["fc.weight"], 3, 1),
            (&["conv.weight"], 1, 8),
        ] {
            let rewrite = Rewrite::LowRank(low_rank(weights, rank, alpha));
            let rewritten = rewrite.apply(&grafted).unwrap();
            assert_eq!(rewritten.parameters.len(), 2 * weights.len());
            let before = output(&grafted.model, &[]);
            assert_eq!(output(&rewritten.model, &[]), before);
            let mut tuned = others(&rewritten.model, &rewritten.parameters, 1);
            tuned.extend(others(&rewritten.model, &["fc.bias".to_owned()], 9));
            let trained = output(&rewritten.model, &tuned);
            assert_ne!(trained, before);
            let written = emitted(&rewrite, &grafted, &tuned);
            assert_close(&output(&written, &[]), &trained);
            let nodes = |m: &Model| m.graph().node.clone();
            assert_eq!(nodes(&written), nodes(&grafted.model));
            let left: Vec<&str> = written
                .graph()
                .initializer
                .iter()
                .map(|t| t.name())
                .collect();
            assert_eq!(left.len(), graph.initializers.len(), "{left:?}");
        }
    }
}

#[test]
fn a_part_of_an_update_that_is_not_trained_is_as_it_was() {
    let grafted = grafted(&plain());
    let low_rank = low_rank(&["fc.weight"], 2, 2);
    let rewrite = Rewrite::LowRank(low_rank.clone());
    let rewritten = rewrite.apply(&grafted).unwrap();
    let [a, b] = LowRank::parameters_of("fc.weight");
    assert_eq!(
        [&a, &b].map(|of| Rewrite::stands_for(of)),
        [Some("fc.weight"); 2]
    );
    assert_eq!(Rewrite::stands_for("fc.weight"), None);
    for part in [&a, &b] {
        // The weight itself may be trained as well.
        let names = [part.clone(), "fc.weight".to_owned()];
        let tuned = others(&rewritten.model, &names, 4);
        let written = emitted(&rewrite, &grafted, &tuned);
        assert_close(&output(&written, &[]), &output(&rewritten.model, &tuned));
    }
    let short = [(b, vec![1.0])];
    let graph = Graph::from_model(&grafted.model).unwrap();
    let error = low_rank.merged(&graph, &short).unwrap_err();
    assert!(matches!(error, SurgeryError::Length { given: 1, .. }));
}

#[test]
fn first_values_depend_on_seed_and_weight_alone() {
    let first = |low_rank: LowRank, weight: &str| {
        let rewritten = Rewrite::LowRank(low_rank)
            .apply(&grafted(&plain()))
            .unwrap();
        let graph = Graph::from_model(&rewritten.model).unwrap();
        let [a, b] = LowRank::parameters_of(weight).map(|name| graph.initializers[&name].clone());
        assert!(b.to_f32().unwrap().iter().all(|&v| v == 0.0));
        a.to_f32().unwrap()
    };
    let alone = first(low_rank(&["fc.weight"], 2, 1), "fc.weight");
    assert_eq!(
        first(low_rank(&["conv.weight", "fc.weight"], 2, 4), "fc.weight"),
        alone
    );
    let other = LowRank {
        seed: 4,
        ..low_rank(&["fc.weight"], 2, 1)
    };
    assert_ne!(first(other, "fc.weight"), alone);
    let values = gaussian(400, 50, 3, "w");
    let variance = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
    assert!((variance * 400.0 - 1.0).abs() < 0.05, "{variance}");
}

#[test]
fn what_is_merged_is_what_the_file_holds_in_float16_as_well() {
    let rounded = |values: &[f32]| -> Vec<f32> {
        let halves = values.iter().map(|&v| half::f16::from_f32(v).to_f32());
        halves.collect()
    };
    for graph in [plain(), as_float16(plain())] {
        let is_half = graph.initializers["fc.weight"].dtype == DataType::Float16;
        let grafted = grafted(&graph);
        for (rewrite, left) in [
            (Rewrite::None, Rewrite::None),
            (
                Rewrite::LowRank(low_rank(&["conv.weight", "fc.weight"], 2, 3)),
                Rewrite::None,
            ),
            (chosen("bn"), chosen("bn")),
        ] {
            let rewritten = rewrite.apply(&grafted).unwrap();
            let names = [rewritten.parameters.clone(), vec!["fc.bias".to_owned()]].concat();
            let tuned = others(&rewritten.model, &names, 3);
            let merged = rewrite.merge(&grafted, &tuned).unwrap();
            assert_eq!(merged.rewrite, left);
            let written = Graph::from_model(&emitted(&rewrite, &grafted, &tuned)).unwrap();
            for (name, values) in &merged.values {
                assert_eq!(
                    written.initializers[name].to_f32().unwrap(),
                    *values,
                    "{name}"
                );
                if is_half {
                    assert_eq!(rounded(values), *values, "{name}");
                }
            }
            if left.is_none() {
                let names: Vec<&str> = merged.values.iter().map(|(n, _)| n.as_str()).collect();
                let own = ["conv.weight", "fc.weight", "fc.bias"];
                assert_eq!(names, own[3 - names.len()..]);
            }
        }
    }
}

#[test]
fn the_weights_that_can_have_an_update_are_known_with_their_highest_rank() {
    let updatable = |graph: &Graph| -> Vec<(String, usize)> {
        let found = LowRank::updatable(&model(graph)).unwrap();
        found
            .into_iter()
            .map(|u| (u.weight, u.highest_rank))
            .collect()
    };
    let of = |name: &str, rank: usize| (name.to_owned(), rank);
    assert_eq!(
        updatable(&plain()),
        [of("conv.weight", 4), of("fc.weight", 3)]
    );
    for (weight, rank) in updatable(&plain()) {
        let apply =
            |rank| Rewrite::LowRank(low_rank(&[&weight], rank, 1)).apply(&grafted(&plain()));
        assert!(apply(rank).is_ok() && apply(rank + 1).is_err());
    }
    // The side branch is the model's output.
    assert_eq!(
        updatable(&classifier()),
        [of("conv.weight", 4), of("fc.weight", 3)]
    );
    let mut grouped = plain();
    let conv = grouped.nodes.iter_mut().find(|n| n.name == "conv").unwrap();
    *conv = conv.clone().with("group", 2);
    assert_eq!(updatable(&grouped), [of("fc.weight", 3)]);
    let mut inside = plain();
    inside.nodes.push(reading_inside("fc.weight"));
    assert_eq!(updatable(&inside), [of("conv.weight", 4)]);
}
