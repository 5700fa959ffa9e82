use super::super::Rewrite;
use super::super::tests::{emitted, grafted, low_rank, others, output, plain, reading_inside};
use super::*;
use crate::onnx::{DataType, Tensor};
use crate::surgery::testing::{assert_close, model, weight};

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
